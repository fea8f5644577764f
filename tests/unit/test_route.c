/* The way to a domain, place by place. The DNS is a table here. */
#include "lookup/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "dns_table.h"
#include "test_help.h"

#define OPEN "mail_flow_policies: [{name: open, tls: none}]\n"

/* As help_config(), with a listener that has a port. */
static const struct config *config_of(const char *yaml)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(problems, 1);
	char *whole = talloc_asprintf(problems,
		"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
		"listeners: [{name: in, type: public, address: '127.0.0.1:7025', policy: open}]\n%s",
		yaml);

	bundle_add(bundle, "test.yaml", text_of(whole), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "test.yaml", problems);
	for (size_t i = 0; i < problems->count; i++)
		print_error("%s\n", problems_format(problems, &problems->list[i]));
	assert_non_null(config);
	talloc_free(problems);
	return config;
}

/* The whole way as "host address|host address|..."; or what is said when there is none. */
static char *way(const void *owner, const char *yaml, const char *domain)
{
	const struct config *config = config_of(yaml);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	struct route *route = route_new(owner, &means, domain, "");
	char *text = text_must(talloc_strdup(owner, "")), address[IP_TEXT_MAX], source[IP_TEXT_MAX];
	struct route_stop stop, same;
	bool permanent;

	while (route_next(route, &stop)) {
		text = text_must(
			talloc_asprintf_append(text, "%s%s %s%s%s", text[0] == '\0' ? "" : "|", stop.host,
				ip_format_port(&stop.address, address), stop.source == NULL ? "" : " from ",
				stop.source == NULL ? "" : ip_format(stop.source, source)));
		assert_true(route_leads_to(route, stop.host, &stop.address, &same));
		assert_ptr_equal(stop.host, same.host);
		assert_memory_equal(&stop.address, &same.address, sizeof same.address);
		assert_ptr_equal(stop.source, same.source);
		assert_int_equal(stop.security, same.security);
		assert_string_equal(stop.canonical, same.canonical);
	}
	if (text[0] == '\0') {
		text = text_copy(owner, text_of(route_end(route, &permanent)));
		assert_int_equal(permanent, text[0] == '5');
	}
	config_release(config);
	return text;
}

