/* RFC 5321 section 5.1 as a selection: each place of the plan goes to the record with the least key behind the one before it, and a key is the
 * preference and then a number that the seed gives the record. So any number of records needs no memory. */
#include "policy/mx.h"

#include <string.h>

#include "base/base.h"
#include "base/text.h"

enum { NAME_LEN_MAX = 253, LABEL_LEN_MAX = 63 };

/* splitmix64: every bit of the result depends on every bit of the seed. */
static uint64_t mix(uint64_t seed, uint64_t index)
{
	uint64_t z = seed + (index + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

struct key {
	uint16_t preference;
	uint64_t number;
	size_t index;
};

static bool less(const struct key *a, const struct key *b)
{
	if (a->preference != b->preference)
		return a->preference < b->preference;
	if (a->number != b->number)
		return a->number < b->number;
	return a->index < b->index;
}

/* A host name as it occurs, with underscores too (conformance 2.05); not an address, whose last label is a number. */
static bool is_host(const char *name)
{
	struct text rest = text_of(name), label;
	uint64_t number;

	if (rest.len == 0 || rest.len > NAME_LEN_MAX)
		return false;
	do {
		size_t dot = text_find(rest, '.');

		label = text_first(rest, dot);
		if (label.len == 0 || label.len > LABEL_LEN_MAX || dot + 1 == rest.len)
			return false;
		for (size_t i = 0; i < label.len; i++) {
			char c = text_lower(label.at[i]);

			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
				return false;
		}
		rest = text_from(rest, MIN(dot + 1, rest.len));
	} while (rest.len > 0);
	return text_number(label, UINT64_MAX, &number) == -EINVAL;
}

static bool is_own(const struct mx_facts *facts, const char *name)
{
	return text_equal_nocase(text_of(name), text_of(facts->own_name));
}

static bool is_listed(const struct mx_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->count; i++)
		if (text_equal_nocase(text_of(plan->hosts[i].name), text_of(name)))
			return true;
	return false;
}

/* The usable record with the least key behind `last` (NULL: of all) that is better than `limit`; false when there is none. */
static bool next_key(
	const struct mx_facts *facts, const struct key *last, uint32_t limit, struct key *ret_key)
{
	bool found = false;

	for (size_t i = 0; i < facts->count; i++) {
		const struct mx_record *record = &facts->records[i];
		struct key key = { record->preference, mix(facts->seed, i), i };

		if (record->preference >= limit || (last != NULL && !less(last, &key)) ||
			(found && !less(&key, ret_key)) || !is_host(record->name))
			continue;
		*ret_key = key;
		found = true;
	}
	return found;
}

static struct mx_plan plan_of(const struct mx_facts *facts)
{
	struct mx_plan plan = { .end = MX_GO };
	uint32_t limit = UINT16_MAX + 1;
	struct key key;

	for (size_t i = 0; i < facts->count; i++)
		if (is_own(facts, facts->records[i].name))
			limit = MIN(limit, (uint32_t)facts->records[i].preference);

	bool more = next_key(facts, NULL, limit, &key);
	while (more && plan.count < MX_HOSTS_MAX) {
		const struct key last = key;

		if (!is_listed(&plan, facts->records[key.index].name))
			plan.hosts[plan.count++] =
				(struct mx_host){ facts->records[key.index].name, key.preference };
		more = next_key(facts, &last, limit, &key);
	}
	if (plan.count == 0)
		plan.end = limit <= UINT16_MAX ? MX_END_LOOP : MX_END_NO_SERVER;
	return plan;
}

struct mx_plan mx_decide(const struct mx_facts *facts)
{
	switch (facts->lookup) {
	case MX_LOOKUP_FOUND:
		if (facts->count == 1 && facts->records[0].name[0] == '\0')
			return (struct mx_plan){ .end = MX_END_NULL };
		return plan_of(facts);
	case MX_LOOKUP_NO_DATA:
		if (is_own(facts, facts->domain))
			return (struct mx_plan){ .end = MX_END_LOOP };
		return (struct mx_plan){ .end = MX_GO, .count = 1, .hosts = { { facts->domain, 0 } } };
	case MX_LOOKUP_NO_NAME:
		return (struct mx_plan){ .end = MX_END_NO_NAME };
	case MX_LOOKUP_FAILED:
		break;
	}
	return (struct mx_plan){ .end = MX_END_UNKNOWN };
}

void mx_cut(struct mx_plan *plan, uint16_t preference)
{
	while (plan->count > 0 && plan->hosts[plan->count - 1].preference >= preference)
		plan->count--;
	if (plan->count == 0 && plan->end == MX_GO)
		plan->end = MX_END_LOOP;
}

enum mx_end mx_decide_end(const struct mx_tally *tally)
{
	if (tally->unknown)
		return MX_END_UNKNOWN;
	return tally->loop ? MX_END_LOOP : MX_END_NO_ADDRESS;
}

struct mx_word mx_explain(enum mx_end end, bool configured)
{
	static const struct {
		bool permanent;
		const char *reply, *configured;
	} words[] = {
		[MX_END_UNKNOWN] = { false, "451 4.4.3 the servers of the domain could not be looked up",
			"451 4.4.3 the next hop could not be looked up" },
		[MX_END_NO_NAME] = { true, "550 5.1.2 the domain does not exist",
			"451 4.4.4 the next hop does not exist" },
		[MX_END_NULL] = { true, "556 5.1.10 the domain takes no mail (null MX)",
			"451 4.4.4 the next hop takes no mail (null MX)" },
		[MX_END_LOOP] = { true, "554 5.4.6 mail for the domain leads back to this server",
			"451 4.4.6 the next hop leads back to this server" },
		[MX_END_NO_SERVER] = { true, "550 5.4.4 no MX record of the domain names a host",
			"451 4.4.4 no MX record of the next hop names a host" },
		[MX_END_NO_ADDRESS] = { true, "550 5.4.4 no server of the domain has an address",
			"451 4.4.4 the next hop has no address" },
	};

	return configured ? (struct mx_word){ false, words[end].configured }
			  : (struct mx_word){ words[end].permanent, words[end].reply };
}
