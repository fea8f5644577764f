#pragma once
/* All facts on which a delivery's TLS is decided, as numbers: every combination that can make a difference. */

#include "base/base.h"
#include "policy/tls_decide.h"

/* Facts number `i`; false when there are no more. What only changes a reason (an entry `default`) is left out. A
 * stride of 5, 7 or 11 has no factor in common with any range, so it meets all combinations of a few facts. */
static inline bool product_facts(unsigned i, struct tls_facts *ret_facts)
{
	struct tls_facts facts = { .sts_listed = false };
	unsigned n = i;

#define NEXT(range)                                                                                          \
	(n % (unsigned)(range));                                                                             \
	n /= (unsigned)(range)
	facts.level = (enum tls_level)NEXT(TLS_LEVEL_COUNT);
	facts.dane_found = (enum dane_finding)NEXT(DANE_FINDING_COUNT);
	facts.dane = (enum dane_setting)NEXT(DANE_SETTING_COUNT);
	facts.dane_insecure_mx = (enum dane_insecure_mx)NEXT(DANE_INSECURE_MX_COUNT);
	facts.sts = (enum sts_mode)NEXT(STS_MODE_COUNT);
	facts.level_from = NEXT(2) ? TLS_FROM_DESTINATION : TLS_FROM_NOBODY;
	facts.implicit = NEXT(2);
	facts.credentials = NEXT(2);
	facts.allow_listed = NEXT(2);
	facts.required_listed = NEXT(2);
	facts.temporary_listed = NEXT(2);
	facts.sts_listed = NEXT(2);
	facts.requiretls = NEXT(2);
	facts.mx_secure = NEXT(2);
	facts.tls_off = NEXT(2);
#undef NEXT
	facts.retry_without_tls = true;
	*ret_facts = facts;
	return n == 0;
}

/* True when a mail could go under `now` that could not have gone under `before`, or with less. */
static inline bool product_is_weaker(const struct tls_decision *before, const struct tls_decision *now)
{
	const bool went = !before->conflict && before->hold == TLS_GO;
	const bool goes = !now->conflict && now->hold == TLS_GO;

	if (!goes)
		return false;
	return !went || (before->checks & ~now->checks) != 0 ||
	       (before->tls == TLS_MUST && now->tls != TLS_MUST) || before->mx > now->mx ||
	       (before->peer_requiretls && !now->peer_requiretls);
}
