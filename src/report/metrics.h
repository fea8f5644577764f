#pragma once
/* Counters of a role. Any thread adds; `status` and the page /metrics read. docs/metrics.md says what each means. */

#include <stdatomic.h>
#include <stdint.h>

struct frame;

enum metric {
	METRIC_CONNECTIONS,
	METRIC_ACCEPTED,
	METRIC_NOT_ACCEPTED, /* a mail whose data was answered with 451 or 452 */
	/* refusals by their reason; METRIC_REJECTED is any other */
	METRIC_REJECTED,
	METRIC_REJECTED_POLICY,	   /* the mail flow policy rejects the client */
	METRIC_REJECTED_LIMIT,	   /* a limit: connections, rate, size, quota */
	METRIC_REJECTED_TLS,	   /* TLS was required */
	METRIC_REJECTED_RELAY,	   /* relaying denied */
	METRIC_REJECTED_RECIPIENT, /* there is no such recipient */
	METRIC_REJECTED_CONTENT,   /* a message that is malformed or goes in circles */
	METRIC_REJECTED_PROTOCOL,  /* too many errors, a bare LF, bytes behind STARTTLS */
	METRIC_TLS_IN_1_0,	   /* the four versions stand together in their order */
	METRIC_TLS_IN_1_1,
	METRIC_TLS_IN_1_2,
	METRIC_TLS_IN_1_3,
	METRIC_TLS_IN_FAILED,
	METRIC_TLS_OUT_1_0,
	METRIC_TLS_OUT_1_1,
	METRIC_TLS_OUT_1_2,
	METRIC_TLS_OUT_1_3,
	METRIC_TLS_OUT_FAILED,
	METRIC_DELIVERED,
	METRIC_DEFERRED,
	METRIC_BOUNCED,
	METRIC_QUEUED, /* a gauge, set when asked */
	METRIC_NOTES_DROPPED,
	METRIC_COUNT,
};

struct metrics {
	atomic_int_fast64_t values[METRIC_COUNT];
};

/* Metrics that are shown together: one name, one type, one meaning, told apart by their labels. */
struct metrics_family {
	const char *name; /* behind `postern_` */
	const char *type; /* "counter" or "gauge" */
	const char *help; /* one sentence without quotes */
};

/* How a metric is shown. Static; those of a family stand together. */
struct metrics_row {
	const char *name; /* in `status --json`: "accepted", "tls_in.TLSv1.3" */
	const char *sum;  /* there, too: a total it is part of, or NULL */
	const struct metrics_family *family;
	const char *labels; /* `result="ok"`, or "" */
};

const struct metrics_row *metrics_row(enum metric metric);

/* Add one. */
void metrics_count(struct metrics *metrics, enum metric metric);

/* Count a handshake by its protocol name ("TLSv1.3"); `one_two` is METRIC_TLS_IN_1_2 or METRIC_TLS_OUT_1_2. */
void metrics_count_tls(struct metrics *metrics, enum metric one_two, const char *protocol);

/* Name in `status --json`. Static. */
const char *metrics_name(enum metric metric);

/* All values, and adding those of a role to a sum. */
void metrics_put(struct frame *frame, const struct metrics *metrics);
void metrics_add(struct frame *frame, struct metrics *sum);
void metrics_join(const struct metrics *metrics, struct metrics *sum);
