/* Asking for the status of a certificate, and judging the answer (pki/ocsp.c): conformance 7.38 to 7.41. */
#include "pki/ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "ocsp_answers.h"

static const int64_t now_ms = (int64_t)CERTIFICATES_NOW * 1000;

static struct certificates made;
static const struct certificate *root, *issuer, *leaf;

static struct ocsp_answer judge_with(struct text nonce, struct text response)
{
	const struct ocsp_question question = { leaf->x509, issuer->x509, nonce };
	struct ocsp_answer answer;

	ocsp_judge(&question, response, now_ms, &answer);
	return answer;
}

static struct ocsp_answer judge(struct text response)
{
	return judge_with((struct text){ 0 }, response);
}

static void expect(struct answer_plan plan, enum ocsp_finding finding, const char *reason)
{
	struct ocsp_answer answer = judge(ocsp_answers_make(made.scratch, plan));

	if (answer.finding != finding || strstr(answer.reason, reason) == NULL)
		fail_msg("expected %s, `%s`: %s, `%s`", ocsp_word(finding), reason, ocsp_word(answer.finding),
			answer.reason);
	assert_int_equal(answer.until_ms == 0, finding == OCSP_NO_ANSWER);
}

static struct answer_entry good(const struct certificate *about, const struct certificate *of)
{
	return (struct answer_entry){ .about = about, .issuer = of };
}

static void test_7_38_it_is_about_exactly_that_certificate(void **state)
{
	const struct certificate *namesake = certificates_authority(&made, "issuer", root);
	const struct certificate *other =
		certificates_make(&made, (struct certificate_plan){ .cn = "other", .issuer = issuer });
	const char *about = "it is not about this certificate";

	(void)state;
	expect((struct answer_plan){ .signer = issuer, .entries = { good(leaf, issuer) } }, OCSP_GOOD, "");
	expect((struct answer_plan){ .signer = issuer, .entries = { good(other, issuer) } }, OCSP_NO_ANSWER,
		about);
	/* the same serial number and the same name of the issuer, but another key; the same key, but another name */
	expect((struct answer_plan){ .signer = issuer, .entries = { good(leaf, namesake) } }, OCSP_NO_ANSWER,
		about);
	const struct certificate *renamed = certificates_make(
		&made, (struct certificate_plan){ .cn = "renamed", .ca = "CA:TRUE", .key = issuer->key });
	const struct certificate *double_ = certificates_make(
		&made, (struct certificate_plan){ .cn = "leaf",
			       .issuer = renamed,
			       .serial = ASN1_INTEGER_get(X509_get0_serialNumber(leaf->x509)) });
	expect((struct answer_plan){ .signer = issuer, .entries = { good(double_, renamed) } },
		OCSP_NO_ANSWER, about);
	expect((struct answer_plan){ .signer = issuer }, OCSP_NO_ANSWER, about);
	/* among others; named by another digest */
	expect((struct answer_plan){ .signer = issuer,
		       .entries = { good(other, issuer), good(leaf, issuer) } },
		OCSP_GOOD, "");
	struct answer_entry entry = good(leaf, issuer);
	for (size_t i = 0; i < 3; i++) {
		entry.id_md = (const char *const[]){ "SHA256", "SHA384", "SHA512" }[i];
		expect((struct answer_plan){ .signer = issuer, .entries = { entry } }, OCSP_GOOD, "");
	}
	entry.id_md = "MD5";
	expect((struct answer_plan){ .signer = issuer, .entries = { entry } }, OCSP_NO_ANSWER, about);
}

static void test_7_38_of_two_entries_the_worse_counts(void **state)
{
	struct answer_entry entries[] = { good(leaf, issuer), good(leaf, issuer) };

	(void)state;
	for (int second = V_OCSP_CERTSTATUS_REVOKED; second <= V_OCSP_CERTSTATUS_UNKNOWN; second++)
		for (int order = 0; order < 2; order++) {
			entries[1].status = second;
			expect((struct answer_plan){ .signer = issuer,
				       .entries = { entries[order], entries[!order] } },
				second == V_OCSP_CERTSTATUS_REVOKED ? OCSP_REVOKED : OCSP_UNKNOWN, "");
		}
}

