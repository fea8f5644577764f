/* `queue ...`: what is queued, and orders about it. Asks role `queue` page by page; without a running gateway `list` and `show` read the store. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"
#include "cli/cli_verbs.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "queue/queue_admin.h"
#include "report/track.h"

enum { ASK_MS = 5000 };

/* What a verb takes and needs. */
enum { FILTER = 1 << 0, MID = 1 << 1, DESTINATION = 1 << 2, GATEWAY = 1 << 3, TO = 1 << 4, HOPS = 1 << 5 };

/* Every verb, and what stands behind it on the command line; the number is the order that it gives. */
static const struct cli_verb verbs[] = {
	{ "list", FILTER, 0, "[FILTER]...", "one line for each mail that waits" },
	{ "show", MID, 0, "MID [--content]", "all that is known of one mail; or its content, as it is" },
	{ "destinations", HOPS | GATEWAY, 0, "[DESTINATION] [--paused] [--state S] [--limit N]",
		"one line for each next hop with mail: how much, whether it is paused or suspended and why, connections" },
	{ "flush", FILTER | GATEWAY, STORE_ADMIN_FLUSH, "FILTER...|--all",
		"try now, destinations that could not be reached included" },
	{ "hold", FILTER | GATEWAY, STORE_ADMIN_HOLD, "FILTER...|--all",
		"send nothing of it until it is released; it does not expire meanwhile" },
	{ "release", FILTER | GATEWAY, STORE_ADMIN_RELEASE, "FILTER...|--all", "send again what was held" },
	{ "delete", FILTER | GATEWAY, STORE_ADMIN_DELETE, "FILTER...|--all [--yes]",
		"remove it for ever; nobody is told, tracking shows it" },
	{ "expire", FILTER | GATEWAY, STORE_ADMIN_EXPIRE, "FILTER...|--all [--yes]",
		"give it up and return it to its sender" },
	{ "reroute", FILTER | GATEWAY | TO, STORE_ADMIN_REROUTE, "FILTER...|--all --to NEXT_HOP [--yes]",
		"send it there instead, without the login and the TLS demands of its route; `--to default`: where the routes lead" },
	{ "suspend", DESTINATION | GATEWAY, 0, "DESTINATION",
		"send nothing there; what is under way is finished" },
	{ "resume", DESTINATION | GATEWAY, 0, "DESTINATION", "send there again" },
};

static const struct cli_verbs_note notes[] = {
	{ FILTER, "A FILTER is one of these; each is taken once, and with several all must match:\n" },
	{ FILTER | MID,
		"  --mid N            the mail of that number, as in \"250 2.0.0 accepted as N\"; N alone means the same\n" },
	{ FILTER, "  --sender A         its sender; '' is the null sender\n"
		  "  --recipient A      a recipient\n"
		  "  --domain D         a recipient's domain\n" },
	{ FILTER | HOPS,
		"  --destination D    where it goes: a next hop or domain as `list --json` shows it\n"
		"  --state S          queued, deferred, active, held, suspended, expiring or corrupt (which no other list has);\n"
		"                     of destinations: queued, deferred, active, held or suspended\n" },
	{ FILTER, "  --older AGE        received before, such as 2h or 2026-11-21T10:20:30Z\n" },
	{ FILTER | HOPS, "  --limit N          stop after N mails, the oldest first\n" },
	{ FILTER,
		"hold, release, flush and reroute concern all recipients of a mail in the same domain; delete and expire just\n"
		"those that match. delete, expire and reroute say how many match and ask; without a terminal they need --yes.\n" },
	{ DESTINATION | HOPS | TO,
		"A DESTINATION is a next hop as the routes write it, or the recipient domain where no route names one.\n" },
};

static const struct cli_verbs command = {
	.command = "queue", .verbs = verbs, .count = COUNT(verbs), .notes = notes, .note_count = COUNT(notes)
};

static bool wrong(const struct cli_verb *verb, const char *what, const char *value)
{
	cli_verbs_wrong(&command, verb, what, value);
	return false;
}

/* Texts of the command line as they were typed; NULL = not given. */
struct typed {
	const char *plain, *mid, *state, *older, *limit;
};

/* Mail that is expiring or corrupt waits for no destination. */
static bool read_state(const char *word, bool of_destinations, enum store_admin_state *ret_state)
{
	const int end = of_destinations ? STORE_ADMIN_EXPIRING : STORE_ADMIN_STATE_END;

	for (int i = 1; i < end; i++) {
		if (strcmp(word, store_admin_state_name((enum store_admin_state)i)) == 0) {
			*ret_state = (enum store_admin_state)i;
			return true;
		}
	}
	return false;
}

