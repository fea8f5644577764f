#pragma once
/* Refused connections and recipients on their way to tracking: unacknowledged, batched each second, dropped and counted when more
 * than 1,000 come in a second. They must never slow a session down. */

#include "queue/store.h"

struct metrics;
struct notes;
struct peer;

/* A collector owned by `owner` whose thread sends to `queue` until `stop_fd` is readable. */
struct notes *notes_start(const void *owner, struct peer *queue, struct metrics *metrics, int stop_fd);

/* Remember one; everything is copied. Never waits. */
void notes_add(struct notes *notes, const struct store_refusal *refusal);
