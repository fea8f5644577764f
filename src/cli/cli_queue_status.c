/* The part of `status` that says how the queue stands. */
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"
#include "queue/queue_admin.h"
#include "report/track.h"

static json_t *suspended_json(const struct store_admin_status *status)
{
	json_t *list = json_array();
	char since[CLOCK_TEXT_MAX];

	for (size_t i = 0; i < status->suspended_count; i++) {
		const struct store_admin_suspended *s = &status->suspended[i];

		json_array_append_new(
			list, json_pack("{s:o, s:s, s:I, s:I}", "destination", track_string(s->destination),
				      "since", clock_iso(s->since_ms, since), "uid", (json_int_t)s->uid,
				      "waiting", (json_int_t)s->waiting));
	}
	return list;
}

/* The first page of them, null when they are not known; `queue destinations --paused` has all. */
static json_t *paused_json(int channel, void *scratch)
{
	struct store_admin_destinations page = { 0 };
	json_t *list;

	if (queue_admin_destinations(channel, scratch, "", true, &page) < 0)
		return json_null();
	list = json_array();
	for (size_t i = 0; i < page.count; i++)
		json_array_append_new(list, cli_queue_destination_json(&page.list[i]));
	return list;
}

json_t *cli_queue_status(int channel)
{
	void *scratch = talloc_new(NULL);
	struct store_admin_status status;
	json_t *json = NULL;

	if (queue_admin_status(channel, scratch, &status) == 0)
		json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "queued",
			(json_int_t)status.queued, "deferred", (json_int_t)status.deferred, "active",
			(json_int_t)status.active, "held", (json_int_t)status.held, "waiting_suspended",
			(json_int_t)status.waiting_suspended, "corrupt", (json_int_t)status.corrupt,
			"oldest_seconds", (json_int_t)(status.oldest_ms / 1000), "suspended",
			suspended_json(&status), "paused", paused_json(channel, scratch));
	talloc_free(scratch);
	return json;
}

static long long number(json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *string(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

void cli_queue_print_status(json_t *status)
{
	char age[CLI_QUEUE_SPAN_MAX];
	json_t *item;
	size_t i;

	if (status == NULL) {
		printf("queue: not known now\n");
		return;
	}
	printf("queue: %lld queued, %lld deferred, %lld active, %lld held, %lld suspended, %lld corrupt",
		number(status, "queued"), number(status, "deferred"), number(status, "active"),
		number(status, "held"), number(status, "waiting_suspended"), number(status, "corrupt"));
	printf("; the oldest is %s old\n", cli_queue_span(number(status, "oldest_seconds") * 1000, age));
	json_array_foreach(json_object_get(status, "suspended"), i, item)
		printf("  suspended %s since %s by uid %lld, %lld waiting\n", string(item, "destination"),
			string(item, "since"), number(item, "uid"), number(item, "waiting"));
	json_array_foreach(json_object_get(status, "paused"), i, item)
	{
		json_t *pause = json_object_get(item, "pause");

		printf("  paused %s since %s until %s, %lld waiting: %s\n", string(item, "destination"),
			string(pause, "since"), string(pause, "until"),
			number(item, "queued") + number(item, "deferred"), string(pause, "reason"));
	}
}
