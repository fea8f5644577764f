/* Back-off: a table in the configuration (delivery.retry) and a little jitter. A next hop is asked sooner than a mail: one probe costs little, and
 * most outages are short. */
#include "policy/retry.h"

#include "base/base.h"

enum { PAUSE_FIRST_MS = 30 * 1000, PAUSE_LONGEST_MS = 10 * 60 * 1000 };

int64_t retry_wait_ms(const int64_t *waits_ms, size_t count, unsigned attempt, unsigned dice)
{
	size_t index = attempt == 0 ? 0 : attempt - 1;
	int64_t wait = waits_ms[index < count ? index : count - 1];

	return wait + wait / 10 * (int64_t)(dice % 1000) / 1000;
}

int64_t retry_pause_ms(const int64_t *waits_ms, size_t count, unsigned failures)
{
	int64_t pause = MIN(waits_ms[0], (int64_t)PAUSE_FIRST_MS), longest = waits_ms[0];

	for (size_t i = 1; i < count; i++)
		longest = MAX(longest, waits_ms[i]);
	longest = MIN(longest, (int64_t)PAUSE_LONGEST_MS);
	for (; failures > 1 && pause < longest; failures--)
		pause *= 2;
	return MIN(pause, longest);
}
