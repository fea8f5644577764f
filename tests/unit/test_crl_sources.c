/* Setting crl_sources: the example reads as it stands, schedules mean what they say, and mistakes are named. */
#include "config/crl_sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"

#define BASE                                                                                                 \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"                                       \
	"mail_flow_policies: [{name: open, tls: none}]\n"                                                    \
	"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"

static const struct config *read_yaml(const char *more, struct problems *problems)
{
	struct bundle *bundle = bundle_new(NULL, 1);
	char *yaml = text_must(talloc_asprintf(bundle, BASE "%s", more));

	bundle_add(bundle, "x.yaml", text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "x.yaml", problems);
	talloc_free(bundle);
	return config;
}

static void test_A62_A63_the_example(void **state)
{
	struct problems *problems = problems_new(NULL);
	const struct config *config = read_yaml(
		"crl_sources:\n"
		"  check: {inbound_smtp: true, outbound_smtp: false, web: false}\n"
		"  sources:\n"
		"    - {name: ca, type: asn1, primary: \"http://127.0.0.1:8889/ca.crl\", secondary: \"http://127.0.0.1:8890/ca.crl\", schedule: every 1h, enabled: true}\n"
		"    - {name: other, primary: \"https://crl.example.com/certs.crl\"}\n",
		problems);

	(void)state;
	assert_non_null(config);
	assert_int_equal(problems->warning_count, 1); /* inbound_smtp has no effect yet */
	assert_true(config->crl.check.inbound_smtp);
	assert_false(config->crl.check.outbound_smtp);
	assert_false(config->crl.strict);
	assert_int_equal(config->crl.max_size, 16 << 20);
	assert_int_equal(config->crl.source_count, 2);
	const struct config_crl_source *ca = &config->crl.sources[0], *other = &config->crl.sources[1];
	assert_int_equal(ca->type, CONFIG_CRL_ASN1);
	assert_string_equal(ca->primary, "http://127.0.0.1:8889/ca.crl");
	assert_string_equal(ca->secondary, "http://127.0.0.1:8890/ca.crl");
	assert_int_equal(ca->timetable.kind, TIMETABLE_EVERY);
	assert_int_equal(ca->timetable.every_ms, 3600 * 1000);
	assert_true(ca->enabled && other->enabled);
	assert_null(other->secondary);
	assert_int_equal(other->timetable.kind, TIMETABLE_DAILY); /* the default */
	assert_int_equal(other->timetable.minute, 180);

	char *shown = config_show(problems, config, false);
	assert_non_null(strstr(shown, "schedule: \"every 1h\""));
	config_release(config);

	config = read_yaml("", problems);
	assert_int_equal(config->crl.source_count, 0);
	assert_false(
		config->crl.check.inbound_smtp || config->crl.check.outbound_smtp || config->crl.check.web);
	assert_false(crl_sources_wanted(config));
	config_release(config);
	talloc_free(problems);
}

