#pragma once
/* libunbound as the house uses it: one context on an event base, questions that call back, validated answers. */

#include "lookup/dns.h"

struct bundle;
struct config;
struct event_base;
struct recursor;

/* A resolver as `config` describes it, with the trust anchors in `bundle`, which it follows in files of the current directory; its work is done by
 * `base`. Owned by `owner`; freeing it ends its
 * questions without a call. NULL with one sentence in ret_why (owned by `owner`) when libunbound does not take it. */
struct recursor *recursor_new(const void *owner, struct event_base *base, const struct config *config,
	const struct bundle *bundle, const char **ret_why);

/* True when both would answer alike, so that one can go on with what it has cached. */
bool recursor_same(const struct recursor *a, const struct recursor *b);

/* Ask for `type` of `name` (as dns_message_name() makes it); `done` is called once, perhaps before this returns, with an answer that it owns.
 * It may neither ask nor free the recursor. */
void recursor_ask(struct recursor *recursor, const char *name, enum dns_type type,
	void (*done)(void *argument, struct dns_answer *answer), void *argument);
