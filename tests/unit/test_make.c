/* Keys, self-signed certificates and requests: what is made is read back by OpenSSL, and what cannot be made is refused with a sentence. */
#include "pki/make.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/x509_vfy.h>

#include "base/clock.h"
#include "base/err.h"
#include "pki/certificate.h"
#include "test_help.h"

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10

static X509 *x509_of(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	assert_non_null(certificate);
	return certificate;
}

static char *make(const void *owner, const char *key, const struct make_subject *subject)
{
	const char *why = "";
	char *pem = NULL;

	if (make_certificate(owner, text_of(key), subject, &pem, &why) < 0)
		fail_msg("%s", why);
	return pem;
}

static void test_B10_every_kind_of_key_is_made_and_signs(void **state)
{
	static const char *const kinds[] = { "rsa:2048", "rsa:3072", "rsa:4096", "p256", "p384", "rsa:1024" };
	const struct make_subject subject = { .common_name = "gw.good.test", .days = 1 };

	(void)state;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		void *owner = talloc_new(NULL);
		struct certificate *shown;
		const char *why;
		size_t count;

		assert_int_equal(make_knows_key(kinds[i], false), strcmp(kinds[i], "rsa:1024") != 0);
		assert_true(make_knows_key(kinds[i], true));
		char *key = make_key(owner, kinds[i]), *pem = make(owner, key, &subject);
		assert_int_equal(certificate_list(owner, text_of(pem), &shown, &count, &why), 0);
		assert_int_equal(count, 1);
		assert_string_equal(shown[0].key, kinds[i]);
		assert_true(shown[0].self_signed);
		X509 *certificate = x509_of(pem);
		assert_int_equal(X509_verify(certificate, X509_get0_pubkey(certificate)), 1);
		const int nid = X509_get_signature_nid(certificate);
		assert_int_equal(nid, kinds[i][0] == 'r'	      ? NID_sha256WithRSAEncryption
				      : strcmp(kinds[i], "p256") == 0 ? NID_ecdsa_with_SHA256
								      : NID_ecdsa_with_SHA384);
		X509_free(certificate);
		talloc_free(owner);
	}
	assert_false(make_knows_key("rsa:512", true));
	assert_false(make_knows_key("rsa", true));
	assert_false(make_knows_key("", true));
}

