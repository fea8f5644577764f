/* `queue list` and `queue show`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/io.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"
#include "queue/queue_admin.h"
#include "report/track.h"

/* A line of `list` shows so many recipients; `show` has all. */
enum { LINE_RECIPIENTS = 3, JSON_RECIPIENTS = 100 };

const char *cli_queue_span(int64_t ms, char ret_text[CLI_QUEUE_SPAN_MAX])
{
	static const struct {
		int64_t ms;
		char unit;
	} units[] = { { INT64_C(86400000), 'd' }, { 3600000, 'h' }, { 60000, 'm' }, { 1000, 's' } };
	size_t i = 0;

	while (i + 1 < COUNT(units) && ms < 2 * units[i].ms)
		i++;
	snprintf(
		ret_text, CLI_QUEUE_SPAN_MAX, "%lld%c", (long long)(MAX(ms, 0) / units[i].ms), units[i].unit);
	return ret_text;
}

const char *cli_queue_count(uint64_t count, const char *thing, char ret_text[CLI_QUEUE_COUNT_MAX])
{
	snprintf(ret_text, CLI_QUEUE_COUNT_MAX, "%llu %s%s", (unsigned long long)count, thing,
		count == 1 ? "" : "s");
	return ret_text;
}

/* The states of its recipients, each once, joined by commas. */
static char *state_of(const void *owner, const struct store_admin_mail *mail)
{
	char *text = text_must(talloc_strdup(owner, ""));
	unsigned seen = 0;

	for (size_t i = 0; i < mail->recipient_count; i++) {
		const enum store_admin_state state = mail->recipients[i].state;

		if ((seen & 1u << state) == 0)
			text = text_must(talloc_asprintf_append(
				text, "%s%s", seen == 0 ? "" : ",", store_admin_state_name(state)));
		seen |= 1u << state;
	}
	return text;
}

/* When the first of its recipients is tried next; 0 when none is before something else happens. */
static int64_t next_try(const struct store_admin_mail *mail)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < mail->recipient_count; i++) {
		const enum store_admin_state state = mail->recipients[i].state;

		if (state == STORE_ADMIN_QUEUED || state == STORE_ADMIN_DEFERRED)
			next = MIN(next, mail->recipients[i].next_try_ms);
	}
	return next == INT64_MAX ? 0 : next;
}

static const char *last_reply(const struct store_admin_mail *mail)
{
	for (size_t i = 0; i < mail->recipient_count; i++)
		if (mail->recipients[i].reply[0] != '\0')
			return mail->recipients[i].reply;
	return "";
}

/* The first of its recipients whose destination is paused; NULL when none is. */
static const struct store_admin_recipient *paused_of(const struct store_admin_mail *mail)
{
	for (size_t i = 0; i < mail->recipient_count; i++)
		if (mail->recipients[i].pause.until_ms != 0)
			return &mail->recipients[i];
	return NULL;
}

static void print_line(const struct store_admin_mail *mail)
{
	const struct store_admin_recipient *paused = paused_of(mail);
	const int64_t now = clock_wall_ms(), next = next_try(mail);
	char age[CLI_QUEUE_SPAN_MAX], wait[CLI_QUEUE_SPAN_MAX];
	char *state = state_of(NULL, mail);

	printf("%lld  %s old  %llu bytes  %s  ", (long long)mail->mid,
		cli_queue_span(now - mail->received_ms, age), (unsigned long long)mail->size, state);
	if (next == 0)
		printf("no next try  ");
	else
		printf("next try %s%s  ", next <= now ? "now" : "in ",
			next <= now ? "" : cli_queue_span(next - now, wait));
	printf("<%s> ->", mail->sender);
	for (size_t i = 0; i < MIN(mail->recipient_count, (size_t)LINE_RECIPIENTS); i++)
		printf(" %s", mail->recipients[i].address);
	if (mail->recipient_count > LINE_RECIPIENTS)
		printf(" and %zu more", mail->recipient_count - LINE_RECIPIENTS);
	printf("%s%s", last_reply(mail)[0] == '\0' ? "" : "  ", last_reply(mail));
	if (paused != NULL) {
		printf("  %s is ", paused->destination);
		cli_queue_print_pause(&paused->pause);
	}
	printf("\n");
	talloc_free(state);
}

