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
		{ 0, 5, "expired" },
		{ -DAY + 1, 5, "expired" },
		{ -DAY, 6, "expired" },
		{ -7 * DAY, 7, "expired" },
		{ -14 * DAY, 8, "expired" },
		{ -30 * DAY, 9, "expired" },
		{ -1000 * DAY, 9, "expired" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(expiry_step(cases[i].left), cases[i].step);
		assert_string_equal(expiry_word(cases[i].left), cases[i].word);
	}
}

static void test_B20_the_next_step_is_passed_exactly_then(void **state)
{
	(void)state;
	for (int64_t left = 31 * DAY; left > -31 * DAY; left -= 17) {
		const int64_t next = expiry_next(left);

		if (next == INT64_MAX) {
			assert_int_equal(expiry_step(left), EXPIRY_STEPS - 1);
			continue;
		}
		assert_true(next > 0);
		assert_int_equal(expiry_step(left - next), expiry_step(left) + 1);
		assert_int_equal(expiry_step(left - next + 1), expiry_step(left));
	}
}

static void test_B20_the_first_of_a_chain_to_end_counts(void **state)
{
	void *owner = talloc_new(NULL);
	struct help_identity identity = help_identity(owner); /* one hour */
	int64_t left = 0;

	(void)state;
	assert_int_equal(expiry_of_chain(text_of(identity.chain), clock_wall_ms(), &left), 0);
	assert_true(left > 3500 && left <= 3600);
	assert_int_equal(expiry_of_chain(text_of(identity.chain), clock_wall_ms() + 7200 * 1000, &left), 0);
	assert_true(left < 0);
	assert_int_equal(expiry_of_chain((struct text){ NULL, 0 }, 0, &left), ERR_FORMAT);
	assert_int_equal(expiry_of_chain(TEXT("nothing"), 0, &left), ERR_FORMAT);
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B20_steps_are_30_14_7_and_1_days_before_and_after),
		cmocka_unit_test(test_B20_the_next_step_is_passed_exactly_then),
		cmocka_unit_test(test_B20_the_first_of_a_chain_to_end_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
