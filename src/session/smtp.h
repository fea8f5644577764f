#pragma once
/* Stage 2 of a mail's life: the SMTP conversation with a client, straight line (RFC 5321, RFC 3207). */

#include <stdatomic.h>

#include "net/conn.h"

struct config;
struct config_listener;
struct metrics;
struct notes;
struct peer;
struct call_ahead;
struct recipients;
struct tls_context;

/* Until when the store is known to have room (monotonic): `queue` is asked at most once a second. */
struct smtp_room {
	atomic_int_fast64_t known_until;
};

/* What a session needs of the house; borrowed until smtp_session_run() returns. */
struct smtp_house {
	const struct config *config;
	const struct config_listener *listener;
	struct tls_context *tls; /* NULL = the listener has no usable certificate */
	struct peer *queue;
	struct peer *resolver;		     /* NULL = the DNS is not asked */
	const struct recipients *recipients; /* NULL = there is no list */
	struct call_ahead *call_ahead; /* used when the configuration says so; may be NULL when it does not */
	struct smtp_room *room;	       /* shared by all sessions; NULL = never asked */
	/* Counts a TLS handshake of `client`; false when it has had too many. NULL = never too many. */
	bool (*may_handshake)(void *context, const struct ip *client);
	void *context; /* of may_handshake() */
	struct metrics *metrics;
	struct notes *notes;
	int drain_fd; /* readable: end at the next command boundary with 421 */
	int stop_fd;  /* readable: end now */
};

/* Talk to the client until it or we hang up. `icid` names the connection in logs and tracking. The connection stays the caller's. */
void smtp_session_run(struct conn *conn, const struct smtp_house *house, const char *icid);
