/*
 * Opening a connection to the next hop. Reads top to bottom: dial, greeting, EHLO, STARTTLS, EHLO again. What to do when TLS is
 * missing or fails is never decided here: tls_decide_step() says it.
 */
#include "deliver/link.h"

#include <stdarg.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/account.h"
#include "deliver/auth.h"
#include "deliver/deliver.h"
#include "net/tls.h"
#include "pki/crl_source.h"
#include "pki/crl_told.h"
#include "pki/ocsp_ask.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "report/metrics.h"

enum { LINE_MAX = 2048, QUIT_MS = 1000, OCSP_MS = 10000 };

static int vput(struct link *link, const char *format, va_list arguments)
{
	char *line = text_must(talloc_vasprintf(NULL, format, arguments));
	int r = strpbrk(line, "\r\n") == NULL ? conn_write(link->conn, text_of(line)) : ERR_FORMAT;

	if (r == 0)
		r = conn_write(link->conn, TEXT("\r\n"));
	if (r < 0)
		link->broken = true;
	talloc_free(line);
	return r;
}

int link_put(struct link *link, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int r = vput(link, format, arguments);
	va_end(arguments);
	return r;
}

int link_expect_silence(struct link *link)
{
	if (!conn_has_input(link->conn))
		return 0;
	link->broken = true;
	return ERR_FORMAT;
}

const char *link_status(int error)
{
	return error == ERR_FORMAT || error == ERR_TOO_LONG ? "4.5.0" : "4.4.2";
}

static int64_t deadline_in(const struct link *link, int64_t ms)
{
	int64_t deadline = clock_mono_ms() + ms;

	return link->until == 0 ? deadline : MIN(deadline, link->until);
}

int link_reply(struct link *link, int64_t ms, struct smtp_reply *ret_reply)
{
	struct smtp_reply reply = { 0 };
	struct text line;
	bool bare_lf;
	int r;

	conn_set_deadline(link->conn, deadline_in(link, ms));
	r = conn_flush(link->conn);
	while (r == 0 && !reply.complete) {
		r = conn_read_line(link->conn, LINE_MAX, &line, &bare_lf);
		if (r == 0)
			r = smtp_reply_line(&reply, line);
	}
	if (r < 0)
		link->broken = true;
	else
		*ret_reply = reply;
	return r;
}

int link_ask(struct link *link, int64_t ms, struct smtp_reply *ret_reply, const char *format, ...)
{
	va_list arguments;
	int r = link_expect_silence(link);

	va_start(arguments, format);
	if (r == 0)
		r = vput(link, format, arguments);
	va_end(arguments);
	return r == 0 ? link_reply(link, ms, ret_reply) : r;
}

void link_close(struct link *link)
{
	struct conn *conn;

	if (link == NULL)
		return;
	conn = link->conn;
	if (conn != NULL && !link->broken && link_put(link, "QUIT") == 0) {
		conn_set_deadline(conn, clock_mono_ms() + QUIT_MS);
		conn_flush(conn);
	}
	log_event(LOG_INFO, "delivery_closed", log_str("dcid", link->dcid), log_num("mails", link->mails));
	conn_free(conn);
	talloc_free(link);
}

