#pragma once
/* Where mail for a domain goes: routes of the configuration; MX lookups join later. */

#include "base/ip.h"

struct config;

/* The name by which queue and deliver know the destination of `domain`: the next hop of its route, or the domain itself when no route
 * names one. Borrowed from the configuration or from `domain`. */
const char *route_destination(const struct config *config, const char *domain);

/* The address to connect to for `domain`; NULL when there is no route. Borrowed from the configuration. */
const struct ip *route_address(const struct config *config, const char *domain);
