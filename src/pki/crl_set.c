/*
 * OpenSSL prefers one of two lists of an issuer by their dates, and of two with equal dates the one that was loaded first. Here is one for each
 * issuer (name and key), so there is nothing to prefer. A list is tied to the key that signed it, and counts only for certificates in whose verified
 * path the issuer's name stands with that key: whoever else has the name cannot speak for it, and an authority that changed its key can.
 *
 * Refused, because absence from them would say nothing or less than it seems: deltas, indirect lists, lists of a part of the certificates or of some
 * reasons, and those with critical extensions that we do not know.
 */
#include "pki/crl_set.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/peer_chain.h"
#include "pki/crl_list.h"
#include "pki/trust.h"

enum { SKEW_S = 300 };

struct list {
	X509_CRL *crl;
	X509 *signer;
};

struct crl_set {
	struct list *lists;
	size_t count;
};

static int crl_set_destroy(struct crl_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		X509_CRL_free(set->lists[i].crl);
		X509_free(set->lists[i].signer);
	}
	return 0;
}

struct crl_set *crl_set_new(const void *owner)
{
	struct crl_set *set = text_must(talloc_zero(owner, struct crl_set));

	talloc_set_destructor(set, crl_set_destroy);
	return set;
}

size_t crl_set_count(const struct crl_set *set)
{
	return set->count;
}

/* Its form */

static bool holds(const int *nids, size_t count, int nid)
{
	for (size_t i = 0; i < count; i++)
		if (nids[i] == nid)
			return true;
	return false;
}

static const char *flaw_of_scope(X509_CRL *crl)
{
	int critical;
	ISSUING_DIST_POINT *scope =
		X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
	const char *flaw = NULL;

	if (scope == NULL)
		return critical == -1 ? NULL : "its issuing distribution point cannot be read";
	if (scope->indirectCRL > 0)
		flaw = "it is an indirect list, which names certificates of other issuers";
	else if (scope->onlysomereasons != NULL)
		flaw = "it lists certificates that were revoked for some reasons only";
	else if (scope->onlyuser > 0 || scope->onlyCA > 0 || scope->onlyattr > 0 || scope->distpoint != NULL)
		flaw = "it lists only a part of its issuer's certificates";
	ISSUING_DIST_POINT_free(scope);
	return flaw;
}

static const char *flaw_of_extensions(X509_CRL *crl)
{
	static const int known[] = { NID_authority_key_identifier, NID_crl_number,
		NID_issuing_distribution_point };

	for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
		X509_EXTENSION *extension = X509_CRL_get_ext(crl, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));

		if (nid == NID_delta_crl)
			return "it is a delta, which says only what changed since another list";
		if (X509_EXTENSION_get_critical(extension) && !holds(known, COUNT(known), nid))
			return "it has a critical extension that is not known here";
	}
	return flaw_of_scope(crl);
}

static const char *flaw_of_entries(X509_CRL *crl)
{
	static const int known[] = { NID_crl_reason, NID_invalidity_date, NID_hold_instruction_code };
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);

	for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
		const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);

		for (int j = 0; j < X509_REVOKED_get_ext_count(entry); j++) {
			X509_EXTENSION *extension = X509_REVOKED_get_ext(entry, j);
			int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));

			if (nid == NID_certificate_issuer)
				return "it is an indirect list, which names certificates of other issuers";
			if (X509_EXTENSION_get_critical(extension) && !holds(known, COUNT(known), nid))
				return "one of its entries has a critical extension that is not known here";
		}
	}
	return NULL;
}

static const char *flaw_of_times(const X509_CRL *crl, int64_t now_ms)
{
	time_t later = (time_t)(now_ms / 1000) + SKEW_S;
	const ASN1_TIME *this_update = X509_CRL_get0_lastUpdate(crl);
	const ASN1_TIME *next_update = X509_CRL_get0_nextUpdate(crl);

	if (next_update == NULL)
		return "it does not say when the next one comes";
	int past = X509_cmp_time(this_update, &later);
	if (past == 0 || X509_cmp_time(next_update, &later) == 0)
		return "its times cannot be read";
	if (past > 0)
		return "it is from the future; compare the clocks";
	return NULL;
}

/* The cRLNumber, owned by the caller, or NULL; false when it cannot be read. */
static bool number_of(const X509_CRL *crl, ASN1_INTEGER **ret_number)
{
	int critical;

	*ret_number = X509_CRL_get_ext_d2i(crl, NID_crl_number, &critical, NULL);
	return *ret_number != NULL || critical == -1;
}

static const char *flaw_of_form(X509_CRL *crl, int64_t now_ms)
{
	ASN1_INTEGER *number;
	const char *flaw;

	if (!number_of(crl, &number))
		return "its number cannot be read";
	ASN1_INTEGER_free(number);
	if ((flaw = flaw_of_extensions(crl)) == NULL && (flaw = flaw_of_times(crl, now_ms)) == NULL)
		flaw = flaw_of_entries(crl);
	return flaw;
}

