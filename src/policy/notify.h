#pragma once
/* Who is told what about a recipient after an attempt (RFC 3461 sections 4.1 and 5.2, RFC 3464). Pure: facts in, decision and reason out. */

#include <stdbool.h>

enum notify_end { NOTIFY_DELIVERED, NOTIFY_WAITING, NOTIFY_FAILED };

struct notify_facts {
	enum notify_end end; /* what the attempt made of the recipient */
	bool named;	     /* the sender gave NOTIFY; without the next three it is NEVER */
	bool success, failure, delay;
	bool null_sender;
	bool late;	       /* it waits for longer than delivery.delay_warning, which is not 0 */
	bool warned;	       /* the sender was told before that it is late */
	bool passed_on;	       /* the next hop took NOTIFY over, and reports itself */
	bool double_bounce;    /* delivery.double_bounce names an address */
	bool to_double_bounce; /* and this recipient is that address */
};

enum notify_report {
	NOTIFY_NONE,
	NOTIFY_FAILURE, /* to the sender: failed */
	NOTIFY_DELAY,	/* to the sender: delayed, once */
	NOTIFY_RELAYED, /* to the sender: handed to a server that does not report */
	NOTIFY_DOUBLE,	/* to delivery.double_bounce: mail without a sender failed */
	NOTIFY_DROPPED, /* mail without a sender failed, and nobody is told: an event only */
};

struct notify_decision {
	enum notify_report report;
	const char *reason; /* static */
};

struct notify_decision notify_decide(const struct notify_facts *facts);
