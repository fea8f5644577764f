/*
 * OpenSSL verifies the path; what it does not look at stands here: exponents of RSA keys, wildcards against excluded names, revocation by lists of
 * which there is one for each issuer. Authorities are anchors whoever issued them, so a list may hold an intermediate one alone.
 */
#include "pki/verify.h"

#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/crl_set.h"
#include "pki/ocsp.h"
#include "pki/peer_chain.h"
#include "pki/trust.h"
#include "pki/verify_names.h"
#include "pki/verify_private.h"

enum { LEVEL = 2, LEVEL_WEAK = 1, DEPTH_MAX = 10 };

static const char *const results[] = { [VERIFY_FINE] = "verified",
	[VERIFY_HOST_MISMATCH] = "certificate-host-mismatch",
	[VERIFY_EXPIRED] = "certificate-expired",
	[VERIFY_NOT_TRUSTED] = "certificate-not-trusted",
	[VERIFY_FAILURE] = "validation-failure" };

const char *verify_result_word(enum verify_result result)
{
	return results[result];
}

const char *verify_check_word(unsigned check)
{
	static const char *const words[VERIFY_CHECK_COUNT] = { "chain", "dates", "purpose", "strength",
		"names", "fqdn", "revocation", "ocsp", "dane" };

	for (size_t i = 0; i < COUNT(words); i++)
		if (check == 1u << i)
			return words[i];
	return "";
}

void verify_refuse(struct verify_verdict *verdict, enum verify_result result, const char *why, int depth,
	const X509 *whose)
{
	char subject[PEER_CHAIN_SUBJECT_MAX];

	verdict->result = result;
	if (whose == NULL)
		snprintf(verdict->reason, sizeof verdict->reason, "%s", why);
	else
		snprintf(verdict->reason, sizeof verdict->reason, "%s: certificate %d of the chain, %s", why,
			depth, peer_chain_subject(whose, subject));
}

void verify_pass(struct verify_verdict *verdict, unsigned checks)
{
	verdict->checked |= checks;
	verdict->unchecked &= ~checks;
}

/* The path */

void verify_prepare(X509_STORE_CTX *context, enum verify_purpose purpose, int64_t now_ms, bool weak)
{
	X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);

	X509_STORE_CTX_set_default(context, purpose == VERIFY_SERVER ? "ssl_server" : "ssl_client");
	X509_VERIFY_PARAM_set_time(parameters, (time_t)(now_ms / 1000));
	X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_auth_level(parameters, weak ? LEVEL_WEAK : LEVEL);
	X509_VERIFY_PARAM_set_depth(parameters, DEPTH_MAX);
}

static enum verify_result result_of(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return VERIFY_EXPIRED;
	case X509_V_ERR_UNSPECIFIED:
	case X509_V_ERR_OUT_OF_MEM:
	case X509_V_ERR_INVALID_CALL:
	case X509_V_ERR_STORE_LOOKUP:
		return VERIFY_FAILURE;
	default:
		return VERIFY_NOT_TRUSTED;
	}
}

void verify_refuse_error(struct verify_verdict *verdict, X509_STORE_CTX *context)
{
	int error = X509_STORE_CTX_get_error(context);

	if (error == X509_V_OK)
		error = X509_V_ERR_UNSPECIFIED;
	verify_refuse(verdict, result_of(error), X509_verify_cert_error_string(error),
		X509_STORE_CTX_get_error_depth(context), X509_STORE_CTX_get_current_cert(context));
}

/* The verified path, the peer's certificate first and the authority last, owned by the caller; NULL after refusing. */
static STACK_OF(X509) * verify_path(const struct verify_facts *facts, struct verify_verdict *verdict)
{
	X509_STORE_CTX *context = text_must(X509_STORE_CTX_new());
	STACK_OF(X509) *path = NULL;

	if (facts->trust == NULL)
		verify_refuse(verdict, VERIFY_NOT_TRUSTED, "no authority is trusted", 0, NULL);
	else if (X509_STORE_CTX_init(context, trust_native(facts->trust), sk_X509_value(facts->chain, 0),
			 (STACK_OF(X509) *)facts->chain) == 1) {
		verify_prepare(context, facts->purpose, facts->now_ms, facts->weak);
		if (X509_verify_cert(context) == 1 && X509_STORE_CTX_get_error(context) == X509_V_OK)
			path = X509_STORE_CTX_get1_chain(context);
		else
			verify_refuse_error(verdict, context);
	}
	if (path == NULL && verdict->reason[0] == '\0')
		verify_refuse(verdict, VERIFY_FAILURE, "the certificate could not be verified", 0, NULL);
	X509_STORE_CTX_free(context);
	return path;
}

