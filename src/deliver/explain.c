#include "deliver/explain.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "config/config.h"
#include "deliver/deliver.h"
#include "deliver/leg.h"
#include "deliver/link.h"
#include "deliver/stop.h"
#include "ipc/frame.h"
#include "lookup/dns.h"
#include "lookup/route.h"
#include "net/conn.h"
#include "net/evidence.h"
#include "pki/certificate.h"
#include "pki/peer_chain.h"
#include "report/metrics.h"
#include "report/tls_record.h"
#include "report/track.h"

enum { ALL_MS = 120 * 1000, STOP_MS = 30 * 1000 };

struct frame *explain_ask(const void *owner, enum explain_mode mode, const char *domain, const char *next_hop)
{
	struct frame *ask = frame_new(owner, FRAME_EXPLAIN);

	frame_put_number(ask, mode);
	frame_put_text(ask, text_of(domain));
	frame_put_text(ask, text_of(next_hop));
	return ask;
}

/* One question under way. */
struct question {
	const struct deliver_house *house;
	enum explain_mode mode;
	const char *domain, *next_hop, *destination;
	struct route_means means;
	struct route *route;
	void *scratch;
};

/* False when nobody dials there, with the reason. */
static bool may_dial(const struct stop *stop, const char **ret_why)
{
	const struct tls_decision *decision = &stop->decision;

	*ret_why = NULL;
	if (!decision->conflict && decision->hold == TLS_GO)
		return true;
	*ret_why =
		decision->conflict
			? text_must(talloc_asprintf(stop, "%s, but %s", decision->reason, decision->against))
			: decision->reason;
	return false;
}

/* How a mail would go: static. `blamed`: what failed is the handshake of the server, so that it may go on the temporary list. */
static const char *sent_as(const struct tls_decision *decision, enum tls_outcome outcome, unsigned passed,
	bool blamed, const char **ret_reason)
{
	*ret_reason = decision->reason;
	if (decision->conflict || decision->hold != TLS_GO)
		return "nothing";
	if (decision->tls == TLS_NEVER) /* STARTTLS is not sent, whatever would come of it */
		return "clear";
	switch (tls_decide_step(decision, outcome, passed, ret_reason)) {
	case TLS_STEP_CLEAR:
		return "clear";
	case TLS_STEP_SEND:
		return tls_decide_obtained(decision, passed);
	case TLS_STEP_DROP:
		break;
	}
	if (outcome != TLS_OUTCOME_HANDSHAKE_FAILED || !decision->may_list || !blamed)
		return "nothing";
	*ret_reason = "the TLS handshake failed, and tls.retry_without_tls is on";
	return "clear";
}

/* A decision that demands nothing and wants to know everything. */
static struct tls_decision curious(const struct tls_decision *real)
{
	const struct tls_demand demand = { .source = TLS_SOURCE_DESTINATION,
		.want = TLS_MAY,
		.recorded = TLS_CHECK_HOST | TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED |
			    ((real->checks | real->recorded) & TLS_CHECK_DANE),
		.reason = "an operator wants to know" };

	struct tls_decision decision = tls_decide_join(&demand, 1);

	decision.may_list = true; /* nobody lists it here, but a failure then says whether a delivery might */
	return decision;
}

/* What each level would make of what was found. */
static json_t *levels_json(const struct stop *stop, enum tls_outcome outcome, unsigned passed, bool blamed)
{
	json_t *levels = json_object();

	for (int level = 0; level < TLS_LEVEL_COUNT; level++) {
		struct tls_facts facts = stop->found->facts;
		const char *reason;

		facts.level = (enum tls_level)level;
		facts.level_from = TLS_FROM_DESTINATION;
		const struct tls_decision decision = tls_decide(&facts);
		const char *sent = sent_as(&decision, outcome, passed, blamed, &reason);

		json_object_set_new(levels, tls_demand_level_word((enum tls_level)level),
			json_pack("{s:s, s:s}", "sent", sent, "reason", reason));
	}
	return levels;
}

/* What the server showed, its own certificate first. */
static json_t *chain_json(const struct stack_st_X509 *chain, const void *scratch)
{
	json_t *array = json_array();
	char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX];
	X509 *x509;

	for (int i = 0; (x509 = peer_chain_at(chain, i)) != NULL; i++) {
		struct certificate c;
		json_t *names = json_array();

		certificate_describe(scratch, x509, &c);
		for (size_t n = 0; n < c.alt_count; n++)
			json_array_append_new(names, track_string(c.alt_names[n]));
		json_array_append_new(array,
			json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:b}", "subject",
				track_string(c.subject), "issuer", track_string(c.issuer), "names", names,
				"not_before", clock_iso(c.not_before_ms, from), "not_after",
				clock_iso(c.not_after_ms, to), "key", c.key, "sha256", c.fingerprint_sha256,
				"spki_sha256", c.spki_sha256, "self_signed", (int)c.self_signed));
	}
	return array;
}

