#include "report/tls_report.h"

#include <string.h>

#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/text.h"
#include "policy/tls_demand.h"
#include "queue/envelope.h"

/* Beyond these, what is counted has no row of its own. */
enum { DOMAINS_MAX = 100000, REASONS_MAX = 1000, REASONS_SHOWN = 10, LEGS_MAX = 64 };

typedef uint64_t sums[TLS_REPORT_WANTED_COUNT][TLS_REPORT_RESULT_COUNT];

enum half { INCOMING, OUTGOING, HALF_COUNT };

struct row {
	UT_hash_handle hh;
	sums halves[HALF_COUNT];
	char domain[];
};

struct reason {
	UT_hash_handle hh;
	uint64_t count;
	char text[];
};

struct tls_report {
	const char *domain;
	sums halves[HALF_COUNT];
	struct row *rows;
	struct reason *reasons[HALF_COUNT];
	uint64_t reasons_left_out[HALF_COUNT]; /* failures */
	uint64_t rows_left_out;		       /* counts of domains that got no row */
};

static int report_free(struct tls_report *report)
{
	HASH_CLEAR(hh, report->rows);
	for (int half = 0; half < HALF_COUNT; half++)
		HASH_CLEAR(hh, report->reasons[half]);
	return 0;
}

struct tls_report *tls_report_new(const void *owner, const char *domain)
{
	struct tls_report *report = text_must(talloc_zero(owner, struct tls_report));

	report->domain = domain;
	talloc_set_destructor(report, report_free);
	return report;
}

static struct row *row_of(struct tls_report *report, const char *domain)
{
	const size_t len = strlen(domain);
	struct row *row;

	HASH_FIND(hh, report->rows, domain, len, row);
	if (row != NULL || HASH_COUNT(report->rows) >= DOMAINS_MAX)
		return row;
	row = text_must(talloc_zero_size(report, sizeof *row + len + 1));
	memcpy(row->domain, domain, len + 1);
	HASH_ADD(hh, report->rows, domain, len, row);
	return row;
}

static void add_reason(struct tls_report *report, enum half half, const char *text)
{
	const size_t len = strlen(text);
	struct reason *reason;

	HASH_FIND(hh, report->reasons[half], text, len, reason);
	if (reason == NULL && HASH_COUNT(report->reasons[half]) < REASONS_MAX) {
		reason = text_must(talloc_zero_size(report, sizeof *reason + len + 1));
		memcpy(reason->text, text, len + 1);
		HASH_ADD(hh, report->reasons[half], text, len, reason);
	}
	if (reason == NULL)
		report->reasons_left_out[half]++;
	else
		reason->count++;
}

static const char *word(json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value == NULL ? "" : value;
}

static enum tls_report_wanted wanted_of(json_t *tls)
{
	const struct text level = text_of(word(tls, "desired"));

	if (strcmp(word(json_object_get(tls, "policy"), "decided_by"),
		    tls_demand_source_word(TLS_SOURCE_TEMPORARY_LIST)) == 0)
		return TLS_REPORT_LISTED;
	if (text_starts_nocase(level, TEXT("preferred")))
		return TLS_REPORT_PREFERRED;
	return text_starts_nocase(level, TEXT("required")) ? TLS_REPORT_REQUIRED : TLS_REPORT_NONE;
}

static enum tls_report_result result_of(json_t *tls)
{
	const char *obtained = word(tls, "obtained");

	if (strcmp(obtained, "verified") == 0)
		return TLS_REPORT_VERIFIED;
	return strcmp(obtained, "encrypted") == 0 || strcmp(obtained, "trusted") == 0 ? TLS_REPORT_ENCRYPTED
										      : TLS_REPORT_CLEAR;
}

static void count(struct tls_report *report, enum half half, const char *domain,
	enum tls_report_wanted wanted, enum tls_report_result result, const char *reason)
{
	if (report->domain != NULL && strcmp(report->domain, domain) != 0)
		return;
	struct row *row = row_of(report, domain);

	if (row == NULL)
		report->rows_left_out++;
	else
		row->halves[half][wanted][result]++;
	report->halves[half][wanted][result]++;
	if (result == TLS_REPORT_FAILED)
		add_reason(report, half, reason);
}

