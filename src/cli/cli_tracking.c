#include "cli/cli_tracking.h"

#include <errno.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "report/track.h"

enum { ASK_MS = 5000, PROGRESS_MS = 5000 };

static int open_store(const struct cli_gateway *gateway, const void *owner, struct cli_tracking *tracking)
{
	const char *why;

	if (store_open_reader(owner, gateway->state_dir, &tracking->store, &why) == 0)
		return CLI_FINE;
	fprintf(stderr, "postern: no gateway is running, and %s\n", why);
	return CLI_TEMPORARY;
}

static int open_channel(const struct cli_gateway *gateway, const void *owner, struct cli_tracking *tracking)
{
	struct frame *answer;
	int status = cli_ask(gateway, FRAME_CONTROL_QUEUE, ASK_MS, owner, &answer);

	if (status != CLI_FINE)
		return status;
	const bool ok = frame_get_bool(answer);
	const struct text why = frame_get_text(answer);
	tracking->channel = ok ? frame_get_fd(answer) : -1;
	if (tracking->channel >= 0)
		return CLI_FINE;
	fprintf(stderr, "postern: " TEXT_FMT "\n", TEXT_ARG(why));
	return CLI_TEMPORARY;
}

int cli_tracking_open(const char *file, const void *owner, struct cli_tracking *ret_tracking)
{
	struct cli_gateway gateway;

	*ret_tracking = (struct cli_tracking){ .channel = -1, .told = clock_mono_ms() };
	if (!cli_find(file, owner, &gateway))
		return CLI_FAILED;
	return cli_is_running(&gateway) ? open_channel(&gateway, owner, ret_tracking)
					: open_store(&gateway, owner, ret_tracking);
}

void cli_tracking_done(struct cli_tracking *tracking)
{
	base_close(&tracking->channel);
	talloc_free(tracking->page);
	tracking->page = NULL;
}

int cli_tracking_next(struct cli_tracking *tracking, const void *owner, const struct store_query *query,
	struct text *ret_lines)
{
	if (tracking->cursor.ended)
		return 0;
	int r = tracking->store == NULL
			? track_page(tracking->channel, owner, query, &tracking->cursor, ret_lines)
			: track_page_read(tracking->store, owner, query, &tracking->cursor, ret_lines);
	if (r == -EUCLEAN)
		fprintf(stderr,
			"postern: tracking records cannot be read: track.db or queue.db is damaged. Restart the gateway: it sets a damaged track.db aside"
			" (tracking_corrupt in the log) and salvages queue.db; mail goes on\n");
	else if (r < 0)
		fprintf(stderr, "postern: tracking records cannot be read: %s\n", err_text(r));
	return r < 0 ? r : 1;
}

bool cli_tracking_line(struct text *lines, struct text *ret_line)
{
	const size_t end = text_find(*lines, '\n');

	if (lines->len == 0)
		return false;
	*ret_line = text_first(*lines, end);
	*lines = text_from(*lines, end + 1);
	return true;
}

static void tell_progress(struct cli_tracking *tracking)
{
	if (clock_mono_ms() - tracking->told <= PROGRESS_MS)
		return;
	tracking->told = clock_mono_ms();
	fprintf(stderr, "postern: %llu records are read so far\n", (unsigned long long)tracking->count);
}

int cli_tracking_record(struct cli_tracking *tracking, const struct store_query *query, json_t **ret_record)
{
	struct text line;

	while (!cli_tracking_line(&tracking->lines, &line)) {
		talloc_free(tracking->page);
		tracking->page = talloc_new(NULL);
		tracking->lines = (struct text){ 0 };
		int r = cli_tracking_next(tracking, tracking->page, query, &tracking->lines);
		if (r <= 0)
			return r;
		tell_progress(tracking);
	}
	tracking->count++;
	*ret_record = json_loadb(line.at, line.len, 0, NULL);
	return 1;
}

bool cli_tracking_time(const char *command, const char *option, const char *text, int64_t *ret_ms)
{
	if (text == NULL || clock_parse(text, clock_wall_ms(), ret_ms) == 0)
		return true;
	fprintf(stderr,
		"postern %s: %s %s: takes an age such as 15m, 2h30m, 7d, or a time such as 2026-11-21T10:20Z or 2026-11-21T12:20+02:00\n",
		command, option, text);
	return false;
}
