/* Does this address exist? All inputs of the rule, and the laws that must hold over them (policy/recipient.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "policy/recipient.h"

static const struct {
	const char *name;
	struct recipient_facts facts;
	enum recipient_verdict want;
} cases[] = {
	{ "nothing is checked", { 0 }, RECIPIENT_TAKE },
	{ "on the list", { .has_list = true, .listed = true }, RECIPIENT_TAKE },
	{ "not on the list", { .has_list = true }, RECIPIENT_UNKNOWN },
	{ "postmaster is not on the list", { .special = true, .has_list = true }, RECIPIENT_TAKE },
	{ "the next hop knows it", { .answer = RECIPIENT_YES }, RECIPIENT_TAKE },
	{ "the next hop does not know it", { .answer = RECIPIENT_NO }, RECIPIENT_UNKNOWN },
	{ "the next hop cannot be asked", { .answer = RECIPIENT_LATER }, RECIPIENT_DEFER },
	{ "listed, but the next hop does not know it",
		{ .has_list = true, .listed = true, .answer = RECIPIENT_NO }, RECIPIENT_UNKNOWN },
	{ "not listed, and the next hop cannot be asked", { .has_list = true, .answer = RECIPIENT_LATER },
		RECIPIENT_UNKNOWN },
};

static void test_each_known_case(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (recipient_decide(&cases[i].facts).verdict != cases[i].want)
			fail_msg("%s", cases[i].name);
}

static void test_laws_over_all_inputs(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		for (int answer = RECIPIENT_NOT_ASKED; answer <= RECIPIENT_LATER; answer++) {
			struct recipient_facts f = { bits & 1, bits & 2, bits & 4,
				(enum recipient_answer)answer };
			struct recipient_decision decision = recipient_decide(&f);

			assert_non_null(decision.reason);
			if (f.special)
				assert_int_equal(decision.verdict, RECIPIENT_TAKE);
			if (!f.special && answer == RECIPIENT_LATER)
				assert_int_not_equal(decision.verdict, RECIPIENT_TAKE);
			if (!f.special && answer == RECIPIENT_NO)
				assert_int_equal(decision.verdict, RECIPIENT_UNKNOWN);
			if (decision.verdict == RECIPIENT_DEFER)
				assert_int_equal(answer, RECIPIENT_LATER);
			assert_int_equal(
				recipient_must_ask(&f, true), !f.special && (!f.has_list || f.listed));
			assert_false(recipient_must_ask(&f, false));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_known_case),
		cmocka_unit_test(test_laws_over_all_inputs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
