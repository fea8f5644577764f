/* One table of counters for all roles: a role leaves at zero what it never does. A new counter is a row here and one in docs/metrics.md. */
#include "report/metrics.h"

#include <string.h>

#include "base/base.h"
#include "ipc/frame.h"

static const struct metrics_family
	connections = { "connections_total", "counter", "SMTP sessions that clients began." },
	accepted = { "mails_accepted_total", "counter",
		"Mails that became durable and were answered with 250." },
	not_accepted = { "mails_not_accepted_total", "counter",
		"Mails whose data was answered with 451 or 452." },
	rejected = { "rejected_total", "counter", "Connections, recipients and mails that were refused." },
	handshakes = { "tls_handshake_total", "counter",
		"TLS handshakes with clients (in) and next hops (out)." },
	deliveries = { "delivery_total", "counter", "Attempts of delivery, one for each recipient." },
	queue = { "queue_messages", "gauge", "Mails with a recipient that is not finished." },
	notes = { "notes_dropped_total", "counter",
		"Refusals that tracking does not show because there were too many." };

static const struct metrics_row rows[] = {
	[METRIC_CONNECTIONS] = { "connections", NULL, &connections, "" },
	[METRIC_ACCEPTED] = { "accepted", NULL, &accepted, "" },
	[METRIC_NOT_ACCEPTED] = { "not_accepted", NULL, &not_accepted, "" },
	[METRIC_REJECTED] = { "rejected_by.other", "rejected", &rejected, "reason=\"other\"" },
	[METRIC_REJECTED_POLICY] = { "rejected_by.policy", "rejected", &rejected, "reason=\"policy\"" },
	[METRIC_REJECTED_LIMIT] = { "rejected_by.limit", "rejected", &rejected, "reason=\"limit\"" },
	[METRIC_REJECTED_TLS] = { "rejected_by.tls", "rejected", &rejected, "reason=\"tls\"" },
	[METRIC_REJECTED_RELAY] = { "rejected_by.relay", "rejected", &rejected, "reason=\"relay\"" },
	[METRIC_REJECTED_RECIPIENT] = { "rejected_by.recipient", "rejected", &rejected,
		"reason=\"recipient\"" },
	[METRIC_REJECTED_CONTENT] = { "rejected_by.content", "rejected", &rejected, "reason=\"content\"" },
	[METRIC_REJECTED_PROTOCOL] = { "rejected_by.protocol", "rejected", &rejected, "reason=\"protocol\"" },
#define TLS(metric, name, labels) [metric] = { name, NULL, &handshakes, labels }
	TLS(METRIC_TLS_IN_1_0, "tls_in.TLSv1", "dir=\"in\",version=\"TLSv1\",result=\"ok\""),
	TLS(METRIC_TLS_IN_1_1, "tls_in.TLSv1.1", "dir=\"in\",version=\"TLSv1.1\",result=\"ok\""),
	TLS(METRIC_TLS_IN_1_2, "tls_in.TLSv1.2", "dir=\"in\",version=\"TLSv1.2\",result=\"ok\""),
	TLS(METRIC_TLS_IN_1_3, "tls_in.TLSv1.3", "dir=\"in\",version=\"TLSv1.3\",result=\"ok\""),
	TLS(METRIC_TLS_IN_FAILED, "tls_in.failed", "dir=\"in\",version=\"\",result=\"failed\""),
	TLS(METRIC_TLS_OUT_1_0, "tls_out.TLSv1", "dir=\"out\",version=\"TLSv1\",result=\"ok\""),
	TLS(METRIC_TLS_OUT_1_1, "tls_out.TLSv1.1", "dir=\"out\",version=\"TLSv1.1\",result=\"ok\""),
	TLS(METRIC_TLS_OUT_1_2, "tls_out.TLSv1.2", "dir=\"out\",version=\"TLSv1.2\",result=\"ok\""),
	TLS(METRIC_TLS_OUT_1_3, "tls_out.TLSv1.3", "dir=\"out\",version=\"TLSv1.3\",result=\"ok\""),
	TLS(METRIC_TLS_OUT_FAILED, "tls_out.failed", "dir=\"out\",version=\"\",result=\"failed\""),
#undef TLS
	[METRIC_DELIVERED] = { "delivered", NULL, &deliveries, "result=\"delivered\"" },
	[METRIC_DEFERRED] = { "deferred", NULL, &deliveries, "result=\"deferred\"" },
	[METRIC_BOUNCED] = { "bounced", NULL, &deliveries, "result=\"bounced\"" },
	[METRIC_QUEUED] = { "queued", NULL, &queue, "state=\"queued\"" },
	[METRIC_NOTES_DROPPED] = { "notes_dropped", NULL, &notes, "" },
};

_Static_assert(COUNT(rows) == METRIC_COUNT, "every metric has a row");

const struct metrics_row *metrics_row(enum metric metric)
{
	return &rows[metric];
}

const char *metrics_name(enum metric metric)
{
	return rows[metric].name;
}

void metrics_count(struct metrics *metrics, enum metric metric)
{
	atomic_fetch_add_explicit(&metrics->values[metric], 1, memory_order_relaxed);
}

void metrics_count_tls(struct metrics *metrics, enum metric one_two, const char *protocol)
{
	static const struct {
		const char *protocol;
		int offset;
	} versions[] = { { "TLSv1", -2 }, { "TLSv1.1", -1 }, { "TLSv1.2", 0 }, { "TLSv1.3", 1 } };

	for (size_t i = 0; i < COUNT(versions); i++)
		if (strcmp(versions[i].protocol, protocol) == 0)
			metrics_count(metrics, (enum metric)((int)one_two + versions[i].offset));
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

void metrics_join(const struct metrics *metrics, struct metrics *sum)
{
	for (int i = 0; i < METRIC_COUNT; i++)
		atomic_fetch_add_explicit(&sum->values[i],
			atomic_load_explicit(&metrics->values[i], memory_order_relaxed),
			memory_order_relaxed);
}
