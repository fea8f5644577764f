/* Certificates with their keys: what cannot be used is refused with the part that is wrong and a sentence for the operator. */
#include "pki/identity.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "certificates.h"
#include "net/tls.h"
#include "test_help.h"

static char *encrypted_key(void *owner, const char *pem)
{
	BIO *in = BIO_new_mem_buf(pem, -1), *out = BIO_new(BIO_s_mem());
	EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);

	assert_int_equal(
		PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
	EVP_PKEY_free(key);
	BIO_free(in);
	return help_bio_text(owner, out);
}

static void test_only_a_certificate_with_its_own_clear_key_is_used(void **state)
{
	void *owner = talloc_new(NULL);
	struct help_identity one = help_identity(owner), two = help_identity(owner);
	char *bundle = talloc_asprintf(owner, "words before\n%s%s", one.chain, two.chain),
	     *wrong_order = talloc_asprintf(owner, "%s%s", two.chain, one.chain),
	     *cut = text_copy(owner, text_first(text_of(one.chain), strlen(one.chain) / 2)),
	     *both = talloc_asprintf(owner, "%s%s", one.chain, one.key);
	const struct {
		const char *name, *chain, *key, *part, *word;
	} cases[] = {
		{ "a certificate and its key", one.chain, one.key, NULL, NULL },
		{ "the leaf first, then others", bundle, one.key, NULL, NULL },
		{ "both in one file", both, both, NULL, NULL },
		{ "another key", one.chain, two.key, "key", "first certificate" },
		{ "the leaf not first", wrong_order, one.key, "key", "first certificate" },
		{ "an encrypted key", one.chain, encrypted_key(owner, one.key), "key", "unencrypted" },
		{ "no key", one.chain, "", "key", "PEM" },
		{ "a certificate instead of the key", one.chain, one.chain, "key", "PEM" },
		{ "a key that is garbage", one.chain,
			"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key", "PEM" },
		{ "no certificate", "", one.key, "chain", "no certificate" },
		{ "the key instead of the certificate", one.key, one.key, "chain", "no certificate" },
		{ "a certificate that is cut", cut, one.key, "chain", "certificate" },
		{ "garbage", "hello", "hello", "chain", "no certificate" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct identity_flaw flaw = { 0 };
		struct identity *identity =
			identity_load(owner, text_of(cases[i].chain), text_of(cases[i].key), &flaw);

		if ((identity != NULL) != (cases[i].part == NULL))
			fail_msg("%s: %s", cases[i].name, identity == NULL ? flaw.text : "was taken");
		if (identity == NULL &&
			(strcmp(flaw.part, cases[i].part) != 0 || strstr(flaw.text, cases[i].word) == NULL))
			fail_msg("%s: %s: %s", cases[i].name, flaw.part, flaw.text);
	}
	talloc_free(owner);
}

static void test_a_context_proves_itself_with_the_identity(void **state)
{
	void *owner = talloc_new(NULL);
	struct help_identity files = help_identity(owner);
	struct tls_context *context = tls_context_server(owner, "in");
	struct identity_flaw flaw;

	(void)state;
	assert_null(SSL_CTX_get0_certificate(tls_context_native(context)));
	struct identity *identity = identity_load(owner, text_of(files.chain), text_of(files.key), &flaw);
	assert_non_null(identity);
	assert_int_equal(identity_use(identity, context), 0);
	assert_non_null(SSL_CTX_get0_certificate(tls_context_native(context)));
	assert_int_equal(SSL_CTX_check_private_key(tls_context_native(context)), 1);
	talloc_free(owner);
}

/* What check says of the dates of a certificate that is valid between two days from today on; NULL = nothing. Owned by `owner`. */
static const char *said_of_days(void *owner, int from, int to)
{
	const int today = (int)((time(NULL) - CERTIFICATES_NOW) / CERTIFICATES_DAY);
	const struct config *config = help_config("mail_flow_policies: [{name: open, action: accept}]\n");
	struct problems *problems = problems_new(owner);
	struct bundle *bundle = bundle_new(owner, 1);
	struct certificates made = { .scratch = talloc_new(owner) };
	const struct certificate *certificate = certificates_make(
		&made, (struct certificate_plan){
			       .cn = "gw.good.test", .from_days = today + from, .to_days = today + to });
	BIO *key = BIO_new(BIO_s_mem());
	const char *said = NULL;

	assert_int_equal(PEM_write_bio_PrivateKey(key, certificate->key, NULL, NULL, 0, NULL, NULL), 1);
	bundle_add(bundle, config->certificates[0].chain, certificate->pem, BUNDLE_ALL);
	bundle_add_key_bytes(bundle, config->certificates[0].key, text_of(help_bio_text(owner, key)));
	identity_check(config, bundle, problems);
	assert_int_equal(problems->count, 0);
	for (size_t i = 0; i < problems->warning_count; i++)
		if (strcmp(problems->warnings[i].key, "certificates[main].chain") == 0)
			said = problems->warnings[i].text;
	config_release(config);
	certificates_free(&made);
	return said;
}

static void test_B20_8_24_check_warns_of_dates(void **state)
{
	void *owner = talloc_new(NULL);

	(void)state;
	assert_null(said_of_days(owner, -1, 90));
	assert_non_null(strstr(said_of_days(owner, -70, 20), " expires on 20"));
	assert_null(said_of_days(owner, -200, 130));
	assert_non_null(strstr(said_of_days(owner, -200, 99), " expires on 20"));
	assert_non_null(strstr(said_of_days(owner, -1, 5), " expires on 20"));
	assert_non_null(strstr(said_of_days(owner, -5, 1), " expires on 20"));
	assert_non_null(strstr(said_of_days(owner, -30, -1), " expired on 20"));
	assert_non_null(strstr(said_of_days(owner, 2, 90), " is not valid yet"));
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_a_certificate_with_its_own_clear_key_is_used),
		cmocka_unit_test(test_a_context_proves_itself_with_the_identity),
		cmocka_unit_test(test_B20_8_24_check_warns_of_dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
