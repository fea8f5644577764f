#include "lookup/tls_facts.h"

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"
#include "lookup/dane.h"
#include "lookup/route.h"

static enum tls_level_from said_by(const struct config_destination *entry)
{
	if (entry == NULL)
		return TLS_FROM_NOBODY;
	return text_equal(text_of(entry->domain), TEXT("default")) ? TLS_FROM_DEFAULT : TLS_FROM_DESTINATION;
}

static void add_destination(struct tls_facts *facts, const struct config *config, struct text domain)
{
	static const enum tls_level levels[] = { [CONFIG_TLS_NONE] = TLS_LEVEL_NONE,
		[CONFIG_TLS_PREFERRED] = TLS_LEVEL_PREFERRED,
		[CONFIG_TLS_REQUIRED] = TLS_LEVEL_REQUIRED,
		[CONFIG_TLS_PREFERRED_VERIFY] = TLS_LEVEL_PREFERRED_VERIFY,
		[CONFIG_TLS_REQUIRED_VERIFY] = TLS_LEVEL_REQUIRED_VERIFY,
		[CONFIG_TLS_REQUIRED_VERIFY_HOSTED] = TLS_LEVEL_REQUIRED_VERIFY_HOSTED };
	static const enum dane_setting settings[] = { [CONFIG_DANE_NONE] = DANE_SETTING_NONE,
		[CONFIG_DANE_OPPORTUNISTIC] = DANE_SETTING_OPPORTUNISTIC,
		[CONFIG_DANE_MANDATORY] = DANE_SETTING_MANDATORY,
		[CONFIG_DANE_AUDIT] = DANE_SETTING_AUDIT };
	static const enum dane_insecure_mx insecure[] = { [CONFIG_INSECURE_MX_DANE] = DANE_INSECURE_MX_DANE,
		[CONFIG_INSECURE_MX_ENCRYPT] = DANE_INSECURE_MX_ENCRYPT,
		[CONFIG_INSECURE_MX_MAY] = DANE_INSECURE_MX_MAY };
	const struct config_destination *entry;

	facts->level = levels[config_tls_for(config, domain, &entry)];
	facts->level_from = said_by(entry);
	facts->dane = settings[config_dane_for(config, domain, &entry)];
	facts->dane_insecure_mx = insecure[config->tls.dane_insecure_mx];
}

void tls_facts_configured(const struct config *config, const char *domain, const char *host,
	const struct ip *address, struct tls_facts *facts)
{
	const struct text name = text_of(domain);

	add_destination(facts, config, name);
	facts->allow_listed = config_listed(config, CONFIG_STARTTLS_NEVER, address, host, name) != NULL;
	facts->required_listed = config_listed(config, CONFIG_STARTTLS_REQUIRED, address, host, name) != NULL;
	facts->tls_off = !config->tls.enabled;
	facts->retry_without_tls = config->tls.retry_without_tls;
}

static const char *entry_domain(const struct config_destination *entry)
{
	return entry == NULL ? NULL : entry->domain;
}

static struct tls_listed listed_by(const struct config *config, enum config_list list,
	const struct ip *address, const char *host, struct text domain)
{
	const struct config_peer *peer = config_listed(config, list, address, host, domain);

	if (peer == NULL)
		return (struct tls_listed){ NULL, NULL };
	return (struct tls_listed){ peer->text,
		peer->name == NULL						      ? "address"
		: config_listed(config, list, NULL, host, (struct text){ 0 }) == peer ? "host"
										      : "domain" };
}

/* Who said it. */
static void add_entries(struct tls_findings *found, const struct config *config, struct text domain,
	const char *host, const struct ip *address)
{
	const struct config_destination *entry;

	config_tls_for(config, domain, &entry);
	found->level_entry = entry_domain(entry);
	config_dane_for(config, domain, &entry);
	found->dane_entry = entry_domain(entry);
	found->never = listed_by(config, CONFIG_STARTTLS_NEVER, address, host, domain);
	found->required = listed_by(config, CONFIG_STARTTLS_REQUIRED, address, host, domain);
	found->generation = config->generation;
}

void tls_facts_look_up_dane(struct tls_findings *found, const struct route_means *means,
	const struct route *route, const struct route_stop *stop)
{
	const struct config_tls_settings *settings = &means->config->tls;
	const unsigned options =
		(settings->dane_pkix_usages == CONFIG_PKIX_USAGES_ENFORCE ? (unsigned)DANE_OPTION_PKIX_USAGES
									  : 0u) |
		(settings->dane_insecure_mx == CONFIG_INSECURE_MX_MAY ? 0u
								      : (unsigned)DANE_OPTION_INSECURE_MX);

	found->dane = text_must(talloc_zero(found, struct dane_lookup_result));
	*found->dane = dane_look_up(found, means, route, stop, options);
	found->facts.dane_found = found->dane->finding;
}

struct tls_findings *tls_facts_gather(const void *owner, const struct route_means *means,
	const struct route *route, const struct route_stop *stop)
{
	struct tls_findings *found = text_must(talloc_zero(owner, struct tls_findings));
	struct tls_facts *facts = &found->facts;
	const struct config *config = means->config;
	const struct config_route *rule = route->rule;
	const char *host = stop->literal ? NULL : stop->host;

	tls_facts_configured(config, route->domain, host, &stop->address, facts);
	add_entries(found, config, text_of(route->domain), host, &stop->address);
	facts->implicit = rule != NULL && rule->implicit_tls;
	facts->credentials = rule != NULL && rule->username != NULL;
	facts->mx_secure = route->security == DNS_SECURE;
	/* without TLS the answer matters to nobody but DANE that is mandatory, which says with it why the mail waits */
	if (facts->dane == DANE_SETTING_MANDATORY || (facts->dane != DANE_SETTING_NONE && !facts->tls_off))
		tls_facts_look_up_dane(found, means, route, stop);
	return found;
}
