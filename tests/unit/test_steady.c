/* The queue's clock: it goes on at the pace of the monotonic clock whatever the wall clock does. */
#include "policy/steady.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"

#define SECOND	  INT64_C(1000)
#define HOUR	  (3600 * SECOND)
#define TEN_YEARS (INT64_C(87660) * HOUR)

static const int64_t wall = 1700000000123, saved = 1600000000000;

static const struct {
	const char *name;
	int64_t rest, counts, jump;
} restarts[] = {
	{ "a quick restart", 10 * SECOND, 10 * SECOND, 0 },
	{ "none at all", 0, 0, 0 },
	{ "an hour", HOUR, HOUR, 0 },
	{ "more than an hour does not count", HOUR + 1, 0, HOUR + 1 },
	{ "+10 years", TEN_YEARS, 0, TEN_YEARS },
	{ "-10 years", -TEN_YEARS, 0, -TEN_YEARS },
	{ "a little back", -SECOND, 0, 0 },
	{ "a minute back", -60 * SECOND, 0, -60 * SECOND },
};

static void test_11_35_a_restart_counts_within_bounds(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(restarts); i++) {
		int64_t jump = 1;
		struct steady s = steady_resume(saved, wall, wall + restarts[i].rest, 55, &jump);

		if (s.now_ms != saved + restarts[i].counts || jump != restarts[i].jump)
			fail_msg("%s", restarts[i].name);
		assert_int_equal(steady_tick(&s, wall + restarts[i].rest + 10, 65), 0);
		assert_true(s.now_ms == saved + restarts[i].counts + 10);
	}
}

static const struct {
	const char *name;
	int64_t wall_moves, mono_moves, jump;
} ticks[] = {
	{ "both go on", 20 * SECOND, 20 * SECOND, 0 },
	{ "a slow wall clock", 19 * SECOND, 20 * SECOND, 0 },
	{ "a leap second", 0, SECOND, 0 },
	{ "just no jump", 60 * SECOND - 1, 0, 0 },
	{ "just a jump", 60 * SECOND, 0, 60 * SECOND },
	{ "+10 years", TEN_YEARS, SECOND, TEN_YEARS - SECOND },
	{ "-10 years", -TEN_YEARS, SECOND, -TEN_YEARS - SECOND },
	{ "a clock that stands still", 0, HOUR, -HOUR },
};

static void test_11_35_a_jump_is_seen_and_moves_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(ticks); i++) {
		struct steady s = { .now_ms = saved, .wall_ms = wall, .mono_ms = 55 };

		if (steady_tick(&s, wall + ticks[i].wall_moves, 55 + ticks[i].mono_moves) != ticks[i].jump ||
			s.now_ms != saved + ticks[i].mono_moves)
			fail_msg("%s", ticks[i].name);
		if (steady_tick(&s, wall + ticks[i].wall_moves, 55 + ticks[i].mono_moves) != 0)
			fail_msg("%s: a jump is seen once", ticks[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_35_a_restart_counts_within_bounds),
		cmocka_unit_test(test_11_35_a_jump_is_seen_and_moves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
