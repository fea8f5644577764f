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
#include "deliver/leg.h"
#include "deliver/link.h"
#include "deliver/send.h"
#include "deliver/stop.h"
#include "lookup/route.h"
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
	struct legs legs;
	struct route_means means; /* its deadline: no further server is tried after that */
	struct route *route;
	struct link **link;
	enum tls_level level; /* of the last server that was dialled */
	bool tried;	      /* a server: `failure` says what came of the last one, unless it was reached */
	bool connected;	      /* one took the connection */
	bool reachable;	      /* one failed only for what this mail demands */
	struct failure *failure;
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

static void drop(struct link **link)
{
	link_close(*link);
	*link = NULL;
}

/* The stop of the open link, when that may carry the mail: it would be opened in the same way today. A better server that was down gets its chance after a while. NULL when
 * it may not. */
static struct stop *reusable(const struct attempt *a)
{
	const struct link *link = *a->link;
	struct route_stop place;

	if (link == NULL || link->broken || clock_mono_ms() - link->opened > REUSE_MS ||
		!route_leads_to(a->route, link->target.host, &link->target.address, &place))
		return NULL;
	struct stop *stop = stop_new(a->outcome, a->house, &a->means, a->route, &place);
	struct link_target target = stop_target(a->house, stop, a->lease->destination);
	return link_fits(link, &target) && stop_may_dial(a->house, stop, a->lease->destination, a->failure)
		       ? stop
		       : NULL;
}

/* Send to the recipients without a final answer over the open link. False when no other server shall be tried for those that still have none. */
static bool send_over(struct attempt *a, const struct stop *stop)
{
	struct link *link = *a->link;
	struct outcome *outcome = a->outcome;
	bool untouched;

	leg_use(&a->legs, link, stop);
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (outcome->recipients[i].state == OUTCOME_DEFERRED) {
			outcome->recipients[i].reply = NULL;
			outcome->recipients[i].leg = 0;
		}
	a->tried = a->connected = true;
	a->level = stop->found->facts.level;
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

/* The same at a server that is dialled for it. */
static bool try_stop(struct attempt *a, const struct route_stop *place)
{
	const char *destination = a->lease->destination;
	struct stop *stop = stop_new(a->outcome, a->house, &a->means, a->route, place);
	struct link_target target = stop_target(a->house, stop, destination);

	if (stop_may_dial(a->house, stop, destination, a->failure)) {
		drop(a->link);
		a->level = stop->found->facts.level;
		if (link_open(a->house, &target, a->means.deadline, a->link, a->failure) == 0)
			return send_over(a, stop);
		if (a->failure->may_list && stop_go_without_tls(a->house, stop, a->failure)) {
			leg_fail(&a->legs, stop, a->failure);
			return try_stop(a, place);
		}
	}
	a->tried = true;
	a->connected = a->connected || a->failure->connected;
	a->reachable = a->reachable || !a->failure->unreachable;
	leg_fail(&a->legs, stop, a->failure);
	return !a->failure->final;
}

/* The open link first, then one server after the other until each recipient has a final answer. What one says later is tried at the next
 * (conformance 2.09). */
static void try_all(struct attempt *a)
{
	struct stop *open = reusable(a);
	struct route_stop place;
	bool more = true;

	if (open != NULL)
		more = send_over(a, open);
	while (more && unfinished(a->outcome) && route_next(a->route, &place))
		more = try_stop(a, &place);
	leg_end(&a->legs);
}

/* Who never was sent to learns why. */
static void explain(struct attempt *a)
{
	bool permanent = false;
	const char *reply = a->tried ? a->failure->reply : route_end(a->route, &permanent);

	settle_rest(a->outcome, permanent ? OUTCOME_BOUNCED : OUTCOME_DEFERRED, reply);
	a->outcome->unreachable = !a->legs.reached && !a->reachable && !permanent;
}

/* The level of the destination, for docs/metrics.md; none when no server took a connection. */
static enum tls_level transact(const struct deliver_house *house, struct link **link,
	const struct lease *lease, struct outcome *outcome)
{
	struct attempt a = { .house = house,
		.lease = lease,
		.outcome = outcome,
		.legs = { .outcome = outcome },
		.failure = text_must(talloc_zero(outcome, struct failure)),
		.means = { .config = house->config,
			.resolver = house->resolver,
			.cache = house->dns_cache,
			.stop_fd = house->stop_fd,
			.deadline = clock_mono_ms() + ATTEMPT_MS },
		.link = link };

	a.route = route_new(outcome, &a.means, lease->domain, next_hop_of(lease));
	try_all(&a);
	explain(&a);
	return a.connected ? a.level : TLS_LEVEL_NONE;
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
	struct outcome *outcome = outcome_new(lease, owner);
	const int64_t start = clock_mono_ms();

	enum tls_level level = TLS_LEVEL_NONE;
	outcome->untried = lease->untried;
	const bool left = !lease->expired && send_check(lease, outcome);
	if (lease->expired)
		give_up(lease, outcome);
	else if (left && lease->untried)
		leave(lease, outcome);
	else if (left)
		level = transact(house, link, lease, outcome);
	const int64_t age_ms = lease->age_ms + clock_mono_ms() - start;
	expire(house->config, age_ms, outcome);
	dsn_add(house->config, lease, age_ms, outcome);
	report(house, lease, outcome, age_ms, level);
	return outcome;
}
