/* `crl ...`: the sources of lists of revoked certificates, and what was fetched of them. `list` and `show` read the files of role `upkeep`; `update` asks it. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "cli/cli_verbs.h"
#include "config/config.h"
#include "config/crl_sources.h"
#include "config/problems.h"
#include "ipc/channel.h"
#include "net/tls.h"
#include "pki/crl_ask.h"
#include "pki/crl_file.h"
#include "pki/crl_list.h"
#include "pki/crl_set.h"
#include "pki/crl_source.h"
#include "pki/trust.h"
#include "policy/timetable.h"

enum { ASK_MS = 5000, FETCH_MS = 150 * 1000, USE_MS = 150 * 1000 };

/* What a verb takes. */
enum { NAME = 1 << 0, MAYBE_NAME = 1 << 1 };
enum { VERB_LIST, VERB_UPDATE, VERB_SHOW };

struct options {
	const char *plain;
	bool json;
};

/* What is known of a source. */
struct known {
	const struct config_crl_source *source;
	struct crl_note note;
	struct crl_facts facts;
	size_t size;
	const char *flaw;      /* the list is there, and cannot be used: why; else NULL */
	const char *failure;   /* that, and what went wrong with the last fetch; or NULL */
	const char *state;     /* disabled, missing, damaged, stale, current */
	int64_t next_fetch_ms; /* 0 = none */
};

static const char *state_of(const struct known *known, bool there, int64_t now_ms)
{
	if (!known->source->enabled)
		return "disabled";
	if (known->flaw != NULL)
		return "damaged";
	if (!there)
		return "missing";
	return known->facts.next_ms > now_ms ? "current" : "stale";
}

/* Why the list cannot be used, as the roles see it: NULL, or owned by `owner`. */
static const char *flaw_of(const void *owner, struct text list, const struct trust *trust, int64_t now_ms)
{
	const struct crl_offer offer = {
		.bytes = list, .trust = trust, .now_ms = crl_source_now(list, now_ms)
	};
	const char *why;

	return crl_set_add(crl_set_new(owner), &offer, &why) == CRL_REFUSED
		       ? text_must(talloc_asprintf(owner, "unusable: %s", why))
		       : NULL;
}

/* What is wrong with the list, and with the last fetch; NULL = nothing. */
static const char *failure_of(const void *owner, const struct known *known)
{
	const char *fetch = known->note.why[0] == '\0' ? NULL : text_copy(owner, text_of(known->note.why));

	if (known->flaw == NULL || fetch == NULL)
		return known->flaw != NULL ? known->flaw : fetch;
	return text_must(talloc_asprintf(owner, "%s; the last fetch: %s", known->flaw, fetch));
}

static void look_at(const struct config_crl_source *source, const struct trust *trust, int directory_fd,
	const void *owner, struct known *ret)
{
	const int64_t now = clock_wall_ms();
	struct text list = { NULL, 0 };
	int r = directory_fd < 0 ? directory_fd : crl_file_read(owner, directory_fd, source->name, &list);

	*ret = (struct known){ .source = source, .size = list.len };
	if (directory_fd >= 0)
		crl_file_read_note(directory_fd, source->name, &ret->note);
	if (r == 0)
		crl_list_describe(owner, list, &ret->facts);
	if (r == 0)
		ret->flaw = flaw_of(owner, list, trust, now);
	else if (r != -ENOENT)
		ret->flaw = err_text(r);
	ret->failure = failure_of(owner, ret);
	ret->state = state_of(ret, r == 0, now);
	if (source->enabled)
		ret->next_fetch_ms =
			ret->note.failures > 0
				? timetable_again_ms(ret->note.failed_ms, ret->note.failures, now)
				: timetable_next_ms(&source->timetable, ret->note.fetched_ms, now);
}

static json_t *time_json(int64_t ms)
{
	char text[CLOCK_TEXT_MAX];

	return ms == 0 ? json_null() : json_string(clock_iso(ms, text));
}

