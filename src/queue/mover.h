#pragma once
/* Moves what is finished from queue.db to track.db, and forgets there what is old: one thread with a connection of its own. */

#include <stdint.h>

#include <sqlite3.h>

struct mover;
struct writer;

/* Start the thread; it takes over `track`, a writing connection to track.db, reads queue.db in `directory_fd` (borrowed), and has `writer` delete
 * what it moved. Records are kept for `keep_ms` after that (0 = for ever). After an error it tries again, forever. Owned by `owner`. NULL when
 * queue.db cannot be attached. */
struct mover *mover_start(
	const void *owner, sqlite3 *track, int directory_fd, struct writer *writer, int64_t keep_ms);

/* Something was finished. */
void mover_wake(struct mover *mover);

/* From now on. */
void mover_keep(struct mover *mover, int64_t keep_ms);

/* End the thread after the slice it is at, and close the connection. */
void mover_stop(struct mover *mover);