/* Why our side gave up: the reply that tracking has for it, behind "450 4.7.5 TLS: ". NULL when it was not for TLS. */
static const char *tls_failure(const char *reply)
{
	static const char late[] = "550 5.4.7 not delivered in time; the last answer was: ",
			  own[] = "450 4.7.5 TLS";

	if (strncmp(reply, late, sizeof late - 1) == 0)
		reply += sizeof late - 1;
	if (strncmp(reply, own, sizeof own - 1) != 0)
		return NULL;
	reply += strlen("450 4.7.5 ");
	return strncmp(reply, "TLS: ", 5) == 0 ? reply + 5 : reply;
}

static void add_incoming(struct tls_report *report, json_t *record, const char *domain)
{
	json_t *tls = json_object_get(json_object_get(record, "inbound"), "tls");

	/* Reports to senders are our own. */
	if (!json_is_object(tls))
		return;
	count(report, INCOMING, domain, wanted_of(tls), result_of(tls), "");
}

/* A client that was refused for TLS: it did not start it where it must, or the handshake failed. */
static void add_refusal(struct tls_report *report, json_t *record, const char *domain)
{
	json_t *recipient = json_array_get(json_object_get(record, "recipients"), 0);
	json_t *tls = json_object_get(json_object_get(record, "inbound"), "tls");
	const char *reply = word(json_array_get(json_object_get(recipient, "attempts"), 0), "reply");
	const char *reason = NULL;

	if (strncmp(reply, "530 5.7.0 ", 10) == 0)
		reason = "TLS is required, and the client did not start it";
	else if (strcmp(reply, TLS_REPORT_HANDSHAKE) == 0)
		reason = word(tls, "reason");
	if (reason != NULL)
		count(report, INCOMING, domain, wanted_of(tls), TLS_REPORT_FAILED, reason);
}

/* A connection and a domain of one mail, which count once however many recipients they have. */
struct leg {
	const char *domain, *dcid, *time;
};

struct legs {
	struct leg list[LEGS_MAX];
	size_t count, next;
};

/* True when it is new. Beyond LEGS_MAX the oldest are forgotten: recipients of one domain follow each other. */
static bool is_new(struct legs *legs, const struct leg *leg)
{
	for (size_t i = 0; i < legs->count; i++)
		if (strcmp(legs->list[i].domain, leg->domain) == 0 &&
			strcmp(legs->list[i].dcid, leg->dcid) == 0 &&
			strcmp(legs->list[i].time, leg->time) == 0)
			return false;
	legs->list[legs->next] = *leg;
	legs->next = (legs->next + 1) % LEGS_MAX;
	legs->count = MIN(legs->count + 1, (size_t)LEGS_MAX);
	return true;
}

/* Servers that were tried in vain before another one within the attempt. */
static void add_earlier(struct tls_report *report, json_t *tls, const char *domain)
{
	json_t *earlier;
	size_t i;

	json_array_foreach(json_object_get(tls, "earlier"), i, earlier)
	{
		const char *reason = tls_failure(word(earlier, "reply"));

		if (reason != NULL)
			count(report, OUTGOING, domain, wanted_of(json_object_get(earlier, "tls")),
				TLS_REPORT_FAILED, reason);
	}
}

static void add_outgoing(struct tls_report *report, json_t *recipient, const char *domain, struct legs *sent,
	struct legs *failed)
{
	json_t *attempt;
	size_t i;

	json_array_foreach(json_object_get(recipient, "attempts"), i, attempt)
	{
		const struct leg leg = { domain, word(attempt, "dcid"), word(attempt, "time") };
		const char *reply = word(attempt, "reply"), *reason = tls_failure(reply);
		json_t *tls = json_object_get(attempt, "tls");

		const bool went = reason == NULL && reply[0] == '2' && json_is_object(tls);

		if (reason != NULL ? !is_new(failed, &leg) : !went || !is_new(sent, &leg))
			continue;
		if (went)
			count(report, OUTGOING, domain, wanted_of(tls), result_of(tls), "");
		else
			count(report, OUTGOING, domain,
				json_is_object(tls) ? wanted_of(tls) : TLS_REPORT_REQUIRED, TLS_REPORT_FAILED,
				reason);
		add_earlier(report, tls, domain);
	}
}

