/*
 * Files of strangers, walked bag by bag rather than by PKCS12_parse(): each derivation of a key names a number of iterations, and it is looked at before it
 * is computed. All of them together are limited, so that many small ones are no way around it. The old encryptions live in OpenSSL's legacy provider,
 * which is loaded into a context of its own: nothing else in the process can use them.
 */
#include "pki/pkcs12.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "pki/pem.h"
#include "pki/secret.h"

enum { DEPTH_MAX = 4, KEYS_MAX = 8 };

struct import {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *modern, *legacy;
	const char *passphrase; /* NULL: none at all, which is not the same as an empty one */
	uint64_t iterations;	/* asked for until now */
	bool verified;		/* the sum of the file was right, so the passphrase is */
	STACK_OF(X509) * certificates;
	EVP_PKEY *keys[KEYS_MAX];
	size_t key_count;
};

const char *pkcs12_flaw_text(enum pkcs12_flaw flaw)
{
	switch (flaw) {
	case PKCS12_FLAW_NONE:
		break;
	case PKCS12_FLAW_TOO_LARGE:
		return "is larger than 1 MiB, or holds more than 100 certificates or 8 keys; export only this key with its chain";
	case PKCS12_FLAW_DAMAGED:
		return "is no PKCS#12 file, or damaged; export it again, and copy it as binary";
	case PKCS12_FLAW_ITERATIONS:
		return "asks for more than 10,000,000 iterations to derive its keys; export it again with fewer (100,000 are usual)";
	case PKCS12_FLAW_UNKNOWN:
		return "is encrypted in a way that is not known here (Debian 13 needs the package openssl-provider-legacy for the old ones); export it again with"
		       " AES-256 and SHA-256";
	case PKCS12_FLAW_PASSPHRASE:
		return "does not open with this passphrase, or was changed after it was exported";
	case PKCS12_FLAW_NO_KEY:
		return "holds no private key; export it with its key, or use `cert upload` for a certificate that was requested with `cert csr`";
	case PKCS12_FLAW_NO_CERTIFICATE:
		return "holds no certificate; export the key together with its certificate";
	case PKCS12_FLAW_MISMATCH:
		return "holds a private key and certificates that do not belong to it; export the key with the certificate that was issued for it";
	}
	return "is fine";
}

/* Iterations */

static enum pkcs12_flaw count(struct import *import, const ASN1_INTEGER *iterations)
{
	uint64_t number;

	if (ASN1_INTEGER_get_uint64(&number, iterations) != 1)
		return PKCS12_FLAW_DAMAGED;
	if (number > PKCS12_ITERATIONS_MAX - import->iterations)
		return PKCS12_FLAW_ITERATIONS;
	import->iterations += number;
	return PKCS12_FLAW_NONE;
}

/* PKCS#5 version 2: the derivation is a parameter of its own. scrypt can ask for memory, and nobody exports with it. */
static enum pkcs12_flaw count_pbes2(struct import *import, const X509_ALGOR *algorithm)
{
	PBE2PARAM *scheme = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
	PBKDF2PARAM *derivation = NULL;
	enum pkcs12_flaw flaw = PKCS12_FLAW_DAMAGED;

	if (scheme != NULL && OBJ_obj2nid(scheme->keyfunc->algorithm) != NID_id_pbkdf2)
		flaw = PKCS12_FLAW_UNKNOWN;
	else if (scheme != NULL)
		derivation =
			ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), scheme->keyfunc->parameter);
	if (derivation != NULL)
		flaw = count(import, derivation->iter);
	PBKDF2PARAM_free(derivation);
	PBE2PARAM_free(scheme);
	return flaw;
}

/* What deriving the key of `algorithm` costs is added up; a flaw when it is too much, or unknown. */
static enum pkcs12_flaw count_algorithm(struct import *import, const X509_ALGOR *algorithm)
{
	enum pkcs12_flaw flaw = PKCS12_FLAW_DAMAGED;
	PBEPARAM *parameter;

