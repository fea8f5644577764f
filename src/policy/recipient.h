#pragma once
/* Does this address of an accepted domain exist? Pure: facts in, decision and reason out. */

#include <stdbool.h>

#include "base/text.h"

/* What the next hop said to the address, when it is asked. */
enum recipient_answer {
	RECIPIENT_NOT_ASKED,
	RECIPIENT_YES,
	RECIPIENT_NO,	   /* there is no such mailbox */
	RECIPIENT_FULL,	   /* there is one, and nothing more fits in */
	RECIPIENT_REFUSED, /* it refuses mail for it for another reason, such as a rule of its own */
	RECIPIENT_LATER,   /* it could not be found out */
};

struct recipient_facts {
	bool special;  /* postmaster or abuse: always reach someone (RFC 5321 section 4.5.1, RFC 2142) */
	bool has_list; /* there is a list of addresses */
	bool listed;   /* and this one is on it */
	enum recipient_answer answer;
};

enum recipient_verdict {
	RECIPIENT_TAKE,
	RECIPIENT_UNKNOWN, /* 550 5.1.1 */
	RECIPIENT_REJECT,  /* 550 5.7.1: it may exist, but its server takes no mail for it */
	RECIPIENT_WAIT,	   /* 452 4.2.2: its mailbox is full */
	RECIPIENT_DEFER,   /* 450 4.1.1: it could not be found out */
};

struct recipient_decision {
	enum recipient_verdict verdict;
	const char *reason; /* static */
};

struct recipient_decision recipient_decide(const struct recipient_facts *facts);

/* True when the decision needs to know what the next hop says. */
bool recipient_must_ask(const struct recipient_facts *facts, bool call_ahead);

/* What a reply to RCPT means. `text` is what stood behind the code; it may begin with an enhanced status code. */
enum recipient_answer recipient_understand(unsigned code, struct text text);

/* True for an answer about the address itself, which stays true for a while. */
bool recipient_is_lasting(enum recipient_answer answer);

/* One word for the log: "yes", "unknown". Static. */
const char *recipient_word(enum recipient_answer answer);