static void test_A65_schedules(void **state)
{
	static const struct {
		const char *text;
		struct timetable want; /* every_ms 0 of TIMETABLE_EVERY = refused */
	} cases[] = {
		{ "every 1h", { TIMETABLE_EVERY, 3600000, 0, 0 } },
		{ "every 90m", { TIMETABLE_EVERY, 5400000, 0, 0 } },
		{ "every 1m", { TIMETABLE_EVERY, 60000, 0, 0 } },
		{ "every  30d", { TIMETABLE_EVERY, INT64_C(2592000000), 0, 0 } },
		{ "Daily 23:59", { TIMETABLE_DAILY, 0, 0, 23 * 60 + 59 } },
		{ "daily 00:00", { TIMETABLE_DAILY, 0, 0, 0 } },
		{ "weekly sunday 03:00", { TIMETABLE_WEEKLY, 0, 0, 180 } },
		{ "weekly Saturday 03:30", { TIMETABLE_WEEKLY, 0, 6, 210 } },
		{ "", { 0 } },
		{ "every", { 0 } },
		{ "every 59s", { 0 } },
		{ "every 31d", { 0 } },
		{ "every 1h 03:00", { 0 } },
		{ "every hour", { 0 } },
		{ "daily", { 0 } },
		{ "daily 3:00", { 0 } },
		{ "daily 24:00", { 0 } },
		{ "daily 12:60", { 0 } },
		{ "daily 12-30", { 0 } },
		{ "daily 12:30 utc", { 0 } },
		{ "weekly 03:00", { 0 } },
		{ "weekly someday 03:00", { 0 } },
		{ "monthly 1 03:00", { 0 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct config_crl_source source = { .name = NULL };
		char *problem = crl_sources_read_schedule(NULL, text_of(cases[i].text), &source);
		const bool good = cases[i].want.kind != TIMETABLE_EVERY || cases[i].want.every_ms != 0;

		if ((problem == NULL) != good)
			fail_msg("%s: %s", cases[i].text, problem);
		assert_int_equal(source.timetable.kind, cases[i].want.kind);
		assert_int_equal(source.timetable.every_ms, cases[i].want.every_ms);
		assert_int_equal(source.timetable.weekday, cases[i].want.weekday);
		assert_int_equal(source.timetable.minute, cases[i].want.minute);
		talloc_free(problem);
	}
}

#define ONE(keys) "crl_sources: {sources: [{name: a, primary: 'http://a.test/x'}, {" keys "}]}"

static void test_mistakes_are_named(void **state)
{
	static const struct {
		const char *yaml, *key, *words;
	} cases[] = {
		{ ONE("name: b"), "crl_sources.sources[b].primary", "is missing" },
		{ ONE("primary: 'http://a.test/x'"), "crl_sources.sources[2].name", "is missing" },
		{ ONE("name: A, primary: 'http://a.test/x'"), "crl_sources.sources[A].name", "stands twice" },
		{ ONE("name: ../a, primary: 'http://a.test/x'"), "crl_sources.sources[2].name", "letters" },
		{ ONE("name: b, primary: 'ldap://a.test/x'"), "crl_sources.sources[b].primary", "http" },
		{ ONE("name: b, primary: 'file:///etc/passwd'"), "crl_sources.sources[b].primary", "http" },
		{ ONE("name: b, primary: 'http://u:p@a.test/'"), "crl_sources.sources[b].primary", "user" },
		{ ONE("name: b, primary: 'http://a.test/', secondary: x"), "crl_sources.sources[b].secondary",
			"http" },
		{ ONE("name: b, primary: 'http://a.test/', schedule: sometimes"),
			"crl_sources.sources[b].schedule", "weekly sunday 03:00" },
		{ ONE("name: b, primary: 'http://a.test/', type: der"), "crl_sources.sources[b].type",
			"asn1" },
		{ "crl_sources: {max_size: 65MiB}", "crl_sources.max_size", "64MiB" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct problems *problems = problems_new(NULL);

		assert_null(read_yaml(cases[i].yaml, problems));
		assert_int_equal(problems->count, 1);
		if (strcmp(problems->list[0].key, cases[i].key) != 0 ||
			strstr(problems->list[0].text, cases[i].words) == NULL)
			fail_msg("%s: %s: %s", cases[i].yaml, problems->list[0].key, problems->list[0].text);
		talloc_free(problems);
	}
}

static void test_what_has_no_effect_is_warned_of(void **state)
{
	struct problems *problems = problems_new(NULL);
	const struct config *config =
		read_yaml("crl_sources: {check: {web: true, outbound_smtp: true}, strict: true}", problems);

	(void)state;
	assert_non_null(config);
	assert_int_equal(problems->warning_count, 2);
	config_release(config);
	talloc_free(problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_A62_A63_the_example),
		cmocka_unit_test(test_A65_schedules),
		cmocka_unit_test(test_mistakes_are_named),
		cmocka_unit_test(test_what_has_no_effect_is_warned_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
