/* Gathering is here, deciding is in policy: this file may look things up, that one may not. */
#include "lookup/tls_facts.h"

#include "config/config.h"

struct tls_facts tls_facts_gather(const struct config *config, const char *domain, bool rerouted)
{
	static const enum tls_level levels[] = {
		[CONFIG_TLS_NONE] = TLS_LEVEL_NONE,
		[CONFIG_TLS_PREFERRED] = TLS_LEVEL_PREFERRED,
		[CONFIG_TLS_REQUIRED] = TLS_LEVEL_REQUIRED,
		[CONFIG_TLS_PREFERRED_VERIFY] = TLS_LEVEL_PREFERRED,
		[CONFIG_TLS_REQUIRED_VERIFY] = TLS_LEVEL_REQUIRED,
		[CONFIG_TLS_REQUIRED_VERIFY_HOSTED] = TLS_LEVEL_REQUIRED,
	};
	const struct config_destination *destination;
	const enum config_tls tls = config_tls_for(config, text_of(domain), &destination);
	const struct config_route *route = rerouted ? NULL : config_route_for(config, text_of(domain));
	/* Until the decision knows the verifying levels, those that need a good certificate need one for the host. */
	struct tls_facts facts = { .level = levels[tls],
		.implicit = route != NULL && route->implicit_tls,
		.credentials =
			(route != NULL && route->username != NULL) || tls >= CONFIG_TLS_REQUIRED_VERIFY };

	if (destination == NULL)
		return facts;
	facts.level_from = text_equal(text_of(destination->domain), TEXT("default")) ? TLS_FROM_DEFAULT
										     : TLS_FROM_DESTINATION;
	return facts;
}
