/* Only the null MX itself refuses: what else may be wrong with a domain is for delivery to find out, and may be mended until then. */
#include "policy/null_mx.h"

enum { NO = 1, YES = 2, ANY = 3 };
#define END(e) (1u << (e))

static const struct rule {
	unsigned wanted, named, routed, ends;
	struct null_mx_decision then;
} rules[] = {
	/* wanted named routed MX records  then */
	{ NO, ANY, ANY, ~0u, { false, "null MX does not count here" } },
	{ ANY, NO, ANY, ~0u, { false, "there is no domain name that MX records could speak for" } },
	{ ANY, ANY, YES, ~0u, { false, "a route says where mail for the domain goes" } },
	{ ANY, ANY, ANY, END(MX_END_NULL), { true, "the domain takes no mail (null MX)" } },
	{ ANY, ANY, ANY, END(MX_END_UNKNOWN), { false, "the MX records could not be looked up" } },
	{ ANY, ANY, ANY, ~0u, { false, "the MX records are no null MX" } },
};

static bool matches(unsigned set, bool value)
{
	return (set & (value ? YES : NO)) != 0;
}

struct null_mx_decision null_mx_decide(const struct null_mx_facts *f)
{
	const struct rule *r = rules;

	while (!(matches(r->wanted, f->wanted) && matches(r->named, f->named) &&
		 matches(r->routed, f->routed) && (r->ends & END(f->end))))
		r++;
	return r->then;
}

bool null_mx_must_ask(const struct null_mx_facts *f)
{
	return f->wanted && f->named && !f->routed;
}
