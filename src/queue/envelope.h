#pragma once
/* The structs that cross between session, queue and deliver: a mail on its way in, a mail on its way out, what became of it.
 * Each has one put and one get, in the same order of fields. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct frame;

enum {
	ENVELOPE_RET_MAX = 2,
	ENVELOPE_NOTIFY_MAX = 15,
	ENVELOPE_RECIPIENTS_MAX = 10000,
	ENVELOPE_LEGS_MAX = 16,
	ENVELOPE_INLINE_MAX = 128 * 1024, /* content up to this travels and is stored in the database row */
};

/* A mail as it was accepted. */
struct envelope {
	int64_t received_ms;
	const char *icid;   /* inbound connection */
	const char *client; /* address of the client */
	const char *helo;   /* its name, as it said it */
	const char *tls;    /* evidence of the inbound leg (JSON) */
	const char *sender; /* empty = null sender */
	bool eight_bit;	    /* BODY=8BITMIME (RFC 6152) */
	bool utf8;	    /* SMTPUTF8 (RFC 6531) */
	int ret;	    /* RET= of RFC 3461: enum smtp_ret */
	const char *envid;  /* ENVID=, still xtext; empty = none */
	const char **recipients;
	size_t recipient_count;
	unsigned *
		notify; /* NOTIFY= of each recipient, a set of enum smtp_notify, 0 = none; NULL = none at all */
	const char **orcpt; /* ORCPT= of each recipient as written, empty = none; NULL = none at all */
};

/* Message bytes: in memory, or in a file. */
struct content {
	struct text bytes;
	int fd; /* -1 = in `bytes` */
	uint64_t size;
};

/* One mail for one destination domain, lent to `deliver`. */
struct lease {
	int64_t mid;
	const char *
		destination; /* next hop, or the domain when no route names one: what the connection is shared by */
	const char *domain;	  /* of the recipients; empty for a domainless postmaster */
	const char *next_hop;	  /* the operator sends it there, whatever the routes say; empty = no */
	bool expired;		  /* the operator gave it up: it is not sent, and its sender told so */
	struct envelope envelope; /* its recipients are those of this domain that are still queued */
	int64_t *rids;		  /* the recipients' ids, in the same order */
	const char **
		replies; /* of each: the last one; NULL or empty = none. Known only when expired or untried */
	bool *warned;	 /* of each: the sender was told that it is late; NULL = none was */
	bool untried;	 /* its destination is parked: settle it without trying */
	int64_t age_ms;	 /* how long it waits already, whatever the wall clock says (policy/steady.h) */
	uint32_t attempts;	/* made before this one */
	struct content content; /* fd is owned by the lease */
};

/* Only `queue` says deleted: the operator did it, and the sender is told nothing. */
enum outcome_state { OUTCOME_DELIVERED, OUTCOME_DEFERRED, OUTCOME_BOUNCED, OUTCOME_DELETED };

struct outcome_recipient {
	int64_t rid;
	enum outcome_state state;
	const char *reply; /* of the peer, or our own words: "450 4.4.1 ..." */
	size_t leg;  /* where it was settled: 0 = over the outcome's own connection, n = over legs[n - 1] */
	bool warned; /* the report of this outcome says that it is late */
	bool peer_reports; /* the next hop took NOTIFY over; known in `deliver` only */
};

/* A connection, or the try to make one. */
struct outcome_leg {
	const char *dcid; /* outbound connection */
	const char *host; /* the server by its name, or the next hop as configured when that is an address */
	const char *address; /* the peer's address and port */
	const char *tls;     /* evidence of the leg (JSON) */
};

/* What became of a lease. */
struct outcome {
	int64_t mid;
	const char *domain;
	uint32_t attempt; /* number of this attempt, from 1: repeating an outcome changes nothing */
	int64_t time_ms;
	const char *dcid, *host, *address,
		*tls;		  /* the last connection that was used or tried, as struct outcome_leg */
	struct outcome_leg *legs; /* earlier ones that settled recipients; 16 at most */
	size_t leg_count;
	bool unreachable; /* the destination as a whole failed: nothing more goes there until a probe succeeds */
	struct outcome_recipient *recipients;
	size_t recipient_count;
	bool untried;	      /* nothing was tried, so nothing is known about the destination */
	struct envelope *dsn; /* a report to commit in the same transaction, or NULL */
	struct text dsn_content;
};

/* Over which connection recipient number `index` was settled; borrowed from the outcome. */
struct outcome_leg envelope_leg(const struct outcome *outcome, size_t index);

/* The words of outcome_state as tracking shows them: "delivered", "deferred", "bounced". Static. */
const char *envelope_state_name(enum outcome_state state);

/* The domain of `address`, borrowed; empty when it has none. */
struct text envelope_domain(const char *address);

void envelope_put(struct frame *frame, const struct envelope *envelope);
void envelope_get(struct frame *frame, const void *owner, struct envelope *ret_envelope);

/* Content in memory is packed; content in a file travels as a descriptor (duplicated). */
void envelope_put_content(struct frame *frame, const struct content *content);

/* ret_content->bytes borrows from the frame; ret_content->fd is the caller's. */
void envelope_get_content(struct frame *frame, struct content *ret_content);

void envelope_put_lease(struct frame *frame, const struct lease *lease);

/* A new lease owned by `owner` (closes its descriptor with itself); NULL when the frame is malformed. */
struct lease *envelope_get_lease(struct frame *frame, const void *owner);

void envelope_put_outcome(struct frame *frame, const struct outcome *outcome);

/* A new outcome owned by `owner`; NULL when the frame is malformed. */
struct outcome *envelope_get_outcome(struct frame *frame, const void *owner);
