#pragma once
/* The operator's questions and orders to role `queue`, over a channel that master gave to the command line; each ask stands beside its answer. */

#include "queue/store_admin.h"

struct frame;

/* store_admin_list() over `channel`. */
int queue_admin_list(int channel, const void *owner, const struct store_admin_filter *filter, int64_t after,
	size_t most, struct store_admin_page *ret_page);

/* store_admin_apply() over `channel`; who orders it is known there. -EINVAL: next_hop is none. */
int queue_admin_apply(int channel, const struct store_admin_order *order, int64_t after, size_t most,
	struct store_admin_done *ret_done);

/* store_admin_suspend() over `channel`. */
int queue_admin_suspend(
	int channel, const char *destination, bool suspend, struct store_admin_suspension *ret_done);

/* store_admin_status() and store_admin_content() over `channel`. */
int queue_admin_status(int channel, const void *owner, struct store_admin_status *ret_status);
int queue_admin_content(int channel, const void *owner, int64_t mid, struct content *ret_content);

/* store_admin_destinations() over `channel`. */
int queue_admin_destinations(int channel, const void *owner, const char *after, bool paused,
	struct store_admin_destinations *ret_page);

/* The serving side: the answer to any of these asks of user `uid`, owned by `owner`; NULL for a malformed or another one. */
struct frame *queue_admin_answer(struct store *store, struct frame *ask, const void *owner, int64_t uid);

/* The name of a command, such as "hold"; static. */
const char *queue_admin_command_name(enum store_admin_command command);
