/* The join (section 5 of docs/architecture.md) and table B59. */
#include "policy/tls_decide.h"

#include "base/base.h"

/* The heaviest demand that is not dropped and wants `want`; -1 = there is none. */
static int weight_of(const struct tls_decision *decision, enum tls_want want)
{
	int heaviest = -1;

	for (size_t i = 0; i < decision->count; i++) {
		const struct tls_demand *demand = &decision->demands[i];

		if (!demand->dropped && demand->want == want)
			heaviest = MAX(heaviest, (int)demand->weight);
	}
	return heaviest;
}

static void drop(struct tls_decision *decision, enum tls_want want)
{
	for (size_t i = 0; i < decision->count; i++)
		decision->demands[i].dropped |= decision->demands[i].want == want;
}

/* The required list wins over the allow list, and over nothing else (C12). */
static void drop_allow_list(struct tls_decision *decision)
{
	bool required = false;

	for (size_t i = 0; i < decision->count; i++)
		required |= decision->demands[i].source == TLS_SOURCE_REQUIRED_LIST;
	for (size_t i = 0; required && i < decision->count; i++)
		decision->demands[i].dropped |= decision->demands[i].source == TLS_SOURCE_ALLOW_LIST;
}

/* Never, may or must: what is outweighed drops out. */
static void weigh(struct tls_decision *decision)
{
	const int must = weight_of(decision, TLS_MUST), never = weight_of(decision, TLS_NEVER);

	decision->conflict = must == TLS_WEIGHT_FIRM && never == TLS_WEIGHT_FIRM;
	decision->tls = must < 0 && never < 0 ? TLS_MAY : must >= never ? TLS_MUST : TLS_NEVER;
	if (decision->tls == TLS_MUST && !decision->conflict)
		drop(decision, TLS_NEVER);
	if (decision->tls == TLS_NEVER)
		drop(decision, TLS_MUST);
}

/* All other columns are united. Without TLS there is nothing to look at. */
static void unite(struct tls_decision *decision)
{
	for (size_t i = 0; i < decision->count && decision->tls != TLS_NEVER; i++) {
		const struct tls_demand *demand = &decision->demands[i];

		if (demand->dropped)
			continue;
		decision->checks |= demand->checks;
		decision->recorded |= demand->recorded;
		decision->proofs |= demand->proofs;
		decision->mx = MAX(decision->mx, demand->mx);
		decision->hold = MAX(decision->hold, demand->hold);
		decision->peer_requiretls |= demand->peer_requiretls;
		decision->bounce |= demand->bounce;
	}
	decision->recorded &= ~decision->checks;
}

/* The demands that made the decision: those that hold it up if any does, else those that want what it says. */
static bool decided(const struct tls_decision *decision, const struct tls_demand *demand)
{
	if (demand->dropped)
		return false;
	if (decision->hold != TLS_GO && !decision->conflict)
		return demand->hold == decision->hold;
	return demand->want == decision->tls;
}

static void explain(struct tls_decision *decision)
{
	bool found = false;

	for (size_t i = 0; i < decision->count; i++) {
		const struct tls_demand *demand = &decision->demands[i];

		if (decision->conflict && decision->against == NULL && !demand->dropped &&
			demand->want == TLS_NEVER)
			decision->against = demand->reason;
		if (!decided(decision, demand))
			continue;
		if (!found) {
			decision->decided_by = demand->source;
			decision->reason = demand->reason;
		}
		found = true;
		/* what only failed for now gets another chance, whoever else is in a hurry */
		decision->bounce &= decision->hold == TLS_GO || demand->bounce;
	}
	decision->bounce &= !decision->conflict;
}

static enum tls_level amounts_to(const struct tls_decision *decision)
{
	if (decision->tls == TLS_NEVER)
		return TLS_LEVEL_NONE;
	if (decision->tls == TLS_MAY)
		return decision->proofs == 0 ? TLS_LEVEL_PREFERRED : TLS_LEVEL_PREFERRED_VERIFY;
	if (decision->checks == 0)
		return TLS_LEVEL_REQUIRED;
	return decision->checks & TLS_CHECK_HOSTED ? TLS_LEVEL_REQUIRED_VERIFY_HOSTED
						   : TLS_LEVEL_REQUIRED_VERIFY;
}

static void add(struct tls_decision *decision, struct tls_demand demand)
{
	size_t at = decision->count;

	if (demand.want == TLS_SILENT && demand.recorded == 0)
		return;
	decision->count++;
	for (; at > 0 && decision->demands[at - 1].source > demand.source; at--)
		decision->demands[at] = decision->demands[at - 1];
	decision->demands[at] = demand;
}

