#pragma once
/* While a backup copies them, role `queue` removes no content files: asked by the command line, over a channel that master gave it. */

struct frame;
struct store;

/* Content files stay from now on, as long as `channel` is open. 0, or a negative error. */
int queue_backup_hold(int channel);

/* The serving side: the answer, owned by `owner`, after store_hold_files(); store_release_files() is to follow when the channel ends. NULL for
 * another ask. */
struct frame *queue_backup_answer(struct store *store, struct frame *ask, const void *owner);
