#pragma once
/* What the operator's side and the rest of the embedded store share. */

#include "queue/store_admin.h"

/* Carry out what was ordered before the store was opened: after the schedule was filled. 0 or a negative error. */
int store_admin_load(struct store *store);

/* A lease as it was ordered: with another next hop, or only those who are given up. 0, -ENOENT when it is held, or another negative error. */
int store_admin_direct(struct store *store, struct lease *lease);

/* A mail for one domain that was changed while it was lent (schedule_mark()) came back: schedule it as the store says now,
 * or at once. */
void store_admin_reschedule(struct store *store, int64_t mid, const char *domain, bool due_now);

/* How a destination is paused: in wall clock, without the reason. */
struct schedule_view;
struct store_admin_pause store_admin_pause(const struct schedule_view *view);
