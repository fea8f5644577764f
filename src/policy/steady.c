/* What the wall clock says is believed only where it cannot do harm: the monotonic clock counts a process's time, and a rest between two
 * processes counts up to a bound, beyond which it may as well be a jump (conformance 11.35). */
#include "policy/steady.h"

#include "base/base.h"

struct steady steady_resume(
	int64_t saved_ms, int64_t saved_wall_ms, int64_t wall_ms, int64_t mono_ms, int64_t *ret_jump_ms)
{
	const int64_t rest = wall_ms - saved_wall_ms;
	const bool believed = rest >= 0 && rest <= STEADY_REST_MS;

	/* A step back of less than a minute is a clock being set right. */
	*ret_jump_ms = believed || (rest < 0 && rest > -STEADY_JUMP_MS) ? 0 : rest;
	return (struct steady){
		.now_ms = saved_ms + (believed ? rest : 0), .wall_ms = wall_ms, .mono_ms = mono_ms
	};
}

int64_t steady_tick(struct steady *steady, int64_t wall_ms, int64_t mono_ms)
{
	const int64_t passed = mono_ms - steady->mono_ms, jump = wall_ms - steady->wall_ms - passed;

	*steady =
		(struct steady){ .now_ms = steady->now_ms + passed, .wall_ms = wall_ms, .mono_ms = mono_ms };
	return jump >= STEADY_JUMP_MS || jump <= -STEADY_JUMP_MS ? jump : 0;
}
