/* Back-off: a table in the configuration (delivery.retry) and a little jitter. */
#include "policy/retry.h"

int64_t retry_wait_ms(const int64_t *waits_ms, size_t count, unsigned attempt, unsigned dice)
{
	size_t index = attempt == 0 ? 0 : attempt - 1;
	int64_t wait = waits_ms[index < count ? index : count - 1];

	return wait + wait / 10 * (int64_t)(dice % 1000) / 1000;
}
