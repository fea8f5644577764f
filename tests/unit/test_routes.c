/* Routes of the configuration: every form of a next hop and its port, sources, and passwords, which only role deliver may see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/interfaces.h"
#include "test_help.h"

#define OPEN "mail_flow_policies: [{name: open, tls: none}]\n"

static const struct {
	const char *next_hop, *more;
	enum config_hop hop;
	const char *host; /* or the address with its port */
	uint16_t port;
} hops[] = {
	{ "192.0.2.1", "", CONFIG_HOP_ADDRESS, "192.0.2.1:25", 25 },
	{ "192.0.2.1:2525", "", CONFIG_HOP_ADDRESS, "192.0.2.1:2525", 2525 },
	{ "192.0.2.1", ", implicit_tls: true", CONFIG_HOP_ADDRESS, "192.0.2.1:465", 465 },
	{ "[192.0.2.1]:26", ", implicit_tls: true", CONFIG_HOP_ADDRESS, "192.0.2.1:26", 26 },
	{ "2001:db8::1", "", CONFIG_HOP_ADDRESS, "[2001:db8::1]:25", 25 },
	{ "[2001:db8::1]:2525", "", CONFIG_HOP_ADDRESS, "[2001:db8::1]:2525", 2525 },
	{ "[2001:db8::1]", ", implicit_tls: true", CONFIG_HOP_ADDRESS, "[2001:db8::1]:465", 465 },
	{ "Mail.Example.com", "", CONFIG_HOP_HOST, "mail.example.com", 25 },
	{ "mail.example.com:2525", "", CONFIG_HOP_HOST, "mail.example.com", 2525 },
	{ "mail.example.com", ", implicit_tls: true", CONFIG_HOP_HOST, "mail.example.com", 465 },
	{ "localhost", "", CONFIG_HOP_HOST, "localhost", 25 },
	{ "mx.example.com", "", CONFIG_HOP_HOST, "mx.example.com", 25 },
	{ "mx:Example.com", "", CONFIG_HOP_MX, "example.com", 587 },
	{ "MX:example.com", "", CONFIG_HOP_MX, "example.com", 587 },
	{ "mx:example.com:26", "", CONFIG_HOP_MX, "example.com", 26 },
	{ "Bücher.example", "", CONFIG_HOP_HOST, "xn--bcher-kva.example", 25 },
	{ "mx:straße.example:26", "", CONFIG_HOP_MX, "xn--strae-oqa.example", 26 },
	{ "例え.テスト:26", "", CONFIG_HOP_HOST, "xn--r8jz45g.xn--zckzah", 26 },
	{ "mx:example.com", ", implicit_tls: true", CONFIG_HOP_MX, "example.com", 465 },
};

static void test_each_form_of_a_next_hop(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hops); i++) {
		char *yaml = talloc_asprintf(NULL,
			OPEN "delivery: {port: 587}\nroutes: [{domain: a.test, next_hop: '%s'%s}]\n",
			hops[i].next_hop, hops[i].more);
		const struct config *config = help_config(yaml);
		const struct config_route *route = &config->routes[0];
		char text[IP_TEXT_MAX];

		if (route->hop != hops[i].hop || route->port != hops[i].port)
			fail_msg("%s: %d, port %u", hops[i].next_hop, route->hop, route->port);
		assert_string_equal(route->hop == CONFIG_HOP_ADDRESS ? ip_format_port(&route->address, text)
								     : route->host,
			hops[i].host);
		assert_string_equal(route->next_hop, hops[i].next_hop);
		config_release(config);
		talloc_free(yaml);
	}
}

static void test_the_source_has_the_family_of_the_server(void **state)
{
	const struct config *config = help_config(OPEN
		"routes:\n"
		"  - {domain: a.test, next_hop: mx.a.test, source: ['2001:db8::7', 192.0.2.7], helo: out.a.test}\n"
		"  - {domain: b.test, next_hop: mx.a.test, source: [192.0.2.7]}\n"
		"  - {domain: c.test, next_hop: mx.a.test}\n");
	const struct ip *source;
	char text[IP_TEXT_MAX];

	(void)state;
	assert_true(config_route_source(&config->routes[0], AF_INET, &source));
	assert_string_equal(ip_format(source, text), "192.0.2.7");
	assert_true(config_route_source(&config->routes[0], AF_INET6, &source));
	assert_string_equal(ip_format(source, text), "2001:db8::7");
	assert_string_equal(config->routes[0].helo, "out.a.test");
	assert_true(config_route_source(&config->routes[1], AF_INET, &source));
	assert_false(config_route_source(&config->routes[1], AF_INET6, &source));
	assert_true(config_route_source(&config->routes[2], AF_INET6, &source));
	assert_null(source);
	assert_null(config->routes[2].helo);
	assert_true(config_route_source(NULL, AF_INET, &source));
	assert_null(source);
	config_release(config);
}

