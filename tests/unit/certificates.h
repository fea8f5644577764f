#pragma once
/* Certificates and lists of revoked ones, made on the spot as a test wants them: also as no authority would. Static inline functions only. Include it
 * behind <cmocka.h>. Everything made lives until certificates_free(). */

#include <string.h>
#include <time.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/text.h"

enum { CERTIFICATES_NOW = 1700000000, CERTIFICATES_DAY = 86400 };

/* How a certificate is to be; 0 and NULL are what is usual. */
struct certificate_plan {
	const char *cn, *second_cn; /* NULL = no common name */
	const char *san;	    /* as in openssl.cnf: `DNS:a,IP:192.0.2.1` */
	struct text dns;	    /* one more dNSName, any bytes */
	const char *ca;		    /* basicConstraints */
	const char *usage, *eku, *constraints, *crl_points;
	const char *info;		  /* authorityInfoAccess: `OCSP;URI:http://a.test/` */
	const char *unknown;		  /* an extension that nobody knows: "critical" or "" */
	bool no_revocation;		  /* noRevAvail */
	const char *curve;		  /* NULL = P-256, or ... */
	unsigned rsa;			  /* ... RSA of so many bits */
	EVP_PKEY *key;			  /* ... or this one */
	const char *md;			  /* of the signature; NULL = SHA256 */
	int from_days, to_days;		  /* from CERTIFICATES_NOW on; both 0 = -1 to 30 */
	long serial;			  /* 0 = the next one */
	const struct certificate *issuer; /* NULL = signed by itself */
};

struct certificate {
	X509 *x509;
	EVP_PKEY *key;
	struct text pem;
};

struct certificates {
	void *scratch;
	struct certificate *all[256];
	size_t count;
};

static inline void certificates_extend(
	X509 *certificate, const struct certificate *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	if (value == NULL)
		return;
	X509V3_set_ctx(&context, issuer == NULL ? certificate : issuer->x509, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static inline X509_EXTENSION *certificates_raw_extension(const char *oid, bool critical)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	ASN1_OCTET_STRING_set(bytes, (const unsigned char *)"\5\0", 2);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, bytes);
	ASN1_OBJECT_free(object);
	ASN1_OCTET_STRING_free(bytes);
	return extension;
}

static inline void certificates_extend_raw(X509 *certificate, const char *oid, bool critical)
{
	X509_EXTENSION *extension = certificates_raw_extension(oid, critical);

	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static inline void certificates_name_raw(X509 *certificate, struct text dns)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *bytes = ASN1_IA5STRING_new();

	if (names == NULL)
		names = sk_GENERAL_NAME_new_null();
	ASN1_STRING_set(bytes, dns.at, (int)dns.len);
	GENERAL_NAME_set0_value(name, GEN_DNS, bytes);
	sk_GENERAL_NAME_push(names, name);
	assert_int_equal(
		X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_REPLACE), 1);
	GENERAL_NAMES_free(names);
}

static inline EVP_PKEY *certificates_key(const struct certificate_plan *plan)
{
	EVP_PKEY *key = plan->key;

	if (key != NULL)
		EVP_PKEY_up_ref(key);
	else if (plan->rsa != 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)plan->rsa);
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", plan->curve == NULL ? "P-256" : plan->curve);
	assert_non_null(key);
	return key;
}

/* The public half of an RSA key with such an exponent; nobody has the other half. */
static inline EVP_PKEY *certificates_rsa_with_exponent(unsigned exponent)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), *odd = NULL;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	BIGNUM *n = NULL, *e = BN_new();

	BN_set_word(e, exponent);
	assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n), 1);
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n);
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e);
	OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
	assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
	assert_int_equal(EVP_PKEY_fromdata(context, &odd, EVP_PKEY_PUBLIC_KEY, parameters), 1);
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(key);
	BN_free(n);
	BN_free(e);
	return odd;
}

