/* Reports: the cases one by one, then laws over all inputs. */
#include "policy/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

static const struct {
	const char *name;
	struct notify_facts facts;
	enum notify_report want;
} cases[] = {
	{ "a failure is reported unasked", { .end = NOTIFY_FAILED }, NOTIFY_FAILURE },
	{ "and when asked for", { .end = NOTIFY_FAILED, .named = true, .failure = true }, NOTIFY_FAILURE },
	{ "not when only success was asked for", { .end = NOTIFY_FAILED, .named = true, .success = true },
		NOTIFY_NONE },
	{ "2.29 NEVER", { .end = NOTIFY_FAILED, .named = true }, NOTIFY_NONE },
	{ "2.29 NEVER, delivered", { .end = NOTIFY_DELIVERED, .named = true }, NOTIFY_NONE },
	{ "2.29 NEVER, late", { .end = NOTIFY_WAITING, .named = true, .late = true }, NOTIFY_NONE },
	{ "nobody is told of success unasked", { .end = NOTIFY_DELIVERED }, NOTIFY_NONE },
	{ "2.29 relayed", { .end = NOTIFY_DELIVERED, .named = true, .success = true }, NOTIFY_RELAYED },
	{ "2.29 passed on", { .end = NOTIFY_DELIVERED, .named = true, .success = true, .passed_on = true },
		NOTIFY_NONE },
	{ "2.26 late", { .end = NOTIFY_WAITING, .late = true }, NOTIFY_DELAY },
	{ "2.26 late and asked for", { .end = NOTIFY_WAITING, .named = true, .delay = true, .late = true },
		NOTIFY_DELAY },
	{ "late, but only failures are wanted",
		{ .end = NOTIFY_WAITING, .named = true, .failure = true, .late = true }, NOTIFY_NONE },
	{ "2.26 late for the second time", { .end = NOTIFY_WAITING, .late = true, .warned = true },
		NOTIFY_NONE },
	{ "waiting, but not late", { .end = NOTIFY_WAITING }, NOTIFY_NONE },
	{ "2.30 a report that fails is dropped", { .end = NOTIFY_FAILED, .null_sender = true },
		NOTIFY_DROPPED },
	{ "2.30 our own report, with NOTIFY=NEVER",
		{ .end = NOTIFY_FAILED, .null_sender = true, .named = true, .double_bounce = true },
		NOTIFY_DOUBLE },
	{ "2.30 a double bounce that fails",
		{ .end = NOTIFY_FAILED,
			.null_sender = true,
			.double_bounce = true,
			.to_double_bounce = true },
		NOTIFY_DROPPED },
	{ "2.30 a report that is late", { .end = NOTIFY_WAITING, .null_sender = true, .late = true },
		NOTIFY_NONE },
	{ "2.30 success of a report",
		{ .end = NOTIFY_DELIVERED, .null_sender = true, .named = true, .success = true },
		NOTIFY_NONE },
};

static void test_2_26_2_29_2_30_each_known_case(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (notify_decide(&cases[i].facts).report != cases[i].want)
			fail_msg("%s", cases[i].name);
}

/* Every combination of facts, by its number; false behind the last one. */
static bool nth(unsigned n, struct notify_facts *ret_facts)
{
	*ret_facts = (struct notify_facts){ .end = (enum notify_end)(n >> 10),
		.named = n & 1,
		.success = n & 2,
		.failure = n & 4,
		.delay = n & 8,
		.null_sender = n & 16,
		.late = n & 32,
		.warned = n & 64,
		.passed_on = n & 128,
		.double_bounce = n & 256,
		.to_double_bounce = n & 512 };
	return n < 3u << 10;
}

/* What the standards and the manual say, in other words than the table. */
static void check(const struct notify_facts *f, enum notify_report report)
{
	const bool never = f->named && !f->success && !f->failure && !f->delay;

	if (f->null_sender)
		assert_true(report == NOTIFY_NONE || f->end == NOTIFY_FAILED);
	else
		assert_true(report != NOTIFY_DOUBLE && report != NOTIFY_DROPPED);
	if (f->null_sender && f->end == NOTIFY_FAILED)
		assert_int_equal(
			report, f->double_bounce && !f->to_double_bounce ? NOTIFY_DOUBLE : NOTIFY_DROPPED);
	if (never && !f->null_sender)
		assert_int_equal(report, NOTIFY_NONE);
	if (!f->null_sender && f->end == NOTIFY_FAILED)
		assert_int_equal(report == NOTIFY_FAILURE, !f->named || f->failure);
	assert_int_equal(report == NOTIFY_DELAY, f->end == NOTIFY_WAITING && !f->null_sender && f->late &&
							 !f->warned && (!f->named || f->delay));
	assert_int_equal(report == NOTIFY_RELAYED,
		f->end == NOTIFY_DELIVERED && !f->null_sender && f->named && f->success && !f->passed_on);
	assert_true(report != NOTIFY_FAILURE || f->end == NOTIFY_FAILED);
}

static void test_2_26_2_29_2_30_over_all_inputs(void **state)
{
	struct notify_facts facts;
	unsigned seen[NOTIFY_DROPPED + 1] = { 0 }, n = 0;

	(void)state;
	for (; nth(n, &facts); n++) {
		struct notify_decision decision = notify_decide(&facts);

		check(&facts, decision.report);
		assert_non_null(decision.reason);
		seen[decision.report]++;
	}
	assert_int_equal(n, 3072);
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_true(seen[i] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_26_2_29_2_30_each_known_case),
		cmocka_unit_test(test_2_26_2_29_2_30_over_all_inputs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
