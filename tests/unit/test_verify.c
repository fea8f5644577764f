/* The one function that says whether a peer may be believed (pki/verify.c): conformance 8.01 to 8.12. */
#include "pki/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "certificates.h"
#include "pki/crl_set.h"
#include "pki/trust.h"
#include "pki/verify_names.h"

static struct certificates made;
static const struct certificate *root;

/* What is verified: a path, the peer's certificate first, and what differs from the usual. */
struct scene {
	const struct certificate *path[8];
	const struct certificate *anchor; /* NULL = `root` */
	const char *host, *second_host, *address;
	struct verify_facts facts;
};

static struct verify_verdict verify(struct scene scene)
{
	struct trust *trust = trust_new(NULL);
	STACK_OF(X509) *chain = sk_X509_new_null();
	const char *hosts[] = { scene.host, scene.second_host };
	struct verify_facts facts = scene.facts;
	struct verify_verdict verdict;

	trust_add(trust, (scene.anchor == NULL ? root : scene.anchor)->pem);
	for (size_t i = 0; scene.path[i] != NULL; i++)
		sk_X509_push(chain, scene.path[i]->x509);
	facts.chain = chain;
	facts.trust = trust;
	facts.hosts = hosts;
	facts.host_count = (scene.host != NULL ? 1u : 0u) + (scene.second_host != NULL ? 1u : 0u);
	if (scene.address != NULL)
		assert_int_equal(ip_parse(text_of(scene.address), &facts.address), 0);
	if (facts.now_ms == 0)
		facts.now_ms = (int64_t)CERTIFICATES_NOW * 1000;
	verify_peer(&facts, &verdict);
	sk_X509_free(chain);
	talloc_free(trust);
	return verdict;
}

static const struct certificate *leaf_for(const char *san)
{
	return certificates_make(&made, (struct certificate_plan){ .san = san, .issuer = root });
}

/* `what` is shown when it is not as expected. */
static void expect(
	const struct verify_verdict *verdict, enum verify_result result, const char *reason, const char *what)
{
	if (verdict->result != result || strstr(verdict->reason, reason) == NULL)
		fail_msg("%s: %s, `%s`; expected %s, `%s`", what, verify_result_word(verdict->result),
			verdict->reason, verify_result_word(result), reason);
}

static bool matches(const char *san, const char *host)
{
	struct verify_verdict verdict = verify((struct scene){ { leaf_for(san) }, .host = host });

	if (verdict.result != VERIFY_FINE)
		expect(&verdict, VERIFY_HOST_MISMATCH, "hostname mismatch: ", san);
	assert_int_equal(verdict.matched[0] != '\0', verdict.result == VERIFY_FINE);
	return verdict.result == VERIFY_FINE;
}

static void test_what_was_checked_is_said(void **state)
{
	const struct certificate *middle = certificates_authority(&made, "middle", root);
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = middle });
	struct verify_verdict verdict = verify((struct scene){ { leaf, middle }, .host = "MX.good.test." });

	(void)state;
	expect(&verdict, VERIFY_FINE, "", "chain of three");
	assert_string_equal(verdict.reason, "");
	assert_string_equal(verdict.matched, "mx.good.test");
	assert_string_equal(verdict.authority, "CN=root,O=Test");
	assert_int_equal(
		verdict.checked, VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE | VERIFY_STRENGTH | VERIFY_NAMES);
	assert_int_equal(verdict.unchecked, 0);

	verdict = verify((struct scene){ { leaf }, .host = "mx.good.test", .facts = { .fqdn = true } });
	expect(&verdict, VERIFY_NOT_TRUSTED,
		"unable to get local issuer certificate: certificate 0 of the chain, O=Test", "no middle");
	assert_int_equal(verdict.checked, 0);
	assert_int_equal(verdict.unchecked,
		VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE | VERIFY_STRENGTH | VERIFY_NAMES | VERIFY_FQDN);
	assert_string_equal(verdict.authority, "");

	verdict = verify((struct scene){ .host = "mx.good.test" });
	expect(&verdict, VERIFY_FAILURE, "the peer showed no certificate", "no chain");
	verdict = verify((struct scene){ { leaf, middle } });
	expect(&verdict, VERIFY_FINE, "", "no name asked for");
	assert_int_equal(verdict.checked, VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE | VERIFY_STRENGTH);
}

