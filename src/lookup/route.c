/*
 * A way is a list of hosts from policy/mx (of one host where a route names it) and the places that are ready to be tried. When these are used
 * up, the addresses of the hosts of the next preference are looked up, all of them before the first is tried: when one turns out to be ours, mail
 * must not go to its equals either (RFC 5321 section 5.1).
 */
#include "lookup/route.h"

#include <string.h>
#include <strings.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/interfaces.h"
#include "config/config.h"
#include "lookup/dns.h"
#include "lookup/dns_cache.h"
#include "lookup/dns_mx.h"

/* One attempt is bounded: ten connections of at most 30 s each, and hosts with a hundred addresses do not hide the next one. */
enum { STOPS_MAX = 10, ADDRESSES_MAX = 6, QUESTION_MS = 30000 };

struct place {
	struct ip address;
	enum dns_security security;
	const char *canonical;
};

struct addresses {
	struct place list[ADDRESSES_MAX];
	size_t count;
	bool unknown; /* a lookup failed */
};

struct route_private {
	const struct route_means *means;
	uint16_t port;
	bool configured; /* the operator named what is looked up */
	struct ip literal;
	struct mx_plan plan;
	struct mx_tally tally;
	const char *why; /* of the lookup that failed last */
	size_t next_host;
	struct route_stop ready[STOPS_MAX];
	size_t ready_count, ready_at;
	size_t given;
	const char *skipped[STOPS_MAX + 1]; /* one more for a connection that was open already */
	size_t skipped_count;
};

const char *route_destination(const struct config *config, const char *domain)
{
	const struct config_route *rule = config_route_for(config, text_of(domain));

	return rule == NULL ? domain : rule->next_hop;
}

/* Lookups */

static struct dns_answer *ask(struct route *route, const char *name, enum dns_type type)
{
	struct route_private *p = route->private;
	int64_t deadline = MIN(p->means->deadline, clock_mono_ms() + QUESTION_MS);
	struct dns_answer *answer = dns_cache_ask(
		p->means->cache, p->means->resolver, route, name, type, p->means->stop_fd, deadline);

	if (answer->result == DNS_FAILED)
		p->why = text_must(talloc_asprintf(route, "%s of %s: %s%s",
			type == DNS_MX	? "MX"
			: type == DNS_A ? "A"
					: "AAAA",
			name, answer->security == DNS_BOGUS ? "bogus, " : "", answer->why));
	return answer;
}

/* `domain` is kept. */
static void look_up_hosts(struct route *route, const char *domain)
{
	struct route_private *p = route->private;
	const struct dns_answer *answer = ask(route, domain, DNS_MX);

	route->hop = domain;
	route->expanded = answer->canonical[0] == '\0' ? domain : answer->canonical;
	route->implicit_mx = answer->result == DNS_NO_DATA;
	route->security = answer->security;
	route->mx_why = answer->result == DNS_FAILED ? p->why : NULL;
	route->no_name = answer->result == DNS_NO_NAME;
	p->plan = dns_mx_plan(route, answer, domain, p->means->config->hostname);
}

/* Add the addresses of one family; they stand between those of the other that are there already, so that both are tried early. */
static void add_addresses(
	struct route *route, const char *host, enum dns_type type, struct addresses *addresses)
{
	const struct route_private *p = route->private;
	const struct ip *source;
	size_t at = addresses->count > 0 ? 1 : 0;

	if (!config_route_source(route->rule, type == DNS_A ? AF_INET : AF_INET6, &source))
		return;
	const struct dns_answer *answer = ask(route, host, type);
	addresses->unknown |= answer->result == DNS_FAILED;
	for (size_t i = 0; i < answer->count && addresses->count < ADDRESSES_MAX; i++, at += 2) {
		at = MIN(at, addresses->count);
		memmove(&addresses->list[at + 1], &addresses->list[at],
			(addresses->count - at) * sizeof addresses->list[0]);
		addresses->list[at] = (struct place){ answer->records[i].address, answer->security,
			answer->canonical[0] == '\0' ? host : answer->canonical };
		addresses->list[at].address.port = p->port;
		addresses->count++;
	}
}

static struct addresses addresses_of(struct route *route, const char *host)
{
	struct addresses addresses = { 0 };

	if (route->private->literal.family != 0)
		return (struct addresses){ .list = { { route->private->literal, DNS_INSECURE, host } },
			.count = 1 };
	add_addresses(route, host, DNS_AAAA, &addresses);
	addresses.count = MIN(addresses.count, ADDRESSES_MAX / 2); /* leave room for the others */
	add_addresses(route, host, DNS_A, &addresses);
	return addresses;
}

/* The way */

static void go_to_address(struct route *route, const char *host, const struct ip *address, uint16_t port)
{
	struct route_private *p = route->private;

	p->literal = *address;
	p->literal.port = port;
	p->plan = (struct mx_plan){ .end = MX_GO, .count = 1, .hosts = { { host, 0 } } };
}