/* Dial, protect, and hang up: what a delivery would have found. */
static json_t *live_json(const struct question *q, const struct stop *stop)
{
	struct deliver_house house = *q->house;
	struct link_target target = stop_target(&house, stop, q->destination);
	struct failure failure;
	struct link *link = NULL;
	struct link_shown shown = { 0 };
	const int64_t until = MIN(q->means.deadline, clock_mono_ms() + STOP_MS);

	house.sessions = NULL; /* a whole handshake, with all certificates */
	house.metrics = text_must(talloc_zero(q->scratch, struct metrics)); /* no mail, nothing to count */
	target.shown = &shown;
	if (q->mode == EXPLAIN_VERIFY)
		target.decision = curious(&stop->decision);
	else
		target.decision.recorded |=
			(TLS_CHECK_HOST | TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED) & ~target.decision.checks;
	const bool open = link_open(&house, &target, until, &link, &failure) == 0;
	const bool judged = open ? link->judged : failure.judged;
	const enum tls_outcome outcome = open ? link->outcome : failure.outcome;
	const unsigned made = open ? link->made : failure.made, passed = open ? link->passed : failure.passed;
	const char *sent = "nothing", *reason = open ? stop->decision.reason : failure.reply;

	if (judged)
		sent = sent_as(&stop->decision, outcome, passed, !open && failure.may_list, &reason);
	else if (open)
		sent = "clear";
	/* What failed later, such as a login, keeps the mail as well; a connection in clear would be a new one. */
	if (!open && strcmp(sent, "nothing") != 0 &&
		(outcome == TLS_OUTCOME_UP || (q->mode != EXPLAIN_VERIFY && !failure.may_list))) {
		sent = "nothing";
		reason = failure.reply;
	}
	if (!open && strcmp(sent, "nothing") == 0 && q->mode != EXPLAIN_VERIFY)
		reason = failure.reply; /* which says more */
	json_t *json = json_pack("{s:b, s:b, s:o, s:o, s:o, s:s, s:o, s:s, s:o}", "open", (int)open, "silent",
		(int)(!open && failure.silent), "reply", open ? json_null() : track_string(failure.reply),
		"tls", evidence_object(open ? &link->conn->evidence : &failure.evidence), "connection",
		judged ? tls_record_connection(outcome, made, passed) : json_null(), "signature",
		shown.signature, "chain", chain_json(shown.chain, q->scratch), "sent", sent, "reason",
		track_string(reason));
	if (q->mode == EXPLAIN_VERIFY && judged)
		json_object_set_new(
			json, "levels", levels_json(stop, outcome, passed, !open && failure.may_list));
	if (open)
		link_close(link);
	peer_chain_free(shown.chain);
	return json;
}

/* How a question ends, and each of its places. */
enum verdict { TEMPORARY, NOT_MET, MET };

static const char *verdict_word(enum verdict verdict)
{
	static const char *const words[] = { "temporary", "not-met", "met" };

	return words[verdict];
}

static bool is_unknown(enum dane_finding finding)
{
	return finding == DANE_MX_UNKNOWN || finding == DANE_HOST_UNKNOWN || finding == DANE_UNKNOWN ||
	       finding == DANE_UNKNOWN_INSECURE_MX;
}

/* Of a place that was dialled. What `tls verify` wants to know is whether the certificate is one for the domain (B49). */
static enum verdict judge_live(enum explain_mode mode, json_t *live)
{
	json_t *connection = json_object_get(live, "connection"), *word;
	size_t i;

	if (json_is_true(json_object_get(live, "silent")) ||
		(!json_is_object(connection) && !json_is_true(json_object_get(live, "open"))))
		return TEMPORARY;
	if (mode != EXPLAIN_VERIFY)
		return strcmp(json_string_value(json_object_get(live, "sent")), "nothing") == 0 ? NOT_MET
												: MET;
	json_array_foreach(json_object_get(connection, "passed"), i,
		word) if (strcmp(json_string_value(word), tls_demand_check_word(TLS_CHECK_DOMAIN)) ==
			  0) return MET;
	return NOT_MET;
}

