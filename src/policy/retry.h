#pragma once
/* When a deferred mail is tried again, and a next hop that could not be reached. Pure. */

#include <stddef.h>
#include <stdint.h>

/* Milliseconds to wait after attempt number `attempt` (from 1): the waits in order, the last one for ever after, plus up to a tenth
 * so that mail deferred together does not come back together. `dice` is any number. At least one wait is given. */
int64_t retry_wait_ms(const int64_t *waits_ms, size_t count, unsigned attempt, unsigned dice);

/* Milliseconds to leave a next hop alone that could not be reached `failures` times in a row (from 1): 30 s, then twice as long each time up to
 * ten minutes; but no pause is longer than the longest of the waits, and the first one no longer than the first of them. */
int64_t retry_pause_ms(const int64_t *waits_ms, size_t count, unsigned failures);
