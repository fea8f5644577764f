/* STARTTLS and the handshake. What to do when TLS is missing or fails is never decided here: tls_decide_step() says it. */
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/deliver.h"
#include "deliver/link_private.h"
#include "net/tls.h"
#include "report/metrics.h"

/* Everything that the handshake and what came of it depends on (conformance 2.16). The profiles and the authorities are those of the generation, to
 * which the kept sessions belong. */
static char *session_key(const void *owner, const struct link_target *target, const char *name)
{
	char address[IP_TEXT_MAX];

	return text_must(
		talloc_asprintf(owner, "%s|%s|%d|%s|%u|%s", ip_format_port(&target->address, address),
			name == NULL ? "" : name, target->implicit_tls, target->decision.level,
			target->decision.checks, target->profile == NULL ? "" : target->profile->name));
}

static struct tls_context *context_of(
	const struct deliver_house *house, const struct config_tls_profile *profile)
{
	return profile == NULL ? house->tls : house->tls_by_profile[profile - house->config->tls_profiles];
}

/* The handshake, and the look at the certificate; what came of it, with what is wrong in `detail`. */
static enum tls_outcome shake_hands(
	const struct deliver_house *house, struct link *link, unsigned *ret_passed, char *detail, size_t size)
{
	const struct link_target *target = &link->target;
	const char *name = target->literal ? NULL : target->host;
	const struct tls_peer peer = { .name = name,
		.verify = target->decision.checks != 0,
		.sessions = house->sessions,
		.key = session_key(link, target, name) };
	int r = conn_tls_connect(link->conn, context_of(house, target->profile), &peer);

	if (r == 0) {
		*ret_passed = peer.verify ? link_verify(house, link, name, detail, size) : 0;
		return TLS_OUTCOME_UP;
	}
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", r == ERR_TLS ? link->conn->evidence.reason : err_text(r));
	return TLS_OUTCOME_HANDSHAKE_FAILED;
}

/* Try to start TLS on a greeted connection; what came of it, with the peer's words or the TLS error in `detail`. */
static enum tls_outcome start_tls(const struct deliver_house *house, struct link *link, bool esmtp,
	unsigned *ret_passed, char *detail, size_t size)
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
		return shake_hands(house, link, ret_passed, detail, size);
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", err_text(r));
	return TLS_OUTCOME_HANDSHAKE_FAILED;
}

/* What came of TLS is what was demanded, or not: 0 to go on, or a negative error with the failure. The evidence is kept. */
static int judge(const struct deliver_house *house, struct link *link, enum tls_outcome outcome,
	unsigned passed, const char *detail, struct failure *failure)
{
	static const enum metric policies[] = { [TLS_STEP_CLEAR] = METRIC_POLICY_CLEAR,
		[TLS_STEP_SEND] = METRIC_POLICY_ENCRYPTED,
		[TLS_STEP_DROP] = METRIC_POLICY_REFUSED };
	const struct tls_decision *decision = &link->target.decision;
	struct evidence *evidence = &link->conn->evidence;
	const char *why, *result = tls_decide_word(outcome);
	char reason[EVIDENCE_REASON_MAX];

	if (result == NULL)
		result = evidence->verification.result;
	enum tls_step step = tls_decide_step(decision, outcome, passed, &why);
	snprintf(reason, sizeof reason, "%s; %s%s%.100s", decision->reason, why,
		detail[0] == '\0' ? "" : ": ", detail);
	evidence_explain(evidence, reason);
	metrics_count(house->metrics, policies[step]);
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
		failure->unreachable = false; /* other domains behind this next hop may ask for less */
		return ERR_TLS;
	case TLS_STEP_SEND:
		break;
	}
	metrics_count_tls(house->metrics, METRIC_TLS_OUT, evidence->protocol, evidence->group);
	return 0;
}

int link_protect(const struct deliver_house *house, struct link *link, bool esmtp, struct failure *failure)
{
	char detail[SMTP_REPLY_TEXT_MAX] = "";
	unsigned passed = 0;

	if (link->target.decision.tls == TLS_NEVER) {
		metrics_count(house->metrics, METRIC_POLICY_CLEAR);
		evidence_explain(&link->conn->evidence, link->target.decision.reason);
		return 0;
	}

	enum tls_outcome outcome = start_tls(house, link, esmtp, &passed, detail, sizeof detail);
	return judge(house, link, outcome, passed, detail, failure);
}

int link_protect_first(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	char detail[SMTP_REPLY_TEXT_MAX] = "";
	unsigned passed = 0;

	conn_set_deadline(link->conn, link_deadline(link, link->timeouts.starttls_ms));
	enum tls_outcome outcome = shake_hands(house, link, &passed, detail, sizeof detail);
	return judge(house, link, outcome, passed, detail, failure);
}
