#pragma once
/* Refused connections and recipients on their way to tracking: unacknowledged, batched each second, dropped and counted when more
 * than 1,000 come in a second. They must never slow a session down. */

#include "queue/store.h"

struct metrics;
struct notes;
struct peer;

/* A collector whose thread sends to `queue` until notes_stop(). */
struct notes *notes_start(struct peer *queue, struct metrics *metrics);

/* Send what is left, end the thread, and free. Nobody may add any more. */
void notes_stop(struct notes *notes);

/* Remember one; everything is copied. Never waits. */
void notes_add(struct notes *notes, const struct store_refusal *refusal);
