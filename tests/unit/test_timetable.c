/* Due times against a model that looks at each minute, for every kind, weekday and hour. */
#include "policy/timetable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/base.h"

static const int64_t minute = 60 * 1000, hour = 60 * 60 * 1000, day = 24 * 60 * 60 * 1000;
static const int64_t base = INT64_C(1792713600000); /* 2026-10-23T00:00:00Z, a Friday */

static bool is_due(const struct timetable *t, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	return (unsigned)(tm.tm_hour * 60 + tm.tm_min) == t->minute && tm.tm_sec == 0 &&
	       (t->kind == TIMETABLE_DAILY || (unsigned)tm.tm_wday == t->weekday);
}

static int64_t model(const struct timetable *t, int64_t last)
{
	int64_t ms = last - last % minute + minute;

	while (!is_due(t, ms))
		ms += minute;
	return ms;
}

static void test_A65_each_day_and_each_week_it_is_due_at_its_minute(void **state)
{
	(void)state;
	for (int64_t last = base; last < base + 8 * day; last += 97 * minute + 13)
		for (unsigned at = 0; at < 24 * 60; at += 179) {
			struct timetable t = { .kind = TIMETABLE_DAILY, .minute = at };

			assert_int_equal(timetable_next_ms(&t, last, last), model(&t, last));
			t.kind = TIMETABLE_WEEKLY;
			for (t.weekday = 0; t.weekday < 7; t.weekday++)
				assert_int_equal(timetable_next_ms(&t, last, last), model(&t, last));
		}
}

static void test_A65_right_after_its_time_it_is_due_a_whole_turn_later(void **state)
{
	const struct timetable daily = { .kind = TIMETABLE_DAILY, .minute = 180 },
			       weekly = { .kind = TIMETABLE_WEEKLY, .weekday = 5, .minute = 180 };

	(void)state;
	assert_int_equal(timetable_next_ms(&daily, base + 3 * hour, base + 3 * hour), base + day + 3 * hour);
	assert_int_equal(timetable_next_ms(&daily, base + 3 * hour - 1, base + 3 * hour), base + 3 * hour);
	assert_int_equal(
		timetable_next_ms(&weekly, base + 3 * hour, base + 3 * hour), base + 7 * day + 3 * hour);
	assert_int_equal(timetable_next_ms(&weekly, base + 3 * hour - 1, base + 3 * hour), base + 3 * hour);
}

static void test_A65_every_so_often(void **state)
{
	const struct timetable every = { .kind = TIMETABLE_EVERY, .every_ms = 2 * hour };

	(void)state;
	assert_int_equal(timetable_next_ms(&every, base, base + minute), base + 2 * hour);
	assert_int_equal(timetable_next_ms(&every, base, base + day), base + 2 * hour); /* late: at once */
}

static void test_what_was_never_done_is_due_now_and_a_clock_that_was_set_back_makes_nobody_wait_longer(
	void **state)
{
	static const struct timetable all[] = { { .kind = TIMETABLE_EVERY, .every_ms = 2 * hour },
		{ .kind = TIMETABLE_DAILY, .minute = 180 },
		{ .kind = TIMETABLE_WEEKLY, .weekday = 1, .minute = 180 } };
	static const int64_t turn[] = { 2 * hour, day, 7 * day };

	(void)state;
	for (size_t i = 0; i < COUNT(all); i++) {
		assert_int_equal(timetable_next_ms(&all[i], 0, base), base);
		int64_t due = timetable_next_ms(&all[i], base + 400 * day, base);
		assert_true(due > base && due <= base + turn[i]);
	}
}

/* After a minute, twice as long each time, an hour at most; a clock that was set back makes nobody wait longer. */
static void test_A65_what_failed_is_tried_again_without_haste(void **state)
{
	static const int64_t minutes[] = { 1, 2, 4, 8, 16, 32, 60, 60, 60 };

	(void)state;
	for (unsigned i = 0; i < COUNT(minutes); i++)
		assert_int_equal(timetable_again_ms(base, i + 1, base), base + minutes[i] * 60000);
	assert_int_equal(timetable_again_ms(base, 0, base), base + 60000);
	assert_int_equal(timetable_again_ms(base, UINT32_MAX, base), base + hour);
	assert_int_equal(timetable_again_ms(base + day, 1, base), base + 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_A65_each_day_and_each_week_it_is_due_at_its_minute),
		cmocka_unit_test(test_A65_right_after_its_time_it_is_due_a_whole_turn_later),
		cmocka_unit_test(test_A65_every_so_often),
		cmocka_unit_test(test_A65_what_failed_is_tried_again_without_haste),
		cmocka_unit_test(
			test_what_was_never_done_is_due_now_and_a_clock_that_was_set_back_makes_nobody_wait_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
