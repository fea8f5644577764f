#pragma once
/* What the files of `postern queue` share. */

#include <jansson.h>

#include "queue/store_admin.h"

struct frame;

/* Where to ask: a channel to the running `queue`, or a store that is read directly; exactly one is there. */
struct cli_queue_source {
	int channel; /* -1 = none */
	struct store *store;
};

/* A command line as it was read. */
struct cli_queue_options {
	const char *verb;
	struct store_admin_filter filter;
	uint64_t limit; /* mails; 0 = all */
	const char *to; /* reroute */
	bool json, content, all, yes, paused;
};

/* Print what matches, or one mail with all that is known of it; the exit status. */
int cli_queue_list(const struct cli_queue_source *source, const struct cli_queue_options *options);
int cli_queue_show(const struct cli_queue_source *source, const struct cli_queue_options *options);

/* Print a line for each destination that matches; the exit status. */
int cli_queue_destinations(int channel, const struct cli_queue_options *options);

/* A destination, and a pause (null when it is none), as JSON: new references. */
json_t *cli_queue_destination_json(const struct store_admin_destination *destination);
json_t *cli_queue_pause_json(const struct store_admin_pause *pause);

/* The same pause in words: "paused since ..., for 9m more: 450 ...". */
void cli_queue_print_pause(const struct store_admin_pause *pause);

/* Carry out an order for all that matches, after asking where it cannot be undone; the exit status. */
int cli_queue_order(int channel, const struct cli_queue_options *options, enum store_admin_command command);

/* Say why an ask failed; the exit status. */
int cli_queue_failed(int error);

/* How the queue stands, as JSON for `postern status` (a new reference) and in words; NULL when it cannot be asked now. */
json_t *cli_queue_status(int channel);
void cli_queue_print_status(json_t *status);

/* "1 mail", "2 mails"; written to `ret_text`. */
enum { CLI_QUEUE_COUNT_MAX = 48 };
const char *cli_queue_count(uint64_t count, const char *thing, char ret_text[CLI_QUEUE_COUNT_MAX]);

/* An age or a wait such as "3h" or "2d" for `ms`; written to `ret_text`. */
enum { CLI_QUEUE_SPAN_MAX = 24 };
const char *cli_queue_span(int64_t ms, char ret_text[CLI_QUEUE_SPAN_MAX]);