/* Signed by a delegate that is made so. */
static void expect_delegate(struct certificate_plan delegate, enum ocsp_finding finding, const char *reason)
{
	if (delegate.issuer == NULL)
		delegate.issuer = issuer;
	if (delegate.cn == NULL)
		delegate.cn = "delegate";
	const struct certificate *signer = certificates_make(&made, delegate);
	for (int by_key = 0; by_key < 2; by_key++)
		expect(
			(struct answer_plan){
				.signer = signer, .by_key = by_key == 1, .entries = { good(leaf, issuer) } },
			finding, reason);
}

static void test_7_38_only_a_delegate_of_the_issuer_may_sign(void **state)
{
	const struct certificate *below = certificates_authority(&made, "below", issuer);
	static const char sign[] = "OCSPSigning";

	(void)state;
	expect_delegate((struct certificate_plan){ .eku = sign }, OCSP_GOOD, "");
	expect_delegate((struct certificate_plan){ .eku = sign, .usage = "critical,digitalSignature" },
		OCSP_GOOD, "");
	expect_delegate((struct certificate_plan){ .eku = sign, .rsa = 2048 }, OCSP_GOOD, "");
	/* not allowed to */
	expect_delegate((struct certificate_plan){ .eku = NULL }, OCSP_NO_ANSWER, "no OCSPSigning");
	expect_delegate((struct certificate_plan){ .eku = "serverAuth,clientAuth" }, OCSP_NO_ANSWER,
		"no OCSPSigning");
	expect_delegate(
		(struct certificate_plan){ .eku = "anyExtendedKeyUsage" }, OCSP_NO_ANSWER, "no OCSPSigning");
	expect_delegate((struct certificate_plan){ .eku = sign, .usage = "critical,keyEncipherment" },
		OCSP_NO_ANSWER, "key usage");
	/* not by the issuer itself: by the one above, by one below, by itself */
	expect_delegate((struct certificate_plan){ .eku = sign, .issuer = root }, OCSP_NO_ANSWER,
		"unable to get local issuer certificate");
	expect_delegate((struct certificate_plan){ .eku = sign, .issuer = below }, OCSP_NO_ANSWER,
		"unable to get local issuer certificate");
	const struct certificate *alone = certificates_make(
		&made, (struct certificate_plan){ .cn = "alone", .eku = sign, .ca = "CA:TRUE" });
	expect((struct answer_plan){ .signer = alone, .entries = { good(leaf, issuer) } }, OCSP_NO_ANSWER,
		"self-signed");
	expect((struct answer_plan){ .signer = root, .entries = { good(leaf, issuer) } }, OCSP_NO_ANSWER, "");
	/* not now */
	expect_delegate((struct certificate_plan){ .eku = sign, .from_days = -9, .to_days = -1 },
		OCSP_NO_ANSWER, "certificate has expired");
	expect_delegate((struct certificate_plan){ .eku = sign, .from_days = 1, .to_days = 9 },
		OCSP_NO_ANSWER, "certificate is not yet valid");
	/* level 2 */
	expect_delegate((struct certificate_plan){ .eku = sign, .rsa = 1024 }, OCSP_NO_ANSWER, "too weak");
	expect_delegate((struct certificate_plan){ .eku = sign, .md = "SHA1" }, OCSP_NO_ANSWER, "too weak");
	expect_delegate((struct certificate_plan){ .eku = sign, .unknown = "critical" }, OCSP_NO_ANSWER,
		"unhandled critical extension");
}

/* The certificate of the delegate says who issued it, but that key did not. */
static void test_7_38_a_delegate_that_only_names_the_issuer(void **state)
{
	const struct certificate *namesake = certificates_authority(&made, "issuer", NULL);
	const struct certificate *delegate = certificates_make(
		&made, (struct certificate_plan){ .cn = "d", .eku = "OCSPSigning", .issuer = namesake });
	struct answer_plan plan = { .signer = delegate, .entries = { good(leaf, issuer) } };

	(void)state;
	expect(plan, OCSP_NO_ANSWER, "");
	plan.with = namesake;
	expect(plan, OCSP_NO_ANSWER, "");
	plan = (struct answer_plan){ .signer = namesake, .entries = { good(leaf, issuer) } };
	expect(plan, OCSP_NO_ANSWER, "");
}

