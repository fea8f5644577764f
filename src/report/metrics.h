#pragma once
/* Counters of a role. Any thread adds; `status` and the page /metrics read. docs/metrics.md says what each means. */

#include <stdatomic.h>
#include <stdint.h>

#include "lookup/dns.h"
#include "policy/key_use.h"
#include "policy/ocsp.h"
#include "policy/tls_demand.h"

struct frame;

enum {
	METRICS_VERSIONS = 4, /* of TLS: TLSv1 to TLSv1.3 */
	METRICS_GROUPS = 8,   /* of key exchange; the last one is `other` */
	METRICS_LEVELS = 6,   /* enum tls_level */
	METRICS_POLICIES = 4, /* enum metrics_policy */
	METRICS_SOURCES = 4,  /* of a TLS policy: local, dane, mta_sts, requiretls */
	METRICS_DANE = 6,     /* enum dane_result */
	METRICS_SIGN = 6,     /* roles that ask, times what came of it */
	METRICS_DNS = 8,      /* enum dns_result times insecure or not */
	METRICS_OCSP = 6,     /* enum ocsp_finding */
	METRICS_BUCKETS = 12, /* of a histogram that have a bound; a last one has none */
	METRICS_LISTENERS = 32,
	METRICS_NAME_MAX = 65, /* a name of the configuration has at most 64 bytes */
};

/* Some are the first of a block: one for each of what the comment names, in that order. */
enum metric {
	METRIC_ACCEPTED,
	METRIC_NOT_ACCEPTED, /* a mail whose data was answered with 451 or 452 */
	/* refusals by their reason; METRIC_REJECTED is any other */
	METRIC_REJECTED,
	METRIC_REJECTED_POLICY,	   /* the mail flow policy rejects the client */
	METRIC_REJECTED_LIMIT,	   /* a limit: connections, rate, size, quota */
	METRIC_REJECTED_TLS,	   /* TLS was required */
	METRIC_REJECTED_RELAY,	   /* relaying denied */
	METRIC_REJECTED_RECIPIENT, /* there is no such recipient */
	METRIC_REJECTED_SENDER,	   /* its domain takes no mail */
	METRIC_REJECTED_CONTENT,   /* a message that is malformed or goes in circles */
	METRIC_REJECTED_PROTOCOL,  /* too many errors, a bare LF, bytes behind STARTTLS */
	METRIC_TLS_IN,		   /* block: version times group; metrics_count_tls() finds the place */
	METRIC_TLS_IN_FAILED = METRIC_TLS_IN + METRICS_VERSIONS * METRICS_GROUPS,
	METRIC_TLS_OUT, /* block: as METRIC_TLS_IN */
	METRIC_TLS_OUT_FAILED = METRIC_TLS_OUT + METRICS_VERSIONS * METRICS_GROUPS,
	METRIC_DELIVERED, /* block: enum tls_level */
	METRIC_DEFERRED = METRIC_DELIVERED + METRICS_LEVELS,
	METRIC_BOUNCED = METRIC_DEFERRED + METRICS_LEVELS,
	METRIC_POLICY_CLEAR =
		METRIC_BOUNCED +
		METRICS_LEVELS, /* block: metrics_count_policy() finds the place; `local` is first */
	METRIC_POLICY_ENCRYPTED,
	METRIC_POLICY_REFUSED,
	METRIC_DANE = METRIC_POLICY_CLEAR + METRICS_SOURCES * METRICS_POLICIES, /* block: enum dane_result */
	METRIC_DELIVERY_TIME = METRIC_DANE + METRICS_DANE, /* histogram, for metrics_observe() */
	METRIC_SYNC_TIME = METRIC_DELIVERY_TIME + METRICS_BUCKETS + 2,
	METRIC_QUEUE_READY = METRIC_SYNC_TIME + METRICS_BUCKETS + 2, /* gauges, set when asked */
	METRIC_QUEUE_DEFERRED,
	METRIC_QUEUE_LEASED,
	METRIC_QUEUE_OLDEST, /* seconds */
	METRIC_QUEUE_CORRUPT,
	METRIC_NOTES_DROPPED,
	METRIC_DNS,					 /* block: metrics_count_dns() finds the place */
	METRIC_DNS_WAITING = METRIC_DNS + METRICS_DNS,	 /* a gauge */
	METRIC_SIGN,					 /* block: metrics_count_sign() finds the place */
	METRIC_CRL_RENEWED = METRIC_SIGN + METRICS_SIGN, /* fetches of lists of revoked certificates */
	METRIC_CRL_UNCHANGED,
	METRIC_CRL_FAILED,
	METRIC_CRL_CURRENT, /* gauges: such lists by their state */
	METRIC_CRL_STALE,
	METRIC_CRL_MISSING,
	METRIC_CRL_AGE,					 /* seconds */
	METRIC_CRL_LEFT,				 /* seconds */
	METRIC_OCSP,					 /* block: enum ocsp_finding */
	METRIC_CLEAR_HOSTS = METRIC_OCSP + METRICS_OCSP, /* a gauge: hosts on the temporary list */
	METRIC_COUNT,
};

