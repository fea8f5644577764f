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
#include "deliver/account.h"
#include "deliver/dsn.h"
#include "deliver/link.h"
#include "deliver/send.h"
#include "lookup/route.h"
#include "lookup/tls_facts.h"
#include "policy/tls_decide.h"
#include "report/metrics.h"

/* A link that was opened while a better server was down is not kept for ever; and after a quarter of an hour without any server there is
 * another attempt later. */
enum { REUSE_MS = 300 * 1000, ATTEMPT_MS = 900 * 1000 };

char *deliver_next_dcid(const struct deliver_house *house, const void *owner)
{
	static atomic_uint_fast64_t counter;

	return text_must(talloc_asprintf(owner, "%llx-%llu", (unsigned long long)house->incarnation,
		(unsigned long long)atomic_fetch_add(&counter, 1) + 1));
}

/* Where the operator sends it, or empty. */
static const char *next_hop_of(const struct lease *lease)
{
	return lease->next_hop == NULL ? "" : lease->next_hop;
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

/* One attempt under way. */
struct attempt {
	const struct deliver_house *house;
	const struct lease *lease;
	struct outcome *outcome;
	struct tls_decision decision;
	struct route *route;
	struct link **link;
	int64_t until;	/* no further server is tried after that */
	bool tried;	/* a server: `failure` says what came of the last one, unless it was reached */
	bool connected; /* one took the connection */
	bool reached;	/* one could be sent to */
	bool reachable; /* one failed only for what this mail demands */
	struct failure failure;
};

static bool is_open(const struct outcome *outcome, size_t index)
{
	return outcome->recipients[index].reply == NULL;
}

static void settle_rest(struct outcome *outcome, enum outcome_state state, const char *reply)
{
	for (size_t i = 0; i < outcome->recipient_count; i++) {
		if (!is_open(outcome, i))
			continue;
		outcome->recipients[i].state = state;
		outcome->recipients[i].reply = text_copy(outcome, text_of(reply));
	}
}

/* Some recipient is still without a final answer. */
static bool unfinished(const struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (is_open(outcome, i) || outcome->recipients[i].state == OUTCOME_DEFERRED)
			return true;
	return false;
}

/* The outcome is about to name another connection: what was settled over the one it names now shall keep it. */
static void keep_leg(struct outcome *outcome)
{
	bool used = false;

	for (size_t i = 0; i < outcome->recipient_count; i++)
		used = used || (!is_open(outcome, i) && outcome->recipients[i].leg == 0);
	if (!used || outcome->leg_count == ENVELOPE_LEGS_MAX)
		return;
	if (outcome->legs == NULL)
		outcome->legs = text_must(talloc_zero_array(outcome, struct outcome_leg, ENVELOPE_LEGS_MAX));
	outcome->legs[outcome->leg_count++] = (struct outcome_leg){
		.dcid = outcome->dcid, .host = outcome->host, .address = outcome->address, .tls = outcome->tls
	};
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (!is_open(outcome, i) && outcome->recipients[i].leg == 0)
			outcome->recipients[i].leg = outcome->leg_count;
}

static void name_leg(struct outcome *outcome, const char *dcid, const char *host, const char *address,
	const struct evidence *evidence)
{
	keep_leg(outcome);
	outcome->dcid = text_copy(outcome, text_of(dcid));
	outcome->host = text_copy(outcome, text_of(host));
	outcome->address = text_copy(outcome, text_of(address));
	outcome->tls = evidence_json(outcome, evidence);
}

static void drop(struct link **link)
{
	link_close(*link);
	*link = NULL;
}

static struct link_target target_of(const struct attempt *a, const struct route_stop *stop)
{
	return deliver_target(a->house, a->route, a->lease->destination, stop, &a->decision);
}

struct link_target deliver_target(const struct deliver_house *house, const struct route *route,
	const char *destination, const struct route_stop *stop, const struct tls_decision *decision)
{
	const struct config_route *rule = route->rule;

	return (struct link_target){ .generation = house->config->generation,
		.destination = destination,
		.host = stop->host,
		.literal = stop->literal,
		.address = stop->address,
		.source = stop->source == NULL ? (struct ip){ 0 } : *stop->source,
		.helo = rule == NULL || rule->helo == NULL ? house->config->hostname : rule->helo,
		.implicit_tls = rule != NULL && rule->implicit_tls,
		.decision = *decision,
		.profile = config_tls_profile_for(house->config, text_of(route->domain)),
		.account = account_of(house->accounts, rule) };
}

/* The open link may carry the mail when it would be opened in the same way today. A better server that was down gets its chance after a while. */
static bool may_reuse(const struct attempt *a)
{
	const struct link *link = *a->link;
	struct route_stop stop;

	if (link == NULL || link->broken || clock_mono_ms() - link->opened > REUSE_MS ||
		!route_leads_to(a->route, link->target.host, &link->target.address, &stop))
		return false;
	struct link_target target = target_of(a, &stop);
	return link_fits(link, &target);
}

/* Send to the recipients without a final answer over the open link. False when no other server shall be tried for those that still have none. */
static bool send_over(struct attempt *a)
{
	struct link *link = *a->link;
	struct outcome *outcome = a->outcome;
	bool untouched;

	name_leg(outcome, link->dcid, link->target.host, link->address, &link->conn->evidence);
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (outcome->recipients[i].state == OUTCOME_DEFERRED) {
			outcome->recipients[i].reply = NULL;
			outcome->recipients[i].leg = 0;
		}
	a->tried = a->connected = a->reached = true;
	int r = send_mail(link, a->lease, outcome, &untouched);
	bool uncertain = link->uncertain;
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (outcome->recipients[i].state == OUTCOME_DELIVERED && outcome->recipients[i].leg == 0)
			outcome->recipients[i].peer_reports = link->offers.has_dsn;
	if (r < 0)
		drop(a->link);
	else
		route_skip_host(a->route,
			link->target.host); /* it has answered: its other addresses would say the same */
	return !uncertain;
}

/* False when no server shall be tried any more. */
static bool try_stop(struct attempt *a, const struct route_stop *stop)
{
	struct link_target target = target_of(a, stop);
	char address[IP_TEXT_MAX];

	drop(a->link);
	if (link_open(a->house, &target, a->until, a->link, &a->failure) == 0)
		return send_over(a);
	a->tried = true;
	a->connected = a->connected || a->failure.connected;
	a->reachable = a->reachable || !a->failure.unreachable;
	if (!a->reached)
		name_leg(a->outcome, a->failure.dcid, stop->host, ip_format_port(&stop->address, address),
			&a->failure.evidence);
	return !a->failure.final;
}

/* The open link first, then one server after the other until each recipient has a final answer. What one says later is tried at the next
 * (conformance 2.09). */
static void try_all(struct attempt *a)
{
	struct route_stop stop;
	bool more = true;

	if (may_reuse(a))
		more = send_over(a);
	while (more && unfinished(a->outcome) && route_next(a->route, &stop))
		more = try_stop(a, &stop);
}

/* Who never was sent to learns why. */
static void explain(struct attempt *a)
{
	bool permanent = false;
	const char *reply = a->tried ? a->failure.reply : route_end(a->route, &permanent);

	settle_rest(a->outcome, permanent ? OUTCOME_BOUNCED : OUTCOME_DEFERRED, reply);
	a->outcome->unreachable = !a->reached && !a->reachable && !permanent;
}

/* False when no server took a connection. */
static bool transact(const struct deliver_house *house, struct link **link, const struct lease *lease,
	const struct tls_decision *decision, struct outcome *outcome)
{
	const int64_t until = clock_mono_ms() + ATTEMPT_MS;
	const struct route_means means = { .config = house->config,
		.resolver = house->resolver,
		.stop_fd = house->stop_fd,
		.deadline = until };
	struct attempt a = { .house = house,
		.lease = lease,
		.outcome = outcome,
		.decision = *decision,
		.link = link,
		.until = until };

	if (decision->conflict) {
		char *reply = text_must(talloc_asprintf(
			outcome, "450 4.7.5 TLS: %s, but %s", decision->reason, decision->against));

		settle_rest(outcome, OUTCOME_DEFERRED, reply);
		return false;
	}
	a.route = route_new(outcome, &means, lease->domain, next_hop_of(lease));
	try_all(&a);
	explain(&a);
	return a.connected;
}

/* What is still deferred when the mail is too old becomes final. */
static void expire(const struct config *config, int64_t age_ms, struct outcome *outcome)
{
	if (age_ms < config->delivery.expire_ms)
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
	const struct outcome *outcome, int64_t age_ms, enum tls_level level)
{
	static const enum metric counters[] = {
		[OUTCOME_DELIVERED] = METRIC_DELIVERED,
		[OUTCOME_DEFERRED] = METRIC_DEFERRED,
		[OUTCOME_BOUNCED] = METRIC_BOUNCED,
	};

	for (size_t i = 0; i < outcome->recipient_count; i++) {
		const struct outcome_recipient *recipient = &outcome->recipients[i];
		const struct outcome_leg leg = envelope_leg(outcome, i);

		metrics_count(house->metrics, (enum metric)((int)counters[recipient->state] + (int)level));
		if (recipient->state == OUTCOME_DELIVERED)
			metrics_observe(house->metrics, METRIC_DELIVERY_TIME, age_ms * 1000);
		log_event(recipient->state == OUTCOME_DELIVERED ? LOG_INFO : LOG_WARN,
			envelope_state_name(recipient->state), log_num("mid", outcome->mid),
			log_num("rid", recipient->rid), log_str("dcid", leg.dcid),
			log_str("recipient", lease->envelope.recipients[i]), log_str("host", leg.host),
			log_str("address", leg.address), log_str("reply", recipient->reply));
	}
}

/* The operator gave it up: nothing is sent. */
static void give_up(const struct lease *lease, struct outcome *outcome)
{
	outcome->host = "";
	for (size_t i = 0; i < outcome->recipient_count; i++) {
		outcome->recipients[i].state = OUTCOME_BOUNCED;
		const char *last =
			lease->replies == NULL || lease->replies[i] == NULL ? "" : lease->replies[i];

		outcome->recipients[i].reply = text_must(talloc_asprintf(outcome,
			"550 5.4.7 not delivered; the operator of this server gave it up%s%s",
			last[0] == '\0' ? "" : "; the last answer was: ", last));
	}
}

/* Nothing is sent to a next hop that cannot be reached: who waits hears what was answered last. */
static void leave(const struct lease *lease, struct outcome *outcome)
{
	for (size_t i = 0; lease->replies != NULL && i < outcome->recipient_count; i++)
		if (is_open(outcome, i) && lease->replies[i] != NULL && lease->replies[i][0] != '\0')
			outcome->recipients[i].reply = text_copy(outcome, text_of(lease->replies[i]));
	settle_rest(outcome, OUTCOME_DEFERRED, "450 4.4.1 the next hop cannot be reached for some time");
}

struct outcome *deliver_attempt(
	const struct deliver_house *house, struct link **link, const struct lease *lease, const void *owner)
{
	struct tls_facts facts =
		tls_facts_gather(house->config, lease->domain, next_hop_of(lease)[0] != '\0');
	struct tls_decision decision = tls_decide(&facts);
	struct outcome *outcome = outcome_new(lease, owner);
	const int64_t start = clock_mono_ms();

	bool connected = false;
	outcome->untried = lease->untried;
	const bool left = !lease->expired && send_check(lease, outcome);
	if (lease->expired)
		give_up(lease, outcome);
	else if (left && lease->untried)
		leave(lease, outcome);
	else if (left)
		connected = transact(house, link, lease, &decision, outcome);
	const int64_t age_ms = lease->age_ms + clock_mono_ms() - start;
	expire(house->config, age_ms, outcome);
	dsn_add(house->config, lease, age_ms, outcome);
	report(house, lease, outcome, age_ms, connected ? facts.level : TLS_LEVEL_NONE);
	return outcome;
}
