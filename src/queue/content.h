#pragma once
/* Content over 128 KiB: one file a mail in the directory content/. The only file of the queue that syncs files and names. */

#include <stdint.h>

#include "base/digest.h"

enum { CONTENT_NAME_MAX = 64 };

/* Open content/ in `directory_fd`, made first when missing, and sync that directory: its name and queue.db's are durable then; the descriptor, or a negative errno. */
int content_open(int directory_fd);

/* 0 when the file system has `space` bytes and `inodes` free, else -ENOSPC or a negative errno. */
int content_room(int content_fd, uint64_t space, uint64_t inodes);

/* An unnamed file with room for `size` bytes (0 = unknown); the descriptor, or -ENOSPC and the like. */
int content_new(int content_fd, uint64_t size);

/* Make the unnamed file `fd` of `size` bytes durable under a new name (written to ret_name): S2 of docs/queue.md. `seed` makes names
 * differ between starts. 0, or a negative errno with nothing left behind. */
int content_keep(
	int content_fd, int fd, uint64_t size, uint64_t seed, char *ret_name, struct digest *ret_digest);

/* Open a kept file for reading and check it against `digest`; the descriptor, -EBADMSG when it differs or is missing, or a negative errno. */
int content_read(int content_fd, const char *name, uint64_t size, const struct digest *digest);

/* Remove a file whose mail is finished. Not synced: an orphan is removed at the next start. */
void content_drop(int content_fd, const char *name);

/* Remove every file whose name is not in `names` (sorted by strcmp); how many. */
unsigned content_sweep(int content_fd, const char *const *names, size_t count);
