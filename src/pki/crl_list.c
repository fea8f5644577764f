#include "pki/crl_list.h"

#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/pem.h"
#include "wire/pem_frame.h"

static bool is_pem(struct text bytes)
{
	return memmem(bytes.at, bytes.len, "-----BEGIN ", 11) != NULL;
}

/* A sequence, however long it says it is. */
static bool is_der(struct text bytes)
{
	return bytes.len > 1 && bytes.at[0] == 0x30;
}

X509_CRL *crl_list_read(struct text bytes)
{
	const unsigned char *at = (const unsigned char *)bytes.at;
	X509_CRL *crl;

	if (bytes.len == 0 || bytes.len > CRL_LIST_MAX)
		return NULL;
	if (!is_der(bytes) && is_pem(bytes)) {
		BIO *bio = text_must(BIO_new_mem_buf(bytes.at, (int)bytes.len));

		crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
		BIO_free(bio);
		return crl;
	}
	crl = d2i_X509_CRL(NULL, &at, (long)bytes.len);
	if (crl != NULL && at != (const unsigned char *)bytes.at + bytes.len) {
		X509_CRL_free(crl);
		return NULL;
	}
	return crl;
}

static const char *flaw_of_pem(struct text bytes)
{
	struct text rest = bytes;
	struct pem_frame block;
	size_t lists = 0, others = 0;

	if (is_der(bytes))
		return "it is ASN.1 (DER), and the source is of type pem";
	while (pem_frame_next(&rest, &block)) {
		bool list = text_equal(block.label, TEXT("X509 CRL"));

		lists += list;
		others += !list;
	}
	if (lists + others == 0)
		return "there is no list of revoked certificates in it";
	if (lists == 0)
		return "it is PEM, but no list of revoked certificates (X509 CRL)";
	return lists > 1    ? "there is more than one list in it"
	       : others > 0 ? "something else stands beside the list"
			    : NULL;
}

const char *crl_list_flaw(struct text bytes, bool pem)
{
	if (bytes.len == 0)
		return "it is empty";
	if (pem)
		return flaw_of_pem(bytes);
	if (is_der(bytes))
		return NULL;
	return is_pem(bytes) ? "it is PEM, and the source is of type asn1"
			     : "there is no list of revoked certificates in it";
}

static int64_t time_ms(const ASN1_TIME *time)
{
	struct tm tm;

	if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static void show_number(const X509_CRL *crl, char *ret_text)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	BIGNUM *value = number == NULL ? NULL : ASN1_INTEGER_to_BN(number, NULL);
	char *text = value == NULL ? NULL : BN_bn2hex(value);

	ret_text[0] = '\0';
	if (text != NULL)
		strncat(ret_text, text, CRL_LIST_NUMBER_MAX - 1);
	OPENSSL_free(text);
	BN_free(value);
	ASN1_INTEGER_free(number);
}

bool crl_list_describe(const void *owner, struct text bytes, struct crl_facts *ret_facts)
{
	X509_CRL *crl = crl_list_read(bytes);

	ERR_clear_error();
	if (crl == NULL)
		return false;
	char *issuer = pem_name(owner, X509_CRL_get_issuer(crl));
	for (char *c = issuer; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	*ret_facts = (struct crl_facts){ .issuer = issuer,
		.this_ms = time_ms(X509_CRL_get0_lastUpdate(crl)),
		.next_ms = time_ms(X509_CRL_get0_nextUpdate(crl)),
		.entries = (size_t)MAX(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 0) };
	show_number(crl, ret_facts->number);
	X509_CRL_free(crl);
	ERR_clear_error();
	return true;
}
