#pragma once
/* Puts a backup (backup.h) back into a state directory. */

#include <stdbool.h>
#include <stdint.h>

/* What was put back. */
struct restore_done {
	int64_t mails, files;			 /* queued; of content */
	char time[64];				 /* of the backup */
	const char *queue_damage, *track_damage; /* what is damaged, owned by `owner`; NULL = nothing */
	char kept[64];				 /* the name of the damaged track.db; empty = there is none */
};

/* Put the complete backup in `backup_fd` into `state_fd`, which holds nothing but perhaps the lock, and raise its counters so that no number of a
 * start or of a mail comes twice. A damaged queue.db is put back as it is: the next start salvages it. A damaged track.db is set aside. No gateway may run
 * there. 0 when it is durable, or a negative error with one sentence in ret_why (owned by `owner`): the directory is as it was. If the power
 * goes meanwhile, what is in it is refused by store_open(). */
int restore_run(
	const void *owner, int backup_fd, int state_fd, struct restore_done *ret_done, const char **ret_why);

/* Whether a restore into `state_fd` was begun and not finished. */
bool restore_is_unfinished(int state_fd);
