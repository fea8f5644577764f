#pragma once
/* When a deferred mail is tried again. Pure. */

#include <stddef.h>
#include <stdint.h>

/* Milliseconds to wait after attempt number `attempt` (from 1): the waits in order, the last one for ever after, plus up to a tenth
 * so that mail deferred together does not come back together. `dice` is any number. At least one wait is given. */
int64_t retry_wait_ms(const int64_t *waits_ms, size_t count, unsigned attempt, unsigned dice);
