/*
 * One table of counters for all roles: a role leaves at zero what it never does. A new counter is a row here and one in docs/metrics.md;
 * what has several dimensions is a block of rows that macros multiply out, so that all of it is there from the start, as zero. Listeners are
 * the exception: their names come from the configuration, so they are a short list beside the table.
 */
#include "report/metrics.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "ipc/frame.h"

static const struct metrics_family
	sessions = { "connections_total", "counter", "SMTP sessions of clients that have ended." },
	accepted = { "mails_accepted_total", "counter",
		"Mails that became durable and were answered with 250." },
	not_accepted = { "mails_not_accepted_total", "counter",
		"Mails whose data was answered with 451 or 452." },
	rejected = { "rejected_total", "counter", "Connections, recipients and mails that were refused." },
	handshakes = { "tls_handshake_total", "counter",
		"TLS handshakes with clients (in) and next hops (out)." },
	deliveries = { "delivery_total", "counter", "Attempts of delivery, one for each recipient." },
	policies = { "policy_total", "counter",
		"What the TLS policy made of next hops, by what it rested on." },
	danes = { "dane_result_total", "counter",
		"Next hops that TLSA records were looked up for, by what came of it." },
	durations = { "delivery_duration_seconds", "histogram",
		"Time from the acceptance of a mail to its delivery, for each delivered recipient." },
	syncs = { "spool_fsync_seconds", "histogram",
		"Duration of the commits that make groups of mails and outcomes durable." },
	queue = { "queue_messages", "gauge",
		"Mails with a recipient that is not finished, one for each recipient domain." },
	oldest = { "queue_oldest_seconds", "gauge",
		"Age of the oldest mail with a recipient that is not finished; 0 when there is none." },
	corrupt = { "queue_corrupt_mails", "gauge",
		"Mails with a recipient that is not served because something is damaged." },
	questions = { "dns_questions_total", "counter",
		"Questions to the DNS, by what came of them and what DNSSEC says of the answer." },
	waiting = { "dns_waiting", "gauge",
		"Asks of roles and commands that wait for an answer of the DNS." },
	signatures = { "signatures_total", "counter",
		"Asks for a signature with a private key, by who asked and what came of it." },
	crl_fetches = { "crl_fetches_total", "counter",
		"Fetches of lists of revoked certificates, by what came of them." },
	crl_lists = { "crl_lists", "gauge", "Lists of revoked certificates of enabled sources, by state." },
	crl_age = { "crl_age_seconds", "gauge",
		"Time since the oldest list of revoked certificates was issued; 0 when there is none." },
	crl_left = { "crl_next_update_seconds", "gauge",
		"Time until the first list of revoked certificates is past its time; less than 0 when one is; 0 when there is none." },
	statuses = { "ocsp_answers_total", "counter",
		"Certificates of peers by what OCSP says about them, one for each that was looked up." },
	clear_hosts = { "temporary_list_hosts", "gauge",
		"Servers to which mail goes without TLS because a handshake with them failed." },
	notes = { "notes_dropped_total", "counter",
		"Refusals that tracking does not show because there were too many." };

/* A handshake that succeeded, in version `v` with group `g`; then a version with all groups, and a direction with all versions. */
#define TLS_ROW(block, v, g, dir, version, group)                                                            \
	[block + v * METRICS_GROUPS + g] = { "tls_" dir "_by." version "." group, "tls_" dir "." version,    \
		&handshakes, "dir=\"" dir "\",version=\"" version "\",group=\"" group "\",result=\"ok\"" }
#define TLS_VERSION(block, v, dir, version)                                                                  \
	TLS_ROW(block, v, 0, dir, version, "X25519"), TLS_ROW(block, v, 1, dir, version, "secp256r1"),       \
		TLS_ROW(block, v, 2, dir, version, "secp384r1"),                                             \
		TLS_ROW(block, v, 3, dir, version, "secp521r1"), TLS_ROW(block, v, 4, dir, version, "X448"), \
		TLS_ROW(block, v, 5, dir, version, "ffdhe"),                                                 \
		TLS_ROW(block, v, 6, dir, version, "X25519MLKEM768"),                                        \
		TLS_ROW(block, v, 7, dir, version, "other")