static void test_an_authority_is_an_anchor_whoever_issued_it(void **state)
{
	const struct certificate *middle = certificates_authority(&made, "middle", root);
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = middle });
	const struct certificate *self =
		certificates_make(&made, (struct certificate_plan){ .san = "DNS:mx.good.test" });
	struct verify_verdict verdict =
		verify((struct scene){ { leaf, middle, root }, .anchor = middle, .host = "mx.good.test" });

	(void)state;
	expect(&verdict, VERIFY_FINE, "", "an intermediate as anchor");
	assert_string_equal(verdict.authority, "CN=middle,O=Test");
	verdict = verify((struct scene){ { self }, .anchor = self, .host = "mx.good.test" });
	expect(&verdict, VERIFY_FINE, "", "a certificate that is trusted itself");
	verdict = verify((struct scene){ { self }, .host = "mx.good.test" });
	expect(&verdict, VERIFY_NOT_TRUSTED, "self-signed certificate", "one that is not");
}

/* Dates, with the words of TLSRPT */

static void test_dates(void **state)
{
	const struct certificate *old = certificates_make(
		&made, (struct certificate_plan){
			       .san = "DNS:a.test", .from_days = -30, .to_days = -1, .issuer = root });
	const struct certificate *young = certificates_make(
		&made, (struct certificate_plan){
			       .san = "DNS:a.test", .from_days = 1, .to_days = 30, .issuer = root });
	const struct certificate *old_middle =
		certificates_make(&made, (struct certificate_plan){ .cn = "old",
						 .ca = "critical,CA:TRUE",
						 .from_days = -30,
						 .to_days = -1,
						 .issuer = root });
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:a.test", .issuer = old_middle });
	struct verify_verdict verdict;

	(void)state;
	verdict = verify((struct scene){ { old }, .host = "a.test" });
	expect(&verdict, VERIFY_EXPIRED, "certificate has expired: certificate 0", "old");
	verdict = verify((struct scene){ { leaf, old_middle }, .host = "a.test" });
	expect(&verdict, VERIFY_EXPIRED, "certificate has expired: certificate 1 of the chain, CN=old,O=Test",
		"old authority");
	verdict = verify((struct scene){ { young }, .host = "a.test" });
	expect(&verdict, VERIFY_NOT_TRUSTED, "certificate is not yet valid", "young");
	verdict = verify((struct scene){ { old }, .host = "a.test",
		.facts = { .now_ms = ((int64_t)CERTIFICATES_NOW - 2 * CERTIFICATES_DAY) * 1000 } });
	/* the root was not valid then */
	expect(&verdict, VERIFY_NOT_TRUSTED, "not yet valid: certificate 1",
		"the clock of the caller counts");
	assert_string_equal(verify_result_word(VERIFY_EXPIRED), "certificate-expired");
	assert_string_equal(verify_result_word(VERIFY_HOST_MISMATCH), "certificate-host-mismatch");
	assert_string_equal(verify_result_word(VERIFY_NOT_TRUSTED), "certificate-not-trusted");
	assert_string_equal(verify_result_word(VERIFY_FAILURE), "validation-failure");
}

/* Names */

static void test_8_01_a_wildcard_is_a_whole_label_and_stands_for_one(void **state)
{
	(void)state;
	assert_true(matches("DNS:*.example.com", "mx1.example.com"));
	assert_true(matches("DNS:*.example.com", "MX1.Example.COM"));
	assert_false(matches("DNS:*.example.com", "a.b.example.com"));
	assert_false(matches("DNS:*.example.com", "example.com"));
	assert_false(matches("DNS:m*.example.com", "mx1.example.com"));
	assert_false(matches("DNS:*1.example.com", "mx1.example.com"));
	assert_false(matches("DNS:mx*1.example.com", "mx1.example.com"));
	assert_false(matches("DNS:mx1.*.com", "mx1.example.com"));
	assert_true(matches("DNS:other.test,DNS:mx1.example.com", "mx1.example.com"));
	assert_false(matches("DNS:mx1.example.com.evil.test", "mx1.example.com"));
}

