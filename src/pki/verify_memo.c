#include "pki/verify_memo.h"

#include <pthread.h>
#include <string.h>

#include <openssl/x509.h>
#include <talloc.h>
#include <uthash.h>

#include "base/base.h"

struct kept {
	UT_hash_handle hh; /* in the order of their coming: the first is the oldest */
	struct digest key;
	int64_t until_ms;
	struct verify_verdict verdict;
};

struct verify_memo {
	pthread_mutex_t lock;
	struct kept *all;
};

static void forget(struct verify_memo *memo, struct kept *kept)
{
	HASH_DEL(memo->all, kept);
	talloc_free(kept);
}

static int memo_destroy(struct verify_memo *memo)
{
	while (memo->all != NULL)
		forget(memo, memo->all);
	pthread_mutex_destroy(&memo->lock);
	return 0;
}

struct verify_memo *verify_memo_new(const void *owner)
{
	struct verify_memo *memo = text_must(talloc_zero(owner, struct verify_memo));

	pthread_mutex_init(&memo->lock, NULL);
	talloc_set_destructor(memo, memo_destroy);
	return memo;
}

struct digest verify_memo_chain(const struct verify_facts *facts)
{
	const int count = MAX(sk_X509_num(facts->chain), 0);
	const struct {
		const void *trust, *crls;
		int purpose, revocation, ocsp, cn_fallback, fqdn, weak; /* without a gap */
	} how = { facts->trust, facts->crls, (int)facts->purpose, (int)facts->revocation, (int)facts->ocsp,
		facts->cn_fallback, facts->fqdn, facts->weak };
	size_t size = sizeof how + (size_t)count * DIGEST_SIZE;
	unsigned char *all = text_must(talloc_zero_size(NULL, size));

	memcpy(all, &how, sizeof how);
	for (int i = 0; i < count; i++)
		X509_digest(sk_X509_value(facts->chain, i), EVP_sha256(),
			all + sizeof how + (size_t)i * DIGEST_SIZE, NULL);
	struct digest digest = digest_of((struct text){ (const char *)all, size });
	talloc_free(all);
	return digest;
}

/* With its length, so that no two lists of names look the same. */
static char *put_name(char *text, const char *name)
{
	return text_must(name == NULL ? talloc_strdup_append(text, "-")
				      : talloc_asprintf_append(text, "%zu:%s", strlen(name), name));
}

struct digest verify_memo_key(
	const struct digest *chain, enum tls_check check, const struct verify_server *server)
{
	char hex[DIGEST_HEX_MAX], address[IP_TEXT_MAX];
	char *text = text_must(talloc_asprintf(NULL, "%s %d ", digest_hex(chain, hex), check));

	if (server->domain == NULL || server->host == NULL) /* else the address does not count */
		text = put_name(text, ip_format(&server->address, address));
	text = put_name(text, server->domain);
	text = put_name(text, server->host);
	text = put_name(text, server->route);
	struct digest key = digest_of(text_of(text));
	talloc_free(text);
	return key;
}

static struct kept *find(struct verify_memo *memo, const struct digest *key)
{
	struct kept *kept;

	HASH_FIND(hh, memo->all, key, sizeof *key, kept);
	return kept;
}

bool verify_memo_find(struct verify_memo *memo, const struct digest *key, int64_t now_ms,
	struct verify_verdict *ret_verdict)
{
	pthread_mutex_lock(&memo->lock);
	struct kept *kept = find(memo, key);
	bool fresh = kept != NULL && now_ms < kept->until_ms;

	if (fresh)
		*ret_verdict = kept->verdict;
	pthread_mutex_unlock(&memo->lock);
	return fresh;
}

/* A certificate that ends while the verdict would be kept. */
static bool is_ending(const struct verify_facts *facts)
{
	time_t now = (time_t)(facts->now_ms / 1000), end = now + VERIFY_MEMO_MS / 1000;

	for (int i = 0; i < sk_X509_num(facts->chain); i++) {
		const ASN1_TIME *not_after = X509_get0_notAfter(sk_X509_value(facts->chain, i));

		if (X509_cmp_time(not_after, &now) > 0 && X509_cmp_time(not_after, &end) <= 0)
			return true;
	}
	return false;
}

void verify_memo_keep(struct verify_memo *memo, const struct digest *key, int64_t now_ms,
	const struct verify_facts *facts, const struct verify_verdict *verdict)
{
	if (is_ending(facts))
		return;
	pthread_mutex_lock(&memo->lock);
	struct kept *kept = find(memo, key);
	if (kept != NULL)
		forget(memo, kept);
	else if (HASH_COUNT(memo->all) >= VERIFY_MEMO_MAX)
		forget(memo, memo->all);
	kept = text_must(talloc_zero(NULL, struct kept));
	kept->key = *key;
	kept->until_ms = now_ms + VERIFY_MEMO_MS;
	kept->verdict = *verdict;
	HASH_ADD(hh, memo->all, key, sizeof kept->key, kept);
	pthread_mutex_unlock(&memo->lock);
}
