#pragma once
/* Every row of a SQLite file and its log that was not deleted, read without SQLite. What a row is worth its own checksum says. */

#include <stdbool.h>
#include <stdint.h>

#include "queue/salvage_page.h"

struct salvage_file;

/* A row; it borrows from the file until the next one is read. */
struct salvage_row {
	bool has_rowid;
	int64_t rowid;
	struct salvage_record record;
};

/* Read database `db_fd` with its log `wal_fd` (-1 = none); both are kept open by the caller. Owned by `owner`. 0, or a negative errno. */
int salvage_file_open(const void *owner, int db_fd, int wal_fd, struct salvage_file **ret_file);

/* How often the file must be read: a second time when there are damaged frames in the log, without them. */
unsigned salvage_file_views(const struct salvage_file *file);

/* Begin reading at the first page, as the file looks in view 0 (with damaged frames) or 1. */
void salvage_file_view(struct salvage_file *file, unsigned view);

/* The next row that can be read; false at the end. */
bool salvage_file_next(struct salvage_file *file, struct salvage_row *ret_row);