static inline void certificates_subject(X509 *certificate, const struct certificate_plan *plan)
{
	X509_NAME *name = X509_get_subject_name(certificate);
	const char *const names[] = { plan->cn, plan->second_cn };

	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Test", -1, -1, 0);
	for (size_t i = 0; i < 2; i++)
		if (names[i] != NULL)
			X509_NAME_add_entry_by_txt(
				name, "CN", MBSTRING_UTF8, (const unsigned char *)names[i], -1, -1, 0);
}

static inline void certificates_dates(X509 *certificate, const struct certificate_plan *plan)
{
	time_t now = CERTIFICATES_NOW;
	bool usual = plan->from_days == 0 && plan->to_days == 0;

	X509_time_adj_ex(X509_getm_notBefore(certificate), usual ? -1 : plan->from_days, 0, &now);
	X509_time_adj_ex(X509_getm_notAfter(certificate), usual ? 30 : plan->to_days, 0, &now);
}

static inline struct text certificates_pem(void *owner, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *at;

	PEM_write_bio_X509(bio, certificate);
	size_t len = (size_t)BIO_get_mem_data(bio, &at);
	struct text pem = { text_copy(owner, (struct text){ at, len }), len };
	BIO_free(bio);
	return pem;
}

static inline const struct certificate *certificates_make(
	struct certificates *made, struct certificate_plan plan)
{
	struct certificate *certificate = talloc_zero(made->scratch, struct certificate);
	X509 *x509 = X509_new();
	const EVP_MD *md = EVP_get_digestbyname(plan.md == NULL ? "SHA256" : plan.md);

	certificate->x509 = x509;
	certificate->key = certificates_key(&plan);
	X509_set_version(x509, 2);
	ASN1_INTEGER_set(
		X509_get_serialNumber(x509), plan.serial != 0 ? plan.serial : (long)(1000 + made->count));
	certificates_subject(x509, &plan);
	certificates_dates(x509, &plan);
	X509_set_issuer_name(x509, X509_get_subject_name(plan.issuer == NULL ? x509 : plan.issuer->x509));
	X509_set_pubkey(x509, certificate->key);
	certificates_extend(x509, plan.issuer, NID_basic_constraints, plan.ca);
	certificates_extend(x509, plan.issuer, NID_key_usage, plan.usage);
	certificates_extend(x509, plan.issuer, NID_ext_key_usage, plan.eku);
	certificates_extend(x509, plan.issuer, NID_name_constraints, plan.constraints);
	certificates_extend(x509, plan.issuer, NID_crl_distribution_points, plan.crl_points);
	certificates_extend(x509, plan.issuer, NID_info_access, plan.info);
	certificates_extend(x509, plan.issuer, NID_subject_alt_name, plan.san);
	certificates_extend(x509, plan.issuer, NID_subject_key_identifier, "hash");
	if (plan.issuer != NULL)
		certificates_extend(x509, plan.issuer, NID_authority_key_identifier, "keyid");
	if (plan.dns.at != NULL)
		certificates_name_raw(x509, plan.dns);
	if (plan.unknown != NULL)
		certificates_extend_raw(x509, "1.3.6.1.4.1.32473.1", strcmp(plan.unknown, "critical") == 0);
	if (plan.no_revocation)
		certificates_extend_raw(x509, "2.5.29.56", false);
	assert_true(X509_sign(x509, plan.issuer == NULL ? certificate->key : plan.issuer->key, md) > 0);
	certificate->pem = certificates_pem(made->scratch, x509);
	made->all[made->count++] = certificate;
	return certificate;
}

/* A usual authority. */
static inline const struct certificate *certificates_authority(
	struct certificates *made, const char *cn, const struct certificate *issuer)
{
	return certificates_make(made, (struct certificate_plan){ .cn = cn,
					       .ca = "critical,CA:TRUE",
					       .usage = "critical,keyCertSign,cRLSign",
					       .issuer = issuer });
}

/* Lists */

