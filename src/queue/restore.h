#pragma once
/* Puts a backup (backup.h) back into a state directory. */

#include <stdbool.h>
#include <stdint.h>

/* What was put back. */
struct restore_done {
	int64_t mails, files; /* queued; of content */
	char time[64];	      /* of the backup */
};

/* Put the complete backup in `backup_fd` into `state_fd`, which holds nothing but perhaps the lock, and raise its counters so that no number of a
 * start or of a mail comes twice. No gateway may run there. 0 when it is durable, or a negative error with one sentence in ret_why (owned by
 * `owner`): what is in the directory is then refused by store_open(). */
int restore_run(
	const void *owner, int backup_fd, int state_fd, struct restore_done *ret_done, const char **ret_why);

/* Whether a restore into `state_fd` was begun and not finished. */
bool restore_is_unfinished(int state_fd);