static const struct {
	const char *name, *yaml, *domain, *want;
	struct zone zones[8];
} cases[] = {
	/* Routes */
	{ "an address", "routes: [{domain: default, next_hop: '192.0.2.1:26'}]", "a.test",
		"192.0.2.1:26 192.0.2.1:26", { { 0 } } },
	{ "an address and a source",
		"routes: [{domain: default, next_hop: '::2', source: [192.0.2.7, '::1']}]", "a.test",
		"::2 [::2]:25 from ::1", { { 0 } } },
	{ "a host: its MX records do not count", "routes: [{domain: default, next_hop: 'smart.test:587'}]",
		"a.test", "smart.test 192.0.2.1:587",
		{ { "smart.test", DNS_MX, "10 no.test" }, { "smart.test", DNS_A, "192.0.2.1" } } },
	{ "2.08 a host with both families, which take turns", "routes: [{domain: default, next_hop: b.test}]",
		"a.test",
		"b.test [2001:db8::1]:25|b.test 192.0.2.1:25|b.test [2001:db8::2]:25|b.test 192.0.2.2:25",
		{ { "b.test", DNS_A, "192.0.2.1 192.0.2.2" },
			{ "b.test", DNS_AAAA, "2001:db8::1 2001:db8::2" } } },
	{ "a source of one family leaves the other out",
		"routes: [{domain: default, next_hop: b.test, source: [192.0.2.7]}]", "a.test",
		"b.test 192.0.2.1:25 from 192.0.2.7",
		{ { "b.test", DNS_A, "192.0.2.1" }, { "b.test", DNS_AAAA, "2001:db8::1" } } },
	{ "a host that does not exist can be mended", "routes: [{domain: default, next_hop: b.test}]",
		"a.test", "451 4.4.4 the next hop has no address",
		{ { "b.test", DNS_A, "!" }, { "b.test", DNS_AAAA, "!" } } },
	{ "a host that cannot be looked up", "routes: [{domain: default, next_hop: b.test}]", "a.test",
		"451 4.4.3 the next hop could not be looked up: A of b.test: too late",
		{ { "b.test", DNS_A, "?too late" } } },
	{ "one family cannot be looked up, the other can", "routes: [{domain: default, next_hop: b.test}]",
		"a.test", "b.test 192.0.2.1:25",
		{ { "b.test", DNS_A, "192.0.2.1" }, { "b.test", DNS_AAAA, "?too late" } } },
	{ "mx: of another domain", "routes: [{domain: default, next_hop: 'mx:b.test'}]\ndelivery: {port: 26}",
		"a.test", "m.test 192.0.2.1:26",
		{ { "b.test", DNS_MX, "10 m.test" }, { "m.test", DNS_A, "192.0.2.1" } } },
	{ "mx: with a port", "routes: [{domain: default, next_hop: 'mx:b.test:27'}]", "a.test",
		"m.test 192.0.2.1:27",
		{ { "b.test", DNS_MX, "10 m.test" }, { "m.test", DNS_A, "192.0.2.1" } } },
	{ "mx: of a domain that is none", "routes: [{domain: default, next_hop: 'mx:b.test'}]", "a.test",
		"451 4.4.4 the next hop does not exist", { { "b.test", DNS_MX, "!" } } },

	/* MX records */
	{ "2.01 hosts in order, each with its addresses", "delivery: {port: 26}", "a.test",
		"m.test 192.0.2.1:26|n.test [2001:db8::1]:26|n.test 192.0.2.2:26",
		{ { "a.test", DNS_MX, "20 n.test, 10 m.test" }, { "m.test", DNS_A, "192.0.2.1" },
			{ "n.test", DNS_A, "192.0.2.2" }, { "n.test", DNS_AAAA, "2001:db8::1" } } },
	{ "2.03 no MX: the domain itself", "", "a.test", "a.test 192.0.2.1:25",
		{ { "a.test", DNS_A, "192.0.2.1" } } },
	{ "2.03 no MX and no address", "", "a.test", "550 5.4.4 no server of the domain has an address",
		{ { "x", DNS_A, "!" } } },
	{ "2.03 no such domain", "", "a.test", "550 5.1.2 the domain does not exist",
		{ { "a.test", DNS_MX, "!" }, { "a.test", DNS_A, "192.0.2.1" } } },
	{ "2.03 not known: no implicit MX", "", "a.test",
		"451 4.4.3 the servers of the domain could not be looked up: MX of a.test: SERVFAIL",
		{ { "a.test", DNS_MX, "?SERVFAIL" }, { "a.test", DNS_A, "192.0.2.1" } } },
	{ "2.03 bogus: no implicit MX, and why", "", "a.test",
		"451 4.4.3 the servers of the domain could not be looked up: MX of a.test: bogus, signature expired",
		{ { "a.test", DNS_MX, "*signature expired" }, { "a.test", DNS_A, "192.0.2.1" } } },
	{ "a null MX", "", "a.test", "556 5.1.10 the domain takes no mail (null MX)",
		{ { "a.test", DNS_MX, "0" }, { "a.test", DNS_A, "192.0.2.1" } } },
	{ "2.05 an address as MX is left out", "", "a.test", "_m.test 192.0.2.2:25",
		{ { "a.test", DNS_MX, "10 192.0.2.1, 20 _m.test" }, { "_m.test", DNS_A, "192.0.2.2" } } },
	{ "a host without an address is passed over", "", "a.test", "n.test 192.0.2.2:25",
		{ { "a.test", DNS_MX, "10 m.test, 20 n.test" }, { "m.test", DNS_A, "!" },
			{ "n.test", DNS_A, "192.0.2.2" } } },
	{ "no host has one", "", "a.test", "550 5.4.4 no server of the domain has an address",
		{ { "a.test", DNS_MX, "10 m.test, 20 n.test" }, { "m.test", DNS_A, "!" } } },
	{ "doubt about one of two is doubt", "", "a.test",
		"451 4.4.3 the servers of the domain could not be looked up: AAAA of n.test: bogus, forged",
		{ { "a.test", DNS_MX, "10 m.test, 20 n.test" }, { "m.test", DNS_A, "!" },
			{ "n.test", DNS_AAAA, "*forged" } } },
	{ "at most three addresses of a family when there are both", "", "a.test",
		"a.test [::1]:25|a.test 192.0.2.1:25|a.test [::2]:25|a.test 192.0.2.2:25|a.test [::3]:25|a.test "
		"192.0.2.3:25",
		{ { "a.test", DNS_A, "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5" },
			{ "a.test", DNS_AAAA, "::1 ::2 ::3 ::4 ::5 ::6 ::7 ::8" } } },
	{ "at most ten places", "", "a.test",
		"m.test 192.0.2.1:25|m.test 192.0.2.2:25|m.test 192.0.2.3:25|m.test 192.0.2.4:25|m.test "
		"192.0.2.5:25|m.test 192.0.2.6:25|n.test 192.0.2.1:25|n.test 192.0.2.2:25|n.test 192.0.2.3:25|n.test "
		"192.0.2.4:25",
		{ { "a.test", DNS_MX, "10 m.test, 20 n.test, 30 o.test" },
			{ "m.test", DNS_A,
				"192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7" },
			{ "n.test", DNS_A, "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6" },
			{ "o.test", DNS_A, "192.0.2.9" } } },

	/* Ourselves: listener 127.0.0.1:7025 */
	{ "2.02 our name", "", "a.test", "m.test 192.0.2.1:25",
		{ { "a.test", DNS_MX, "10 m.test, 20 gw.good.test, 30 n.test" },
			{ "m.test", DNS_A, "192.0.2.1" }, { "n.test", DNS_A, "192.0.2.2" } } },
	{ "2.02 our name alone", "", "a.test", "554 5.4.6 mail for the domain leads back to this server",
		{ { "a.test", DNS_MX, "10 gw.good.test, 30 n.test" }, { "n.test", DNS_A, "192.0.2.2" } } },
	{ "2.02 our address under another name, and its equals", "delivery: {port: 7025}", "a.test",
		"m.test 192.0.2.1:7025",
		{ { "a.test", DNS_MX, "10 m.test, 20 us.test, 20 n.test, 30 o.test" },
			{ "m.test", DNS_A, "192.0.2.1" }, { "n.test", DNS_A, "192.0.2.2" },
			{ "us.test", DNS_A, "127.0.0.1" }, { "o.test", DNS_A, "192.0.2.3" } } },
	{ "2.02 our address as the best one", "delivery: {port: 7025}", "a.test",
		"554 5.4.6 mail for the domain leads back to this server",
		{ { "a.test", DNS_MX, "20 us.test, 30 o.test" }, { "us.test", DNS_A, "127.0.0.1" },
			{ "o.test", DNS_A, "192.0.2.3" } } },
	{ "our address on a port where we do not listen is another server", "delivery: {port: 7026}",
		"a.test", "us.test 127.0.0.1:7026",
		{ { "a.test", DNS_MX, "20 us.test" }, { "us.test", DNS_A, "127.0.0.1" } } },
	{ "2.02 the address 0.0.0.0 is this machine", "delivery: {port: 7025}", "a.test",
		"554 5.4.6 mail for the domain leads back to this server",
		{ { "a.test", DNS_A, "0.0.0.0" } } },
	{ "2.02 our address, mapped into IPv6", "delivery: {port: 7025}", "a.test",
		"554 5.4.6 mail for the domain leads back to this server",
		{ { "a.test", DNS_MX, "10 us.test" }, { "us.test", DNS_AAAA, "::ffff:127.0.0.1" } } },
	{ "2.02 the address 0.0.0.0, mapped into IPv6", "delivery: {port: 7025}", "a.test",
		"554 5.4.6 mail for the domain leads back to this server",
		{ { "a.test", DNS_AAAA, "::ffff:0.0.0.0" } } },
	{ "a next hop that leads back can be mended", "routes: [{domain: default, next_hop: 'us.test:7025'}]",
		"a.test", "451 4.4.6 the next hop leads back to this server",
		{ { "us.test", DNS_A, "127.0.0.1" } } },

	/* Address literals */
	{ "2.07 IPv4: nothing is looked up", "delivery: {port: 26}", "[192.0.2.1]",
		"[192.0.2.1] 192.0.2.1:26", { { 0 } } },
	{ "2.07 IPv6", "", "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1] [2001:db8::1]:25", { { 0 } } },
	{ "2.07 IPv6 in lower case", "", "[ipv6:2001:db8::1]", "[ipv6:2001:db8::1] [2001:db8::1]:25",
		{ { 0 } } },
	{ "a literal that has a default route", "routes: [{domain: default, next_hop: 192.0.2.9}]",
		"[192.0.2.1]", "192.0.2.9 192.0.2.9:25", { { 0 } } },
	{ "our own address as a literal", "delivery: {port: 7025}", "[127.0.0.1]",
		"554 5.4.6 mail for the domain leads back to this server", { { 0 } } },
	{ "our own address as a literal, mapped into IPv6", "delivery: {port: 7025}",
		"[IPv6:::ffff:127.0.0.1]", "554 5.4.6 mail for the domain leads back to this server",
		{ { 0 } } },
	{ "no domain", "", "",
		"451 4.4.3 the servers of the domain could not be looked up: there is no domain and no default route",
		{ { 0 } } },
};

