#pragma once
/* TLS sessions of earlier connections, for the next one to the same peer (resumption). Safe from any thread. */

struct tls_peer;
struct tls_sessions;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

/* No sessions yet, with one reference; connections that use them hold another. */
struct tls_sessions *tls_sessions_new(void);

/* Give a reference back; the last one frees. */
void tls_sessions_release(struct tls_sessions *sessions);

/* For net/tls: let sessions of `native` be kept where tls_sessions_offer() is called. */
void tls_sessions_attach(SSL_CTX *native);

/* For net/conn: the peer was verified, so that the sessions which it gives may be kept. */
void tls_sessions_approve(SSL *ssl);

/* For net/tls: offer the session that is kept under the key of `peer`, and keep the one that the peer gives; `owner` outlives `ssl`. */
void tls_sessions_offer(SSL *ssl, const void *owner, const struct tls_peer *peer);
