/* What DANE finds out about each place of a way, from the table that is the DNS here; and what it asks for. */
#include "lookup/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "dns_table.h"
#include "lookup/route.h"
#include "test_help.h"

#define OPEN   "mail_flow_policies: [{name: open, tls: none}]\n"
#define ROUTES "routes: [{domain: default, next_hop: "

/* The finding at one place; with records: "base [names] records". */
static char *place(char *text, const struct dane_lookup_result *result)
{
	text = text_must(talloc_asprintf_append(text, "%s", dane_word(result->finding)));
	assert_int_equal(result->base != NULL, result->facts.tlsa == DANE_LOOKUP_FOUND);
	assert_int_equal(result->name_count > 0, result->base != NULL);
	assert_int_equal(result->facts.usable, result->count > 0);
	if (result->base != NULL) {
		text = text_must(talloc_asprintf_append(text, " %s [", result->base));
		for (size_t i = 0; i < result->name_count; i++)
			text = text_must(
				talloc_asprintf_append(text, "%s%s", i == 0 ? "" : " ", result->names[i]));
		text = text_must(talloc_asprintf_append(text, "]"));
	}
	for (size_t i = 0; i < result->count; i++) {
		char *record = tlsa_text(NULL, &result->records[i], 1);

		text = text_must(talloc_asprintf_append(text, " %s", record));
		talloc_free(record);
	}
	if (result->left_out > 0)
		text = text_must(
			talloc_asprintf_append(text, " without %zu: %s", result->left_out, result->flaw));
	if (result->why[0] != '\0')
		text = text_must(talloc_asprintf_append(text, " because %s", result->why));
	return text;
}

/* All places of the way to `domain`, "; " between them, and behind " | " the questions about them (those of the route apart). */
static char *find(const void *owner, const char *yaml, const char *domain, unsigned options)
{
	const struct config *config = help_config(text_must(talloc_asprintf(owner, OPEN "%s\n", yaml)));
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	struct route *route = route_new(owner, &means, domain, "");
	char *text = text_must(talloc_strdup(owner, "")), *questions = text_must(talloc_strdup(owner, ""));
	struct route_stop stop;

	while (route_next(route, &stop)) {
		asked_for = questions;
		struct dane_lookup_result result = dane_look_up(owner, &means, route, &stop, options);
		questions = asked_for;
		asked_for = NULL;
		text = place(text[0] == '\0' ? text : text_must(talloc_asprintf_append(text, "; ")), &result);
	}
	if (text[0] == '\0')
		text = text_must(talloc_asprintf_append(text, "nobody"));
	config_release(config);
	return text_must(talloc_asprintf_append(text, " | %s", questions));
}

#define MX                                                                                                   \
	{                                                                                                    \
		"a.test", DNS_MX, "+10 m.test"                                                               \
	}
#define HOST                                                                                                 \
	{                                                                                                    \
		"m.test", DNS_A, "+192.0.2.1"                                                                \
	}
#define ALIAS                                                                                                \
	{                                                                                                    \
		"m.test", DNS_A, "+>t.test 192.0.2.1"                                                        \
	}
#define MX_TLSA(records)                                                                                     \
	{                                                                                                    \
		"_25._tcp.m.test", DNS_TLSA, records                                                         \
	}
#define T_TLSA(records)                                                                                      \
	{                                                                                                    \
		"_25._tcp.t.test", DNS_TLSA, records                                                         \
	}
#define FINE	 "+3 1 1 32"
#define ASK_MX	 "TLSA _25._tcp.m.test|"
#define ASK_T	 "TLSA _25._tcp.t.test|"
#define ASK_NAME "CNAME m.test|"