static char *yaml_of(const void *owner, const char *more)
{
	return text_must(talloc_asprintf(owner, OPEN "%s\n", more));
}

static void test_each_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *owner = talloc_new(NULL);

		zones = cases[i].zones;
		char *got = way(owner, yaml_of(owner, cases[i].yaml), cases[i].domain);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].name, got);
		talloc_free(owner);
	}
}

/* A worse host is looked up only when its turn comes. */
static void test_what_is_not_needed_is_not_asked(void **state)
{
	static const struct zone some[] = { { "a.test", DNS_MX, "10 m.test, 20 n.test" },
		{ "m.test", DNS_A, "192.0.2.1" }, { "n.test", DNS_A, "192.0.2.2" }, { 0 } };
	const struct config *config = help_config(OPEN);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	void *owner = talloc_new(NULL);
	struct route_stop stop;

	(void)state;
	zones = some;
	asked = 0;
	struct route *route = route_new(owner, &means, "a.test", "");
	assert_int_equal(asked, 1);
	assert_true(route_next(route, &stop));
	assert_int_equal(asked, 3);
	assert_true(route_next(route, &stop));
	assert_int_equal(asked, 5);
	talloc_free(owner);
	config_release(config);
}

static void test_2_01_equals_change_places(void **state)
{
	static const struct zone some[] = { { "a.test", DNS_MX, "10 m.test, 10 n.test, 20 o.test" },
		{ "m.test", DNS_A, "192.0.2.1" }, { "n.test", DNS_A, "192.0.2.2" },
		{ "o.test", DNS_A, "192.0.2.3" }, { 0 } };
	bool seen[2] = { false };

	(void)state;
	zones = some;
	for (int i = 0; i < 200 && !(seen[0] && seen[1]); i++) {
		void *owner = talloc_new(NULL);
		char *got = way(owner, OPEN, "a.test");

		seen[strncmp(got, "m.test", 6) == 0] = true;
		assert_non_null(strstr(got, "|o.test 192.0.2.3:25"));
		talloc_free(owner);
	}
	assert_true(seen[0] && seen[1]);
}

