#pragma once
/* What an outcome says of the connections that it rests on, and of the places that were tried in vain. */

#include <stdbool.h>

#include <jansson.h>

#include "deliver/link.h"

struct outcome;
struct stop;

/* Of one attempt; all zero but the outcome, which owns the rest. */
struct legs {
	struct outcome *outcome;
	bool reached;  /* the outcome names a connection that was sent over, and keeps it */
	char *last;    /* JSON of the failure that the outcome names; NULL = it names none */
	char *earlier; /* of the others, divided by commas; NULL = there is none */
	size_t count;  /* in `earlier` */
};

/* Mail is sent over `link`, which leads to `stop`. */
void leg_use(struct legs *legs, struct link *link, const struct stop *stop);

/* Nothing could be sent at `stop`. The outcome names it until mail is sent somewhere. */
void leg_fail(struct legs *legs, const struct stop *stop, const struct failure *failure);

/* No more is tried: the evidence of the last leg gets what failed before (`earlier`: [{host, address, dcid, reply, tls}], eight at most). */
void leg_end(struct legs *legs);

/* The facts that were found out at `stop`, as they stand in the evidence; the caller's. */
json_t *leg_facts(const struct stop *stop);
