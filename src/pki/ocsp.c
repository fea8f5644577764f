/*
 * An answer counts when it is about exactly the certificate that was asked about, was signed by its issuer or by somebody whom that issuer itself named
 * for it (RFC 6960 section 4.2.2.2), and is neither too old nor from the future. OCSP_basic_verify() would also believe somebody below another
 * authority, and OCSP_check_validity() an answer of any age; so only the signature of a known signer is left to OpenSSL.
 *
 * Whether a delegate was revoked is not asked: its issuer gave it a short life or a nocheck extension, or does without.
 */
#include "pki/ocsp.h"

#include <stdio.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "wire/url.h"

enum {
	SKEW_S = 300,
	AGE_MAX_S = 86400, /* of an answer that does not say when the next one comes */
	LEVEL = 2,
	DELEGATES_MAX = 4,
	SECURITY_BITS = 112 /* of level 2 */
};

/* Asking */

size_t ocsp_urls(const void *owner, const X509 *certificate, const char *ret_urls[OCSP_URLS_MAX])
{
	AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
	size_t count = 0;

	for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access) && count < OCSP_URLS_MAX; i++) {
		const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(access, i);
		struct url url;

		if (OBJ_obj2nid(one->method) != NID_ad_OCSP || one->location->type != GEN_URI)
			continue;
		const ASN1_IA5STRING *uri = one->location->d.uniformResourceIdentifier;
		struct text text = { (const char *)ASN1_STRING_get0_data(uri),
			(size_t)ASN1_STRING_length(uri) };
		if (url_parse(text, &url) == 0)
			ret_urls[count++] = text_copy(owner, text);
	}
	AUTHORITY_INFO_ACCESS_free(access);
	ERR_clear_error();
	return count;
}

struct text ocsp_request(const void *owner, const struct ocsp_question *question)
{
	OCSP_REQUEST *request = text_must(OCSP_REQUEST_new());
	/* The digest only names the certificate, and SHA-1 is the one that every responder knows (RFC 5019 section 2.1.1). */
	OCSP_CERTID *id = text_must(OCSP_cert_to_id(EVP_sha1(), question->certificate, question->issuer));
	unsigned char *der = NULL;

	text_must(OCSP_request_add0_id(request, id));
	if (question->nonce.len > 0)
		OCSP_request_add1_nonce(
			request, (unsigned char *)(uintptr_t)question->nonce.at, (int)question->nonce.len);
	int len = i2d_OCSP_REQUEST(request, &der);
	text_must(der);
	struct text bytes = { text_must(talloc_memdup(owner, der, (size_t)len)), (size_t)len };
	OPENSSL_free(der);
	OCSP_REQUEST_free(request);
	return bytes;
}

/* Reading */

static OCSP_RESPONSE *read_response(struct text bytes)
{
	const unsigned char *at = (const unsigned char *)bytes.at;
	OCSP_RESPONSE *response;

	if (bytes.len == 0 || bytes.len > OCSP_RESPONSE_MAX)
		return NULL;
	response = d2i_OCSP_RESPONSE(NULL, &at, (long)bytes.len);
	if (response != NULL && at != (const unsigned char *)bytes.at + bytes.len) {
		OCSP_RESPONSE_free(response);
		return NULL;
	}
	return response;
}

static const char *flaw_of_status(int status)
{
	switch (status) {
	case OCSP_RESPONSE_STATUS_SUCCESSFUL:
		return NULL;
	case OCSP_RESPONSE_STATUS_TRYLATER:
		return "the responder says: try later";
	case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
		return "the responder says: unauthorized (it does not answer for this certificate)";
	case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
		return "the responder says: malformed request";
	case OCSP_RESPONSE_STATUS_INTERNALERROR:
		return "the responder says: internal error";
	case OCSP_RESPONSE_STATUS_SIGREQUIRED:
		return "the responder wants signed requests";
	default:
		return "the responder says what no responder can say";
	}
}