static void test_7_38_the_signature_is_looked_at(void **state)
{
	const struct certificate *delegate = certificates_make(
		&made, (struct certificate_plan){ .cn = "d", .eku = "OCSPSigning", .issuer = issuer });
	struct answer_plan plan = {
		.signer = issuer, .without_signer = true, .entries = { good(leaf, issuer) }
	};
	struct text bytes = ocsp_answers_make(made.scratch, plan);

	(void)state;
	assert_int_equal(judge(bytes).finding, OCSP_GOOD);
	plan.by_key = true;
	expect(plan, OCSP_GOOD, "");
	((char *)(uintptr_t)bytes.at)[bytes.len - 1] ^= 1;
	assert_int_equal(judge(bytes).finding, OCSP_NO_ANSWER);
	/* of a delegate that is not sent along, and of one whose namesake is */
	plan = (struct answer_plan){
		.signer = delegate, .without_signer = true, .entries = { good(leaf, issuer) }
	};
	expect(plan, OCSP_NO_ANSWER, "not that of the certificate's issuer");
	const struct certificate *namesake = certificates_make(
		&made, (struct certificate_plan){ .cn = "d", .eku = "OCSPSigning", .issuer = issuer });
	plan = (struct answer_plan){
		.signer = delegate, .with = namesake, .entries = { good(leaf, issuer) }
	};
	expect(plan, OCSP_GOOD, "");
	bytes = ocsp_answers_make(made.scratch, plan);
	char *time = memmem(bytes.at, bytes.len,
		"\x18\x0f"
		"2023",
		6);
	assert_non_null(time);
	time[6] ^= 1; /* its thisUpdate: the month */
	assert_string_equal(judge(bytes).reason, "its signature is wrong");
}

