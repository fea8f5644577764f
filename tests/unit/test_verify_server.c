/* Which names a server's certificate has to be for (pki/verify_server.c): B49, B50, B51 and decision 3. */
#include "pki/verify_server.h"

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
static const struct certificate *root, *limited;
static EVP_PKEY *key; /* of all servers, to save time */

/* The four names of a server, and what a certificate may hold instead of each. */
enum { DOMAIN, HOST, ROUTE, PTR, NAME_COUNT };

static const char *const names[] = { "dept.good.test", "mx1.mail.test", "gw.route.test", "a-1.isp.test" };
static const char *const wildcards[] = { "*.good.test", "*.mail.test", "*.route.test", "*.isp.test" };

/* What stands in one field of a certificate: nothing, another name, one of the names, or a wildcard for it. */
enum { NOTHING, OTHER, EXACT, WILDCARD = EXACT + NAME_COUNT, FIELD_COUNT = WILDCARD + NAME_COUNT };

static const char *field_text(int field)
{
	return field == NOTHING	   ? NULL
	       : field == OTHER	   ? "elsewhere.test"
	       : field >= WILDCARD ? wildcards[field - WILDCARD]
				   : names[field - EXACT];
}

static bool covers(int field, int name, bool exact)
{
	return field == EXACT + name || (field == WILDCARD + name && !exact);
}

static struct verify_server server_of(bool ptr)
{
	return (struct verify_server){ .domain = names[DOMAIN],
		.host = names[HOST],
		.route = names[ROUTE],
		.ptr = ptr ? names[PTR] : NULL };
}

/* What B49, B50 and decision 3 say, said once more. */
static bool expected(enum tls_check check, int san, int cn, bool common_counts, bool ptr)
{
	bool fine = false, common = common_counts && san == NOTHING;

	switch (check) {
	case TLS_CHECK_DOMAIN:
		return covers(san, DOMAIN, false) ||
		       (common && (covers(cn, DOMAIN, true) || (ptr && covers(cn, PTR, true))));
	case TLS_CHECK_HOST:
		return covers(san, HOST, false) || (common && covers(cn, HOST, false));
	default:
		for (int name = 0; name < (ptr ? NAME_COUNT : PTR); name++)
			fine |= covers(san, name, false) || (common && covers(cn, name, false));
		return fine;
	}
}

static const struct certificate *certificate_of(int san, int cn, const struct certificate *issuer)
{
	char text[64];

	snprintf(text, sizeof text, "DNS:%s", san == NOTHING ? "" : field_text(san));
	return certificates_make(&made, (struct certificate_plan){ .san = san == NOTHING ? NULL : text,
						.cn = field_text(cn),
						.key = key,
						.issuer = issuer });
}

/* A verified chain below a trusted root; free it with its owner. */
static struct verified *verified_of(void *owner, const struct certificate *leaf,
	const struct certificate *issuer, struct verify_facts facts)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct trust *trust = trust_new(owner);

	trust_add(trust, root->pem);
	sk_X509_push(chain, leaf->x509);
	sk_X509_push(chain, issuer->x509);
	facts.chain = chain;
	facts.trust = trust;
	if (facts.now_ms == 0)
		facts.now_ms = (int64_t)CERTIFICATES_NOW * 1000;
	struct verified *verified = verify_open(owner, &facts);
	sk_X509_free(chain); /* the path is its own */
	return verified;
}

static void check_questions(const struct verified *verified, int san, int cn, bool common_counts)
{
	static const enum tls_check checks[] = { TLS_CHECK_DOMAIN, TLS_CHECK_HOST, TLS_CHECK_HOSTED };

	for (size_t i = 0; i < COUNT(checks); i++) {
		struct verify_verdict verdicts[2];

		for (int ptr = 0; ptr < 2; ptr++) {
			struct verify_server server = server_of(ptr);
			bool fine = expected(checks[i], san, cn, common_counts, ptr);

			verify_server_ask(verified, checks[i], &server, &verdicts[ptr]);
			if ((verdicts[ptr].result == VERIFY_FINE) != fine)
				fail_msg("check %d, SAN %s, CN %s, ptr %d, common name counts %d: %s, %s",
					checks[i], field_text(san), field_text(cn), ptr, common_counts,
					verify_result_word(verdicts[ptr].result), verdicts[ptr].reason);
			if (!fine)
				assert_int_equal(verdicts[ptr].result, VERIFY_HOST_MISMATCH);
			assert_int_equal(!!(verdicts[ptr].checked & VERIFY_NAMES), fine);
			assert_int_equal(verdicts[ptr].matched[0] != '\0', fine);
			assert_int_equal(verdicts[ptr].reason[0] == '\0', fine);
		}
		if (!verify_server_wants_ptr(verified, checks[i], &verdicts[0]))
			assert_int_equal(verdicts[0].result, verdicts[1].result);
	}
}