static json_t *time_json(int64_t ms)
{
	char iso[CLOCK_TEXT_MAX];

	return ms == 0 ? json_null() : json_string(clock_iso(ms, iso));
}

static json_t *text_or_null(const char *text)
{
	return text[0] == '\0' ? json_null() : track_string(text);
}

static json_t *recipient_json(const struct store_admin_recipient *r)
{
	return json_pack("{s:o, s:s, s:o, s:o, s:I, s:o, s:o, s:o}", "address", track_string(r->address),
		"state", store_admin_state_name(r->state), "destination", track_string(r->destination),
		"next_hop", text_or_null(r->next_hop), "attempts", (json_int_t)r->attempts, "next_try",
		time_json(r->next_try_ms), "last_reply", text_or_null(r->reply), "pause",
		cli_queue_pause_json(&r->pause));
}

static json_t *recipients_json(const struct store_admin_mail *mail, size_t most)
{
	json_t *recipients = json_array();

	for (size_t i = 0; i < MIN(mail->recipient_count, most); i++)
		json_array_append_new(recipients, recipient_json(&mail->recipients[i]));
	return recipients;
}

static void print_mail_json(const struct store_admin_mail *mail)
{
	char *state = state_of(NULL, mail);

	cli_print_json(json_pack("{s:I, s:o, s:I, s:I, s:s, s:o, s:o, s:o, s:I, s:o}", "mid",
		(json_int_t)mail->mid, "received", time_json(mail->received_ms), "age_seconds",
		(json_int_t)((clock_wall_ms() - mail->received_ms) / 1000), "size", (json_int_t)mail->size,
		"state", state, "next_try", time_json(next_try(mail)), "last_reply",
		text_or_null(last_reply(mail)), "sender", track_string(mail->sender), "recipient_count",
		(json_int_t)mail->recipient_count, "recipients", recipients_json(mail, JSON_RECIPIENTS)));
	talloc_free(state);
}

static int compare_rids(const void *a, const void *b)
{
	const int64_t left = ((const struct store_admin_recipient *)a)->rid,
		      right = ((const struct store_admin_recipient *)b)->rid;

	return (left > right) - (left < right);
}

/* A page with the recipients in the order in which the client named them. */
static int read_page(const struct cli_queue_source *source, const void *owner,
	const struct store_admin_filter *filter, int64_t after, size_t most,
	struct store_admin_page *ret_page)
{
	int r = source->store == NULL
			? queue_admin_list(source->channel, owner, filter, after, most, ret_page)
			: store_admin_list(source->store, owner, filter, after, most, ret_page);

	for (size_t i = 0; r == 0 && i < ret_page->count; i++)
		qsort(ret_page->mails[i].recipients, ret_page->mails[i].recipient_count,
			sizeof ret_page->mails[i].recipients[0], compare_rids);
	return r;
}

int cli_queue_list(const struct cli_queue_source *source, const struct cli_queue_options *options)
{
	uint64_t left = options->limit == 0 ? UINT64_MAX : options->limit;
	struct store_admin_page page = { 0 };
	char count[CLI_QUEUE_COUNT_MAX];
	uint64_t listed = 0;

	while (!page.ended && left > 0) {
		void *scratch = talloc_new(NULL);
		int r = read_page(source, scratch, &options->filter, page.after,
			(size_t)MIN(left, (uint64_t)STORE_ADMIN_PAGE), &page);

		if (r == 0 && page.count > 0 && listed == 0 && !options->json)
			printf("number  age  size  state  next try  <sender> -> recipients  last reply\n");
		for (size_t i = 0; r == 0 && i < page.count; i++)
			(options->json ? print_mail_json : print_line)(&page.mails[i]);
		fflush(stdout);
		left -= r == 0 ? page.count : 0;
		listed += r == 0 ? page.count : 0;
		talloc_free(scratch);
		if (r < 0)
			return cli_queue_failed(r);
	}
	if (listed == 0 && !options->json)
		fprintf(stderr, "postern: nothing that matches is queued\n");
	else if (!options->json)
		printf("%s\n", cli_queue_count(listed, "mail", count));
	return CLI_FINE;
}

