/* A gateway that takes mail for addresses that do not exist must return it to senders that may be forged: so it says no at once. */
#include "policy/recipient.h"

#include "base/base.h"

enum { NO = 1, YES = 2, ANY = 3 };
#define ANSWER(a) (1u << (a))

static const struct rule {
	unsigned special, has_list, listed, answers;
	struct recipient_decision then;
} rules[] = {
	/* special list  listed  next hop says             then */
	{ YES, ANY, ANY, ~0u, { RECIPIENT_TAKE, "postmaster and abuse always reach someone" } },
	{ ANY, YES, NO, ~0u, { RECIPIENT_UNKNOWN, "not on the list of recipients" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_NO),
		{ RECIPIENT_UNKNOWN, "the next hop does not know this recipient" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_LATER), { RECIPIENT_DEFER, "the next hop could not be asked" } },
	{ ANY, YES, YES, ~0u, { RECIPIENT_TAKE, "on the list of recipients" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_YES), { RECIPIENT_TAKE, "the next hop knows this recipient" } },
	{ ANY, ANY, ANY, ~0u, { RECIPIENT_TAKE, "recipients are not checked" } },
};

static bool matches(unsigned set, bool value)
{
	return (set & (value ? YES : NO)) != 0;
}

struct recipient_decision recipient_decide(const struct recipient_facts *f)
{
	const struct rule *r = rules;

	while (!(matches(r->special, f->special) && matches(r->has_list, f->has_list) &&
		 matches(r->listed, f->listed) && (r->answers & ANSWER(f->answer))))
		r++;
	return r->then;
}

bool recipient_must_ask(const struct recipient_facts *f, bool call_ahead)
{
	return call_ahead && !f->special && (!f->has_list || f->listed);
}