	switch (OBJ_obj2nid(algorithm->algorithm)) {
	case NID_pbes2:
		return count_pbes2(import, algorithm);
	case NID_pbe_WithSHA1And128BitRC4:
	case NID_pbe_WithSHA1And40BitRC4:
	case NID_pbe_WithSHA1And3_Key_TripleDES_CBC:
	case NID_pbe_WithSHA1And2_Key_TripleDES_CBC:
	case NID_pbe_WithSHA1And128BitRC2_CBC:
	case NID_pbe_WithSHA1And40BitRC2_CBC:
		break;
	default:
		return PKCS12_FLAW_UNKNOWN;
	}
	parameter = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
	if (parameter != NULL)
		flaw = count(import, parameter->iter);
	PBEPARAM_free(parameter);
	return flaw;
}

static int passphrase_len(const struct import *import)
{
	return import->passphrase == NULL ? 0 : (int)strlen(import->passphrase);
}

/* A decryption that failed: the passphrase was right if the sum was. */
static enum pkcs12_flaw decryption_flaw(const struct import *import)
{
	const unsigned long first = ERR_peek_error();
	const int reason = ERR_GET_REASON(first);

	if (ERR_GET_LIB(first) == ERR_LIB_EVP &&
		(reason == ERR_R_UNSUPPORTED || reason == EVP_R_UNSUPPORTED_ALGORITHM ||
			reason == EVP_R_UNKNOWN_PBE_ALGORITHM || reason == EVP_R_UNKNOWN_CIPHER))
		return PKCS12_FLAW_UNKNOWN;
	return import->verified ? PKCS12_FLAW_DAMAGED : PKCS12_FLAW_PASSPHRASE;
}

/* Bags */

static enum pkcs12_flaw take_key(struct import *import, const PKCS8_PRIV_KEY_INFO *info)
{
	EVP_PKEY *key = info == NULL ? NULL : EVP_PKCS82PKEY(info);

	if (key == NULL)
		return PKCS12_FLAW_DAMAGED;
	if (import->key_count == KEYS_MAX) {
		EVP_PKEY_free(key);
		return PKCS12_FLAW_TOO_LARGE;
	}
	import->keys[import->key_count++] = key;
	return PKCS12_FLAW_NONE;
}

static enum pkcs12_flaw take_encrypted_key(struct import *import, const X509_SIG *encrypted)
{
	const X509_ALGOR *algorithm;
	enum pkcs12_flaw flaw;

	X509_SIG_get0(encrypted, &algorithm, NULL);
	flaw = count_algorithm(import, algorithm);
	if (flaw != PKCS12_FLAW_NONE)
		return flaw;
	ERR_clear_error();
	PKCS8_PRIV_KEY_INFO *info = PKCS8_decrypt_ex(
		encrypted, import->passphrase, passphrase_len(import), import->library, NULL);
	flaw = info == NULL ? decryption_flaw(import) : take_key(import, info);
	PKCS8_PRIV_KEY_INFO_free(info);
	return flaw;
}

static enum pkcs12_flaw take_certificate(struct import *import, const PKCS12_SAFEBAG *bag)
{
	X509 *certificate;

	if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
		return PKCS12_FLAW_NONE;
	certificate = PKCS12_SAFEBAG_get1_cert(bag);
	if (certificate == NULL)
		return PKCS12_FLAW_DAMAGED;
	if (sk_X509_num(import->certificates) >= PEM_CERTIFICATES_MAX) {
		X509_free(certificate);
		return PKCS12_FLAW_TOO_LARGE;
	}
	sk_X509_push(import->certificates, certificate);
	return PKCS12_FLAW_NONE;
}

static enum pkcs12_flaw take_bags(struct import *import, const STACK_OF(PKCS12_SAFEBAG) * bags, int depth)
{
	enum pkcs12_flaw flaw = depth > DEPTH_MAX ? PKCS12_FLAW_DAMAGED : PKCS12_FLAW_NONE;

