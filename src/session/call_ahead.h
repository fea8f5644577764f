#pragma once
/* What next hops said about recipients, remembered for a while (settings recipients.call_ahead and .cache). One for each generation of the configuration, so that a reload
 * forgets it all; any thread. */

#include <stdint.h>

#include "policy/recipient.h"

struct call_ahead;
struct peer;

/* An empty memory that asks through `deliver`. Owned by `owner`. */
struct call_ahead *call_ahead_new(const void *owner, struct peer *deliver);

/* What the next hop says about `recipient`: as remembered for at most `cache_ms`, else asked now, for the session `icid`. Only yes and no are
 * remembered. */
enum recipient_answer call_ahead_ask(struct call_ahead *call_ahead, const char *icid, const char *recipient,
	int64_t cache_ms, int stop_fd);
