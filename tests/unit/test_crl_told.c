/* What is said once an hour: for each issuer and reason, and with more of them than there are places. */
#include "pki/crl_told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <talloc.h>

enum { HOUR = 3600 * 1000 };

static void test_A67_once_an_hour_for_each_issuer_and_reason(void **state)
{
	struct crl_told *told = crl_told_new(NULL);

	(void)state;
	assert_true(crl_told_first(told, "CN=A", "stale", 1000));
	assert_false(crl_told_first(told, "CN=A", "stale", 1001));
	assert_true(crl_told_first(told, "CN=A", "missing", 1001));
	assert_true(crl_told_first(told, "CN=B", "stale", 1001));
	assert_false(crl_told_first(told, "CN=A", "stale", 999 + HOUR));
	assert_true(crl_told_first(told, "CN=A", "stale", 1000 + HOUR));
	assert_false(crl_told_first(told, "CN=A", "stale", 1001 + HOUR));
	talloc_free(told);
}

/* The oldest gives way: nothing grows, and who is many is heard. */
static void test_more_issuers_than_places(void **state)
{
	struct crl_told *told = crl_told_new(NULL);
	char issuer[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(issuer, sizeof issuer, "CN=%d", i);
		assert_true(crl_told_first(told, issuer, "stale", 1 + i));
		assert_false(crl_told_first(told, issuer, "stale", 1 + i));
	}
	assert_false(crl_told_first(told, "CN=990", "stale", 2000));
	assert_true(crl_told_first(told, "CN=1", "stale", 2000));
	talloc_free(told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_A67_once_an_hour_for_each_issuer_and_reason),
		cmocka_unit_test(test_more_issuers_than_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