static void test_7_38_a_weak_signature_does_not_count(void **state)
{
	const struct certificate *rsa = certificates_make(&made,
		(struct certificate_plan){ .cn = "r", .eku = "OCSPSigning", .rsa = 2048, .issuer = issuer });
	static const struct {
		const char *md;
		bool rsa, pss;
		enum ocsp_finding finding;
	} rows[] = {
		{ "SHA256", false, false, OCSP_GOOD },
		{ "SHA384", false, false, OCSP_GOOD },
		{ "SHA1", false, false, OCSP_NO_ANSWER },
		{ "SHA256", true, false, OCSP_GOOD },
		{ "SHA1", true, false, OCSP_NO_ANSWER },
		{ "MD5", true, false, OCSP_NO_ANSWER },
		{ "SHA256", true, true, OCSP_GOOD },
		{ "SHA1", true, true, OCSP_NO_ANSWER },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		expect((struct answer_plan){ .signer = rows[i].rsa ? rsa : issuer,
			       .md = rows[i].md,
			       .pss = rows[i].pss,
			       .entries = { good(leaf, issuer) } },
			rows[i].finding, rows[i].finding == OCSP_GOOD ? "" : "its signature is too weak");
}

static void test_7_39_old_and_future_answers_are_refused(void **state)
{
	enum { DAY = 1440, NEVER = OCSP_ANSWERS_NEVER };
	static const struct {
		struct answer_entry times;
		const char *why; /* NULL = it counts */
	} rows[] = {
		{ { .from_minutes = -60, .to_minutes = 60 }, NULL },
		{ { .from_minutes = 4, .to_minutes = 60 }, NULL }, /* within five minutes */
		{ { .from_minutes = 6, .to_minutes = 60 }, "from the future" },
		{ { .from_minutes = -60, .to_minutes = -4 }, NULL },
		{ { .from_minutes = -60, .to_minutes = -6 }, "out of date" },
		{ { .from_minutes = -3, .to_minutes = -4 }, "ends before it begins" },
		{ { .from_minutes = -9 * DAY, .to_minutes = 60 }, NULL },
		{ { .from_minutes = -60, .to_minutes = NEVER }, NULL },
		{ { .from_minutes = -DAY - 4, .to_minutes = NEVER }, NULL },
		{ { .from_minutes = -DAY - 6, .to_minutes = NEVER }, "older than a day" },
		{ { .from_minutes = -999 * DAY, .to_minutes = NEVER }, "older than a day" },
		{ { .from_minutes = 6, .to_minutes = NEVER }, "from the future" },
		/* 2023-11-14T22:13:20Z is now; RFC 5280 section 4.1.2.5.2: seconds, Z, no fraction */
		{ { .from_raw = "20231114221320Z" }, NULL },
		{ { .from_raw = "20231114221320.5Z" }, "cannot be read" },
		{ { .from_raw = "202311142213Z" }, "cannot be read" },
		{ { .from_raw = "20231114221320+0000" }, "cannot be read" },
		{ { .from_raw = "20231114221320" }, "cannot be read" },
		{ { .from_raw = "99999999999999Z" }, "cannot be read" },
		{ { .to_raw = "20231114231320.5Z" }, "cannot be read" },
		{ { .to_raw = "20231114231320+0000" }, "cannot be read" },
		{ { .to_raw = "" }, "cannot be read" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int status = V_OCSP_CERTSTATUS_GOOD; status <= V_OCSP_CERTSTATUS_UNKNOWN; status++) {
			static const enum ocsp_finding findings[] = { OCSP_GOOD, OCSP_REVOKED, OCSP_UNKNOWN };
			struct answer_entry entry = rows[i].times;

			entry.about = leaf;
			entry.issuer = issuer;
			entry.status = status;
			expect((struct answer_plan){ .signer = issuer, .entries = { entry } },
				rows[i].why == NULL ? findings[status] : OCSP_NO_ANSWER,
				rows[i].why == NULL ? "" : rows[i].why);
		}
}

static void test_7_39_until_when_an_answer_may_be_used(void **state)
{
	static const struct {
		int from, to;
		int64_t until; /* minutes */
	} rows[] = { { -60, 120, 120 }, { -60, OCSP_ANSWERS_NEVER, 1440 - 60 } };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct answer_entry entry = good(leaf, issuer);

		entry.from_minutes = rows[i].from;
		entry.to_minutes = rows[i].to;
		struct ocsp_answer answer = judge(ocsp_answers_make(
			made.scratch, (struct answer_plan){ .signer = issuer, .entries = { entry } }));
		assert_int_equal(answer.this_update_ms, now_ms + (int64_t)rows[i].from * 60000);
		assert_int_equal(answer.until_ms, now_ms + rows[i].until * 60000);
		assert_int_equal(answer.next_update_ms,
			rows[i].to == OCSP_ANSWERS_NEVER ? 0 : now_ms + (int64_t)rows[i].to * 60000);
	}
}

static void test_7_40_nonces(void **state)
{
	static const char first[OCSP_NONCE_LEN + 1] = "0123456789abcdef0123456789abcdef";
	static const char second[OCSP_NONCE_LEN + 1] = "0123456789abcdef0123456789abcdeX";
	const struct text none = { 0 }, a = { first, OCSP_NONCE_LEN }, b = { second, OCSP_NONCE_LEN },
			  part = { first, OCSP_NONCE_LEN / 2 };
	const struct {
		struct text sent, came;
		enum ocsp_finding finding;
	} rows[] = {
		{ none, none, OCSP_GOOD },
		{ a, a, OCSP_GOOD },
		{ a, none, OCSP_GOOD }, /* answers that were signed ahead */
		{ none, a, OCSP_GOOD },
		{ a, b, OCSP_NO_ANSWER },
		{ a, part, OCSP_NO_ANSWER },
		{ part, a, OCSP_NO_ANSWER },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ocsp_answer answer = judge_with(rows[i].sent,
			ocsp_answers_make(made.scratch, (struct answer_plan){ .signer = issuer,
								.nonce = rows[i].came,
								.entries = { good(leaf, issuer) } }));

		if (answer.finding != rows[i].finding)
			fail_msg("row %zu: %s", i, answer.reason);
	}
}

static void test_7_41_a_responder_that_does_not_answer(void **state)
{
	static const struct {
		int status;
		const char *why;
	} rows[] = {
		{ OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, "malformed request" },
		{ OCSP_RESPONSE_STATUS_INTERNALERROR, "internal error" },
		{ OCSP_RESPONSE_STATUS_TRYLATER, "try later" },
		{ OCSP_RESPONSE_STATUS_SIGREQUIRED, "signed requests" },
		{ OCSP_RESPONSE_STATUS_UNAUTHORIZED, "unauthorized" }, { 4, "what no responder can say" },
		{ OCSP_RESPONSE_STATUS_SUCCESSFUL,
			"of a kind that is known here" }, /* but without an answer */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ocsp_answer answer = judge(ocsp_answers_wrap(made.scratch, rows[i].status, NULL));

		assert_int_equal(answer.finding, OCSP_NO_ANSWER);
		if (strstr(answer.reason, rows[i].why) == NULL)
			fail_msg("row %zu: %s", i, answer.reason);
	}
	/* An answer inside does not count when the responder says that there is none. */
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	const struct answer_plan plan = { .signer = issuer };
	const struct answer_entry entry = good(leaf, issuer);
	ocsp_answers_entry(basic, &entry);
	ocsp_answers_sign(basic, &plan);
	assert_int_equal(
		judge(ocsp_answers_wrap(made.scratch, OCSP_RESPONSE_STATUS_SUCCESSFUL, basic)).finding,
		OCSP_GOOD);
	assert_int_equal(judge(ocsp_answers_wrap(made.scratch, OCSP_RESPONSE_STATUS_TRYLATER, basic)).finding,
		OCSP_NO_ANSWER);
	OCSP_BASICRESP_free(basic);
}

static void test_why_and_since_when(void **state)
{
	struct answer_entry entry = good(leaf, issuer);

	(void)state;
	entry.status = V_OCSP_CERTSTATUS_REVOKED;
	expect((struct answer_plan){ .signer = issuer, .entries = { entry } }, OCSP_REVOKED,
		"revoked since 2023-11-14T21:13:20.000Z (no reason given)");
	for (int reason = 1; reason <= 10; reason++) {
		entry.reason = reason; /* 6 = on hold, 8 = removed from the list: revoked all the same */
		expect((struct answer_plan){ .signer = issuer, .entries = { entry } }, OCSP_REVOKED,
			OCSP_crl_reason_str(reason));
	}
}

static void test_unknown_critical_extensions(void **state)
{
	struct answer_entry entry = good(leaf, issuer);

	(void)state;
	expect((struct answer_plan){ .signer = issuer, .unknown = true, .entries = { entry } },
		OCSP_NO_ANSWER, "critical extension");
	entry.unknown = true;
	expect((struct answer_plan){ .signer = issuer, .entries = { entry } }, OCSP_NO_ANSWER,
		"critical extension");
}

static void test_what_is_no_response(void **state)
{
	struct text whole = ocsp_answers_make(
		made.scratch, (struct answer_plan){ .signer = issuer, .entries = { good(leaf, issuer) } });
	char *longer = talloc_zero_array(made.scratch, char, OCSP_RESPONSE_MAX + 1);

	(void)state;
	for (size_t len = 0; len < whole.len; len++)
		assert_int_equal(judge((struct text){ whole.at, len }).finding, OCSP_NO_ANSWER);
	memcpy(longer, whole.at, whole.len);
	assert_int_equal(judge((struct text){ longer, whole.len }).finding, OCSP_GOOD);
	assert_string_equal(judge((struct text){ longer, whole.len + 1 }).reason, "it is no OCSP response");
	assert_string_equal(
		judge((struct text){ longer, OCSP_RESPONSE_MAX + 1 }).reason, "it is no OCSP response");
	assert_string_equal(judge(TEXT("<html>")).reason, "it is no OCSP response");
	struct text large =
		ocsp_answers_make(made.scratch, (struct answer_plan){ .signer = issuer,
							.nonce = { longer, OCSP_RESPONSE_MAX - 1000 },
							.entries = { good(leaf, issuer) } });
	assert_int_equal(judge(large).finding, OCSP_GOOD);
	large = ocsp_answers_make(made.scratch, (struct answer_plan){ .signer = issuer,
							.nonce = { longer, OCSP_RESPONSE_MAX },
							.entries = { good(leaf, issuer) } });
	assert_string_equal(judge(large).reason, "it is no OCSP response");
}

static void test_the_request_names_the_certificate(void **state)
{
	static const char nonce[OCSP_NONCE_LEN + 1] = "0123456789abcdef0123456789abcdef";
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf->x509, issuer->x509);

	(void)state;
	for (size_t len = 0; len <= OCSP_NONCE_LEN; len += OCSP_NONCE_LEN) {
		const struct ocsp_question question = { leaf->x509, issuer->x509, { nonce, len } };
		struct text bytes = ocsp_request(made.scratch, &question);
		const unsigned char *at = (const unsigned char *)bytes.at;
		OCSP_REQUEST *request = d2i_OCSP_REQUEST(NULL, &at, (long)bytes.len);

		assert_non_null(request);
		assert_int_equal(OCSP_request_onereq_count(request), 1);
		assert_int_equal(
			OCSP_id_cmp(id, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0))), 0);
		assert_int_equal(
			OCSP_REQUEST_get_ext_by_NID(request, NID_id_pkix_OCSP_Nonce, -1) >= 0, len > 0);
		assert_false(OCSP_request_is_signed(request));
		OCSP_REQUEST_free(request);
	}
	OCSP_CERTID_free(id);
}

