#pragma once
/* May this client send to this recipient? Pure: facts in, decision and reason out. */

#include <stdbool.h>

enum relay_action { RELAY_ACTION_ACCEPT, RELAY_ACTION_RELAY, RELAY_ACTION_REJECT };

struct relay_facts {
	enum relay_action action; /* of the client's mail flow policy */
	bool domain_accepted;	  /* the recipient's domain is one of ours */
	bool domainless;	  /* `<postmaster>` */
};

struct relay_decision {
	bool accepted;
	const char *reason; /* static; for log and tracking */
};

/* The one rule against an open relay: without `action: relay` only mail for our own domains and for postmaster is taken. */
struct relay_decision relay_decide(const struct relay_facts *facts);
