/* The look at the certificate that a server showed in the handshake. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/contexts.h"
#include "deliver/deliver.h"
#include "deliver/link_private.h"
#include "lookup/dane.h"
#include "lookup/dns.h"
#include "lookup/dns_cache.h"
#include "pki/crl_source.h"
#include "pki/crl_told.h"
#include "pki/dane.h"
#include "pki/ocsp_ask.h"
#include "pki/trust.h"
#include "pki/verify_memo.h"
#include "pki/verify_server.h"
#include "report/metrics.h"

enum { OCSP_MS = 10000, PTR_MS = 5000 };

/* The words of a set of checks, divided by spaces. */
static void put_checks(unsigned checks, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (int i = 0; i < VERIFY_CHECK_COUNT; i++)
		if (checks & 1u << i && len < size)
			len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? " " : "",
				verify_check_word(1u << i));
}

static void note_counting(
	unsigned check, const struct verify_verdict *verdict, struct evidence_verification *out)
{
	out->check = tls_demand_check_word((enum tls_check)check);
	snprintf(out->result, sizeof out->result, "%s", verify_result_word(verdict->result));
	snprintf(out->reason, sizeof out->reason, "%s", verdict->reason);
	snprintf(out->matched, sizeof out->matched, "%s",
		verdict->record[0] == '\0' ? verdict->matched : verdict->record);
	snprintf(out->authority, sizeof out->authority, "%s", verdict->authority);
	put_checks(verdict->checked, out->checked, sizeof out->checked);
	put_checks(verdict->unchecked, out->unchecked, sizeof out->unchecked);
}

static void note(unsigned check, const struct verify_verdict *verdict, struct evidence *evidence)
{
	struct evidence_check *out = &evidence->checks[evidence->check_count++];

	out->check = tls_demand_check_word((enum tls_check)check);
	snprintf(out->result, sizeof out->result, "%s", verify_result_word(verdict->result));
	snprintf(out->reason, sizeof out->reason, "%s", verdict->reason);
	snprintf(out->matched, sizeof out->matched, "%s",
		verdict->record[0] == '\0' ? verdict->matched : verdict->record);
}

/* The operator shall hear of a list that is missing or out of date, but not with each mail. */
static void tell_of_list(
	const struct deliver_house *house, const struct link *link, const struct verify_verdict *verdict)
{
	const char *issuer = verdict->issuer_without_list;

	if (issuer[0] != '\0' && crl_told_first(house->told, issuer, verdict->reason, clock_mono_ms()))
		log_event(LOG_WARN, "crl_not_checked", log_str("dcid", link->dcid), log_str("issuer", issuer),
			log_str("reason", verdict->reason));
}

static const struct trust *trust_for(const struct deliver_house *house, const struct link *link)
{
	const struct config_authorities *own = link->target.authorities;

	return own == NULL || house->contexts == NULL ? house->trust : contexts_trust(house->contexts, own);
}

/* The look at one certificate by the words of authorities. */
struct look {
	const struct deliver_house *house;
	struct link *link;
	struct verify_facts facts;
	struct digest chain;	   /* for house->memo */
	struct verified *verified; /* NULL = nobody needed it yet */
	struct verify_server server;
	bool has_status; /* OCSP was asked: `status` */
	struct ocsp_answer status;
};

static void look_begin(struct look *look, const struct deliver_house *house, struct link *link)
{
	const struct config_tls_settings *settings = &house->config->tls;
	const struct link_target *target = &link->target;
	const struct tls_decision *decision = &target->decision;
	const unsigned pkix = TLS_CHECK_ALL & ~(unsigned)TLS_CHECK_DANE;
	const bool counts = (decision->checks | decision->proofs) & pkix;
	struct ip literal;

	*look = (struct look){ .house = house,
		.link = link,
		.facts = { .chain = conn_tls_chain(link->conn),
			.trust = trust_for(house, link),
			.purpose = VERIFY_SERVER,
			.now_ms = clock_wall_ms(),
			.cn_fallback = settings->cn_fallback,
			.crls = house->crls,
			.revocation = crl_source_mode(house->config, house->crls != NULL),
			.fqdn = settings->fqdn_validation,
			.weak = !settings->x509_validation && !(decision->checks & pkix),
			.ocsp = target->profile == NULL || !counts ? OCSP_OFF : target->profile->ocsp },
		.server = { .domain = target->domain[0] == '\0' ||
						      ip_parse_literal(text_of(target->domain), &literal) == 0
					      ? NULL
					      : target->domain,
			.host = target->literal ? NULL : target->host,
			.address = target->address } };
	look->chain = verify_memo_chain(&look->facts);
}

static const struct verified *verified_of(struct look *look)
{
	if (look->verified == NULL)
		look->verified = verify_open(look->link, &look->facts);
	return look->verified;
}

/* What is only recorded, and asks nobody: as it was a minute ago, or anew. */
static void record_name(struct look *look, enum tls_check check, struct verify_verdict *verdict)
{
	struct verify_memo *memo = look->house->memo;
	struct digest key = verify_memo_key(&look->chain, check, &look->server);

	if (memo != NULL && verify_memo_find(memo, &key, clock_mono_ms(), verdict))
		return;
	verify_server_ask(verified_of(look), check, &look->server, verdict);
	if (memo != NULL)
		verify_memo_keep(memo, &key, clock_mono_ms(), &look->facts, verdict);
}

