/* PKCS#12: files in both encodings made by OpenSSL, each reason for a refusal, and files that would keep us computing. */
#include "pki/pkcs12.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include "test_help.h"

static struct identity_parts {
	X509 *certificate;
	EVP_PKEY *key;
	struct help_identity pem;
} one, two;

static OSSL_LIB_CTX *library; /* with the legacy provider */

static struct identity_parts parts(void *owner)
{
	struct identity_parts made = { .pem = help_identity(owner) };
	BIO *chain = BIO_new_mem_buf(made.pem.chain, -1), *key = BIO_new_mem_buf(made.pem.key, -1);

	made.certificate = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	made.key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	BIO_free(chain);
	BIO_free(key);
	return made;
}

static struct text bytes_of(void *owner, PKCS12 *made)
{
	unsigned char *bytes = NULL;

	assert_non_null(made);
	const int len = i2d_PKCS12(made, &bytes);
	struct text text = { talloc_memdup(owner, bytes, (size_t)len), (size_t)len };
	OPENSSL_free(bytes);
	PKCS12_free(made);
	return text;
}

static struct text file(void *owner, const char *passphrase, EVP_PKEY *key, X509 *certificate, int key_nid,
	int certificate_nid, int iterations, int mac_iterations)
{
	return bytes_of(owner, PKCS12_create_ex(passphrase, "name", key, certificate, NULL, key_nid,
				       certificate_nid, iterations, mac_iterations, 0, library, NULL));
}

static struct text modern(void *owner, const char *passphrase)
{
	return file(
		owner, passphrase, one.key, one.certificate, NID_aes_256_cbc, NID_aes_256_cbc, 2048, 2048);
}

static enum pkcs12_flaw import(void *owner, struct text bytes, const char *passphrase)
{
	char *certificates = NULL, *key = NULL;
	const enum pkcs12_flaw flaw = pkcs12_import(owner, bytes, passphrase, &certificates, &key);

	assert_int_equal(flaw == PKCS12_FLAW_NONE, certificates != NULL && key != NULL);
	if (flaw == PKCS12_FLAW_NONE) {
		assert_string_equal(certificates, one.pem.chain);
		assert_string_equal(key, one.pem.key);
	}
	return flaw;
}

static void test_B16_modern_and_old_encodings_are_read(void **state)
{
	static const struct {
		const char *name;
		int key, certificate;
	} cases[] = {
		{ "AES-256", NID_aes_256_cbc, NID_aes_256_cbc },
		{ "AES-128", NID_aes_128_cbc, NID_aes_128_cbc },
		{ "3DES and RC2 with 40 bits", NID_pbe_WithSHA1And3_Key_TripleDES_CBC,
			NID_pbe_WithSHA1And40BitRC2_CBC },
		{ "3DES", NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And3_Key_TripleDES_CBC },
		{ "RC2 with 128 bits", NID_pbe_WithSHA1And128BitRC2_CBC, NID_pbe_WithSHA1And128BitRC2_CBC },
		{ "RC4", NID_pbe_WithSHA1And128BitRC4, NID_pbe_WithSHA1And128BitRC4 },
		{ "in clear", -1, -1 },
	};
	static const char *const passphrases[] = { "secret", "", "p\xc3\xa4ss \xe2\x82\xac" };
	void *owner = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (size_t n = 0; n < COUNT(passphrases); n++) {
			struct text bytes = file(owner, passphrases[n], one.key, one.certificate,
				cases[i].key, cases[i].certificate, 2048, 2048);
			enum pkcs12_flaw flaw = import(owner, bytes, passphrases[n]);

			if (flaw != PKCS12_FLAW_NONE)
				fail_msg("%s, `%s`: %s", cases[i].name, passphrases[n],
					pkcs12_flaw_text(flaw));
			assert_int_equal(import(owner, bytes, "wrong"), PKCS12_FLAW_PASSPHRASE);
		}
	/* without a passphrase at all, which is another thing than an empty one */
	struct text bytes =
		file(owner, NULL, one.key, one.certificate, NID_aes_256_cbc, NID_aes_256_cbc, 2048, 2048);
	assert_int_equal(import(owner, bytes, ""), PKCS12_FLAW_NONE);
	talloc_free(owner);
}

/* A key and a certificate that OpenSSL would not put into one file. */
static struct text mismatched(void *owner)
{
	STACK_OF(PKCS7) *safes = NULL;
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;

	PKCS12_add_cert(&bags, two.certificate);
	PKCS12_add_key_ex(&bags, one.key, 0, 2048, NID_aes_256_cbc, "secret", NULL, NULL);
	PKCS12_add_safe(&safes, bags, -1, 0, NULL);
	PKCS12 *made = PKCS12_add_safes(safes, 0);
	PKCS12_set_mac(made, "secret", -1, NULL, 0, 2048, EVP_sha256());
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	return bytes_of(owner, made);
}

