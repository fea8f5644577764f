/* `track`: what happened to a mail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "cli/cli_explain.h"
#include "cli/cli_private.h"
#include "cli/cli_tracking.h"

static const char *word(json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value == NULL ? "-" : value;
}

static void print_tls(const char *prefix, json_t *tls)
{
	if (!json_is_object(tls))
		return;
	printf("%sTLS wanted: %s, obtained: %s", prefix, word(tls, "desired"), word(tls, "obtained"));
	if (json_is_string(json_object_get(tls, "protocol")))
		printf(" (%s, %s, %s)", word(tls, "protocol"), word(tls, "cipher"), word(tls, "group"));
	printf("\n%s  because %s\n", prefix, word(tls, "reason"));
	json_t *peer = json_object_get(tls, "peer");
	if (json_is_object(peer)) {
		json_t *names = json_object_get(peer, "names"), *name;
		size_t i;

		printf("%s  peer certificate sha256 %s", prefix, word(peer, "sha256"));
		json_array_foreach(names, i, name)
			printf("%s%s", i == 0 ? ", names " : " ", json_string_value(name));
		printf("\n");
	}
	json_t *verification = json_object_get(tls, "verification");
	if (json_is_object(verification))
		printf("%s  certificate %s, for %s, by %s%s%s\n", prefix, word(verification, "result"),
			word(verification, "matched"), word(verification, "authority"),
			json_is_string(json_object_get(verification, "reason")) ? "; " : "",
			json_is_string(json_object_get(verification, "reason")) ? word(verification, "reason")
										: "");
}

/* What the protection rested on, and the places that failed before. */
static void print_grounds(const char *prefix, json_t *tls)
{
	json_t *facts = json_object_get(tls, "facts"), *dane = json_object_get(facts, "dane"), *check,
	       *failed;
	const char *name;
	size_t i;

	if (json_is_object(facts))
		printf("%s  level %s; decided by %s; DANE %s: %s\n", prefix, word(facts, "level"),
			word(json_object_get(tls, "policy"), "decided_by"), word(dane, "setting"),
			word(dane, "finding"));
	cli_explain_print_entries(facts, prefix);
	json_object_foreach(json_object_get(tls, "checks"), name, check)
	{
		const bool reasoned = json_is_string(json_object_get(check, "reason"));

		printf("%s  %s: %s%s%s\n", prefix, name, word(check, "result"), reasoned ? "; " : "",
			reasoned ? word(check, "reason") : "");
	}
	json_array_foreach(json_object_get(tls, "earlier"), i, failed)
	{
		printf("%s  before: %s %s: %s\n", prefix, word(failed, "host"), word(failed, "address"),
			word(failed, "reply"));
	}
}

static void print_recipient(json_t *recipient)
{
	json_t *attempt;
	size_t i;

	printf("  to %s: %s\n", word(recipient, "address"), word(recipient, "state"));
	json_array_foreach(json_object_get(recipient, "attempts"), i, attempt)
	{
		printf("    %s %s %s: %s\n", word(attempt, "time"), word(attempt, "host"),
			word(attempt, "address"), word(attempt, "reply"));
		print_tls("      ", json_object_get(attempt, "tls"));
		print_grounds("      ", json_object_get(attempt, "tls"));
	}
}

void cli_track_print(json_t *record)
{
	json_t *inbound = json_object_get(record, "inbound"), *recipient, *report;
	size_t i;

	if (json_is_integer(json_object_get(record, "mid")))
		printf("mail %lld", (long long)json_integer_value(json_object_get(record, "mid")));
	else
		printf("refused");
	printf(" at %s from <%s>, %lld bytes\n", word(record, "time"), word(record, "sender"),
		(long long)json_integer_value(json_object_get(record, "size")));
	printf("  came from %s (%s), connection %s\n", word(inbound, "client"), word(inbound, "helo"),
		word(inbound, "icid"));
	print_tls("    ", json_object_get(inbound, "tls"));
	json_array_foreach(json_object_get(record, "recipients"), i, recipient) print_recipient(recipient);
	json_array_foreach(json_object_get(record, "reports"), i, report)
		printf("  its sender was told by mail %lld\n", (long long)json_integer_value(report));
}

