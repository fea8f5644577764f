#pragma once
/*
 * Where the mail for a domain goes: the next hop of its route, or the hosts that the domain's MX records name; and their addresses, looked up as
 * they are needed, because the best server nearly always takes the mail.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "lookup/dns.h"
#include "policy/mx.h"

struct config;
struct config_route;
struct dns_cache;
struct peer;

/* The name by which queue and deliver know the destination of `domain`: the next hop of its route, or the domain itself when no route
 * names one. Borrowed from the configuration or from `domain`. */
const char *route_destination(const struct config *config, const char *domain);

/* What lookups need; borrowed as long as the route lives. */
struct route_means {
	const struct config *config;
	struct peer *resolver;
	struct dns_cache *cache; /* of its answers; NULL = none */
	int stop_fd;
	int64_t deadline; /* clock_mono_ms(): no lookup takes longer */
};

/* One place to try. */
struct route_stop {
	const char *
		host; /* as the MX record, the route or the address literal names it; CNAMEs are not followed in it */
	bool literal;		    /* it is no name that a certificate or a ClientHello could hold */
	struct ip address;	    /* with the port */
	const struct ip *source;    /* to connect from; NULL = the system chooses */
	enum dns_security security; /* of this address, and of the CNAMEs that lead to it; never DNS_BOGUS */
	const char *
		canonical; /* the host's name at the end of its CNAMEs; the host itself when there are none */
};

struct route {
	const char *domain; /* of the recipients */
	const char
		*hop; /* whose MX records were asked for; NULL = nobody's: a host or an address is the way */
	const char *
		expanded; /* its name at the end of CNAMEs, the same when there are none; NULL without a hop */
	bool implicit_mx; /* it exists without MX records, and is its own host */
	enum dns_security
		security; /* of its MX records, or of their absence; what the operator named is DNS_SECURE */
	const char *
		mx_why; /* the MX records are not known (security says nothing, or DNS_BOGUS): why; else NULL */
	bool no_name;	/* it does not exist, by the DNS */
	const struct config_route
		*rule; /* that names the next hop; NULL = the domain's MX records do, or it is an address */
	struct route_private *private;
};

/* The way to `domain`, owned by `owner`: asks for the MX records where they count. Never NULL. `next_hop` replaces that of the configuration;
 * empty = it does not. */
struct route *route_new(
	const void *owner, const struct route_means *means, const char *domain, const char *next_hop);

/* The next place to try, best first: each server's addresses of both families in turn, then the next server. At most ten, and none after the
 * deadline. False when there is no more. */
bool route_next(struct route *route, struct route_stop *ret_stop);

/* Try no (further) address of `host` (copied): what it said counts for all of them. */
void route_skip_host(struct route *route, const char *host);

/* True when `host` at `address` (with its port) is a place on this way, which is then in ret_stop: an open connection to it may be used. */
bool route_leads_to(
	struct route *route, const char *host, const struct ip *address, struct route_stop *ret_stop);

/* What to say when route_next() never gave a place: `450 4.4.3 ...`, owned by the route; ret_permanent: it will not get better. */
const char *route_end(const struct route *route, bool *ret_permanent);
