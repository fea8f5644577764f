/*
 * A ticket is the session itself, sealed: who has the key reads every connection that was resumed or, with TLS 1.2, sealed with it. So a key seals
 * for twelve hours and is gone after twenty-four (RFC 9325 section 3.4, conformance 8.17). Each listener of each configuration has its own: a
 * ticket is worth nothing at another one, nor after a reload, because it says nothing about certificates or rules that changed.
 */
#include "net/tls_tickets.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/text.h"

struct tls_tickets {
	pthread_mutex_t lock;
	struct tls_ticket_key current, old;
	bool has_current, has_old;
};

static bool make(struct tls_ticket_key *key, int64_t now_ms)
{
	key->made = now_ms;
	return RAND_bytes(key->name, sizeof key->name) == 1 &&
	       RAND_priv_bytes(key->cipher, sizeof key->cipher) == 1 &&
	       RAND_priv_bytes(key->mac, sizeof key->mac) == 1;
}

static int tickets_destroy(struct tls_tickets *tickets)
{
	explicit_bzero(&tickets->current, sizeof tickets->current);
	explicit_bzero(&tickets->old, sizeof tickets->old);
	pthread_mutex_destroy(&tickets->lock);
	return 0;
}

struct tls_tickets *tls_tickets_new(const void *owner, int64_t now_ms)
{
	struct tls_tickets *tickets = text_must(talloc_zero(owner, struct tls_tickets));

	pthread_mutex_init(&tickets->lock, NULL);
	tickets->has_current = make(&tickets->current, now_ms);
	talloc_set_destructor(tickets, tickets_destroy);
	return tickets;
}

/* Called with the lock held: keys whose time is over go. */
static void turn(struct tls_tickets *tickets, int64_t now_ms)
{
	if (!tickets->has_current || now_ms - tickets->current.made >= TLS_TICKETS_SEAL_MS) {
		tickets->old = tickets->current;
		tickets->has_old = tickets->has_current;
		tickets->has_current = make(&tickets->current, now_ms);
	}
	if (tickets->has_old && now_ms - tickets->old.made >= TLS_TICKETS_OPEN_MS) {
		explicit_bzero(&tickets->old, sizeof tickets->old);
		tickets->has_old = false;
	}
}

static bool is_called(const struct tls_ticket_key *key, const unsigned char *name)
{
	return memcmp(key->name, name, sizeof key->name) == 0;
}

static enum tls_tickets_found look(const struct tls_tickets *tickets, const unsigned char *name)
{
	if (name == NULL)
		return tickets->has_current ? TLS_TICKETS_CURRENT : TLS_TICKETS_ERROR;
	if (tickets->has_current && is_called(&tickets->current, name))
		return TLS_TICKETS_CURRENT;
	return tickets->has_old && is_called(&tickets->old, name) ? TLS_TICKETS_OLD : TLS_TICKETS_NONE;
}

enum tls_tickets_found tls_tickets_find(struct tls_tickets *tickets, int64_t now_ms,
	const unsigned char *name, struct tls_ticket_key *ret_key)
{
	pthread_mutex_lock(&tickets->lock);
	turn(tickets, now_ms);
	enum tls_tickets_found found = look(tickets, name);
	if (found == TLS_TICKETS_CURRENT || found == TLS_TICKETS_OLD)
		*ret_key = found == TLS_TICKETS_OLD ? tickets->old : tickets->current;
	pthread_mutex_unlock(&tickets->lock);
	return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* OpenSSL seals or opens a ticket; SSL_CTX_set_tlsext_ticket_key_evp_cb(3) says what the numbers mean. */
static int on_ticket(
	SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
	static const int answers[] = { [TLS_TICKETS_NONE] = 0,
		[TLS_TICKETS_CURRENT] = 1,
		[TLS_TICKETS_OLD] = 2, /* open it, and give a new one */
		[TLS_TICKETS_ERROR] = -1 };
	struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const EVP_CIPHER *const algorithm = EVP_aes_256_cbc();
	struct tls_ticket_key key = { 0 };
	enum tls_tickets_found found = tls_tickets_find(tickets, clock_mono_ms(), seal ? NULL : name, &key);
	bool fine = true;

	if (found == TLS_TICKETS_NONE || found == TLS_TICKETS_ERROR)
		return answers[found];
	if (seal) {
		memcpy(name, key.name, sizeof key.name);
		fine = RAND_bytes(iv, EVP_CIPHER_get_iv_length(algorithm)) == 1 &&
		       EVP_EncryptInit_ex2(cipher, algorithm, key.cipher, iv, NULL) == 1;
	} else {
		fine = EVP_DecryptInit_ex2(cipher, algorithm, key.cipher, iv, NULL) == 1;
	}
	fine = fine && set_mac(mac, &key);
	explicit_bzero(&key, sizeof key);
	/* a ticket of TLS 1.3 is used once, so whoever brings one needs the next (RFC 8446 appendix C.4) */
	if (!seal && SSL_version(ssl) >= TLS1_3_VERSION)
		found = TLS_TICKETS_OLD;
	return fine ? answers[found] : -1;
}

void tls_tickets_attach(const void *owner, SSL_CTX *native)
{
	SSL_CTX_set_app_data(native, tls_tickets_new(owner, clock_mono_ms()));
	SSL_CTX_set_tlsext_ticket_key_evp_cb(native, on_ticket);
}
