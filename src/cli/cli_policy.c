/* `policy dry-run`: what other entries of `destinations` would have made of the mail that tracking remembers. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "cli/cli_tracking.h"
#include "cli/cli_verbs.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/overlay.h"
#include "config/problems.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "report/tls_replay.h"

enum { ROWS = 50 };

struct options {
	const char *since, *until, *destinations, *limit;
	bool json;
};

static const struct cli_verb verbs[] = {
	{ .name = "dry-run",
		.arguments = "--destinations FILE [--since TIME] [--until TIME] [--limit N]",
		.summary =
			"decide again on the deliveries that tracking remembers: which domains would have been deferred, and why" },
};

static const struct cli_verbs_note notes[] = {
	{ 0, "  --destinations FILE  has the section `destinations`, the section `tls`, or both, as the configuration has them; they take\n"
	     "                   the place of those of the configuration; whatever else is in it is left out\n"
	     "  --since TIME     mail that was received then or later: 2026-11-21T10:20Z, or an age such as 2h30m, 7d; all unless said\n"
	     "  --until TIME     received before\n"
	     "  --limit N        rows of domains (50 unless said)\n"
	     "exit 0: no delivery would have been lost; 1: some would; 2: FILE or the configuration is wrong\n" },
};

static const struct cli_verbs command = { "policy", verbs, COUNT(verbs), notes, COUNT(notes) };

/* Problems stand in the file that is tried as far as its lines go. */
static void print_problems(
	const struct problems *problems, const char *tried, unsigned tried_lines, const void *scratch)
{
	for (size_t i = 0; i < problems->count; i++) {
		struct problem problem = problems->list[i];

		if (problem.line > 0 && problem.line <= tried_lines)
			problem.file = tried;
		fprintf(stderr, "postern: %s\n", problems_format(scratch, &problem));
	}
}

static unsigned lines_of(struct text t)
{
	unsigned count = 1;

	for (size_t i = 0; i < t.len; i++)
		count += t.at[i] == '\n';
	return count;
}

static const char *const keys[] = { "destinations", "tls" };

/* False after saying what is wrong: what of `tried` counts is no YAML. */
static bool is_yaml(const char *tried, struct text over, void *scratch)
{
	size_t found;
	const struct text alone = text_of(overlay_text(scratch, TEXT(""), over, keys, COUNT(keys), &found));
	struct problems *problems = problems_new(scratch);
	struct bundle *bundle = bundle_new(scratch, 0);

	if (overlay_is_yaml(alone))
		return true;
	bundle_add(bundle, tried, alone, BUNDLE_ALL);
	config_release(config_read(bundle, tried, problems));
	print_problems(problems, tried, 0, scratch);
	return false;
}

/* What `tried` says, in the place of what the configuration says, checked as `check` does; NULL after saying what is wrong. */
static const struct config *config_with(
	const struct bundle *bundle, const char *file, const char *tried, struct text over, void *scratch)
{
	struct problems *problems = problems_new(scratch);
	const struct config *config = NULL;
	size_t found;
	char *text = overlay_text(scratch, bundle_find(bundle, file), over, keys, COUNT(keys), &found);

	if (found == 0) {
		fprintf(stderr,
			"postern policy dry-run: %s: neither `destinations:` nor `tls:` begins a line\n",
			tried);
		return NULL;
	}
	if (!is_yaml(tried, over, scratch))
		return NULL;
	const struct bundle *now = config_gather_text(scratch, file, text_of(text), problems, &config);
	if (now != NULL) {
		tls_start();
		identity_check(config, now, problems);
		tls_check(config, now, problems);
	}
	print_problems(problems, tried, lines_of(over), scratch);
	if (problems->count > 0) {
		config_release(config);
		config = NULL;
	}
	return config;
}

/* The configuration, and the same with the sections of the file that is tried; each with one reference. */
static bool read_both(const char *file, const char *tried, const struct config **ret_then,
	const struct config **ret_now, void *scratch)
{
	struct problems *problems = problems_new(scratch);
	struct bundle *bundle = config_gather(scratch, file, 0, problems, ret_then);

	print_problems(problems, "", 0, scratch);
	if (bundle == NULL || problems->count > 0)
		return false;
	int r = bundle_add_file(bundle, tried, BUNDLE_ALL);
	if (r < 0) {
		fprintf(stderr, "postern policy dry-run: %s: %s\n", tried, err_text(r));
		return false;
	}
	*ret_now = config_with(bundle, file, tried, bundle_find(bundle, tried), scratch);
	return *ret_now != NULL;
}

