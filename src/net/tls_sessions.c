/*
 * A resumed session brings the certificates of the handshake that it came from, which are verified again each time. Still it is kept under everything
 * that this handshake depended on (the key of struct tls_peer), is dropped with the configuration that it was made under, and is not kept before
 * a certificate that is to be verified was (conformance 2.16): with TLS 1.2 it comes within the handshake, so it waits. A TLS 1.3 ticket is used once (RFC 8446 appendix C.4), and of each connection
 * one is kept.
 */
#include "net/tls_sessions.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <openssl/ssl.h>
#include <talloc.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/tls.h"

enum { KEPT_MAX = 500, AGE_MAX_S = 2 * 3600 };

struct kept {
	UT_hash_handle hh; /* in the order of their coming: the first is the oldest */
	char *key;
	SSL_SESSION *session;
};

struct tls_sessions {
	atomic_uint holders;
	pthread_mutex_t lock;
	struct kept *all;
};

/* What an SSL must remember until its ticket comes; hangs on it as its application data. */
struct offer {
	struct tls_sessions *sessions;
	char *key;
	bool done;	      /* one is kept, or waits */
	bool approved;	      /* or need not be */
	SSL_SESSION *waiting; /* for the approval */
};

static void forget(struct tls_sessions *sessions, struct kept *kept)
{
	HASH_DEL(sessions->all, kept);
	SSL_SESSION_free(kept->session);
	talloc_free(kept);
}

struct tls_sessions *tls_sessions_new(void)
{
	struct tls_sessions *sessions = text_must(talloc_zero(NULL, struct tls_sessions));

	pthread_mutex_init(&sessions->lock, NULL);
	atomic_init(&sessions->holders, 1);
	return sessions;
}

void tls_sessions_release(struct tls_sessions *sessions)
{
	if (atomic_fetch_sub(&sessions->holders, 1) > 1)
		return;
	while (sessions->all != NULL)
		forget(sessions, sessions->all);
	pthread_mutex_destroy(&sessions->lock);
	talloc_free(sessions);
}

static int offer_destroy(struct offer *offer)
{
	SSL_SESSION_free(offer->waiting);
	tls_sessions_release(offer->sessions);
	return 0;
}

static struct kept *find(struct tls_sessions *sessions, const char *key)
{
	struct kept *kept;

	HASH_FIND_STR(sessions->all, key, kept);
	return kept;
}

/* Takes the reference of `session`. */
static void put(struct offer *offer, SSL_SESSION *session)
{
	struct tls_sessions *sessions = offer->sessions;
	struct kept *kept;

	pthread_mutex_lock(&sessions->lock);
	kept = find(sessions, offer->key);
	if (kept != NULL)
		forget(sessions, kept);
	else if (HASH_COUNT(sessions->all) >= KEPT_MAX)
		forget(sessions, sessions->all);
	kept = text_must(talloc_zero(NULL, struct kept));
	kept->key = text_copy(kept, text_of(offer->key));
	kept->session = session;
	HASH_ADD_KEYPTR(hh, sessions->all, kept->key, strlen(kept->key), kept);
	pthread_mutex_unlock(&sessions->lock);
}

/* OpenSSL has a session to keep; 1 = its reference was taken. */
static int keep(SSL *ssl, SSL_SESSION *session)
{
	struct offer *offer = SSL_get_app_data(ssl);

	if (offer == NULL || offer->done || SSL_SESSION_is_resumable(session) != 1)
		return 0;
	offer->done = true;
	if (offer->approved)
		put(offer, session);
	else
		offer->waiting = session;
	return 1;
}

void tls_sessions_approve(SSL *ssl)
{
	struct offer *offer = SSL_get_app_data(ssl);

	if (offer == NULL)
		return;
	offer->approved = true;
	if (offer->waiting != NULL)
		put(offer, offer->waiting);
	offer->waiting = NULL;
}

void tls_sessions_attach(SSL_CTX *native)
{
	SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(native, keep);
}

static bool is_old(const SSL_SESSION *session)
{
	int64_t age_s = clock_wall_ms() / 1000 - (int64_t)SSL_SESSION_get_time(session);

	return age_s < 0 || age_s > AGE_MAX_S || age_s > (int64_t)SSL_SESSION_get_timeout(session);
}

static void use_kept(SSL *ssl, struct tls_sessions *sessions, const char *key)
{
	struct kept *kept = find(sessions, key);

	if (kept == NULL)
		return;
	bool old = is_old(kept->session);
	if (!old)
		SSL_set_session(ssl, kept->session);
	if (old || SSL_SESSION_get_protocol_version(kept->session) >= TLS1_3_VERSION)
		forget(sessions, kept);
}

void tls_sessions_offer(SSL *ssl, const void *owner, const struct tls_peer *peer)
{
	struct offer *offer = text_must(talloc_zero(owner, struct offer));

	*offer = (struct offer){ .sessions = peer->sessions,
		.key = text_copy(offer, text_of(peer->key)),
		.approved = !peer->verify && !peer->look };
	atomic_fetch_add(&offer->sessions->holders, 1);
	talloc_set_destructor(offer, offer_destroy);
	SSL_set_app_data(ssl, offer);
	pthread_mutex_lock(&peer->sessions->lock);
	use_kept(ssl, peer->sessions, peer->key);
	pthread_mutex_unlock(&peer->sessions->lock);
}