static json_t *stop_json(const struct question *q, const struct route_stop *place, enum verdict *ret_verdict)
{
	struct stop *stop = stop_new(q->scratch, q->house, &q->means, q->route, place);
	char address[IP_TEXT_MAX];
	const char *why;

	if (q->mode == EXPLAIN_DANE)
		stop_demand_dane(stop, q->house, &q->means);
	const bool goes = may_dial(stop, &why);
	json_t *live = NULL;

	if (q->mode != EXPLAIN_PLAN && (goes || q->mode == EXPLAIN_VERIFY))
		live = live_json(q, stop);
	if (live != NULL)
		*ret_verdict = judge_live(q->mode, live);
	else if (goes)
		*ret_verdict = MET;
	else
		*ret_verdict = is_unknown(stop->found->facts.dane_found) ? TEMPORARY : NOT_MET;
	return json_pack("{s:o, s:s, s:s, s:o, s:b, s:o, s:o, s:b, s:s?, s:o}", "host",
		track_string(place->host), "address", ip_format_port(&place->address, address), "security",
		dns_security_word(place->security), "canonical", track_string(place->canonical), "literal",
		(int)place->literal, "facts", leg_facts(stop), "policy", tls_record_policy(&stop->decision),
		"dialled", (int)(live != NULL), "held", why, "live", live == NULL ? json_null() : live);
}

static json_t *string_or_null(const char *text)
{
	return text == NULL ? json_null() : track_string(text);
}

/* What DNSSEC says of the MX records; of those that could not be looked up it says nothing. */
static const char *mx_security(const struct route *route)
{
	return route->mx_why != NULL && route->security != DNS_BOGUS ? "unknown"
								     : dns_security_word(route->security);
}

static json_t *way_json(const struct question *q)
{
	const struct route *route = q->route;
	const struct config_route *rule = route->rule;

	return json_pack("{s:o, s:b, s:o, s:o, s:b, s:b, s:s, s:o, s:b, s:b}", "destination",
		track_string(q->destination), "asked", (int)(q->next_hop[0] != '\0'), "mx_of",
		string_or_null(route->hop), "expanded", string_or_null(route->expanded), "implicit_mx",
		(int)route->implicit_mx, "no_name", (int)route->no_name, "mx_security", mx_security(route),
		"mx_why", string_or_null(route->mx_why), "implicit_tls",
		(int)(rule != NULL && rule->implicit_tls), "login",
		(int)(rule != NULL && rule->username != NULL));
}

/* Nothing was there to be tried. */
static const char *say_end(const struct question *q, enum verdict *ret_verdict)
{
	bool permanent = false;
	const char *reply = route_end(q->route, &permanent);

	*ret_verdict = permanent ? NOT_MET : TEMPORARY;
	return reply;
}

static json_t *explain(const struct question *q)
{
	json_t *stops = json_array(), *json;
	enum verdict best = TEMPORARY, verdict;
	const char *end = NULL;
	struct route_stop place;

	while (route_next(q->route, &place)) {
		json_array_append_new(stops, stop_json(q, &place, &verdict));
		best = MAX(best, verdict);
	}
	if (json_array_size(stops) == 0)
		end = say_end(q, &best);
	json = json_pack("{s:o, s:I, s:o, s:o, s:o, s:s}", "domain", track_string(q->domain), "generation",
		(json_int_t)q->house->config->generation, "way", way_json(q), "servers", stops, "end",
		string_or_null(end), "verdict", verdict_word(best));
	return json;
}

struct frame *explain_answer(const struct deliver_house *house, struct frame *ask, const void *owner)
{
	const int64_t mode = frame_get_range(ask, 0, EXPLAIN_MODE_COUNT - 1);
	const char *domain = text_copy_lower(ask, frame_get_text(ask)), *next_hop = frame_get_copy(ask, ask);

	if (frame_done(ask) < 0)
		return NULL;
	struct question q = { .house = house,
		.mode = (enum explain_mode)mode,
		.domain = domain,
		.next_hop = next_hop,
		.destination = next_hop[0] != '\0' ? next_hop : route_destination(house->config, domain),
		.means = { .config = house->config,
			.resolver = house->resolver,
			.stop_fd = house->stop_fd,
			.deadline = clock_mono_ms() + ALL_MS },
		.scratch = talloc_new(ask) };
	q.route = route_new(q.scratch, &q.means, domain, next_hop);
	struct frame *answer = frame_new(owner, FRAME_ANSWER);
	json_t *json = explain(&q);
	char *text = text_must(json_dumps(json, JSON_COMPACT));

	frame_put_text(answer, text_of(text));
	free(text);
	json_decref(json);
	talloc_free(q.scratch);
	return answer;
}