static json_t *known_json(const struct known *known, const char *file)
{
	const struct config_crl_source *source = known->source;
	const struct crl_facts *facts = &known->facts;
	const bool there = facts->issuer != NULL;

	return json_pack(
		"{s:s, s:s, s:b, s:s, s:s?, s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:s?, s:I, s:o}",
		"source", source->name, "state", known->state, "enabled", (int)source->enabled, "primary",
		source->primary, "secondary", source->secondary, "schedule", source->schedule, "file", file,
		"issuer", facts->issuer, "number", facts->number[0] == '\0' ? NULL : facts->number,
		"this_update", time_json(facts->this_ms), "next_update", time_json(facts->next_ms), "entries",
		there ? json_integer((json_int_t)facts->entries) : json_null(), "size",
		there ? json_integer((json_int_t)known->size) : json_null(), "fetched",
		time_json(known->note.fetched_ms), "from",
		known->note.from[0] == '\0' ? NULL : known->note.from, "failed",
		time_json(known->note.failed_ms), "failure", known->failure, "failures",
		(json_int_t)known->note.failures, "next_fetch", time_json(known->next_fetch_ms));
}

static void print_time(const char *label, int64_t ms)
{
	char text[CLOCK_TEXT_MAX];

	if (ms != 0)
		printf("  %s: %s\n", label, clock_iso(ms, text));
}

static void print_long(const struct known *known, const char *file)
{
	const struct config_crl_source *source = known->source;

	printf("%s: %s\n  primary: %s\n", source->name, known->state, source->primary);
	if (source->secondary != NULL)
		printf("  secondary: %s\n", source->secondary);
	printf("  schedule: %s\n  file: %s\n", source->schedule, file);
	if (known->facts.issuer != NULL) {
		printf("  issuer: %s\n", known->facts.issuer);
		if (known->facts.number[0] != '\0')
			printf("  number: %s\n", known->facts.number);
		print_time("this update", known->facts.this_ms);
		print_time("next update", known->facts.next_ms);
		printf("  entries: %zu\n  size: %zu\n", known->facts.entries, known->size);
	}
	print_time("fetched", known->note.fetched_ms);
	if (known->note.from[0] != '\0')
		printf("  from: %s\n", known->note.from);
	print_time("failed", known->note.failed_ms);
	if (known->failure != NULL)
		printf("  failure: %s\n", known->failure);
	print_time("next fetch", known->next_fetch_ms);
}

static void print_short(const struct known *known)
{
	char text[CLOCK_TEXT_MAX];

	printf("%-16s %-8s", known->source->name, known->state);
	if (known->flaw != NULL)
		printf("  %s", known->flaw);
	else if (known->facts.issuer != NULL)
		printf("  until %s  %zu revoked  %s", clock_iso(known->facts.next_ms, text),
			known->facts.entries, known->facts.issuer);
	if (known->note.failures > 0)
		printf("  failed %u times: %s", known->note.failures, known->note.why);
	printf("\n");
}

static bool is_meant(const struct config_crl_source *source, const char *name)
{
	return name == NULL || strcmp(source->name, name) == 0;
}

static const struct config_crl_source *find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->crl.source_count; i++)
		if (is_meant(&config->crl.sources[i], name))
			return &config->crl.sources[i];
	fprintf(stderr, "postern crl: the configuration has no source `%s`; see postern crl list\n", name);
	return NULL;
}

