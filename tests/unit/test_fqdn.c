/* The form of fully qualified names: a table of names, then laws over single bytes and all lengths. */
#include "wire/fqdn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#define X10 "xxxxxxxxxx"
#define X63 X10 X10 X10 X10 X10 X10 "xxx"

static void test_B18_names_that_are_fully_qualified_and_others(void **state)
{
	static const struct {
		const char *name, *word; /* word: of the flaw; NULL = none */
	} cases[] = {
		{ "gw.good.test", NULL },
		{ "good.test", NULL },
		{ "GW.Good.TEST", NULL },
		{ "a.b", NULL },
		{ "1.good.test", NULL },
		{ "4-5.a1.t3", NULL },
		{ "1.2.3.4.5.test", NULL },
		{ "xn--mnchen-3ya.xn--p1ai", NULL },
		{ "*.good.test", NULL },
		{ "*.a.good.test", NULL },
		{ X63 ".test", NULL },
		{ "", "empty label" },
		{ ".", "empty label" },
		{ "*.", "empty label" },
		{ "good.test.", "empty label" },
		{ ".good.test", "empty label" },
		{ "gw..test", "empty label" },
		{ "gateway", "one label" },
		{ "*.test", "top level" },
		{ "*", "`*`" },
		{ "*good.test", "`*`" },
		{ "g*.good.test", "`*`" },
		{ "gw.*.test", "`*`" },
		{ "*.*.good.test", "`*`" },
		{ "-gw.good.test", "begins or ends" },
		{ "gw-.good.test", "begins or ends" },
		{ "gw.good.-", "begins or ends" },
		{ "x" X63 ".test", "63 bytes" },
		{ "127.0.0.1", "address" },
		{ "gw.good.1", "address" },
		{ "*.0.0.1", "address" },
		{ "::1", "character" },
		{ "[127.0.0.1]", "character" },
		{ "2001:db8::1.test", "character" },
		{ "_25._tcp.good.test", "character" },
		{ "g w.good.test", "character" },
		{ "m\xc3\xbcnchen.test", "character" },
		{ "gw.good.test\n", "character" },
		{ "user@good.test", "character" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *flaw = fqdn_flaw(text_of(cases[i].name));

		if ((flaw == NULL) != (cases[i].word == NULL) ||
			(flaw != NULL && strstr(flaw, cases[i].word) == NULL))
			fail_msg("`%s`: %s", cases[i].name, flaw == NULL ? "was taken" : flaw);
	}
	assert_non_null(fqdn_flaw((struct text){ "gw\0.good.test", 13 }));
}

static void test_B18_each_byte_in_a_label(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char name[] = "a?a.good.test";
		const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				  (c >= '0' && c <= '9') || c == '-' || c == '.';

		name[1] = (char)c;
		if ((fqdn_flaw((struct text){ name, 13 }) == NULL) != good)
			fail_msg("byte %d", c);
	}
}

static void test_B18_253_bytes_and_no_more(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'a', sizeof name);
	for (size_t i = 49; i < sizeof name; i += 50)
		name[i] = '.';
	for (size_t len = 52; len < sizeof name; len++) {
		if (name[len - 1] == '.')
			continue;
		if ((fqdn_flaw((struct text){ name, len }) == NULL) != (len <= 253))
			fail_msg("%zu bytes", len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B18_names_that_are_fully_qualified_and_others),
		cmocka_unit_test(test_B18_each_byte_in_a_label),
		cmocka_unit_test(test_B18_253_bytes_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
