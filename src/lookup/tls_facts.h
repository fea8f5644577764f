#pragma once
/* What is known about one host before it is dialled, as tls_decide() wants it. This file may look things up, that one may not. */

#include <stdint.h>

#include "policy/tls_decide.h"

struct config;
struct dane_lookup_result;
struct ip;
struct route;
struct route_means;
struct route_stop;

/* An entry of a list that counted, as written, and what it names: `address`, `host` or `domain` (of the recipient); NULL both = none did. */
struct tls_listed {
	const char *entry, *names;
};

struct tls_findings {
	struct tls_facts facts;		      /* but for temporary_listed, which the caller knows */
	struct dane_lookup_result *dane;      /* NULL = it was not asked for */
	uint64_t generation;		      /* of the configuration that says the following */
	const char *level_entry, *dane_entry; /* of `destinations`, as written; NULL = nobody said it */
	struct tls_listed never, required;
};

/* What is known about `stop` for mail that goes along `route`; owned by `owner`, with texts of the configuration. Never NULL. */
struct tls_findings *tls_facts_gather(const void *owner, const struct route_means *means,
	const struct route *route, const struct route_stop *stop);

/* The part of it that the configuration says of a server for mail to `domain`: level, DANE setting, lists. `host`: NULL = an address stands for it; of `address`
 * family 0 = not known. All else in *facts stays. */
void tls_facts_configured(const struct config *config, const char *domain, const char *host,
	const struct ip *address, struct tls_facts *facts);

/* Ask for what DANE says of `stop`, whatever the configuration makes of it. */
void tls_facts_look_up_dane(struct tls_findings *found, const struct route_means *means,
	const struct route *route, const struct route_stop *stop);
