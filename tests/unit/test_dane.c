/* What TLSA records say about a server's certificate (pki/dane.c): conformance 3.20 to 3.31. */
#include "pki/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "certificates.h"
#include "net/tls.h"
#include "pki/trust.h"
#include "wire/tlsa.h"

enum { RECORDS_MAX = 120, CHAIN_MAX = 64 };

static struct certificates made;
static const struct certificate *root, *middle, *leaf;

/* What is verified, and what differs from the usual. */
struct scene {
	const struct certificate *path[CHAIN_MAX];
	struct tlsa_record records[RECORDS_MAX];
	const char *names[3];		 /* NULL = mx.good.test */
	const struct certificate *trust; /* NULL = nobody */
	bool pkix_usages, nameless;
};

/* As a delivery has it, and none: the verdicts are the same. */
static struct tls_context *client;

static struct verify_verdict verify(const struct scene *scene)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	static const char *const usual[] = { "mx.good.test" };
	struct trust *trust = trust_new(NULL);
	struct dane_verify_facts facts = { .chain = chain,
		.records = scene->records,
		.names = scene->names[0] == NULL ? usual : scene->names,
		.name_count = scene->nameless ? 0 : 1,
		.trust = trust,
		.pkix_usages = scene->pkix_usages,
		.now_ms = (int64_t)CERTIFICATES_NOW * 1000 };
	struct verify_verdict verdict, again;

	while (scene->names[0] != NULL && facts.name_count < 3 && scene->names[facts.name_count] != NULL)
		facts.name_count++;
	while (facts.count < RECORDS_MAX && scene->records[facts.count].data.at != NULL)
		facts.count++;
	for (size_t i = 0; i < CHAIN_MAX && scene->path[i] != NULL; i++)
		sk_X509_push(chain, scene->path[i]->x509);
	if (scene->trust != NULL)
		trust_add(trust, scene->trust->pem);
	dane_verify(&facts, &verdict);
	facts.client = client;
	dane_verify(&facts, &again);
	assert_int_equal(again.result, verdict.result);
	assert_string_equal(again.record, verdict.record);
	talloc_free(trust);
	sk_X509_free(chain);

	assert_int_equal(verdict.checked & verdict.unchecked, 0);
	assert_int_equal(!!(verdict.checked & VERIFY_DANE), verdict.result == VERIFY_FINE);
	assert_int_equal(verdict.reason[0] == '\0', verdict.result == VERIFY_FINE);
	if (verdict.result == VERIFY_FINE)
		assert_string_not_equal(verdict.record, "");
	return verdict;
}

static void expect(struct scene scene, enum verify_result result, const char *reason, const char *what)
{
	struct verify_verdict verdict = verify(&scene);

	if (verdict.result != result || strstr(verdict.reason, reason) == NULL)
		fail_msg("%s: %s, `%s` (%s); expected %s, `%s`", what, verify_result_word(verdict.result),
			verdict.reason, verdict.record, verify_result_word(result), reason);
}

static bool fine(struct scene scene)
{
	return verify(&scene).result == VERIFY_FINE;
}

/* Records */

static struct text whole(const struct certificate *of, unsigned selector)
{
	unsigned char *der = NULL;
	int len = selector == TLSA_KEY ? i2d_PUBKEY(X509_get0_pubkey(of->x509), &der)
				       : i2d_X509(of->x509, &der);

	assert_true(len > 0);
	struct text data = { talloc_memdup(made.scratch, der, (size_t)len), (size_t)len };
	OPENSSL_free(der);
	return data;
}

static struct tlsa_record record(
	unsigned usage, unsigned selector, unsigned matching, const struct certificate *of)
{
	struct text data = whole(of, selector);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (matching != TLSA_FULL) {
		assert_int_equal(EVP_Digest(data.at, data.len, digest, &len,
					 matching == TLSA_SHA256 ? EVP_sha256() : EVP_sha512(), NULL),
			1);
		data = (struct text){ talloc_memdup(made.scratch, digest, len), len };
	}
	return (struct tlsa_record){ (uint8_t)usage, (uint8_t)selector, (uint8_t)matching, data };
}