	for (int i = 0; flaw == PKCS12_FLAW_NONE && i < sk_PKCS12_SAFEBAG_num(bags); i++) {
		const PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);

		switch (PKCS12_SAFEBAG_get_nid(bag)) {
		case NID_keyBag:
			flaw = take_key(import, PKCS12_SAFEBAG_get0_p8inf(bag));
			break;
		case NID_pkcs8ShroudedKeyBag:
			flaw = take_encrypted_key(import, PKCS12_SAFEBAG_get0_pkcs8(bag));
			break;
		case NID_certBag:
			flaw = take_certificate(import, bag);
			break;
		case NID_safeContentsBag:
			flaw = take_bags(import, PKCS12_SAFEBAG_get0_safes(bag), depth + 1);
			break;
		default: /* CRLs and secrets of others */
			break;
		}
	}
	return flaw;
}

static enum pkcs12_flaw take_encrypted_safe(struct import *import, const PKCS7 *safe)
{
	const PKCS7_ENC_CONTENT *content = safe->d.encrypted == NULL ? NULL : safe->d.encrypted->enc_data;

	if (content == NULL || content->algorithm == NULL || content->enc_data == NULL)
		return PKCS12_FLAW_DAMAGED;
	enum pkcs12_flaw flaw = count_algorithm(import, content->algorithm);
	if (flaw != PKCS12_FLAW_NONE)
		return flaw;
	ERR_clear_error();
	STACK_OF(PKCS12_SAFEBAG) *bags = PKCS12_item_decrypt_d2i_ex(content->algorithm,
		ASN1_ITEM_rptr(PKCS12_SAFEBAGS), import->passphrase, passphrase_len(import),
		content->enc_data, 1, import->library, NULL);
	flaw = bags == NULL ? decryption_flaw(import) : take_bags(import, bags, 0);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	return flaw;
}

static enum pkcs12_flaw take_safe(struct import *import, PKCS7 *safe)
{
	if (PKCS7_type_is_encrypted(safe))
		return take_encrypted_safe(import, safe);
	if (!PKCS7_type_is_data(safe)) /* for a certificate instead of a passphrase */
		return PKCS12_FLAW_UNKNOWN;
	STACK_OF(PKCS12_SAFEBAG) *bags = safe->d.data == NULL ? NULL : PKCS12_unpack_p7data(safe);
	enum pkcs12_flaw flaw = bags == NULL ? PKCS12_FLAW_DAMAGED : take_bags(import, bags, 0);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	return flaw;
}

/* The sum over the file, which also tells whether the passphrase is right. A file without one is taken as it is. */
static enum pkcs12_flaw verify(struct import *import, PKCS12 *file)
{
	const X509_ALGOR *algorithm;
	const ASN1_INTEGER *iterations;
	const ASN1_OBJECT *object;
	enum pkcs12_flaw flaw = PKCS12_FLAW_NONE;

	if (!PKCS12_mac_present(file))
		return flaw;
	PKCS12_get0_mac(NULL, &algorithm, NULL, &iterations, file);
	X509_ALGOR_get0(&object, NULL, NULL, algorithm);
	switch (OBJ_obj2nid(object)) {
	case NID_md5:
	case NID_sha1:
	case NID_sha224:
	case NID_sha256:
	case NID_sha384:
	case NID_sha512:
		break;
	default:
		return PKCS12_FLAW_UNKNOWN;
	}
	if (iterations != NULL)
		flaw = count(import, iterations);
	if (flaw != PKCS12_FLAW_NONE)
		return flaw;
	import->verified = PKCS12_verify_mac(file, import->passphrase, passphrase_len(import)) == 1;
	if (!import->verified && import->passphrase[0] == '\0') {
		import->passphrase = NULL;
		import->verified = PKCS12_verify_mac(file, NULL, 0) == 1;
	}
	return import->verified ? PKCS12_FLAW_NONE : PKCS12_FLAW_PASSPHRASE;
}

