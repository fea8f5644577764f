/* Whom we trust: in general, and for one destination (pki/trust.c, config/trust_files.c). */
#include "pki/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "certificates.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/trust_files.h"

#define BASE                                                                                                 \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"                                       \
	"mail_flow_policies: [{name: open, tls: none}]\n"                                                    \
	"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"

static struct certificates made;

/* `count` authorities as PEM. */
static struct text authorities_of(unsigned count)
{
	char *pem = talloc_strdup(made.scratch, "");

	for (unsigned i = 0; i < count; i++)
		pem = talloc_asprintf_append(pem, "%s",
			certificates_make(
				&made, (struct certificate_plan){ .cn = "CA", .ca = "critical,CA:TRUE" })
				->pem.at);
	return text_of(pem);
}

/* Each list is known by the number of its authorities. */
enum { SYSTEM = 1, KEPT = 2, CUSTOM = 4, OWN = 8 };

static void test_B82_B84_lists_that_are_off_are_off_for_everybody_but_who_names_a_file(void **state)
{
	static const struct {
		const char *yaml;
		bool system_off, custom_off;
		unsigned all, own;
	} cases[] = {
		{ "", false, false, SYSTEM | KEPT | CUSTOM, OWN },
		{ "", true, false, KEPT | CUSTOM, OWN },
		{ "", false, true, SYSTEM, OWN },
		{ "", true, true, 0, OWN },
		{ ", system: true", false, false, SYSTEM | KEPT | CUSTOM, SYSTEM | OWN },
		{ ", system: true", true, false, KEPT | CUSTOM, OWN },
		{ ", system: true", false, true, SYSTEM, SYSTEM | OWN },
		{ "same", false, false, SYSTEM | KEPT | CUSTOM, CUSTOM },
		{ "same", false, true, SYSTEM, CUSTOM },
		{ "not system", false, false, KEPT | CUSTOM, SYSTEM | OWN },
		{ "not system", false, true, 0, SYSTEM | OWN },
	};
	const struct text lists[] = { authorities_of(SYSTEM), authorities_of(KEPT), authorities_of(CUSTOM),
		authorities_of(OWN) };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const bool same = strcmp(cases[i].yaml, "same") == 0,
			   off = strcmp(cases[i].yaml, "not system") == 0;
		struct bundle *bundle = bundle_new(NULL, 1);
		struct problems *problems = problems_new(bundle);
		char *yaml = talloc_asprintf(bundle,
			BASE "authorities: {system: %s, custom: /custom.pem}\n"
			     "destinations: [{domain: a.test, authorities: {custom: /%s.pem%s}}]\n",
			off ? "false" : "true", same ? "custom" : "own",
			off    ? ", system: true"
			: same ? ""
			       : cases[i].yaml);

		bundle_add(bundle, "x.yaml", text_of(yaml), BUNDLE_ALL);
		bundle_add(bundle, CONFIG_SYSTEM_AUTHORITIES, lists[0], BUNDLE_ALL);
		bundle_add(bundle, TRUST_FILES_KEPT, lists[1], BUNDLE_ALL);
		bundle_add(bundle, "/custom.pem", lists[2], BUNDLE_ALL);
		bundle_add(bundle, "/own.pem", lists[3], BUNDLE_ALL);
		if (cases[i].system_off)
			bundle_add(bundle, "authorities/system-off", TEXT(""), BUNDLE_ALL);
		if (cases[i].custom_off)
			bundle_add(bundle, "authorities/custom-off", TEXT(""), BUNDLE_ALL);
		const struct config *config = config_read(bundle, "x.yaml", problems);
		assert_non_null(config);
		assert_null(config_authorities_for(config, TEXT("b.test")));

		const struct config_authorities *own = config_authorities_for(config, TEXT("a.test"));
		const size_t all_count = trust_count(trust_of(bundle, config, bundle)),
			     own_count = trust_count(trust_of_own(bundle, own, bundle));
		if (all_count != cases[i].all || own_count != cases[i].own)
			fail_msg("case %zu: %zu and %zu", i, all_count, own_count);
		struct trust *again = trust_new(bundle);
		assert_int_equal(trust_add(again, trust_pem_of(bundle, config, bundle)), cases[i].all);
		config_release(config);
		talloc_free(bundle);
	}
}

static void test_B82_files_of_destinations_are_looked_into(void **state)
{
	struct bundle *bundle = bundle_new(NULL, 1);
	struct problems *problems = problems_new(bundle);
	static const char yaml[] =
		BASE "destinations:\n  - {domain: a.test, authorities: {custom: a.pem}}\n"
		     "  - {domain: default, authorities: {custom: b.pem}}\n  - {domain: c.test}\n";

	(void)state;
	bundle_add(bundle, "x.yaml", text_of(yaml), BUNDLE_ALL);
	bundle_add(bundle, "a.pem", TEXT("no PEM\n"), BUNDLE_ALL);
	bundle_add(bundle, "b.pem", authorities_of(1), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "x.yaml", problems);
	assert_non_null(config);
	trust_check(config, bundle, problems);
	assert_int_equal(problems->count, 1);
	assert_string_equal(problems_format(bundle, &problems->list[0]),
		"x.yaml:7: destinations[a.test].authorities.custom: a.pem holds no certificate in PEM form; name a file with the CA certificates to trust");
	assert_int_equal(problems->warning_count, 1); /* it has expired, by the clock of today */
	assert_string_equal(problems->warnings[0].key, "destinations[default].authorities.custom");
	config_release(config);
	talloc_free(bundle);
}

static int set_up(void **state)
{
	(void)state;
	made = (struct certificates){ .scratch = talloc_new(NULL) };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	certificates_free(&made);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B82_B84_lists_that_are_off_are_off_for_everybody_but_who_names_a_file),
		cmocka_unit_test(test_B82_files_of_destinations_are_looked_into),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
