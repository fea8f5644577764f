#pragma once
/* Copies the log (WAL) of queue.db back into the database, so that no writer ever does. */

#include <sqlite3.h>

struct checkpoint;

/* Sizes of the log, in pages. */
struct checkpoint_limits {
	int copied;  /* it is copied each time it has grown by so many, in nobody's way */
	int bounded; /* from here on writers wait until it begins anew; readers may prevent that */
};

/* Start the thread; it takes over `db`, a connection to queue.db of its own. When the database cannot be written it ends the process. Owned
 * by `owner`. */
struct checkpoint *checkpoint_start(const void *owner, sqlite3 *db, struct checkpoint_limits limits);

/* Around each transaction that writes: entering waits while the log begins anew. */
void checkpoint_enter(struct checkpoint *checkpoint);
void checkpoint_leave(struct checkpoint *checkpoint);

/* The log has `pages` pages now; cheap, to be called after each commit. */
void checkpoint_grown(struct checkpoint *checkpoint, int pages);

/* End the thread and close the connection. */
void checkpoint_stop(struct checkpoint *checkpoint);
