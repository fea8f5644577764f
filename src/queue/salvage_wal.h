#pragma once
/*
 * The write-ahead log of a SQLite file, read without SQLite ("The Write-Ahead Log" in www.sqlite.org/fileformat2.html). SQLite takes
 * everything behind a damaged frame for a torn end and forgets it without a word; here each frame is judged by itself.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct salvage_frame {
	uint32_t page;	 /* of the database */
	uint32_t commit; /* the last frame of a transaction: pages of the database from now on; else 0 */
	uint64_t at;	 /* where in the log the page begins */
	bool sound;	 /* its checksum holds */
};

struct salvage_wal {
	struct salvage_frame *frames; /* of this generation of the log, up to the last commit, oldest first */
	size_t count;
	bool sound; /* all of them are */
	bool lost;  /* there is a synced transaction that SQLite would not find */
};

/* Read the log in `fd` (-1 = there is none); owned by `owner`. 0, or a negative errno. */
int salvage_wal_read(const void *owner, int fd, struct salvage_wal **ret_wal);