static const struct {
	const char *name, *yaml, *want;
	struct zone zones[8];
} cases[] = {
	{ "3.01 all secure", "", "usable m.test [m.test a.test] 3 1 1 ab... | " ASK_MX,
		{ MX, HOST, MX_TLSA(FINE) } },
	{ "3.02 3.14 all unusable, and still there", "",
		"unusable m.test [m.test a.test] without 5: it is too short | " ASK_MX,
		{ MX, HOST, MX_TLSA("+3 1 1 31, -0, -1, -2, -3") } },
	{ "3.20 usages 0 and 1", "",
		"unusable m.test [m.test a.test] without 2: usages 0 and 1 mean nothing for mail (RFC 7672 section 3.1.3) | " ASK_MX,
		{ MX, HOST, MX_TLSA("+0 0 1 32, 1 1 1 32") } },
	{ "3.21 3.22 unusable alone, the others count, in their own order", "",
		"usable m.test [m.test a.test] 2 0 1 ab... 3 0 0 ab... 3 1 1 ab... without 2: its matching type is for private use | " ASK_MX,
		{ MX, HOST, MX_TLSA("+3 1 1 32, 9 1 1 32, 3 0 0 7, 2 0 1 32, 3 1 255 32") } },
	{ "3.03 no TLSA, NODATA", "", "absent | " ASK_MX, { MX, HOST, MX_TLSA("+") } },
	{ "3.03 no TLSA, NXDOMAIN", "", "absent | " ASK_MX, { MX, HOST, MX_TLSA("+!") } },
	{ "3.03 TLSA not signed", "", "insecure-records | " ASK_MX, { MX, HOST, MX_TLSA("3 1 1 32") } },
	{ "3.03 no TLSA, and not signed", "", "insecure-records | " ASK_MX, { MX, HOST, MX_TLSA("!") } },
	{ "3.04 no answer", "", "unknown because TLSA of _25._tcp.m.test: too late | " ASK_MX,
		{ MX, HOST, MX_TLSA("?too late") } },
	{ "3.04 bogus", "", "unknown because TLSA of _25._tcp.m.test: bogus, forged | " ASK_MX,
		{ MX, HOST, MX_TLSA("*forged") } },
	{ "3.05 bogus MX: nobody is asked about", "", "nobody | ",
		{ { "a.test", DNS_MX, "*forged" }, HOST, MX_TLSA(FINE) } },
	{ "3.05 one host is bogus: the next", "",
		"usable n.test [n.test a.test] 3 1 1 ab... | TLSA _25._tcp.n.test|",
		{ { "a.test", DNS_MX, "+10 m.test, 20 n.test" }, { "m.test", DNS_A, "*forged" },
			{ "n.test", DNS_A, "+192.0.2.2" }, { "_25._tcp.n.test", DNS_TLSA, FINE } } },
	{ "3.06 the host is not signed: nobody is asked", "", "insecure-host | ",
		{ MX, { "m.test", DNS_A, "192.0.2.1" }, MX_TLSA("?these servers fail") } },
	{ "3.06 nor when nothing is", "", "insecure-mx | ",
		{ { "a.test", DNS_MX, "10 m.test" }, { "m.test", DNS_A, "192.0.2.1" },
			MX_TLSA("?these servers fail") } },
	{ "3.07 each family by itself", "",
		"insecure-host; usable m.test [m.test a.test] 3 1 1 ab... | " ASK_MX,
		{ MX, HOST, { "m.test", DNS_AAAA, "2001:db8::1" }, MX_TLSA(FINE) } },
	{ "3.07 the other family fails", "", "usable m.test [m.test a.test] 3 1 1 ab... | " ASK_MX,
		{ MX, HOST, { "m.test", DNS_AAAA, "*forged" }, MX_TLSA(FINE) } },
	{ "3.08 insecure MX: the host by itself, under its own name only", "",
		"usable-insecure-mx m.test [m.test] 3 1 1 ab... | " ASK_MX,
		{ { "a.test", DNS_MX, "10 m.test" }, HOST, MX_TLSA(FINE) } },
	{ "3.08 insecure MX, and no answer", "",
		"unknown-insecure-mx because TLSA of _25._tcp.m.test: too late | " ASK_MX,
		{ { "a.test", DNS_MX, "10 m.test" }, HOST, MX_TLSA("?too late") } },
	{ "3.09 no MX, proven", "", "usable a.test [a.test] 3 1 1 ab... | TLSA _25._tcp.a.test|",
		{ { "a.test", DNS_MX, "+" }, { "a.test", DNS_A, "+192.0.2.1" },
			{ "_25._tcp.a.test", DNS_TLSA, FINE } } },
	{ "3.09 no MX, not proven: no DANE", "", "insecure-mx | ",
		{ { "a.test", DNS_MX, "" }, { "a.test", DNS_A, "+192.0.2.1" },
			{ "_25._tcp.a.test", DNS_TLSA, FINE } } },
	{ "3.09 3.29 no MX, an alias: its end, and itself", "",
		"usable b.test [b.test a.test] 3 1 1 ab... | TLSA _25._tcp.b.test|",
		{ { "a.test", DNS_MX, "+>b.test " }, { "a.test", DNS_A, "+>b.test 192.0.2.1" },
			{ "_25._tcp.b.test", DNS_TLSA, FINE } } },
	{ "3.09 3.29 no MX, an alias, and only its own: nothing else", "",
		"usable a.test [a.test] 3 1 1 ab... | TLSA _25._tcp.b.test|TLSA _25._tcp.a.test|",
		{ { "a.test", DNS_MX, "+>b.test " }, { "a.test", DNS_A, "+>b.test 192.0.2.1" },
			{ "_25._tcp.a.test", DNS_TLSA, FINE } } },
	{ "3.10 2.33 a configured host and its port", ROUTES "'m.test:587'}]",
		"usable m.test [m.test] 3 1 1 ab... | TLSA _587._tcp.m.test|",
		{ HOST, { "_587._tcp.m.test", DNS_TLSA, FINE }, MX_TLSA("+3 1 1 31") } },
	{ "3.10 3.29 a configured host that is an alias", ROUTES "'m.test'}]",
		"usable t.test [t.test m.test] 3 1 1 ab... | " ASK_T, { ALIAS, T_TLSA(FINE) } },
	{ "3.10 3.29 the MX records of a configured domain: its name, not the recipient's",
		ROUTES "'mx:c.test'}]", "usable m.test [m.test c.test] 3 1 1 ab... | " ASK_MX,
		{ { "c.test", DNS_MX, "+10 m.test" }, HOST, MX_TLSA(FINE) } },
	{ "3.10 they are not secure because they are configured", ROUTES "'mx:c.test'}]",
		"usable-insecure-mx m.test [m.test] 3 1 1 ab... | " ASK_MX,
		{ { "c.test", DNS_MX, "10 m.test" }, HOST, MX_TLSA(FINE) } },
	{ "2.07 a configured address", ROUTES "'192.0.2.1'}]", "not-looked | ", { { 0 } } },
	{ "3.15 an alias: the name at its end first", "",
		"usable t.test [t.test a.test] 3 1 1 ab... | " ASK_T,
		{ MX, ALIAS, T_TLSA(FINE), MX_TLSA("+3 1 1 31") } },
	{ "3.15 then its own", "", "usable m.test [m.test a.test] 3 1 1 ab... | " ASK_T ASK_MX,
		{ MX, ALIAS, T_TLSA("+!"), MX_TLSA(FINE) } },
	{ "3.15 also when the first are not signed", "",
		"usable m.test [m.test a.test] 3 1 1 ab... | " ASK_T ASK_MX,
		{ MX, ALIAS, T_TLSA("3 1 1 32"), MX_TLSA(FINE) } },
	{ "3.15 neither", "", "absent | " ASK_T ASK_MX, { MX, ALIAS, T_TLSA("+"), MX_TLSA("+!") } },
	{ "3.15 an error at the first is final", "",
		"unknown because TLSA of _25._tcp.t.test: SERVFAIL | " ASK_T,
		{ MX, ALIAS, T_TLSA("?SERVFAIL"), MX_TLSA(FINE) } },
	{ "3.15 so is a bogus one", "", "unknown because TLSA of _25._tcp.t.test: bogus, forged | " ASK_T,
		{ MX, ALIAS, T_TLSA("*forged"), MX_TLSA(FINE) } },
	{ "3.15 and what cannot be used", "",
		"unusable t.test [t.test a.test] without 1: its data has not the length of SHA-256 | " ASK_T,
		{ MX, ALIAS, T_TLSA("+3 1 1 31"), MX_TLSA(FINE) } },
	{ "3.15 an error at the second", "",
		"unknown because TLSA of _25._tcp.m.test: SERVFAIL | " ASK_T ASK_MX,
		{ MX, ALIAS, T_TLSA("+!"), MX_TLSA("?SERVFAIL") } },
	{ "3.16 a signed alias into an unsigned zone: its own name", "",
		"usable m.test [m.test a.test] 3 1 1 ab... | " ASK_NAME ASK_MX,
		{ MX, { "m.test", DNS_A, ">t.test 192.0.2.1" }, { "m.test", DNS_CNAME, "+t.test" },
			T_TLSA(FINE), MX_TLSA(FINE) } },
	{ "3.16 an unsigned alias: no DANE", "", "insecure-host | " ASK_NAME,
		{ MX, { "m.test", DNS_A, ">t.test 192.0.2.1" }, { "m.test", DNS_CNAME, "t.test" },
			MX_TLSA(FINE) } },
	{ "3.16 no answer about the alias", "", "host-unknown because CNAME of m.test: SERVFAIL | " ASK_NAME,
		{ MX, { "m.test", DNS_A, ">t.test 192.0.2.1" }, { "m.test", DNS_CNAME, "?SERVFAIL" },
			MX_TLSA(FINE) } },
	{ "3.16 a bogus one", "", "host-unknown because CNAME of m.test: bogus, forged | " ASK_NAME,
		{ MX, { "m.test", DNS_A, ">t.test 192.0.2.1" }, { "m.test", DNS_CNAME, "*forged" },
			MX_TLSA(FINE) } },
	{ "3.16 answers that exclude each other", "",
		"host-unknown because m.test is an alias by one answer, and none by another | " ASK_NAME,
		{ MX, { "m.test", DNS_A, ">t.test 192.0.2.1" }, { "m.test", DNS_CNAME, "+" },
			MX_TLSA(FINE) } },
	{ "3.16 an unsigned server that knows no alias", "", "insecure-host | " ASK_NAME,
		{ MX, { "m.test", DNS_A, ">t.test 192.0.2.1" }, { "m.test", DNS_CNAME, "" },
			MX_TLSA(FINE) } },
	{ "3.18 records that are an alias: base stays", "",
		"usable m.test [m.test a.test] 3 1 1 ab... | " ASK_MX,
		{ MX, HOST, MX_TLSA("+>tlsa._dane.x.test 3 1 1 32") } },
	{ "3.18 one link of which is not signed", "", "insecure-records | " ASK_MX,
		{ MX, HOST, MX_TLSA(">tlsa._dane.x.test 3 1 1 32") } },
	{ "3.19 3.29 a domain that is an alias", "",
		"usable m.test [m.test a.test b.test] 3 1 1 ab... | " ASK_MX,
		{ { "a.test", DNS_MX, "+>b.test 10 m.test" }, HOST, MX_TLSA(FINE) } },
	{ "3.19 not signed: only the host's own", "",
		"usable-insecure-mx m.test [m.test] 3 1 1 ab... | " ASK_MX,
		{ { "a.test", DNS_MX, ">b.test 10 m.test" }, HOST, MX_TLSA(FINE) } },
	{ "3.29 the host is named as the domain", "",
		"usable a.test [a.test] 3 1 1 ab... | TLSA _25._tcp.a.test|",
		{ { "a.test", DNS_MX, "+10 a.test" }, { "a.test", DNS_A, "+192.0.2.1" },
			{ "_25._tcp.a.test", DNS_TLSA, FINE } } },
};

