#pragma once
/* TLS contexts: what a listener or a delivery uses for its handshakes. Handshakes themselves are done by net/conn. */

#include "base/text.h"

struct evidence;
struct tls_context;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

/* Once per process, before any thread: OpenSSL without its configuration files. */
void tls_start(void);

/* A thread that has used TLS is about to end: give back what OpenSSL keeps for it. */
void tls_thread_end(void);

/* A context for accepting on listener `name` (resumption is bound to it); TLS 1.2 at least. Owned by `owner`. */
struct tls_context *tls_context_server(const void *owner, const char *name);

/* A context for delivery; the peer's certificate is recorded, not checked. Owned by `owner`. */
struct tls_context *tls_context_client(const void *owner);

/* For pki/identity, which gives a context its certificate, and for net/conn. */
SSL_CTX *tls_context_native(const struct tls_context *context);

/* Fill protocol, cipher, group and peer of `evidence` from a finished handshake. */
void tls_observe(SSL *ssl, struct evidence *evidence);

/* Write the reason of the last failure in this thread's OpenSSL error queue into `ret_text` and clear the queue; never empty. */
void tls_error_text(char *ret_text, size_t size);
