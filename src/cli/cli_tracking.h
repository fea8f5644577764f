#pragma once
/* Tracking records page by page: from role `queue` of the running gateway, or, when none runs, from its store. */

#include <jansson.h>

#include "cli/cli_private.h"
#include "queue/store.h"

struct cli_tracking {
	int channel;	     /* to `queue`; -1 = `store` is read */
	struct store *store; /* owned by the owner of the whole; else NULL */
	struct store_cursor cursor;
	int64_t told;	   /* clock_mono_ms() of the last word about progress */
	uint64_t count;	   /* records that cli_tracking_record() has read */
	void *page;	   /* that it is at */
	struct text lines; /* of the page that are left */
};

/* Find the records of the gateway of configuration `file`. CLI_FINE, or another exit status after saying what is wrong. What it opens belongs to `owner`, and
 * is closed by cli_tracking_done(). */
int cli_tracking_open(const char *file, const void *owner, struct cli_tracking *ret_tracking);
void cli_tracking_done(struct cli_tracking *tracking);

/* The next page that matches, as JSON lines (report/track.h) owned by `owner`. 1, 0 when there is no more, or a negative error that was said. */
int cli_tracking_next(struct cli_tracking *tracking, const void *owner, const struct store_query *query,
	struct text *ret_lines);

/* The first of `lines`, without its end, which are then the others; false when there is none. */
bool cli_tracking_line(struct text *lines, struct text *ret_line);

/* The next record that matches, the caller's to free; NULL when it is no JSON. 1, 0 when there is no more, or a negative error that was said. Now and then it says on
 * standard error how many were read: long work shows that it goes on. */
int cli_tracking_record(struct cli_tracking *tracking, const struct store_query *query, json_t **ret_record);

/* A time on the command line (`text` NULL = none is given); false after saying what is wrong with it, for `command`. */
bool cli_tracking_time(const char *command, const char *option, const char *text, int64_t *ret_ms);
