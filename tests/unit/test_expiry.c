/* The steps at which an operator hears of the end of a certificate: each second of 62 days falls into one. */
#include "pki/expiry.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "test_help.h"

enum { DAY = 86400 };

static void test_B20_steps_are_30_14_7_and_1_days_before_and_after(void **state)
{
	static const struct {
		int64_t left;
		int step;
		const char *word;
	} cases[] = {
		{ 1000 * DAY, 0, "fine" },
		{ 30 * DAY + 1, 0, "fine" },
		{ 30 * DAY, 1, "expires" },
		{ 14 * DAY + 1, 1, "expires" },
		{ 14 * DAY, 2, "expires" },
		{ 7 * DAY, 3, "expires" },
		{ DAY + 1, 3, "expires" },
		{ DAY, 4, "expires" },
		{ 1, 4, "expires" },
		{ 0, EXPIRY_ENDED, "expired" },
		{ -DAY + 1, EXPIRY_ENDED, "expired" },
		{ -DAY, 7, "expired" },
		{ -7 * DAY, 8, "expired" },
		{ -14 * DAY, 9, "expired" },
		{ -30 * DAY, EXPIRY_STEPS - 1, "expired" },
		{ -1000 * DAY, EXPIRY_STEPS - 1, "expired" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct expiry expiry = { .left_s = cases[i].left };

		assert_int_equal(expiry_step(&expiry), cases[i].step);
		assert_string_equal(expiry_word(&expiry), cases[i].word);
	}
}

static void test_8_24_a_third_of_the_life_is_told_beside_the_fixed_steps(void **state)
{
	static const struct {
		int64_t life, left;
		int step;
	} cases[] = {
		{ 6 * DAY, 6 * DAY, 3 }, /* below three of the fixed steps from its begin */
		{ 6 * DAY, 2 * DAY + 1, 3 },
		{ 6 * DAY, 2 * DAY, 4 }, /* ... and a third */
		{ 6 * DAY, DAY + 1, 4 },
		{ 6 * DAY, DAY, 5 },
		{ 6 * DAY, 0, EXPIRY_ENDED },
		{ 6 * DAY, -DAY, EXPIRY_ENDED + 1 },
		{ DAY, 8 * 3600 + 1, 4 },
		{ DAY, 8 * 3600, 5 },
		{ 45 * DAY, 15 * DAY + 1, 1 },
		{ 45 * DAY, 15 * DAY, 2 },
		{ 45 * DAY, 14 * DAY, 3 },
		{ 90 * DAY, 30 * DAY + 1, EXPIRY_FINE },
		{ 90 * DAY, 30 * DAY, 2 },
		{ 300 * DAY, 100 * DAY + 1, EXPIRY_FINE },
		{ 300 * DAY, 100 * DAY, 1 },
		{ 300 * DAY, 30 * DAY, 2 },
		{ 7300 * DAY, 120 * DAY + 1, EXPIRY_FINE }, /* an authority of 20 years */
		{ 7300 * DAY, 120 * DAY, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct expiry expiry = { .left_s = cases[i].left, .life_s = cases[i].life };

		if (expiry_step(&expiry) != cases[i].step)
			fail_msg("case %zu: step %d", i, expiry_step(&expiry));
	}
}

static void test_B20_of_a_list_nothing_is_told_before_its_last_quarter(void **state)
{
	static const struct {
		int64_t life, left;
		int step;
	} cases[] = {
		{ 7 * DAY, 7 * DAY, EXPIRY_FINE },
		{ 7 * DAY, 7 * DAY / 4 + 1, EXPIRY_FINE },
		{ 7 * DAY, 7 * DAY / 4, 4 },
		{ 7 * DAY, DAY, 5 },
		{ 7 * DAY, 0, EXPIRY_ENDED },
		{ 7 * DAY, -DAY, EXPIRY_ENDED + 1 },
		{ 100 * DAY, 25 * DAY + 1, EXPIRY_FINE },
		{ 100 * DAY, 25 * DAY, 2 },
		{ 100 * DAY, 14 * DAY, 3 },
		{ 100 * DAY, -30 * DAY, EXPIRY_STEPS - 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct expiry expiry = { .left_s = cases[i].left, .life_s = cases[i].life };

		if (expiry_step_late(&expiry) != cases[i].step)
			fail_msg("case %zu: step %d", i, expiry_step_late(&expiry));
	}
}

static void test_B20_the_next_step_is_passed_exactly_then(void **state)
{
	static const int64_t lives[] = { 0, DAY, 6 * DAY, 45 * DAY, 90 * DAY, 400 * DAY };

	(void)state;
	for (size_t i = 0; i < COUNT(lives); i++)
		for (int64_t left = 140 * DAY; left > -31 * DAY; left -= 17) {
			const struct expiry now = { .left_s = left, .life_s = lives[i] };
			const int64_t next = expiry_next(&now);
			if (next == INT64_MAX) {
				assert_int_equal(expiry_step(&now), EXPIRY_STEPS - 1);
				continue;
			}
			const struct expiry then = { .left_s = left - next, .life_s = lives[i] },
					    before = { .left_s = left - next + 1, .life_s = lives[i] };

			assert_true(next > 0);
			assert_true(expiry_step(&then) > expiry_step(&now));
			assert_int_equal(expiry_step(&before), expiry_step(&now));
		}
}

static void test_B20_the_first_of_a_chain_to_end_counts(void **state)
{
	void *owner = talloc_new(NULL);
	struct help_identity identity = help_identity(owner); /* one hour */
	struct expiry expiry = { 0 };

	(void)state;
	assert_int_equal(expiry_of_chain(text_of(identity.chain), clock_wall_ms(), &expiry), 0);
	assert_true(expiry.left_s > 3500 && expiry.left_s <= 3600);
	assert_int_equal(expiry.life_s, 7200);
	assert_int_equal(expiry_of_chain(text_of(identity.chain), clock_wall_ms() + 7200 * 1000, &expiry), 0);
	assert_true(expiry.left_s < 0);
	assert_int_equal(expiry_of_chain((struct text){ NULL, 0 }, 0, &expiry), ERR_FORMAT);
	assert_int_equal(expiry_of_chain(TEXT("nothing"), 0, &expiry), ERR_FORMAT);
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B20_steps_are_30_14_7_and_1_days_before_and_after),
		cmocka_unit_test(test_8_24_a_third_of_the_life_is_told_beside_the_fixed_steps),
		cmocka_unit_test(test_B20_of_a_list_nothing_is_told_before_its_last_quarter),
		cmocka_unit_test(test_B20_the_next_step_is_passed_exactly_then),
		cmocka_unit_test(test_B20_the_first_of_a_chain_to_end_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
