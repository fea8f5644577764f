/* Tracking records as JSON. Times are ISO 8601 in UTC; TLS evidence was made into JSON by the process that saw the handshake. */
#include "report/track.h"

#include <stdlib.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

enum { ASK_MS = 30000 };

/* Stored text may hold bytes that are no UTF-8; jansson refuses those, so they become '?'. */
json_t *track_string(const char *text)
{
	json_t *json = json_string(text);
	char *clean = json == NULL ? text_copy(NULL, text_of(text)) : NULL;

	if (json != NULL)
		return json;
	for (char *at = clean; *at != '\0'; at++)
		if ((unsigned char)*at >= 0x7f)
			*at = '?';
	json = json_string(clean);
	talloc_free(clean);
	return json;
}

static json_t *string_or_null(const char *text)
{
	return text[0] == '\0' ? json_null() : track_string(text);
}

static json_t *evidence(const char *text)
{
	json_t *json = text[0] == '\0' ? NULL : json_loads(text, 0, NULL);

	return json == NULL ? json_null() : json;
}

static json_t *time_json(int64_t wall_ms)
{
	char iso[CLOCK_TEXT_MAX];

	return json_string(clock_iso(wall_ms, iso));
}

static json_t *recipient_json(const struct store_tracked_recipient *recipient)
{
	json_t *attempts = json_array();

	for (size_t i = 0; i < recipient->attempt_count; i++) {
		const struct store_attempt *a = &recipient->attempts[i];

		json_array_append_new(
			attempts, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "time", time_json(a->time_ms),
					  "dcid", string_or_null(a->dcid), "host", string_or_null(a->host),
					  "address", string_or_null(a->address), "reply",
					  track_string(a->reply), "tls", evidence(a->tls)));
	}
	return json_pack("{s:o, s:s, s:o}", "address", string_or_null(recipient->address), "state",
		recipient->state, "attempts", attempts);
}

static char *record_json(const struct store_tracked *record)
{
	json_t *recipients = json_array();
	json_t *inbound = json_pack("{s:o, s:o, s:o, s:o}", "icid", track_string(record->icid), "client",
		track_string(record->client), "helo", track_string(record->helo), "tls",
		evidence(record->tls));

	for (size_t i = 0; i < record->recipient_count; i++)
		json_array_append_new(recipients, recipient_json(&record->recipients[i]));
	json_t *json = json_pack("{s:o, s:o, s:o, s:I, s:o, s:o}", "mid",
		record->mid == 0 ? json_null() : json_integer(record->mid), "time",
		time_json(record->time_ms), "sender", track_string(record->sender), "size",
		(json_int_t)record->size, "inbound", inbound, "recipients", recipients);
	json_t *reports = record->report_count == 0 ? NULL : json_array();
	for (size_t i = 0; i < record->report_count; i++)
		json_array_append_new(reports, json_integer(record->reports[i]));
	if (reports != NULL)
		json_object_set_new(json, "reports", reports);
	char *dumped = text_must(json_dumps(json, JSON_COMPACT));

	json_decref(json);
	return dumped;
}

int track_page_read(struct store *store, const void *owner, const struct store_query *query,
	struct store_cursor *cursor, struct text *ret_lines)
{
	struct store_tracked *records;
	size_t count;
	int r = store_track(store, NULL, query, cursor, &records, &count);

	if (r < 0)
		return r;

	char *lines = text_must(talloc_strdup(owner, ""));
	for (size_t i = 0; i < count; i++) {
		char *line = record_json(&records[i]);

		lines = text_must(talloc_asprintf_append_buffer(lines, "%s\n", line));
		free(line);
	}
	talloc_free(records);
	*ret_lines = text_of(lines);
	return 0;
}

int track_page(int channel, const void *owner, const struct store_query *query, struct store_cursor *cursor,
	struct text *ret_lines)
{
	struct frame *ask = frame_new(NULL, FRAME_TRACK), *answer;

	frame_put_optional(ask, query->sender);
	frame_put_optional(ask, query->recipient);
	frame_put_number(ask, query->mid);
	frame_put_number(ask, query->since_ms);
	frame_put_number(ask, query->until_ms);
	frame_put_optional(ask, query->domain);
	frame_put_optional(ask, query->state);
	frame_put_optional(ask, query->host);
	frame_put_number(ask, cursor->mid);
	frame_put_number(ask, cursor->refusal);
	int r = channel_send(channel, ask, clock_mono_ms() + ASK_MS);
	if (r == 0)
		r = channel_receive(ask, channel, -1, clock_mono_ms() + ASK_MS, &answer);
	if (r == 0)
		r = (int)frame_get_range(answer, INT32_MIN, 0);
	if (r == 0) {
		cursor->mid = frame_get_number(answer);
		cursor->refusal = frame_get_number(answer);
		cursor->ended = frame_get_bool(answer);
		*ret_lines = text_of(frame_get_copy(answer, owner));
		r = frame_done(answer);
	}
	talloc_free(ask);
	return r;
}

struct frame *track_page_answer(struct store *store, struct frame *ask, const void *owner)
{
	struct store_query query = { 0 };
	struct store_cursor cursor = { 0 };
	struct text lines;

	query.sender = frame_get_optional(ask);
	query.recipient = frame_get_optional(ask);
	query.mid = frame_get_number(ask);
	query.since_ms = frame_get_number(ask);
	query.until_ms = frame_get_number(ask);
	query.domain = frame_get_optional(ask);
	query.state = frame_get_optional(ask);
	query.host = frame_get_optional(ask);
	cursor.mid = frame_get_number(ask);
	cursor.refusal = frame_get_number(ask);
	if (frame_done(ask) < 0)
		return NULL;

	struct frame *answer = frame_new(owner, FRAME_ANSWER);
	int r = track_page_read(store, ask, &query, &cursor, &lines);
	frame_put_number(answer, r);
	if (r < 0)
		return answer;
	frame_put_number(answer, cursor.mid);
	frame_put_number(answer, cursor.refusal);
	frame_put_bool(answer, cursor.ended);
	frame_put_text(answer, lines);
	return answer;
}
