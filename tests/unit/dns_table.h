#pragma once
/*
 * The DNS as a table: this dns_ask() stands for all of lookup/dns.c. Include it behind <cmocka.h>.
 *
 * `records`: MX as "10 a.test, 20 b.test", addresses as "192.0.2.1 192.0.2.2", TLSA as "3 1 1 32, 2 0 2 64" (the fourth number is how many bytes of
 * data there are; "-2" alone is RDATA of two bytes), CNAME as a name; "" = no data, "!" = no such name, "?why" = it failed, "*why" = bogus. Before
 * all of that "+" = DNSSEC vouches for it, and then ">c.test " = it was found at the end of CNAMEs. What stands nowhere has no data.
 */

#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "lookup/dns.h"

struct zone {
	const char *name;
	enum dns_type type;
	const char *records;
};

static const struct zone *zones; /* up to a name of NULL */
static size_t asked;
static int64_t ttl_of_none = 300; /* of answers without records; the others' is 300 */
static char *asked_for; /* what was asked for since it was emptied: "MX a.test|" ...; NULL = not kept */

/* RDATA of TLSA, as described above; the data are bytes of 0xab. */
static inline struct text zone_tlsa(const void *owner, const char *word)
{
	unsigned number[4] = { 0 };
	char *bytes = text_must(talloc_size(owner, 256));

	memset(bytes, 0xab, 256);
	if (word[0] == '-')
		return (struct text){ bytes, strtoul(word + 1, NULL, 10) };
	for (size_t i = 0; i < COUNT(number); i++) {
		char *end;

		number[i] = (unsigned)strtoul(word, &end, 10);
		assert_ptr_not_equal(word, end);
		word = end;
	}
	for (size_t i = 0; i < 3; i++)
		bytes[i] = (char)number[i];
	return (struct text){ bytes, number[3] + 3 };
}

static inline void zone_add(struct dns_answer *answer, enum dns_type type, char *word)
{
	struct dns_record record = { .name = "", .data = TEXT("") };
	char *end;

	if (type == DNS_MX) {
		record.preference = (uint16_t)strtoul(word, &end, 10);
		record.name = *end == '\0' ? "" : text_copy(answer, text_of(end + 1));
	} else if (type == DNS_CNAME) {
		record.name = text_copy(answer, text_of(word));
	} else if (type == DNS_TLSA) {
		record.data = zone_tlsa(answer, word);
	} else {
		assert_int_equal(ip_parse(text_of(word), &record.address), 0);
	}
	answer->records = text_must(
		talloc_realloc(answer, answer->records, struct dns_record, (unsigned)answer->count + 1));
	answer->records[answer->count++] = record;
}

/* What `text` says, but for its security. */
static inline void zone_read(struct dns_answer *answer, enum dns_type type, const char *text)
{
	char *rest = text_copy(answer, text_of(text)), *word;

	if (rest[0] == '>') {
		word = strsep(&rest, " ");
		answer->canonical = word + 1;
		rest = rest == NULL ? text_copy(answer, TEXT("")) : rest;
	}
	answer->result = rest[0] == '\0'  ? DNS_NO_DATA
			 : rest[0] == '!' ? DNS_NO_NAME
			 : rest[0] == '?' ? DNS_FAILED
					  : DNS_FOUND;
	if (answer->result == DNS_FAILED)
		answer->why = rest + 1;
	while (answer->result == DNS_FOUND &&
		(word = strsep(&rest, type == DNS_A || type == DNS_AAAA ? " " : ",")) != NULL)
		zone_add(answer, type, word + (word[0] == ' '));
}

static inline const char *zone_type_word(enum dns_type type)
{
	return type == DNS_MX	   ? "MX"
	       : type == DNS_TLSA  ? "TLSA"
	       : type == DNS_CNAME ? "CNAME"
	       : type == DNS_A	   ? "A"
				   : "AAAA";
}

static inline const char *zone_security_word(enum dns_security security)
{
	return security == DNS_SECURE ? "secure" : security == DNS_BOGUS ? "bogus" : "insecure";
}

struct dns_answer *dns_ask(struct peer *resolver, const void *owner, const char *name, enum dns_type type,
	int stop_fd, int64_t deadline)
{
	struct dns_answer *answer = text_must(talloc_zero(owner, struct dns_answer));
	const struct zone *zone = zones;

	(void)resolver, (void)stop_fd, (void)deadline;
	asked++;
	if (asked_for != NULL)
		asked_for =
			text_must(talloc_asprintf_append(asked_for, "%s %s|", zone_type_word(type), name));
	answer->why = "";
	answer->canonical = text_copy(answer, text_of(name));
	answer->result = DNS_NO_DATA;
	answer->ttl_s = ttl_of_none;
	while (zone->name != NULL && (strcmp(zone->name, name) != 0 || zone->type != type))
		zone++;
	if (zone->name == NULL)
		return answer;
	if (zone->records[0] == '*') {
		answer->result = DNS_FAILED;
		answer->security = DNS_BOGUS;
		answer->why = zone->records + 1;
		answer->canonical = "";
	} else {
		answer->security = zone->records[0] == '+' ? DNS_SECURE : DNS_INSECURE;
		zone_read(answer, type, zone->records + (zone->records[0] == '+'));
		answer->ttl_s = answer->count > 0 ? 300 : ttl_of_none;
	}
	return answer;
}
