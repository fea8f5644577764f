#pragma once
/* May mail come from, or go to, a domain that says by its MX record that it takes none (RFC 7505)? Pure: facts in, decision and reason out. */

#include <stdbool.h>

#include "policy/mx.h"

struct null_mx_facts {
	bool wanted; /* by the configuration */
	bool named; /* the address has a domain name: it is not `<>`, not `<postmaster>`, and no address literal */
	bool routed;	 /* a route says where mail for the domain goes, so its MX records do not count */
	enum mx_end end; /* what its MX records say; MX_GO while they were not asked for */
};

struct null_mx_decision {
	bool refused;
	const char *reason; /* static */
};

struct null_mx_decision null_mx_decide(const struct null_mx_facts *facts);

/* True when the decision needs to know what the MX records say. */
bool null_mx_must_ask(const struct null_mx_facts *facts);
