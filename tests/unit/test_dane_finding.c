/* What DANE finds out, over all that the DNS can say. */
#include "policy/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

enum { MX = DANE_TRUST_UNKNOWN + 1 };

/* The order of RFC 7672 section 2.2: the MX records, the host, its records; what cannot be known is never taken for absent. */
static enum dane_finding expected(const struct dane_facts *f)
{
	static const enum dane_finding of_host[DANE_LOOKUP_COUNT] = { DANE_NOT_LOOKED, DANE_UNKNOWN,
		DANE_ABSENT, DANE_INSECURE_RECORDS, DANE_UNUSABLE };
	const bool insecure_mx = f->mx == DANE_TRUST_INSECURE;
	enum dane_finding found = of_host[f->tlsa];

	if (f->tlsa == DANE_LOOKUP_FOUND && f->usable)
		found = DANE_USABLE;
	if (f->host == DANE_TRUST_INSECURE)
		found = DANE_INSECURE_HOST;
	if (f->host == DANE_TRUST_UNKNOWN)
		found = DANE_HOST_UNKNOWN;
	if (f->mx == DANE_TRUST_UNKNOWN)
		return DANE_MX_UNKNOWN;
	if (!insecure_mx)
		return found;
	return found == DANE_USABLE				     ? DANE_USABLE_INSECURE_MX
	       : found == DANE_UNUSABLE				     ? DANE_UNUSABLE_INSECURE_MX
	       : found == DANE_UNKNOWN || found == DANE_HOST_UNKNOWN ? DANE_UNKNOWN_INSECURE_MX
								     : DANE_INSECURE_MX;
}

static void test_B81_3_01_3_02_3_03_3_04_3_05_3_08_each_of_all_inputs(void **state)
{
	unsigned seen = 0;

	(void)state;
	for (int i = 0; i < MX * MX * DANE_LOOKUP_COUNT * 2; i++) {
		const struct dane_facts facts = { .mx = (enum dane_trust)(i % MX),
			.host = (enum dane_trust)(i / MX % MX),
			.tlsa = (enum dane_lookup)(i / MX / MX % DANE_LOOKUP_COUNT),
			.usable = i / MX / MX / DANE_LOOKUP_COUNT != 0 };
		const enum dane_finding found = dane_find(&facts);

		assert_int_equal(found, expected(&facts));
		seen |= 1u << found;
		/* only what is secure from end to end is DANE, and only what is known counts as absent */
		if (found == DANE_USABLE)
			assert_true(facts.mx == DANE_TRUST_SECURE && facts.host == DANE_TRUST_SECURE &&
				    facts.tlsa == DANE_LOOKUP_FOUND && facts.usable);
		if (dane_result(found, true) == DANE_RESULT_NOT_APPLICABLE ||
			dane_result(found, true) == DANE_RESULT_INSECURE)
			assert_true(facts.mx != DANE_TRUST_UNKNOWN && facts.host != DANE_TRUST_UNKNOWN &&
				    (facts.tlsa != DANE_LOOKUP_FAILED || facts.host == DANE_TRUST_INSECURE));
	}
	assert_int_equal(seen, (1u << DANE_FINDING_COUNT) - 1);
}

static void test_each_finding_has_words_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < DANE_FINDING_COUNT; i++) {
		const char *word = dane_word((enum dane_finding)i);

		assert_null(strpbrk(word, " _.ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
		assert_true(strlen(dane_explain((enum dane_finding)i)) > 20);
		for (int n = 0; n < i; n++) {
			assert_string_not_equal(word, dane_word((enum dane_finding)n));
			assert_string_not_equal(
				dane_explain((enum dane_finding)i), dane_explain((enum dane_finding)n));
		}
	}
}

static void test_each_finding_counts_as_one_result(void **state)
{
	static const char *const words[][2] = {
		/* passed or not */
		[DANE_NOT_LOOKED] = { "not_applicable", "not_applicable" },
		[DANE_INSECURE_MX] = { "insecure", "insecure" },
		[DANE_INSECURE_HOST] = { "insecure", "insecure" },
		[DANE_ABSENT] = { "not_applicable", "not_applicable" },
		[DANE_INSECURE_RECORDS] = { "insecure", "insecure" },
		[DANE_UNUSABLE] = { "unusable", "unusable" },
		[DANE_USABLE] = { "ok", "failed" },
		[DANE_USABLE_INSECURE_MX] = { "ok", "failed" },
		[DANE_UNUSABLE_INSECURE_MX] = { "unusable", "unusable" },
		[DANE_UNKNOWN_INSECURE_MX] = { "tempfail", "tempfail" },
		[DANE_MX_UNKNOWN] = { "tempfail", "tempfail" },
		[DANE_HOST_UNKNOWN] = { "tempfail", "tempfail" },
		[DANE_UNKNOWN] = { "tempfail", "tempfail" },
	};

	(void)state;
	assert_int_equal(COUNT(words), DANE_FINDING_COUNT);
	for (int i = 0; i < DANE_FINDING_COUNT; i++)
		for (int failed = 0; failed < 2; failed++)
			assert_string_equal(dane_result_word(dane_result((enum dane_finding)i, failed == 0)),
				words[i][failed]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B81_3_01_3_02_3_03_3_04_3_05_3_08_each_of_all_inputs),
		cmocka_unit_test(test_each_finding_has_words_of_its_own),
		cmocka_unit_test(test_each_finding_counts_as_one_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
