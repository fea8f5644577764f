/*
 * One attempt, straight line: what is demanded, where it goes, the link, the transaction, the verdict. The outcome says for every
 * recipient what happened and carries the evidence of the leg; recording it is the caller's.
 */
#include "deliver/deliver.h"

#include <stdatomic.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/dsn.h"
#include "deliver/link.h"
#include "deliver/send.h"
#include "lookup/route.h"
#include "lookup/tls_facts.h"
#include "policy/tls_decide.h"
#include "report/metrics.h"

char *deliver_next_dcid(const struct deliver_house *house, const void *owner)
{
	static atomic_uint_fast64_t counter;

	return text_must(talloc_asprintf(owner, "%llx-%llu", (unsigned long long)house->incarnation,
		(unsigned long long)atomic_fetch_add(&counter, 1) + 1));
}

static struct outcome *outcome_new(const struct lease *lease, const void *owner)
{
	struct outcome *outcome = text_must(talloc_zero(owner, struct outcome));

	outcome->mid = lease->mid;
	outcome->domain = text_copy(outcome, text_of(lease->domain));
	outcome->attempt = lease->attempts + 1;
	outcome->time_ms = clock_wall_ms();
	outcome->dcid = outcome->address = outcome->tls = "";
	outcome->host = text_copy(outcome, text_of(lease->destination));
	outcome->recipient_count = lease->envelope.recipient_count;
	outcome->recipients = text_must(
		talloc_zero_array(outcome, struct outcome_recipient, (unsigned)outcome->recipient_count + 1));
	for (size_t i = 0; i < outcome->recipient_count; i++)
		outcome->recipients[i] =
			(struct outcome_recipient){ .rid = lease->rids[i], .state = OUTCOME_DEFERRED };
	return outcome;
}

static void defer_all(struct outcome *outcome, const char *reply)
{
	for (size_t i = 0; i < outcome->recipient_count; i++)
		outcome->recipients[i].reply = text_copy(outcome, text_of(reply));
}

/* An open link may carry the mail only when it was opened for the same destination under the same demand. */
static bool fits(const struct link *link, const struct lease *lease, const struct tls_decision *decision)
{
	return link != NULL && !link->broken && link->demand == decision->tls &&
	       strcmp(link->destination, lease->destination) == 0;
}

static void drop(struct link **link)
{
	link_close(*link);
	*link = NULL;
}

static void keep_evidence(struct outcome *outcome, const struct link *link)
{
	outcome->dcid = text_copy(outcome, text_of(link->dcid));
	outcome->address = text_copy(outcome, text_of(link->address));
	outcome->tls = evidence_json(outcome, &link->conn->evidence);
}

/* A link for the mail; false after deferring every recipient with the reason. ret_connected: the next hop took a connection. */
static bool have_link(const struct deliver_house *house, struct link **link, const struct lease *lease,
	const struct tls_decision *decision, struct outcome *outcome, bool *ret_connected)
{
	const struct ip *address = route_address(house->config, lease->domain);
	struct failure failure;

	*ret_connected = true;
	if (fits(*link, lease, decision))
		return true;
	drop(link);
	if (address == NULL) {
		*ret_connected = false;
		defer_all(outcome, "451 4.4.4 no route for this domain");
		return false;
	}
	if (link_open(house, address, lease->destination, decision, link, &failure) == 0)
		return true;

	char text[IP_TEXT_MAX];
	*ret_connected = failure.connected;
	outcome->unreachable = failure.unreachable;
	outcome->address = text_copy(outcome, text_of(ip_format_port(address, text)));
	outcome->tls = evidence_json(outcome, &failure.evidence);
	defer_all(outcome, failure.reply);
	return false;
}

/* Over an open link, once more over a fresh one when the peer had closed the old one before it answered anything. False when
 * the next hop took no connection. */
static bool transact(const struct deliver_house *house, struct link **link, const struct lease *lease,
	const struct tls_decision *decision, struct outcome *outcome)
{
	bool untouched, connected;

	for (;;) {
		bool reused = fits(*link, lease, decision);

		if (!have_link(house, link, lease, decision, outcome, &connected))
			return connected;

		keep_evidence(outcome, *link);
		int r = send_mail(*link, lease, outcome, &untouched);
		if (r < 0)
			drop(link);
		if (r == 0 || !untouched || !reused)
			return true;
		for (size_t i = 0; i < outcome->recipient_count; i++)
			if (outcome->recipients[i].state == OUTCOME_DEFERRED)
				outcome->recipients[i].reply = NULL;
	}
}

/* What is still deferred when the mail is too old becomes final. */
static void expire(const struct config *config, const struct lease *lease, struct outcome *outcome)
{
	if (outcome->time_ms - lease->envelope.received_ms < config->delivery.expire_ms)
		return;

	for (size_t i = 0; i < outcome->recipient_count; i++) {
		struct outcome_recipient *recipient = &outcome->recipients[i];

		if (recipient->state != OUTCOME_DEFERRED)
			continue;
		recipient->state = OUTCOME_BOUNCED;
		recipient->reply = text_must(talloc_asprintf(outcome,
			"550 5.4.7 not delivered in time; the last answer was: %s", recipient->reply));
	}
}

/* Count and log every recipient; `level` as docs/metrics.md says. */
static void report(const struct deliver_house *house, const struct lease *lease,
	const struct outcome *outcome, enum tls_level level)
{
	static const enum metric counters[] = {
		[OUTCOME_DELIVERED] = METRIC_DELIVERED,
		[OUTCOME_DEFERRED] = METRIC_DEFERRED,
		[OUTCOME_BOUNCED] = METRIC_BOUNCED,
	};
	const int64_t age_us = (clock_wall_ms() - lease->envelope.received_ms) * 1000;

	for (size_t i = 0; i < outcome->recipient_count; i++) {
		const struct outcome_recipient *recipient = &outcome->recipients[i];

		metrics_count(house->metrics, (enum metric)((int)counters[recipient->state] + (int)level));
		if (recipient->state == OUTCOME_DELIVERED)
			metrics_observe(house->metrics, METRIC_DELIVERY_TIME, age_us);
		log_event(recipient->state == OUTCOME_DELIVERED ? LOG_INFO : LOG_WARN,
			envelope_state_name(recipient->state), log_num("mid", outcome->mid),
			log_num("rid", recipient->rid), log_str("dcid", outcome->dcid),
			log_str("recipient", lease->envelope.recipients[i]), log_str("host", outcome->host),
			log_str("reply", recipient->reply));
	}
}

struct outcome *deliver_attempt(
	const struct deliver_house *house, struct link **link, const struct lease *lease, const void *owner)
{
	struct tls_facts facts = tls_facts_gather(house->config, lease->domain);
	struct tls_decision decision = tls_decide(&facts);
	struct outcome *outcome = outcome_new(lease, owner);

	bool connected = send_check(lease, outcome) && transact(house, link, lease, &decision, outcome);
	expire(house->config, lease, outcome);
	dsn_add(house->config, lease, outcome);
	report(house, lease, outcome, connected ? facts.level : TLS_LEVEL_NONE);
	return outcome;
}