static void test_B16_each_reason_has_its_own_words(void **state)
{
	void *owner = talloc_new(NULL);
	struct text good = modern(owner, "secret"), longer = good, big;

	longer.at = talloc_memdup(owner, talloc_asprintf(owner, "%*s", (int)good.len + 1, ""), good.len + 1);
	memcpy((char *)longer.at, good.at, good.len);
	longer.len++;
	big = (struct text){ talloc_zero_size(owner, PKCS12_SIZE_MAX + 1), PKCS12_SIZE_MAX + 1 };
	const struct {
		const char *name;
		struct text bytes;
		const char *passphrase;
		enum pkcs12_flaw flaw;
	} cases[] = {
		{ "fine", good, "secret", PKCS12_FLAW_NONE },
		{ "wrong passphrase", good, "Secret", PKCS12_FLAW_PASSPHRASE },
		{ "empty passphrase", good, "", PKCS12_FLAW_PASSPHRASE },
		{ "no sum, wrong passphrase",
			file(owner, "secret", one.key, one.certificate, NID_aes_256_cbc, NID_aes_256_cbc,
				2048, -1),
			"wrong", PKCS12_FLAW_PASSPHRASE },
		{ "no sum, right passphrase",
			file(owner, "secret", one.key, one.certificate, NID_aes_256_cbc, NID_aes_256_cbc,
				2048, -1),
			"secret", PKCS12_FLAW_NONE },
		{ "no key",
			file(owner, "secret", NULL, one.certificate, NID_aes_256_cbc, NID_aes_256_cbc, 2048,
				2048),
			"secret", PKCS12_FLAW_NO_KEY },
		{ "no certificate",
			file(owner, "secret", one.key, NULL, NID_aes_256_cbc, NID_aes_256_cbc, 2048, 2048),
			"secret", PKCS12_FLAW_NO_CERTIFICATE },
		{ "a certificate of another key", mismatched(owner), "secret", PKCS12_FLAW_MISMATCH },
		{ "PEM", text_of(one.pem.chain), "secret", PKCS12_FLAW_DAMAGED },
		{ "nothing", TEXT(""), "secret", PKCS12_FLAW_DAMAGED },
		{ "a byte more", longer, "secret", PKCS12_FLAW_DAMAGED },
		{ "too large", big, "secret", PKCS12_FLAW_TOO_LARGE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const enum pkcs12_flaw flaw = import(owner, cases[i].bytes, cases[i].passphrase);

		if (flaw != cases[i].flaw)
			fail_msg("%s: %s", cases[i].name, pkcs12_flaw_text(flaw));
	}
	for (int a = PKCS12_FLAW_NONE; a <= PKCS12_FLAW_MISMATCH; a++)
		for (int b = PKCS12_FLAW_NONE; b < a; b++)
			assert_string_not_equal(
				pkcs12_flaw_text((enum pkcs12_flaw)a), pkcs12_flaw_text((enum pkcs12_flaw)b));
	talloc_free(owner);
}

static void test_8_13_every_cut_and_every_changed_byte_is_found(void **state)
{
	void *owner = talloc_new(NULL);
	struct text good = modern(owner, "secret");

	(void)state;
	for (size_t len = 0; len < good.len; len++) {
		char *cut =
			talloc_memdup(owner, good.at, MAX(len, 1)); /* so that reading behind it is seen */

		assert_int_equal(import(owner, (struct text){ cut, len }, "secret"), PKCS12_FLAW_DAMAGED);
		talloc_free(cut);
	}
	for (size_t at = 0; at < good.len; at++) {
		char *changed = talloc_memdup(owner, good.at, good.len);

		changed[at] ^= 0x01;
		import(owner, (struct text){ changed, good.len }, "secret"); /* refused, or what it was */
		talloc_free(changed);
	}
	talloc_free(owner);
}

/* What the encryption of a key says of its iterations, changed. */
static void claim(const PKCS12_SAFEBAG *bag, int64_t iterations)
{
	const X509_ALGOR *stored;

	X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &stored, NULL);
	ASN1_TYPE **at = &((X509_ALGOR *)stored)->parameter;
	if (OBJ_obj2nid(stored->algorithm) == NID_pbes2) {
		PBE2PARAM *scheme = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), *at);
		PBKDF2PARAM *derivation =
			ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), scheme->keyfunc->parameter);

		ASN1_INTEGER_set_int64(derivation->iter, iterations);
		ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), derivation, &scheme->keyfunc->parameter);
		ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBE2PARAM), scheme, at);
		PBKDF2PARAM_free(derivation);
		PBE2PARAM_free(scheme);
	} else {
		PBEPARAM *parameter = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), *at);

		ASN1_INTEGER_set_int64(parameter->iter, iterations);
		ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(PBEPARAM), parameter, at);
		PBEPARAM_free(parameter);
	}
}

/* A file without a sum: a certificate, `before` keys of 2048 iterations each, and one that claims `iterations`. */
static struct text claiming(void *owner, int nid, int before, int64_t iterations)
{
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
	STACK_OF(PKCS7) *safes = NULL;