static void test_a_password_is_one_line(void **state)
{
	static const struct {
		const char *bytes, *want;
	} cases[] = { { "secret", "secret" }, { "secret\n", "secret" }, { "secret\r\nmore\n", "secret" },
		{ " with blanks \n", " with blanks " }, { "p\xc3\xa4ss\n", "p\xc3\xa4ss" }, { "", "" },
		{ "\nsecret\n", "" }, { "a\tb\n", "" }, { "a\rb\n", "" }, { "a\x7f\n", "" } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text got = config_password(text_of(cases[i].bytes));

		if (!text_equal(got, text_of(cases[i].want)))
			fail_msg("case %zu: \"" TEXT_FMT "\"", i, TEXT_ARG(got));
	}
	assert_int_equal(config_password((struct text){ "a\0b", 3 }).len, 0);
}

static void write_file(const char *folder, const char *name, const char *bytes, mode_t mode)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(bytes, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

/* What check says about a route whose password file is like that; NULL = fine. */
static const struct {
	const char *password;
	mode_t mode;
	const char *want;
} files[] = {
	{ "s3cr3t\n", 0600, NULL },
	{ "s3cr3t\n", 0640, NULL },
	{ "s3cr3t\n", 0644, "lets everybody read this password" },
	{ "s3cr3t\n", 0602, "lets everybody change this password" },
	{ "s3cr3t\n", 0660, "lets its group change this password" },
	{ "\n", 0600, "is empty or holds control characters" },
	{ NULL, 0600, "cannot be read" },
};

static void gather(const char *folder, const char *name,
	void (*check)(struct bundle *, struct problems *, const struct config *, const void *),
	const void *context)
{
	struct problems *problems = problems_new(NULL);
	const struct config *config = NULL;
	char *file = talloc_asprintf(problems, "%s/%s", folder, name);
	struct bundle *bundle = config_gather(problems, file, 1, problems, &config);

	check(bundle, problems, config, context);
	config_release(config);
	talloc_free(problems);
}

#define GATHERED                                                                                             \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n" OPEN                                  \
	"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"

static bool holds(struct bundle *bundle, unsigned reader, const char *path)
{
	int fd = bundle_seal(bundle, reader);
	struct bundle *opened = bundle_open(NULL, fd);
	bool found = bundle_find(opened, path).at != NULL;

	talloc_free(opened);
	close(fd);
	return found;
}

static void check_password(
	struct bundle *bundle, struct problems *problems, const struct config *config, const void *want)
{
	if (want == NULL) {
		assert_int_equal(problems->count, 0);
		assert_int_equal(problems->warning_count, 0);
		const char *path = config->routes[0].password_file;
		assert_true(holds(bundle, BUNDLE_DELIVER, path));
		for (unsigned reader = 1; reader <= BUNDLE_ALL; reader <<= 1)
			if (reader != BUNDLE_DELIVER)
				assert_false(holds(bundle, reader, path));

		char *shown = config_show(problems, config, false);
		assert_non_null(strstr(shown, "password_file: "));
		assert_null(strstr(shown, "s3cr3t"));
		return;
	}
	assert_null(bundle);
	assert_int_equal(problems->count, 1);
	assert_string_equal(problems->list[0].key, "routes[default].password_file");
	if (strstr(problems->list[0].text, want) == NULL)
		fail_msg("%s", problems->list[0].text);
}

static void test_passwords_are_for_deliver_only_and_for_nobody_else_to_read(void **state)
{
	char folder[64], path[80];

	(void)state;
	help_directory(folder);
	snprintf(path, sizeof path, "%s/secret", folder);
	write_file(folder, "x.yaml",
		GATHERED
		"authorities: {custom: ca}\n"
		"routes: [{domain: default, next_hop: mx.a.test, username: u, password_file: secret}]\n",
		0600);
	write_file(folder, "ca", "", 0644);
	for (size_t i = 0; i < COUNT(files); i++) {
		if (files[i].password != NULL)
			write_file(folder, "secret", files[i].password, files[i].mode);
		else
			assert_int_equal(remove(path), 0);
		gather(folder, "x.yaml", check_password, files[i].want);
	}
	help_remove(folder);
}

static void check_warnings(
	struct bundle *bundle, struct problems *problems, const struct config *config, const void *want)
{
	(void)config;
	assert_non_null(bundle);
	assert_int_equal(problems->warning_count, 1);
	assert_string_equal(problems->warnings[0].key, "routes[a.test].source");
	assert_non_null(strstr(problems->warnings[0].text, want));
}

static void test_a_source_that_is_not_here_is_warned_of(void **state)
{
	char folder[64];

	(void)state;
	help_directory(folder);
	write_file(folder, "x.yaml",
		GATHERED "routes: [{domain: a.test, next_hop: mx.a.test, source: [192.0.2.77, '::1']},\n"
			 "  {domain: b.test, next_hop: mx.a.test, source: [127.0.0.2]}]\n",
		0600);
	gather(folder, "x.yaml", check_warnings, "`192.0.2.77` is no address of this machine");
	help_remove(folder);
}

static void check_idle_limits(
	struct bundle *bundle, struct problems *problems, const struct config *config, const void *want)
{
	(void)config, (void)want;
	assert_non_null(bundle);
	assert_int_equal(problems->warning_count, 2);
	assert_string_equal(problems->warnings[0].key, "destinations[a.test].rate");
	assert_string_equal(problems->warnings[0].text,
		"never counts: mail for `a.test` goes to `192.0.2.1:26`, so write it in an entry for `192.0.2.1`");
	assert_string_equal(problems->warnings[1].key, "destinations[x.b.test].concurrency");
	assert_string_equal(problems->warnings[1].text,
		"never counts: mail for `x.b.test` goes to `mx:c.test`, so write it in an entry for `c.test`");
}

/* A limit counts for the next hop, not for the domains behind it. */
static void test_a_limit_that_never_counts_is_warned_of(void **state)
{
	char folder[64];

	(void)state;
	help_directory(folder);
	write_file(folder, "x.yaml",
		GATHERED
		"routes: [{domain: a.test, next_hop: '192.0.2.1:26'}, {domain: .b.test, next_hop: 'mx:c.test'},\n"
		"  {domain: d.test, next_hop: 'D.test:26'}]\n"
		"destinations: [{domain: a.test, rate: 5}, {domain: x.b.test, concurrency: 5, rate: 1},\n"
		"  {domain: 192.0.2.1, rate: 5}, {domain: c.test, rate: 5}, {domain: d.test, rate: 5},\n"
		"  {domain: .b.test, rate: 5}, {domain: default, rate: 5}, {domain: y.b.test, tls: none},\n"
		"  {domain: other.test, rate: 0}]\n",
		0600);
	gather(folder, "x.yaml", check_idle_limits, NULL);
	help_remove(folder);
}

static void test_this_machine_has_its_loopback_addresses(void **state)
{
	static const struct {
		const char *address;
		bool here;
	} cases[] = { { "127.0.0.1", true }, { "127.9.9.9", true }, { "::1", true }, { "192.0.2.1", false },
		{ "2001:db8::1", false }, { "0.0.0.0", false } };
	struct ip ip;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(ip_parse(text_of(cases[i].address), &ip), 0);
		assert_int_equal(interfaces_have(&ip), cases[i].here);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_form_of_a_next_hop),
		cmocka_unit_test(test_the_source_has_the_family_of_the_server),
		cmocka_unit_test(test_a_password_is_one_line),
		cmocka_unit_test(test_passwords_are_for_deliver_only_and_for_nobody_else_to_read),
		cmocka_unit_test(test_a_source_that_is_not_here_is_warned_of),
		cmocka_unit_test(test_a_limit_that_never_counts_is_warned_of),
		cmocka_unit_test(test_this_machine_has_its_loopback_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
