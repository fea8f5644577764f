/* Names beyond ASCII: what they become, and why some become nothing. */
#include "config/idn.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "test_help.h"

static void test_8_09_names_beyond_ascii_become_a_labels(void **state)
{
	static const struct {
		const char *name, *ascii;
	} cases[] = {
		{ "mail.example.com", "mail.example.com" },
		{ "Mail.Example.COM", "Mail.Example.COM" }, /* who compares does so without case */
		{ "_odd_.example", "_odd_.example" },	    /* ASCII is for others to judge */
		{ "", "" },
		{ "bücher.example", "xn--bcher-kva.example" },
		{ "BÜCHER.Example", "xn--bcher-kva.example" },
		{ "bu\xcc\x88"
		  "cher.example",
			"xn--bcher-kva.example" },	       /* u and diaeresis */
		{ "straße.example", "xn--strae-oqa.example" }, /* non-transitional: not strasse */
		{ "βόλος.example", "xn--nxasmm1c.example" },
		{ "*.bücher.example", "*.xn--bcher-kva.example" },
		{ "例え。テスト", "xn--r8jz45g.xn--zckzah" }, /* an ideographic full stop is a dot */
		{ "www.xn--bcher-kva.bücher", "www.xn--bcher-kva.xn--bcher-kva" },
	};
	const char *why;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *ascii = idn_to_ascii(NULL, text_of(cases[i].name), &why);

		if (ascii == NULL)
			fail_msg("%s: %s", cases[i].name, why);
		assert_string_equal(ascii, cases[i].ascii);
		talloc_free(ascii);
	}
}

static void test_8_09_what_is_no_name_is_refused_with_the_reason(void **state)
{
	static const char *const cases[] = {
		"bücher\xff.example", /* no UTF-8 */
		"\xcc\x88"
		"bucher.example", /* begins with a combining mark */
		"b\xe2\x80\x8d"
		"\xc3\xbc.example", /* a joiner where none belongs */
		"bü cher.example",
		"bü_cher.example",
		"bü*.example",
		"\xef\xbc\x8a.bücher.example", /* a wide asterisk */
		"\xef\xbc\xbf"
		"x.bücher.example", /* a wide underscore */
		"-bü.example",
		"♥.example",		    /* a symbol: in IDNA2003 it was a letter */
		"\xd7\x90\xc3\xbc.example", /* right to left and left to right in one label */
		"ääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääääää.example",
	};
	void *owner = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *why = "";
		char *ascii = idn_to_ascii(owner, text_of(cases[i]), &why);

		if (ascii != NULL)
			fail_msg("%s became %s", cases[i], ascii);
		assert_true(strlen(why) > 10);
	}
	talloc_free(owner);
}

static void test_8_09_host_names_of_the_configuration_are_converted(void **state)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(problems, 1);
	const struct config *config =
		help_config("routes: [{domain: a.test, next_hop: 'mail.bücher.example', "
			    "helo: gw.bücher.example}]\nmail_flow_policies: [{name: open, tls: none}]\n");

	(void)state;
	assert_string_equal(config->routes[0].helo, "gw.xn--bcher-kva.example");
	assert_string_equal(config->routes[0].host, "mail.xn--bcher-kva.example");
	config_release(config);

	bundle_add(bundle, "test.yaml",
		TEXT("hostname: ♥.example\nstate_dir: s\nruntime_dir: r\nroutes:\n"
		     "  - {domain: a.test, next_hop: '♥.example:25'}\n  - {domain: b.test, next_hop: '192.0.2.1', helo: bücher}\n"),
		BUNDLE_ALL);
	assert_null(config_read(bundle, "test.yaml", problems));
	const char *const wanted[] = { "hostname: `♥.example` cannot be a host name: ",
		"routes[a.test].next_hop: `♥.example:25` cannot be a next hop: ",
		"routes[b.test].helo: expected a full host name such as mail.example.com; found `bücher`" };
	for (size_t i = 0; i < COUNT(wanted); i++) {
		bool said = false;

		for (size_t n = 0; n < problems->count; n++)
			said = said ||
			       strstr(problems_format(problems, &problems->list[n]), wanted[i]) != NULL;
		if (!said)
			fail_msg("nobody says `%s`", wanted[i]);
	}
	talloc_free(problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_8_09_names_beyond_ascii_become_a_labels),
		cmocka_unit_test(test_8_09_what_is_no_name_is_refused_with_the_reason),
		cmocka_unit_test(test_8_09_host_names_of_the_configuration_are_converted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