/* `name` NULL = all of them, shortly. 1 when one is missing, damaged or out of date. */
static int show(const struct config *config, const struct trust *trust, const struct options *options,
	bool full, void *scratch)
{
	CLEANUP(base_close) int directory_fd = crl_file_open(config->state_dir);
	bool fine = true;

	if (directory_fd < 0 && directory_fd != -ENOENT) {
		fprintf(stderr,
			"postern: %s/" CRL_SOURCES_DIRECTORY
			" cannot be read: %s; run this as root, or as the user that runs the gateway\n",
			config->state_dir, err_text(directory_fd));
		return CLI_FAILED;
	}
	for (size_t i = 0; i < config->crl.source_count; i++) {
		struct known known;

		if (!is_meant(&config->crl.sources[i], options->plain))
			continue;
		look_at(&config->crl.sources[i], trust, directory_fd, scratch, &known);
		const char *file = crl_sources_path(scratch, config->state_dir, known.source->name, ".crl");
		if (options->json)
			cli_print_json(known_json(&known, file));
		else if (full)
			print_long(&known, file);
		else
			print_short(&known);
		fine &= strcmp(known.state, "current") == 0 || strcmp(known.state, "disabled") == 0;
	}
	if (config->crl.source_count == 0 && !options->json)
		printf("the configuration names no source (crl_sources.sources)\n");
	return fine ? CLI_FINE : CLI_FAILED;
}

/* What came of one source. */
struct updated {
	const char *name;
	struct crl_outcome outcome;
};

static int update_one(int channel, const void *owner, struct updated *updated)
{
	struct frame *frame;
	int r = channel_send(channel, crl_ask_frame(owner, updated->name), clock_mono_ms() + ASK_MS);

	if (r == 0)
		r = channel_receive(owner, channel, -1, clock_mono_ms() + FETCH_MS, &frame);
	if (r == 0 && !crl_ask_result(owner, frame, &updated->outcome))
		r = ERR_FORMAT;
	if (r == 0)
		return CLI_FINE;
	fprintf(stderr, "postern: role upkeep did not answer: %s; try again\n", err_text(r));
	return CLI_TEMPORARY;
}

/* What is fetched counts when every role has it: what came of that, and why it was refused (owned by `owner`, NULL = it was not). */
static int take_into_use(const struct cli_gateway *gateway, const void *owner, const char **ret_refused)
{
	struct frame *answer;
	int status = cli_ask(gateway, FRAME_CONTROL_LISTS, USE_MS, owner, &answer);

	*ret_refused = NULL;
	if (status != CLI_FINE || frame_get_bool(answer))
		return status;
	*ret_refused = frame_get_copy(answer, owner);
	return CLI_FAILED;
}

static int print_updated(const struct updated *updated, const char *refused, bool json)
{
	const struct crl_outcome *outcome = &updated->outcome;
	const bool fine = outcome->fine && refused == NULL;
	const char *result = !outcome->fine	? "failed"
			     : refused != NULL	? "refused"
			     : outcome->renewed ? "renewed"
						: "unchanged",
		   *reason = outcome->fine && refused != NULL ? refused : outcome->reason;

	if (json)
		cli_print_json(json_pack("{s:s, s:b, s:s, s:s}", "source", updated->name, "ok", (int)fine,
			"result", result, "reason", reason));
	else
		fprintf(fine ? stdout : stderr, "%s: %s%s%s%s\n", updated->name, result,
			!fine		   ? ""
			: outcome->renewed ? " and in use"
					   : ", and in use",
			reason[0] == '\0' ? "" : ": ", reason);
	return fine ? CLI_FINE : CLI_FAILED;
}

/* A channel to role `upkeep`, or -1 after saying why there is none. */
static int open_upkeep(const struct cli_gateway *gateway, void *scratch, int *ret_status)
{
	struct frame *answer;

	*ret_status = cli_ask(gateway, FRAME_CONTROL_UPKEEP, ASK_MS, scratch, &answer);
	if (*ret_status != CLI_FINE)
		return -1;
	const bool there = frame_get_bool(answer);
	const struct text why = frame_get_text(answer);
	const int channel = there ? frame_get_fd(answer) : -1;
	if (channel < 0) {
		fprintf(stderr, "postern: " TEXT_FMT "\n", TEXT_ARG(why));
		*ret_status = CLI_TEMPORARY;
	}
	return channel;
}