void tls_report_add(struct tls_report *report, json_t *record)
{
	void *scratch = talloc_new(NULL);
	const char *sender = word(record, "sender");
	const char *from = sender[0] == '\0' ? "<>" : text_copy_lower(scratch, envelope_domain(sender));
	struct legs sent = { .count = 0 }, failed = { .count = 0 };
	json_t *recipient;
	size_t i;

	if (!json_is_integer(json_object_get(record, "mid"))) {
		add_refusal(report, record, from);
	} else {
		add_incoming(report, record, from);
		json_array_foreach(json_object_get(record, "recipients"), i, recipient)
		{
			const char *to = word(recipient, "address");

			add_outgoing(report, recipient, text_copy_lower(scratch, envelope_domain(to)), &sent,
				&failed);
		}
	}
	talloc_free(scratch);
}

/* Of the levels from `first` to `last`. */
static json_t *sums_json(const sums *numbers, int first, int last)
{
	uint64_t of[TLS_REPORT_RESULT_COUNT] = { 0 };

	for (int wanted = first; wanted <= last; wanted++)
		for (int result = 0; result < TLS_REPORT_RESULT_COUNT; result++)
			of[result] += (*numbers)[wanted][result];
	const uint64_t in_tls = of[TLS_REPORT_ENCRYPTED] + of[TLS_REPORT_VERIFIED];
	const uint64_t mails = in_tls + of[TLS_REPORT_CLEAR];
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "mails", (json_int_t)mails, "in_tls",
		(json_int_t)in_tls, "verified", (json_int_t)of[TLS_REPORT_VERIFIED], "in_clear",
		(json_int_t)of[TLS_REPORT_CLEAR], "failed", (json_int_t)of[TLS_REPORT_FAILED],
		"percent_in_tls",
		mails == 0 ? json_null() : json_real((double)(in_tls * 1000 / mails) / 10.0));
}

static json_t *all_json(const sums *numbers)
{
	return sums_json(numbers, 0, TLS_REPORT_WANTED_COUNT - 1);
}

static int by_count(const void *a, const void *b)
{
	const struct reason *one = a, *other = b;

	return one->count != other->count ? (one->count < other->count ? 1 : -1)
					  : strcmp(one->text, other->text);
}

static json_t *half_json(struct tls_report *report, enum half half)
{
	static const char *const words[] = { "none", "temporary-list", "preferred", "required" };
	json_t *json = all_json(&report->halves[half]), *wanted = json_object(), *reasons = json_array();
	uint64_t left_out = report->reasons_left_out[half];
	struct reason *reason, *next;

	for (int i = 0; i < TLS_REPORT_WANTED_COUNT; i++)
		json_object_set_new(wanted, words[i], sums_json(&report->halves[half], i, i));
	HASH_SORT(report->reasons[half], by_count);
	HASH_ITER (hh, report->reasons[half], reason, next) {
		if (json_array_size(reasons) < REASONS_SHOWN)
			json_array_append_new(reasons, json_pack("{s:s, s:I}", "reason", reason->text,
							       "count", (json_int_t)reason->count));
		else
			left_out += reason->count;
	}
	json_object_set_new(json, "wanted", wanted);
	json_object_set_new(json, "reasons", reasons);
	json_object_set_new(json, "reasons_left_out", json_integer((json_int_t)left_out));
	return json;
}

static uint64_t weight(const struct row *row)
{
	uint64_t sum = 0;

	for (int half = 0; half < HALF_COUNT; half++)
		for (int wanted = 0; wanted < TLS_REPORT_WANTED_COUNT; wanted++)
			for (int result = 0; result < TLS_REPORT_RESULT_COUNT; result++)
				sum += row->halves[half][wanted][result];
	return sum;
}

static int by_weight(const void *a, const void *b)
{
	const struct row *one = a, *other = b;
	const uint64_t x = weight(one), y = weight(other);

	return x != y ? (x < y ? 1 : -1) : strcmp(one->domain, other->domain);
}

json_t *tls_report_json(struct tls_report *report, size_t most)
{
	json_t *domains = json_array();
	uint64_t left_out = report->rows_left_out;
	struct row *row, *next;

	HASH_SORT(report->rows, by_weight);
	HASH_ITER (hh, report->rows, row, next) {
		if (json_array_size(domains) < most)
			json_array_append_new(domains, json_pack("{s:s, s:o, s:o}", "domain", row->domain,
							       "incoming", all_json(&row->halves[INCOMING]),
							       "outgoing", all_json(&row->halves[OUTGOING])));
		else
			left_out += weight(row);
	}
	return json_pack("{s:o, s:o, s:o, s:I}", "incoming", half_json(report, INCOMING), "outgoing",
		half_json(report, OUTGOING), "domains", domains, "domains_left_out", (json_int_t)left_out);
}