static bool same_address(const struct ip *a, const struct ip *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static struct digest account_id(const struct account *account)
{
	return account == NULL ? (struct digest){ 0 } : account->id;
}

static bool same_demand(const struct tls_decision *a, const struct tls_decision *b)
{
	return a->tls == b->tls && a->verify == b->verify;
}

bool link_fits(const struct link *link, const struct link_target *target)
{
	const struct link_target *own = &link->target;
	const struct digest id = account_id(target->account);

	return own->generation == target->generation && strcmp(own->destination, target->destination) == 0 &&
	       strcmp(own->host, target->host) == 0 && own->literal == target->literal &&
	       same_address(&own->address, &target->address) && same_address(&own->source, &target->source) &&
	       strcmp(own->helo, target->helo) == 0 && own->implicit_tls == target->implicit_tls &&
	       same_demand(&own->decision, &target->decision) && own->profile == target->profile &&
	       memcmp(link->account_id.bytes, id.bytes, sizeof id.bytes) == 0;
}

static void fail(struct failure *failure, const struct link *link, const char *status, const char *what,
	const char *detail)
{
	snprintf(failure->reply, sizeof failure->reply, "%s %s%s%s", status, what,
		detail[0] == '\0' ? "" : ": ", detail);
	failure->connected = link->conn != NULL;
	if (failure->connected)
		failure->evidence = link->conn->evidence;
}

/* The peer went away, stayed silent or talked nonsense. */
static void lost(struct failure *failure, const struct link *link, const char *what, int error)
{
	char status[16];

	snprintf(status, sizeof status, "450 %s", link_status(error));
	fail(failure, link, status, what, err_text(error));
}

/* 220, or why not. A refusal at the door concerns the destination, not the mail: it is tried again. */
static int greeting(struct link *link, struct failure *failure)
{
	struct smtp_reply reply;
	int r = link_reply(link, link->timeouts.greeting_ms, &reply);

	if (r < 0) {
		lost(failure, link, "no greeting from the peer", r);
		return r;
	}
	if (smtp_reply_class(&reply) == 2)
		return 0;
	fail(failure, link, "450 4.3.2", "the peer refused the connection", reply.text);
	return -ECONNREFUSED;
}

/* Codes that say "I do not know EHLO" (RFC 5321 section 4.2.1: x0z is syntax); any other 5xx refuses us. */
static bool knows_no_ehlo(const struct smtp_reply *reply)
{
	return reply->code >= 500 && reply->code <= 504;
}

/* EHLO, or HELO where that is allowed: without EHLO there is no STARTTLS, so not where TLS is a must (ret_esmtp false, and nothing was
 * said). What an earlier EHLO offered is forgotten. 0 or a negative error with the failure. */
static int say_hello(struct link *link, bool may_helo, bool *ret_esmtp, struct failure *failure)
{
	const char *name = link->target.helo;
	struct smtp_reply reply;

	*ret_esmtp = false;
	link->offers = (struct smtp_reply){ 0 };
	int r = link_ask(link, link->timeouts.hello_ms, &reply, "EHLO %s", name);
	if (r == 0 && smtp_reply_class(&reply) == 2) {
		link->offers = reply;
		*ret_esmtp = true;
		return 0;
	}
	if (r == 0 && knows_no_ehlo(&reply)) {
		if (!may_helo)
			return 0;
		r = link_ask(link, link->timeouts.hello_ms, &reply, "HELO %s", name);
	}
	if (r < 0) {
		lost(failure, link, "the connection was lost at EHLO", r);
		return r;
	}
	if (smtp_reply_class(&reply) == 2)
		return 0;
	fail(failure, link, "450 4.3.2", "the peer refused EHLO", reply.text);
	return -ECONNREFUSED;
}

/* Everything that the handshake and what came of it depends on (conformance 2.16). The profiles and the authorities are those of the generation, to
 * which the kept sessions belong. */
static char *session_key(const void *owner, const struct link_target *target, const char *name)
{
	char address[IP_TEXT_MAX];

	return text_must(talloc_asprintf(owner, "%s|%s|%d|%s|%s|%s",
		ip_format_port(&target->address, address), name == NULL ? "" : name, target->implicit_tls,
		target->decision.level, target->decision.verify ? "verified" : "",
		target->profile == NULL ? "" : target->profile->name));
}

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
		ocsp_ask(house->upkeep, facts->chain, issuer, house->stop_fd, deadline_in(link, OCSP_MS),
			&answer);
		metrics_count_ocsp(house->metrics, answer.finding);
	}
	verify_add_ocsp(facts, issuer == NULL ? NULL : &answer, verdict);
}

/* The handshake is done: may the server be believed? With the reason in `detail` if not. */
static enum tls_outcome verify_server(
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
		return TLS_OUTCOME_VERIFIED;
	}
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", verdict.reason);
	return TLS_OUTCOME_NOT_VERIFIED;
}

static struct tls_context *context_of(
	const struct deliver_house *house, const struct config_tls_profile *profile)
{
	return profile == NULL ? house->tls : house->tls_by_profile[profile - house->config->tls_profiles];
}

/* The handshake, and the look at the certificate; what came of it, with what is wrong in `detail`. */
static enum tls_outcome shake_hands(
	const struct deliver_house *house, struct link *link, char *detail, size_t size)
{
	const struct link_target *target = &link->target;
	const char *name = target->literal ? NULL : target->host;
	const struct tls_peer peer = { .name = name,
		.verify = target->decision.verify,
		.sessions = house->sessions,
		.key = session_key(link, target, name) };
	int r = conn_tls_connect(link->conn, context_of(house, target->profile), &peer);

	if (r == 0)
		return peer.verify ? verify_server(house, link, name, detail, size) : TLS_OUTCOME_UP;
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
	metrics_count(house->metrics, METRIC_TLS_OUT_FAILED);
	snprintf(detail, size, "%s", err_text(r));
	return TLS_OUTCOME_HANDSHAKE_FAILED;
}

/* What came of TLS is what was demanded, or not: 0 to go on, or a negative error with the failure. The evidence is kept. */
static int judge(const struct deliver_house *house, struct link *link, enum tls_outcome outcome,
	const char *detail, struct failure *failure)
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
	enum tls_step step = tls_decide_step(decision, outcome, &why);
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
		fail(failure, link, "450 4.7.5", "TLS", reason);
		failure->unreachable = false; /* other domains behind this next hop may ask for less */
		return ERR_TLS;
	case TLS_STEP_SEND:
		break;
	}
	metrics_count_tls(house->metrics, METRIC_TLS_OUT, evidence->protocol, evidence->group);
	return 0;
}