struct route *route_new(
	const void *owner, const struct route_means *means, const char *domain, const char *next_hop)
{
	struct route *route = text_must(talloc_zero(owner, struct route));
	struct route_private *p = text_must(talloc_zero(route, struct route_private));
	const struct config_route *rule = config_route_for(means->config, text_of(domain));
	struct ip literal;

	if (next_hop[0] != '\0')
		rule = config_route_to(route, means->config, next_hop);
	route->rule = rule;
	route->private = p;
	p->means = means;
	p->why = domain[0] == '\0' ? "there is no domain and no default route" : "";
	p->configured = rule != NULL;
	route->security = rule != NULL ? DNS_SECURE : DNS_INSECURE;
	p->port = rule != NULL ? rule->port : (uint16_t)means->config->delivery.port;
	route->domain = domain = text_copy(route, text_of(domain));
	if (rule != NULL && rule->hop == CONFIG_HOP_ADDRESS)
		go_to_address(route, rule->next_hop, &rule->address, rule->port);
	else if (rule != NULL && rule->hop == CONFIG_HOP_HOST)
		p->plan = (struct mx_plan){ .end = MX_GO, .count = 1, .hosts = { { rule->host, 0 } } };
	else if (rule != NULL)
		look_up_hosts(route, rule->host);
	else if (ip_parse_literal(text_of(domain), &literal) == 0)
		go_to_address(route, domain, &literal, p->port);
	else if (domain[0] == '\0')
		p->plan.end = MX_END_UNKNOWN; /* a postmaster without a domain: only a route can tell */
	else
		look_up_hosts(route, domain);
	return route;
}

/* A connection to `to` would arrive at a listener of ours. */
static bool is_ours(const struct config *config, const struct ip *to)
{
	struct ip address = ip_unmapped(to);

	for (size_t i = 0; i < config->listener_count; i++) {
		struct ip listener = ip_unmapped(&config->listeners[i].address);

		if (listener.port != address.port)
			continue;
		if (listener.family == address.family &&
			memcmp(listener.bytes, address.bytes, sizeof listener.bytes) == 0)
			return true;
		if (ip_is_any(&address) || (ip_is_any(&listener) && interfaces_have(&address)))
			return true;
	}
	return false;
}

static bool is_skipped(const struct route_private *p, const char *host)
{
	for (size_t i = 0; i < p->skipped_count; i++)
		if (strcasecmp(p->skipped[i], host) == 0)
			return true;
	return false;
}

static struct route_stop stop_at(const struct route *route, const char *host, const struct place *place)
{
	struct route_stop stop = { .host = host,
		.literal = route->private->literal.family != 0,
		.address = place->address,
		.security = place->security,
		.canonical = place->canonical };

	config_route_source(route->rule, place->address.family, &stop.source);
	return stop;
}

/* Make the addresses of one host ready; false when one of them is ours. */
static bool prepare_host(struct route *route, const char *host)
{
	struct route_private *p = route->private;

	if (is_skipped(p, host))
		return true;
	struct addresses addresses = addresses_of(route, host);
	p->tally.unknown |= addresses.unknown && addresses.count == 0;
	for (size_t i = 0; i < addresses.count; i++) {
		if (is_ours(p->means->config, &addresses.list[i].address))
			return false;
		if (p->ready_count < STOPS_MAX)
			p->ready[p->ready_count++] = stop_at(route, host, &addresses.list[i]);
	}
	return true;
}

/* The hosts of the next preference that is left. */
static void prepare_group(struct route *route)
{
	struct route_private *p = route->private;
	uint16_t preference = p->plan.hosts[p->next_host].preference;

	p->ready_at = p->ready_count = 0;
	for (; p->next_host < p->plan.count && p->plan.hosts[p->next_host].preference == preference;
		p->next_host++) {
		if (prepare_host(route, p->plan.hosts[p->next_host].name))
			continue;
		mx_cut(&p->plan, preference);
		p->tally.loop = true;
		p->ready_count = 0;
		return;
	}
}

void route_skip_host(struct route *route, const char *host)
{
	struct route_private *p = route->private;

	if (p->skipped_count < COUNT(p->skipped))
		p->skipped[p->skipped_count++] = text_copy(route, text_of(host));
	while (p->ready_at < p->ready_count && is_skipped(p, p->ready[p->ready_at].host))
		p->ready_at++;
}

bool route_next(struct route *route, struct route_stop *ret_stop)
{
	struct route_private *p = route->private;

	while (p->ready_at == p->ready_count && p->next_host < p->plan.count)
		prepare_group(route);
	if (p->ready_at == p->ready_count || p->given == STOPS_MAX)
		return false;
	if (clock_mono_ms() >= p->means->deadline) {
		p->tally.unknown = true; /* nothing is said about those that are left */
		return false;
	}
	*ret_stop = p->ready[p->ready_at++];
	p->given++;
	return true;
}

bool route_leads_to(
	struct route *route, const char *host, const struct ip *address, struct route_stop *ret_stop)
{
	const struct mx_plan *plan = &route->private->plan;

	for (size_t i = 0; i < plan->count; i++) {
		if (strcasecmp(plan->hosts[i].name, host) != 0)
			continue;
		struct addresses addresses = addresses_of(route, plan->hosts[i].name);
		for (size_t n = 0; n < addresses.count; n++) {
			const struct ip *here = &addresses.list[n].address;

			if (here->family != address->family || here->port != address->port ||
				memcmp(here->bytes, address->bytes, sizeof here->bytes) != 0)
				continue;
			*ret_stop = stop_at(route, plan->hosts[i].name, &addresses.list[n]);
			return true;
		}
	}
	return false;
}

const char *route_end(const struct route *route, bool *ret_permanent)
{
	const struct route_private *p = route->private;
	enum mx_end end = p->plan.end == MX_GO || p->tally.loop ? mx_decide_end(&p->tally) : p->plan.end;
	struct mx_word word = mx_explain(end, p->configured);

	*ret_permanent = word.permanent;
	if (end != MX_END_UNKNOWN || p->why[0] == '\0')
		return word.reply;
	return text_must(talloc_asprintf(route, "%s: %s", word.reply, p->why));
}
