/* How a destination earns and loses connections: every step, and the law that whoever comes next finds a place. */
#include "policy/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

static void test_it_begins_with_two_and_grows_by_one_up_to_the_limit(void **state)
{
	struct pace pace = pace_new();

	(void)state;
	assert_false(pace.answered);
	for (unsigned want = 2; want < 5; want++) {
		assert_int_equal(pace.allowed, want);
		pace = pace_after_answer(pace, 5);
		assert_true(pace.answered);
	}
	assert_int_equal(pace_after_answer(pace, 5).allowed, 5);
	assert_int_equal(pace_after_answer(pace_after_answer(pace, 5), 5).allowed, 5);
	assert_int_equal(pace_after_answer(pace_after_answer(pace, 5), 1).allowed, 5);
}

static void test_each_failure_halves_it_and_at_one_it_is_given_up(void **state)
{
	struct pace pace = { .allowed = 20, .answered = true };
	static const unsigned halves[] = { 10, 5, 2, 1, 1, 1 };
	bool give_up;

	(void)state;
	for (size_t i = 0; i < COUNT(halves); i++) {
		pace = pace_after_failure(pace, &give_up);
		assert_int_equal(pace.allowed, halves[i]);
		assert_int_equal(give_up, halves[i] == 1);
		assert_int_equal(pace.failures, i < 3 ? 0 : i - 2);
		assert_false(pace.answered);
	}
	pace = pace_after_answer(pace, 20);
	assert_int_equal(pace.allowed, PACE_START);
	assert_int_equal(pace.failures, 0);
}

static void test_a_new_destination_that_fails_is_given_up_at_once(void **state)
{
	bool give_up;

	(void)state;
	assert_int_equal(pace_after_failure(pace_new(), &give_up).failures, 1);
	assert_true(give_up);
}

/* All inputs up to a dozen. */
static void test_whoever_has_nothing_open_always_has_a_place_and_nobody_takes_the_last(void **state)
{
	(void)state;
	for (unsigned total = 0; total <= 12; total++)
		for (unsigned open = 0; open <= total + 2; open++)
			for (unsigned own = 0; own <= open; own++)
				for (unsigned allowed = 1; allowed <= 12; allowed++) {
					struct pace pace = { .allowed = allowed };
					bool place = pace_has_place(pace, own, open, 6, total);

					if (own == 0)
						assert_true(place);
					if (place)
						assert_true(own < MIN(allowed, 6u));
					if (place && own > 0 && total > 0)
						assert_true(open < total && own < total - open);
					if (total == 0)
						assert_int_equal(place, own < MIN(allowed, 6u));
					pace.failures = 1;
					assert_int_equal(pace_has_place(pace, own, open, 6, 0), own == 0);
				}
}

static void test_the_silent_together_have_half_and_at_least_one(void **state)
{
	(void)state;
	assert_true(pace_has_place_for_silent(1000, 0));
	for (unsigned total = 1; total <= 60; total++)
		for (unsigned silent = 0; silent <= total; silent++)
			assert_int_equal(
				pace_has_place_for_silent(silent, total), silent == 0 || silent < total / 2);
}

static void test_a_rate_spaces_and_none_does_not(void **state)
{
	(void)state;
	assert_int_equal(pace_next_us(5, 9, 0), 0);
	assert_int_equal(pace_next_us(0, 1000, 60), 1001000);
	assert_int_equal(pace_next_us(7000, 1000, 60000), 8000);
	assert_int_equal(pace_next_us(0, 0, UINT64_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_begins_with_two_and_grows_by_one_up_to_the_limit),
		cmocka_unit_test(test_each_failure_halves_it_and_at_one_it_is_given_up),
		cmocka_unit_test(test_a_new_destination_that_fails_is_given_up_at_once),
		cmocka_unit_test(test_whoever_has_nothing_open_always_has_a_place_and_nobody_takes_the_last),
		cmocka_unit_test(test_the_silent_together_have_half_and_at_least_one),
		cmocka_unit_test(test_a_rate_spaces_and_none_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