static bool understand(const struct cli_verb *verb, struct typed *typed, struct cli_queue_options *options)
{
	struct store_admin_filter *filter = &options->filter;
	uint64_t mid = 0;

	if (typed->plain != NULL && verb->takes & (FILTER | MID) && typed->mid != NULL)
		return wrong(
			verb, "one mail can be named, by its number or by --mid, not also ", typed->plain);
	if (typed->plain != NULL && filter->destination != NULL && verb->takes & HOPS)
		return wrong(verb, "one destination can be named, not also ", typed->plain);
	if (typed->plain != NULL && verb->takes & HOPS)
		filter->destination = typed->plain;
	else if (typed->plain != NULL && (verb->takes & DESTINATION) == 0)
		typed->mid = typed->plain;
	if (typed->mid != NULL && (text_number(text_of(typed->mid), INT64_MAX, &mid) < 0 || mid == 0))
		return wrong(verb, "the number of a mail is expected, not ", typed->mid);
	filter->mid = (int64_t)mid;
	if (typed->state != NULL && !read_state(typed->state, verb->takes & HOPS, &filter->state))
		return wrong(verb,
			verb->takes & HOPS
				? "--state takes queued, deferred, active, held or suspended, not "
				: "--state takes queued, deferred, active, held, suspended, expiring or corrupt, not ",
			typed->state);
	if (typed->older != NULL && clock_parse(typed->older, clock_wall_ms(), &filter->before_ms) < 0)
		return wrong(verb, "--older takes an age such as 15m, 2h, 7d, or a time, not ", typed->older);
	if (typed->limit != NULL &&
		(text_number(text_of(typed->limit), INT64_MAX, &options->limit) < 0 || options->limit == 0))
		return wrong(verb, "--limit takes a number, not ", typed->limit);
	if (filter->sender != NULL && strcmp(filter->sender, "<>") == 0)
		filter->sender = "";
	return true;
}

/* A change of everything must be meant. */
static bool is_meant(const struct cli_verb *verb, const struct cli_queue_options *options)
{
	const struct store_admin_filter *f = &options->filter;
	const bool any = f->mid != 0 || f->sender != NULL || f->recipient != NULL || f->domain != NULL ||
			 f->destination != NULL || f->state != STORE_ADMIN_ANY || f->before_ms != 0;

	if ((verb->takes & GATEWAY) == 0 || (verb->takes & FILTER) == 0 || any != options->all)
		return true;
	return wrong(verb,
		any ? "--all and a filter contradict each other" : "say which mail: a filter, or --all", "");
}

int cli_queue_failed(int error)
{
	fprintf(stderr, "postern: the queue could not be asked: %s\n", err_text(error));
	return error == ERR_CLOSED || error == -ETIMEDOUT || error == -ENOSPC ? CLI_TEMPORARY : CLI_FAILED;
}

static int suspend(int channel, const struct cli_verb *verb, const char *destination, bool json)
{
	const bool suspended = strcmp(verb->name, "suspend") == 0;
	struct store_admin_suspension done = { 0 };
	int r = queue_admin_suspend(channel, destination, suspended, &done);

	if (r < 0)
		return cli_queue_failed(r);
	if (done.unknown && suspended)
		fprintf(stderr,
			"postern: no route and no queued mail has a next hop called %s; `queue destinations` lists those with mail\n",
			destination);
	if (json)
		cli_print_json(json_pack("{s:o, s:b, s:b, s:b}", "destination", track_string(destination),
			"suspended", suspended, "changed", done.changed, "known", !done.unknown));
	else
		printf("%s %s\n", destination,
			suspended      ? done.changed ? "is suspended" : "was suspended already"
			: done.changed ? "is resumed"
				       : "was not suspended");
	return CLI_FINE;
}

static int run(const struct cli_verb *verb, const struct cli_queue_source *source, const char *destination,
	const struct cli_queue_options *options)
{
	if (verb->takes & DESTINATION)
		return suspend(source->channel, verb, destination, options->json);
	if (verb->takes & HOPS)
		return cli_queue_destinations(source->channel, options);
	if (verb->takes & MID)
		return cli_queue_show(source, options);
	if (verb->takes & GATEWAY)
		return cli_queue_order(source->channel, options, (enum store_admin_command)verb->number);
	return cli_queue_list(source, options);
}

