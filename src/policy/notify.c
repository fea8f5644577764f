/*
 * Reports as a table; the first matching row wins and the last one matches everything. The rows of the null sender come first, because
 * nothing may answer a report but the copy that the operator asked for, and that is no notification: NOTIFY has no say in it.
 */
#include "policy/notify.h"

#include "base/base.h"

#define ANY   ~0u
#define IS(v) (1u << (v))

/* Where a double bounce can go. */
enum second { NOWHERE, ELSEWHERE, TO_ITSELF };

static const struct rule {
	unsigned end, null_sender, wanted, due, passed_on, second;
	struct notify_decision then;
} rules[] = {
	/* end, null sender, wanted, due, passed on, second, then */
	{ IS(NOTIFY_FAILED), IS(true), ANY, ANY, ANY, IS(ELSEWHERE),
		{ NOTIFY_DOUBLE, "it has no sender; delivery.double_bounce is told" } },
	{ IS(NOTIFY_FAILED), IS(true), ANY, ANY, ANY, IS(TO_ITSELF),
		{ NOTIFY_DROPPED, "it has no sender, and was for delivery.double_bounce itself" } },
	{ IS(NOTIFY_FAILED), IS(true), ANY, ANY, ANY, ANY,
		{ NOTIFY_DROPPED, "it has no sender, and delivery.double_bounce is not set" } },
	{ ANY, IS(true), ANY, ANY, ANY, ANY, { NOTIFY_NONE, "it has no sender" } },
	{ ANY, ANY, IS(false), ANY, ANY, ANY, { NOTIFY_NONE, "the sender does not want this report" } },
	{ IS(NOTIFY_FAILED), ANY, ANY, ANY, ANY, ANY, { NOTIFY_FAILURE, "it failed" } },
	{ IS(NOTIFY_WAITING), ANY, ANY, IS(true), ANY, ANY,
		{ NOTIFY_DELAY, "it waits for longer than delivery.delay_warning" } },
	{ IS(NOTIFY_WAITING), ANY, ANY, ANY, ANY, ANY,
		{ NOTIFY_NONE, "it is not late, or was reported so" } },
	{ IS(NOTIFY_DELIVERED), ANY, ANY, ANY, IS(false), ANY,
		{ NOTIFY_RELAYED, "the next hop does not report" } },
	{ ANY, ANY, ANY, ANY, ANY, ANY, { NOTIFY_NONE, "the next hop reports" } },
};

/* Without NOTIFY the sender hears of failures and delays (RFC 3461 section 4.1). */
static bool is_wanted(const struct notify_facts *f)
{
	switch (f->end) {
	case NOTIFY_DELIVERED:
		return f->named && f->success;
	case NOTIFY_WAITING:
		return !f->named || f->delay;
	case NOTIFY_FAILED:
		return !f->named || f->failure;
	}
	return false;
}

struct notify_decision notify_decide(const struct notify_facts *f)
{
	const enum second second = !f->double_bounce ? NOWHERE : f->to_double_bounce ? TO_ITSELF : ELSEWHERE;
	const bool wanted = is_wanted(f), due = f->late && !f->warned;
	const struct rule *r = rules;

	while (!((r->end & IS(f->end)) && (r->null_sender & IS(f->null_sender)) && (r->wanted & IS(wanted)) &&
		 (r->due & IS(due)) && (r->passed_on & IS(f->passed_on)) && (r->second & IS(second))))
		r++;
	return r->then;
}