static void test_a_host_that_answered_is_left(void **state)
{
	static const struct zone some[] = { { "a.test", DNS_MX, "10 m.test, 20 n.test" },
		{ "m.test", DNS_A, "192.0.2.1 192.0.2.2 192.0.2.3" }, { "n.test", DNS_A, "192.0.2.4" },
		{ 0 } };
	const struct config *config = help_config(OPEN);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	void *owner = talloc_new(NULL);
	struct route_stop stop;

	(void)state;
	zones = some;
	struct route *route = route_new(owner, &means, "a.test", "");
	assert_true(route_next(route, &stop));
	assert_true(route_next(route, &stop));
	assert_string_equal(stop.host, "m.test");
	route_skip_host(route, stop.host);
	assert_true(route_next(route, &stop));
	assert_string_equal(stop.host, "n.test");
	route_skip_host(route, stop.host);
	assert_false(route_next(route, &stop));

	/* also one that was reached before by an open connection */
	route = route_new(owner, &means, "a.test", "");
	route_skip_host(route, "M.test");
	assert_true(route_next(route, &stop));
	assert_string_equal(stop.host, "n.test");
	assert_false(route_next(route, &stop));
	talloc_free(owner);
	config_release(config);
}

static void test_after_the_deadline_nothing_is_said_about_the_rest(void **state)
{
	static const struct zone some[] = { { "a.test", DNS_A, "192.0.2.1" }, { 0 } };
	const struct config *config = help_config(OPEN);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() };
	void *owner = talloc_new(NULL);
	struct route_stop stop;
	bool permanent;

	(void)state;
	zones = some;
	struct route *route = route_new(owner, &means, "a.test", "");
	assert_false(route_next(route, &stop));
	assert_int_equal(strncmp(route_end(route, &permanent), "451 4.4.3 ", 10), 0);
	assert_false(permanent);
	talloc_free(owner);
	config_release(config);
}

