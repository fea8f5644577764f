#pragma once
/* From the rows that can still be read to mails: what is whole, what is known of the rest, and what is reported. */

#include <stdint.h>

#include <sqlite3.h>

struct salvage_file;

struct salvage_counts {
	uint64_t mails;	  /* queued and whole */
	uint64_t damaged; /* queued and not whole: logged one by one */
};

/* Fill the new, empty database `db` from `file`, and log every queued mail that is not whole (`mail_damaged`). 0, or a negative error. */
int salvage_rows_copy(sqlite3 *db, struct salvage_file *file, struct salvage_counts *ret_counts);
