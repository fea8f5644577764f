#pragma once
/* TLS contexts: what a listener or a delivery uses for its handshakes. Handshakes themselves are done by net/conn. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct bundle;
struct config;
struct config_tls_profile;
struct evidence;
struct problems;
struct tls_context;
struct tls_sessions;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

/* Once per process, before any thread: OpenSSL without its configuration files. Without random numbers the process ends here, and says so. */
void tls_start(void);

/* Before tls_start(), in processes that see private keys: OpenSSL wipes all memory that it gives back. */
void tls_wipe_memory(void);

/* A thread that has used TLS is about to end: give back what OpenSSL keeps for it. */
void tls_thread_end(void);

/* A context for accepting on listener `name` (resumption is bound to it); as the profile TLS-Server.Standard. Owned by `owner`. */
struct tls_context *tls_context_server(const void *owner, const char *name);

/* A context for delivery; the peer's certificate is recorded, and shown by conn_tls_chain() to who verifies it. pki/dane may borrow it. Owned by
 * `owner`. */
struct tls_context *tls_context_client(const void *owner);

/* Whom a client wants to talk to. */
struct tls_peer {
	const char
		*name; /* to ask for (SNI); a final dot is left out, and an address altogether; NULL = none */
	bool verify; /* its certificate has to hold (pki/verify, pki/dane): TLS 1.2 at least, and no session is kept before conn_tls_approve() */
	bool look; /* it is looked at, without having to hold: no session is kept before conn_tls_approve() either */
	struct tls_sessions *sessions; /* NULL = no resumption */
	const char *key;	       /* under which sessions are kept: all that the handshake depends on */
};

/* Prepare a handshake as client; what `ssl` must remember is owned by `owner`, which outlives it. 0 or ERR_TLS. */
int tls_expect(SSL *ssl, const void *owner, const struct tls_peer *peer);

/* Let the handshakes of `context` follow `profile`; before the context gets its certificate. 0, or ERR_TLS when this OpenSSL does not
 * know what the profile names; tls_check() has said so before. */
int tls_use_profile(struct tls_context *context, const struct config_tls_profile *profile);

/* True when a listener of this profile may end up without forward secrecy: then clients encrypt a secret to its RSA key. */
bool tls_takes_rsa_exchange(const struct config_tls_profile *profile);

/* For `postern check`: OpenSSL knows the ciphers and groups of every TLS profile, something is left of them, and the certificates of
 * the listeners (in `bundle`) fit their profiles. Problems are added. */
void tls_check(const struct config *config, const struct bundle *bundle, struct problems *problems);

/* For pki/identity, which gives a context its certificate, and for net/conn. */
SSL_CTX *tls_context_native(const struct tls_context *context);

/* Fill protocol, cipher, group and peer of `evidence` from a finished handshake. */
void tls_observe(SSL *ssl, struct evidence *evidence);

/* How the peer signed the handshake: `ECDSA SHA256`; empty when it did not. */
void tls_signature(SSL *ssl, char *ret_text, size_t size);

/* Write the reason why a handshake failed, from this thread's OpenSSL error queue, into `ret_text` and clear the queue; never empty. */
void tls_error_text(char *ret_text, size_t size);
