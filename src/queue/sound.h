#pragma once
/* Whether queue.db may be used as it is, found out before anything is written to it. */

/* Judge `directory_fd`/queue.db with its log. ret_damage says what is damaged, in words owned by `owner`; NULL = it is sound, or missing, or
 * not for us to judge: another program's, a newer version's. 0, or a negative error: it cannot be read now. */
int sound_check(const void *owner, int directory_fd, const char **ret_damage);

/* The same of track.db, as far as SQLite's quick check and the names of its columns tell. Nobody else may use it. */
int sound_check_track(const void *owner, int directory_fd, const char **ret_damage);