/* A query as it was typed, and how to show what it finds. */
struct track {
	struct store_query query;
	const char *mid, *since, *until, *limit_text;
	uint64_t limit; /* records; 0 = all */
	bool json;
};

/* Print at most `most` lines; how many there were. */
static uint64_t print_lines(struct text lines, bool json, uint64_t most)
{
	struct text at;
	uint64_t count = 0;

	while (count < most && cli_tracking_line(&lines, &at)) {
		char *line = text_copy(NULL, at);
		json_t *record = json ? NULL : json_loads(line, 0, NULL);

		if (json)
			printf("%s\n", line);
		else if (record != NULL)
			cli_track_print(record);
		json_decref(record);
		talloc_free(line);
		count++;
	}
	return count;
}

static int print_pages(struct cli_tracking *tracking, const struct track *track)
{
	const uint64_t most = track->limit == 0 ? UINT64_MAX : track->limit;
	uint64_t count = 0;
	int r = 1;

	while (r > 0 && count < most) {
		void *page = talloc_new(NULL);
		struct text lines;

		r = cli_tracking_next(tracking, page, &track->query, &lines);
		if (r > 0)
			count += print_lines(lines, track->json, most - count);
		talloc_free(page);
	}
	if (r == 0 && count == 0 && !track->json)
		fprintf(stderr,
			"postern: nothing matches; addresses are compared whole, and --sender '' is the null sender\n");
	return r < 0 ? CLI_FAILED : CLI_FINE;
}

static int parse_query(struct track *track)
{
	struct store_query *query = &track->query;
	uint64_t number = 0;

	if (track->mid != NULL && text_number(text_of(track->mid), INT64_MAX, &number) < 0) {
		fprintf(stderr,
			"postern track: --mid %s: takes a number, as in the reply \"250 2.0.0 accepted as 123\"\n",
			track->mid);
		return CLI_USAGE;
	}
	query->mid = (int64_t)number;
	if (query->sender != NULL && strcmp(query->sender, "<>") == 0)
		query->sender = "";
	if (query->state != NULL && !store_is_state(query->state)) {
		fprintf(stderr,
			"postern track: --state takes queued, deferred, delivered, bounced, deleted, corrupt or refused, not %s\n",
			query->state);
		return CLI_USAGE;
	}
	if (track->limit_text != NULL &&
		(text_number(text_of(track->limit_text), INT64_MAX, &track->limit) < 0 ||
			track->limit == 0)) {
		fprintf(stderr, "postern track: --limit takes a number, not %s\n", track->limit_text);
		return CLI_USAGE;
	}
	return cli_tracking_time("track", "--since", track->since, &query->since_ms) &&
			       cli_tracking_time("track", "--until", track->until, &query->until_ms)
		       ? CLI_FINE
		       : CLI_USAGE;
}

int cli_track(const char *file, int argc, char **argv)
{
	struct track track = { 0 };
	const struct cli_option options[] = {
		{ .name = "sender", .value = &track.query.sender },
		{ .name = "recipient", .value = &track.query.recipient },
		{ .name = "domain", .value = &track.query.domain },
		{ .name = "destination", .value = &track.query.host },
		{ .name = "state", .value = &track.query.state },
		{ .name = "mid", .value = &track.mid },
		{ .name = "since", .value = &track.since },
		{ .name = "until", .value = &track.until },
		{ .name = "limit", .value = &track.limit_text },
		{ .name = "json", .flag = &track.json },
	};
	int status =
		cli_options("track", argc, argv, options, COUNT(options)) ? parse_query(&track) : CLI_USAGE;

	if (status != CLI_FINE)
		return status;

	void *scratch = talloc_new(NULL);
	struct cli_tracking tracking;
	status = cli_tracking_open(file, scratch, &tracking);
	if (status == CLI_FINE)
		status = print_pages(&tracking, &track);
	cli_tracking_done(&tracking);
	talloc_free(scratch);
	return status;
}