/* What is there must fit together; the key that does becomes the first. */
static enum pkcs12_flaw match(struct import *import)
{
	if (import->key_count == 0)
		return PKCS12_FLAW_NO_KEY;
	if (sk_X509_num(import->certificates) == 0)
		return PKCS12_FLAW_NO_CERTIFICATE;
	for (size_t k = 0; k < import->key_count; k++)
		for (int i = 0; i < sk_X509_num(import->certificates); i++) {
			EVP_PKEY *key = import->keys[k];

			if (X509_check_private_key(sk_X509_value(import->certificates, i), key) != 1)
				continue;
			import->keys[k] = import->keys[0];
			import->keys[0] = key;
			return PKCS12_FLAW_NONE;
		}
	return PKCS12_FLAW_MISMATCH;
}

static enum pkcs12_flaw take_file(struct import *import, PKCS12 *file)
{
	enum pkcs12_flaw flaw = verify(import, file);

	if (flaw != PKCS12_FLAW_NONE)
		return flaw;
	STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(file);
	if (safes == NULL)
		return PKCS12_FLAW_DAMAGED;
	for (int i = 0; flaw == PKCS12_FLAW_NONE && i < sk_PKCS7_num(safes); i++)
		flaw = take_safe(import, sk_PKCS7_value(safes, i));
	sk_PKCS7_pop_free(safes, PKCS7_free);
	return flaw == PKCS12_FLAW_NONE ? match(import) : flaw;
}

/* The whole text must be one file. */
static PKCS12 *parse(struct text file)
{
	const unsigned char *at = (const unsigned char *)file.at;
	PKCS12 *parsed = d2i_PKCS12(NULL, &at, (long)file.len);

	if (parsed != NULL && at != (const unsigned char *)file.at + file.len) {
		PKCS12_free(parsed);
		return NULL;
	}
	return parsed;
}

static void import_start(struct import *import)
{
	import->library = text_must(OSSL_LIB_CTX_new());
	import->modern = OSSL_PROVIDER_load(import->library, "default");
	import->legacy =
		OSSL_PROVIDER_load(import->library, "legacy"); /* a package of its own in Debian 13 */
	import->certificates = text_must(sk_X509_new_null());
}

static void import_done(struct import *import)
{
	for (size_t i = 0; i < import->key_count; i++)
		EVP_PKEY_free(import->keys[i]);
	sk_X509_pop_free(import->certificates, X509_free);
	if (import->legacy != NULL)
		OSSL_PROVIDER_unload(import->legacy);
	if (import->modern != NULL)
		OSSL_PROVIDER_unload(import->modern);
	OSSL_LIB_CTX_free(import->library);
	ERR_clear_error();
}

static char *certificates_pem(const void *owner, const STACK_OF(X509) * certificates)
{
	char *pem = text_must(talloc_strdup(owner, ""));

	for (int i = 0; i < sk_X509_num(certificates); i++) {
		char *next = pem_of_certificate(owner, sk_X509_value(certificates, i));

		pem = text_must(talloc_strdup_append_buffer(pem, next));
		talloc_free(next);
	}
	return pem;
}

enum pkcs12_flaw pkcs12_import(
	const void *owner, struct text file, const char *passphrase, char **ret_certificates, char **ret_key)
{
	struct import import = { .passphrase = passphrase };
	PKCS12 *parsed;

	if (file.len > PKCS12_SIZE_MAX)
		return PKCS12_FLAW_TOO_LARGE;
	parsed = parse(file);
	if (parsed == NULL) {
		ERR_clear_error();
		return PKCS12_FLAW_DAMAGED;
	}
	import_start(&import);
	enum pkcs12_flaw flaw = take_file(&import, parsed);
	if (flaw == PKCS12_FLAW_NONE) {
		*ret_certificates = certificates_pem(owner, import.certificates);
		*ret_key = pem_of_key(owner, import.keys[0]);
	}
	import_done(&import);
	PKCS12_free(parsed);
	return flaw;
}