static struct tls_decision join(struct tls_decision decision)
{
	decision.decided_by = TLS_SOURCE_DESTINATION;
	decision.reason = "nobody demands anything";
	drop_allow_list(&decision);
	weigh(&decision);
	unite(&decision);
	explain(&decision);
	decision.level = tls_demand_level_word(amounts_to(&decision));
	return decision;
}

struct tls_decision tls_decide_join(const struct tls_demand *demands, size_t count)
{
	struct tls_decision decision = { .count = 0 };

	for (size_t i = 0; i < count; i++)
		add(&decision, demands[i]);
	return join(decision);
}

struct tls_decision tls_decide(const struct tls_facts *facts)
{
	struct tls_decision decision = { .count = 0 };

	add(&decision, tls_demand_requiretls(facts));
	add(&decision, tls_demand_dane(facts));
	add(&decision, tls_demand_mta_sts(facts));
	add(&decision, tls_demand_destination(facts));
	add(&decision, tls_demand_route(facts));
	add(&decision, tls_demand_required_list(facts));
	add(&decision, tls_demand_temporary_list(facts));
	add(&decision, tls_demand_allow_list(facts));
	add(&decision, tls_demand_tls_off(facts));
	decision = join(decision);
	decision.may_list = facts->retry_without_tls && decision.tls == TLS_MAY;
	return decision;
}

/* After the 220 there is no way back to clear on that connection (decision 2 of the architecture; RFC 3207 section 4.1). A mail that never uses
 * STARTTLS cannot meet the last two outcomes; if it does, nothing is sent. */
static const struct {
	enum tls_step never, may, must;
	const char *reason;
} steps[TLS_OUTCOME_COUNT] = {
	/*                               never            may              must */
	[TLS_OUTCOME_NO_ESMTP] = { TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP,
		"the peer does not speak ESMTP" },
	[TLS_OUTCOME_NOT_OFFERED] = { TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP,
		"the peer does not offer STARTTLS" },
	[TLS_OUTCOME_REFUSED] = { TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP,
		"the peer refused STARTTLS" },
	[TLS_OUTCOME_HANDSHAKE_FAILED] = { TLS_STEP_DROP, TLS_STEP_DROP, TLS_STEP_DROP,
		"the TLS handshake failed" },
	[TLS_OUTCOME_UP] = { TLS_STEP_DROP, TLS_STEP_SEND, TLS_STEP_SEND,
		"the certificate is not checked at this level" },
};

static const char *explain_up(const struct tls_decision *decision, unsigned passed)
{
	const bool watched_in_vain = decision->recorded & ~decision->proofs & ~passed & TLS_CHECK_DANE;

	if (decision->checks & ~passed)
		return "the certificate was not accepted";
	if (decision->checks != 0 || decision->proofs & passed)
		return watched_in_vain
			       ? "the certificate was verified; DANE is only watched: it does not match the TLSA records"
			       : "the certificate was verified";
	if (decision->proofs != 0)
		return watched_in_vain
			       ? "the certificate was not verified, which is not required; DANE is only watched: it does not match the TLSA records"
			       : "the certificate was not verified, which is not required";
	return watched_in_vain ? "DANE is only watched: the certificate does not match the TLSA records"
			       : steps[TLS_OUTCOME_UP].reason;
}

enum tls_step tls_decide_step(const struct tls_decision *decision, enum tls_outcome outcome, unsigned passed,
	const char **ret_reason)
{
	const bool missing =
		outcome != TLS_OUTCOME_UP ? decision->checks != 0 : (decision->checks & ~passed) != 0;

	*ret_reason = outcome == TLS_OUTCOME_UP ? explain_up(decision, passed) : steps[outcome].reason;
	if (missing || decision->conflict || decision->hold != TLS_GO)
		return TLS_STEP_DROP;
	switch (decision->tls) {
	case TLS_NEVER:
		return steps[outcome].never;
	case TLS_MAY:
		return steps[outcome].may;
	case TLS_MUST:
		return steps[outcome].must;
	case TLS_SILENT:
		break;
	}
	return TLS_STEP_DROP;
}

const char *tls_decide_obtained(const struct tls_decision *decision, unsigned passed)
{
	if (decision->proofs & passed)
		return "verified";
	return decision->checks & passed & TLS_CHECK_DANE ? "trusted" : "encrypted";
}

const char *tls_decide_word(enum tls_outcome outcome)
{
	switch (outcome) {
	case TLS_OUTCOME_NO_ESMTP:
	case TLS_OUTCOME_NOT_OFFERED:
	case TLS_OUTCOME_REFUSED:
		return "starttls-not-supported";
	case TLS_OUTCOME_HANDSHAKE_FAILED:
		return "validation-failure";
	case TLS_OUTCOME_UP:
	case TLS_OUTCOME_COUNT:
		break;
	}
	return NULL;
}