/* All are fetched, one after the other, and then taken into use together. */
static int update(const struct config *config, const char *file, const struct options *options, void *scratch)
{
	struct updated *all =
		text_must(talloc_zero_array(scratch, struct updated, (unsigned)config->crl.source_count + 1));
	struct cli_gateway gateway;
	const char *refused = NULL;
	size_t count = 0;
	int status;
	bool fine = false;

	if (!cli_find(file, scratch, &gateway))
		return CLI_FAILED;
	CLEANUP(base_close) int channel = open_upkeep(&gateway, scratch, &status);
	for (size_t i = 0; i < config->crl.source_count && status == CLI_FINE; i++) {
		const struct config_crl_source *source = &config->crl.sources[i];

		if (!is_meant(source, options->plain) || (options->plain == NULL && !source->enabled))
			continue;
		all[count].name = source->name;
		status = update_one(channel, scratch, &all[count]);
		fine |= status == CLI_FINE && all[count].outcome.fine;
		count += status == CLI_FINE;
	}
	if (fine) {
		const int used = take_into_use(&gateway, scratch, &refused);

		status = MAX(status, used);
		if (used != CLI_FINE && refused == NULL)
			return status; /* which was said; nothing is known of them */
	}
	for (size_t i = 0; i < count; i++) {
		const int one = print_updated(&all[i], refused, options->json);

		status = MAX(status, one);
	}
	if (count == 0 && status == CLI_FINE && !options->json)
		printf("no source is enabled (crl_sources.sources)\n");
	return status;
}

static const struct cli_verb verbs[] = {
	{ "list", 0, VERB_LIST, "",
		"each source: its state, until when its list is good, and what went wrong" },
	{ "update", MAYBE_NAME, VERB_UPDATE, "[NAME]",
		"have the running gateway fetch it, or all that are enabled, now, and take it into use" },
	{ "show", NAME, VERB_SHOW, "NAME", "all about one source and its list" },
};

static const struct cli_verbs_note notes[] = {
	{ 0, "A source is an entry of crl_sources.sources in the configuration. States: current, stale (past its time), missing (never fetched), damaged (no list, or no authority vouches for it), disabled.\n"
	     "`list` and `show` exit 1 when an enabled source is not current, `update` when a list could not be fetched or taken into use, 75 when no gateway runs.\n" },
};

static const struct cli_verbs command = {
	.command = "crl", .verbs = verbs, .count = COUNT(verbs), .notes = notes, .note_count = COUNT(notes)
};

/* The file, and whom it trusts; whatever else it names may be half-written. NULL after saying what is wrong. */
static const struct config *read_config(const char *file, const void *owner, const struct trust **ret_trust)
{
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL;
	const struct bundle *bundle = config_gather_trust(owner, file, problems, &config);

	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "postern: %s\n", problems_format(problems, &problems->list[i]));
	if (bundle == NULL)
		return NULL;
	tls_start();
	*ret_trust = trust_of(owner, config, bundle);
	return config;
}

int cli_crl(const char *file, int argc, char **argv)
{
	struct options options = { 0 };
	const struct cli_verbs_option known[] = {
		{ NAME | MAYBE_NAME, { .name = NULL, .value = &options.plain } },
		{ 0, { .name = "json", .flag = &options.json } },
	};
	int status;
	const struct cli_verb *verb = cli_verbs_read(&command, argc, argv, known, COUNT(known), &status);

	if (verb == NULL)
		return status;
	if (verb->takes == NAME && options.plain == NULL)
		return cli_verbs_wrong(&command, verb, "a NAME is missing", "");
	void *scratch = talloc_new(NULL);
	const struct trust *trust;
	const struct config *config = read_config(file, scratch, &trust);
	if (config == NULL || (options.plain != NULL && find(config, options.plain) == NULL))
		status = CLI_FAILED;
	else if (verb->number == VERB_UPDATE)
		status = update(config, file, &options, scratch);
	else
		status = show(config, trust, &options, verb->number == VERB_SHOW, scratch);
	config_release(config);
	talloc_free(scratch);
	return status;
}
