#pragma once
/* A copy of a database under another name, taken in steps from one moment of it while others go on writing. */

#include <sqlite3.h>

struct copy;

/* Begin to copy what `from` sees now to `directory_fd`/name; `from` is kept, and not used for anything else until the end. 0, or a negative
 * error. Owned by `owner`; freed before its end it leaves nothing behind. */
int copy_start(const void *owner, sqlite3 *from, int directory_fd, const char *name, struct copy **ret_copy);

/* Copy some more: the percentage that is done; 100 = all of it, complete and durable under its name (before that the name is not there,
 * or still another file's). Or a negative error. */
int copy_step(struct copy *copy);

/* Copy file `name` from one directory to the other, where it must not be, byte for byte; not synced. 0 or a negative error. */
int copy_plain(int from_directory, int to_directory, const char *name);