static void test_7_41_where_to_ask(void **state)
{
	static const struct {
		const char *info, *urls;
	} rows[] = {
		{ NULL, "" },
		{ "OCSP;URI:http://a.test/", "http://a.test/ " },
		{ "OCSP;URI:https://a.test:8080/x?y", "https://a.test:8080/x?y " },
		{ "caIssuers;URI:http://a.test/ca", "" },
		{ "caIssuers;URI:http://a.test/ca,OCSP;URI:http://b.test,OCSP;URI:http://c.test",
			"http://b.test http://c.test " },
		{ "OCSP;URI:ldap://a.test/,OCSP;URI:file:///etc/passwd,OCSP;URI:http://b.test/",
			"http://b.test/ " },
		{ "OCSP;DNS:a.test,OCSP;email:a@a.test,OCSP;URI:http://u@b.test/", "" },
		{ "OCSP;URI:http://1.test,OCSP;URI:http://2.test,OCSP;URI:http://3.test,OCSP;URI:http://4.test,"
		  "OCSP;URI:http://5.test",
			"http://1.test http://2.test http://3.test http://4.test " },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct certificate *certificate = certificates_make(
			&made, (struct certificate_plan){ .info = rows[i].info, .issuer = issuer });
		const char *urls[OCSP_URLS_MAX];
		char *all = talloc_strdup(made.scratch, "");

		for (size_t j = 0, count = ocsp_urls(made.scratch, certificate->x509, urls); j < count; j++)
			all = talloc_asprintf_append(all, "%s ", urls[j]);
		assert_string_equal(all, rows[i].urls);
	}
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	root = certificates_authority(&made, "root", NULL);
	issuer = certificates_authority(&made, "issuer", root);
	leaf = certificates_make(&made, (struct certificate_plan){ .cn = "leaf", .issuer = issuer });
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
		TEST(test_7_38_it_is_about_exactly_that_certificate),
		TEST(test_7_38_of_two_entries_the_worse_counts),
		TEST(test_7_38_only_a_delegate_of_the_issuer_may_sign),
		TEST(test_7_38_a_delegate_that_only_names_the_issuer),
		TEST(test_7_38_the_signature_is_looked_at),
		TEST(test_7_38_a_weak_signature_does_not_count),
		TEST(test_7_39_old_and_future_answers_are_refused),
		TEST(test_7_39_until_when_an_answer_may_be_used),
		TEST(test_7_40_nonces),
		TEST(test_7_41_a_responder_that_does_not_answer),
		TEST(test_why_and_since_when),
		TEST(test_unknown_critical_extensions),
		TEST(test_what_is_no_response),
		TEST(test_the_request_names_the_certificate),
		TEST(test_7_41_where_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