static void test_B10_C48_the_subject_and_the_names_are_in_it(void **state)
{
	static const char *const alt[] = { "www.good.test", "*.Good.test", "GW.good.test", "192.0.2.1",
		"2001:db8::1", "www.good.test" };
	const struct make_subject subject = { .common_name = "gw.good.test",
		.organization = "Good, Inc.",
		.unit = "IT",
		.city = "Tokyo",
		.state = "T\xc5\x8dky\xc5\x8d",
		.country = "JP",
		.alt = alt,
		.alt_count = COUNT(alt),
		.days = 365 };
	void *owner = talloc_new(NULL);
	const int64_t now = clock_wall_ms();
	struct certificate *shown;
	const char *why;
	size_t count;

	(void)state;
	char *key = make_key(owner, "p256"), *pem = make(owner, key, &subject);
	assert_int_equal(certificate_list(owner, text_of(pem), &shown, &count, &why), 0);
	assert_string_equal(
		shown->subject, "CN=gw.good.test,OU=IT,O=Good\\, Inc.,L=Tokyo,ST=T\\C5\\8Dky\\C5\\8D,C=JP");
	assert_string_equal(shown->issuer, shown->subject);
	assert_int_equal(shown->alt_count, 5);
	assert_string_equal(shown->alt_names[0], "gw.good.test");
	assert_string_equal(shown->alt_names[1], "www.good.test");
	assert_string_equal(shown->alt_names[2], "*.good.test");
	assert_string_equal(shown->alt_names[3], "192.0.2.1");
	assert_string_equal(shown->alt_names[4], "2001:db8::1");
	assert_int_equal(shown->not_after_ms - shown->not_before_ms, INT64_C(365) * 86400 * 1000);
	assert_true(shown->not_before_ms <= now + 1000 && shown->not_before_ms > now - 60000);

	X509 *one = x509_of(pem), *two = x509_of(make(owner, key, &subject));
	assert_int_not_equal(ASN1_INTEGER_cmp(X509_get_serialNumber(one), X509_get_serialNumber(two)), 0);
	assert_int_equal(ASN1_STRING_length(X509_get_serialNumber(one)), 16);
	assert_int_equal(X509_check_ca(one), 0);
	assert_int_equal(X509_check_purpose(one, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_check_purpose(one, X509_PURPOSE_SSL_CLIENT, 0), 1);
	assert_int_equal(X509_check_host(one, "mail.good.test", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(one, "2001:db8::1", 0), 1);
	X509_free(one);
	X509_free(two);
	talloc_free(owner);
}

static void test_B10_what_no_certificate_can_hold_is_refused(void **state)
{
	static const struct {
		const char *name;
		struct make_subject subject;
		const char *alt, *word;
	} cases[] = {
		{ "a country of three letters", { .common_name = "a.test", .country = "JPN" }, NULL,
			"country" },
		{ "an empty country", { .common_name = "a.test", .country = "" }, NULL, "country" },
		{ "a long organization", { .common_name = "a.test", .organization = X60 X10 }, NULL,
			"organization" },
		{ "an empty unit", { .common_name = "a.test", .unit = "" }, NULL, "unit" },
		{ "a long common name", { .common_name = X60 ".test" }, NULL, "--alt" },
		{ "an empty common name", { .common_name = "" }, NULL, "common name" },
		{ "a line end", { .common_name = "a.test", .city = "a\nb" }, NULL, "city" },
		{ "no UTF-8", { .common_name = "a.test", .state = "\xff\xfe" }, NULL, "state" },
		{ "a common name with a space", { .common_name = "a b.test" }, NULL, "a b.test" },
		{ "an alternative name with a comma", { .common_name = "a.test" }, "b,c", "b,c" },
		{ "a symbol", { .common_name = "a.test" }, "\xe2\x99\xa5.test", "cannot be a host name" },
		{ "a common name with a symbol", { .common_name = "\xe2\x99\xa5.test" }, NULL,
			"cannot be a host name" },
		{ "an empty alternative name", { .common_name = "a.test" }, "", "neither" },
		{ "an address with a port", { .common_name = "a.test" }, "192.0.2.1:25", "neither" },
	};
	void *owner = talloc_new(NULL);
	char *key = make_key(owner, "p256");

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct make_subject subject = cases[i].subject;
		const char *why = NULL;
		char *pem = NULL;

		subject.alt = &cases[i].alt;
		subject.alt_count = cases[i].alt != NULL;
		subject.days = 1;
		if (make_certificate(owner, text_of(key), &subject, &pem, &why) != ERR_FORMAT || pem != NULL)
			fail_msg("%s was taken", cases[i].name);
		if (strstr(why, cases[i].word) == NULL)
			fail_msg("%s: %s", cases[i].name, why);
	}
	talloc_free(owner);
}

static void test_B13_a_request_has_the_names_and_no_private_key(void **state)
{
	static const char *const alt[] = { "www.good.test", "192.0.2.1" };
	const struct make_subject subject = {
		.common_name = "gw.good.test", .organization = "Good", .alt = alt, .alt_count = 2, .days = 1
	};
	void *owner = talloc_new(NULL);
	const char *why = "";
	char *pem = NULL;

	(void)state;
	char *key = make_key(owner, "p384"), *chain = make(owner, key, &subject);
	assert_int_equal(make_request(owner, text_of(key), text_of(chain), &pem, &why), 0);
	assert_null(strstr(pem, "PRIVATE"));
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	X509 *certificate = x509_of(chain);
	assert_int_equal(X509_REQ_verify(request, X509_get0_pubkey(certificate)), 1);
	assert_int_equal(
		X509_NAME_cmp(X509_REQ_get_subject_name(request), X509_get_subject_name(certificate)), 0);
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
	GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(names), 3);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(request);
	X509_free(certificate);
	BIO_free(bio);

	char *other = make_key(owner, "p256");
	assert_int_equal(make_request(owner, text_of(other), text_of(chain), &pem, &why), ERR_FORMAT);
	assert_non_null(strstr(why, "does not belong"));
	talloc_free(owner);
}

static void test_B12_names_of_a_certificate_are_checked_on_demand(void **state)
{
	static const struct {
		const char *common_name, *alt, *word;
	} cases[] = {
		{ "gw.good.test", "www.good.test", NULL },
		{ "*.good.test", "192.0.2.1", NULL },
		{ "gateway", "gw.good.test", "common name `gateway`" },
		{ "192.0.2.1", "gw.good.test", "common name `192.0.2.1`" },
		{ "gw.good.test", "gateway", "alternative name `gateway`" },
		{ "gw.good.test", "*.test", "alternative name `*.test`" },
	};
	void *owner = talloc_new(NULL);
	char *key = make_key(owner, "p256");

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct make_subject subject = {
			.common_name = cases[i].common_name, .alt = &cases[i].alt, .alt_count = 1, .days = 1
		};
		const char *why = "";
		const int r = certificate_check_names(owner, text_of(make(owner, key, &subject)),
			CERTIFICATE_COMMON_NAMES | CERTIFICATE_ALT_NAMES, &why);

		if ((r == 0) != (cases[i].word == NULL) || (r < 0 && strstr(why, cases[i].word) == NULL))
			fail_msg("%s, %s: %d %s", cases[i].common_name, cases[i].alt, r, why);
	}
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B10_every_kind_of_key_is_made_and_signs),
		cmocka_unit_test(test_B10_C48_the_subject_and_the_names_are_in_it),
		cmocka_unit_test(test_B10_what_no_certificate_can_hold_is_refused),
		cmocka_unit_test(test_B13_a_request_has_the_names_and_no_private_key),
		cmocka_unit_test(test_B12_names_of_a_certificate_are_checked_on_demand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