/* Of a nonce that was sent: another one is that of somebody else's answer; none is usual, of answers that were signed ahead (RFC 9654). */
static const char *flaw_of_nonce(OCSP_BASICRESP *basic, struct text nonce)
{
	int at = OCSP_BASICRESP_get_ext_by_NID(basic, NID_id_pkix_OCSP_Nonce, -1);
	ASN1_OCTET_STRING *got = NULL;

	if (nonce.len == 0 || at < 0)
		return NULL;
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(OCSP_BASICRESP_get_ext(basic, at));
	const unsigned char *bytes = ASN1_STRING_get0_data(value);
	got = d2i_ASN1_OCTET_STRING(NULL, &bytes, ASN1_STRING_length(value));
	bool same = got != NULL && text_equal(nonce, (struct text){ (const char *)ASN1_STRING_get0_data(got),
							     (size_t)ASN1_STRING_length(got) });
	ASN1_OCTET_STRING_free(got);
	return same ? NULL : "it has another nonce than the request";
}

static const char *flaw_of_extensions(OCSP_BASICRESP *basic)
{
	for (int i = 0; i < OCSP_BASICRESP_get_ext_count(basic); i++) {
		X509_EXTENSION *extension = OCSP_BASICRESP_get_ext(basic, i);

		if (X509_EXTENSION_get_critical(extension) &&
			OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_id_pkix_OCSP_Nonce)
			return "it has a critical extension that is not known here";
	}
	return NULL;
}

/* Who signed it */

/* May `delegate` answer for `issuer`, who is believed? */
static const char *flaw_of_delegate(X509 *delegate, X509 *issuer, int64_t now_ms)
{
	X509_STORE *store = text_must(X509_STORE_new());
	X509_STORE_CTX *context = text_must(X509_STORE_CTX_new());
	const char *flaw = NULL;

	X509_STORE_add_cert(store, issuer);
	if (X509_STORE_CTX_init(context, store, delegate, NULL) == 1) {
		X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);

		X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
		X509_VERIFY_PARAM_set_time(parameters, (time_t)(now_ms / 1000));
		X509_VERIFY_PARAM_set_auth_level(parameters, LEVEL);
	}
	if (X509_verify_cert(context) != 1)
		flaw = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
	else if ((X509_get_extension_flags(delegate) & EXFLAG_XKUSAGE) == 0 ||
		 (X509_get_extended_key_usage(delegate) & XKU_OCSP_SIGN) == 0)
		flaw = "its signer may not sign answers (no OCSPSigning)";
	else if ((X509_get_key_usage(delegate) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) == 0)
		flaw = "its signer may not sign (key usage)";
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	return flaw;
}

static int digest_of_pss(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *object = NULL;
	const void *value;
	int type;

	X509_ALGOR_get0(NULL, &type, &value, algorithm);
	RSA_PSS_PARAMS *parameters =
		type == V_ASN1_SEQUENCE ? ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS)) : NULL;
	if (parameters != NULL && parameters->hashAlgorithm != NULL)
		X509_ALGOR_get0(&object, NULL, NULL, parameters->hashAlgorithm);
	int nid = object == NULL ? NID_sha1 : OBJ_obj2nid(object); /* SHA-1 is what stands there unsaid */
	RSA_PSS_PARAMS_free(parameters);
	return nid;
}

/* The digest under the signature is at least as strong as level 2 wants it; without one (EdDSA) it is. */
static bool is_strong(const OCSP_BASICRESP *basic)
{
	const X509_ALGOR *algorithm = OCSP_resp_get0_tbs_sigalg(basic);
	const ASN1_OBJECT *object;
	int digest, key;

	X509_ALGOR_get0(&object, NULL, NULL, algorithm);
	if (OBJ_find_sigid_algs(OBJ_obj2nid(object), &digest, &key) != 1)
		return false;
	if (key == NID_ED25519 || key == NID_ED448)
		return true;
	if (OBJ_obj2nid(object) == NID_rsassaPss)
		digest = digest_of_pss(algorithm);
	const EVP_MD *md = EVP_get_digestbynid(digest);
	return md != NULL && EVP_MD_get_size(md) * 4 >= SECURITY_BITS;
}