struct list_plan {
	const struct certificate *issuer, *signer; /* NULL signer = the issuer */
	long number;				   /* 0 = without */
	int from_days, to_days;			   /* both 0 = -1 to 7 */
	const X509 *revoked;
	int reason;	     /* of it; 0 = none is given */
	const char *scope;   /* issuing distribution point */
	long delta_of;	     /* 0 = complete */
	const char *unknown; /* an extension that nobody knows: "critical" or "" */
	bool unknown_entry;  /* the same, critical, of the entry */
	bool other_key_id;   /* names the key of `other` as its issuer's */
	const struct certificate *other;
};

static inline void certificates_list_extend(
	X509_CRL *list, const struct certificate *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer->x509, NULL, NULL, list, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	X509_CRL_add_ext(list, extension, -1);
	X509_EXTENSION_free(extension);
}

static inline void certificates_list_number(X509_CRL *list, int nid, long value)
{
	ASN1_INTEGER *number = ASN1_INTEGER_new();

	ASN1_INTEGER_set(number, value);
	X509_CRL_add1_ext_i2d(list, nid, number, nid == NID_delta_crl, 0);
	ASN1_INTEGER_free(number);
}

static inline void certificates_list_revoke(X509_CRL *list, const struct list_plan *plan)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();

	X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)X509_get0_serialNumber(plan->revoked));
	X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)X509_CRL_get0_lastUpdate(list));
	ASN1_ENUMERATED_set(reason, plan->reason);
	if (plan->reason != 0)
		X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0);
	if (plan->unknown_entry) {
		X509_EXTENSION *extension = certificates_raw_extension("1.3.6.1.4.1.32473.1", true);

		X509_REVOKED_add_ext(entry, extension, -1);
		X509_EXTENSION_free(extension);
	}
	ASN1_ENUMERATED_free(reason);
	X509_CRL_add0_revoked(list, entry);
}

/* In DER. */
static inline struct text certificates_list(struct certificates *made, struct list_plan plan)
{
	X509_CRL *list = X509_CRL_new();
	bool usual = plan.from_days == 0 && plan.to_days == 0;
	time_t now = CERTIFICATES_NOW;
	ASN1_TIME *from = X509_time_adj_ex(NULL, usual ? -1 : plan.from_days, 0, &now);
	ASN1_TIME *to = X509_time_adj_ex(NULL, usual ? 7 : plan.to_days, 0, &now);
	const struct certificate *signer = plan.signer == NULL ? plan.issuer : plan.signer;
	unsigned char *der = NULL;

	X509_CRL_set_version(list, 1);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(plan.issuer->x509));
	X509_CRL_set1_lastUpdate(list, from);
	X509_CRL_set1_nextUpdate(list, to);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	certificates_list_extend(
		list, plan.other_key_id ? plan.other : signer, NID_authority_key_identifier, "keyid");
	if (plan.number != 0)
		certificates_list_number(list, NID_crl_number, plan.number);
	if (plan.delta_of != 0)
		certificates_list_number(list, NID_delta_crl, plan.delta_of);
	if (plan.scope != NULL)
		certificates_list_extend(list, signer, NID_issuing_distribution_point, plan.scope);
	if (plan.unknown != NULL) {
		X509_EXTENSION *extension = certificates_raw_extension(
			"1.3.6.1.4.1.32473.1", strcmp(plan.unknown, "critical") == 0);

		X509_CRL_add_ext(list, extension, -1);
		X509_EXTENSION_free(extension);
	}
	if (plan.revoked != NULL)
		certificates_list_revoke(list, &plan);
	X509_CRL_sort(list);
	assert_true(X509_CRL_sign(list, signer->key, EVP_sha256()) > 0);
	int len = i2d_X509_CRL(list, &der);
	assert_true(len > 0);
	struct text bytes = { talloc_memdup(made->scratch, der, (size_t)len), (size_t)len };
	OPENSSL_free(der);
	X509_CRL_free(list);
	return bytes;
}

static inline void certificates_free(struct certificates *made)
{
	for (size_t i = 0; i < made->count; i++) {
		X509_free(made->all[i]->x509);
		EVP_PKEY_free(made->all[i]->key);
	}
	made->count = 0;
	TALLOC_FREE(made->scratch);
}
