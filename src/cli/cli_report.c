/* `report tls`: how much of the mail went under TLS, from the tracking records. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli_private.h"
#include "cli/cli_tracking.h"
#include "cli/cli_verbs.h"
#include "report/tls_report.h"

enum { ROWS = 30 };

struct options {
	const char *since, *until, *domain, *limit;
	bool json;
};

static const struct cli_verb verbs[] = {
	{ .name = "tls",
		.arguments = "[--since TIME] [--until TIME] [--domain D] [--limit N]",
		.summary =
			"mail in TLS and in clear, verified or not, and what failed for want of TLS, both ways" },
};

static const struct cli_verbs_note notes[] = {
	{ 0, "  --since TIME     mail that was received then or later: 2026-11-21, 2026-11-21T10:20:30Z, 2026-11-21T12:20+02:00\n"
	     "                   (UTC without an offset), or an age such as 90s, 2h30m, 7d; all that tracking has unless said\n"
	     "  --until TIME     received before\n"
	     "  --domain D       this domain only: of the sender for incoming mail, of the recipients for outgoing mail\n"
	     "  --limit N        rows of domains, those with the most mail (30 unless said)\n" },
};

static const struct cli_verbs command = { "report", verbs, COUNT(verbs), notes, COUNT(notes) };

static long long number(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static void print_sums(const char *name, json_t *sums)
{
	json_t *percent = json_object_get(sums, "percent_in_tls");

	printf("  %-28s %9lld %9lld %9lld %9lld %9lld", name, number(sums, "mails"), number(sums, "in_tls"),
		number(sums, "verified"), number(sums, "in_clear"), number(sums, "failed"));
	if (json_is_real(percent))
		printf("   %5.1f %%", json_real_value(percent));
	printf("\n");
}

static void print_head(const char *name)
{
	printf("%-30s %9s %9s %9s %9s %9s   in TLS\n", name, "mails", "in TLS", "verified", "in clear",
		"failed");
}

/* The row of a level; static. */
static const char *label_of(const char *level)
{
	if (strcmp(level, "none") == 0)
		return "TLS switched off";
	if (strcmp(level, "temporary-list") == 0)
		return "handshake had failed";
	return strcmp(level, "preferred") == 0 ? "TLS preferred" : "TLS required";
}

static void print_half(const char *name, json_t *half)
{
	const char *level;
	json_t *sums, *reason;
	size_t i;

	print_head(name);
	json_object_foreach(json_object_get(half, "wanted"), level, sums)
	{
		if (strcmp(level, "temporary-list") != 0 ||
			number(sums, "mails") + number(sums, "failed") > 0)
			print_sums(label_of(level), sums);
	}
	print_sums("together", half);
	json_array_foreach(json_object_get(half, "reasons"), i, reason) printf("    failed %lld times: %s\n",
		number(reason, "count"), json_string_value(json_object_get(reason, "reason")));
	if (number(half, "reasons_left_out") > 0)
		printf("    failed %lld times for other reasons\n", number(half, "reasons_left_out"));
	printf("\n");
}

static void print_domains(json_t *report, const char *half, const char *title)
{
	json_t *row;
	size_t i;

	print_head(title);
	json_array_foreach(json_object_get(report, "domains"), i, row)
	{
		json_t *sums = json_object_get(row, half);

		if (number(sums, "mails") + number(sums, "failed") > 0)
			print_sums(json_string_value(json_object_get(row, "domain")), sums);
	}
	printf("\n");
}

static void print_report(json_t *report)
{
	print_half("Incoming mail", json_object_get(report, "incoming"));
	print_half("Outgoing mail", json_object_get(report, "outgoing"));
	print_domains(report, "incoming", "Incoming, by sender's domain");
	print_domains(report, "outgoing", "Outgoing, by domain");
	if (number(report, "domains_left_out") > 0)
		printf("%lld mails and failures of domains without a row here (--limit)\n",
			number(report, "domains_left_out"));
}

static int read_all(struct cli_tracking *tracking, const struct store_query *query, struct tls_report *report)
{
	json_t *record;
	int r;

	while ((r = cli_tracking_record(tracking, query, &record)) > 0) {
		if (record != NULL)
			tls_report_add(report, record);
		json_decref(record);
	}
	return r < 0 ? CLI_FAILED : CLI_FINE;
}

static json_t *time_json(int64_t ms)
{
	char text[CLOCK_TEXT_MAX];

	return ms == 0 ? json_null() : json_string(clock_iso(ms, text));
}

static int report_tls(const char *file, const struct options *options, const struct store_query *query,
	size_t rows, void *scratch)
{
	struct cli_tracking tracking;
	struct tls_report *report = tls_report_new(
		scratch, options->domain == NULL ? NULL : text_copy_lower(scratch, text_of(options->domain)));
	int status = cli_tracking_open(file, scratch, &tracking);

	if (status == CLI_FINE)
		status = read_all(&tracking, query, report);
	cli_tracking_done(&tracking);
	if (status != CLI_FINE)
		return status;
	json_t *json = tls_report_json(report, rows);
	json_object_set_new(json, "since", time_json(query->since_ms));
	json_object_set_new(json, "until", time_json(query->until_ms));
	if (options->json) {
		cli_print_json(json);
		return CLI_FINE;
	}
	print_report(json);
	json_decref(json);
	return CLI_FINE;
}

int cli_report(const char *file, int argc, char **argv)
{
	struct options options = { 0 };
	const struct cli_verbs_option list[] = {
		{ 0, { .name = "since", .value = &options.since } },
		{ 0, { .name = "until", .value = &options.until } },
		{ 0, { .name = "domain", .value = &options.domain } },
		{ 0, { .name = "limit", .value = &options.limit } },
		{ 0, { .name = "json", .flag = &options.json } },
	};
	struct store_query query = { 0 };
	uint64_t rows = ROWS;
	int status;
	const struct cli_verb *verb = cli_verbs_read(&command, argc, argv, list, COUNT(list), &status);

	if (verb == NULL)
		return status;
	if (options.limit != NULL && text_number(text_of(options.limit), INT32_MAX, &rows) < 0)
		return cli_verbs_wrong(&command, verb, "--limit takes a number, not ", options.limit);
	if (!cli_tracking_time("report tls", "--since", options.since, &query.since_ms) ||
		!cli_tracking_time("report tls", "--until", options.until, &query.until_ms))
		return CLI_USAGE;
	void *scratch = talloc_new(NULL);
	status = report_tls(file, &options, &query, (size_t)rows, scratch);
	talloc_free(scratch);
	return status;
}