/* The name of the server's address, by the DNS; NULL when it has none, or it is not known. */
static const char *look_up_ptr(struct look *look)
{
	const struct link *link = look->link;
	char *name = dns_reverse_name(look->verified, &look->server.address);
	const struct dns_answer *answer = dns_cache_ask(look->house->dns_cache, look->house->resolver,
		look->verified, name, DNS_PTR, look->house->stop_fd, link_deadline(link, PTR_MS));

	return answer->count == 0 ? NULL : answer->records[0].name;
}

/* What its issuer says about the server's certificate today, where the profile wants to know it. */
static void ask_for_status(struct look *look, struct verify_verdict *verdict)
{
	X509 *issuer = verify_issuer(look->verified);

	if (look->facts.ocsp == OCSP_OFF || verdict->result != VERIFY_FINE)
		return;
	if (issuer != NULL && !look->has_status) {
		ocsp_ask(look->house->upkeep, look->facts.chain, issuer, look->house->stop_fd,
			link_deadline(look->link, OCSP_MS), &look->status);
		metrics_count_ocsp(look->house->metrics, look->status.finding);
		look->has_status = true;
	}
	verify_add_ocsp(&look->facts, issuer == NULL ? NULL : &look->status, verdict);
}

/* By an authority, and for the name that `check` is about. */
static void verify_name(struct look *look, enum tls_check check, struct verify_verdict *verdict)
{
	verify_server_ask(verified_of(look), check, &look->server, verdict);
	if (look->server.ptr == NULL && verify_server_wants_ptr(look->verified, check, verdict)) {
		look->server.ptr = look_up_ptr(look);
		if (look->server.ptr != NULL)
			verify_server_ask(look->verified, check, &look->server, verdict);
	}
	tell_of_list(look->house, look->link, verdict);
	ask_for_status(look, verdict);
}

/* By the TLSA records of the host. */
static void verify_records(
	const struct deliver_house *house, const struct link *link, struct verify_verdict *verdict)
{
	const struct dane_lookup_result *dane = link->target.dane;
	const struct dane_verify_facts facts = { .chain = conn_tls_chain(link->conn),
		.records = dane == NULL ? NULL : dane->records,
		.count = dane == NULL ? 0 : dane->count,
		.names = dane == NULL ? NULL : dane->names,
		.name_count = dane == NULL ? 0 : dane->name_count,
		.trust = trust_for(house, link),
		.client = house->tls,
		.pkix_usages = house->config->tls.dane_pkix_usages == CONFIG_PKIX_USAGES_ENFORCE,
		.now_ms = clock_wall_ms() };

	dane_verify(&facts, verdict);
}

/* The certificate is not what a level that goes on without it wants, or DANE that is only watched: that shall be seen. */
static void tell(const struct link *link, unsigned check, const struct verify_verdict *verdict)
{
	log_event(LOG_WARN, "tls_unverified", log_str("dcid", link->dcid),
		log_str("destination", link->target.destination), log_str("host", link->target.host),
		log_str("check", tls_demand_check_word((enum tls_check)check)),
		log_str("reason", verdict->reason), log_str("result", verify_result_word(verdict->result)));
}

/* What counted: something demanded that did not hold, else something demanded, else what the level looks at. */
static bool counts_more(
	const struct tls_decision *decision, const struct link *link, unsigned check, unsigned than)
{
	const unsigned failed = decision->checks & ~link->passed;

	if (than == 0)
		return true;
	if ((failed & check) != (failed & than) && (failed & (check | than)))
		return failed & check;
	return decision->checks & check && !(decision->checks & than);
}

void link_verify(const struct deliver_house *house, struct link *link, char *detail, size_t size)
{
	const struct tls_decision *decision = &link->target.decision;
	const unsigned counting = decision->checks | decision->proofs;
	struct evidence *evidence = &link->conn->evidence;
	unsigned shown = 0;
	struct look look = { .verified = NULL };

	if ((decision->checks | decision->recorded) & ~(unsigned)TLS_CHECK_DANE)
		look_begin(&look, house, link);
	for (unsigned check = 1; check <= TLS_CHECK_ALL; check <<= 1) {
		struct verify_verdict verdict;

		if (!((decision->checks | decision->recorded) & check))
			continue;
		if (check == TLS_CHECK_DANE)
			verify_records(house, link, &verdict);
		else if (counting & check)
			verify_name(&look, (enum tls_check)check, &verdict);
		else
			record_name(&look, (enum tls_check)check, &verdict);
		link->made |= check;
		if (verdict.result == VERIFY_FINE)
			link->passed |= check;
		else if (decision->recorded & check & (decision->proofs | TLS_CHECK_DANE))
			tell(link, check, &verdict);
		note(check, &verdict, evidence);
		if (!(counting & check) || !counts_more(decision, link, check, shown))
			continue;
		shown = check;
		note_counting(check, &verdict, &evidence->verification);
		snprintf(detail, size, "%s", verdict.result == VERIFY_FINE ? "" : verdict.reason);
	}
	talloc_free(look.verified);
	if (decision->checks & ~link->passed)
		metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	else if (decision->checks != 0 || decision->proofs & link->passed)
		conn_tls_approve(link->conn);
}
