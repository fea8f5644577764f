/* Back-off: the waits in order, the last one for ever after, jitter of at most a tenth upwards. */
#include "policy/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

static const int64_t waits[] = { 60000, 300000, 900000 };

static const struct {
	const char *name;
	unsigned attempt;
	int64_t want;
} cases[] = {
	{ "attempt 0 counts as the first", 0, 60000 },
	{ "after the first", 1, 60000 },
	{ "after the second", 2, 300000 },
	{ "after the third", 3, 900000 },
	{ "the last one repeats", 4, 900000 },
	{ "for ever", UINT32_MAX, 900000 },
};

static void test_waits_in_order_then_the_last_for_ever(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (retry_wait_ms(waits, COUNT(waits), cases[i].attempt, 0) != cases[i].want)
			fail_msg("%s", cases[i].name);
}

static void test_jitter_stays_within_a_tenth_for_every_dice(void **state)
{
	int64_t least = INT64_MAX, most = 0;

	(void)state;
	for (unsigned dice = 0; dice < 5000; dice++) {
		int64_t got = retry_wait_ms(waits, COUNT(waits), 1, dice);

		assert_true(got >= 60000 && got <= 66000);
		least = MIN(least, got);
		most = MAX(most, got);
	}
	assert_int_equal(least, 60000);
	assert_true(most > 65900);
	assert_in_range(retry_wait_ms(waits, COUNT(waits), 1, UINT32_MAX), 60000, 66000);
}

static void test_one_wait_is_enough(void **state)
{
	const int64_t one = 1000;

	(void)state;
	for (unsigned attempt = 0; attempt < 10; attempt++)
		assert_int_equal(retry_wait_ms(&one, 1, attempt, 0), 1000);
}

static void test_a_month_does_not_overflow(void **state)
{
	const int64_t month = INT64_C(30) * 86400 * 1000;

	(void)state;
	assert_true(retry_wait_ms(&month, 1, 9, 999) >= month);
	assert_true(retry_wait_ms(&month, 1, 9, 999) <= month + month / 10);
}

static const int64_t standard[] = { 900000, 900000, 1800000, 3600000, 7200000 };

/* Pauses of a next hop after its first, second, ... failure. */
static const struct {
	const char *name;
	int64_t waits[3];
	size_t count;
	int64_t want[8];
} pauses[] = {
	{ "30 s, doubled up to ten minutes", { 900000, 900000, 7200000 }, 3,
		{ 30000, 60000, 120000, 240000, 480000, 600000, 600000, 600000 } },
	{ "the first wait when it is shorter", { 10000, 3600000 }, 2,
		{ 10000, 20000, 40000, 80000, 160000, 320000, 600000, 600000 } },
	{ "never longer than the longest wait", { 5000, 45000, 10000 }, 3,
		{ 5000, 10000, 20000, 40000, 45000, 45000, 45000, 45000 } },
	{ "one short wait", { 1000 }, 1, { 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000 } },
	{ "one long wait", { 604800000 }, 1,
		{ 30000, 60000, 120000, 240000, 480000, 600000, 600000, 600000 } },
};

static void test_pauses_of_a_next_hop_begin_short_and_double(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(pauses); i++) {
		for (unsigned n = 0; n < COUNT(pauses[i].want); n++)
			if (retry_pause_ms(pauses[i].waits, pauses[i].count, n + 1) != pauses[i].want[n])
				fail_msg("%s: pause %u", pauses[i].name, n + 1);
		assert_int_equal(retry_pause_ms(pauses[i].waits, pauses[i].count, UINT32_MAX),
			pauses[i].want[COUNT(pauses[i].want) - 1]);
	}
}

/* A short outage under the manual's default: the next hop is tried soon, and each outage holds it no longer than it lasted, and 30 s. */
static void test_an_outage_holds_a_next_hop_little_longer_than_it_lasts(void **state)
{
	(void)state;
	for (int64_t outage = 1000; outage < 600000; outage += 1000) {
		int64_t at = 0;

		for (unsigned failures = 1; at < outage; failures++)
			at += retry_pause_ms(standard, COUNT(standard), failures);
		assert_true(at < 2 * outage + 30000);
	}
}

/* The manual's default; test_config.c holds that the table says the same. */
static void test_2_26_the_default_begins_with_15_minutes_and_tries_when_a_delay_is_reported(void **state)
{
	const int64_t warning = INT64_C(4) * 3600 * 1000, expire = INT64_C(5) * 24 * 3600 * 1000;

	(void)state;
	for (unsigned dice = 0; dice < 1000; dice++) {
		int64_t at = 0;
		unsigned tries = 1;

		assert_true(retry_wait_ms(standard, COUNT(standard), 1, dice) >= 15 * 60000);
		for (; at < expire; tries++) {
			at += retry_wait_ms(standard, COUNT(standard), tries, dice);
			if (tries == 5)
				assert_in_range(at, warning, warning + warning / 10);
		}
		assert_in_range(tries, 50, 70);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits_in_order_then_the_last_for_ever),
		cmocka_unit_test(test_jitter_stays_within_a_tenth_for_every_dice),
		cmocka_unit_test(test_one_wait_is_enough),
		cmocka_unit_test(
			test_2_26_the_default_begins_with_15_minutes_and_tries_when_a_delay_is_reported),
		cmocka_unit_test(test_pauses_of_a_next_hop_begin_short_and_double),
		cmocka_unit_test(test_an_outage_holds_a_next_hop_little_longer_than_it_lasts),
		cmocka_unit_test(test_a_month_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