static void test_3_01_3_02_3_03_3_04_3_05_3_06_3_07_3_08_3_09_3_10_3_15_3_16_3_18_3_19_3_29_each_place(
	void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *owner = talloc_new(NULL);

		zones = cases[i].zones;
		char *got = find(owner, cases[i].yaml, "a.test", DANE_OPTION_INSECURE_MX);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].name, got);
		talloc_free(owner);
	}
}

static void test_3_20_usages_0_and_1_can_be_made_to_count(void **state)
{
	static const struct zone some[] = { MX, HOST, MX_TLSA("+0 0 1 32, 1 1 1 32"), { 0 } };
	void *owner = talloc_new(NULL);

	(void)state;
	zones = some;
	assert_string_equal(find(owner, "", "a.test", DANE_OPTION_PKIX_USAGES),
		"usable m.test [m.test a.test] 0 0 1 ab... 1 1 1 ab... | " ASK_MX);
	talloc_free(owner);
}

static void test_3_08_nobody_is_asked_where_insecure_mx_records_end_it(void **state)
{
	static const struct zone some[] = { { "a.test", DNS_MX, "10 m.test" }, HOST, MX_TLSA(FINE), { 0 } };
	static const struct zone alias[] = { { "a.test", DNS_MX, "10 m.test" },
		{ "m.test", DNS_A, ">t.test 192.0.2.1" }, { 0 } };
	void *owner = talloc_new(NULL);

	(void)state;
	zones = some;
	assert_string_equal(find(owner, "", "a.test", 0), "insecure-mx | ");
	zones = alias;
	assert_string_equal(find(owner, "", "a.test", 0), "insecure-mx | ");
	talloc_free(owner);
}

