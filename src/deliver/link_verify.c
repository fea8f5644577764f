/* The look at the certificate that a server showed in the handshake. */
#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/deliver.h"
#include "deliver/link_private.h"
#include "pki/crl_source.h"
#include "pki/crl_told.h"
#include "pki/ocsp_ask.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "report/metrics.h"

enum { OCSP_MS = 10000 };

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

static void note_verdict(const struct verify_verdict *verdict, struct evidence_verification *out)
{
	snprintf(out->result, sizeof out->result, "%s", verify_result_word(verdict->result));
	snprintf(out->reason, sizeof out->reason, "%s", verdict->reason);
	snprintf(out->matched, sizeof out->matched, "%s", verdict->matched);
	snprintf(out->authority, sizeof out->authority, "%s", verdict->authority);
	put_checks(verdict->checked, out->checked, sizeof out->checked);
	put_checks(verdict->unchecked, out->unchecked, sizeof out->unchecked);
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

/* What its issuer says about the server's certificate today, where the profile wants to know it. */
static void ask_for_status(const struct deliver_house *house, const struct link *link,
	const struct verify_facts *facts, X509 *issuer, struct verify_verdict *verdict)
{
	struct ocsp_answer answer;

	if (facts->ocsp == OCSP_OFF || verdict->result != VERIFY_FINE)
		return;
	if (issuer != NULL) {
		ocsp_ask(house->upkeep, facts->chain, issuer, house->stop_fd, link_deadline(link, OCSP_MS),
			&answer);
		metrics_count_ocsp(house->metrics, answer.finding);
	}
	verify_add_ocsp(facts, issuer == NULL ? NULL : &answer, verdict);
}

unsigned link_verify(
	const struct deliver_house *house, struct link *link, const char *name, char *detail, size_t size)
{
	const struct config_tls_settings *settings = &house->config->tls;
	const struct config_tls_profile *profile = link->target.profile;
	const struct verify_facts facts = { .chain = conn_tls_chain(link->conn),
		.trust = house->trust,
		.purpose = VERIFY_SERVER,
		.hosts = &name,
		.host_count = name != NULL,
		.address = name == NULL ? link->target.address : (struct ip){ 0 },
		.now_ms = clock_wall_ms(),
		.cn_fallback = settings->cn_fallback,
		.crls = house->crls,
		.revocation = crl_source_mode(house->config, house->crls != NULL),
		.fqdn = settings->fqdn_validation,
		.ocsp = profile == NULL ? OCSP_OFF : profile->ocsp };
	struct verify_verdict verdict;
	X509 *issuer;

	verify_peer_of(&facts, &verdict, &issuer);
	tell_of_list(house, link, &verdict);
	ask_for_status(house, link, &facts, issuer, &verdict);
	verify_issuer_free(issuer);
	note_verdict(&verdict, &link->conn->evidence.verification);
	if (verdict.result == VERIFY_FINE) {
		conn_tls_approve(link->conn);
		return TLS_CHECK_HOST;
	}
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", verdict.reason);
	return 0;
}
