/*
 * Conformance 8.13: CAs and operators send chains in any order, with the root, without an intermediate, or with certificates of somebody else. What can be
 * mended is mended, and each thing is said. An issuer counts when its name fits and its key made the signature, not by the name alone.
 */
#include "pki/chain.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "pki/pem.h"

struct pool {
	const void *owner;
	STACK_OF(X509) * all;
	bool *used; /* of each: it is in the chain, the same as one that is, or a root */
	time_t now;
	struct chain chain;
	bool sorted; /* as they were given */
	int last;    /* the place of the last one that was used */
};

static void note(struct pool *pool, const char *format, ...) PRINTF(2, 3);

static void note(struct pool *pool, const char *format, ...)
{
	struct chain *chain = &pool->chain;
	va_list list;

	va_start(list, format);
	chain->notes = text_must(
		talloc_realloc(pool->owner, chain->notes, const char *, (unsigned)(chain->note_count + 1)));
	chain->notes[chain->note_count++] = text_must(talloc_vasprintf(pool->owner, format, list));
	va_end(list);
}

static enum chain_time time_of(const struct pool *pool, const X509 *certificate)
{
	if (X509_cmp_time(X509_get0_notAfter(certificate), &(time_t){ pool->now }) <= 0)
		return CHAIN_EXPIRED;
	return X509_cmp_time(X509_get0_notBefore(certificate), &(time_t){ pool->now }) > 0 ? CHAIN_NOT_YET
											   : CHAIN_VALID;
}

static bool issued(X509 *issuer, X509 *subject)
{
	const bool did = X509_check_issued(issuer, subject) == X509_V_OK &&
			 X509_verify(subject, X509_get0_pubkey(issuer)) == 1;

	ERR_clear_error();
	return did;
}

/* Put number `at` at the end of the chain, and every copy of it aside. */
static void take(struct pool *pool, int at)
{
	X509 *certificate = sk_X509_value(pool->all, at);

	for (int i = 0; i < sk_X509_num(pool->all); i++)
		if (X509_cmp(sk_X509_value(pool->all, i), certificate) == 0)
			pool->used[i] = true;
	pool->sorted = pool->sorted && at > pool->last;
	pool->last = at;
	pool->chain.pem = text_must(
		talloc_strdup_append_buffer(pool->chain.pem, pem_of_certificate(pool->owner, certificate)));
}

/* The issuer of `certificate`: one that is valid now before one that is not; -1 when there is none. */
static int find_issuer(const struct pool *pool, X509 *certificate)
{
	int found = -1;

	for (int i = 0; i < sk_X509_num(pool->all); i++) {
		X509 *candidate = sk_X509_value(pool->all, i);

		if (pool->used[i] || !issued(candidate, certificate))
			continue;
		if (time_of(pool, candidate) == CHAIN_VALID)
			return i;
		found = i;
	}
	return found;
}

/* From the leaf upwards; every certificate is used once, so this ends. */
static void climb(struct pool *pool, X509 *leaf)
{
	X509 *certificate = leaf;

	while (X509_self_signed(certificate, 1) != 1) {
		const int at = find_issuer(pool, certificate);

		ERR_clear_error();
		if (at < 0) {
			note(pool,
				certificate == leaf
					? "the issuer of `%s`, `%s`, is not among the certificates: unless it is a root that everybody has, peers cannot verify this chain;"
					  " get the issuer's certificate from the CA and upload it, too (--chain FILE)"
					: "the issuer of `%s`, `%s`, is not among the certificates: that is right when it is a root that peers have",
				pem_name(pool->owner, X509_get_subject_name(certificate)),
				pem_name(pool->owner, X509_get_issuer_name(certificate)));
			return;
		}
		certificate = sk_X509_value(pool->all, at);
		if (X509_self_signed(certificate, 1) == 1) {
			pool->used[at] = true;
			note(pool, "the root `%s` was left out: peers have it, or do not trust it",
				pem_name(pool->owner, X509_get_subject_name(certificate)));
			return;
		}
		if (time_of(pool, certificate) != CHAIN_VALID)
			note(pool, "the issuer `%s` %s",
				pem_name(pool->owner, X509_get_subject_name(certificate)),
				time_of(pool, certificate) == CHAIN_EXPIRED
					? "has expired; get the current one from the CA"
					: "is not valid yet");
		take(pool, at);
	}
	ERR_clear_error();
}

