#pragma once
/* TLS contexts: what a listener or a delivery uses for its handshakes. Handshakes themselves are done by net/conn. */

#include <stdbool.h>
#include <stddef.h>

#include "base/ip.h"
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

/* Once per process, before any thread: OpenSSL without its configuration files. */
void tls_start(void);

/* A thread that has used TLS is about to end: give back what OpenSSL keeps for it. */
void tls_thread_end(void);

/* A context for accepting on listener `name` (resumption is bound to it); as the profile TLS-Server.Standard. Owned by `owner`. */
struct tls_context *tls_context_server(const void *owner, const char *name);

/* A context for delivery; the peer's certificate is recorded, and checked where a struct tls_peer says so. Owned by `owner`. */
struct tls_context *tls_context_client(const void *owner);

/* Let `context` trust the certificate authorities in `pem`; how many certificates it held. */
size_t tls_trust(struct tls_context *context, struct text pem);

/* Whom a client wants to talk to. */
struct tls_peer {
	const char *name; /* to ask for (SNI), without a final dot; NULL = none, as for an address */
	bool verify; /* the handshake fails unless the certificate comes from a trusted authority and is for `name`, or for `address` */
	struct ip address;	       /* when there is no name */
	struct tls_sessions *sessions; /* NULL = no resumption */
	const char *key;	       /* under which sessions are kept: all that the handshake depends on */
};

/* Prepare a handshake as client; what `ssl` must remember is owned by `owner`, which outlives it. 0 or ERR_TLS. */
int tls_expect(SSL *ssl, const void *owner, const struct tls_peer *peer);

/* Let the handshakes of `context` follow `profile`; before the context gets its certificate. 0, or ERR_TLS when this OpenSSL does not
 * know what the profile names; tls_check() has said so before. */
int tls_use_profile(struct tls_context *context, const struct config_tls_profile *profile);

/* For `postern check`: OpenSSL knows the ciphers and groups of every TLS profile, something is left of them, and the certificates of
 * the listeners (in `bundle`) fit their profiles. Problems are added. */
void tls_check(const struct config *config, const struct bundle *bundle, struct problems *problems);

/* For pki/identity, which gives a context its certificate, and for net/conn. */
SSL_CTX *tls_context_native(const struct tls_context *context);

/* Fill protocol, cipher, group and peer of `evidence` from a finished handshake. */
void tls_observe(SSL *ssl, struct evidence *evidence);

/* Write the reason why the handshake of `ssl` failed, from this thread's OpenSSL error queue, into `ret_text` and clear the queue; never
 * empty. */
void tls_error_text(SSL *ssl, char *ret_text, size_t size);
