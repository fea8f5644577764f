/* STARTTLS and the handshake. What to do when TLS is missing or fails is never decided here: tls_decide_step() says it. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/contexts.h"
#include "deliver/deliver.h"
#include "deliver/link_private.h"
#include "net/tls.h"
#include "pki/peer_chain.h"
#include "report/metrics.h"

/* Everything that the handshake and what came of it depends on (conformance 2.16). The profiles and the authorities are those of the generation, to
 * which the kept sessions belong. */
static char *session_key(const void *owner, const struct link_target *target)
{
	const struct tls_decision *decision = &target->decision;
	const bool named = (decision->checks | decision->proofs) & (TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED);
	char address[IP_TEXT_MAX], dane[DIGEST_HEX_MAX];

	return text_must(talloc_asprintf(owner, "%s|%s|%s|%d|%s|%u|%u|%s|%s|%s|%u|%s",
		ip_format_port(&target->address, address), target->sni == NULL ? "" : target->sni,
		target->host, target->implicit_tls, decision->level, decision->checks, decision->proofs,
		named ? target->domain : "", target->profile == NULL ? "" : target->profile->name,
		target->certificate == NULL ? "" : target->certificate->name,
		target->authorities == NULL ? 0 : target->authorities->line,
		target->dane == NULL ? "" : digest_hex(&target->dane_id, dane)));
}

static struct tls_context *context_of(const struct deliver_house *house, const struct link_target *target)
{
	return house->contexts == NULL ? house->tls
				       : contexts_find(house->contexts, target->profile, target->certificate);
}

static void show(const struct conn *conn, struct link_shown *shown)
{
	if (shown == NULL)
		return;
	shown->chain = peer_chain_hold(conn_tls_chain(conn));
	conn_tls_signature(conn, shown->signature, sizeof shown->signature);
}

/* The handshake, and the look at the certificate; what came of it, with what is wrong in `detail`. */
static enum tls_outcome shake_hands(
	const struct deliver_house *house, struct link *link, char *detail, size_t size)
{
	const struct link_target *target = &link->target;
	const struct tls_peer peer = { .name = target->sni,
		.verify = target->decision.checks != 0,
		.look = target->decision.proofs != 0,
		.sessions = house->sessions,
		.key = session_key(link, target) };
	int r = conn_tls_connect(link->conn, context_of(house, target), &peer);

	if (r == 0) {
		show(link->conn, target->shown);
		link_verify(house, link, detail, size);
		return TLS_OUTCOME_UP;
	}
	link->may_list = target->decision.may_list && r != ERR_STOPPED && !conn_tls_blames_us(link->conn);
	link->silent = r == -ETIMEDOUT;
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", r == ERR_TLS ? link->conn->evidence.reason : err_text(r));
	return TLS_OUTCOME_HANDSHAKE_FAILED;
}

/* Try to start TLS on a greeted connection; what came of it, with the peer's words or the TLS error in `detail`. */
static enum tls_outcome start_tls(
	const struct deliver_house *house, struct link *link, bool esmtp, char *detail, size_t size)
{
	struct smtp_reply reply;

	if (!esmtp)
		return TLS_OUTCOME_NO_ESMTP;
	if (!link->offers.has_starttls)
		return TLS_OUTCOME_NOT_OFFERED;

	int r = link_ask(link, link->timeouts.starttls_ms, &reply, "STARTTLS");
	if (r == 0 && reply.code != 220) {
		snprintf(detail, size, "%s", reply.text);
		return TLS_OUTCOME_REFUSED;
	}
	if (r == 0 && conn_has_input(link->conn)) {
		snprintf(detail, size, "bytes followed the 220 in clear");
		return TLS_OUTCOME_HANDSHAKE_FAILED;
	}
	if (r == 0)
		return shake_hands(house, link, detail, size);
	link->silent = r == -ETIMEDOUT;
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", err_text(r));
	return TLS_OUTCOME_HANDSHAKE_FAILED;
}