#define TLS_BLOCK(block, dir)                                                                                \
	TLS_VERSION(block, 0, dir, "TLSv1"), TLS_VERSION(block, 1, dir, "TLSv1.1"),                          \
		TLS_VERSION(block, 2, dir, "TLSv1.2"), TLS_VERSION(block, 3, dir, "TLSv1.3")
#define TLS_FAILED(dir)                                                                                      \
	{                                                                                                    \
		"tls_" dir ".failed", NULL, &handshakes,                                                     \
			"dir=\"" dir "\",version=\"\",group=\"\",result=\"failed\""                          \
	}

/* What became of recipients, at one level and at all. */
#define DELIVERY(block, result, level, word)                                                                 \
	[block + level] = { result "_by." word, result, &deliveries,                                         \
		"result=\"" result "\",level=\"" word "\"" }
#define DELIVERY_BLOCK(block, result)                                                                        \
	DELIVERY(block, result, TLS_LEVEL_NONE, "none"),                                                     \
		DELIVERY(block, result, TLS_LEVEL_PREFERRED, "preferred"),                                   \
		DELIVERY(block, result, TLS_LEVEL_REQUIRED, "required"),                                     \
		DELIVERY(block, result, TLS_LEVEL_PREFERRED_VERIFY, "preferred-verify"),                     \
		DELIVERY(block, result, TLS_LEVEL_REQUIRED_VERIFY, "required-verify"),                       \
		DELIVERY(block, result, TLS_LEVEL_REQUIRED_VERIFY_HOSTED, "required-verify-hosted")

#define REJECTED(reason)                                                                                     \
	{                                                                                                    \
		"rejected_by." reason, "rejected", &rejected, "reason=\"" reason "\""                        \
	}
#define POLICY(place, source, result, word)                                                                  \
	[METRIC_POLICY_CLEAR + place * METRICS_POLICIES + result] = { "policy_" source "." word, NULL,       \
		&policies, "source=\"" source "\",result=\"" word "\"" }
#define POLICY_BLOCK(place, source)                                                                          \
	POLICY(place, source, METRICS_POLICY_CLEAR, "clear"),                                                \
		POLICY(place, source, METRICS_POLICY_ENCRYPTED, "encrypted"),                                \
		POLICY(place, source, METRICS_POLICY_REFUSED, "refused"),                                    \
		POLICY(place, source, METRICS_POLICY_VERIFIED, "verified")
#define DANE(result, word)                                                                                   \
	[METRIC_DANE + (int) result] = { "dane_by." word, "dane", &danes, "result=\"" word "\"" }
#define QUEUED(state)                                                                                        \
	{                                                                                                    \
		"queued_by." state, "queued", &queue, "state=\"" state "\""                                  \
	}

#define DNS(result, security, word, security_word)                                                           \
	[METRIC_DNS + result * 2 + (security != DNS_INSECURE)] = { "dns_by." word "." security_word,         \
		"dns." word, &questions, "result=\"" word "\",security=\"" security_word "\"" }

#define SIGN(role, place, word, result)                                                                      \
	[METRIC_SIGN + role * 3 + place] = { "signatures_by." word "." result, "signatures." result,         \
		&signatures, "role=\"" word "\",result=\"" result "\"" }
#define SIGN_BLOCK(role, word)                                                                               \
	SIGN(role, 0, word, "signed"), SIGN(role, 1, word, "too_often"), SIGN(role, 2, word, "refused")

#define OCSP(finding, word)                                                                                  \
	[METRIC_OCSP + (int) finding] = { "ocsp_by." word, "ocsp", &statuses, "result=\"" word "\"" }

