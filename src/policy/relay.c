/* Relaying as a table. The first matching row wins; the last one matches everything. */
#include "policy/relay.h"

#include "base/base.h"

enum { NO = 1, YES = 2, ANY = 3 };

static const struct rule {
	unsigned actions; /* set of 1 << enum relay_action */
	unsigned accepted, domainless;
	struct relay_decision then;
} rules[] = {
	/* action                     ours  postmaster  then */
	{ 1 << RELAY_ACTION_REJECT, ANY, ANY, { false, "policy rejects this client" } },
	{ 1 << RELAY_ACTION_RELAY, ANY, ANY, { true, "policy relays for this client" } },
	{ 1 << RELAY_ACTION_ACCEPT, YES, ANY, { true, "accepted domain" } },
	{ 1 << RELAY_ACTION_ACCEPT, ANY, YES, { true, "postmaster" } },
	{ ~0u, ANY, ANY, { false, "relaying denied" } },
};

static bool matches(unsigned set, bool value)
{
	return (set & (value ? YES : NO)) != 0;
}

struct relay_decision relay_decide(const struct relay_facts *f)
{
	const struct rule *r = rules;

	while (!((r->actions & (1u << f->action)) && matches(r->accepted, f->domain_accepted) &&
		 matches(r->domainless, f->domainless)))
		r++;
	return r->then;
}