static void test_3_15_a_name_that_is_too_long_has_no_records(void **state)
{
	static char label[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	void *owner = talloc_new(NULL);
	char *host = text_must(talloc_asprintf(owner, "%s.%s.%s.%s.test", label, label, label, label));
	char *mx = text_must(talloc_asprintf(owner, "+10 %s", host));
	const struct zone some[] = { { "a.test", DNS_MX, mx }, { host, DNS_A, "+192.0.2.1" }, { 0 } };

	(void)state;
	assert_int_equal(strlen(host), 248);
	zones = some;
	assert_string_equal(find(owner, "", "a.test", DANE_OPTION_INSECURE_MX), "absent | ");
	talloc_free(owner);
}

static void test_3_13_more_records_than_anybody_has_are_bounded(void **state)
{
	static const size_t counts[] = { 60, DANE_LOOKUP_RECORDS_MAX, DANE_LOOKUP_RECORDS_MAX + 7 };

	(void)state;
	for (size_t i = 0; i < COUNT(counts); i++) {
		void *owner = talloc_new(NULL);
		char *records = text_must(talloc_strdup(owner, "+3 1 0 1"));

		for (size_t n = 2; n <= counts[i]; n++)
			records = text_must(talloc_asprintf_append(records, ", 3 1 0 %zu", n));
		const struct zone some[] = { MX, HOST, MX_TLSA(records), { 0 } };
		const struct config *config = help_config(OPEN);
		struct route_means means = {
			.config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000
		};
		struct route_stop stop;

		zones = some;
		struct route *route = route_new(owner, &means, "a.test", "");
		assert_true(route_next(route, &stop));
		struct dane_lookup_result result =
			dane_look_up(owner, &means, route, &stop, DANE_OPTION_INSECURE_MX);
		assert_int_equal(result.count, MIN(counts[i], (size_t)DANE_LOOKUP_RECORDS_MAX));
		assert_int_equal(result.left_out, counts[i] - result.count);
		assert_int_equal(result.finding, DANE_USABLE);
		talloc_free(owner);
		config_release(config);
	}
}

/* The digest and the time of the first place of the way to a.test. */
static struct dane_lookup_result look(const void *owner, const struct zone *some)
{
	const struct config *config = help_config(OPEN);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	struct route_stop stop;

	zones = some;
	struct route *route = route_new(owner, &means, "a.test", "");
	assert_true(route_next(route, &stop));
	struct dane_lookup_result result = dane_look_up(owner, &means, route, &stop, DANE_OPTION_INSECURE_MX);
	config_release(config);
	return result;
}

static void test_2_16_the_digest_is_of_all_that_verification_depends_on(void **state)
{
	static const struct zone first[] = { MX, HOST, MX_TLSA("+3 1 1 32, 2 0 1 32"), { 0 } };
	static const struct zone others[][6] = {
		{ MX, HOST, MX_TLSA("+3 1 1 32, 2 0 2 64"), { 0 } },
		{ MX, HOST, MX_TLSA("+3 1 1 32"), { 0 } },
		{ MX, HOST, MX_TLSA("+3 1 1 32, 2 0 1 32, 2 0 0 1"), { 0 } },
		{ { "a.test", DNS_MX, "10 m.test" }, HOST, MX_TLSA("+3 1 1 32, 2 0 1 32"), { 0 } },
		{ { "a.test", DNS_MX, "+>b.test 10 m.test" }, HOST, MX_TLSA("+3 1 1 32, 2 0 1 32"), { 0 } },
		{ MX, ALIAS, T_TLSA("+3 1 1 32, 2 0 1 32"), { 0 } },
		{ MX, HOST, MX_TLSA("+"), { 0 } },
	};
	static const struct zone turned[] = { MX, HOST, MX_TLSA("+2 0 1 32, 3 1 1 32, 3 1 1 7"), { 0 } };
	void *owner = talloc_new(NULL);
	struct digest digest = look(owner, first).digest, same = look(owner, turned).digest;

	(void)state;
	assert_memory_equal(digest.bytes, same.bytes, sizeof digest.bytes); /* their order says nothing */
	for (size_t i = 0; i < COUNT(others); i++) {
		struct digest other = look(owner, others[i]).digest;

		assert_memory_not_equal(digest.bytes, other.bytes, sizeof digest.bytes);
	}
	talloc_free(owner);
}

static void test_3_36_the_shortest_time_counts(void **state)
{
	static const struct zone some[] = { MX, ALIAS, { "_25._tcp.t.test", DNS_TLSA, "+!" },
		{ "_25._tcp.m.test", DNS_TLSA, FINE }, { 0 } };
	static const struct zone none[] = { MX, { "m.test", DNS_A, "192.0.2.1" }, { 0 } };
	void *owner = talloc_new(NULL);

	(void)state;
	assert_int_equal(look(owner, some).ttl_s, 300);
	ttl_of_none = 7;
	assert_int_equal(look(owner, some).ttl_s, 7);
	ttl_of_none = 0;
	assert_int_equal(look(owner, some).ttl_s, 0);
	ttl_of_none = 300;
	assert_int_equal(look(owner, none).ttl_s, 0);
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_3_01_3_02_3_03_3_04_3_05_3_06_3_07_3_08_3_09_3_10_3_15_3_16_3_18_3_19_3_29_each_place),
		cmocka_unit_test(test_3_20_usages_0_and_1_can_be_made_to_count),
		cmocka_unit_test(test_3_08_nobody_is_asked_where_insecure_mx_records_end_it),
		cmocka_unit_test(test_3_15_a_name_that_is_too_long_has_no_records),
		cmocka_unit_test(test_3_13_more_records_than_anybody_has_are_bounded),
		cmocka_unit_test(test_2_16_the_digest_is_of_all_that_verification_depends_on),
		cmocka_unit_test(test_3_36_the_shortest_time_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