/* Bucket `i` of a histogram, up to so many seconds; its last one and its sum. */
#define BUCKET(block, i, seconds)                                                                            \
	[block + i] = { NAME "." #seconds, NULL, &FAMILY, "le=\"" #seconds "\"",                             \
		(int64_t)(seconds * 1e6 + 0.5) }
#define REST(block)                                                                                          \
	[block + METRICS_BUCKETS] = { NAME ".+Inf", NULL, &FAMILY, "le=\"+Inf\"", INT64_MAX },               \
		 [block + METRICS_BUCKETS + 1] = { NAME ".sum_us", NULL, &FAMILY, "" }

#define CRL_FETCH(result)                                                                                    \
	{                                                                                                    \
		"crl_fetches." result, NULL, &crl_fetches, "result=\"" result "\""                           \
	}
#define CRL_LIST(state)                                                                                      \
	{                                                                                                    \
		"crl_lists." state, NULL, &crl_lists, "state=\"" state "\""                                  \
	}

static const struct metrics_row rows[] = {
	[METRIC_ACCEPTED] = { "accepted", NULL, &accepted, "" },
	[METRIC_NOT_ACCEPTED] = { "not_accepted", NULL, &not_accepted, "" },
	[METRIC_REJECTED] = REJECTED("other"),
	[METRIC_REJECTED_POLICY] = REJECTED("policy"),
	[METRIC_REJECTED_LIMIT] = REJECTED("limit"),
	[METRIC_REJECTED_TLS] = REJECTED("tls"),
	[METRIC_REJECTED_RELAY] = REJECTED("relay"),
	[METRIC_REJECTED_RECIPIENT] = REJECTED("recipient"),
	[METRIC_REJECTED_SENDER] = REJECTED("sender"),
	[METRIC_REJECTED_CONTENT] = REJECTED("content"),
	[METRIC_REJECTED_PROTOCOL] = REJECTED("protocol"),
	TLS_BLOCK(METRIC_TLS_IN, "in"),
	[METRIC_TLS_IN_FAILED] = TLS_FAILED("in"),
	TLS_BLOCK(METRIC_TLS_OUT, "out"),
	[METRIC_TLS_OUT_FAILED] = TLS_FAILED("out"),
	DELIVERY_BLOCK(METRIC_DELIVERED, "delivered"),
	DELIVERY_BLOCK(METRIC_DEFERRED, "deferred"),
	DELIVERY_BLOCK(METRIC_BOUNCED, "bounced"),
	POLICY_BLOCK(0, "local"),
	POLICY_BLOCK(1, "dane"),
	POLICY_BLOCK(2, "mta_sts"),
	POLICY_BLOCK(3, "requiretls"),
	DANE(DANE_RESULT_OK, "ok"),
	DANE(DANE_RESULT_UNUSABLE, "unusable"),
	DANE(DANE_RESULT_NOT_APPLICABLE, "not_applicable"),
	DANE(DANE_RESULT_INSECURE, "insecure"),
	DANE(DANE_RESULT_TEMPFAIL, "tempfail"),
	DANE(DANE_RESULT_FAILED, "failed"),
#define NAME   "delivery_seconds"
#define FAMILY durations
	BUCKET(METRIC_DELIVERY_TIME, 0, 0.1),
	BUCKET(METRIC_DELIVERY_TIME, 1, 0.5),
	BUCKET(METRIC_DELIVERY_TIME, 2, 1),
	BUCKET(METRIC_DELIVERY_TIME, 3, 5),
	BUCKET(METRIC_DELIVERY_TIME, 4, 10),
	BUCKET(METRIC_DELIVERY_TIME, 5, 30),
	BUCKET(METRIC_DELIVERY_TIME, 6, 60),
	BUCKET(METRIC_DELIVERY_TIME, 7, 300),
	BUCKET(METRIC_DELIVERY_TIME, 8, 900),
	BUCKET(METRIC_DELIVERY_TIME, 9, 3600),
	BUCKET(METRIC_DELIVERY_TIME, 10, 14400),
	BUCKET(METRIC_DELIVERY_TIME, 11, 86400),
	REST(METRIC_DELIVERY_TIME),
#undef NAME
#undef FAMILY
#define NAME   "sync_seconds"
#define FAMILY syncs
	BUCKET(METRIC_SYNC_TIME, 0, 0.0005),
	BUCKET(METRIC_SYNC_TIME, 1, 0.001),
	BUCKET(METRIC_SYNC_TIME, 2, 0.002),
	BUCKET(METRIC_SYNC_TIME, 3, 0.005),
	BUCKET(METRIC_SYNC_TIME, 4, 0.01),
	BUCKET(METRIC_SYNC_TIME, 5, 0.02),
	BUCKET(METRIC_SYNC_TIME, 6, 0.05),
	BUCKET(METRIC_SYNC_TIME, 7, 0.1),
	BUCKET(METRIC_SYNC_TIME, 8, 0.2),
	BUCKET(METRIC_SYNC_TIME, 9, 0.5),
	BUCKET(METRIC_SYNC_TIME, 10, 1),
	BUCKET(METRIC_SYNC_TIME, 11, 5),
	REST(METRIC_SYNC_TIME),
#undef NAME
#undef FAMILY
	[METRIC_QUEUE_READY] = QUEUED("ready"),
	[METRIC_QUEUE_DEFERRED] = QUEUED("deferred"),
	[METRIC_QUEUE_LEASED] = QUEUED("leased"),
	[METRIC_QUEUE_OLDEST] = { "queue_oldest_seconds", NULL, &oldest, "" },
	[METRIC_QUEUE_CORRUPT] = { "queue_corrupt_mails", NULL, &corrupt, "" },
	[METRIC_NOTES_DROPPED] = { "notes_dropped", NULL, &notes, "" },
	DNS(DNS_FOUND, DNS_INSECURE, "found", "insecure"),
	DNS(DNS_FOUND, DNS_SECURE, "found", "secure"),
	DNS(DNS_NO_DATA, DNS_INSECURE, "no_data", "insecure"),
	DNS(DNS_NO_DATA, DNS_SECURE, "no_data", "secure"),
	DNS(DNS_NO_NAME, DNS_INSECURE, "no_name", "insecure"),
	DNS(DNS_NO_NAME, DNS_SECURE, "no_name", "secure"),
	DNS(DNS_FAILED, DNS_INSECURE, "failed", "unknown"),
	DNS(DNS_FAILED, DNS_BOGUS, "failed", "bogus"),
	[METRIC_DNS_WAITING] = { "dns_waiting", NULL, &waiting, "" },
	SIGN_BLOCK(KEY_USE_FRONT, "front"),
	SIGN_BLOCK(KEY_USE_DELIVER, "deliver"),
	[METRIC_CRL_RENEWED] = CRL_FETCH("renewed"),
	[METRIC_CRL_UNCHANGED] = CRL_FETCH("unchanged"),
	[METRIC_CRL_FAILED] = CRL_FETCH("failed"),
	[METRIC_CRL_CURRENT] = CRL_LIST("current"),
	[METRIC_CRL_STALE] = CRL_LIST("stale"),
	[METRIC_CRL_MISSING] = CRL_LIST("missing"),
	[METRIC_CRL_AGE] = { "crl_age_seconds", NULL, &crl_age, "" },
	[METRIC_CRL_LEFT] = { "crl_next_update_seconds", NULL, &crl_left, "" },
	OCSP(OCSP_REVOKED, "revoked"),
	OCSP(OCSP_UNKNOWN, "unknown"),
	OCSP(OCSP_NO_ANSWER, "no_answer"),
	OCSP(OCSP_NO_RESPONDER, "no_responder"),
	OCSP(OCSP_GOOD, "good"),
	OCSP(OCSP_NOT_NEEDED, "not_needed"),
	[METRIC_CLEAR_HOSTS] = { "temporary_list_hosts", NULL, &clear_hosts, "" },
};

