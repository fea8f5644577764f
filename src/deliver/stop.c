#include "deliver/stop.h"

#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/account.h"
#include "deliver/clear_hosts.h"
#include "deliver/deliver.h"
#include "lookup/dane.h"
#include "pki/crl_told.h"
#include "pki/dane.h"
#include "report/metrics.h"

/* Some records look usable to all but OpenSSL: what they hold is no certificate and no key. */
static void drop_flawed(const struct deliver_house *house, struct tls_findings *found)
{
	const bool pkix_usages = house->config->tls.dane_pkix_usages == CONFIG_PKIX_USAGES_ENFORCE;
	struct dane_lookup_result *dane = found->dane;
	size_t kept = 0;

	for (size_t i = 0; i < dane->count; i++)
		if (dane_flaw(&dane->records[i], pkix_usages) == NULL)
			dane->records[kept++] = dane->records[i];
	dane->left_out += dane->count - kept;
	dane->count = kept;
	dane->facts.usable = kept > 0;
	if (found->facts.dane_found != DANE_NOT_LOOKED)
		found->facts.dane_found = dane->finding = dane_find(&dane->facts);
}

struct stop *stop_new(const void *owner, const struct deliver_house *house, const struct route_means *means,
	const struct route *route, const struct route_stop *place)
{
	struct stop *stop = text_must(talloc_zero(owner, struct stop));

	stop->place = *place;
	stop->route = route;
	stop->found = tls_facts_gather(stop, means, route, place);
	struct tls_facts *facts = &stop->found->facts;
	if (stop->found->dane != NULL)
		drop_flawed(house, stop->found);
	facts->temporary_listed = facts->retry_without_tls &&
				  clear_hosts_have(house->clear_hosts, &place->address, clock_mono_ms());
	stop->decision = tls_decide(&stop->found->facts);
	return stop;
}

void stop_demand_dane(struct stop *stop, const struct deliver_house *house, const struct route_means *means)
{
	struct tls_findings *found = stop->found;

	if (found->dane == NULL) {
		tls_facts_look_up_dane(found, means, stop->route, &stop->place);
		drop_flawed(house, found);
	}
	found->facts.dane = DANE_SETTING_MANDATORY;
	found->dane_entry = NULL;
	stop->decision = tls_decide(&found->facts);
}

struct link_target stop_target(
	const struct deliver_house *house, const struct stop *stop, const char *destination)
{
	const struct config_route *rule = stop->route->rule;
	const struct route_stop *place = &stop->place;

	const struct dane_lookup_result *dane = stop->found->dane;
	const struct digest none = { .bytes = { 0 } };
	const bool has_records = dane != NULL && dane->base != NULL;
	const struct config *config = house->config;
	const struct text domain = text_of(stop->route->domain);

	return (struct link_target){ .generation = config->generation,
		.destination = destination,
		.domain = stop->route->domain,
		.host = place->host,
		.literal = place->literal,
		.sni = has_records	? dane->base
		       : place->literal ? NULL
					: place->host,
		.address = place->address,
		.source = place->source == NULL ? (struct ip){ 0 } : *place->source,
		.helo = rule == NULL || rule->helo == NULL ? config->hostname : rule->helo,
		.implicit_tls = rule != NULL && rule->implicit_tls,
		.decision = stop->decision,
		.dane = has_records ? dane : NULL,
		.dane_id = has_records ? dane->digest : none,
		.dane_found = stop->found->facts.dane_found,
		.profile = config_tls_profile_for(config, domain),
		.certificate = config_client_certificate_for(config, domain),
		.authorities = config_authorities_for(config, domain),
		.account = account_of(house->accounts, rule) };
}

/* Demands that exclude each other hold all mail up until somebody changes the configuration: he shall hear of it, but not with each mail (F2). */
static void tell_of_conflict(const struct deliver_house *house, const struct stop *stop,
	const char *destination, const char *reason)
{
	const char *domain = stop->route->domain;

	if (crl_told_first(house->told, domain, reason, clock_mono_ms()))
		log_event(LOG_ERROR, "tls_conflict", log_str("domain", domain),
			log_str("destination", destination), log_str("host", stop->place.host),
			log_str("reason", reason));
}

bool stop_may_dial(const struct deliver_house *house, const struct stop *stop, const char *destination,
	struct failure *ret_failure)
{
	const struct tls_decision *decision = &stop->decision;
	const enum dane_finding found = stop->found->facts.dane_found;
	char reason[EVIDENCE_REASON_MAX], address[IP_TEXT_MAX];

	if (!decision->conflict && decision->hold == TLS_GO)
		return true;
	snprintf(reason, sizeof reason, "%s%s%s", decision->reason, decision->conflict ? ", but " : "",
		decision->conflict ? decision->against : "");
	*ret_failure = (struct failure){ .final = decision->hold == TLS_DEFER,
		.evidence = { .desired = decision->level, .obtained = "none" } };
	snprintf(ret_failure->reply, sizeof ret_failure->reply, "450 4.7.5 TLS: %s", reason);
	evidence_explain(&ret_failure->evidence, reason);
	metrics_count_policy(house->metrics, decision->decided_by, METRICS_POLICY_REFUSED);
	if (dane_result(found, true) != DANE_RESULT_OK) /* which of the others holds it up is not its fault */
		metrics_count_dane(house->metrics, found, false);
	if (decision->conflict)
		tell_of_conflict(house, stop, destination, reason);
	log_event(LOG_WARN, "tls_host_skipped", log_str("destination", destination),
		log_str("host", stop->place.host),
		log_str("address", ip_format_port(&stop->place.address, address)), log_str("reason", reason));
	return false;
}

bool stop_go_without_tls(
	const struct deliver_house *house, const struct stop *stop, const struct failure *failure)
{
	char address[IP_TEXT_MAX];
	const bool listed = clear_hosts_add(house->clear_hosts, &stop->place.address, clock_mono_ms());

	if (listed)
		log_event(LOG_WARN, "tls_retry_without", log_str("dcid", failure->dcid),
			log_str("domain", stop->route->domain), log_str("host", stop->place.host),
			log_str("address", ip_format_port(&stop->place.address, address)),
			log_str("reason", failure->evidence.reason));
	return listed;
}
