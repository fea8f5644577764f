/*
 * Demands on deliveries are joined, so that two of them may exclude each other: then mail waits. Where one entry of the file does that to itself it is refused;
 * where two entries do, that may be meant for some servers only, and the operator is warned of those destinations that get no mail at all.
 */
#include "config/outbound.h"

#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"
#include "config/marks.h"
#include "config/starttls_lists.h"

static char *key_of(const struct marks *marks, const char *list, size_t index, const char *key)
{
	return text_must(talloc_asprintf(marks, "%s[%zu].%s", list, index + 1, key));
}

static bool is_default(const struct config_destination *destination)
{
	return destination->domain != NULL && text_equal(text_of(destination->domain), TEXT("default"));
}

static void check_entry(const struct config_destination *destination, size_t i, struct marks *marks)
{
	const struct config_authorities *authorities = &destination->authorities;

	if (destination->tls == CONFIG_TLS_NONE && destination->dane > CONFIG_DANE_NONE)
		marks_problem(marks, MARKS_LOOK_UP, key_of(marks, "destinations", i, "dane"),
			"`tls: none` never uses TLS, so that no TLSA record can be heeded: write `dane: none`, or another level");
	if (authorities->line != 0 && !authorities->system && authorities->custom == NULL)
		marks_problem(marks, MARKS_LOOK_UP, key_of(marks, "destinations", i, "authorities"),
			"trusts nobody: name a file as `custom`, write `system: true`, or leave the key out");
}

/* Two words for one thing: only when they say the same. */
static void check_default_level(const struct config *config, struct marks *marks)
{
	static const char key[] = "tls.starttls_when_possible";
	const enum config_tls level =
		config->tls.starttls_when_possible ? CONFIG_TLS_PREFERRED : CONFIG_TLS_NONE;

	if (config->tls.starttls_said == CONFIG_SAID_NOTHING)
		return;
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];

		if (is_default(destination) && destination->tls != CONFIG_TLS_UNSET &&
			destination->tls != level)
			marks_problem(marks, MARKS_LOOK_UP, key,
				"is `tls: %s` for all destinations, and the entry `default` of destinations says `tls: %s`: leave this key out",
				config_tls_name(level), config_tls_name(destination->tls));
	}
}

void outbound_check(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++)
		check_entry(&config->destinations[i], i, marks);
	check_default_level(config, marks);
}

/* Destinations without mail */

/* The key of the entry that demands TLS, or NULL. */
static const char *demand_of(const struct config_destination *destination)
{
	if (destination->tls == CONFIG_TLS_REQUIRED || destination->tls >= CONFIG_TLS_REQUIRED_VERIFY)
		return "tls";
	return destination->dane == CONFIG_DANE_MANDATORY ? "dane" : NULL;
}

static const struct config_peer *listed(const struct config *config, enum config_list list,
	const struct config_route *route, struct text domain)
{
	const bool is_address = route != NULL && route->hop == CONFIG_HOP_ADDRESS;

	return config_listed(config, list, is_address ? &route->address : NULL,
		route != NULL && route->hop == CONFIG_HOP_HOST ? route->host : NULL, domain);
}

/* An entry for all names below a domain is looked up as a name that only such entries fit. */
static char *any_of(const void *owner, const char *domain)
{
	return text_must(talloc_asprintf(owner, "%s%s", domain[0] == '.' ? "*" : "", domain));
}

static void warn_blocked(const struct config *config, size_t i, const char *key, struct marks *marks)
{
	const char *domain = config->destinations[i].domain;
	const struct text any = text_of(any_of(marks, domain));
	const struct config_route *route = config_route_for(config, any);
	const struct config_peer *never = listed(config, CONFIG_STARTTLS_NEVER, route, any);

	if (never != NULL && listed(config, CONFIG_STARTTLS_REQUIRED, route, any) == NULL)
		marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "destinations", i, key),
			"no mail for `%s` can be delivered: it demands TLS, and `%s` of tls.starttls_never forbids it; take that out, or add `%s` to tls.starttls_required, which wins",
			domain, never->text, domain);
	if (config->destinations[i].dane == CONFIG_DANE_MANDATORY && route != NULL &&
		route->hop == CONFIG_HOP_ADDRESS)
		marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "destinations", i, "dane"),
			"no mail for `%s` can be delivered: its route leads to the address `%s`, and TLSA records belong to names; name the host as next_hop",
			domain, route->next_hop);
}

/* The next wider entry that says something of DANE, or NULL. */
static const struct config_destination *wider_dane(const struct config *config, const char *domain)
{
	const struct config_destination *fallback = NULL;

	for (const char *at = strchr(domain + 1, '.'); at != NULL; at = strchr(at + 1, '.'))
		for (size_t i = 0; i < config->destination_count; i++) {
			const struct config_destination *other = &config->destinations[i];

			if (other->domain != NULL && other->dane != CONFIG_DANE_UNSET &&
				text_equal(text_of(other->domain), text_of(at)))
				return other;
		}
	for (size_t i = 0; i < config->destination_count; i++)
		if (is_default(&config->destinations[i]) && config->destinations[i].dane != CONFIG_DANE_UNSET)
			fallback = &config->destinations[i];
	return fallback;
}

