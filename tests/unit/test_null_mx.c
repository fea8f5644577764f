/* Null MX over all inputs: only what was asked for, and said so, is refused (policy/null_mx.c). */
#include "policy/null_mx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_1_67_only_a_null_mx_that_counts_refuses(void **state)
{
	unsigned refused = 0;

	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		for (int end = MX_GO; end < MX_END_COUNT; end++) {
			const struct null_mx_facts f = { bits & 1, bits & 2, bits & 4, (enum mx_end)end };
			const struct null_mx_decision decision = null_mx_decide(&f);

			assert_non_null(decision.reason);
			assert_int_equal(
				decision.refused, f.wanted && f.named && !f.routed && f.end == MX_END_NULL);
			refused += decision.refused;
		}
	}
	assert_int_equal(refused, 1);
}

/* The DNS is asked exactly when its answer may change the decision. */
static void test_the_dns_is_asked_only_when_it_decides(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		struct null_mx_facts f = { bits & 1, bits & 2, bits & 4, MX_GO };
		bool asked = null_mx_must_ask(&f), changes = false;

		const bool before = null_mx_decide(&f).refused;
		for (int end = MX_GO; end < MX_END_COUNT; end++) {
			f.end = (enum mx_end)end;
			changes = changes || null_mx_decide(&f).refused != before;
		}
		assert_false(before);
		assert_int_equal(asked, changes);
	}
}

/* The reason names what decided. */
static void test_reasons(void **state)
{
	(void)state;
	assert_string_equal(null_mx_decide(&(struct null_mx_facts){ true, true, false, MX_END_NULL }).reason,
		"the domain takes no mail (null MX)");
	assert_string_equal(
		null_mx_decide(&(struct null_mx_facts){ true, true, false, MX_END_UNKNOWN }).reason,
		"the MX records could not be looked up");
	assert_string_equal(null_mx_decide(&(struct null_mx_facts){ true, true, true, MX_END_NULL }).reason,
		"a route says where mail for the domain goes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_67_only_a_null_mx_that_counts_refuses),
		cmocka_unit_test(test_the_dns_is_asked_only_when_it_decides),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
