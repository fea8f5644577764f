/* A file of certificates is read to its end: one that is damaged is an error, and not the end of the chain. Line ends may be CRLF. */
#include "pki/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/base.h"
#include "base/err.h"
#include "pki/secret.h"

enum { PKCS7_HEAD_MAX = 32 };

#define WHY_TOO_LARGE                                                                                        \
	"is larger than 1 MiB, or holds more than 100 certificates; give only the chain of this one"

/* Nobody types a passphrase here; that one was wanted is remembered. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing;
	*(bool *)context = true;
	return -1;
}

bool pem_is_end(void)
{
	const unsigned long last = ERR_peek_last_error();

	return ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
}

static int take_certificates(BIO *bio, STACK_OF(X509) * certificates, const char **ret_why)
{
	bool asked = false;
	X509 *next;

	ERR_clear_error();
	while ((next = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked)) != NULL) {
		text_must(sk_X509_push(certificates, next) > 0 ? certificates : NULL);
		if (sk_X509_num(certificates) > PEM_CERTIFICATES_MAX) {
			*ret_why = WHY_TOO_LARGE;
			return -EFBIG;
		}
	}
	const bool end = pem_is_end();
	ERR_clear_error();
	if (!end)
		*ret_why = "holds a certificate that is damaged or cut off; get the file again, in PEM form";
	else if (sk_X509_num(certificates) == 0)
		*ret_why =
			"holds no certificate in PEM form; a file in DER form becomes PEM with: openssl x509 -inform der -in FILE -out FILE.pem";
	else
		return 0;
	return ERR_FORMAT;
}

const char *pem_pkcs7_hint(struct text bytes)
{
	static const char begin[] = "-----BEGIN PKCS7-----", end[] = "-----END PKCS7-----",
			  signed_data[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";

	if (memmem(bytes.at, bytes.len, begin, strlen(begin)) != NULL &&
		memmem(bytes.at, bytes.len, end, strlen(end)) != NULL)
		return "is a PKCS#7 file; take the certificates out of it with: openssl pkcs7 -print_certs -in FILE -out FILE.pem";
	if (bytes.len > 0 && bytes.at[0] == '\x30' &&
		memmem(bytes.at, MIN(bytes.len, (size_t)PKCS7_HEAD_MAX), signed_data, strlen(signed_data)) !=
			NULL)
		return "is a PKCS#7 file; take the certificates out of it with: openssl pkcs7 -inform der -print_certs -in FILE -out FILE.pem";
	return NULL;
}

int pem_certificates(struct text pem, STACK_OF(X509) * *ret_certificates, const char **ret_why)
{
	if (pem.len > PEM_MAX) {
		*ret_why = WHY_TOO_LARGE;
		return -EFBIG;
	}
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	STACK_OF(X509) *certificates = text_must(sk_X509_new_null());
	int r = take_certificates(bio, certificates, ret_why);

	const char *hint = r == 0 ? NULL : pem_pkcs7_hint(pem);

	if (hint != NULL)
		*ret_why = hint;
	BIO_free(bio);
	if (r == 0)
		*ret_certificates = certificates;
	else
		sk_X509_pop_free(certificates, X509_free);
	return r;
}

int pem_key(struct text pem, EVP_PKEY **ret_key, const char **ret_why)
{
	bool asked = false;

	if (pem.len > PEM_MAX) {
		*ret_why = WHY_TOO_LARGE;
		return -EFBIG;
	}
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	BIO_free(bio);
	ERR_clear_error();
	if (key != NULL) {
		*ret_key = key;
		return 0;
	}
	*ret_why =
		asked ? "holds an encrypted private key; decrypt it with: openssl pkey -in FILE -out FILE.key (and remove that afterwards), "
			"or import it into the store with: postern cert import NAME --passphrase-file FILE"
		      : "holds no private key in PEM form";
	return ERR_FORMAT;
}

/* The bytes of `bio`, which is freed. */
static char *text_of_bio(const void *owner, BIO *bio)
{
	char *at, *copy;
	const long len = BIO_get_mem_data(bio, &at);

	copy = secret_copy(owner, (struct text){ at, (size_t)len });
	BIO_free(bio); /* which wipes it */
	return copy;
}

char *pem_of_certificate(const void *owner, X509 *certificate)
{
	BIO *bio = text_must(BIO_new(BIO_s_mem()));

	text_must(PEM_write_bio_X509(bio, certificate) == 1 ? bio : NULL);
	return text_of_bio(owner, bio);
}

char *pem_of_key(const void *owner, EVP_PKEY *key)
{
	BIO *bio = text_must(BIO_new(BIO_s_mem()));

	text_must(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? bio : NULL);
	return text_of_bio(owner, bio);
}

char *pem_of_request(const void *owner, X509_REQ *request)
{
	BIO *bio = text_must(BIO_new(BIO_s_mem()));

	text_must(PEM_write_bio_X509_REQ(bio, request) == 1 ? bio : NULL);
	return text_of_bio(owner, bio);
}

char *pem_name(const void *owner, const X509_NAME *name)
{
	BIO *bio = text_must(BIO_new(BIO_s_mem()));
	char *at, *copy;

	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
	const long len = BIO_get_mem_data(bio, &at);
	copy = text_copy(owner, (struct text){ at, (size_t)len });
	BIO_free(bio);
	return copy;
}

const EVP_MD *pem_digest_for(EVP_PKEY *key)
{
	char name[32] = "";

	if (EVP_PKEY_get_default_digest_name(key, name, sizeof name) == 2)
		return strcmp(name, "UNDEF") == 0 ? NULL : EVP_get_digestbyname(name);
	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
}