/* The answer names it as its signer. */
static bool is_named(const OCSP_BASICRESP *basic, X509 *candidate)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	const ASN1_OCTET_STRING *key;
	const X509_NAME *name;
	unsigned len;

	if (OCSP_resp_get0_id(basic, &key, &name) != 1)
		return false;
	if (name != NULL)
		return X509_NAME_cmp(name, X509_get_subject_name(candidate)) == 0;
	return X509_pubkey_digest(candidate, EVP_sha1(), digest, &len) == 1 &&
	       text_equal((struct text){ (const char *)digest, len },
		       (struct text){
			       (const char *)ASN1_STRING_get0_data(key), (size_t)ASN1_STRING_length(key) });
}

/* It is `signer` who the answer says signed it, and that is true. */
static bool is_signed_by(OCSP_BASICRESP *basic, X509 *signer)
{
	STACK_OF(X509) *only = text_must(sk_X509_new_null());
	bool fine;

	sk_X509_push(only, signer);
	fine = OCSP_basic_verify(basic, only, NULL, OCSP_NOINTERN | OCSP_TRUSTOTHER) == 1;
	sk_X509_free(only);
	return fine;
}

static const char *flaw_of_signer(OCSP_BASICRESP *basic, X509 *issuer, int64_t now_ms)
{
	const STACK_OF(X509) *delegates = OCSP_resp_get0_certs(basic);
	const char *flaw = "its signature is not that of the certificate's issuer";

	if (!is_strong(basic))
		return "its signature is too weak";
	if (is_signed_by(basic, issuer))
		return NULL;
	for (int i = 0; i < MIN(sk_X509_num(delegates), (int)DELEGATES_MAX); i++) {
		X509 *delegate = sk_X509_value(delegates, i);

		if (!is_named(basic, delegate))
			continue;
		const char *wrong = flaw_of_delegate(delegate, issuer, now_ms);
		if (wrong == NULL && is_signed_by(basic, delegate))
			return NULL;
		flaw = wrong != NULL ? wrong : "its signature is wrong";
	}
	return flaw;
}

/* What it says */

static bool is_about(OCSP_SINGLERESP *one, const struct ocsp_question *question)
{
	OCSP_CERTID *id = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one), *own;
	ASN1_OBJECT *digest;

	OCSP_id_get0_info(NULL, &digest, NULL, NULL, id);
	const EVP_MD *md = EVP_get_digestbyobj(digest);
	if (md == NULL || EVP_MD_get_size(md) < EVP_MD_get_size(EVP_sha1()))
		return false;
	own = OCSP_cert_to_id(md, question->certificate, question->issuer);
	bool same = own != NULL && OCSP_id_cmp(own, id) == 0;
	OCSP_CERTID_free(own);
	return same;
}

static const char *flaw_of_times(const ASN1_TIME *this_update, const ASN1_TIME *next_update, int64_t now_ms)
{
	time_t now = (time_t)(now_ms / 1000), later = now + SKEW_S, earlier = now - SKEW_S,
	       oldest = earlier - AGE_MAX_S;
	int begun = X509_cmp_time(this_update, &later);

	if (begun == 0 || (next_update != NULL && X509_cmp_time(next_update, &earlier) == 0))
		return "its times cannot be read";
	if (begun > 0)
		return "it is from the future; compare the clocks";
	if (next_update == NULL)
		return X509_cmp_time(this_update, &oldest) > 0
			       ? NULL
			       : "it is older than a day, and does not say when the next one comes";
	if (ASN1_TIME_compare(next_update, this_update) < 0)
		return "it ends before it begins";
	return X509_cmp_time(next_update, &earlier) > 0 ? NULL : "it is out of date";
}

