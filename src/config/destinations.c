/*
 * Entries of `destinations` speak of two things: `concurrency` and `rate` of a next hop, which may serve many domains, all else of the domain of a recipient.
 * Each key counts for itself: what the best entry does not say, the next wider one does.
 */
#include "config/destinations.h"

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"
#include "config/domains.h"
#include "config/marks.h"
#include "config/routes.h"

char *config_hop_name(const void *owner, const char *next_hop)
{
	struct config_route route = { 0 };
	void *scratch = talloc_new(NULL);
	char address[IP_TEXT_MAX], *name;

	if (ip_parse_literal(text_of(next_hop), &route.address) == 0)
		name = text_copy(owner, text_of(ip_format(&route.address, address)));
	else if (routes_read_hop(scratch, text_of(next_hop), &route) != NULL)
		name = text_copy_lower(owner, text_of(next_hop));
	else if (route.hop == CONFIG_HOP_ADDRESS)
		name = text_copy(owner, text_of(ip_format(&route.address, address)));
	else
		name = text_copy(owner, text_of(route.host));
	talloc_free(scratch);
	return name;
}

struct config_pace config_pace_of(const struct config *config, const char *next_hop)
{
	char *name = config_hop_name(NULL, next_hop);
	const struct config_destination *concurrency = config_destination_for(
						config, text_of(name), CONFIG_SAYS_CONCURRENCY),
					*rate = config_destination_for(
						config, text_of(name), CONFIG_SAYS_RATE);

	talloc_free(name);
	return (struct config_pace){
		.concurrency = concurrency != NULL ? concurrency->concurrency : config->delivery.concurrency,
		.rate = rate != NULL ? rate->rate : config->delivery.rate,
	};
}

const struct config_destination *config_destination_for(
	const struct config *config, struct text domain, enum config_says key)
{
	char address[IP_TEXT_MAX];
	struct ip literal;

	if (ip_parse_literal(domain, &literal) == 0)
		domain = text_of(ip_format(&literal, address));
	return domains_fit(config->destinations_by_domain[key], domain);
}

const struct config_tls_profile *config_tls_profile_for(const struct config *config, struct text domain)
{
	const struct config_destination *destination =
		config_destination_for(config, domain, CONFIG_SAYS_TLS_PROFILE);

	return destination == NULL ? NULL : destination->tls_profile;
}

enum config_tls config_tls_for(
	const struct config *config, struct text domain, const struct config_destination **ret_entry)
{
	*ret_entry = config_destination_for(config, domain, CONFIG_SAYS_TLS);
	if (*ret_entry != NULL)
		return (*ret_entry)->tls;
	return config->tls.starttls_when_possible ? CONFIG_TLS_PREFERRED : CONFIG_TLS_NONE;
}

enum config_dane config_dane_for(
	const struct config *config, struct text domain, const struct config_destination **ret_entry)
{
	*ret_entry = config_destination_for(config, domain, CONFIG_SAYS_DANE);
	if (*ret_entry != NULL)
		return (*ret_entry)->dane;
	return config->tls.starttls_when_possible ? CONFIG_DANE_OPPORTUNISTIC : CONFIG_DANE_NONE;
}

const struct config_certificate *config_client_certificate_for(
	const struct config *config, struct text domain)
{
	const struct config_destination *destination =
		config_destination_for(config, domain, CONFIG_SAYS_CERTIFICATE);

	return destination != NULL ? destination->certificate : config->destination_settings.certificate;
}

bool config_delivery_shows(const struct config *config, const struct config_certificate *certificate)
{
	for (size_t i = 0; i < config->destination_count; i++)
		if (config->destinations[i].certificate == certificate)
			return true;
	return config->destination_settings.certificate == certificate;
}

const struct config_authorities *config_authorities_for(const struct config *config, struct text domain)
{
	const struct config_destination *destination =
		config_destination_for(config, domain, CONFIG_SAYS_AUTHORITIES);

	return destination == NULL ? NULL : &destination->authorities;
}