_Static_assert(COUNT(rows) == METRIC_COUNT, "every metric has a row");
_Static_assert((int)METRICS_OCSP == (int)OCSP_FINDING_COUNT, "every finding has a place");
_Static_assert((int)METRICS_DANE == (int)DANE_RESULT_COUNT, "every result of DANE has a place");
_Static_assert((int)METRICS_LEVELS == (int)TLS_LEVEL_COUNT, "every level has a place");

const struct metrics_row *metrics_row(enum metric metric)
{
	return &rows[metric];
}

const char *metrics_name(enum metric metric)
{
	return rows[metric].name;
}

const struct metrics_family *metrics_sessions(void)
{
	return &sessions;
}

const char *metrics_tls_name(enum metrics_tls tls)
{
	static const char *const names[] = {
		[METRICS_CLEAR] = "none", [METRICS_STARTTLS] = "starttls", [METRICS_IMPLICIT] = "implicit"
	};

	return names[tls];
}

static int64_t get(const atomic_int_fast64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

static void add(atomic_int_fast64_t *value, int64_t more)
{
	atomic_fetch_add_explicit(value, more, memory_order_relaxed);
}

void metrics_count(struct metrics *metrics, enum metric metric)
{
	add(&metrics->values[metric], 1);
}

void metrics_count_dns(struct metrics *metrics, enum dns_result result, enum dns_security security)
{
	metrics_count(metrics, (enum metric)(METRIC_DNS + (int)result * 2 + (security != DNS_INSECURE)));
}

void metrics_count_ocsp(struct metrics *metrics, enum ocsp_finding finding)
{
	metrics_count(metrics, (enum metric)((int)METRIC_OCSP + (int)finding));
}

void metrics_count_sign(struct metrics *metrics, enum key_use_role role, enum key_use verdict)
{
	const int place = verdict == KEY_USE_YES ? 0 : verdict == KEY_USE_TOO_OFTEN ? 1 : 2;

	if (role == KEY_USE_FRONT || role == KEY_USE_DELIVER)
		metrics_count(metrics, (enum metric)(METRIC_SIGN + (int)role * 3 + place));
}

void metrics_count_policy(struct metrics *metrics, enum tls_source decided_by, enum metrics_policy result)
{
	static const int places[TLS_SOURCE_COUNT] = { [TLS_SOURCE_DANE_MANDATORY] = 1,
		[TLS_SOURCE_DANE] = 1,
		[TLS_SOURCE_MTA_STS] = 2,
		[TLS_SOURCE_REQUIRETLS] = 3 };

	metrics_count(metrics,
		(enum metric)(METRIC_POLICY_CLEAR + places[decided_by] * METRICS_POLICIES + (int)result));
}

void metrics_count_dane(struct metrics *metrics, enum dane_finding finding, bool passed)
{
	if (finding != DANE_NOT_LOOKED)
		metrics_count(metrics, (enum metric)(METRIC_DANE + (int)dane_result(finding, passed)));
}

void metrics_set(struct metrics *metrics, enum metric metric, int64_t value)
{
	atomic_store_explicit(&metrics->values[metric], value, memory_order_relaxed);
}

void metrics_observe(struct metrics *metrics, enum metric histogram, int64_t microseconds)
{
	const int64_t duration = MAX(microseconds, 0);
	int bucket = (int)histogram;

	while (duration > rows[bucket].bound)
		bucket++;
	add(&metrics->values[bucket], 1);
	add(&metrics->values[(int)histogram + METRICS_BUCKETS + 1], duration);
}

static int group_place(const char *name)
{
	static const char *const groups[] = { "X25519", "secp256r1", "secp384r1", "secp521r1", "X448",
		"ffdhe", "X25519MLKEM768" };
	int place = 0;

	if (strncasecmp(name, "ffdhe", 5) == 0) /* followed by its size */
		name = "ffdhe";
	while (place < (int)COUNT(groups) && strcasecmp(groups[place], name) != 0)
		place++;
	return place;
}

void metrics_count_tls(struct metrics *metrics, enum metric block, const char *protocol, const char *group)
{
	static const char *const versions[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };

	for (int i = 0; i < (int)COUNT(versions); i++)
		if (strcmp(versions[i], protocol) == 0)
			metrics_count(
				metrics, (enum metric)((int)block + i * METRICS_GROUPS + group_place(group)));
}

/* NULL when there is none of that name. */
static struct metrics_listener *find_listener(struct metrics *metrics, const char *name)
{
	const unsigned count = atomic_load_explicit(&metrics->listener_count, memory_order_acquire);

	for (unsigned i = 0; i < count; i++)
		if (strncmp(metrics->listeners[i].name, name, METRICS_NAME_MAX - 1) == 0)
			return &metrics->listeners[i];
	return count == METRICS_LISTENERS ? &metrics->listeners[METRICS_LISTENERS - 1] : NULL;
}

struct metrics_listener *metrics_listener(struct metrics *metrics, const char *name)
{
	struct metrics_listener *listener = find_listener(metrics, name);
	const unsigned count = atomic_load_explicit(&metrics->listener_count, memory_order_relaxed);

	if (listener != NULL)
		return listener;
	listener = &metrics->listeners[count];
	snprintf(listener->name, sizeof listener->name, "%s", count + 1 < METRICS_LISTENERS ? name : "other");
	atomic_store_explicit(&metrics->listener_count, count + 1, memory_order_release);
	return listener;
}

void metrics_count_session(struct metrics *metrics, const char *name, enum metrics_tls tls)
{
	struct metrics_listener *listener = find_listener(metrics, name);

	if (listener != NULL)
		add(&listener->sessions[tls], 1);
}

void metrics_put(struct frame *frame, const struct metrics *metrics)
{
	const unsigned count = atomic_load_explicit(&metrics->listener_count, memory_order_acquire);

	for (int i = 0; i < METRIC_COUNT; i++)
		frame_put_number(frame, get(&metrics->values[i]));
	frame_put_number(frame, count);
	for (unsigned i = 0; i < count; i++) {
		frame_put_text(frame, text_of(metrics->listeners[i].name));
		for (int tls = 0; tls < METRICS_TLS_COUNT; tls++)
			frame_put_number(frame, get(&metrics->listeners[i].sessions[tls]));
	}
}

void metrics_add(struct frame *frame, struct metrics *sum)
{
	for (int i = 0; i < METRIC_COUNT; i++)
		add(&sum->values[i], frame_get_number(frame));
	for (int64_t left = frame_get_range(frame, 0, METRICS_LISTENERS); left > 0; left--) {
		struct metrics_listener *listener = metrics_listener(sum, frame_get_copy(frame, frame));

		for (int tls = 0; tls < METRICS_TLS_COUNT; tls++)
			add(&listener->sessions[tls], frame_get_number(frame));
	}
}

void metrics_join(const struct metrics *metrics, struct metrics *sum)
{
	for (int i = 0; i < METRIC_COUNT; i++)
		add(&sum->values[i], get(&metrics->values[i]));
	for (unsigned i = 0; i < atomic_load(&metrics->listener_count); i++) {
		struct metrics_listener *listener = metrics_listener(sum, metrics->listeners[i].name);

		for (int tls = 0; tls < METRICS_TLS_COUNT; tls++)
			add(&listener->sessions[tls], get(&metrics->listeners[i].sessions[tls]));
	}
}
