/* `queue destinations`: how each next hop stands, and what `status` and lists say about one that is paused. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"
#include "queue/queue_admin.h"
#include "report/track.h"

void cli_queue_print_pause(const struct store_admin_pause *pause)
{
	const int64_t now = clock_wall_ms();
	char span[CLI_QUEUE_SPAN_MAX], since[CLOCK_TEXT_MAX];

	printf("paused since %s, ", clock_iso(pause->since_ms, since));
	if (pause->until_ms <= now)
		printf("one mail tries it next");
	else
		printf("for %s more", cli_queue_span(pause->until_ms - now, span));
	if (pause->reason[0] != '\0')
		printf(": %s", pause->reason);
}

json_t *cli_queue_pause_json(const struct store_admin_pause *pause)
{
	char since[CLOCK_TEXT_MAX], until[CLOCK_TEXT_MAX];

	if (pause->until_ms == 0)
		return json_null();
	return json_pack("{s:s, s:s, s:o}", "since", clock_iso(pause->since_ms, since), "until",
		clock_iso(pause->until_ms, until), "reason", track_string(pause->reason));
}

json_t *cli_queue_destination_json(const struct store_admin_destination *d)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:b, s:o, s:I, s:I, s:I, s:o}", "destination",
		track_string(d->name), "queued", (json_int_t)d->queued, "deferred", (json_int_t)d->deferred,
		"active", (json_int_t)d->active, "held", (json_int_t)d->held, "suspended", d->suspended,
		"pause", cli_queue_pause_json(&d->pause), "connections",
		(json_int_t)d->active + (json_int_t)d->idle, "idle_connections", (json_int_t)d->idle,
		"allowed_connections", (json_int_t)d->allowed, "rate_per_minute",
		d->rate == 0 ? json_null() : json_integer((json_int_t)d->rate));
}

static void print_plain(const struct store_admin_destination *d)
{
	printf("%s  %llu queued, %llu deferred, %llu active, %llu held  %llu of %u connections", d->name,
		(unsigned long long)d->queued, (unsigned long long)d->deferred, (unsigned long long)d->active,
		(unsigned long long)d->held, (unsigned long long)(d->active + d->idle), d->allowed);
	if (d->rate > 0)
		printf(", at most %llu mails a minute", (unsigned long long)d->rate);
	if (d->suspended)
		printf("  suspended");
	if (d->pause.until_ms != 0) {
		printf("  ");
		cli_queue_print_pause(&d->pause);
	}
	printf("\n");
}

static bool matches(const struct cli_queue_options *options, const struct store_admin_destination *d)
{
	const bool in[STORE_ADMIN_STATE_END] = {
		[STORE_ADMIN_ANY] = true,
		[STORE_ADMIN_QUEUED] = d->queued > 0,
		[STORE_ADMIN_DEFERRED] = d->deferred > 0,
		[STORE_ADMIN_ACTIVE] = d->active > 0,
		[STORE_ADMIN_HELD] = d->held > 0,
		[STORE_ADMIN_SUSPENDED] = d->suspended,
	};
	const char *name = options->filter.destination;

	return (!options->paused || d->pause.until_ms != 0) && in[options->filter.state] &&
	       (name == NULL || strcasecmp(name, d->name) == 0);
}

int cli_queue_destinations(int channel, const struct cli_queue_options *options)
{
	uint64_t left = options->limit == 0 ? UINT64_MAX : options->limit;
	char *after = text_must(talloc_strdup(NULL, ""));
	bool any = false, ended = false;
	int r = 0;

	while (r == 0 && !ended && left > 0) {
		struct store_admin_destinations page = { 0 };
		void *scratch = talloc_new(NULL);

		r = queue_admin_destinations(channel, scratch, after, options->paused, &page);
		for (size_t i = 0; i < page.count && left > 0; i++) {
			if (!matches(options, &page.list[i]))
				continue;
			if (options->json)
				cli_print_json(cli_queue_destination_json(&page.list[i]));
			else
				print_plain(&page.list[i]);
			any = true;
			left--;
		}
		fflush(stdout);
		ended = page.ended;
		if (page.count > 0) {
			talloc_free(after);
			after = text_copy(NULL, text_of(page.list[page.count - 1].name));
		}
		talloc_free(scratch);
	}
	talloc_free(after);
	if (r < 0)
		return cli_queue_failed(r);
	if (!any && !options->json)
		fprintf(stderr, "postern: no destination that matches has mail\n");
	return CLI_FINE;
}
