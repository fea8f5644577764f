#pragma once
/* Counters of a role. Any thread adds; `status` (and later /metrics) reads. */

#include <stdatomic.h>
#include <stdint.h>

struct frame;

enum metric {
	METRIC_CONNECTIONS,
	METRIC_ACCEPTED,
	METRIC_REJECTED,
	METRIC_QUEUED, /* a gauge, set when asked */
	METRIC_DELIVERED,
	METRIC_DEFERRED,
	METRIC_BOUNCED,
	METRIC_NOTES_DROPPED,
	METRIC_TLS_IN_1_2,
	METRIC_TLS_IN_1_3,
	METRIC_TLS_OUT_1_2,
	METRIC_TLS_OUT_1_3,
	METRIC_COUNT,
};

struct metrics {
	atomic_int_fast64_t values[METRIC_COUNT];
};

/* Add one. */
void metrics_count(struct metrics *metrics, enum metric metric);

/* Count a handshake by its protocol name ("TLSv1.3"); `one_two` is METRIC_TLS_IN_1_2 or METRIC_TLS_OUT_1_2. */
void metrics_count_tls(struct metrics *metrics, enum metric one_two, const char *protocol);

/* Name in `status --json`: "accepted", "tls_in.TLSv1.3". Static. */
const char *metrics_name(enum metric metric);

/* All values, and adding those of a role to a sum. */
void metrics_put(struct frame *frame, const struct metrics *metrics);
void metrics_add(struct frame *frame, struct metrics *sum);
