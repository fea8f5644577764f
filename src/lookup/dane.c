/*
 * The order of questions is that of RFC 7672 section 2.2.2. A host without aliases: its TLSA records, when its address is secure. An alias all of
 * whose chain is secure: those of the name at its end, and only where these are certainly not there or not signed those of the alias; names in
 * between do not count. An alias that leads to an unsigned zone: those of the alias, when it is signed itself. A question without an answer
 * ends it all: nobody may make us go on to weaker records, or to none, by suppressing answers.
 */
#include "lookup/dane.h"

#include <stdlib.h>
#include <strings.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "lookup/dns.h"
#include "lookup/dns_cache.h"
#include "lookup/route.h"

enum { QUESTION_MS = 30000 };

struct look {
	const void *owner;
	const struct route_means *means;
	const struct route *route;
	const struct route_stop *stop;
	unsigned options;
	struct dane_lookup_result *result;
};

static const struct dns_answer *ask(const struct look *look, const char *name, enum dns_type type)
{
	struct dane_lookup_result *result = look->result;
	int64_t deadline = MIN(look->means->deadline, clock_mono_ms() + QUESTION_MS);
	const struct dns_answer *answer = dns_cache_ask(look->means->cache, look->means->resolver,
		look->owner, name, type, look->means->stop_fd, deadline);

	if (answer->result == DNS_FAILED)
		result->why = text_must(
			talloc_asprintf(look->owner, "%s of %s: %s%s", type == DNS_TLSA ? "TLSA" : "CNAME",
				name, answer->security == DNS_BOGUS ? "bogus, " : "", answer->why));
	result->ttl_s = MIN(result->ttl_s, answer->ttl_s);
	return answer;
}

static bool is_alias(const struct route_stop *stop)
{
	return strcasecmp(stop->host, stop->canonical) != 0;
}

/* Of the host: that of its address, or else of its being an alias (conformance 3.16). */
static enum dane_trust trust_host(const struct look *look)
{
	const struct route_stop *stop = look->stop;

	if (look->route->implicit_mx && look->route->security != DNS_SECURE)
		return DANE_TRUST_INSECURE; /* that it is the host at all is not proved */
	if (stop->security == DNS_SECURE)
		return DANE_TRUST_SECURE;
	if (!is_alias(stop))
		return DANE_TRUST_INSECURE;
	const struct dns_answer *alias = ask(look, stop->host, DNS_CNAME);
	if (alias->result == DNS_FAILED)
		return DANE_TRUST_UNKNOWN;
	if (alias->security != DNS_SECURE)
		return DANE_TRUST_INSECURE;
	if (alias->result == DNS_FOUND)
		return DANE_TRUST_SECURE;
	look->result->why = text_must(talloc_asprintf(
		look->owner, "%s is an alias by one answer, and none by another", stop->host));
	return DANE_TRUST_UNKNOWN;
}

static int compare_records(const void *a, const void *b)
{
	const struct tlsa_record *x = a, *y = b;
	const uint8_t left[] = { x->usage, x->selector, x->matching },
		      right[] = { y->usage, y->selector, y->matching };
	int order = memcmp(left, right, sizeof left);

	if (order == 0)
		order = memcmp(x->data.at, y->data.at, MIN(x->data.len, y->data.len));
	return order != 0 ? order : (x->data.len > y->data.len) - (x->data.len < y->data.len);
}

/* A record that cannot be used is still one: then the host has TLSA records (conformance 3.02, 3.14). */
static void take_records(const struct look *look, const struct dns_answer *answer)
{
	struct dane_lookup_result *result = look->result;

	result->records =
		text_must(talloc_zero_array(look->owner, struct tlsa_record, (unsigned)answer->count + 1));
	for (size_t i = 0; i < answer->count; i++) {
		struct tlsa_record *record = &result->records[result->count];
		const char *flaw = "it is too short";

		if (tlsa_parse(answer->records[i].data, record) == 0)
			flaw = tlsa_flaw(record, (look->options & DANE_OPTION_PKIX_USAGES) != 0);
		if (flaw == NULL) {
			result->count++;
			continue;
		}
		result->flaw = flaw;
		result->left_out++;
	}
	qsort(result->records, result->count, sizeof result->records[0], compare_records);
	if (result->count > DANE_LOOKUP_RECORDS_MAX) {
		result->flaw = "there are too many records";
		result->left_out += result->count - DANE_LOOKUP_RECORDS_MAX;
		result->count = DANE_LOOKUP_RECORDS_MAX;
	}
	result->facts.usable = result->count > 0;
}

