/* Delivery and the session look at MX records through this file, so that what is refused at RCPT is what delivery would return. */
#include "lookup/dns_mx.h"

#include <sys/random.h>

#include <talloc.h>

#include "base/text.h"
#include "lookup/dns.h"

static uint64_t random_seed(void)
{
	uint64_t seed = 0;

	(void)!getrandom(&seed, sizeof seed, GRND_NONBLOCK);
	return seed;
}

struct mx_plan dns_mx_plan(
	const void *owner, const struct dns_answer *answer, const char *domain, const char *own_name)
{
	static const enum mx_lookup lookups[] = { [DNS_FOUND] = MX_LOOKUP_FOUND,
		[DNS_NO_DATA] = MX_LOOKUP_NO_DATA,
		[DNS_NO_NAME] = MX_LOOKUP_NO_NAME,
		[DNS_FAILED] = MX_LOOKUP_FAILED };
	struct mx_record *records =
		text_must(talloc_zero_array(owner, struct mx_record, (unsigned)answer->count + 1));
	const struct mx_facts facts = { .domain = domain,
		.lookup = lookups[answer->result],
		.records = records,
		.count = answer->count,
		.own_name = own_name,
		.seed = random_seed() };

	for (size_t i = 0; i < answer->count; i++)
		records[i] = (struct mx_record){ answer->records[i].name, answer->records[i].preference };
	return mx_decide(&facts);
}

enum mx_end dns_mx_end(
	struct peer *resolver, const char *domain, const char *own_name, int stop_fd, int64_t deadline)
{
	void *scratch = talloc_new(NULL);
	const struct dns_answer *answer = dns_ask(resolver, scratch, domain, DNS_MX, stop_fd, deadline);
	enum mx_end end = dns_mx_plan(scratch, answer, domain, own_name).end;

	talloc_free(scratch);
	return end;
}