static void test_2_17_only_places_on_the_way_may_be_reused(void **state)
{
	static const struct zone some[] = { { "a.test", DNS_MX, "10 m.test, 20 n.test" },
		{ "m.test", DNS_A, "192.0.2.1" }, { "n.test", DNS_A, "192.0.2.2" }, { 0 } };
	static const struct {
		const char *host, *address;
		bool want;
	} places[] = { { "m.test", "192.0.2.1:25", true }, { "n.test", "192.0.2.2:25", true },
		{ "M.test", "192.0.2.1:25", true }, { "m.test", "192.0.2.2:25", false },
		{ "m.test", "192.0.2.1:26", false }, { "o.test", "192.0.2.1:25", false } };
	const struct config *config = help_config(OPEN);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	void *owner = talloc_new(NULL);
	struct route_stop stop;
	struct ip address;

	(void)state;
	zones = some;
	struct route *route = route_new(owner, &means, "a.test", "");
	for (size_t i = 0; i < COUNT(places); i++) {
		assert_int_equal(ip_parse(text_of(places[i].address), &address), 0);
		assert_int_equal(route_leads_to(route, places[i].host, &address, &stop), places[i].want);
	}
	talloc_free(owner);
	config_release(config);
}

/* What DNSSEC says of a way, as "what the hosts rest on: host address what the address rests on, ...". */
static char *trust(const void *owner, const char *yaml, const char *domain)
{
	const struct config *config = config_of(yaml);
	struct route_means means = { .config = config, .stop_fd = -1, .deadline = clock_mono_ms() + 60000 };
	struct route *route = route_new(owner, &means, domain, "");
	char *text = text_must(talloc_asprintf(owner, "%s", zone_security_word(route->security)));
	char address[IP_TEXT_MAX];
	struct route_stop stop;

	if (route->implicit_mx)
		text = text_must(talloc_asprintf_append(text, " implicit"));
	if (route->hop != NULL)
		text = text_must(talloc_asprintf_append(text, " %s", route->hop));
	if (route->hop != NULL && strcmp(route->hop, route->expanded) != 0)
		text = text_must(talloc_asprintf_append(text, "=%s", route->expanded));
	for (char separator = ':'; route_next(route, &stop); separator = ',') {
		text = text_must(talloc_asprintf_append(text, "%c %s", separator, stop.host));
		if (strcmp(stop.canonical, stop.host) != 0)
			text = text_must(talloc_asprintf_append(text, "=%s", stop.canonical));
		text = text_must(
			talloc_asprintf_append(text, " %s %s%s", ip_format_port(&stop.address, address),
				zone_security_word(stop.security), stop.literal ? " literal" : ""));
	}
	config_release(config);
	return text;
}

