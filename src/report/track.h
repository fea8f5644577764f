#pragma once
/* Tracking: why was this mail sent the way it was? Asked by the command line, answered by role `queue` from its store. */

#include <jansson.h>

#include "queue/store.h"

struct frame;

/* The next page of records as JSON lines, asked over `channel` (a descriptor to `queue`); owned by `owner`. Updates the cursor. 0, or a
 * negative error. Record: {mid, time, sender, size, inbound: {icid, client, helo, tls},
 * recipients: [{address, state, attempts: [{time, dcid, host, address, reply, tls}]}]}; `mid` is null for a refusal. */
int track_page(int channel, const void *owner, const struct store_query *query, struct store_cursor *cursor,
	struct text *ret_lines);

/* Stored text as a JSON string; bytes that are no UTF-8 become '?'. */
json_t *track_string(const char *text);

/* The same as track_page() from an open store, without asking anybody. */
int track_page_read(struct store *store, const void *owner, const struct store_query *query,
	struct store_cursor *cursor, struct text *ret_lines);

/* The serving side: the answer frame owned by `owner`, NULL for a malformed ask. */
struct frame *track_page_answer(struct store *store, struct frame *ask, const void *owner);
