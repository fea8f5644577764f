#include "config/unverified.h"

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"
#include "config/marks.h"

bool unverified_are_all(const struct config *config)
{
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].username != NULL)
			return false;
	for (size_t i = 0; i < config->destination_count; i++)
		if (config->destinations[i].tls >= CONFIG_TLS_PREFERRED_VERIFY)
			return false;
	return true;
}

/* Whether no mail for what the destination names meets a server that is verified. Behind `.example.com` and `default` are many domains: one such route is enough. */
static bool is_unverified(const struct config *config, const struct config_destination *destination)
{
	const struct text domain = text_of(destination->domain);

	if (domain.at[0] == '.' || text_equal(domain, TEXT("default")))
		return unverified_are_all(config);
	const struct config_destination *level;
	if (config_tls_for(config, domain, &level) >= CONFIG_TLS_PREFERRED_VERIFY)
		return false;
	const struct config_route *route = config_route_for(config, domain);
	return route == NULL || route->username == NULL;
}

static bool asks(const struct config_tls_profile *profile)
{
	return profile != NULL && profile->ocsp != OCSP_OFF;
}

void unverified_warn(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];

		if (destination->domain != NULL && asks(destination->tls_profile) &&
			is_unverified(config, destination))
			marks_warn(marks, MARKS_LOOK_UP,
				text_must(talloc_asprintf(marks, "destinations[%zu].tls_profile", i + 1)),
				"`ocsp` of profile `%s` has no effect here: the certificates of servers for `%s` are not verified; write a verifying level (`tls: required-verify`), or name a profile without `ocsp`",
				destination->tls_profile->name, destination->domain);
	}
	for (size_t i = 0; i < config->listener_count; i++)
		if (asks(config->listeners[i].tls_profile))
			marks_warn(marks, MARKS_LOOK_UP,
				text_must(talloc_asprintf(marks, "listeners[%zu].tls_profile", i + 1)),
				"`ocsp` of profile `%s` has no effect here yet: this version asks clients for no certificate; name a profile without `ocsp`",
				config->listeners[i].tls_profile->name);
}
