/* Lists of revoked certificates (pki/crl_set.c), and what pki/verify.c makes of them: conformance 7.26 to 7.37. */
#include "pki/crl_list.h"
#include "pki/crl_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "certificates.h"
#include "pki/trust.h"
#include "pki/verify.h"

static const int64_t now_ms = (int64_t)CERTIFICATES_NOW * 1000;

static struct certificates made;
static struct trust *trust;
static const struct certificate *root, *leaf;

static enum crl_taken add(struct crl_set *set, struct text bytes, const char **ret_why)
{
	const struct crl_offer offer = { .bytes = bytes, .trust = trust, .now_ms = now_ms };

	return crl_set_add(set, &offer, ret_why);
}

static enum revocation_finding find_of(
	const struct crl_set *set, const struct certificate *certificate, const struct certificate *issuer)
{
	STACK_OF(X509) *path = sk_X509_new_null();

	sk_X509_push(path, certificate->x509);
	sk_X509_push(path, issuer->x509);
	enum revocation_finding finding = crl_set_find(set, path, 0, now_ms);
	sk_X509_free(path);
	return finding;
}

static enum revocation_finding find(const struct crl_set *set)
{
	return find_of(set, leaf, root);
}

static void expect_refused(struct text bytes, const char *why)
{
	struct crl_set *set = crl_set_new(made.scratch);
	const char *said = "";

	if (add(set, bytes, &said) != CRL_REFUSED || strstr(said, why) == NULL)
		fail_msg("expected `%s`: `%s`", why, said);
	assert_int_equal(crl_set_count(set), 0);
	assert_int_equal(find(set), REVOCATION_NO_LIST);
}

/* What a certificate is, after these lists. */
static enum revocation_finding after(struct list_plan plan)
{
	struct crl_set *set = crl_set_new(made.scratch);
	const char *why;

	assert_int_equal(add(set, certificates_list(&made, plan), &why), CRL_TAKEN);
	assert_int_equal(crl_set_count(set), 1);
	return find(set);
}

static void test_A67_7_27_7_34_what_a_list_says(void **state)
{
	const struct certificate *other =
		certificates_make(&made, (struct certificate_plan){ .cn = "other", .issuer = root });

	(void)state;
	assert_int_equal(find_of(NULL, leaf, root), REVOCATION_NO_LIST);
	assert_int_equal(after((struct list_plan){ .issuer = root }), REVOCATION_CLEAN);
	assert_int_equal(
		after((struct list_plan){ .issuer = root, .revoked = other->x509 }), REVOCATION_CLEAN);
	assert_int_equal(
		after((struct list_plan){ .issuer = root, .revoked = leaf->x509 }), REVOCATION_LISTED);
	/* past nextUpdate: what is listed stays revoked, what is not is unknown */
	assert_int_equal(after((struct list_plan){
				 .issuer = root, .revoked = leaf->x509, .from_days = -9, .to_days = -2 }),
		REVOCATION_LISTED);
	assert_int_equal(after((struct list_plan){
				 .issuer = root, .revoked = other->x509, .from_days = -9, .to_days = -2 }),
		REVOCATION_STALE);
	/* 6 = on hold, 8 = removed from the list, which makes no sense in a complete one */
	for (int reason = 1; reason <= 10; reason++)
		if (reason != 7)
			assert_int_equal(after((struct list_plan){
						 .issuer = root, .revoked = leaf->x509, .reason = reason }),
				REVOCATION_LISTED);
}