/* The same, of a certificate that nobody has. */
static struct tlsa_record wrong(unsigned usage, unsigned selector, unsigned matching)
{
	static const char other[64] = "other";
	struct tlsa_record it = record(usage, selector, matching, root);

	if (matching == TLSA_FULL)
		return record(usage, selector, matching,
			certificates_make(
				&made, (struct certificate_plan){ .cn = "foreign", .ca = "CA:TRUE" }));
	it.data.at = other;
	return it;
}

static const struct certificate *make(struct certificate_plan plan)
{
	return certificates_make(&made, plan);
}

#define NAMED(...)                                                                                           \
	(struct certificate_plan)                                                                            \
	{                                                                                                    \
		.san = "DNS:mx.good.test", __VA_ARGS__                                                       \
	}

/* Unusable records */

static void test_3_20_usages_0_and_1_are_unusable_for_mail(void **state)
{
	(void)state;
	for (unsigned usage = 0; usage <= 1; usage++) {
		struct tlsa_record it = record(usage, 1, 1, usage == 0 ? root : leaf);

		assert_non_null(dane_flaw(&it, false));
		expect((struct scene){ { leaf, middle, root }, { it }, .trust = root }, VERIFY_FAILURE,
			"no usable TLSA record", "alone");
		expect((struct scene){ { leaf, middle, root }, { it, wrong(3, 1, 1) }, .trust = root },
			VERIFY_NOT_TRUSTED, "no TLSA record matches", "beside one that does not match");
		expect((struct scene){ { leaf, middle, root }, { it, record(2, 0, 1, root) } }, VERIFY_FINE,
			"", "beside one that matches");
	}
}

