/* Routes by table only: exact domain, longest parent, default (config_route_for()). */
#include "lookup/route.h"

#include "config/config.h"

const char *route_destination(const struct config *config, const char *domain)
{
	const struct config_route *route = config_route_for(config, text_of(domain));

	return route == NULL ? domain : route->next_hop;
}

const struct ip *route_address(const struct config *config, const char *domain)
{
	const struct config_route *route = config_route_for(config, text_of(domain));

	return route == NULL || route->hop != CONFIG_HOP_ADDRESS ? NULL : &route->address;
}