static int run_online(const struct cli_gateway *gateway, const struct cli_verb *verb, const char *destination,
	const struct cli_queue_options *options, void *scratch)
{
	struct frame *answer;
	int status = cli_ask(gateway, FRAME_CONTROL_QUEUE, ASK_MS, scratch, &answer);

	if (status != CLI_FINE)
		return status;
	const bool ok = frame_get_bool(answer);
	const struct text text = frame_get_text(answer);
	if (!ok) {
		fprintf(stderr, "postern: " TEXT_FMT "\n", TEXT_ARG(text));
		return CLI_TEMPORARY;
	}
	CLEANUP(base_close) int channel = frame_get_fd(answer);
	return run(verb, &(struct cli_queue_source){ .channel = channel }, destination, options);
}

/* The configuration says which destination a domain has; without a good one the domain stands for it. */
static const struct config *read_config(const char *file, const void *owner)
{
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL;

	config_gather(problems, file, 0, problems, &config);
	return config;
}

static int run_offline(const struct cli_gateway *gateway, const struct cli_verb *verb,
	const struct cli_queue_options *options, void *scratch)
{
	const struct config *config = read_config(gateway->file, scratch);
	struct cli_queue_source source = { .channel = -1 };
	const char *why = "queue.db cannot be read";
	int r = store_open_reader(scratch, gateway->state_dir, &source.store, &why);

	if (r == 0)
		r = store_admin_prepare_reader(source.store, config);
	config_release(config);
	if (r == 0)
		return run(verb, &source, NULL, options);
	fprintf(stderr, "postern: no gateway is running, and %s\n", why);
	return CLI_TEMPORARY;
}

/* What a verb cannot do without is there; false after saying what is missing. */
static bool is_complete(
	const struct cli_verb *verb, const char *destination, const struct cli_queue_options *options)
{
	if (verb->takes & MID && options->filter.mid == 0)
		return wrong(verb, "the number of the mail is missing", "");
	if (verb->takes & DESTINATION && (destination == NULL || destination[0] == '\0'))
		return wrong(verb, "the destination is missing", "");
	if (verb->takes & TO && options->to == NULL)
		return wrong(verb, "--to is missing", "");
	return true;
}

int cli_queue(const char *file, int argc, char **argv)
{
	struct cli_queue_options options = { 0 };
	struct store_admin_filter *f = &options.filter;
	struct typed typed = { 0 };
	const struct cli_verbs_option known[] = {
		{ 0, { .name = NULL, .value = &typed.plain } }, /* a number, or a destination */
		{ 0, { .name = "json", .flag = &options.json } },
		{ MID, { .name = "content", .flag = &options.content } },
		{ FILTER | MID, { .name = "mid", .value = &typed.mid } },
		{ FILTER, { .name = "all", .flag = &options.all } },
		{ FILTER, { .name = "yes", .flag = &options.yes } },
		{ FILTER, { .name = "sender", .value = &f->sender } },
		{ FILTER, { .name = "recipient", .value = &f->recipient } },
		{ FILTER, { .name = "domain", .value = &f->domain } },
		{ FILTER | HOPS, { .name = "destination", .value = &f->destination } },
		{ FILTER | HOPS, { .name = "state", .value = &typed.state } },
		{ FILTER, { .name = "older", .value = &typed.older } },
		{ FILTER | HOPS, { .name = "limit", .value = &typed.limit } },
		{ HOPS, { .name = "paused", .flag = &options.paused } },
		{ TO, { .name = "to", .value = &options.to } },
	};
	struct cli_gateway gateway;
	int status;
	const struct cli_verb *verb = cli_verbs_read(&command, argc, argv, known, COUNT(known), &status);

	if (verb == NULL)
		return status;
	options.verb = verb->name;
	if (!understand(verb, &typed, &options) || !is_meant(verb, &options) ||
		!is_complete(verb, typed.plain, &options))
		return CLI_USAGE;
	void *scratch = talloc_new(NULL);
	status = CLI_FAILED;
	if (cli_find(file, scratch, &gateway))
		status = verb->takes & GATEWAY || cli_is_running(&gateway)
				 ? run_online(&gateway, verb, typed.plain, &options, scratch)
				 : run_offline(&gateway, verb, &options, scratch);
	talloc_free(scratch);
	return status;
}