/* What the TLS policy made of a server: sent so; or nothing was sent to it, also when it was not dialled at all. */
enum metrics_policy {
	METRICS_POLICY_CLEAR,
	METRICS_POLICY_ENCRYPTED,
	METRICS_POLICY_REFUSED,
	METRICS_POLICY_VERIFIED
};

/* How the client of a session was protected in the end. */
enum metrics_tls { METRICS_CLEAR, METRICS_STARTTLS, METRICS_IMPLICIT, METRICS_TLS_COUNT };

/* Sessions of a listener, which is known by its name over all configurations. */
struct metrics_listener {
	char name[METRICS_NAME_MAX]; /* cut to its room */
	atomic_int_fast64_t sessions[METRICS_TLS_COUNT];
};

/* All zero = nothing was counted. */
struct metrics {
	atomic_int_fast64_t values[METRIC_COUNT];
	atomic_uint listener_count; /* only grows; what it covers has its name */
	struct metrics_listener listeners[METRICS_LISTENERS];
};

/* Metrics that are shown together: one name, one type, one meaning, told apart by their labels. */
struct metrics_family {
	const char *name; /* behind `postern_` */
	const char *type; /* "counter", "gauge" or "histogram" */
	const char *help; /* one sentence without quotes */
};

/* How a metric is shown. Static; those of a family stand together. */
struct metrics_row {
	const char *
		name; /* in `status --json`: "accepted", "tls_in_by.TLSv1.3.X25519"; what follows the first dot is a name inside */
	const char *sum; /* there, too: a total it is part of, or NULL */
	const struct metrics_family *family;
	const char *labels; /* `result="ok"`, or "" */
	int64_t bound;	    /* of a bucket, in microseconds, INT64_MAX = none; 0 = no bucket */
};

/* The rows of a histogram are its buckets, each counting for itself, and then the sum in microseconds. */
const struct metrics_row *metrics_row(enum metric metric);

/* The family of struct metrics_listener, and its label `tls`. Static. */
const struct metrics_family *metrics_sessions(void);
const char *metrics_tls_name(enum metrics_tls tls);

/* Add one. */
void metrics_count(struct metrics *metrics, enum metric metric);

/* Count an answer that was given to who asked the DNS. */
void metrics_count_dns(struct metrics *metrics, enum dns_result result, enum dns_security security);

/* Count an answer of role `keys`. */
void metrics_count_sign(struct metrics *metrics, enum key_use_role role, enum key_use verdict);

/* Count what was found out about the certificate of a peer. */
void metrics_count_ocsp(struct metrics *metrics, enum ocsp_finding finding);

/* Count what the TLS policy made of a server, by who decided. */
void metrics_count_policy(struct metrics *metrics, enum tls_source decided_by, enum metrics_policy result);

/* Count what DANE came to with a server that it was looked up for; DANE_NOT_LOOKED is not counted. */
void metrics_count_dane(struct metrics *metrics, enum dane_finding finding, bool passed);

/* Set a gauge. */
void metrics_set(struct metrics *metrics, enum metric metric, int64_t value);

/* Count a duration; `histogram` is METRIC_DELIVERY_TIME or METRIC_SYNC_TIME. Less than nothing (the wall clock was set) counts as nothing. */
void metrics_observe(struct metrics *metrics, enum metric histogram, int64_t microseconds);

/* Count a handshake by its protocol name ("TLSv1.3") and its group as OpenSSL calls it ("x25519"; empty = unknown); `block` is
 * METRIC_TLS_IN or METRIC_TLS_OUT. */
void metrics_count_tls(struct metrics *metrics, enum metric block, const char *protocol, const char *group);

/* The place of listener `name` (copied), made when it is new; when there is no room left, the one they share then, `other`. One thread at a
 * time. */
struct metrics_listener *metrics_listener(struct metrics *metrics, const char *name);

/* Count a session that ended. Its listener is one that metrics_listener() was told of; else nothing happens. */
void metrics_count_session(struct metrics *metrics, const char *listener, enum metrics_tls tls);

/* Name in `status --json`. Static. */
const char *metrics_name(enum metric metric);

/* All values, and adding those of a role to a sum. */
void metrics_put(struct frame *frame, const struct metrics *metrics);
void metrics_add(struct frame *frame, struct metrics *sum);
void metrics_join(const struct metrics *metrics, struct metrics *sum);