static void test_8_02_a_wildcard_needs_two_labels_behind_it(void **state)
{
	(void)state;
	assert_false(matches("DNS:*.com", "example.com"));
	assert_false(matches("DNS:*", "example.com"));
	assert_false(matches("DNS:*", "com"));
	assert_false(matches("DNS:*.*.com", "mx1.example.com"));
}

static bool common_name_matches(
	const struct certificate *leaf, const struct certificate *issuer, const char *host, bool cn_fallback)
{
	struct verify_verdict verdict = verify(
		(struct scene){ { leaf, issuer }, .host = host, .facts = { .cn_fallback = cn_fallback } });

	if (verdict.result != VERIFY_FINE)
		expect(&verdict, VERIFY_HOST_MISMATCH, "hostname mismatch", host);
	return verdict.result == VERIFY_FINE;
}

static void test_8_03_8_04_the_common_name_counts_only_where_it_is_allowed(void **state)
{
	static const struct {
		struct certificate_plan plan;
		const char *host;
		bool fallback; /* it matches with cn_fallback; without it nothing does */
	} rows[] = {
		{ { .cn = "mx1.example.com" }, "mx1.example.com", true },
		{ { .cn = "*.example.com" }, "mx1.example.com", true },
		{ { .cn = "m*.example.com" }, "mx1.example.com", false },
		{ { .cn = "mx1.example.com", .second_cn = "mx2.example.com" }, "mx1.example.com", false },
		{ { .cn = "mx1.example.com", .san = "DNS:other.test" }, "mx1.example.com", false },
		{ { .cn = "mx1.example.com", .san = "email:postmaster@example.com" }, "mx1.example.com",
			true },
		{ { .cn = "mx1.example.com", .san = "IP:192.0.2.1" }, "mx1.example.com", true },
		{ { .cn = "other.test" }, "mx1.example.com", false },
		{ { .cn = "mx1.example.com " }, "mx1.example.com", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct certificate_plan plan = rows[i].plan;

		plan.issuer = root;
		const struct certificate *leaf = certificates_make(&made, plan);
		assert_false(common_name_matches(leaf, NULL, rows[i].host, false));
		if (common_name_matches(leaf, NULL, rows[i].host, true) != rows[i].fallback)
			fail_msg("row %zu", i);
	}
}

static const struct certificate *constrained(const char *constraints)
{
	return certificates_make(&made, (struct certificate_plan){ .cn = "constrained",
						.ca = "critical,CA:TRUE",
						.usage = "critical,keyCertSign",
						.constraints = constraints,
						.issuer = root });
}

static void test_8_05_under_a_constrained_authority_the_common_name_never_counts(void **state)
{
	const struct certificate *authority = constrained("critical,permitted;DNS:good.example");
	const struct certificate *wide = certificates_make(
		&made, (struct certificate_plan){ .cn = "*.example.com", .issuer = authority });
	const struct certificate *permitted =
		certificates_make(&made, (struct certificate_plan){ .cn = "Some One", .issuer = authority });
	const struct certificate *named = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx1.example.com", .issuer = authority });
	const struct certificate *good = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx1.good.example", .issuer = authority });
	struct verify_verdict verdict;

	(void)state;
	for (int fallback = 0; fallback < 2; fallback++) {
		verdict = verify((struct scene){ { wide, authority }, .host = "mx1.example.com",
			.facts = { .cn_fallback = fallback } });
		assert_int_not_equal(verdict.result, VERIFY_FINE);
		verdict = verify((struct scene){
			{ permitted, authority }, .host = "Some One", .facts = { .cn_fallback = fallback } });
		assert_int_not_equal(verdict.result, VERIFY_FINE);
	}
	verdict = verify((struct scene){ { named, authority }, .host = "mx1.example.com" });
	expect(&verdict, VERIFY_NOT_TRUSTED, "permitted subtree violation", "a name outside");
	verdict = verify((struct scene){ { good, authority }, .host = "mx1.good.example" });
	expect(&verdict, VERIFY_FINE, "", "a name inside");
}

/* OpenSSL never compares the common name of this one with the constraints: it is no host name to it. */
static void test_8_05_also_when_the_authority_above_is_constrained(void **state)
{
	const struct certificate *top =
		certificates_make(&made, (struct certificate_plan){ .cn = "top",
						 .ca = "critical,CA:TRUE",
						 .constraints = "critical,permitted;email:good.example",
						 .issuer = root });
	const struct certificate *middle = certificates_authority(&made, "below", top);
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .cn = "mx1.example.com", .issuer = middle });
	struct verify_verdict verdict = verify((struct scene){
		{ leaf, middle, top }, .host = "mx1.example.com", .facts = { .cn_fallback = true } });

	(void)state;
	expect(&verdict, VERIFY_HOST_MISMATCH, "hostname mismatch", "constrained two above");
}