static void count(const struct deliver_house *house, const struct link *link, enum tls_step step)
{
	const struct tls_decision *decision = &link->target.decision;
	const bool verified = strcmp(tls_decide_obtained(decision, link->passed), "verified") == 0;
	const enum metrics_policy sent = verified ? METRICS_POLICY_VERIFIED : METRICS_POLICY_ENCRYPTED;

	metrics_count_policy(house->metrics, decision->decided_by,
		step == TLS_STEP_CLEAR	? METRICS_POLICY_CLEAR
		: step == TLS_STEP_DROP ? METRICS_POLICY_REFUSED
					: sent);
	metrics_count_dane(house->metrics, link->target.dane_found, link->passed & TLS_CHECK_DANE);
}

/* What came of TLS is what was demanded, or not: 0 to go on, or a negative error with the failure. The evidence is kept. */
static int judge(const struct deliver_house *house, struct link *link, enum tls_outcome outcome,
	const char *detail, struct failure *failure)
{
	const struct tls_decision *decision = &link->target.decision;
	struct evidence *evidence = &link->conn->evidence;
	const char *why, *result = tls_decide_word(outcome);
	char reason[EVIDENCE_REASON_MAX];

	link->judged = true;
	link->outcome = outcome;
	if (result == NULL)
		result = evidence->verification.result;
	enum tls_step step = tls_decide_step(decision, outcome, link->passed, &why);
	snprintf(link->why, sizeof link->why, "%s%s%.100s", why, detail[0] == '\0' ? "" : ": ", detail);
	snprintf(reason, sizeof reason, "%s; %s", decision->reason, link->why);
	evidence_explain(evidence, reason);
	count(house, link, step);
	switch (step) {
	case TLS_STEP_CLEAR:
		log_event(LOG_WARN, "tls_downgrade", log_str("dcid", link->dcid),
			log_str("destination", link->target.destination), log_str("host", link->target.host),
			log_str("reason", reason));
		return link->broken ? -ECONNRESET : 0;
	case TLS_STEP_DROP:
		link->broken = true;
		log_event(LOG_WARN, "tls_failed", log_str("dcid", link->dcid),
			log_str("destination", link->target.destination), log_str("host", link->target.host),
			log_str("reason", reason), log_str("result", result));
		link_fail(failure, link, "450 4.7.5", "TLS", reason);
		failure->may_list = link->may_list;
		failure->silent = link->silent;
		failure->unreachable = false; /* other domains behind this next hop may ask for less */
		return ERR_TLS;
	case TLS_STEP_SEND:
		break;
	}
	evidence->obtained = tls_decide_obtained(decision, link->passed);
	metrics_count_tls(house->metrics, METRIC_TLS_OUT, evidence->protocol, evidence->group);
	return 0;
}

int link_protect(const struct deliver_house *house, struct link *link, bool esmtp, struct failure *failure)
{
	char detail[SMTP_REPLY_TEXT_MAX] = "";

	if (link->target.decision.tls == TLS_NEVER) {
		metrics_count_policy(house->metrics, link->target.decision.decided_by, METRICS_POLICY_CLEAR);
		evidence_explain(&link->conn->evidence, link->target.decision.reason);
		return 0;
	}

	enum tls_outcome outcome = start_tls(house, link, esmtp, detail, sizeof detail);
	return judge(house, link, outcome, detail, failure);
}

int link_protect_first(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	char detail[SMTP_REPLY_TEXT_MAX] = "";

	conn_set_deadline(link->conn, link_deadline(link, link->timeouts.starttls_ms));
	enum tls_outcome outcome = shake_hands(house, link, detail, sizeof detail);
	return judge(house, link, outcome, detail, failure);
}

/* With TLS 1.3 a server says only after the handshake what it thinks of our certificate. */
void link_refused_late(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	char alert[EVIDENCE_REASON_MAX], detail[SMTP_REPLY_TEXT_MAX];
	struct evidence *evidence = &link->conn->evidence;

	if (!link->conn->secured || !conn_tls_alert(link->conn, alert, sizeof alert))
		return;
	snprintf(detail, sizeof detail, "the peer ended TLS after the handshake: %s", alert);
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	link->passed = 0;
	link->may_list = link->target.decision.may_list && !conn_tls_blames_us(link->conn);
	evidence->obtained = "none";
	judge(house, link, TLS_OUTCOME_HANDSHAKE_FAILED, detail, failure);
}
