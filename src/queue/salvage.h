#pragma once
/* A damaged queue.db is set aside under another name, and a new one is made with every row of it that can be read. */

#include <stdbool.h>

/* Before queue.db is opened: finish a salvage that was cut short, judge queue.db, and salvage it when it is damaged. 0, or a negative error
 * with one sentence for the operator in ret_why (owned by `owner`). */
int salvage_before_open(const void *owner, int directory_fd, const char **ret_why);

/* A damaged track.db only gets another name, track.db.corrupt-TIME: it holds records of what is finished, and mail must not wait for them. Its name
 * in ret_name. 0, or a negative error. */
enum { SALVAGE_NAME_MAX = 64 };
int salvage_forget_track(int directory_fd, char ret_name[SALVAGE_NAME_MAX]);

/* SQLite met damage in track.db, perhaps where an opening does not look: a mark has the next start look at all of it. */
void salvage_doubt_track(int directory_fd);

/* Whether track.db is damaged, when there is such a mark, which goes. False when it cannot be told. */
bool salvage_track_is_damaged(int directory_fd);
