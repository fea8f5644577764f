#pragma once
/*
 * A copy of a state directory, also while a gateway runs on it: queue.db at one moment, every content file that it names, then track.db, so that
 * nothing that was finished is missing, and the start counter. `queue` must keep content files meanwhile (queue_backup.h), or nobody run.
 * restore.h puts it back. docs/queue.md, "Backup and restore".
 */

#include <stdbool.h>
#include <stdint.h>

struct backup;

/* The name of the file that makes a backup complete, JSON: version, time, start (the counter), schema, mails, files, bytes, damaged, queue_damage and
 * track_damage (null, or what is wrong). */
#define BACKUP_MANIFEST "backup.json"
enum { BACKUP_VERSION = 1 }; /* what `version` says: what a backup is made of */

/* What is done. */
struct backup_done {
	const char *part;      /* what was worked at: a file or content/; static */
	int percent;	       /* of that part */
	uint64_t mails;	       /* that are queued */
	uint64_t files, bytes; /* of content */
	uint64_t damaged; /* content files that were missing or damaged before, and are not in the backup */
	/* What is damaged in the database, owned by the backup; NULL = it is sound. Of a damaged queue.db it is not known which content files it
	 * needs: all are copied, unchecked, and `mails` may be too few. */
	const char *queue_damage, *track_damage;
};

/* Begin to copy the state directory `state_fd` into the empty directory `target_fd`; both are kept. `alone`: nobody uses the state directory, so the log of
 * queue.db is judged, too, and a damaged queue.db copied as it lies there. 0, or a negative error with one sentence in ret_why (owned by `owner`). Owned
 * by `owner`. */
int backup_start(const void *owner, int state_fd, int target_fd, bool alone, struct backup **ret_backup,
	const char **ret_why);

/* Copy some more: 1 = there is more; 0 = complete, and durable but for the name of the target directory itself; or a negative error with one
 * sentence in ret_why (owned by the backup): what is in the target is incomplete then. */
int backup_step(struct backup *backup, struct backup_done *ret_done, const char **ret_why);
