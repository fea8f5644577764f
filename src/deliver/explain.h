#pragma once
/* What would become of mail to a domain, and why: `postern explain`, `postern tls verify`, `postern dane verify`. The command line asks role `deliver`,
 * which walks the way of a mail with the functions of a delivery, and sends none. Ask and answer stand in one file. */

#include <stdint.h>

struct deliver_house;
struct frame;

enum explain_mode {
	EXPLAIN_PLAN, /* facts and decisions; no server is dialled */
	EXPLAIN_LIVE, /* each server is dialled, and protected as mail to it would be */
	EXPLAIN_VERIFY, /* each server is dialled, and its certificate compared with everything; what each level makes of it */
	EXPLAIN_DANE, /* each server is dialled as if DANE were mandatory */
	EXPLAIN_MODE_COUNT
};

/* How long an answer may take, in milliseconds. */
enum { EXPLAIN_MS = 150 * 1000 };

/* The ask, owned by `owner`. `next_hop`: the server to ask instead of those that mail to `domain` goes to, as a route names it; empty = those. */
struct frame *explain_ask(
	const void *owner, enum explain_mode mode, const char *domain, const char *next_hop);

/* The serving side: the answer frame, one text of JSON, owned by `owner`; NULL for a malformed ask. */
struct frame *explain_answer(const struct deliver_house *house, struct frame *ask, const void *owner);
