/* Slow start, halving, and fair shares: a destination that is dead, silent or slow never takes what the others need. */
#include "policy/pace.h"

#include "base/base.h"

enum { MINUTE_US = 60 * 1000 * 1000 };

struct pace pace_new(void)
{
	return (struct pace){ .allowed = PACE_START };
}

struct pace pace_after_answer(struct pace pace, unsigned most)
{
	unsigned allowed = pace.failures > 0 ? PACE_START : MIN(pace.allowed + 1, MAX(most, pace.allowed));

	return (struct pace){ .allowed = allowed, .answered = true };
}

struct pace pace_after_failure(struct pace pace, bool *ret_give_up)
{
	unsigned allowed = MAX(pace.allowed / 2, 1u);

	*ret_give_up = allowed == 1;
	return (struct pace){ .allowed = allowed, .failures = pace.failures + (allowed == 1) };
}

bool pace_has_place(struct pace pace, unsigned own, unsigned open, unsigned concurrency, unsigned total)
{
	if (own >= (pace.failures > 0 ? 1 : MIN(pace.allowed, concurrency)))
		return false;
	return total == 0 || own == 0 || own < total - MIN(open, total);
}

bool pace_has_place_for_silent(unsigned silent, unsigned total)
{
	return total == 0 || silent < MAX(total / 2, 1u);
}

int64_t pace_next_us(int64_t next_us, int64_t now_us, uint64_t rate)
{
	return rate == 0 ? 0 : MAX(next_us, now_us) + (int64_t)(MINUTE_US / rate);
}
