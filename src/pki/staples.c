/*
 * Kept in memory: each start asks anew. A handshake never waits: it shows what there is, or nothing. A staple that is out of date is never shown, nor one that
 * says anything but `good`, nor one of another certificate of the same listener.
 */
#include "pki/staples.h"

#include <pthread.h>
#include <string.h>

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/tls.h"
#include "pki/ocsp_ask.h"
#include "pki/peer_chain.h"

enum {
	ASK_MS = 15000,
	SOON_MS = 1000,	      /* after a failure */
	EVERY_MS = 60 * 1000, /* at most, however short an answer lives */
	LATEST_MS = 3600 * 1000,
	TELL_AFTER = 3, /* failures: role upkeep starts last */
	FEATURE_STATUS_REQUEST = 5
};

struct staple {
	char *name;
	STACK_OF(X509) * chain;
	X509 *issuer; /* in it */
	bool must;    /* its issuer wants it to be shown (RFC 7633) */
	/* Guarded by the lock. */
	struct text response;	   /* empty = none */
	int64_t from_ms, until_ms; /* wall clock */
	unsigned failures;	   /* since it was renewed */
	int64_t due_mono_ms;
	struct staple *next;
};

struct staples {
	pthread_mutex_t lock;
	struct staple *list;
	size_t count;
};

static int staples_destroy(struct staples *staples)
{
	for (struct staple *staple = staples->list; staple != NULL; staple = staple->next)
		peer_chain_free(staple->chain);
	pthread_mutex_destroy(&staples->lock);
	return 0;
}

struct staples *staples_new(const void *owner)
{
	struct staples *staples = text_must(talloc_zero(owner, struct staples));

	pthread_mutex_init(&staples->lock, NULL);
	talloc_set_destructor(staples, staples_destroy);
	return staples;
}

size_t staples_count(const struct staples *staples)
{
	return staples->count;
}

static struct staple *find(const struct staples *staples, const X509 *certificate)
{
	struct staple *staple = staples->list;

	while (staple != NULL && X509_cmp(sk_X509_value(staple->chain, 0), certificate) != 0)
		staple = staple->next;
	return staple;
}

static X509 *issuer_in(STACK_OF(X509) * chain)
{
	X509 *certificate = sk_X509_value(chain, 0);

	for (int i = 1; i < sk_X509_num(chain); i++)
		if (X509_check_issued(sk_X509_value(chain, i), certificate) == X509_V_OK &&
			X509_verify(certificate, X509_get0_pubkey(sk_X509_value(chain, i))) == 1)
			return sk_X509_value(chain, i);
	return NULL;
}

static bool must_be_shown(const X509 *certificate)
{
	TLS_FEATURE *features = X509_get_ext_d2i(certificate, NID_tlsfeature, NULL, NULL);
	bool must = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
		must |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == FEATURE_STATUS_REQUEST;
	TLS_FEATURE_free(features);
	return must;
}

const char *staples_flaw(struct text chain, bool on)
{
	STACK_OF(X509) *read = peer_chain_read(chain);
	const X509 *certificate = read == NULL ? NULL : sk_X509_value(read, 0);
	void *scratch = talloc_new(NULL);
	const char *urls[OCSP_URLS_MAX], *flaw = NULL;

	if (certificate == NULL || !must_be_shown(certificate))
		flaw = NULL;
	else if (!on)
		flaw = "stapling is off";
	else if (issuer_in(read) == NULL)
		flaw = "its issuer is not in its chain";
	else if (ocsp_urls(scratch, certificate, urls) == 0)
		flaw = "it names no OCSP responder";
	talloc_free(scratch);
	peer_chain_free(read);
	return flaw;
}

void staples_add(struct staples *staples, const char *name, struct text chain)
{
	STACK_OF(X509) *read = peer_chain_read(chain);
	const X509 *certificate = read == NULL ? NULL : sk_X509_value(read, 0);
	X509 *issuer = read == NULL ? NULL : issuer_in(read);
	const char *urls[OCSP_URLS_MAX];
	void *scratch = talloc_new(NULL);
	bool possible = issuer != NULL && ocsp_urls(scratch, certificate, urls) > 0;
	const char *flaw = staples_flaw(chain, true);

	if (flaw != NULL)
		log_event(LOG_ERROR, "staple_missing", log_str("certificate", name), log_str("reason", flaw));
	if (possible && find(staples, certificate) == NULL) {
		struct staple *staple = text_must(talloc_zero(staples, struct staple));

		*staple = (struct staple){ .name = text_copy(staple, text_of(name)),
			.chain = read,
			.issuer = issuer,
			.must = must_be_shown(certificate),
			.next = staples->list };
		staples->list = staple;
		staples->count++;
		read = NULL;
	}
	peer_chain_free(read);
	talloc_free(scratch);
}

