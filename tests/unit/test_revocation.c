/* Table A67 over all inputs (policy/revocation.c). */
#include "policy/revocation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_A67_7_26_7_27_every_finding_in_every_mode(void **state)
{
	/* [finding][mode]: r = refused, c = checked, w = the operator hears of it, - = not looked at */
	static const char *const table[REVOCATION_FINDING_COUNT][REVOCATION_MODE_COUNT] = {
		/*                         off   soft   strict */
		[REVOCATION_LISTED] = { "-", "rcw", "rcw" },
		[REVOCATION_CLEAN] = { "-", "c", "c" },
		[REVOCATION_STALE] = { "-", "w", "rw" },
		[REVOCATION_NO_LIST] = { "-", "w", "rw" },
		[REVOCATION_NOT_NEEDED] = { "-", "c", "c" },
	};

	(void)state;
	for (int finding = 0; finding < REVOCATION_FINDING_COUNT; finding++)
		for (int mode = 0; mode < REVOCATION_MODE_COUNT; mode++) {
			struct revocation_decision decision = revocation_decide(
				(enum revocation_finding)finding, (enum revocation_mode)mode);
			const char *expected = table[finding][mode];

			assert_int_equal(decision.refused, strchr(expected, 'r') != NULL);
			assert_int_equal(decision.checked, strchr(expected, 'c') != NULL);
			assert_int_equal(decision.warn, strchr(expected, 'w') != NULL);
			assert_true(decision.reason[0] != '\0');
		}
}

/* Strict never lets pass what soft refuses, and soft nothing that is listed. */
static void test_A67_strict_is_never_laxer(void **state)
{
	(void)state;
	for (int finding = 0; finding < REVOCATION_FINDING_COUNT; finding++) {
		enum revocation_finding f = (enum revocation_finding)finding;

		assert_true(revocation_decide(f, REVOCATION_STRICT).refused ||
			    !revocation_decide(f, REVOCATION_SOFT).refused);
		assert_false(revocation_decide(f, REVOCATION_OFF).refused);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_A67_7_26_7_27_every_finding_in_every_mode),
		cmocka_unit_test(test_A67_strict_is_never_laxer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