static void note_rest(struct pool *pool)
{
	if (!pool->sorted)
		note(pool, "the order was mended: the certificate first, then the issuer of each");
	for (int i = 0; i < sk_X509_num(pool->all); i++)
		if (!pool->used[i])
			note(pool, "`%s` does not belong to this chain and was left out",
				pem_name(pool->owner, X509_get_subject_name(sk_X509_value(pool->all, i))));
}

/* One that is valid now beats one that is not; then the one that ends later. */
static bool is_better(const struct pool *pool, const X509 *candidate, const X509 *best)
{
	const bool valid = time_of(pool, candidate) == CHAIN_VALID,
		   best_valid = time_of(pool, best) == CHAIN_VALID;

	if (valid != best_valid)
		return valid;
	return ASN1_TIME_compare(X509_get0_notAfter(candidate), X509_get0_notAfter(best)) == 1;
}

/* The certificate of the key, the best of several; -1 when there is none. */
static int find_leaf(const struct pool *pool, EVP_PKEY *key)
{
	int found = -1;

	for (int i = 0; i < sk_X509_num(pool->all); i++) {
		X509 *candidate = sk_X509_value(pool->all, i);

		if (X509_check_private_key(candidate, key) == 1 &&
			(found < 0 || is_better(pool, candidate, sk_X509_value(pool->all, found))))
			found = i;
	}
	ERR_clear_error();
	return found;
}

static int build(struct pool *pool, EVP_PKEY *key, const char **ret_why)
{
	const int leaf = find_leaf(pool, key);

	if (leaf < 0) {
		*ret_why = "no certificate in it belongs to the private key";
		return -EKEYREJECTED;
	}
	pool->chain.pem = text_must(talloc_strdup(pool->owner, ""));
	pool->chain.time = time_of(pool, sk_X509_value(pool->all, leaf));
	take(pool, leaf);
	climb(pool, sk_X509_value(pool->all, leaf));
	note_rest(pool);
	return 0;
}

const char *chain_hint(struct text bytes)
{
	return pem_pkcs7_hint(bytes);
}

int chain_check(struct text pem, const char **ret_why)
{
	STACK_OF(X509) *certificates = NULL;
	int r = pem_certificates(pem, &certificates, ret_why);

	sk_X509_pop_free(certificates, X509_free);
	return r;
}

int chain_build(const void *owner, struct text pem, struct text key, int64_t now_ms, struct chain *ret_chain,
	const char **ret_why)
{
	struct pool pool = { .owner = owner, .now = (time_t)(now_ms / 1000), .sorted = true, .last = -1 };
	EVP_PKEY *pkey = NULL;
	int r = pem_key(key, &pkey, ret_why);

	if (r == 0)
		r = pem_certificates(pem, &pool.all, ret_why);
	if (r == 0) {
		pool.used = text_must(talloc_zero_array(owner, bool, (unsigned)sk_X509_num(pool.all)));
		r = build(&pool, pkey, ret_why);
	}
	if (r == 0)
		*ret_chain = pool.chain;
	sk_X509_pop_free(pool.all, X509_free);
	EVP_PKEY_free(pkey);
	return r;
}

int chain_key(const void *owner, struct text pem, char **ret_key, const char **ret_why)
{
	EVP_PKEY *key;
	int r = pem_key(pem, &key, ret_why);

	if (r == 0) {
		*ret_key = pem_of_key(owner, key);
		EVP_PKEY_free(key);
	}
	return r;
}