/* With the lock held. */
static void keep(struct staple *staple, struct text response)
{
	talloc_free((void *)(uintptr_t)staple->response.at);
	staple->response =
		(struct text){ text_must(talloc_memdup(staple, response.at, response.len)), response.len };
}

void staples_inherit(struct staples *staples, struct staples *before)
{
	if (before == NULL)
		return;
	pthread_mutex_lock(&before->lock);
	for (struct staple *staple = staples->list; staple != NULL; staple = staple->next) {
		const struct staple *old = find(before, sk_X509_value(staple->chain, 0));

		if (old == NULL || old->response.len == 0)
			continue;
		keep(staple, old->response);
		staple->from_ms = old->from_ms;
		staple->until_ms = old->until_ms;
		staple->failures = old->failures;
		staple->due_mono_ms = old->due_mono_ms;
	}
	pthread_mutex_unlock(&before->lock);
}

/* Showing */

static bool is_good_now(const struct staple *staple)
{
	const int64_t now = clock_wall_ms();

	return staple->response.len > 0 && now >= staple->from_ms && now < staple->until_ms;
}

static int show(SSL *ssl, void *context)
{
	struct staples *staples = context;
	const X509 *presented = SSL_get_certificate(ssl);
	int result = SSL_TLSEXT_ERR_NOACK;

	pthread_mutex_lock(&staples->lock);
	const struct staple *staple = presented == NULL ? NULL : find(staples, presented);
	if (staple != NULL && is_good_now(staple)) {
		unsigned char *copy = text_must(OPENSSL_memdup(staple->response.at, staple->response.len));

		SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->response.len);
		result = SSL_TLSEXT_ERR_OK;
	}
	pthread_mutex_unlock(&staples->lock);
	return result;
}

void staples_use(struct staples *staples, struct tls_context *context)
{
	if (staples->count == 0)
		return;
	SSL_CTX_set_tlsext_status_cb(tls_context_native(context), show);
	SSL_CTX_set_tlsext_status_arg(tls_context_native(context), staples);
}

/* Renewing */

/* Halfway from its beginning to its end, or half of what is left of it. */
static int64_t wait_ms(const struct ocsp_answer *answer)
{
	const int64_t now = clock_wall_ms();
	const int64_t left = answer->this_update_ms + (answer->until_ms - answer->this_update_ms) / 2 - now;

	return MAX(left > 0 ? left : (answer->until_ms - now) / 2, (int64_t)EVERY_MS);
}

static void renewed(struct staple *staple, struct text response, const struct ocsp_answer *answer)
{
	char until[CLOCK_TEXT_MAX];

	keep(staple, response);
	staple->from_ms = MIN(answer->this_update_ms, clock_wall_ms());
	staple->until_ms = answer->until_ms;
	staple->failures = 0;
	staple->due_mono_ms = clock_mono_ms() + wait_ms(answer);
	log_event(LOG_INFO, "staple_renewed", log_str("certificate", staple->name),
		log_str("until", clock_iso(answer->until_ms, until)));
}

static void failed(struct staple *staple, const struct ocsp_answer *answer)
{
	const bool shown = is_good_now(staple);

	staple->failures++;
	staple->due_mono_ms =
		clock_mono_ms() + MIN((int64_t)SOON_MS << MIN(staple->failures - 1, 20u), (int64_t)LATEST_MS);
	if (staple->failures < TELL_AFTER && answer->finding == OCSP_NO_ANSWER)
		return;
	if (staple->must && !shown)
		log_event(LOG_ERROR, "staple_missing", log_str("certificate", staple->name),
			log_str("reason", answer->reason));
	else
		log_event(LOG_WARN, "staple_failed", log_str("certificate", staple->name),
			log_str("status", ocsp_word(answer->finding)), log_str("reason", answer->reason));
}

static void renew(struct staples *staples, struct staple *staple, struct peer *upkeep, int stop_fd)
{
	void *scratch = talloc_new(NULL);
	struct ocsp_answer answer;
	struct text response;

	ocsp_ask_anew(upkeep, staple->chain, staple->issuer, stop_fd, clock_mono_ms() + ASK_MS, scratch,
		&response, &answer);
	pthread_mutex_lock(&staples->lock);
	if (answer.finding == OCSP_GOOD)
		renewed(staple, response, &answer);
	else
		failed(staple, &answer);
	pthread_mutex_unlock(&staples->lock);
	talloc_free(scratch);
}

int64_t staples_renew(struct staples *staples, struct peer *upkeep, int stop_fd)
{
	int64_t next = INT64_MAX;

	for (struct staple *staple = staples->list; staple != NULL; staple = staple->next) {
		if (staple->due_mono_ms <= clock_mono_ms())
			renew(staples, staple, upkeep, stop_fd);
		next = MIN(next, staple->due_mono_ms);
	}
	return MAX(next - clock_mono_ms(), (int64_t)1);
}