static int give_passphrase(char *buffer, int size, int writing, void *passphrase)
{
	const size_t len = strlen(passphrase);

	(void)writing;
	if (size < 0 || len > (size_t)size)
		return -1;
	memcpy(buffer, passphrase, len);
	return (int)len;
}

/* The older form: one round of a sum makes its key. */
static enum pkcs12_flaw take_older_key(struct import *import, struct text pem)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	EVP_PKEY *key = PEM_read_bio_PrivateKey_ex(
		bio, NULL, give_passphrase, (void *)import->passphrase, import->library, NULL);

	BIO_free(bio);
	if (key == NULL)
		return decryption_flaw(import);
	import->keys[import->key_count++] = key;
	return PKCS12_FLAW_NONE;
}

/* The first block that is an encrypted key. */
static enum pkcs12_flaw take_locked_key(struct import *import, struct text pem)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	enum pkcs12_flaw flaw = PKCS12_FLAW_NO_KEY;
	char *name = NULL, *header = NULL;
	unsigned char *bytes = NULL;
	long len;

	while (flaw == PKCS12_FLAW_NO_KEY && PEM_read_bio(bio, &name, &header, &bytes, &len) == 1) {
		const unsigned char *at = bytes;
		X509_SIG *encrypted =
			strcmp(name, PEM_STRING_PKCS8) == 0 ? d2i_X509_SIG(NULL, &at, len) : NULL;

		if (encrypted != NULL)
			flaw = take_encrypted_key(import, encrypted);
		else if (strcmp(name, PEM_STRING_PKCS8) == 0)
			flaw = PKCS12_FLAW_DAMAGED;
		else if (strstr(header, "ENCRYPTED") != NULL)
			flaw = take_older_key(import, pem);
		X509_SIG_free(encrypted);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(bytes);
	}
	BIO_free(bio);
	return flaw;
}

enum pkcs12_flaw pkcs12_open_key(const void *owner, struct text pem, const char *passphrase, char **ret_key)
{
	struct import import = { .passphrase = passphrase };

	if (pem.len > PKCS12_SIZE_MAX)
		return PKCS12_FLAW_TOO_LARGE;
	import_start(&import);
	ERR_clear_error();
	enum pkcs12_flaw flaw = take_locked_key(&import, pem);
	if (flaw == PKCS12_FLAW_NONE)
		*ret_key = pem_of_key(owner, import.keys[0]);
	import_done(&import);
	return flaw;
}

static int encode(const void *owner, PKCS12 *made, struct text *ret_file, const char **ret_why)
{
	unsigned char *bytes = NULL;
	const int len = made == NULL ? -1 : i2d_PKCS12(made, &bytes);

	if (len < 0) {
		*ret_why = "OpenSSL could not make a PKCS#12 file of it";
		return ERR_FORMAT;
	}
	*ret_file =
		(struct text){ text_copy(owner, (struct text){ (char *)bytes, (size_t)len }), (size_t)len };
	OPENSSL_free(bytes);
	return 0;
}

int pkcs12_export(const void *owner, struct text chain, struct text key, const char *name,
	const char *passphrase, struct text *ret_file, const char **ret_why)
{
	STACK_OF(X509) *certificates = NULL;
	EVP_PKEY *pkey = NULL;
	int r = pem_key(key, &pkey, ret_why);

	if (r == 0)
		r = pem_certificates(chain, &certificates, ret_why);
	if (r == 0) {
		X509 *leaf = sk_X509_shift(certificates);
		PKCS12 *made = PKCS12_create_ex(passphrase, name, pkey, leaf, certificates, NID_aes_256_cbc,
			NID_aes_256_cbc, PKCS12_ITERATIONS, PKCS12_ITERATIONS, 0, NULL, NULL);

		r = encode(owner, made, ret_file, ret_why);
		PKCS12_free(made);
		X509_free(leaf);
	}
	sk_X509_pop_free(certificates, X509_free);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return r;
}
