/* Where a document may be fetched from. The DNS and HTTP are tables here: this file's dns_ask() and http_get() stand for theirs. */
#include "lookup/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "lookup/dns.h"
#include "net/http.h"
#include "test_help.h"

static const struct {
	const char *name;
	enum dns_type type;
	const char *addresses[3];
} zone[] = {
	{ "public.test", DNS_A, { "8.8.8.8", "1.1.1.1" } },
	{ "public.test", DNS_AAAA, { "2a00::1" } },
	{ "inside.test", DNS_A, { "10.0.0.1" } },
	{ "inside.test", DNS_AAAA, { "::1", "fe80::1" } },
	{ "mixed.test", DNS_A, { "127.0.0.1", "8.8.4.4" } },
	{ "mixed.test", DNS_AAAA, { "::ffff:127.0.0.1" } },
	{ "six.test", DNS_AAAA, { "2a00::2" } },
};

struct dns_answer *dns_ask(struct peer *resolver, const void *owner, const char *name, enum dns_type type,
	int stop_fd, int64_t deadline)
{
	struct dns_answer *answer = text_must(talloc_zero(owner, struct dns_answer));

	(void)resolver, (void)stop_fd, (void)deadline;
	answer->why = strcmp(name, "broken.test") == 0 ? "SERVFAIL" : "";
	answer->result = answer->why[0] != '\0' ? DNS_FAILED : DNS_NO_DATA;
	answer->records = text_must(talloc_zero_array(answer, struct dns_record, 3));
	for (size_t i = 0; i < COUNT(zone); i++) {
		if (strcmp(zone[i].name, name) != 0 || zone[i].type != type)
			continue;
		answer->result = DNS_FOUND;
		for (; answer->count < 3 && zone[i].addresses[answer->count] != NULL; answer->count++)
			assert_int_equal(ip_parse(text_of(zone[i].addresses[answer->count]),
						 &answer->records[answer->count].address),
				0);
	}
	return answer;
}

/* The addresses that would be asked. */
int http_get(const struct http *http, const struct http_request *request, const void *owner,
	struct http_answer *ret_answer, char *ret_why)
{
	char text[IP_TEXT_MAX], *all = text_must(talloc_strdup(owner, ""));

	(void)http, (void)ret_why;
	for (size_t i = 0; i < request->address_count; i++)
		all = text_must(talloc_asprintf_append(all, "%s ", ip_format(&request->addresses[i], text)));
	*ret_answer = (struct http_answer){ all, strlen(all) };
	return 0;
}

/* What is asked for `url`, or why not. */
static char *asked(const void *owner, const char *yaml, const char *url, bool configured)
{
	const struct config *config = help_config(yaml);
	const struct fetch_means means = { .rules = &config->fetch, .stop_fd = -1 };
	const struct fetch_order order = {
		.url = url, .configured = configured, .deadline = clock_mono_ms() + 1000
	};
	struct http_answer answer;
	char why[HTTP_WHY_MAX];
	int r = fetch_document(&means, &order, owner, &answer, why);

	config_release(config);
	assert_true(r == 0 || r == ERR_CLOSED || r == ERR_FORMAT);
	return r == 0 ? answer.body : text_must(talloc_strdup(owner, why));
}

#define OPEN   "mail_flow_policies: [{name: open, tls: none}]\n"
#define NOBODY " has no public address, and fetch.allow_networks does not name it"

static void test_7_35_7_43_only_public_addresses_are_asked(void **state)
{
	static const struct {
		const char *url, *asked, *configured; /* NULL = the same where an administrator wrote it */
	} rows[] = {
		{ "http://public.test/x", "8.8.8.8 1.1.1.1 2a00::1 ", NULL },
		{ "https://six.test/", "2a00::2 ", NULL },
		{ "http://mixed.test:8080/", "8.8.4.4 ", NULL },
		{ "http://inside.test/", "inside.test" NOBODY, NULL },
		{ "http://127.0.0.1/", "127.0.0.1" NOBODY, "127.0.0.1 " },
		{ "http://169.254.169.254/latest/meta-data", "169.254.169.254" NOBODY, "169.254.169.254 " },
		{ "http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1" NOBODY, "::ffff:10.0.0.1 " },
		{ "http://[fe80::1]/", "fe80::1" NOBODY, "fe80::1 " },
		{ "http://8.8.8.8/", "8.8.8.8 ", NULL },
		{ "http://127.1/", "it is no http or https URL", NULL },
		{ "file:///etc/passwd", "it is no http or https URL", NULL },
		{ "http://nobody.test/", "nobody.test has no address", NULL },
		{ "http://broken.test/", "no address of broken.test: SERVFAIL", NULL },
	};
	void *scratch = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_string_equal(asked(scratch, OPEN, rows[i].url, false), rows[i].asked);
		assert_string_equal(asked(scratch, OPEN, rows[i].url, true),
			rows[i].configured == NULL ? rows[i].asked : rows[i].configured);
	}
	talloc_free(scratch);
}

static void test_7_43_networks_that_a_setting_allows(void **state)
{
	static const char yaml[] = OPEN "fetch: {allow_networks: [127.0.0.0/8, '::1']}\n";
	void *scratch = talloc_new(NULL);

	(void)state;
	assert_string_equal(asked(scratch, yaml, "http://127.0.0.1/", false), "127.0.0.1 ");
	assert_string_equal(
		asked(scratch, yaml, "http://mixed.test/", false), "127.0.0.1 8.8.4.4 ::ffff:127.0.0.1 ");
	assert_string_equal(asked(scratch, yaml, "http://inside.test/", false), "::1 ");
	assert_string_equal(asked(scratch, yaml, "http://10.0.0.1/", false), "10.0.0.1" NOBODY);
	talloc_free(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_7_35_7_43_only_public_addresses_are_asked),
		cmocka_unit_test(test_7_43_networks_that_a_setting_allows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