static long long number(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* `3 encrypted, 1 nothing` */
static void print_counts(json_t *counts)
{
	const char *sent;
	json_t *count;
	bool first = true;

	json_object_foreach(counts, sent, count)
	{
		printf("%s%lld %s", first ? "" : ", ", (long long)json_integer_value(count), sent);
		first = false;
	}
}

static void print_row(json_t *row)
{
	json_t *reason;
	size_t i;

	printf("%s: %lld attempts", json_string_value(json_object_get(row, "domain")),
		number(row, "deliveries"));
	if (number(row, "lost") > 0)
		printf(", %lld of them would have been deferred", number(row, "lost"));
	printf("\n  was ");
	print_counts(json_object_get(row, "then"));
	printf("; would be ");
	print_counts(json_object_get(row, "now"));
	printf("\n");
	json_array_foreach(json_object_get(row, "reasons"), i, reason) printf("  %lld would be %s: %s\n",
		number(reason, "count"), json_string_value(json_object_get(reason, "sent")),
		json_string_value(json_object_get(reason, "reason")));
}

static void print_result(json_t *result)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(result, "domains"), i, row) print_row(row);
	if (number(result, "domains_left_out") > 0)
		printf("%lld attempts of domains without a row here (--limit)\n",
			number(result, "domains_left_out"));
	if (number(result, "without_facts") > 0)
		printf("%lld attempts do not say on what they were decided, and are not counted\n",
			number(result, "without_facts"));
	printf("%lld attempts: %lld would have been deferred, %lld would have been sent that were not, of %lld it is not known\n",
		number(result, "deliveries"), number(result, "lost"), number(result, "gained"),
		number(result, "unknown"));
}

static int replay_all(
	struct cli_tracking *tracking, const struct store_query *query, struct tls_replay *replay)
{
	json_t *record;
	int r;

	while ((r = cli_tracking_record(tracking, query, &record)) > 0) {
		if (record != NULL)
			tls_replay_add(replay, record);
		json_decref(record);
	}
	return r < 0 ? CLI_TEMPORARY : CLI_FINE; /* CLI_FAILED says that mail would have waited */
}

static int dry_run(const char *file, const struct options *options, const struct store_query *query,
	size_t rows, void *scratch)
{
	const struct config *then = NULL, *now = NULL;
	struct cli_tracking tracking = { .channel = -1 };
	int status = read_both(file, options->destinations, &then, &now, scratch) ? CLI_FINE : CLI_USAGE;

	if (status == CLI_FINE)
		status = cli_tracking_open(file, scratch, &tracking);
	struct tls_replay *replay = status == CLI_FINE ? tls_replay_new(scratch, then, now) : NULL;

	if (replay != NULL)
		status = replay_all(&tracking, query, replay);
	if (replay != NULL && status == CLI_FINE) {
		json_t *result = tls_replay_json(replay, rows);
		if (number(result, "lost") > 0)
			status = CLI_FAILED;
		if (options->json)
			cli_print_json(json_incref(result));
		else
			print_result(result);
		json_decref(result);
	}
	cli_tracking_done(&tracking);
	config_release(now);
	config_release(then);
	return status;
}

int cli_policy(const char *file, int argc, char **argv)
{
	struct options options = { 0 };
	const struct cli_verbs_option list[] = {
		{ 0, { .name = "destinations", .value = &options.destinations } },
		{ 0, { .name = "since", .value = &options.since } },
		{ 0, { .name = "until", .value = &options.until } },
		{ 0, { .name = "limit", .value = &options.limit } },
		{ 0, { .name = "json", .flag = &options.json } },
	};
	struct store_query query = { 0 };
	uint64_t rows = ROWS;
	int status;
	const struct cli_verb *verb = cli_verbs_read(&command, argc, argv, list, COUNT(list), &status);

	if (verb == NULL)
		return status;
	if (options.destinations == NULL)
		return cli_verbs_wrong(&command, verb, "--destinations FILE is missing", "");
	if (options.limit != NULL && text_number(text_of(options.limit), INT32_MAX, &rows) < 0)
		return cli_verbs_wrong(&command, verb, "--limit takes a number, not ", options.limit);
	if (!cli_tracking_time("policy dry-run", "--since", options.since, &query.since_ms) ||
		!cli_tracking_time("policy dry-run", "--until", options.until, &query.until_ms))
		return CLI_USAGE;
	void *scratch = talloc_new(NULL);
	status = dry_run(file, &options, &query, (size_t)rows, scratch);
	talloc_free(scratch);
	return status;
}