/* Its issuer */

static const char *flaw_of_signer(X509_CRL *crl, X509 *signer)
{
	const uint32_t usage = X509_get_key_usage(signer); /* first: it also reads the key id of the signer */
	AUTHORITY_KEYID *key_id = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
	bool fits = key_id == NULL || X509_check_akid(signer, key_id) == X509_V_OK;

	AUTHORITY_KEYID_free(key_id);
	if (!fits)
		return "it names another key than its issuer's (authority key identifier)";
	if ((usage & KU_CRL_SIGN) == 0)
		return "its issuer may not sign such lists (key usage)";
	if (X509_get0_pubkey(signer) == NULL || X509_CRL_verify(crl, X509_get0_pubkey(signer)) != 1)
		return "its signature is not that of its issuer";
	return NULL;
}

/* The first of `candidates` who signed it, with a reference; NULL and, when one has the name, what is wrong with the last of them. */
static X509 *signer_among(X509_CRL *crl, const STACK_OF(X509) * candidates, const char **flaw)
{
	for (int i = 0; i < sk_X509_num(candidates); i++) {
		X509 *candidate = sk_X509_value(candidates, i);

		if (X509_NAME_cmp(X509_get_subject_name(candidate), X509_CRL_get_issuer(crl)) != 0)
			continue;
		*flaw = flaw_of_signer(crl, candidate);
		if (*flaw == NULL) {
			X509_up_ref(candidate);
			return candidate;
		}
	}
	return NULL;
}

/* Whom we trust under that name; the caller frees it. */
static STACK_OF(X509) * trusted(const struct trust *trust, const X509_NAME *name)
{
	X509_STORE_CTX *context = text_must(X509_STORE_CTX_new());
	STACK_OF(X509) *found = NULL;

	if (X509_STORE_CTX_init(context, trust_native(trust), NULL, NULL) == 1)
		found = X509_STORE_CTX_get1_certs(context, name);
	X509_STORE_CTX_free(context);
	return found;
}

static X509 *signer_of(X509_CRL *crl, const struct crl_offer *offer, const char **flaw)
{
	X509 *signer = NULL;

	*flaw = "no authority vouches for it: no certificate of its issuer is known";
	if (offer->trust != NULL) {
		STACK_OF(X509) *authorities = trusted(offer->trust, X509_CRL_get_issuer(crl));

		signer = signer_among(crl, authorities, flaw);
		sk_X509_pop_free(authorities, X509_free);
	}
	return signer != NULL ? signer : signer_among(crl, offer->issuers, flaw);
}

/* Its place */

static bool same_key(X509 *a, X509 *b)
{
	const EVP_PKEY *key = X509_get0_pubkey(a), *other = X509_get0_pubkey(b);

	return key != NULL && other != NULL && EVP_PKEY_eq(key, other) == 1;
}

static struct list *list_of(const struct crl_set *set, X509 *issuer)
{
	for (size_t i = 0; i < set->count; i++)
		if (X509_NAME_cmp(X509_CRL_get_issuer(set->lists[i].crl), X509_get_subject_name(issuer)) ==
				0 &&
			same_key(set->lists[i].signer, issuer))
			return &set->lists[i];
	return NULL;
}

static int compare_numbers(const X509_CRL *a, const X509_CRL *b)
{
	ASN1_INTEGER *first, *second;
	int order;

	number_of(a, &first);
	number_of(b, &second);
	if (first != NULL && second != NULL)
		order = ASN1_INTEGER_cmp(first, second);
	else
		order = (first != NULL) - (second != NULL);
	ASN1_INTEGER_free(first);
	ASN1_INTEGER_free(second);
	return order;
}

static int compare_dates(const X509_CRL *a, const X509_CRL *b)
{
	return ASN1_TIME_compare(X509_CRL_get0_lastUpdate(a), X509_CRL_get0_lastUpdate(b));
}

/* What decides between two that claim to be the same one need only be the same in any order; the longer one revokes more. */
static int compare_bytes(X509_CRL *a, X509_CRL *b)
{
	unsigned char first[EVP_MAX_MD_SIZE] = { 0 }, second[EVP_MAX_MD_SIZE] = { 0 };
	int order =
		sk_X509_REVOKED_num(X509_CRL_get_REVOKED(a)) - sk_X509_REVOKED_num(X509_CRL_get_REVOKED(b));

	X509_CRL_digest(a, EVP_sha256(), first, NULL);
	X509_CRL_digest(b, EVP_sha256(), second, NULL);
	return order != 0 ? order : memcmp(first, second, sizeof first);
}

