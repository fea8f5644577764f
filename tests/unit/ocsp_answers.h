#pragma once
/* Answers of OCSP responders, made on the spot as a test wants them: also as no responder would. Static inline functions only. Include it behind
 * "certificates.h". */

#include <limits.h>

#include <openssl/ocsp.h>

#include "certificates.h"

enum { OCSP_ANSWERS_NEVER = INT_MIN, OCSP_ANSWERS_ENTRIES = 3 };

struct answer_entry {
	const struct certificate *about, *issuer; /* NULL about = there is no such entry */
	int status;				  /* V_OCSP_CERTSTATUS_GOOD, ... */
	int reason;				  /* of a revocation; 0 = none is given */
	int from_minutes,
		to_minutes; /* from CERTIFICATES_NOW on; both 0 = -60 to 60; OCSP_ANSWERS_NEVER = without */
	const char *from_raw, *to_raw; /* times as they stand in the bytes */
	const char *id_md;	       /* NULL = SHA1 */
	bool unknown;		       /* a critical extension that nobody knows */
};

struct answer_plan {
	struct answer_entry entries[OCSP_ANSWERS_ENTRIES];
	const struct certificate *signer;
	const struct certificate *with; /* a certificate that is sent along */
	bool by_key;			/* the signer is named by its key, not its subject */
	bool without_signer;		/* its certificate is not sent along */
	const char *md;			/* NULL = SHA256 */
	bool pss;
	struct text nonce;
	bool unknown; /* a critical extension that nobody knows */
};

static inline ASN1_TIME *ocsp_answers_time(int minutes)
{
	time_t now = CERTIFICATES_NOW;

	return minutes == OCSP_ANSWERS_NEVER ? NULL : X509_time_adj_ex(NULL, 0, (long)minutes * 60, &now);
}

static inline void ocsp_answers_entry(OCSP_BASICRESP *basic, const struct answer_entry *entry)
{
	bool usual = entry->from_minutes == 0 && entry->to_minutes == 0;
	ASN1_TIME *from = ocsp_answers_time(usual ? -60 : entry->from_minutes);
	ASN1_TIME *to = ocsp_answers_time(usual ? 60 : entry->to_minutes);
	const EVP_MD *md = EVP_get_digestbyname(entry->id_md == NULL ? "SHA1" : entry->id_md);
	OCSP_CERTID *id = OCSP_cert_to_id(md, entry->about->x509, entry->issuer->x509);
	bool revoked = entry->status == V_OCSP_CERTSTATUS_REVOKED;
	OCSP_SINGLERESP *one = OCSP_basic_add1_status(basic, id, entry->status,
		entry->reason == 0 ? -1 : entry->reason, revoked ? from : NULL, from, to);
	ASN1_GENERALIZEDTIME *this_update, *next_update;

	assert_non_null(one);
	OCSP_single_get0_status(one, NULL, NULL, &this_update, &next_update);
	if (entry->from_raw != NULL)
		ASN1_STRING_set(this_update, entry->from_raw, -1);
	if (entry->to_raw != NULL)
		ASN1_STRING_set(next_update, entry->to_raw, -1);
	if (entry->unknown) {
		X509_EXTENSION *extension = certificates_raw_extension("1.3.6.1.4.1.32473.1", true);

		OCSP_SINGLERESP_add_ext(one, extension, -1);
		X509_EXTENSION_free(extension);
	}
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

static inline void ocsp_answers_sign(OCSP_BASICRESP *basic, const struct answer_plan *plan)
{
	STACK_OF(X509) *along = sk_X509_new_null();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key;
	unsigned long flags =
		(plan->by_key ? OCSP_RESPID_KEY : 0) | (plan->without_signer ? OCSP_NOCERTS : 0);

	if (plan->with != NULL)
		sk_X509_push(along, plan->with->x509);
	assert_int_equal(EVP_DigestSignInit(context, &key,
				 EVP_get_digestbyname(plan->md == NULL ? "SHA256" : plan->md), NULL,
				 plan->signer->key),
		1);
	if (plan->pss)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING), 1);
	assert_int_equal(OCSP_basic_sign_ctx(basic, plan->signer->x509, context, along, flags), 1);
	EVP_MD_CTX_free(context);
	sk_X509_free(along);
}

/* What a responder sends: of `status`, with `basic` or NULL; in DER, owned by `owner`. */
static inline struct text ocsp_answers_wrap(const void *owner, int status, OCSP_BASICRESP *basic)
{
	OCSP_RESPONSE *response = OCSP_response_create(status, basic);
	unsigned char *der = NULL;
	int len = i2d_OCSP_RESPONSE(response, &der);

	assert_true(len > 0);
	struct text bytes = { talloc_memdup(owner, der, (size_t)len), (size_t)len };
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	return bytes;
}

static inline struct text ocsp_answers_make(const void *owner, struct answer_plan plan)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();

	for (size_t i = 0; i < OCSP_ANSWERS_ENTRIES; i++)
		if (plan.entries[i].about != NULL)
			ocsp_answers_entry(basic, &plan.entries[i]);
	if (plan.nonce.len > 0)
		OCSP_basic_add1_nonce(basic, (unsigned char *)(uintptr_t)plan.nonce.at, (int)plan.nonce.len);
	if (plan.unknown) {
		X509_EXTENSION *extension = certificates_raw_extension("1.3.6.1.4.1.32473.1", true);

		OCSP_BASICRESP_add_ext(basic, extension, -1);
		X509_EXTENSION_free(extension);
	}
	ocsp_answers_sign(basic, &plan);
	struct text bytes = ocsp_answers_wrap(owner, OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	OCSP_BASICRESP_free(basic);
	return bytes;
}
