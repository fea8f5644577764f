#pragma once
/* One place to try, with all that is known and demanded before it is dialled. Deliveries, call-ahead and `postern explain` decide here, and nowhere else. */

#include "deliver/link.h"
#include "lookup/route.h"
#include "lookup/tls_facts.h"
#include "policy/tls_decide.h"

struct deliver_house;

struct stop {
	struct route_stop place;
	const struct route *route;
	struct tls_findings *found;
	struct tls_decision decision;
};

/* Find out and decide what is demanded at `place` of mail that goes along `route`; owned by `owner`, and borrows from `route`. Never NULL. */
struct stop *stop_new(const void *owner, const struct deliver_house *house, const struct route_means *means,
	const struct route *route, const struct route_stop *place);

/* Decide anew as if DANE were mandatory for the domain, which an operator wants to know. */
void stop_demand_dane(struct stop *stop, const struct deliver_house *house, const struct route_means *means);

/* What to open there for the next hop `destination`; borrows from both and from the configuration. */
struct link_target stop_target(
	const struct deliver_house *house, const struct stop *stop, const char *destination);

/* False when the place is not to be dialled: then with the failure, as link_open() would give it. */
bool stop_may_dial(const struct deliver_house *house, const struct stop *stop, const char *destination,
	struct failure *ret_failure);

/* The handshake failed where it may: from now on, and for the rest of the hour, mail that no demand forbids it goes there in clear. False when there is no room for another host. */
bool stop_go_without_tls(
	const struct deliver_house *house, const struct stop *stop, const struct failure *failure);
