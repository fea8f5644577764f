/* Verdicts that are only recorded are remembered for some minutes (pki/verify_memo.c). */
#include "pki/verify_memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "certificates.h"
#include "pki/trust.h"

static struct certificates made;
static const struct certificate *root, *leaf, *other;
static STACK_OF(X509) * chain, *other_chain;

static STACK_OF(X509) * chain_of(const struct certificate *first, const struct certificate *second)
{
	STACK_OF(X509) *stack = sk_X509_new_null();

	sk_X509_push(stack, first->x509);
	if (second != NULL)
		sk_X509_push(stack, second->x509);
	return stack;
}

static struct verify_facts facts_of(void)
{
	return (struct verify_facts){ .chain = chain, .now_ms = (int64_t)CERTIFICATES_NOW * 1000 };
}

static struct verify_verdict verdict_of(const char *matched)
{
	struct verify_verdict verdict = { .result = VERIFY_FINE };

	snprintf(verdict.matched, sizeof verdict.matched, "%s", matched);
	return verdict;
}

static struct digest number(unsigned i)
{
	char text[20];

	snprintf(text, sizeof text, "%u", i);
	return digest_of(text_of(text));
}

static void test_a_verdict_lasts_for_minutes_and_no_longer(void **state)
{
	struct verify_memo *memo = verify_memo_new(*state);
	const struct verify_facts facts = facts_of();
	const struct verify_verdict first = verdict_of("first"), second = verdict_of("second");
	struct verify_verdict found;
	const struct digest a = number(1), b = number(2);

	assert_false(verify_memo_find(memo, &a, 1000, &found));
	verify_memo_keep(memo, &a, 1000, &facts, &first);
	assert_true(verify_memo_find(memo, &a, 1000, &found));
	assert_string_equal(found.matched, "first");
	assert_false(verify_memo_find(memo, &b, 1000, &found));
	assert_true(verify_memo_find(memo, &a, 999 + VERIFY_MEMO_MS, &found));
	assert_false(verify_memo_find(memo, &a, 1000 + VERIFY_MEMO_MS, &found));
	verify_memo_keep(memo, &a, 5000, &facts, &second);
	assert_true(verify_memo_find(memo, &a, 4999 + VERIFY_MEMO_MS, &found));
	assert_string_equal(found.matched, "second");
	talloc_free(memo);
}

static void test_of_many_the_oldest_goes(void **state)
{
	struct verify_memo *memo = verify_memo_new(*state);
	const struct verify_facts facts = facts_of();
	const struct verify_verdict verdict = verdict_of("any");
	struct verify_verdict found;

	for (unsigned i = 0; i <= VERIFY_MEMO_MAX; i++) {
		const struct digest key = number(i);

		verify_memo_keep(memo, &key, 0, &facts, &verdict);
	}
	for (unsigned i = 0; i <= VERIFY_MEMO_MAX; i++) {
		const struct digest key = number(i);

		assert_int_equal(verify_memo_find(memo, &key, 1, &found), i > 0);
	}
	talloc_free(memo);
}

static void test_what_ends_meanwhile_is_not_kept(void **state)
{
	struct verify_memo *memo = verify_memo_new(*state);
	const int64_t end_ms = ((int64_t)CERTIFICATES_NOW + 30 * CERTIFICATES_DAY) * 1000;
	const struct {
		int64_t before_end_ms;
		bool kept;
	} rows[] = { { VERIFY_MEMO_MS + 1000, true }, { VERIFY_MEMO_MS, false }, { 1000, false },
		{ -1000, true } };
	const struct verify_verdict verdict = verdict_of("any");
	struct verify_verdict found;

	for (unsigned i = 0; i < COUNT(rows); i++) {
		struct verify_facts facts = facts_of();
		const struct digest key = number(i);

		facts.now_ms = end_ms - rows[i].before_end_ms;
		verify_memo_keep(memo, &key, 0, &facts, &verdict);
		if (verify_memo_find(memo, &key, 1, &found) != rows[i].kept)
			fail_msg("row %u", i);
	}
	talloc_free(memo);
}

static struct digest key_of(
	const struct verify_facts *facts, enum tls_check check, const struct verify_server *server)
{
	const struct digest digest = verify_memo_chain(facts);

	return verify_memo_key(&digest, check, server);
}

static bool is_same(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static void test_2_16_everything_that_the_verdict_depends_on_is_in_the_key(void **state)
{
	struct trust *trust = trust_new(*state);
	struct verify_server usual = { .domain = "good.test", .host = "mx.good.test", .route = "gw.test" };
	struct verify_facts facts[] = { facts_of(), facts_of(), facts_of(), facts_of(), facts_of(),
		facts_of(), facts_of(), facts_of(), facts_of() };
	struct verify_server servers[] = { usual, usual, usual, usual, usual, usual };
	struct digest keys[1 + COUNT(facts) + COUNT(servers)];
	size_t count = 0;

	facts[1].trust = trust;
	facts[2].chain = other_chain;
	facts[3].cn_fallback = true;
	facts[4].fqdn = true;
	facts[5].weak = true;
	facts[6].revocation = REVOCATION_STRICT;
	facts[7].chain = NULL;
	facts[8].ocsp = OCSP_STRICT;
	for (size_t i = 0; i < COUNT(facts); i++)
		keys[count++] = key_of(&facts[i], TLS_CHECK_DOMAIN, &usual);
	keys[count++] = key_of(&facts[0], TLS_CHECK_HOSTED, &usual);
	servers[0].domain = "other.test";
	servers[1].host = NULL;
	servers[2].route = NULL;
	servers[3].host = NULL;
	ip_parse(TEXT("192.0.2.1"), &servers[3].address);
	servers[4].domain = "good.testm"; /* the same letters, divided otherwise */
	servers[4].host = "x.good.test";
	servers[5].domain = NULL;
	for (size_t i = 0; i < COUNT(servers); i++)
		keys[count++] = key_of(&facts[0], TLS_CHECK_DOMAIN, &servers[i]);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (is_same(&keys[i], &keys[j]))
				fail_msg("keys %zu and %zu", i, j);
	facts[1] = facts_of();
	facts[1].now_ms += 1000;
	usual.ptr = "a-1.isp.test"; /* nobody asks for it */
	ip_parse(TEXT("192.0.2.1"), &usual.address);
	keys[1] = key_of(&facts[1], TLS_CHECK_DOMAIN, &usual);
	assert_true(is_same(&keys[0], &keys[1]));
}

static int set_up(void **state)
{
	*state = made.scratch = talloc_new(NULL);
	root = certificates_authority(&made, "root", NULL);
	leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = root });
	other = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = root });
	chain = chain_of(leaf, NULL);
	other_chain = chain_of(leaf, other);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sk_X509_free(chain);
	sk_X509_free(other_chain);
	certificates_free(&made);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_verdict_lasts_for_minutes_and_no_longer),
		cmocka_unit_test(test_of_many_the_oldest_goes),
		cmocka_unit_test(test_what_ends_meanwhile_is_not_kept),
		cmocka_unit_test(test_2_16_everything_that_the_verdict_depends_on_is_in_the_key),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
