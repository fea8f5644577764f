/* Files of trust anchors as tools write them, and what must not pass for one. */
#include "config/trust_anchors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/config.h"
#include "test_help.h"

static void test_what_tools_write_is_read(void **state)
{
	static const char file[] =
		"; autotrust trust anchor file\n"
		";;id: . 1\n"
		"$TTL 300\n"
		"\n"
		".\t172800\tIN\tDNSKEY\t257 3 8 AwEAAa+/ == ;{id = 20326 (ksk)} ;;state=2 [  VALID  ]\n"
		".\t172800\tIN\tDNSKEY\t385 3 8 AwEAAb ;;state=4 [ REVOKED ]\r\n"
		"Good.TEST. IN 3600 DS 12345 13 2 (\n"
		"   49df92fd ; half of it\n"
		"   b390fb4d )\n"
		"test DS 1 13 2 00ff";
	const char *why = "";
	struct trust_anchors *anchors = trust_anchors_parse(NULL, TEXT(file), &why);

	(void)state;
	assert_string_equal(why, "");
	assert_int_equal(anchors->count, 3);
	assert_string_equal(anchors->list[0].zone, "");
	assert_string_equal(anchors->list[0].record, ". IN DNSKEY 257 3 8 AwEAAa+/==");
	assert_string_equal(anchors->list[1].zone, "good.test");
	assert_string_equal(anchors->list[1].record, "good.test. IN DS 12345 13 2 49df92fdb390fb4d");
	assert_string_equal(anchors->list[2].record, "test. IN DS 1 13 2 00ff");
	talloc_free(anchors);
}

static void test_what_is_no_anchor_is_refused(void **state)
{
	static const struct {
		const char *file, *word;
	} cases[] = {
		{ "", "has no trust anchor" },
		{ "; nothing\n\n", "has no trust anchor" },
		{ ". IN DNSKEY 385 3 8 AwEAAb\n", "has no trust anchor" }, /* revoked */
		{ "test. IN DS 1 13 2 00ff\ntest. IN A 192.0.2.1\n", "line 2" },
		{ "\ntest. IN DS 1 13 2\n", "line 2" },
		{ "test. IN DS 1 13 2 00f\n", "line 1" },
		{ "test. IN DS 1 13 2 00zz\n", "line 1" },
		{ "test. IN DS 65536 13 2 00ff\n", "line 1" },
		{ "test. IN DS -1 13 2 00ff\n", "line 1" },
		{ "test. IN DNSKEY 1 3 8 AwEAAb\n", "line 1" }, /* no zone key */
		{ "test. IN DNSKEY 257 2 8 AwEAAb\n", "line 1" },
		{ "test. IN DNSKEY 257 3 8 AwE*\n", "line 1" },
		{ "te!st. IN DS 1 13 2 00ff\n", "line 1" },
		{ "DS 1 13 2 00ff\n", "line 1" },
		{ "-----BEGIN CERTIFICATE-----\n", "line 1" },
		{ "test. IN DS ( 1 13 2\n\n", "line 1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *scratch = talloc_new(NULL);
		const char *why = "";

		if (trust_anchors_parse(scratch, text_of(cases[i].file), &why) != NULL ||
			strstr(why, cases[i].word) == NULL)
			fail_msg("case %zu: %s", i, why);
		talloc_free(scratch);
	}
}

static void test_without_a_file_the_root_is_trusted(void **state)
{
	const struct config *config = help_config("mail_flow_policies: [{name: open}]\n");
	struct bundle *bundle = bundle_new(NULL, 1);
	const char *why;
	struct trust_anchors *anchors = trust_anchors_of(bundle, config, bundle, &why);

	(void)state;
	assert_int_equal(anchors->count, 2);
	for (size_t i = 0; i < anchors->count; i++)
		assert_string_equal(anchors->list[i].zone, "");
	assert_non_null(strstr(anchors->list[0].record, " 20326 8 2 E06D44B8"));
	assert_non_null(strstr(anchors->list[1].record, " 38696 8 2 683D2D0A"));
	talloc_free(bundle);
	config_release(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_tools_write_is_read),
		cmocka_unit_test(test_what_is_no_anchor_is_refused),
		cmocka_unit_test(test_without_a_file_the_root_is_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