static void test_3_20_B69_enforced_they_need_a_trusted_authority_and_a_match(void **state)
{
	const struct {
		struct tlsa_record record;
		const struct certificate *trust;
		const char *name;
		enum verify_result result;
	} rows[] = {
		{ record(0, 1, 1, root), root, "mx.good.test", VERIFY_FINE },
		{ record(0, 0, 2, middle), root, "mx.good.test", VERIFY_FINE },
		{ record(1, 1, 1, leaf), root, "mx.good.test", VERIFY_FINE },
		{ record(1, 0, 0, leaf), root, "mx.good.test", VERIFY_FINE },
		{ record(1, 1, 1, leaf), root, "mx.evil.test", VERIFY_HOST_MISMATCH },
		{ record(0, 1, 1, root), root, "mx.evil.test", VERIFY_HOST_MISMATCH },
		{ record(0, 1, 1, root), NULL, "mx.good.test", VERIFY_NOT_TRUSTED },
		{ record(1, 1, 1, leaf), NULL, "mx.good.test", VERIFY_NOT_TRUSTED },
		{ record(0, 1, 1, leaf), root, "mx.good.test", VERIFY_NOT_TRUSTED },
		{ record(1, 1, 1, root), root, "mx.good.test", VERIFY_NOT_TRUSTED },
		{ wrong(0, 1, 1), root, "mx.good.test", VERIFY_NOT_TRUSTED },
		{ wrong(1, 1, 1), root, "mx.good.test", VERIFY_NOT_TRUSTED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct scene scene = { { leaf, middle, root }, { rows[i].record }, { rows[i].name },
			.trust = rows[i].trust, .pkix_usages = true };
		struct verify_verdict verdict = verify(&scene);

		if (verdict.result != rows[i].result)
			fail_msg("row %zu: %s, %s", i, verify_result_word(verdict.result), verdict.reason);
	}
}

static void test_3_21_3_22_a_record_that_is_unusable_does_not_spoil_the_others(void **state)
{
	static const char garbage[64] = { 0x30, 0x3e, 1, 2, 3 };
	struct text longer = whole(root, TLSA_KEY);
	char *more = talloc_size(made.scratch, longer.len + 1);
	struct tlsa_record bad[] = {
		{ 3, 2, 1, { garbage, 32 } }, { 3, 255, 1, { garbage, 32 } }, { 3, 1, 3, { garbage, 32 } },
		{ 3, 1, 254, { garbage, 32 } }, { 3, 1, 255, { garbage, 32 } }, { 4, 1, 1, { garbage, 32 } },
		{ 255, 1, 1, { garbage, 32 } }, { 3, 1, 1, { garbage, 31 } }, { 3, 1, 1, { garbage, 33 } },
		{ 3, 1, 2, { garbage, 63 } }, { 3, 1, 2, { garbage, 32 } }, { 3, 0, 0, { garbage, 64 } },
		{ 3, 1, 0, { garbage, 64 } }, { 2, 0, 0, { garbage, 1 } },
		{ 2, 1, 0, { more, longer.len + 1 } }, /* a key, and a byte behind it */
		{ 2, 0, 0, longer },		       /* a key for a certificate */
	};

	(void)state;
	memcpy(more, longer.at, longer.len);
	more[longer.len] = '\0';
	for (size_t i = 0; i < COUNT(bad); i++) {
		char what[20];

		snprintf(what, sizeof what, "row %zu", i);
		assert_non_null(dane_flaw(&bad[i], true));
		expect((struct scene){ { leaf, middle }, { bad[i] } }, VERIFY_FAILURE,
			"no usable TLSA record", what);
		expect((struct scene){ { leaf, middle }, { bad[i], record(3, 1, 1, leaf) } }, VERIFY_FINE, "",
			what);
		expect((struct scene){ { leaf, middle }, { wrong(3, 1, 1), bad[i] } }, VERIFY_NOT_TRUSTED,
			"no TLSA record matches", what);
	}
}

/* Usage 3 */

static void test_3_23_the_servers_own_key_is_all_that_usage_3_looks_at(void **state)
{
	const struct certificate *odd[] = {
		make((struct certificate_plan){ .san = "DNS:mx.good.test" }),
		make(NAMED(.from_days = -30, .to_days = -1, .issuer = root)),
		make(NAMED(.from_days = 1, .to_days = 30)),
		make((struct certificate_plan){ .san = "DNS:other.test", .issuer = root }),
		make((struct certificate_plan){ .cn = "nobody" }),
		make(NAMED(.eku = "emailProtection", .issuer = root)),
		make(NAMED(.usage = "critical,cRLSign")),
		make(NAMED(.ca = "critical,CA:TRUE")),
		make(NAMED(.unknown = "critical")),
		make(NAMED(.md = "SHA1", .issuer = root)),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(odd); i++)
		for (unsigned selector = 0; selector <= 1; selector++)
			for (unsigned matching = 0; matching <= 2; matching++) {
				struct scene scene = { { odd[i] }, { record(3, selector, matching, odd[i]) },
					{ "mx.good.test" } };
				struct verify_verdict verdict = verify(&scene);

				if (verdict.result != VERIFY_FINE)
					fail_msg("%zu, 3 %u %u: %s", i, selector, matching, verdict.reason);
				assert_int_equal(verdict.depth, 0);
				assert_int_equal(verdict.checked, VERIFY_DANE | VERIFY_STRENGTH);
				assert_int_equal(verdict.unchecked, 0);
				assert_string_equal(verdict.matched, "");
				scene.path[0] = leaf;
				assert_int_equal(verify(&scene).result, VERIFY_NOT_TRUSTED);
			}
}

static void test_3_23_usage_3_matches_nothing_but_the_first_certificate(void **state)
{
	(void)state;
	expect((struct scene){ { leaf, middle, root }, { record(3, 1, 1, middle) } }, VERIFY_NOT_TRUSTED,
		"no TLSA record matches", "an authority");
	expect((struct scene){ { leaf, middle, root }, { record(3, 0, 1, root) } }, VERIFY_NOT_TRUSTED,
		"no TLSA record matches", "the root");
	expect((struct scene){ { leaf }, { record(3, 1, 1, leaf) }, .nameless = true }, VERIFY_FINE, "",
		"no name is asked for");
	expect((struct scene){ { NULL }, { record(3, 1, 1, leaf) } }, VERIFY_FAILURE,
		"the server showed no certificate", "no chain");
	expect((struct scene){ { leaf } }, VERIFY_FAILURE, "no usable TLSA record", "no record");
}

static void test_3_23_a_key_by_which_anybody_can_sign_proves_nothing(void **state)
{
	struct certificate_plan plan = NAMED(.key = certificates_rsa_with_exponent(1), .issuer = root);
	const struct certificate *everybody = make(plan), *small = make(NAMED(.rsa = 1024));

	(void)state;
	expect((struct scene){ { everybody }, { record(3, 1, 1, everybody) } }, VERIFY_NOT_TRUSTED,
		"unsound exponent", "exponent 1");
	expect((struct scene){ { small }, { record(3, 1, 1, small) } }, VERIFY_NOT_TRUSTED, "too weak",
		"RSA of 1024 bits");
	EVP_PKEY_free(plan.key);
}

/* Usage 2 */

static void test_3_24_an_authority_by_digest_must_be_sent_and_by_its_data_need_not(void **state)
{
	(void)state;
	for (unsigned selector = 0; selector <= 1; selector++)
		for (unsigned matching = 0; matching <= 2; matching++) {
			struct scene sent = { { leaf, middle, root },
				{ record(2, selector, matching, root) } };
			struct scene not_sent = { { leaf, middle }, { record(2, selector, matching, root) } };
			struct verify_verdict verdict = verify(&sent);

			assert_int_equal(verdict.result, VERIFY_FINE);
			assert_string_equal(verdict.matched, "mx.good.test");
			assert_int_equal(verdict.checked, VERIFY_DANE | VERIFY_CHAIN | VERIFY_DATES |
								  VERIFY_USE | VERIFY_STRENGTH |
								  VERIFY_NAMES);
			verdict = verify(&not_sent);
			assert_int_equal(
				verdict.result, matching == TLSA_FULL ? VERIFY_FINE : VERIFY_NOT_TRUSTED);
		}
}

static void test_3_24_an_authority_need_not_be_the_root(void **state)
{
	for (unsigned selector = 0; selector <= 1; selector++)
		for (unsigned matching = 0; matching <= 2; matching++) {
			struct scene scene = { { leaf, middle }, { record(2, selector, matching, middle) } };
			struct verify_verdict verdict = verify(&scene);

			assert_int_equal(verdict.result, VERIFY_FINE);
			assert_int_equal(verdict.depth, 1);
			scene.path[2] = root;
			assert_int_equal(verify(&scene).result, VERIFY_FINE);
			scene.path[1] = root;
			scene.path[2] = NULL;
			assert_int_equal(verify(&scene).result,
				matching == TLSA_FULL ? VERIFY_FINE : VERIFY_NOT_TRUSTED);
		}
	struct scene scene = { { leaf, middle, root }, { record(2, 1, 1, middle) } };
	struct verify_verdict verdict = verify(&scene);

	(void)state;
	assert_string_equal(verdict.authority, "CN=middle,O=Test");
	assert_int_equal(strncmp(verdict.record, "2 1 1 ", 6), 0);
	assert_int_equal(strlen(verdict.record), 6 + 64);
	scene = (struct scene){ { leaf }, { record(2, 1, 0, middle) } };
	verdict = verify(&scene);
	assert_int_equal(verdict.result, VERIFY_FINE);
	assert_string_equal(verdict.authority, "the key of a TLSA record");
}

static const struct certificate *authority(struct certificate_plan plan)
{
	if (plan.cn == NULL)
		plan.cn = "authority";
	if (plan.issuer == NULL)
		plan.issuer = root;
	return make(plan);
}

static void test_3_25_below_an_authority_everything_else_must_hold(void **state)
{
	const struct certificate *old = authority(
		(struct certificate_plan){ .ca = "critical,CA:TRUE", .from_days = -30, .to_days = -1 });
	const struct certificate *narrow =
		authority((struct certificate_plan){ .ca = "critical,CA:TRUE,pathlen:0" });
	const struct certificate *below_narrow = authority(
		(struct certificate_plan){ .cn = "below", .ca = "critical,CA:TRUE", .issuer = narrow });
	const struct certificate *no_ca = authority((struct certificate_plan){ .ca = "critical,CA:FALSE" });
	const struct certificate *constrained = authority((struct certificate_plan){
		.ca = "critical,CA:TRUE", .constraints = "critical,permitted;DNS:other.test" });
	const struct certificate *sha1 =
		authority((struct certificate_plan){ .ca = "critical,CA:TRUE", .md = "SHA1" });
	const struct {
		const struct certificate *path[3];
		enum verify_result result;
		const char *reason;
	} rows[] = {
		{ { make((struct certificate_plan){ .san = "DNS:other.test", .issuer = root }) },
			VERIFY_HOST_MISMATCH, "hostname mismatch: the certificate is for other.test" },
		{ { make(NAMED(.from_days = -30, .to_days = -1, .issuer = root)) }, VERIFY_EXPIRED,
			"certificate has expired: certificate 0" },
		{ { make(NAMED(.from_days = 1, .to_days = 30, .issuer = root)) }, VERIFY_NOT_TRUSTED,
			"certificate is not yet valid" },
		{ { make(NAMED(.issuer = old)), old }, VERIFY_EXPIRED,
			"certificate has expired: certificate 1" },
		{ { make(NAMED(.issuer = below_narrow)), below_narrow, narrow }, VERIFY_NOT_TRUSTED,
			"path length constraint exceeded" },
		{ { make(NAMED(.issuer = no_ca)), no_ca }, VERIFY_NOT_TRUSTED, "invalid CA certificate" },
		{ { make(NAMED(.issuer = constrained)), constrained }, VERIFY_NOT_TRUSTED,
			"permitted subtree violation" },
		{ { make(NAMED(.eku = "clientAuth", .issuer = root)) }, VERIFY_NOT_TRUSTED,
			"unsuitable certificate purpose" },
		{ { make(NAMED(.unknown = "critical", .issuer = root)) }, VERIFY_NOT_TRUSTED,
			"unhandled critical extension" },
		{ { make(NAMED(.rsa = 1024, .issuer = root)) }, VERIFY_NOT_TRUSTED, "too weak" },
		{ { make(NAMED(.issuer = sha1)), sha1 }, VERIFY_NOT_TRUSTED, "too weak" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (unsigned selector = 0; selector <= 1; selector++)
			for (unsigned matching = 0; matching <= 2; matching++) {
				struct scene scene = { .records = { record(2, selector, matching, root) } };
				char what[40];
				size_t n = 0;

				while (n < 3 && rows[i].path[n] != NULL) {
					scene.path[n] = rows[i].path[n];
					n++;
				}
				scene.path[n] = root;
				snprintf(what, sizeof what, "row %zu, 2 %u %u", i, selector, matching);
				expect(scene, rows[i].result, rows[i].reason, what);
			}
}

static void test_3_25_B71_usage_2_needs_a_name_to_look_for(void **state)
{
	(void)state;
	expect((struct scene){ { leaf, middle, root }, { record(2, 0, 1, root) }, .nameless = true },
		VERIFY_FAILURE, "no name to look for", "no name");
	expect((struct scene){ { leaf, middle, root }, { record(2, 0, 1, root) }, { "192.0.2.1" } },
		VERIFY_HOST_MISMATCH, "cannot be the name of a host", "an address");
}

static void test_3_26_usage_2_never_matches_the_servers_own_certificate(void **state)
{
	const struct certificate *self = make(NAMED(.ca = "critical,CA:TRUE"));

	(void)state;
	for (unsigned selector = 0; selector <= 1; selector++)
		for (unsigned matching = 1; matching <= 2; matching++) {
			expect((struct scene){ { leaf, middle, root },
				       { record(2, selector, matching, leaf) } },
				VERIFY_NOT_TRUSTED, "no TLSA record matches", "leaf");
			expect((struct scene){ { self }, { record(2, selector, matching, self) } },
				VERIFY_NOT_TRUSTED, "no TLSA record matches", "signed by itself");
		}
}

/* Several records */

static void test_3_27_records_are_alternatives(void **state)
{
	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		struct tlsa_record bad = wrong(3, 1, 1), good = record(2, 0, 1, root);
		struct scene scene = { { leaf, middle, root }, { turn ? bad : good, turn ? good : bad } };
		struct verify_verdict verdict = verify(&scene);

		assert_int_equal(verdict.result, VERIFY_FINE);
		assert_int_equal(strncmp(verdict.record, "2 0 1 ", 6), 0);
	}
}

static void test_3_28_B70_only_the_strongest_digest_of_a_usage_and_selector_counts(void **state)
{
	(void)state;
	assert_false(
		fine((struct scene){ { leaf, middle, root }, { record(3, 1, 1, leaf), wrong(3, 1, 2) } }));
	assert_true(
		fine((struct scene){ { leaf, middle, root }, { record(3, 1, 1, leaf), wrong(3, 0, 2) } }));
	assert_true(
		fine((struct scene){ { leaf, middle, root }, { wrong(3, 1, 1), record(3, 1, 0, leaf) } }));
	assert_true(
		fine((struct scene){ { leaf, middle, root }, { wrong(3, 1, 1), record(3, 1, 2, leaf) } }));
	assert_false(
		fine((struct scene){ { leaf, middle, root }, { record(2, 1, 1, root), wrong(2, 1, 2) } }));
	assert_true(
		fine((struct scene){ { leaf, middle, root }, { record(2, 1, 1, root), wrong(3, 1, 2) } }));
}

static bool counts(const struct tlsa_record *it, const struct tlsa_record *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (it->matching != TLSA_FULL && all[i].matching > it->matching &&
			all[i].usage == it->usage && all[i].selector == it->selector)
			return false;
	return true;
}

/* Every set out of `all`: it is fine when a record that counts in it is fine alone. */
static void check_all_sets(struct scene scene, const struct tlsa_record *all, size_t count)
{
	bool alone[16];

	assert_true(count <= COUNT(alone));
	for (size_t i = 0; i < count; i++) {
		scene.records[0] = all[i];
		alone[i] = fine(scene);
	}
	for (unsigned set = 0; set < 1u << count; set++) {
		struct tlsa_record chosen[16];
		size_t n = 0;
		bool expected = false;

		memset(scene.records, 0, sizeof scene.records);
		for (size_t i = 0; i < count; i++)
			if (set & 1u << i)
				chosen[n++] = all[i];
		for (size_t i = 0; i < count; i++)
			expected |= set & 1u << i && alone[i] && counts(&all[i], chosen, n);
		memcpy(scene.records, chosen, n * sizeof chosen[0]);
		struct verify_verdict verdict = verify(&scene);
		if ((verdict.result == VERIFY_FINE) != expected)
			fail_msg("set %x: %s, %s", set, verdict.reason, verdict.record);
	}
}

static void test_3_27_3_28_a_set_holds_when_a_record_that_counts_in_it_holds_alone(void **state)
{
	const struct tlsa_record all[] = { record(3, 1, 1, leaf), wrong(3, 1, 1), record(3, 1, 2, leaf),
		wrong(3, 1, 2), wrong(3, 1, 0), record(2, 0, 1, root), wrong(2, 0, 2), record(2, 0, 0, root),
		record(2, 1, 1, middle) };
	const struct tlsa_record not_sent[] = { record(2, 0, 1, root), record(2, 0, 2, root),
		record(2, 1, 0, root), wrong(2, 1, 1), record(2, 1, 2, middle), record(2, 0, 1, middle),
		record(2, 1, 1, leaf), wrong(3, 0, 1) };
	const struct tlsa_record mixed[] = { record(0, 1, 1, root), wrong(0, 1, 2), record(1, 1, 1, leaf),
		wrong(1, 1, 2), wrong(1, 0, 0), record(0, 0, 0, middle), record(2, 0, 1, root),
		wrong(3, 1, 1) };

	(void)state;
	check_all_sets((struct scene){ { leaf, middle, root } }, all, COUNT(all));
	check_all_sets((struct scene){ { leaf, middle } }, not_sent, COUNT(not_sent));
	check_all_sets((struct scene){ { leaf, middle, root } }, mixed, COUNT(mixed));
	check_all_sets((struct scene){ { leaf, middle, root }, .trust = root, .pkix_usages = true }, mixed,
		COUNT(mixed));
	check_all_sets((struct scene){ { leaf, middle, root }, .pkix_usages = true }, mixed, COUNT(mixed));
}

/* Names */

static void test_3_29_each_of_the_reference_names_will_do(void **state)
{
	const struct certificate *of_domain =
		make((struct certificate_plan){ .san = "DNS:good.test", .issuer = root });
	struct scene scene = { { of_domain, root }, { record(2, 0, 1, root) },
		{ "mx.good.test", "good.test", "expanded.test" } };
	struct verify_verdict verdict = verify(&scene);

	(void)state;
	assert_int_equal(verdict.result, VERIFY_FINE);
	assert_string_equal(verdict.matched, "good.test");
	scene.names[1] = NULL; /* an insecure MX record: only the base domain */
	assert_int_equal(verify(&scene).result, VERIFY_HOST_MISMATCH);
}

static void test_3_30_names_below_an_authority(void **state)
{
	static const struct {
		struct certificate_plan plan;
		bool fine;
	} rows[] = {
		{ { .san = "DNS:*.good.test" }, true },
		{ { .san = "DNS:m*.good.test" }, false },
		{ { .san = "DNS:*x.good.test" }, false },
		{ { .san = "DNS:mx.*.test" }, false },
		{ { .san = "DNS:*.test" }, false },
		{ { .san = "DNS:good.test" }, false },
		{ { .san = "DNS:*.mx.good.test" }, false },
		{ { .san = "DNS:other.test", .cn = "mx.good.test" }, false },
		{ { .cn = "mx.good.test" }, false },
		{ { .san = "email:a@good.test", .cn = "mx.good.test" }, false },
		{ { .san = "DNS:other.test,DNS:MX.good.test" }, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct certificate_plan plan = rows[i].plan;

		plan.issuer = root;
		struct scene scene = { { make(plan), root }, { record(2, 0, 1, root) } };
		if (fine(scene) != rows[i].fine)
			fail_msg("row %zu", i);
	}
}

/* Chains */

static void test_3_31_a_path_is_found_in_a_padded_and_unordered_chain(void **state)
{
	const struct certificate *foreign = certificates_authority(&made, "foreign", NULL);
	const struct certificate *namesake = certificates_authority(&made, "middle", foreign);
	const struct certificate *const chains[][8] = {
		{ leaf, root, middle },
		{ leaf, leaf, middle, middle, root, root, leaf },
		{ leaf, foreign, root, namesake, middle },
		{ leaf, namesake, foreign, middle, root },
	};
	struct scene scene = { .records = { record(2, 0, 1, root) } };

	(void)state;
	for (size_t i = 0; i < COUNT(chains); i++) {
		for (size_t j = 0; j < COUNT(chains[i]); j++)
			scene.path[j] = chains[i][j];
		expect(scene, VERIFY_FINE, "", "chain");
	}
	scene = (struct scene){ { leaf, namesake, foreign }, { record(2, 0, 1, foreign) } };
	assert_false(fine(scene)); /* a name is no signature */
}

/* The same key under two authorities, of which one is meant; whichever stands first. */
static void test_3_31_the_path_may_lead_over_any_of_two_certificates_of_a_key(void **state)
{
	const struct certificate *other = certificates_authority(&made, "other root", NULL);
	const struct certificate *crossed = make((struct certificate_plan){ .cn = "middle",
		.ca = "critical,CA:TRUE",
		.usage = "critical,keyCertSign,cRLSign",
		.key = middle->key,
		.issuer = other });
	const struct certificate *const chains[][5] = {
		{ leaf, crossed, middle, root },
		{ leaf, middle, crossed, root },
		{ leaf, crossed, other, middle, root },
		{ leaf, middle, root, crossed, other },
	};
	struct scene scene = { .records = { record(2, 0, 1, root) } };

	(void)state;
	for (size_t i = 0; i < COUNT(chains); i++) {
		for (size_t j = 0; j < COUNT(chains[i]); j++)
			scene.path[j] = chains[i][j];
		scene.records[0] = record(2, 0, 1, root);
		expect(scene, VERIFY_FINE, "", "the usual root");
		scene.records[0] = record(2, 0, 1, crossed);
		expect(scene, VERIFY_FINE, "", "one of the two certificates");
		scene.records[0] = record(2, 0, 1, middle);
		expect(scene, VERIFY_FINE, "", "the other one");
		scene.records[0] = record(2, 0, 1, other);
		expect(scene, i < 2 ? VERIFY_NOT_TRUSTED : VERIFY_FINE, "", "the other root");
		scene.records[0] = wrong(2, 0, 1);
		expect(scene, VERIFY_NOT_TRUSTED, "no TLSA record matches", "none");
	}
}

static void test_3_31_what_stands_behind_twenty_certificates_is_not_looked_at(void **state)
{
	const struct certificate *foreign = certificates_authority(&made, "foreign", NULL);
	struct scene scene = { { leaf }, { record(2, 0, 1, root), wrong(3, 1, 1) } };

	(void)state;
	for (size_t i = 1; i < 18; i++)
		scene.path[i] = foreign;
	scene.path[18] = middle;
	scene.path[19] = root;
	expect(scene, VERIFY_FINE, "", "twenty");
	scene.path[18] = foreign;
	scene.path[20] = middle;
	expect(scene, VERIFY_NOT_TRUSTED, "no TLSA record matches", "twenty-one");
	scene.records[1] = record(3, 1, 1, leaf);
	expect(scene, VERIFY_FINE, "", "the first is among them");
}

static void test_3_13_sixty_records_of_which_the_last_matches(void **state)
{
	static char others[RECORDS_MAX][32];
	struct scene scene = { { leaf, middle, root } };
	size_t i;

	(void)state;
	for (i = 0; i < 59; i++) {
		others[i][0] = (char)(i + 1);
		scene.records[i] =
			(struct tlsa_record){ i % 2 == 0 ? 3 : 2, (i / 2) % 2, 1, { others[i], 32 } };
	}
	assert_false(fine(scene));
	scene.records[i++] = record(3, 1, 1, leaf);
	assert_true(fine(scene));
	for (; i <= DANE_RECORDS_MAX; i++) {
		others[i][0] = (char)(i + 1);
		scene.records[i] = (struct tlsa_record){ 3, 1, 1, { others[i], 32 } };
	}
	expect(scene, VERIFY_FAILURE, "too many TLSA records", "one more than the limit");
	memset(&scene.records[DANE_RECORDS_MAX], 0, sizeof scene.records[0]);
	assert_true(fine(scene));
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	client = tls_context_client(made.scratch);
	root = certificates_authority(&made, "root", NULL);
	middle = certificates_authority(&made, "middle", root);
	leaf = make(NAMED(.issuer = middle));
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
		TEST(test_3_20_usages_0_and_1_are_unusable_for_mail),
		TEST(test_3_20_B69_enforced_they_need_a_trusted_authority_and_a_match),
		TEST(test_3_21_3_22_a_record_that_is_unusable_does_not_spoil_the_others),
		TEST(test_3_23_the_servers_own_key_is_all_that_usage_3_looks_at),
		TEST(test_3_23_usage_3_matches_nothing_but_the_first_certificate),
		TEST(test_3_23_a_key_by_which_anybody_can_sign_proves_nothing),
		TEST(test_3_24_an_authority_by_digest_must_be_sent_and_by_its_data_need_not),
		TEST(test_3_24_an_authority_need_not_be_the_root),
		TEST(test_3_25_below_an_authority_everything_else_must_hold),
		TEST(test_3_25_B71_usage_2_needs_a_name_to_look_for),
		TEST(test_3_26_usage_2_never_matches_the_servers_own_certificate),
		TEST(test_3_27_records_are_alternatives),
		TEST(test_3_28_B70_only_the_strongest_digest_of_a_usage_and_selector_counts),
		TEST(test_3_27_3_28_a_set_holds_when_a_record_that_counts_in_it_holds_alone),
		TEST(test_3_29_each_of_the_reference_names_will_do),
		TEST(test_3_30_names_below_an_authority),
		TEST(test_3_31_a_path_is_found_in_a_padded_and_unordered_chain),
		TEST(test_3_31_the_path_may_lead_over_any_of_two_certificates_of_a_key),
		TEST(test_3_31_what_stands_behind_twenty_certificates_is_not_looked_at),
		TEST(test_3_13_sixty_records_of_which_the_last_matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