static void test_B49_B50_each_name_in_each_field(void **state)
{
	(void)state;
	for (int san = 0; san < FIELD_COUNT; san++)
		for (int cn = 0; cn < FIELD_COUNT; cn++)
			for (int constrained = 0; constrained < 2; constrained++) {
				const struct certificate *issuer = constrained ? limited : root;
				const struct certificate *leaf = certificate_of(san, cn, issuer);

				for (int fallback = 0; fallback < 2; fallback++) {
					struct verified *verified = verified_of(made.scratch, leaf, issuer,
						(struct verify_facts){ .cn_fallback = fallback });

					check_questions(verified, san, cn, fallback && !constrained);
					talloc_free(verified);
				}
			}
}

static void test_B49_the_reverse_name_is_wanted_only_where_it_could_help(void **state)
{
	const struct {
		int san, cn;
		bool fallback;
		enum tls_check check;
		bool wanted;
	} rows[] = {
		{ EXACT + DOMAIN, NOTHING, true, TLS_CHECK_DOMAIN, false },
		{ NOTHING, EXACT + DOMAIN, true, TLS_CHECK_DOMAIN, false },
		{ NOTHING, EXACT + PTR, true, TLS_CHECK_DOMAIN, true },
		{ NOTHING, EXACT + PTR, false, TLS_CHECK_DOMAIN, false },
		{ OTHER, EXACT + PTR, true, TLS_CHECK_DOMAIN, false },
		{ OTHER, NOTHING, false, TLS_CHECK_HOSTED, true },
		{ EXACT + HOST, NOTHING, false, TLS_CHECK_HOSTED, false },
		{ OTHER, NOTHING, true, TLS_CHECK_HOST, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct verify_server server = server_of(false);
		struct verified *verified =
			verified_of(made.scratch, certificate_of(rows[i].san, rows[i].cn, root), root,
				(struct verify_facts){ .cn_fallback = rows[i].fallback });
		struct verify_verdict verdict;

		verify_server_ask(verified, rows[i].check, &server, &verdict);
		if (verify_server_wants_ptr(verified, rows[i].check, &verdict) != rows[i].wanted)
			fail_msg("row %zu", i);
	}
}

static void test_B50_the_name_that_is_shown_is_the_first_of_the_order(void **state)
{
	static const struct {
		const char *san, *matched;
	} rows[] = {
		{ "DNS:a-1.isp.test,DNS:gw.route.test,DNS:mx1.mail.test,DNS:*.good.test", "dept.good.test" },
		{ "DNS:a-1.isp.test,DNS:gw.route.test,DNS:mx1.mail.test", "mx1.mail.test" },
		{ "DNS:a-1.isp.test,DNS:gw.route.test", "gw.route.test" },
		{ "DNS:a-1.isp.test", "a-1.isp.test" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct certificate *leaf = certificates_make(
			&made, (struct certificate_plan){ .san = rows[i].san, .issuer = root });
		const struct verify_server server = server_of(true);
		struct verify_verdict verdict;

		verify_server_ask(verified_of(made.scratch, leaf, root, (struct verify_facts){ 0 }),
			TLS_CHECK_HOSTED, &server, &verdict);
		assert_int_equal(verdict.result, VERIFY_FINE);
		assert_string_equal(verdict.matched, rows[i].matched);
	}
}

static bool is_for(const char *san, const char *domain)
{
	const struct certificate *leaf =
		certificates_make(&made, (struct certificate_plan){ .san = san, .issuer = root });
	const struct verify_server server = { .domain = domain };
	struct verify_verdict verdict;

	verify_server_ask(verified_of(made.scratch, leaf, root, (struct verify_facts){ 0 }), TLS_CHECK_DOMAIN,
		&server, &verdict);
	return verdict.result == VERIFY_FINE;
}

static void test_B51_a_wildcard_is_never_for_all_that_a_registry_gives_out(void **state)
{
	(void)state;
	assert_false(is_for("DNS:*.co.uk", "good.co.uk"));
	assert_false(is_for("DNS:*.com", "good.com"));
	assert_false(is_for("DNS:*.test", "good.test"));
	assert_false(is_for("DNS:*", "good.test"));
	assert_true(is_for("DNS:*.good.co.uk", "mx.good.co.uk"));
	assert_true(is_for("DNS:*.co.uk,DNS:good.co.uk", "good.co.uk"));
	assert_true(is_for("DNS:*.github.io", "good.github.io")); /* that one is somebody's own */
	assert_true(is_for("DNS:*.good.test", "mx.good.test"));
	assert_false(is_for("DNS:*.good.test", "a.mx.good.test"));
	assert_false(is_for("DNS:d*.good.test", "dept.good.test"));
}

static void test_an_address_literal_is_asked_for_as_an_address(void **state)
{
	const struct certificate *leaf =
		certificates_make(&made, (struct certificate_plan){ .san = "IP:192.0.2.1", .issuer = root });
	const struct verified *verified = verified_of(made.scratch, leaf, root, (struct verify_facts){ 0 });
	struct verify_server server = { 0 };
	struct verify_verdict verdict;

	(void)state;
	for (enum tls_check check = TLS_CHECK_HOST; check <= TLS_CHECK_HOSTED; check *= 2) {
		assert_int_equal(ip_parse(TEXT("192.0.2.1"), &server.address), 0);
		verify_server_ask(verified, check, &server, &verdict);
		assert_int_equal(verdict.result, VERIFY_FINE);
		assert_int_equal(ip_parse(TEXT("192.0.2.2"), &server.address), 0);
		verify_server_ask(verified, check, &server, &verdict);
		assert_int_equal(verdict.result, VERIFY_HOST_MISMATCH);
		server.address.family = 0; /* no name at all is not everybody's */
		verify_server_ask(verified, check, &server, &verdict);
		assert_int_equal(verdict.result, VERIFY_FAILURE);
	}
	server = server_of(true);
	assert_int_equal(ip_parse(TEXT("192.0.2.1"), &server.address), 0);
	verify_server_ask(verified, TLS_CHECK_HOSTED, &server, &verdict); /* there are names */
	assert_int_equal(verdict.result, VERIFY_HOST_MISMATCH);
}

static void test_B46_what_is_wrong_with_the_chain_is_wrong_for_every_question(void **state)
{
	static const enum tls_check checks[] = { TLS_CHECK_DOMAIN, TLS_CHECK_HOST, TLS_CHECK_HOSTED };
	const struct certificate *foreign = certificates_authority(&made, "foreign", NULL);
	struct certificate_plan plan = { .san = "DNS:dept.good.test,DNS:mx1.mail.test" };
	const struct verify_server server = server_of(false);
	struct verify_verdict verdict;

	(void)state;
	for (int case_ = 0; case_ < 4; case_++) {
		plan.issuer = case_ == 0 ? foreign : root;
		plan.to_days = case_ == 1 ? -1 : 30;
		plan.from_days = -2;
		plan.rsa = case_ == 2 ? 1024 : 0;
		const struct verified *verified = verified_of(made.scratch, certificates_make(&made, plan),
			plan.issuer, (struct verify_facts){ 0 });
		for (size_t i = 0; i < COUNT(checks); i++) {
			verify_server_ask(verified, checks[i], &server, &verdict);
			assert_int_equal(verdict.result, case_ == 3   ? VERIFY_FINE
							 : case_ == 1 ? VERIFY_EXPIRED
								      : VERIFY_NOT_TRUSTED);
			assert_false(verify_server_wants_ptr(verified, checks[i], &verdict));
		}
		assert_int_equal(verify_issuer(verified) != NULL, case_ == 3);
	}
}

static void test_B46_B47_fully_qualified_names_are_asked_for_beside_the_match(void **state)
{
	static const struct {
		const char *san, *cn;
		bool fallback, fine;
	} rows[] = {
		{ "DNS:dept.good.test", "Some One", true, true }, /* the common name does not count */
		{ "DNS:dept.good.test,DNS:localhost", NULL, false, false },
		{ NULL, "dept.good.test", true, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int fqdn = 0; fqdn < 2; fqdn++) {
			const struct certificate *leaf = certificates_make(
				&made, (struct certificate_plan){
					       .san = rows[i].san, .cn = rows[i].cn, .issuer = root });
			const struct verify_server server = server_of(false);
			struct verify_verdict verdict;

			verify_server_ask(verified_of(made.scratch, leaf, root,
						  (struct verify_facts){
							  .cn_fallback = rows[i].fallback, .fqdn = fqdn }),
				TLS_CHECK_DOMAIN, &server, &verdict);
			if ((verdict.result == VERIFY_FINE) != (rows[i].fine || !fqdn))
				fail_msg("row %zu, %d: %s", i, fqdn, verdict.reason);
		}
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	root = certificates_authority(&made, "root", NULL);
	limited = certificates_make(&made, (struct certificate_plan){ .cn = "limited",
						   .ca = "critical,CA:TRUE",
						   .constraints = "critical,permitted;DNS:test",
						   .issuer = root });
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	certificates_free(&made);
	EVP_PKEY_free(key);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_B49_B50_each_name_in_each_field),
		TEST(test_B49_the_reverse_name_is_wanted_only_where_it_could_help),
		TEST(test_B50_the_name_that_is_shown_is_the_first_of_the_order),
		TEST(test_B51_a_wildcard_is_never_for_all_that_a_registry_gives_out),
		TEST(test_an_address_literal_is_asked_for_as_an_address),
		TEST(test_B46_what_is_wrong_with_the_chain_is_wrong_for_every_question),
		TEST(test_B46_B47_fully_qualified_names_are_asked_for_beside_the_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