/* True when there is nothing to be asked for under another name. */
static bool try_base(const struct look *look, const char *base)
{
	struct dane_lookup_result *result = look->result;
	const char *name =
		text_must(talloc_asprintf(look->owner, "_%u._tcp.%s", look->stop->address.port, base));

	if (dns_message_name(look->owner, text_of(name)) == NULL) { /* too long to be there */
		result->facts.tlsa = DANE_LOOKUP_ABSENT;
		return false;
	}
	const struct dns_answer *answer = ask(look, name, DNS_TLSA);
	if (answer->result == DNS_FAILED) {
		result->facts.tlsa = DANE_LOOKUP_FAILED;
		return true;
	}
	if (answer->security != DNS_SECURE) {
		result->facts.tlsa = DANE_LOOKUP_INSECURE;
		return false;
	}
	if (answer->result != DNS_FOUND) {
		result->facts.tlsa = DANE_LOOKUP_ABSENT;
		return false;
	}
	result->facts.tlsa = DANE_LOOKUP_FOUND;
	result->base = base;
	take_records(look, answer);
	return true;
}

static void add_name(struct dane_lookup_result *result, const char *name)
{
	for (size_t i = 0; i < result->name_count; i++)
		if (strcasecmp(result->names[i], name) == 0)
			return;
	result->names[result->name_count++] = name;
}

/* RFC 7672 section 3.2.2: the domain's names only when it is certain that it names this host. */
static void find_names(const struct look *look)
{
	const struct route *route = look->route;
	struct dane_lookup_result *result = look->result;

	add_name(result, result->base);
	if (result->facts.mx != DANE_TRUST_SECURE)
		return;
	if (route->hop == NULL || route->implicit_mx) {
		add_name(result, look->stop->host);
		return;
	}
	add_name(result, route->hop);
	add_name(result, route->expanded);
}

/* Lengths keep neighbours apart. */
static struct digest digest_all(const struct dane_lookup_result *result)
{
	char *all = text_must(talloc_asprintf(
		NULL, "%d %d %zu", (int)result->facts.mx, (int)result->facts.tlsa, result->count));

	for (size_t i = 0; i < result->name_count; i++)
		all = text_must(talloc_asprintf_append(all, " %s", result->names[i]));
	for (size_t i = 0; i < result->count; i++) {
		char *text = tlsa_text(all, &result->records[i], result->records[i].data.len);

		all = text_must(talloc_asprintf_append(all, "\n%s", text));
	}
	struct digest digest = digest_of(text_of(all));
	talloc_free(all);
	return digest;
}

struct dane_lookup_result dane_look_up(const void *owner, const struct route_means *means,
	const struct route *route, const struct route_stop *stop, unsigned options)
{
	struct dane_lookup_result result = { .flaw = "", .why = "", .ttl_s = INT64_MAX };
	const struct look look = { owner, means, route, stop, options, &result };

	result.facts.mx = route->security == DNS_SECURE	 ? DANE_TRUST_SECURE
			  : route->security == DNS_BOGUS ? DANE_TRUST_UNKNOWN
							 : DANE_TRUST_INSECURE;
	if (!stop->literal &&
		(result.facts.mx == DANE_TRUST_SECURE || (options & DANE_OPTION_INSECURE_MX) != 0))
		result.facts.host = trust_host(&look);
	if (result.facts.host == DANE_TRUST_SECURE &&
		!(stop->security == DNS_SECURE && is_alias(stop) && try_base(&look, stop->canonical)))
		try_base(&look, stop->host);
	if (result.base != NULL)
		find_names(&look);
	result.finding = stop->literal ? DANE_NOT_LOOKED : dane_find(&result.facts);
	result.ttl_s = result.ttl_s == INT64_MAX ? 0 : result.ttl_s;
	result.digest = digest_all(&result);
	return result;
}