	PKCS12_add_cert(&bags, one.certificate);
	for (int i = 0; i <= before; i++)
		PKCS12_add_key_ex(&bags, one.key, 0, 2048, nid, "secret", NULL, NULL);
	claim(sk_PKCS12_SAFEBAG_value(bags, before + 1), iterations);
	PKCS12_add_safe(&safes, bags, -1, 0, NULL);
	PKCS12 *made = PKCS12_add_safes(safes, 0);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	return bytes_of(owner, made);
}

/* Numbers that no machine computes; and the sum of many that each could be. */
static void test_B16_a_bomb_is_refused_and_not_computed(void **state)
{
	static const int nids[] = { NID_aes_256_cbc, NID_pbe_WithSHA1And3_Key_TripleDES_CBC };
	void *owner = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(nids); i++) {
		assert_int_equal(
			import(owner, claiming(owner, nids[i], 0, 2048), "secret"), PKCS12_FLAW_NONE);
		assert_int_equal(import(owner, claiming(owner, nids[i], 0, INT64_MAX), "secret"),
			PKCS12_FLAW_ITERATIONS);
		assert_int_equal(
			import(owner, claiming(owner, nids[i], 0, PKCS12_ITERATIONS_MAX + 1), "secret"),
			PKCS12_FLAW_ITERATIONS);
		assert_int_equal(
			import(owner, claiming(owner, nids[i], 2, PKCS12_ITERATIONS_MAX - 4095), "secret"),
			PKCS12_FLAW_ITERATIONS);
		assert_int_equal(
			import(owner, claiming(owner, nids[i], 0, -1), "secret"), PKCS12_FLAW_DAMAGED);
	}

	struct text bytes = modern(owner, "secret");
	const unsigned char *at = (const unsigned char *)bytes.at;
	PKCS12 *parsed = d2i_PKCS12(NULL, &at, (long)bytes.len);
	const ASN1_INTEGER *iterations;
	PKCS12_get0_mac(NULL, NULL, NULL, &iterations, parsed);
	ASN1_INTEGER_set((ASN1_INTEGER *)iterations, INT32_MAX);
	assert_int_equal(import(owner, bytes_of(owner, parsed), "secret"), PKCS12_FLAW_ITERATIONS);
	talloc_free(owner);
}

static void test_B17_what_is_exported_is_read_by_openssl_and_by_us(void **state)
{
	void *owner = talloc_new(NULL);
	struct text bytes;
	const char *why = "";
	X509 *certificate = NULL;
	EVP_PKEY *key = NULL;
	STACK_OF(X509) *others = NULL;
	char *chain = talloc_asprintf(owner, "%s%s", one.pem.chain, two.pem.chain);

	(void)state;
	assert_int_equal(
		pkcs12_export(owner, text_of(chain), text_of(one.pem.key), "web", "secret", &bytes, &why), 0);
	const unsigned char *at = (const unsigned char *)bytes.at;
	PKCS12 *parsed = d2i_PKCS12(NULL, &at, (long)bytes.len);
	assert_int_equal(PKCS12_parse(parsed, "secret", &key, &certificate, &others), 1);
	assert_int_equal(EVP_PKEY_eq(key, one.key), 1);
	assert_int_equal(X509_cmp(certificate, one.certificate), 0);
	assert_int_equal(sk_X509_num(others), 1);
	assert_int_equal(X509_cmp(sk_X509_value(others, 0), two.certificate), 0);
	sk_X509_pop_free(others, X509_free);
	X509_free(certificate);
	EVP_PKEY_free(key);
	PKCS12_free(parsed);

	char *certificates, *key_pem;
	assert_int_equal(pkcs12_import(owner, bytes, "secret", &certificates, &key_pem), PKCS12_FLAW_NONE);
	assert_string_equal(key_pem, one.pem.key);
	assert_int_equal(strlen(certificates), strlen(chain));
	assert_int_equal(
		pkcs12_export(owner, text_of(chain), text_of(two.pem.key), "web", "secret", &bytes, &why) < 0,
		1);
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B16_modern_and_old_encodings_are_read),
		cmocka_unit_test(test_B16_each_reason_has_its_own_words),
		cmocka_unit_test(test_8_13_every_cut_and_every_changed_byte_is_found),
		cmocka_unit_test(test_B16_a_bomb_is_refused_and_not_computed),
		cmocka_unit_test(test_B17_what_is_exported_is_read_by_openssl_and_by_us),
	};
	void *owner = talloc_new(NULL);
	struct identity_parts *all[] = { &one, &two };

	library = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *modern_provider = OSSL_PROVIDER_load(library, "default"),
		      *legacy = OSSL_PROVIDER_load(library, "legacy");
	one = parts(owner);
	two = parts(owner);
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < COUNT(all); i++) {
		X509_free(all[i]->certificate);
		EVP_PKEY_free(all[i]->key);
	}
	OSSL_PROVIDER_unload(legacy);
	OSSL_PROVIDER_unload(modern_provider);
	OSSL_LIB_CTX_free(library);
	talloc_free(owner);
	return failed;
}