static void test_7_28_of_two_lists_one_counts_in_any_order(void **state)
{
	static const struct {
		struct list_plan first, second; /* the second is the newer one */
	} rows[] = {
		{ { .number = 1 }, { .number = 2 } },
		{ { .number = 1, .from_days = -1, .to_days = 7 },
			{ .number = 2, .from_days = -3, .to_days = 7 } },
		{ { .number = 9 }, { .number = 10 } },
		{ { .number = 255 }, { .number = 256 } },
		{ { .number = 5, .from_days = -3, .to_days = 7 },
			{ .number = 5, .from_days = -2, .to_days = 7 } },
		{ { .from_days = -3, .to_days = 7 }, { .from_days = -2, .to_days = 7 } },
		{ { .from_days = -1, .to_days = 7 }, { .number = 1, .from_days = -3, .to_days = 7 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int revoking = 0; revoking < 2; revoking++)
			for (int order = 0; order < 2; order++) {
				struct list_plan plans[] = { rows[i].first, rows[i].second };
				struct crl_set *set = crl_set_new(made.scratch);
				enum crl_taken taken[2];
				const char *why;

				plans[0].issuer = plans[1].issuer = root;
				plans[revoking].revoked = leaf->x509;
				for (int j = 0; j < 2; j++)
					taken[j] = add(set, certificates_list(&made, plans[j ^ order]), &why);
				assert_int_equal(taken[0], CRL_TAKEN);
				assert_int_equal(taken[1], order == 0 ? CRL_TAKEN : CRL_OLDER);
				assert_int_equal(crl_set_count(set), 1);
				if (find(set) != (revoking == 1 ? REVOCATION_LISTED : REVOCATION_CLEAN))
					fail_msg("row %zu, revoking %d, order %d", i, revoking, order);
			}
}

/* An issuer that gives two lists the same number and date: the answer is one and the same. */
static void test_7_28_equal_numbers_and_dates(void **state)
{
	struct text lists[] = { certificates_list(&made, (struct list_plan){ .issuer = root, .number = 1 }),
		certificates_list(
			&made, (struct list_plan){ .issuer = root, .number = 1, .revoked = leaf->x509 }) };
	const char *why;

	(void)state;
	for (int order = 0; order < 2; order++) {
		struct crl_set *set = crl_set_new(made.scratch);

		add(set, lists[order], &why);
		add(set, lists[!order], &why);
		assert_int_equal(find(set), REVOCATION_LISTED);
		assert_int_equal(add(set, lists[1], &why), CRL_OLDER);
	}
}

static void test_7_29_an_older_list_is_refused_when_it_is_published(void **state)
{
	static const struct {
		struct list_plan held, next;
		enum crl_taken taken;
	} rows[] = {
		{ { .number = 2 }, { .number = 3 }, CRL_TAKEN },
		{ { .number = 2 }, { .number = 1 }, CRL_REFUSED },
		{ { .number = 2, .from_days = -3, .to_days = 7 },
			{ .number = 1, .from_days = -1, .to_days = 7 }, CRL_REFUSED },
		{ { .number = 9, .from_days = -1, .to_days = 7 },
			{ .number = 12, .from_days = -3, .to_days = 7 }, CRL_REFUSED },
		{ { .number = 2 }, { .number = 0 }, CRL_REFUSED },
		{ { .from_days = -1, .to_days = 7 }, { .from_days = -3, .to_days = 7 }, CRL_REFUSED },
		{ { .from_days = -3, .to_days = 7 }, { .from_days = -1, .to_days = 7 }, CRL_TAKEN },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct crl_set *set = crl_set_new(made.scratch);
		struct list_plan held = rows[i].held, next = rows[i].next;
		const char *why = "";

		held.issuer = next.issuer = root;
		held.revoked = leaf->x509;
		assert_int_equal(add(set, certificates_list(&made, held), &why), CRL_TAKEN);
		const struct crl_offer offer = {
			.bytes = certificates_list(&made, next), .trust = trust, .now_ms = now_ms
		};
		if (crl_set_renew(set, &offer, &why) != rows[i].taken)
			fail_msg("row %zu: %s", i, why);
		assert_int_equal(
			find(set), rows[i].taken == CRL_TAKEN ? REVOCATION_CLEAN : REVOCATION_LISTED);
		if (rows[i].taken == CRL_REFUSED)
			assert_string_equal(why, "it is older than the one that is held (rollback)");
	}
}

static void test_7_30_only_the_issuer_itself_may_speak(void **state)
{
	const struct certificate *namesake = certificates_authority(&made, "root", NULL);
	const struct certificate *unknown = certificates_authority(&made, "unknown", NULL);
	const struct certificate *mute = certificates_make(
		&made, (struct certificate_plan){
			       .cn = "mute", .ca = "critical,CA:TRUE", .usage = "critical,keyCertSign" });

	(void)state;
	trust_add(trust, mute->pem);
	expect_refused(certificates_list(&made, (struct list_plan){ .issuer = unknown }),
		"no authority vouches for it: no certificate of its issuer is known");
	expect_refused(certificates_list(&made, (struct list_plan){ .issuer = root, .signer = namesake }),
		"it names another key than its issuer's");
	expect_refused(
		certificates_list(&made,
			(struct list_plan){
				.issuer = root, .signer = namesake, .other_key_id = true, .other = root }),
		"its signature is not that of its issuer");
	expect_refused(certificates_list(&made,
			       (struct list_plan){ .issuer = root, .other_key_id = true, .other = namesake }),
		"it names another key than its issuer's");
	expect_refused(certificates_list(&made, (struct list_plan){ .issuer = mute }),
		"its issuer may not sign such lists");
}

/* Both are trusted and have one name: each speaks for the certificates that its key signed. */
static void test_7_30_two_authorities_of_one_name(void **state)
{
	const struct certificate *namesake = certificates_authority(&made, "root", NULL);
	const struct certificate *other =
		certificates_make(&made, (struct certificate_plan){ .cn = "x", .issuer = namesake });
	struct crl_set *set = crl_set_new(made.scratch);
	const char *why;

	(void)state;
	trust_add(trust, namesake->pem);
	assert_int_equal(add(set,
				 certificates_list(&made,
					 (struct list_plan){ .issuer = namesake, .revoked = leaf->x509 }),
				 &why),
		CRL_TAKEN);
	assert_int_equal(find(set), REVOCATION_NO_LIST);
	assert_int_equal(
		add(set, certificates_list(&made, (struct list_plan){ .issuer = root }), &why), CRL_TAKEN);
	assert_int_equal(crl_set_count(set), 2);
	assert_int_equal(find(set), REVOCATION_CLEAN);
	assert_int_equal(find_of(set, other, namesake), REVOCATION_CLEAN);
}

/* The old key is certified with the new one: both stand in the path, and the list of either counts. */
static void test_7_30_an_authority_that_changed_its_key(void **state)
{
	const struct certificate *old =
		certificates_make(&made, (struct certificate_plan){ .cn = "root",
						 .ca = "critical,CA:TRUE",
						 .usage = "critical,keyCertSign,cRLSign",
						 .issuer = root });
	const struct certificate *end =
		certificates_make(&made, (struct certificate_plan){ .cn = "end", .issuer = old });
	STACK_OF(X509) *path = sk_X509_new_null(), *issuers = sk_X509_new_null();

	(void)state;
	sk_X509_push(path, end->x509);
	sk_X509_push(path, old->x509);
	sk_X509_push(path, root->x509);
	sk_X509_push(issuers, old->x509);
	/* -1 = there is no list of that key, 0 = it is clean, 1 = it revokes */
	for (int of_old = -1; of_old < 2; of_old++)
		for (int of_root = -1; of_root < 2; of_root++) {
			const struct certificate *const signer[] = { old, root };
			const int revokes[] = { of_old, of_root };
			struct crl_set *set = crl_set_new(made.scratch);
			const char *why;

			for (int i = 0; i < 2; i++) {
				struct list_plan plan = { .issuer = signer[i],
					.revoked = revokes[i] == 1 ? end->x509 : NULL };
				const struct crl_offer offer = { .bytes = certificates_list(&made, plan),
					.trust = trust,
					.issuers = issuers,
					.now_ms = now_ms };

				if (revokes[i] >= 0)
					assert_int_equal(crl_set_add(set, &offer, &why), CRL_TAKEN);
			}
			assert_int_equal(crl_set_find(set, path, 0, now_ms),
				of_old == 1 || of_root == 1   ? REVOCATION_LISTED
				: of_old == 0 || of_root == 0 ? REVOCATION_CLEAN
							      : REVOCATION_NO_LIST);
		}
	sk_X509_free(path);
	sk_X509_free(issuers);
}

static void test_7_31_7_32_7_33_A69_lists_that_say_less_are_refused(void **state)
{
	static const struct {
		struct list_plan plan;
		const char *why;
	} rows[] = {
		{ { .number = 2, .delta_of = 1 }, "it is a delta" },
		{ { .delta_of = 1 }, "it is a delta" },
		{ { .scope = "critical,indirectCRL:TRUE" }, "it is an indirect list" },
		{ { .scope = "critical,onlyuser:TRUE" }, "only a part" },
		{ { .scope = "critical,onlyCA:TRUE" }, "only a part" },
		{ { .scope = "critical,onlyAA:TRUE" }, "only a part" },
		{ { .scope = "critical,fullname:URI:http://crl.test/1" }, "only a part" },
		{ { .scope = "critical,onlysomereasons:keyCompromise" }, "for some reasons only" },
		{ { .unknown = "critical" }, "it has a critical extension" },
		{ { .unknown_entry = true }, "one of its entries has a critical extension" },
		{ { .from_days = 1, .to_days = 7 }, "it is from the future" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct list_plan plan = rows[i].plan;

		plan.issuer = root;
		plan.revoked = leaf->x509;
		expect_refused(certificates_list(&made, plan), rows[i].why);
	}
	assert_int_equal(after((struct list_plan){ .issuer = root, .unknown = "" }), REVOCATION_CLEAN);
}

static void test_what_is_no_list(void **state)
{
	struct text list = certificates_list(&made, (struct list_plan){ .issuer = root });
	char *longer = talloc_memdup(made.scratch, list.at, list.len);

	(void)state;
	expect_refused(TEXT(""), "it is no list of revoked certificates");
	expect_refused(TEXT("hello"), "it is no list of revoked certificates");
	expect_refused(root->pem, "it is no list of revoked certificates");
	expect_refused((struct text){ NULL, (size_t)CRL_LIST_MAX + 1 }, "it is larger than 64 MiB");
	for (size_t len = 0; len < list.len; len++)
		expect_refused((struct text){ list.at, len }, "it is no list of revoked certificates");
	longer = talloc_realloc(made.scratch, longer, char, (unsigned)list.len + 1);
	longer[list.len] = 0;
	expect_refused((struct text){ longer, list.len + 1 }, "it is no list of revoked certificates");
}

static void test_7_37_an_issuer_may_promise_never_to_revoke(void **state)
{
	static const struct {
		struct certificate_plan plan;
		enum revocation_finding finding;
	} rows[] = {
		{ { .no_revocation = true }, REVOCATION_NOT_NEEDED },
		{ { .no_revocation = true, .crl_points = "URI:http://crl.test/" }, REVOCATION_NO_LIST },
		{ { .no_revocation = true, .info = "OCSP;URI:http://ocsp.test/" }, REVOCATION_NO_LIST },
		{ { .no_revocation = true, .info = "caIssuers;URI:http://ca.test/" }, REVOCATION_NOT_NEEDED },
		{ { .no_revocation = true, .ca = "critical,CA:TRUE" }, REVOCATION_NO_LIST },
		{ { 0 }, REVOCATION_NO_LIST },
	};
	struct crl_set *set = crl_set_new(made.scratch);
	const char *why;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct certificate_plan plan = rows[i].plan;

		plan.issuer = root;
		const struct certificate *certificate = certificates_make(&made, plan);
		assert_int_equal(find_of(NULL, certificate, root), rows[i].finding);
		if (i > 0)
			continue;
		/* if it is listed all the same, it is revoked */
		add(set,
			certificates_list(
				&made, (struct list_plan){ .issuer = root, .revoked = certificate->x509 }),
			&why);
		assert_int_equal(find_of(set, certificate, root), REVOCATION_LISTED);
	}
}

/* In pki/verify.c: root -> middle -> leaf, and which lists there are */

static void test_A67_7_26_each_certificate_below_the_authority_is_looked_up(void **state)
{
	enum { NONE, CLEAN, LISTED, STALE };
	/* what the lists of root and middle say about middle and leaf; r = refused, u = unchecked, f = fine */
	static const struct {
		int root, middle;
		const char *soft, *strict, *reason; /* in strict mode */
	} rows[] = {
		{ CLEAN, CLEAN, "f", "f", "" },
		{ NONE, NONE, "u", "r", "there is no list of revoked certificates, and strict" },
		{ CLEAN, NONE, "u", "r", "there is no list of revoked certificates, and strict" },
		{ NONE, CLEAN, "u", "r", "there is no list of revoked certificates, and strict" },
		{ CLEAN, STALE, "u", "r", "is out of date" },
		{ STALE, CLEAN, "u", "r", "is out of date" },
		{ CLEAN, LISTED, "r", "r", "revoked: certificate 0 of the chain" },
		{ LISTED, CLEAN, "r", "r", "revoked: certificate 1 of the chain, CN=middle" },
		{ LISTED, NONE, "r", "r", "" },
		{ NONE, LISTED, "r", "r", "revoked: certificate 0 of the chain" },
	};
	const struct certificate *middle = certificates_authority(&made, "middle", root);
	const struct certificate *end =
		certificates_make(&made, (struct certificate_plan){ .san = "DNS:a.test", .issuer = middle });
	STACK_OF(X509) *chain = sk_X509_new_null(), *issuers = sk_X509_new_null();

	(void)state;
	sk_X509_push(chain, end->x509);
	sk_X509_push(chain, middle->x509);
	sk_X509_push(issuers, middle->x509);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct crl_set *set = crl_set_new(made.scratch);
		const struct certificate *const issuer[] = { root, middle }, *const below[] = { middle, end };
		const int wanted[] = { rows[i].root, rows[i].middle };
		const char *why;

		for (int j = 0; j < 2; j++) {
			if (wanted[j] == NONE)
				continue;
			const struct crl_offer offer = {
				.bytes = certificates_list(
					&made, (struct list_plan){ .issuer = issuer[j],
						       .revoked = wanted[j] == LISTED ? below[j]->x509 : NULL,
						       .from_days = -9,
						       .to_days = wanted[j] == STALE ? -2 : 7 }),
				.trust = trust,
				.issuers = issuers,
				.now_ms = now_ms
			};
			assert_int_equal(crl_set_add(set, &offer, &why), CRL_TAKEN);
		}
		for (int mode = REVOCATION_OFF; mode <= REVOCATION_STRICT; mode++) {
			struct verify_facts facts = { .chain = chain,
				.trust = trust,
				.now_ms = now_ms,
				.crls = set,
				.revocation = (enum revocation_mode)mode };
			const char *expected = mode == REVOCATION_OFF	 ? "o"
					       : mode == REVOCATION_SOFT ? rows[i].soft
									 : rows[i].strict;
			struct verify_verdict verdict;

			verify_peer(&facts, &verdict);
			char got = verdict.result == VERIFY_NOT_TRUSTED		  ? 'r'
				   : verdict.result != VERIFY_FINE		  ? '?'
				   : (verdict.unchecked & VERIFY_REVOCATION) != 0 ? 'u'
				   : (verdict.checked & VERIFY_REVOCATION) != 0	  ? 'f'
										  : 'o';
			if (got != expected[0])
				fail_msg("row %zu, mode %d: %c, %s", i, mode, got, verdict.reason);
			if (mode == REVOCATION_STRICT && strstr(verdict.reason, rows[i].reason) == NULL)
				fail_msg("row %zu: %s", i, verdict.reason);
			assert_int_equal(verdict.reason[0] == '\0', got == 'f' || got == 'o');
		}
	}
	sk_X509_free(chain);
	sk_X509_free(issuers);
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	root = certificates_authority(&made, "root", NULL);
	leaf = certificates_make(&made, (struct certificate_plan){ .cn = "leaf", .issuer = root });
	trust = trust_new(made.scratch);
	trust_add(trust, root->pem);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	certificates_free(&made);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_A67_7_27_7_34_what_a_list_says),
		TEST(test_7_28_of_two_lists_one_counts_in_any_order),
		TEST(test_7_28_equal_numbers_and_dates),
		TEST(test_7_29_an_older_list_is_refused_when_it_is_published),
		TEST(test_7_30_only_the_issuer_itself_may_speak),
		TEST(test_7_30_two_authorities_of_one_name),
		TEST(test_7_30_an_authority_that_changed_its_key),
		TEST(test_7_31_7_32_7_33_A69_lists_that_say_less_are_refused),
		TEST(test_what_is_no_list),
		TEST(test_7_37_an_issuer_may_promise_never_to_revoke),
		TEST(test_A67_7_26_each_certificate_below_the_authority_is_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