/* Level and DANE of a domain may be those of different entries. */
static void warn_level_and_dane(const struct config *config, size_t i, struct marks *marks)
{
	const struct config_destination *destination = &config->destinations[i], *level, *wider;
	char *key = key_of(marks, "destinations", i, "dane");

	if (destination->dane == CONFIG_DANE_MANDATORY && destination->tls == CONFIG_TLS_UNSET &&
		config_tls_for(config, text_of(any_of(key, destination->domain)), &level) ==
			CONFIG_TLS_NONE &&
		level != NULL)
		marks_warn(marks, MARKS_LOOK_UP, key,
			"no mail for `%s` can be delivered: DANE needs TLS, and `tls: none` of the entry `%s` counts for it; write a level here",
			destination->domain, level->domain);
	if (destination->tls != CONFIG_TLS_NONE || marks_has(marks, key))
		return;
	wider = wider_dane(config, destination->domain);
	if (wider != NULL && wider->dane == CONFIG_DANE_MANDATORY)
		marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "destinations", i, "tls"),
			"`none` never uses TLS, so that `dane: mandatory` of the entry `%s` does not count here; if that is meant, write `dane: none`, too",
			wider->domain);
}

static void warn_destinations(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];
		const char *key = demand_of(destination);

		if (destination->domain == NULL || is_default(destination))
			continue;
		if (key != NULL)
			warn_blocked(config, i, key, marks);
		warn_level_and_dane(config, i, marks);
	}
}

/* A login needs TLS. */
static void warn_routes(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];
		const char *key = route->implicit_tls ? "implicit_tls" : "username";

		if (!route->implicit_tls && route->username == NULL)
			continue;
		const struct text any = text_of(any_of(marks, route->domain));
		const struct config_peer *never = listed(config, CONFIG_STARTTLS_NEVER, route, any);
		if (never != NULL && listed(config, CONFIG_STARTTLS_REQUIRED, route, any) == NULL)
			marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "routes", i, key),
				"no mail can be delivered by this route: it needs TLS, and `%s` of tls.starttls_never forbids it; take that out",
				never->text);
	}
}

/* Handshakes that cannot succeed: where a certificate has to hold, TLS is 1.2 at least (3.35). */

static bool is_too_old(const struct config_tls_profile *profile)
{
	return profile != NULL && profile->max_version < CONFIG_TLS_1_2;
}

/* The key of what is demanded of a server's certificate, with what other entries say of it; NULL = nothing. */
static const char *certificate_demand(const struct config *config, struct text domain)
{
	const struct config_destination *entry;

	if (config_tls_for(config, domain, &entry) >= CONFIG_TLS_REQUIRED_VERIFY)
		return "tls";
	return config_dane_for(config, domain, &entry) == CONFIG_DANE_MANDATORY ? "dane" : NULL;
}

static void warn_old_destinations(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];
		const bool says_any = destination->tls != CONFIG_TLS_UNSET ||
				      destination->dane != CONFIG_DANE_UNSET ||
				      destination->tls_profile != NULL;

		if (destination->domain == NULL || !says_any)
			continue;
		const struct text any = text_of(any_of(marks, destination->domain));
		const struct config_tls_profile *profile = config_tls_profile_for(config, any);
		const char *key = certificate_demand(config, any);
		if (key != NULL && is_too_old(profile))
			marks_warn(marks, MARKS_LOOK_UP,
				key_of(marks, "destinations", i,
					destination->tls_profile != NULL ? "tls_profile" : key),
				"no mail for `%s` can be delivered: a certificate is demanded, for which TLS is 1.2 at least, and `max_version` of profile `%s` is older; raise it, or name another profile",
				destination->domain, profile->name);
	}
}

static void warn_old_logins(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];
		const struct config_tls_profile *profile =
			config_tls_profile_for(config, text_of(any_of(marks, route->domain)));

		if (route->username != NULL && is_too_old(profile))
			marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "routes", i, "username"),
				"no mail can be delivered by this route: a login wants TLS 1.2 at least, and `max_version` of profile `%s`, which the destination names, is older; raise it, or name another profile",
				profile->name);
	}
}

/* All of it off (F4) */

static void warn_off_destinations(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];
		const char *key = demand_of(destination);

		if (destination->domain != NULL && key != NULL)
			marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "destinations", i, key),
				"no mail for `%s` can be delivered: it demands TLS, and tls.enabled is off",
				destination->domain);
	}
	if (config->tls.starttls_required_count > 0)
		marks_warn(marks, MARKS_LOOK_UP, "tls.starttls_required",
			"no mail can be delivered to these servers: they get none without TLS, and tls.enabled is off");
}

static void warn_off_routes(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].implicit_tls || config->routes[i].username != NULL)
			marks_warn(marks, MARKS_LOOK_UP,
				key_of(marks, "routes", i,
					config->routes[i].implicit_tls ? "implicit_tls" : "username"),
				"no mail can be delivered by this route: it needs TLS, and tls.enabled is off");
}

static void warn_off(const struct config *config, struct marks *marks)
{
	marks_warn(marks, MARKS_LOOK_UP, "tls.enabled",
		"TLS is switched off: all mail comes and goes in clear, and what demands TLS is refused or waits");
	for (size_t i = 0; i < config->policy_count; i++)
		if (config->policies[i].tls == CONFIG_TLS_REQUIRED)
			marks_warn(marks, MARKS_LOOK_UP, key_of(marks, "mail_flow_policies", i, "tls"),
				"no client with this policy can send mail: it demands TLS, and tls.enabled is off");
	warn_off_destinations(config, marks);
	warn_off_routes(config, marks);
}

void outbound_warn(const struct config *config, struct marks *marks)
{
	starttls_lists_warn(config, marks);
	if (!config->tls.enabled) {
		warn_off(config, marks);
		return;
	}
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].domain == NULL || config->routes[i].next_hop == NULL)
			return; /* said before */
	warn_destinations(config, marks);
	warn_routes(config, marks);
	warn_old_destinations(config, marks);
	warn_old_logins(config, marks);
}