static bool is_newer(X509_CRL *a, X509_CRL *b)
{
	int order = compare_numbers(a, b);

	if (order == 0)
		order = compare_dates(a, b);
	if (order == 0)
		order = compare_bytes(a, b);
	return order > 0;
}

/* OpenSSL sorts the entries when the first is looked for: now, while one thread has it. */
static void settle(X509_CRL *crl)
{
	X509_REVOKED *entry;
	ASN1_INTEGER *zero = text_must(ASN1_INTEGER_new());

	X509_CRL_get0_by_serial(crl, &entry, zero);
	ASN1_INTEGER_free(zero);
}

/* Both belong to the set from now on. */
static void put(struct crl_set *set, struct list *place, X509_CRL *crl, X509 *signer)
{
	if (place == NULL) {
		set->lists =
			text_must(talloc_realloc(set, set->lists, struct list, (unsigned)(set->count + 1)));
		place = &set->lists[set->count++];
	} else {
		X509_CRL_free(place->crl);
		X509_free(place->signer);
	}
	settle(crl);
	*place = (struct list){ crl, signer };
}

/* Read and prove it; NULL and why, or the list with who signed it, both the caller's. */
static X509_CRL *prove(const struct crl_offer *offer, X509 **ret_signer, const char **ret_why)
{
	X509_CRL *crl = crl_list_read(offer->bytes);

	*ret_signer = NULL;
	*ret_why = crl != NULL			     ? flaw_of_form(crl, offer->now_ms)
		   : offer->bytes.len > CRL_LIST_MAX ? "it is larger than 64 MiB"
						     : "it is no list of revoked certificates, in PEM or DER";
	if (*ret_why == NULL)
		*ret_signer = signer_of(crl, offer, ret_why);
	ERR_clear_error();
	if (*ret_signer != NULL)
		return crl;
	X509_CRL_free(crl);
	return NULL;
}

static enum crl_taken take(
	struct crl_set *set, const struct crl_offer *offer, bool published, const char **ret_why)
{
	X509 *signer;
	X509_CRL *crl = prove(offer, &signer, ret_why);
	enum crl_taken taken = CRL_TAKEN;

	if (crl == NULL)
		return CRL_REFUSED;
	struct list *held = list_of(set, signer);
	if (held == NULL && set->count == CRL_SET_ISSUERS_MAX) {
		*ret_why = "there are lists of 1000 issuers already";
		taken = CRL_REFUSED;
	} else if (held != NULL && published &&
		   (compare_numbers(crl, held->crl) < 0 || compare_dates(crl, held->crl) < 0)) {
		*ret_why = "it is older than the one that is held (rollback)";
		taken = CRL_REFUSED;
	} else if (held != NULL && !is_newer(crl, held->crl)) {
		*ret_why = "it, or a newer one, is held";
		taken = CRL_OLDER;
	}
	if (taken == CRL_TAKEN) {
		put(set, held, crl, signer);
		*ret_why = "";
		return CRL_TAKEN;
	}
	X509_CRL_free(crl);
	X509_free(signer);
	return taken;
}

enum crl_taken crl_set_add(struct crl_set *set, const struct crl_offer *offer, const char **ret_why)
{
	return take(set, offer, false, ret_why);
}

enum crl_taken crl_set_renew(struct crl_set *set, const struct crl_offer *offer, const char **ret_why)
{
	return take(set, offer, true, ret_why);
}

static enum revocation_finding look_up(const struct list *list, const X509 *certificate, int64_t now_ms)
{
	time_t now = (time_t)(now_ms / 1000);
	X509_REVOKED *entry;

	if (list == NULL)
		return REVOCATION_NO_LIST;
	/* Any answer but 0 stands in the list: on hold, or taken back, which a complete list does not do. */
	if (X509_CRL_get0_by_serial(list->crl, &entry, X509_get0_serialNumber(certificate)) != 0)
		return REVOCATION_LISTED;
	return X509_cmp_time(X509_CRL_get0_nextUpdate(list->crl), &now) > 0 ? REVOCATION_CLEAN
									    : REVOCATION_STALE;
}

enum revocation_finding crl_set_find(
	const struct crl_set *set, const STACK_OF(X509) * path, int depth, int64_t now_ms)
{
	const X509 *certificate = sk_X509_value(path, depth);
	enum revocation_finding best = REVOCATION_NO_LIST; /* the first of them counts most */

	for (int i = depth + 1; set != NULL && i < sk_X509_num(path); i++) {
		X509 *issuer = sk_X509_value(path, i);

		if (X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(certificate)) == 0)
			best = MIN(best, look_up(list_of(set, issuer), certificate, now_ms));
	}
	return best != REVOCATION_LISTED && peer_chain_never_revoked(certificate) ? REVOCATION_NOT_NEEDED
										  : best;
}
