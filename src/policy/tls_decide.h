#pragma once
/*
 * How a mail must be protected on its way to one host. tls_decide() joins what the sources demand (policy/tls_demand.h): demands are joined,
 * never ranked. tls_decide_step() says what to do as the connection goes (table B59). Pure.
 */

#include <stdbool.h>
#include <stddef.h>

#include "policy/tls_demand.h"

enum { TLS_DEMANDS_MAX = 9 };

struct tls_decision {
	enum tls_want tls; /* never, may or must */
	unsigned checks; /* set of enum tls_check: nothing is sent before all of them hold; only with must */
	unsigned recorded;  /* looked at as well, for the record; none of checks */
	unsigned proofs;    /* of both, those with which a delivery may be called verified */
	enum tls_mx mx;	    /* for the record: what it means for this host is in hold */
	enum tls_hold hold; /* not TLS_GO: the host is not dialled */
	bool peer_requiretls;
	bool conflict; /* the demands exclude each other, so nothing can be delivered */
	bool bounce;   /* when no host will do, the mail is given back now */
	bool may_list; /* a failed handshake may put the host on the temporary list, and the mail goes on in clear */
	enum tls_source decided_by;
	const char *level;   /* static: what it amounts to, as a level of a destination: `required-verify` */
	const char *reason;  /* static; shown with every delivery */
	const char *against; /* of a conflict: what forbids TLS; else NULL */
	size_t count;
	struct tls_demand
		demands[TLS_DEMANDS_MAX]; /* those that are not silent, in the order of enum tls_source */
};

/* What is demanded of the leg. */
struct tls_decision tls_decide(const struct tls_facts *facts);

/* The same of demands in any order, at most TLS_DEMANDS_MAX, whoever makes them. may_list is left false. */
struct tls_decision tls_decide_join(const struct tls_demand *demands, size_t count);

/* What happened on the connection. */
enum tls_outcome {
	TLS_OUTCOME_NO_ESMTP,	      /* EHLO refused */
	TLS_OUTCOME_NOT_OFFERED,      /* STARTTLS not in the EHLO reply */
	TLS_OUTCOME_REFUSED,	      /* STARTTLS answered other than 220 */
	TLS_OUTCOME_HANDSHAKE_FAILED, /* 220, then no TLS */
	TLS_OUTCOME_UP,
	TLS_OUTCOME_COUNT
};

enum tls_step {
	TLS_STEP_CLEAR, /* go on in clear on the same connection */
	TLS_STEP_SEND,	/* go on in TLS */
	TLS_STEP_DROP,	/* send nothing: drop the connection, next host or defer */
};

/* What to do, and why (static). `passed`: the set of enum tls_check that were made and held; empty unless TLS is up. */
enum tls_step tls_decide_step(const struct tls_decision *decision, enum tls_outcome outcome, unsigned passed,
	const char **ret_reason);

/* What a mail that is sent in TLS may be called: `verified`; `trusted` when only DANE held and the MX records are insecure (conformance 3.08);
 * else `encrypted`. Static. */
const char *tls_decide_obtained(const struct tls_decision *decision, unsigned passed);

/* What TLSRPT calls it (RFC 8460 section 4.3) when TLS could not be had; NULL when it could, or only the certificate says why not. Static. */
const char *tls_decide_word(enum tls_outcome outcome);