void destinations_finish(struct config *config)
{
	config->tls.starttls_when_possible = config->tls.starttls_said != CONFIG_SAID_FALSE;
	for (size_t i = 0; i < config->destination_count; i++) {
		struct config_destination *destination = &config->destinations[i];

		if (destination->tls == CONFIG_TLS_NONE && destination->dane == CONFIG_DANE_UNSET)
			destination->dane = CONFIG_DANE_NONE;
	}
}

static bool is_next_hop(const struct config *config, const char *name)
{
	bool found = false;

	for (size_t i = 0; i < config->route_count && !found; i++) {
		char *hop = config->routes[i].next_hop == NULL
				    ? NULL
				    : config_hop_name(NULL, config->routes[i].next_hop);

		found = hop != NULL && text_equal(text_of(hop), text_of(name));
		talloc_free(hop);
	}
	return found;
}

/* The domains that routes lead to `hop`: "`a.test`, `b.test`"; owned by `owner`. */
static char *routed_to(const void *owner, const struct config *config, const char *hop)
{
	char *list = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];
		char *name = route->next_hop == NULL ? NULL : config_hop_name(list, route->next_hop);

		if (name != NULL && text_equal(text_of(name), text_of(hop)))
			list = text_must(talloc_asprintf_append_buffer(
				list, "%s`%s`", list[0] == '\0' ? "" : ", ", route->domain));
	}
	return list;
}

/* Mail is addressed to it. */
static bool is_domain(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->accepted_domain_count; i++)
		if (config->accepted_domains[i] != NULL &&
			text_equal_nocase(text_of(config->accepted_domains[i]), text_of(name)))
			return true;
	for (size_t i = 0; i < config->route_count; i++)
		if (text_equal_nocase(text_of(config->routes[i].domain), text_of(name)))
			return true;
	return false;
}

/* The first key that goes by the domain of the recipient; NULL when there is none. */
static const char *domain_key(const struct config_destination *destination)
{
	if (destination->tls != CONFIG_TLS_UNSET)
		return "tls";
	if (destination->dane != CONFIG_DANE_UNSET)
		return "dane";
	if (destination->tls_profile != NULL)
		return "tls_profile";
	if (destination->certificate != NULL)
		return "certificate";
	return destination->authorities.line != 0 ? "authorities" : NULL;
}

/* What is said of a server, and goes by the domain of the recipient. */
static void warn_of_hop(const struct config *config, size_t i, struct marks *marks)
{
	const struct config_destination *destination = &config->destinations[i];
	const char *key = domain_key(destination);

	if (key == NULL || destination->domain == NULL || !is_next_hop(config, destination->domain) ||
		is_domain(config, destination->domain))
		return;
	char *path = text_must(talloc_asprintf(marks, "destinations[%zu].%s", i + 1, key));
	marks_warn(marks, MARKS_LOOK_UP, path,
		"has no effect on mail that routes send to `%s`: `tls`, `dane`, `tls_profile`, `certificate` and `authorities` go by the domain of the recipient; write them in entries for %s",
		destination->domain, routed_to(path, config, destination->domain));
	talloc_free(path);
}

void destinations_warn(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].domain == NULL)
			return; /* said before */
	for (size_t i = 0; i < config->destination_count; i++)
		warn_of_hop(config, i, marks);
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];
		const char *key = destination->concurrency != CONFIG_UNSET ? "concurrency" : "rate";
		const struct config_route *route;

		if (destination->domain == NULL || destination->domain[0] == '.' ||
			(destination->concurrency == CONFIG_UNSET && destination->rate == CONFIG_UNSET) ||
			text_equal(text_of(destination->domain), TEXT("default")))
			continue;
		route = config_route_for(config, text_of(destination->domain));
		if (route == NULL || route->next_hop == NULL || is_next_hop(config, destination->domain))
			continue;

		char *path = text_must(talloc_asprintf(marks, "destinations[%zu].%s", i + 1, key));
		marks_warn(marks, MARKS_LOOK_UP, path,
			"never counts: mail for `%s` goes to `%s`, so write it in an entry for `%s`",
			destination->domain, route->next_hop, config_hop_name(path, route->next_hop));
		talloc_free(path);
	}
}
