/* Sections of one configuration in another: by lines, so that errors name the lines of the file that is tried. */
#include "config/overlay.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <talloc.h>

static const char *const keys[] = { "destinations", "tls" };

static void expect(const char *base, const char *over, const char *wanted, size_t wanted_found)
{
	size_t found;
	char *text = overlay_text(NULL, text_of(base), text_of(over), keys, 2, &found);

	assert_string_equal(text, wanted);
	assert_int_equal(found, wanted_found);
	talloc_free(text);
}

static void test_sections_are_replaced(void **state)
{
	(void)state;
	expect("a: 1\ndestinations:\n- {domain: x}\n\n  # c\n- {domain: y}\nb: 2\n", "destinations: []\n",
		"destinations: []\n\na: 1\nb: 2\n", 1);
	expect("a: 1\ntls: {x: 1}\ntls_profiles: []\n", "# why\nhostname: x\n  deep\ntls:\n  y: 2",
		"\n\n\ntls:\n  y: 2\na: 1\ntls_profiles: []\n", 1);
	expect("a: 1", "tls: {}\ndestinations: []\n", "tls: {}\ndestinations: []\n\na: 1", 2);
	expect("tls: 1\ntls: 2\nb: [\n]\n", "tls: {}\ntls: {}\n", "tls: {}\ntls: {}\n\nb: [\n]\n", 1);
}

static void test_nothing_to_replace(void **state)
{
	(void)state;
	expect("a: 1\ntls: 2\n", "", "\na: 1\ntls: 2\n", 0);
	expect("a: 1\n", " tls: 2\n{tls: 3}\n", "\n\n\na: 1\n", 0);
	expect("", "no colon\n", "\n\n", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sections_are_replaced),
		cmocka_unit_test(test_nothing_to_replace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
