#pragma once
/* The keys under which a listener hands out session tickets: random, in memory only, and replaced while it runs. Safe from any thread. */

#include <stdint.h>

struct tls_tickets;
typedef struct ssl_ctx_st SSL_CTX;

/* A key seals tickets for so long, and opens them for so long. */
enum { TLS_TICKETS_SEAL_MS = 12 * 3600 * 1000, TLS_TICKETS_OPEN_MS = 24 * 3600 * 1000 };
enum { TLS_TICKETS_NAME = 16, TLS_TICKETS_KEY = 32 };

struct tls_ticket_key {
	unsigned char name[TLS_TICKETS_NAME]; /* stands in the ticket */
	unsigned char cipher[TLS_TICKETS_KEY], mac[TLS_TICKETS_KEY];
	int64_t made; /* monotonic, ms */
};

/* For net/tls: let tickets of `native` be sealed with keys of its own, owned by `owner`, which lives as long as its connections. */
void tls_tickets_attach(const void *owner, SSL_CTX *native);

/* Keys, the first made at `now_ms`; owned by `owner`. */
struct tls_tickets *tls_tickets_new(const void *owner, int64_t now_ms);

enum tls_tickets_found { TLS_TICKETS_NONE, TLS_TICKETS_CURRENT, TLS_TICKETS_OLD, TLS_TICKETS_ERROR };

/* The key called `name`, or the one to seal with when that is NULL; ret_key is a copy, to be wiped. TLS_TICKETS_OLD: it opens what it sealed, and
 * there is a newer one to seal with. */
enum tls_tickets_found tls_tickets_find(struct tls_tickets *tickets, int64_t now_ms,
	const unsigned char *name, struct tls_ticket_key *ret_key);