/* Protect the greeted connection as demanded. 0, or a negative error with the failure. */
static int protect(const struct deliver_house *house, struct link *link, bool esmtp, struct failure *failure)
{
	char detail[SMTP_REPLY_TEXT_MAX] = "";

	if (link->target.decision.tls == TLS_NEVER) {
		metrics_count(house->metrics, METRIC_POLICY_CLEAR);
		evidence_explain(&link->conn->evidence, link->target.decision.reason);
		return 0;
	}

	enum tls_outcome outcome = start_tls(house, link, esmtp, detail, sizeof detail);
	int r = judge(house, link, outcome, detail, failure);
	return r == 0 && link->conn->secured ? say_hello(link, true, &esmtp, failure) : r;
}

/* TLS before the greeting. */
static int protect_first(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	char detail[SMTP_REPLY_TEXT_MAX] = "";

	conn_set_deadline(link->conn, deadline_in(link, link->timeouts.starttls_ms));
	enum tls_outcome outcome = shake_hands(house, link, detail, sizeof detail);
	return judge(house, link, outcome, detail, failure);
}

/* Log in where the route has an account. Refused credentials concern the next hop, and no other server of it shall hear them now: servers count
 * failures. */
static int log_in(struct link *link, struct failure *failure)
{
	const struct link_target *target = &link->target;
	char why[SMTP_REPLY_TEXT_MAX + 64];
	bool refused;

	if (target->account == NULL)
		return 0;
	int r = auth_log_in(link, target->account, why, sizeof why, &refused);
	if (r == 0) {
		link->account_id = target->account->id;
		return 0;
	}
	fail(failure, link, "450", why, "");
	failure->final = refused;
	log_event(LOG_ERROR, "auth_failed", log_str("dcid", link->dcid),
		log_str("destination", target->destination), log_str("host", target->host),
		log_str("address", link->address), log_str("username", target->account->username),
		log_str("reason", why));
	return r;
}

static struct link *link_new(
	const struct deliver_house *house, const struct link_target *target, int64_t until)
{
	struct link *link = text_must(talloc_zero(NULL, struct link));

	link->target = *target;
	link->target.destination = text_copy(link, text_of(target->destination));
	link->target.host = text_copy(link, text_of(target->host));
	link->target.helo = text_copy(link, text_of(target->helo));
	link->dcid = deliver_next_dcid(house, link);
	link->timeouts = house->config->delivery.timeouts;
	link->opened = clock_mono_ms();
	link->until = until;
	ip_format_port(&target->address, link->address);
	return link;
}

/* Up to where mail can be sent. */
static int set_up(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	const struct link_target *target = &link->target;
	const int64_t deadline = deadline_in(link, link->timeouts.connect_ms);
	bool esmtp;
	int r = conn_dial(&target->address, &target->source, house->stop_fd, deadline, &link->conn);

	if (r < 0) {
		fail(failure, link, "450 4.4.1",
			r == -EADDRNOTAVAIL ? "cannot connect from the configured source" : "cannot connect",
			err_text(r));
		evidence_explain(&failure->evidence, "there was no connection");
		return r;
	}
	link->conn->evidence.desired = target->decision.level;
	if (target->implicit_tls)
		r = protect_first(house, link, failure);
	if (r == 0)
		r = greeting(link, failure);
	if (r == 0)
		r = say_hello(
			link, target->implicit_tls || target->decision.tls != TLS_MUST, &esmtp, failure);
	if (r == 0 && !target->implicit_tls)
		r = protect(house, link, esmtp, failure);
	if (r == 0)
		r = log_in(link, failure);
	link->target.account = NULL;
	return r;
}

int link_open(const struct deliver_house *house, const struct link_target *target, int64_t until,
	struct link **ret_link, struct failure *ret_failure)
{
	struct link *link = link_new(house, target, until);

	*ret_failure = (struct failure){ .unreachable = true,
		.evidence = { .desired = target->decision.level, .obtained = "none" } };
	int r = set_up(house, link, ret_failure);
	if (r == 0) {
		link->until = 0;
		log_event(LOG_INFO, "delivery_connected", log_str("dcid", link->dcid),
			log_str("destination", target->destination), log_str("host", target->host),
			log_str("address", link->address), log_str("tls", link->conn->evidence.obtained),
			log_str("protocol", link->conn->evidence.protocol),
			log_str("reason", link->conn->evidence.reason));
		*ret_link = link;
		return 0;
	}

	log_event(LOG_WARN, "delivery_connect_failed", log_str("dcid", link->dcid),
		log_str("destination", target->destination), log_str("host", target->host),
		log_str("address", link->address), log_str("reason", ret_failure->reply));
	snprintf(ret_failure->dcid, sizeof ret_failure->dcid, "%s", link->dcid);
	link->broken = true;
	conn_free(link->conn);
	talloc_free(link);
	return r;
}