static void test_8_06_a_wildcard_does_not_reach_into_an_excluded_subtree(void **state)
{
	static const struct {
		const char *excluded, *san, *host;
		const char *reason; /* NULL = it is fine */
	} rows[] = {
		{ "foo.bar.com", "DNS:*.bar.com", "foo.bar.com", "is not to vouch for foo.bar.com" },
		{ "foo.bar.com", "DNS:*.bar.com", "FOO.bar.com", "is not to vouch for foo.bar.com" },
		{ "foo.bar.com", "DNS:*.bar.com", "x.bar.com", NULL },
		{ "foo.bar.com", "DNS:*.bar.com", "xfoo.bar.com", NULL },
		{ ".foo.bar.com", "DNS:*.bar.com", "foo.bar.com", NULL },
		{ "foo.bar.com", "DNS:*.bar.com", NULL, "*.bar.com takes in foo.bar.com" },
		{ "x.foo.bar.com", "DNS:*.bar.com", NULL, NULL },
		{ "foo.bar.com", "DNS:*.baz.com", NULL, NULL },
		{ "foo.bar.com", "DNS:foo.bar.com", "foo.bar.com", "excluded subtree violation" },
		{ "foo.bar.com", "DNS:*.foo.bar.com", "x.foo.bar.com", "excluded subtree violation" },
		{ "bar.com", "DNS:*.bar.com", "x.bar.com", "excluded subtree violation" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[100];

		snprintf(text, sizeof text, "critical,excluded;DNS:%s", rows[i].excluded);
		const struct certificate *authority = constrained(text);
		const struct certificate *leaf = certificates_make(
			&made, (struct certificate_plan){ .san = rows[i].san, .issuer = authority });
		struct verify_verdict verdict =
			verify((struct scene){ { leaf, authority }, .host = rows[i].host });

		if ((verdict.result == VERIFY_FINE) != (rows[i].reason == NULL) ||
			(rows[i].reason != NULL && strstr(verdict.reason, rows[i].reason) == NULL))
			fail_msg("row %zu: %s, %s", i, verify_result_word(verdict.result), verdict.reason);
	}
}

static void test_8_07_8_09_8_10_what_can_be_the_name_of_a_host(void **state)
{
	static const struct {
		const char *host, *reference;
	} rows[] = {
		{ "mx1.example.com", "mx1.example.com" },
		{ "MX1.Example.Com.", "mx1.example.com" },
		{ "_mx.example.com", "_mx.example.com" },
		{ "xn--mnchen-3ya.example", "xn--mnchen-3ya.example" },
		{ "localhost", "localhost" },
		{ ".example.com", NULL },
		{ "example.com..", NULL },
		{ "a..example.com", NULL },
		{ ".", NULL },
		{ "", NULL },
		{ "*.example.com", NULL },
		{ "m\xc3\xbcnchen.example", NULL },
		{ "a b.example.com", NULL },
		{ "192.0.2.1", NULL },
		{ "2001:db8::1", NULL },
		{ "a/b.example.com", NULL },
		{ "0123456789012345678901234567890123456789012345678901234567890123.example.com", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *reference = verify_names_reference(made.scratch, rows[i].host);

		if (rows[i].reference == NULL)
			assert_null(reference);
		else
			assert_string_equal(reference, rows[i].reference);
	}
}

static void test_8_07_a_leading_dot_is_no_pattern_and_a_final_one_goes(void **state)
{
	(void)state;
	assert_false(matches("DNS:*.example.com", ".example.com"));
	assert_false(matches("DNS:mx1.example.com", ".example.com"));
	assert_true(matches("DNS:mx1.example.com", "mx1.example.com."));
	assert_false(matches("DNS:mx1.example.com", ""));
}

static void test_8_08_an_address_is_matched_by_its_own_kind_of_name(void **state)
{
	static const struct {
		struct certificate_plan plan;
		const char *address, *host;
		bool fine;
	} rows[] = {
		{ { .san = "IP:192.0.2.1" }, "192.0.2.1", NULL, true },
		{ { .san = "IP:2001:db8::1" }, "2001:db8::1", NULL, true },
		{ { .san = "IP:192.0.2.1" }, "192.0.2.2", NULL, false },
		{ { .cn = "192.0.2.1" }, "192.0.2.1", NULL, false },
		{ { .san = "DNS:192.0.2.1" }, "192.0.2.1", NULL, false },
		{ { .cn = "192.0.2.1" }, NULL, "192.0.2.1", false },
		{ { .san = "DNS:192.0.2.1" }, NULL, "192.0.2.1", false },
		{ { .san = "IP:192.0.2.1" }, NULL, "192.0.2.1", false },
		{ { .san = "IP:192.0.2.1" }, "192.0.2.1", "mx.test", true }, /* any of them */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int fallback = 0; fallback < 2; fallback++) {
			struct certificate_plan plan = rows[i].plan;

			plan.issuer = root;
			struct verify_verdict verdict = verify(
				(struct scene){ { certificates_make(&made, plan) }, .host = rows[i].host,
					.address = rows[i].address, .facts = { .cn_fallback = fallback } });
			if ((verdict.result == VERIFY_FINE) != rows[i].fine)
				fail_msg("row %zu, %d: %s", i, fallback, verdict.reason);
		}
}

static void test_8_09_names_in_other_letters_are_compared_as_a_labels(void **state)
{
	const struct certificate *u_label = certificates_make(
		&made, (struct certificate_plan){ .dns = TEXT("m\xc3\xbcnchen.example"), .issuer = root });
	struct verify_verdict verdict =
		verify((struct scene){ { u_label }, .host = "m\xc3\xbcnchen.example" });

	(void)state;
	expect(&verdict, VERIFY_HOST_MISMATCH, "cannot be the name of a host", "U-label on both sides");
	verdict = verify((struct scene){ { u_label }, .host = "xn--mnchen-3ya.example" });
	expect(&verdict, VERIFY_HOST_MISMATCH, "the certificate is for m??nchen.example", "U-label in SAN");
	assert_true(matches("DNS:XN--mnchen-3ya.example", "xn--mnchen-3ya.example"));
	assert_false(matches("DNS:xn--*.example.com", "xn--mnchen-3ya.example.com"));
	assert_true(matches("DNS:*.example.com", "xn--mnchen-3ya.example.com"));
}

static void test_8_10_odd_bytes_in_a_name_match_nothing_and_underscores_do(void **state)
{
	static const struct {
		struct text dns;
		const char *host;
		bool fine;
	} rows[] = {
		{ TEXT("mx1.example.com\0.evil.test"), "mx1.example.com", false },
		{ TEXT("mx1.example.com\0"), "mx1.example.com", false },
		{ TEXT("mx1.example.com "), "mx1.example.com", false },
		{ TEXT(" mx1.example.com"), "mx1.example.com", false },
		{ TEXT("mx1.example.com."), "mx1.example.com", false },
		{ TEXT(".example.com"), "mx1.example.com", false }, { TEXT(""), "mx1.example.com", false },
		{ TEXT("_mx.example.com"), "_mx.example.com", true },
		{ TEXT("*.example.com"), "_mx.example.com",
			false }, /* OpenSSL: for letters, digits, hyphens */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct certificate *leaf = certificates_make(
			&made, (struct certificate_plan){ .dns = rows[i].dns, .issuer = root });
		struct verify_verdict verdict = verify((struct scene){ { leaf }, .host = rows[i].host });

		if ((verdict.result == VERIFY_FINE) != rows[i].fine)
			fail_msg("row %zu: %s", i, verdict.reason);
		for (const char *c = verdict.reason; *c != '\0'; c++)
			assert_true(*c >= ' ' && *c < 0x7f);
	}
}

static void test_B46_fully_qualified_names_where_they_are_asked_for(void **state)
{
	static const struct {
		struct certificate_plan plan;
		bool cn_fallback, fine;
	} rows[] = {
		{ { .san = "DNS:mx.good.test" }, false, true },
		{ { .san = "DNS:mx.good.test,DNS:localhost" }, false, false },
		{ { .san = "DNS:mx.good.test,DNS:*.good.test" }, false, true },
		{ { .san = "DNS:mx.good.test,DNS:a_b.good.test" }, false, false },
		{ { .san = "DNS:mx.good.test,DNS:-a.good.test" }, false, false },
		{ { .san = "DNS:mx.good.test", .cn = "Some One" }, false, true },
		{ { .san = "DNS:mx.good.test", .cn = "Some One" }, true, true },
		{ { .san = "IP:192.0.2.1", .cn = "Some One" }, true, false },
		{ { .san = "IP:192.0.2.1", .cn = "mx.good.test" }, true, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int fqdn = 0; fqdn < 2; fqdn++) {
			struct certificate_plan plan = rows[i].plan;

			plan.issuer = root;
			struct verify_verdict verdict =
				verify((struct scene){ { certificates_make(&made, plan) },
					.host = "mx.good.test", .address = "192.0.2.1",
					.facts = { .fqdn = fqdn, .cn_fallback = rows[i].cn_fallback } });
			if ((verdict.result == VERIFY_FINE) != (rows[i].fine || !fqdn))
				fail_msg("row %zu, %d: %s", i, fqdn, verdict.reason);
			assert_int_equal(!!(verdict.checked & VERIFY_FQDN), fqdn && rows[i].fine);
		}
}

/* Rights */

static void test_8_11_who_may_not_issue_certificates(void **state)
{
	static const struct {
		struct certificate_plan authority, below,
			leaf;	    /* below: a second authority, when it has a name */
		const char *reason; /* NULL = it is fine */
	} rows[] = {
		{ { .ca = "critical,CA:TRUE", .usage = "critical,keyCertSign" }, { 0 }, { 0 }, NULL },
		{ { .ca = "CA:TRUE" }, { 0 }, { 0 }, NULL },
		{ { .ca = NULL }, { 0 }, { 0 }, "invalid CA certificate" },
		{ { .ca = "critical,CA:FALSE" }, { 0 }, { 0 }, "invalid CA certificate" },
		{ { .ca = "critical,CA:TRUE", .usage = "critical,cRLSign" }, { 0 }, { 0 },
			"invalid CA certificate" },
		{ { .ca = "critical,CA:TRUE,pathlen:0" }, { 0 }, { 0 }, NULL },
		{ { .ca = "critical,CA:TRUE,pathlen:0" }, { .cn = "below", .ca = "critical,CA:TRUE" }, { 0 },
			"path length constraint exceeded" },
		{ { .ca = "critical,CA:TRUE,pathlen:1" }, { .cn = "below", .ca = "critical,CA:TRUE" }, { 0 },
			NULL },
		{ { .ca = "critical,CA:TRUE", .unknown = "critical" }, { 0 }, { 0 },
			"unhandled critical extension: certificate 1" },
		{ { .ca = "critical,CA:TRUE", .unknown = "" }, { 0 }, { 0 }, NULL },
		{ { .ca = "critical,CA:TRUE" }, { 0 }, { .unknown = "critical" },
			"unhandled critical extension: certificate 0" },
		{ { .ca = "critical,CA:TRUE" }, { 0 }, { .unknown = "" }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct certificate_plan top = rows[i].authority, below = rows[i].below, leaf = rows[i].leaf;
		struct scene scene = { .host = "mx.good.test" };
		size_t at = 1;

		top.cn = "top";
		top.issuer = root;
		scene.path[at] = leaf.issuer = certificates_make(&made, top);
		if (below.cn != NULL) {
			scene.path[at + 1] = below.issuer = scene.path[at];
			scene.path[at] = leaf.issuer = certificates_make(&made, below);
		}
		leaf.san = "DNS:mx.good.test";
		scene.path[0] = certificates_make(&made, leaf);
		struct verify_verdict verdict = verify(scene);
		if ((verdict.result == VERIFY_FINE) != (rows[i].reason == NULL) ||
			(rows[i].reason != NULL && strstr(verdict.reason, rows[i].reason) == NULL))
			fail_msg("row %zu: %s, %s", i, verify_result_word(verdict.result), verdict.reason);
	}
}

static void test_a_certificate_is_used_for_what_it_was_made(void **state)
{
	static const struct {
		const char *eku, *usage, *above;
		bool server, client;
	} rows[] = {
		{ NULL, NULL, NULL, true, true },
		{ "serverAuth", NULL, NULL, true, false },
		{ "clientAuth", NULL, NULL, false, true },
		{ "serverAuth,clientAuth", NULL, NULL, true, true },
		{ "emailProtection", NULL, NULL, false, false },
		{ NULL, "critical,digitalSignature", NULL, true, true },
		{ NULL, "critical,cRLSign", NULL, false, false },
		{ NULL, NULL, "clientAuth", false, true },
		{ NULL, NULL, "serverAuth", true, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct certificate *authority =
			certificates_make(&made, (struct certificate_plan){ .cn = "middle",
							 .ca = "critical,CA:TRUE",
							 .eku = rows[i].above,
							 .issuer = root });
		const struct certificate *leaf =
			certificates_make(&made, (struct certificate_plan){ .san = "DNS:mx.good.test",
							 .eku = rows[i].eku,
							 .usage = rows[i].usage,
							 .issuer = authority });

		for (int purpose = VERIFY_SERVER; purpose <= VERIFY_CLIENT; purpose++) {
			struct verify_verdict verdict = verify((struct scene){
				{ leaf, authority }, .facts = { .purpose = (enum verify_purpose)purpose } });
			bool fine = purpose == VERIFY_SERVER ? rows[i].server : rows[i].client;

			if ((verdict.result == VERIFY_FINE) != fine)
				fail_msg("row %zu, %d: %s", i, purpose, verdict.reason);
			if (!fine)
				assert_int_equal(verdict.result, VERIFY_NOT_TRUSTED);
		}
	}
}

/* Strength */

static void test_8_12_B48_weak_keys_and_signatures(void **state)
{
	struct certificate_plan exponent_1 = { .key = certificates_rsa_with_exponent(1) };
	struct certificate_plan exponent_3 = { .key = certificates_rsa_with_exponent(3) };
	struct {
		struct certificate_plan authority, leaf;
		bool fine, weak; /* at level 2, and at level 1 */
		const char *reason;
	} rows[] = {
		{ { 0 }, { .rsa = 2048 }, true, true, "" },
		{ { 0 }, { .rsa = 1024 }, false, true, "EE certificate key too weak: certificate 0" },
		{ { .rsa = 1024 }, { 0 }, false, true, "CA certificate key too weak: certificate 1" },
		{ { 0 }, { .curve = "P-192" }, false, true, "EE certificate key too weak" },
		{ { 0 }, { .curve = "P-384" }, true, true, "" },
		{ { .md = "SHA1" }, { 0 }, false, false, "CA signature digest algorithm too weak" },
		{ { 0 }, { .md = "SHA1" }, false, false, "CA signature digest algorithm too weak" },
		{ { .rsa = 2048 }, { .md = "MD5" }, false, false, "CA signature digest algorithm too weak" },
		{ { 0 }, exponent_1, false, false, "RSA key with an unsound exponent: certificate 0" },
		{ { 0 }, exponent_3, true, true, "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct certificate_plan authority = rows[i].authority, leaf = rows[i].leaf;

		authority.cn = "middle";
		authority.ca = "critical,CA:TRUE";
		authority.issuer = root;
		leaf.san = "DNS:mx.good.test";
		leaf.issuer = certificates_make(&made, authority);
		const struct certificate *end = certificates_make(&made, leaf);
		for (int weak = 0; weak < 2; weak++) {
			struct verify_verdict verdict = verify((struct scene){
				{ end, leaf.issuer }, .host = "mx.good.test", .facts = { .weak = weak } });

			if ((verdict.result == VERIFY_FINE) != (weak ? rows[i].weak : rows[i].fine))
				fail_msg("row %zu, %d: %s", i, weak, verdict.reason);
			if (!weak && !rows[i].fine)
				expect(&verdict, VERIFY_NOT_TRUSTED, rows[i].reason, "strength");
		}
	}
	EVP_PKEY_free(exponent_1.key);
	EVP_PKEY_free(exponent_3.key);
}

/* The signature of the anchor by itself proves nothing, so it may be old. */
static void test_8_12_the_signature_of_the_authority_itself_does_not_count(void **state)
{
	const struct certificate *old = certificates_make(
		&made, (struct certificate_plan){ .cn = "old root", .ca = "critical,CA:TRUE", .md = "SHA1" });
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = old });
	struct verify_verdict verdict =
		verify((struct scene){ { leaf, old }, .anchor = old, .host = "mx.good.test" });

	(void)state;
	expect(&verdict, VERIFY_FINE, "", "SHA-1 root");
}

/* A name of an authority that signs with another key: nothing hangs on names. */
static void test_a_forged_issuer(void **state)
{
	const struct certificate *forged = certificates_authority(&made, "root", NULL);
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = forged });
	struct verify_verdict verdict = verify((struct scene){ { leaf }, .host = "mx.good.test" });

	(void)state;
	assert_int_equal(verdict.result, VERIFY_NOT_TRUSTED);
	verdict = verify((struct scene){ { leaf, forged }, .host = "mx.good.test" });
	assert_int_equal(verdict.result, VERIFY_NOT_TRUSTED);
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	root = certificates_authority(&made, "root", NULL);
	return 0;
}

/* Each test begins with the root alone. */
static int clear(void **state)
{
	certificates_free(&made);
	return set_up(state);
}

static int tear_down(void **state)
{
	(void)state;
	certificates_free(&made);
	return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_was_checked_is_said),
		TEST(test_an_authority_is_an_anchor_whoever_issued_it),
		TEST(test_dates),
		TEST(test_8_01_a_wildcard_is_a_whole_label_and_stands_for_one),
		TEST(test_8_02_a_wildcard_needs_two_labels_behind_it),
		TEST(test_8_03_8_04_the_common_name_counts_only_where_it_is_allowed),
		TEST(test_8_05_under_a_constrained_authority_the_common_name_never_counts),
		TEST(test_8_05_also_when_the_authority_above_is_constrained),
		TEST(test_8_06_a_wildcard_does_not_reach_into_an_excluded_subtree),
		TEST(test_8_07_8_09_8_10_what_can_be_the_name_of_a_host),
		TEST(test_8_07_a_leading_dot_is_no_pattern_and_a_final_one_goes),
		TEST(test_8_08_an_address_is_matched_by_its_own_kind_of_name),
		TEST(test_8_09_names_in_other_letters_are_compared_as_a_labels),
		TEST(test_8_10_odd_bytes_in_a_name_match_nothing_and_underscores_do),
		TEST(test_B46_fully_qualified_names_where_they_are_asked_for),
		TEST(test_8_11_who_may_not_issue_certificates),
		TEST(test_a_certificate_is_used_for_what_it_was_made),
		TEST(test_8_12_B48_weak_keys_and_signatures),
		TEST(test_8_12_the_signature_of_the_authority_itself_does_not_count),
		TEST(test_a_forged_issuer),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