/* What OpenSSL leaves out */

/* With an exponent of 1 everybody can sign. */
static bool is_sound_key(const X509 *certificate)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	BIGNUM *exponent = NULL;
	bool sound;

	if (key == NULL)
		return false;
	if (!EVP_PKEY_is_a(key, "RSA") && !EVP_PKEY_is_a(key, "RSA-PSS"))
		return true;
	sound = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 && BN_is_odd(exponent) &&
		!BN_is_one(exponent);
	BN_free(exponent);
	return sound;
}

bool verify_strength(const STACK_OF(X509) * path, struct verify_verdict *verdict)
{
	for (int i = 0; i < sk_X509_num(path); i++)
		if (!is_sound_key(sk_X509_value(path, i))) {
			verify_refuse(verdict, VERIFY_NOT_TRUSTED, "RSA key with an unsound exponent", i,
				sk_X509_value(path, i));
			return false;
		}
	return true;
}

/* Of each certificate but the authority; false after refusing. What passes without having been checked leaves its reason. */
static bool check_revocation(
	const struct verify_facts *facts, const STACK_OF(X509) * path, struct verify_verdict *verdict)
{
	bool all = true;

	for (int i = 0; i + 1 < sk_X509_num(path); i++) {
		enum revocation_finding finding = crl_set_find(facts->crls, path, i, facts->now_ms);
		struct revocation_decision decision = revocation_decide(finding, facts->revocation);

		if (decision.warn && finding != REVOCATION_LISTED && verdict->issuer_without_list[0] == '\0')
			peer_chain_subject(sk_X509_value(path, i + 1), verdict->issuer_without_list);
		if (decision.refused) {
			verify_refuse(
				verdict, VERIFY_NOT_TRUSTED, decision.reason, i, sk_X509_value(path, i));
			return false;
		}
		if (!decision.checked && all)
			verify_refuse(verdict, VERIFY_FINE, decision.reason, i, sk_X509_value(path, i));
		all = all && decision.checked;
	}
	if (all)
		verify_pass(verdict, VERIFY_REVOCATION);
	return true;
}

struct verified {
	struct verify_facts facts;
	STACK_OF(X509) * path; /* the peer's certificate first; NULL when the chain is not verified */
	struct verify_verdict verdict;
};

static bool check_names(const struct verified *verified, const struct verify_reference *reference,
	struct verify_verdict *verdict)
{
	const struct verify_facts *facts = &verified->facts;

	if (!verify_names_permitted(reference, verified->path, verdict)) {
		verdict->result = VERIFY_NOT_TRUSTED;
		verdict->checked &= ~(unsigned)VERIFY_CHAIN;
		verdict->unchecked |= VERIFY_CHAIN;
		return false;
	}
	if (verdict->unchecked & VERIFY_NAMES &&
		!verify_names_match(facts->cn_fallback, reference, verified->path, verdict)) {
		verdict->result = VERIFY_HOST_MISMATCH;
		return false;
	}
	verify_pass(verdict, verdict->unchecked & VERIFY_NAMES);
	if (facts->fqdn && !verify_names_qualified(facts->cn_fallback, verified->path, verdict)) {
		verdict->result = VERIFY_NOT_TRUSTED;
		return false;
	}
	verify_pass(verdict, verdict->unchecked & VERIFY_FQDN);
	return true;
}

/* Without names. */
static unsigned wanted(const struct verify_facts *facts)
{
	return (unsigned)(VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE | VERIFY_STRENGTH |
			  (facts->fqdn ? VERIFY_FQDN : 0) |
			  (facts->revocation != REVOCATION_OFF ? VERIFY_REVOCATION : 0) |
			  (facts->ocsp != OCSP_OFF ? VERIFY_OCSP : 0));
}

static int verified_destroy(struct verified *verified)
{
	peer_chain_free(verified->path);
	return 0;
}

