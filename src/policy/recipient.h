#pragma once
/* Does this address of an accepted domain exist? Pure: facts in, decision and reason out. */

#include <stdbool.h>

/* What the next hop said to the address, when it is asked. */
enum recipient_answer { RECIPIENT_NOT_ASKED, RECIPIENT_YES, RECIPIENT_NO, RECIPIENT_LATER };

struct recipient_facts {
	bool special;  /* postmaster or abuse: always reach someone (RFC 5321 section 4.5.1, RFC 2142) */
	bool has_list; /* there is a list of addresses */
	bool listed;   /* and this one is on it */
	enum recipient_answer answer;
};

enum recipient_verdict {
	RECIPIENT_TAKE,
	RECIPIENT_UNKNOWN, /* 550 5.1.1 */
	RECIPIENT_DEFER,   /* 450 4.1.1: it could not be found out */
};

struct recipient_decision {
	enum recipient_verdict verdict;
	const char *reason; /* static */
};

struct recipient_decision recipient_decide(const struct recipient_facts *facts);

/* True when the decision needs to know what the next hop says. */
bool recipient_must_ask(const struct recipient_facts *facts, bool call_ahead);