/* The tracking record of the mail; NULL after saying why not. */
static json_t *read_record(const struct cli_queue_source *source, int64_t mid, void *scratch)
{
	const struct store_query query = { .mid = mid };
	struct store_cursor cursor = { 0 };
	struct text lines = TEXT("");
	int r = 0;

	while (r == 0 && lines.len == 0 && !cursor.ended)
		r = source->store == NULL ? track_page(source->channel, scratch, &query, &cursor, &lines)
					  : track_page_read(source->store, scratch, &query, &cursor, &lines);
	if (r < 0) {
		cli_queue_failed(r);
		return NULL;
	}
	return json_loadb(lines.at, text_find(lines, '\n'), 0, NULL);
}

static void print_waiting(const struct store_admin_mail *mail)
{
	const int64_t now = clock_wall_ms();
	char wait[CLI_QUEUE_SPAN_MAX];

	printf("  in the queue:\n");
	for (size_t i = 0; i < mail->recipient_count; i++) {
		const struct store_admin_recipient *r = &mail->recipients[i];

		printf("    %s: %s, to %s%s, %lld attempt%s, ", r->address, store_admin_state_name(r->state),
			r->destination, r->next_hop[0] == '\0' ? "" : " (rerouted)", (long long)r->attempts,
			r->attempts == 1 ? "" : "s");
		if (r->state == STORE_ADMIN_CORRUPT)
			printf("never sent: it is damaged\n");
		else if (r->next_try_ms == 0)
			printf("no next try\n");
		else if (r->next_try_ms <= now)
			printf("next try now\n");
		else
			printf("next try in %s\n", cli_queue_span(r->next_try_ms - now, wait));
		if (r->pause.until_ms != 0) {
			printf("      %s is ", r->destination);
			cli_queue_print_pause(&r->pause);
			printf("\n");
		}
	}
}

static int print_content(const struct cli_queue_source *source, int64_t mid, void *scratch)
{
	struct content content;
	char buffer[8192];
	ssize_t len = 0;
	int r = source->store == NULL ? queue_admin_content(source->channel, scratch, mid, &content)
				      : store_admin_content(source->store, scratch, mid, &content);

	if (r == -EBADMSG) {
		fprintf(stderr,
			"postern: mail %lld: its content, or the row about it, is damaged and is not shown; see mail_corrupt in docs/events.md\n",
			(long long)mid);
		return CLI_FAILED;
	}
	if (r < 0)
		return cli_queue_failed(r);
	CLEANUP(base_close) int fd = content.fd;
	if (fd < 0)
		fwrite(content.bytes.at, 1, content.bytes.len, stdout);
	for (off_t at = 0; fd >= 0 && (len = pread(fd, buffer, sizeof buffer, at)) > 0; at += len)
		fwrite(buffer, 1, (size_t)len, stdout);
	return len < 0 || fflush(stdout) != 0 ? CLI_FAILED : CLI_FINE;
}

int cli_queue_show(const struct cli_queue_source *source, const struct cli_queue_options *options)
{
	const int64_t mid = options->filter.mid;
	void *scratch = talloc_new(NULL);
	struct store_admin_page page;
	int r = read_page(source, scratch, &options->filter, 0, 1, &page), status = CLI_FAILED;
	json_t *record = NULL;

	if (r < 0) {
		status = cli_queue_failed(r);
	} else if (page.count == 0) {
		fprintf(stderr,
			"postern: no mail %lld is queued; its end may be known to: postern track --mid %lld\n",
			(long long)mid, (long long)mid);
	} else if (options->content) {
		status = print_content(source, mid, scratch);
	} else if ((record = read_record(source, mid, scratch)) != NULL) {
		if (options->json) {
			json_object_set_new(record, "queue",
				recipients_json(&page.mails[0], page.mails[0].recipient_count));
			cli_print_json(json_incref(record));
		} else {
			cli_track_print(record);
			print_waiting(&page.mails[0]);
		}
		status = CLI_FINE;
	}
	json_decref(record);
	talloc_free(scratch);
	return status;
}