/* The chain, without names and revocation: the verdict is fine when there is a path. */
static void verify_chain(struct verified *verified)
{
	struct verify_verdict *verdict = &verified->verdict;
	STACK_OF(X509) * path;

	verdict->result = VERIFY_FAILURE;
	verdict->unchecked = wanted(&verified->facts);
	if (sk_X509_num(verified->facts.chain) < 1) {
		verify_refuse(verdict, VERIFY_FAILURE, "the peer showed no certificate", 0, NULL);
		return;
	}
	path = verify_path(&verified->facts, verdict);
	if (path == NULL)
		return;
	peer_chain_subject(sk_X509_value(path, sk_X509_num(path) - 1), verdict->authority);
	verify_pass(verdict, VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE);
	if (!verify_strength(path, verdict)) {
		peer_chain_free(path);
		return;
	}
	verify_pass(verdict, VERIFY_STRENGTH);
	verdict->result = VERIFY_FINE;
	verified->path = path;
}

struct verified *verify_open(const void *owner, const struct verify_facts *facts)
{
	struct verified *verified = text_must(talloc_zero(owner, struct verified));

	verified->facts = *facts;
	talloc_set_destructor(verified, verified_destroy);
	ERR_clear_error();
	verify_chain(verified);
	ERR_clear_error();
	return verified;
}

void verify_for(const struct verified *verified, const struct verify_reference *reference,
	struct verify_verdict *ret_verdict)
{
	static const struct verify_reference anybody = { 0 };

	if (reference == NULL)
		reference = &anybody;
	*ret_verdict = verified->verdict;
	if (verify_names_asked(reference))
		ret_verdict->unchecked |= VERIFY_NAMES;
	if (verified->path == NULL || !check_names(verified, reference, ret_verdict))
		return;
	ret_verdict->result = VERIFY_FINE;
	if (verified->facts.revocation != REVOCATION_OFF)
		check_revocation(&verified->facts, verified->path, ret_verdict);
	ERR_clear_error();
}

X509 *verify_issuer(const struct verified *verified)
{
	return sk_X509_num(verified->path) > 1 ? sk_X509_value(verified->path, 1) : NULL;
}

bool verify_common_name_counts(const struct verified *verified)
{
	return verified->path != NULL &&
	       verify_names_common_counts(verified->facts.cn_fallback, verified->path);
}

void verify_peer(const struct verify_facts *facts, struct verify_verdict *ret_verdict)
{
	X509 *issuer;

	verify_peer_of(facts, ret_verdict, &issuer);
	X509_free(issuer);
}

void verify_issuer_free(X509 *issuer)
{
	X509_free(issuer);
}

/* A reason that stands there already stays. */
static void add_reason(struct verify_verdict *verdict, const char *reason, const char *detail)
{
	size_t len = strlen(verdict->reason);

	snprintf(verdict->reason + len, sizeof verdict->reason - len, "%s%s%s%s", len == 0 ? "" : "; ",
		reason, detail[0] == '\0' ? "" : ": ", detail);
}

void verify_add_ocsp(
	const struct verify_facts *facts, const struct ocsp_answer *answer, struct verify_verdict *verdict)
{
	if (facts->ocsp == OCSP_OFF || verdict->result != VERIFY_FINE)
		return;
	if (answer == NULL) {
		verify_pass(verdict, VERIFY_OCSP);
		return;
	}
	struct ocsp_decision decision = ocsp_decide(answer->finding, facts->ocsp);
	if (decision.refused)
		verify_refuse(verdict, VERIFY_NOT_TRUSTED, "", 0, NULL);
	if (decision.refused || !decision.checked)
		add_reason(verdict, decision.reason, answer->reason);
	else
		verify_pass(verdict, VERIFY_OCSP);
}

void verify_peer_of(const struct verify_facts *facts, struct verify_verdict *ret_verdict, X509 **ret_issuer)
{
	struct verified *verified = verify_open(NULL, facts);
	const struct verify_reference reference = { .hosts = facts->hosts,
		.host_count = facts->host_count,
		.commons = facts->hosts,
		.common_count = facts->host_count,
		.address = facts->address };

	verify_for(verified, &reference, ret_verdict);
	*ret_issuer = ret_verdict->result == VERIFY_FINE ? verify_issuer(verified) : NULL;
	if (*ret_issuer != NULL)
		X509_up_ref(*ret_issuer);
	talloc_free(verified);
}