static int64_t time_ms(const ASN1_TIME *time)
{
	struct tm tm;

	return time != NULL && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : 0;
}

static bool has_unknown_critical(OCSP_SINGLERESP *one)
{
	return OCSP_SINGLERESP_get_ext_by_critical(one, 1, -1) >= 0;
}

static void explain(struct ocsp_answer *answer, enum ocsp_finding finding, const char *reason)
{
	*answer = (struct ocsp_answer){ .finding = finding };
	snprintf(answer->reason, sizeof answer->reason, "%s", reason);
}

static void judge_one(OCSP_SINGLERESP *one, int64_t now_ms, struct ocsp_answer *answer)
{
	ASN1_GENERALIZEDTIME *revoked, *this_update, *next_update;
	char text[CLOCK_TEXT_MAX];
	int why, status = OCSP_single_get0_status(one, &why, &revoked, &this_update, &next_update);
	const char *flaw = has_unknown_critical(one) ? "it has a critical extension that is not known here"
						     : flaw_of_times(this_update, next_update, now_ms);

	if (flaw != NULL || status < 0) {
		explain(answer, OCSP_NO_ANSWER, flaw != NULL ? flaw : "its status cannot be read");
		return;
	}
	*answer = (struct ocsp_answer){ .finding = status == V_OCSP_CERTSTATUS_GOOD	 ? OCSP_GOOD
						   : status == V_OCSP_CERTSTATUS_REVOKED ? OCSP_REVOKED
											 : OCSP_UNKNOWN,
		.this_update_ms = time_ms(this_update),
		.next_update_ms = time_ms(next_update) };
	answer->until_ms = next_update != NULL ? answer->next_update_ms
					       : answer->this_update_ms + (int64_t)AGE_MAX_S * 1000;
	if (status == V_OCSP_CERTSTATUS_REVOKED)
		snprintf(answer->reason, sizeof answer->reason, "revoked since %s (%s)",
			clock_iso(time_ms(revoked), text),
			why < 0 ? "no reason given" : OCSP_crl_reason_str(why));
}

/* Of several answers about one certificate the worst counts. */
static void judge_all(OCSP_BASICRESP *basic, const struct ocsp_question *question, int64_t now_ms,
	struct ocsp_answer *answer)
{
	bool found = false;

	explain(answer, OCSP_NO_ANSWER, "it is not about this certificate");
	for (int i = 0; i < OCSP_resp_count(basic); i++) {
		OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
		struct ocsp_answer next;

		if (!is_about(one, question))
			continue;
		judge_one(one, now_ms, &next);
		if (!found || next.finding < answer->finding)
			*answer = next;
		found = true;
	}
}

static void judge_basic(OCSP_BASICRESP *basic, const struct ocsp_question *question, int64_t now_ms,
	struct ocsp_answer *answer)
{
	const char *flaw =
		basic == NULL ? "it is no answer of a kind that is known here" : flaw_of_extensions(basic);

	if (flaw == NULL)
		flaw = flaw_of_nonce(basic, question->nonce);
	if (flaw == NULL)
		flaw = flaw_of_signer(basic, question->issuer, now_ms);
	if (flaw != NULL)
		explain(answer, OCSP_NO_ANSWER, flaw);
	else
		judge_all(basic, question, now_ms, answer);
}

void ocsp_judge(const struct ocsp_question *question, struct text response, int64_t now_ms,
	struct ocsp_answer *ret_answer)
{
	OCSP_RESPONSE *read = read_response(response);
	const char *flaw =
		read == NULL ? "it is no OCSP response" : flaw_of_status(OCSP_response_status(read));

	if (flaw != NULL) {
		explain(ret_answer, OCSP_NO_ANSWER, flaw);
	} else {
		OCSP_BASICRESP *basic = OCSP_response_get1_basic(read);

		judge_basic(basic, question, now_ms, ret_answer);
		OCSP_BASICRESP_free(basic);
	}
	OCSP_RESPONSE_free(read);
	ERR_clear_error();
}
