/* One table of counters for all roles: a role leaves at zero what it never does. */
#include "report/metrics.h"

#include <string.h>

#include "ipc/frame.h"

static const char *const names[] = {
	[METRIC_CONNECTIONS] = "connections",
	[METRIC_ACCEPTED] = "accepted",
	[METRIC_REJECTED] = "rejected",
	[METRIC_QUEUED] = "queued",
	[METRIC_DELIVERED] = "delivered",
	[METRIC_DEFERRED] = "deferred",
	[METRIC_BOUNCED] = "bounced",
	[METRIC_NOTES_DROPPED] = "notes_dropped",
	[METRIC_TLS_IN_1_2] = "tls_in.TLSv1.2",
	[METRIC_TLS_IN_1_3] = "tls_in.TLSv1.3",
	[METRIC_TLS_OUT_1_2] = "tls_out.TLSv1.2",
	[METRIC_TLS_OUT_1_3] = "tls_out.TLSv1.3",
};

void metrics_count(struct metrics *metrics, enum metric metric)
{
	atomic_fetch_add_explicit(&metrics->values[metric], 1, memory_order_relaxed);
}

void metrics_count_tls(struct metrics *metrics, enum metric one_two, const char *protocol)
{
	metrics_count(metrics, strcmp(protocol, "TLSv1.3") == 0 ? one_two + 1 : one_two);
}

const char *metrics_name(enum metric metric)
{
	return names[metric];
}

void metrics_put(struct frame *frame, const struct metrics *metrics)
{
	for (int i = 0; i < METRIC_COUNT; i++)
		frame_put_number(frame, atomic_load_explicit(&metrics->values[i], memory_order_relaxed));
}

void metrics_add(struct frame *frame, struct metrics *sum)
{
	for (int i = 0; i < METRIC_COUNT; i++)
		atomic_fetch_add_explicit(&sum->values[i], frame_get_number(frame), memory_order_relaxed);
}