static const struct {
	const char *name, *yaml, *domain, *want;
	struct zone zones[8];
} trust_cases[] = {
	{ "all of it is signed", "", "a.test", "secure a.test: m.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+10 m.test" }, { "m.test", DNS_A, "+192.0.2.1" } } },
	{ "nothing is", "", "a.test", "insecure a.test: m.test 192.0.2.1:25 insecure",
		{ { "a.test", DNS_MX, "10 m.test" }, { "m.test", DNS_A, "192.0.2.1" } } },
	{ "3.05 one host is bogus, the other is tried", "", "a.test",
		"secure a.test: n.test 192.0.2.2:25 secure",
		{ { "a.test", DNS_MX, "+10 m.test, 20 n.test" }, { "m.test", DNS_A, "*forged" },
			{ "m.test", DNS_AAAA, "+" }, { "n.test", DNS_A, "+192.0.2.2" } } },
	{ "3.05 one family of a host is bogus: the other's addresses stay what they are", "", "a.test",
		"secure a.test: m.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+10 m.test" }, { "m.test", DNS_A, "+192.0.2.1" },
			{ "m.test", DNS_AAAA, "*forged" } } },
	{ "3.07 each family has its own", "", "a.test",
		"secure a.test: m.test [2001:db8::1]:25 insecure, m.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+10 m.test" }, { "m.test", DNS_A, "+192.0.2.1" },
			{ "m.test", DNS_AAAA, "2001:db8::1" } } },
	{ "3.07 in turn, and the other way round", "", "a.test",
		"secure a.test: m.test [2001:db8::1]:25 secure, m.test 192.0.2.1:25 insecure, "
		"m.test [2001:db8::2]:25 secure, m.test 192.0.2.2:25 insecure",
		{ { "a.test", DNS_MX, "+10 m.test" }, { "m.test", DNS_A, "192.0.2.1 192.0.2.2" },
			{ "m.test", DNS_AAAA, "+2001:db8::1 2001:db8::2" } } },
	{ "3.09 no MX, and that is proved", "", "a.test",
		"secure implicit a.test: a.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+" }, { "a.test", DNS_A, "+192.0.2.1" } } },
	{ "3.09 no MX, and nothing proves it", "", "a.test",
		"insecure implicit a.test: a.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "" }, { "a.test", DNS_A, "+192.0.2.1" } } },
	{ "3.10 a configured host is as good as signed; its address is what the DNS says",
		"routes: [{domain: default, next_hop: 'smart.test:587'}]", "a.test",
		"secure: smart.test 192.0.2.1:587 insecure", { { "smart.test", DNS_A, "192.0.2.1" } } },
	{ "3.10 so it is when nothing else is unsigned", "routes: [{domain: default, next_hop: smart.test}]",
		"a.test", "secure: smart.test 192.0.2.1:25 secure",
		{ { "smart.test", DNS_A, "+192.0.2.1" } } },
	{ "3.10 the MX records of a configured domain are what the DNS says",
		"routes: [{domain: default, next_hop: 'mx:b.test'}]", "a.test",
		"insecure b.test: m.test 192.0.2.1:25 secure",
		{ { "b.test", DNS_MX, "10 m.test" }, { "m.test", DNS_A, "+192.0.2.1" } } },
	{ "3.15 a host that is an alias", "", "a.test", "secure a.test: m.test=t.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+10 m.test" }, { "m.test", DNS_A, "+>t.test 192.0.2.1" } } },
	{ "3.16 an alias into an unsigned zone", "", "a.test",
		"secure a.test: m.test=t.test 192.0.2.1:25 insecure",
		{ { "a.test", DNS_MX, "+10 m.test" }, { "m.test", DNS_A, ">t.test 192.0.2.1" } } },
	{ "3.19 a domain that is an alias", "", "a.test", "secure a.test=b.test: m.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+>b.test 10 m.test" }, { "m.test", DNS_A, "+192.0.2.1" } } },
	{ "3.19 a domain that is an alias of one without MX", "", "a.test",
		"secure implicit a.test=b.test: a.test=b.test 192.0.2.1:25 secure",
		{ { "a.test", DNS_MX, "+>b.test " }, { "a.test", DNS_A, "+>b.test 192.0.2.1" } } },
	{ "3.05 bogus MX records: nobody", "", "a.test", "bogus a.test",
		{ { "a.test", DNS_MX, "*forged" }, { "a.test", DNS_A, "+192.0.2.1" } } },
	{ "an address of the operator's", "routes: [{domain: default, next_hop: 192.0.2.1}]", "a.test",
		"secure: 192.0.2.1 192.0.2.1:25 insecure literal", { { 0 } } },
	{ "an address of the sender's", "", "[192.0.2.1]",
		"insecure: [192.0.2.1] 192.0.2.1:25 insecure literal", { { 0 } } },
};

static void test_3_05_3_07_3_09_3_10_3_15_3_16_3_19_what_dnssec_says_of_a_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(trust_cases); i++) {
		void *owner = talloc_new(NULL);

		zones = trust_cases[i].zones;
		char *got = trust(owner, yaml_of(owner, trust_cases[i].yaml), trust_cases[i].domain);
		if (strcmp(got, trust_cases[i].want) != 0)
			fail_msg("%s: %s", trust_cases[i].name, got);
		talloc_free(owner);
	}
}

static void test_the_destination_is_the_next_hop_or_the_domain(void **state)
{
	const struct config *config = help_config(OPEN "routes: [{domain: a.test, next_hop: 'mx:B.test'}]\n");

	(void)state;
	assert_string_equal(route_destination(config, "a.test"), "mx:B.test");
	assert_string_equal(route_destination(config, "c.test"), "c.test");
	config_release(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_way),
		cmocka_unit_test(test_what_is_not_needed_is_not_asked),
		cmocka_unit_test(test_2_01_equals_change_places),
		cmocka_unit_test(test_a_host_that_answered_is_left),
		cmocka_unit_test(test_after_the_deadline_nothing_is_said_about_the_rest),
		cmocka_unit_test(test_2_17_only_places_on_the_way_may_be_reused),
		cmocka_unit_test(test_3_05_3_07_3_09_3_10_3_15_3_16_3_19_what_dnssec_says_of_a_way),
		cmocka_unit_test(test_the_destination_is_the_next_hop_or_the_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
