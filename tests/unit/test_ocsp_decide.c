/* Table E41 over all inputs (policy/ocsp.c). */
#include "policy/ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_E41_7_41_every_finding_in_every_mode(void **state)
{
	/* [finding][mode]: r = refused, c = checked, w = the operator hears of it, - = nobody is asked */
	static const char *const table[OCSP_FINDING_COUNT][OCSP_MODE_COUNT] = {
		/*                       off  lenient strict */
		[OCSP_REVOKED] = { "-", "rcw", "rcw" },
		[OCSP_UNKNOWN] = { "-", "w", "rw" },
		[OCSP_NO_ANSWER] = { "-", "w", "rw" },
		[OCSP_NO_RESPONDER] = { "-", "", "rw" },
		[OCSP_GOOD] = { "-", "c", "c" },
		[OCSP_NOT_NEEDED] = { "-", "c", "c" },
	};

	(void)state;
	for (int finding = 0; finding < OCSP_FINDING_COUNT; finding++)
		for (int mode = 0; mode < OCSP_MODE_COUNT; mode++) {
			struct ocsp_decision decision =
				ocsp_decide((enum ocsp_finding)finding, (enum ocsp_mode)mode);
			const char *expected = table[finding][mode];

			assert_int_equal(decision.refused, strchr(expected, 'r') != NULL);
			assert_int_equal(decision.checked, strchr(expected, 'c') != NULL);
			assert_int_equal(decision.warn, strchr(expected, 'w') != NULL);
			assert_true(decision.reason[0] != '\0');
			assert_true(ocsp_word((enum ocsp_finding)finding)[0] != '\0');
		}
}

/* Strict never lets pass what lenient refuses; what strict lets pass is known. */
static void test_E41_strict_is_never_laxer(void **state)
{
	(void)state;
	for (int finding = 0; finding < OCSP_FINDING_COUNT; finding++) {
		enum ocsp_finding f = (enum ocsp_finding)finding;
		struct ocsp_decision strict = ocsp_decide(f, OCSP_STRICT);

		assert_true(strict.refused || !ocsp_decide(f, OCSP_LENIENT).refused);
		assert_true(strict.refused || strict.checked);
		assert_false(ocsp_decide(f, OCSP_OFF).refused);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_E41_7_41_every_finding_in_every_mode),
		cmocka_unit_test(test_E41_strict_is_never_laxer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
