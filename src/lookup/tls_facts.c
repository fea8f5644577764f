/* Gathering is here, deciding is in policy: this file may look things up, that one may not. */
#include "lookup/tls_facts.h"

#include "config/config.h"

struct tls_facts tls_facts_gather(const struct config *config, const char *domain, bool rerouted)
{
	static const enum tls_level levels[] = {
		[CONFIG_TLS_NONE] = TLS_LEVEL_NONE,
		[CONFIG_TLS_PREFERRED] = TLS_LEVEL_PREFERRED,
		[CONFIG_TLS_REQUIRED] = TLS_LEVEL_REQUIRED,
	};
	const struct config_destination *destination =
		config_destination_for(config, text_of(domain), CONFIG_SAYS_TLS);
	const struct config_route *route = rerouted ? NULL : config_route_for(config, text_of(domain));
	struct tls_facts facts = { .level = TLS_LEVEL_PREFERRED,
		.implicit = route != NULL && route->implicit_tls,
		.credentials = route != NULL && route->username != NULL };

	if (destination == NULL)
		return facts;
	facts.level = levels[destination->tls];
	facts.level_from = text_equal(text_of(destination->domain), TEXT("default")) ? TLS_FROM_DEFAULT
										     : TLS_FROM_DESTINATION;
	return facts;
}
