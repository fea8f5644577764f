/* The list of recipients: what is wrong with a line (config/recipient_list.c), and who is on it (session/recipients.c). */
#include "config/recipient_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/recipients.h"
#include "test_help.h"

#define YAML                                                                                                 \
	"mail_flow_policies: [{name: open, tls: none}]\naccepted_domains: [good.test, two.test]\n"           \
	"routes: [{domain: default, next_hop: '127.0.0.1:9'}]\nrecipients: {file: people}\n"

#define IS_NO(at, entry)                                                                                     \
	"people:" at ": recipients.file: `" entry                                                            \
	"` is no mail address: write one on a line, such as bob@example.com, or @example.com for every "     \
	"address of the domain\n"
#define IS_ELSEWHERE(at, entry)                                                                              \
	"people:" at ": recipients.file: `" entry                                                            \
	"` is not in a domain of accepted_domains: add the domain there, or remove this line\n"
#define HAS_MORE(at, entry)                                                                                  \
	"people:" at ": recipients.file: something stands behind `" entry                                    \
	"`: write one address on a line, and comments on lines of their own that start with #\n"
#define IS_EMPTY                                                                                             \
	"people: recipients.file: has no address, so all mail would be refused: write one on a line, such "  \
	"as bob@example.com, or leave recipients.file out\n"

static const struct {
	const char *name, *list, *want;
} cases[] = {
	{ "addresses, domains, comments, blanks",
		"# us\nBob@GOOD.test\r\n\n  \t\n @two.test \n\"a b\"@good.test", "" },
	{ "an empty file", "", IS_EMPTY },
	{ "comments alone", "# bob@good.test\n\n  # x\n", IS_EMPTY },
	{ "no address", "bob@good.test\nbob\n@\n\n@two..test\n",
		IS_NO("2", "bob") IS_NO("3", "@") IS_NO("5", "@two..test") },
	{ "two on a line", "bob@good.test,carol@good.test\nbob@good.test carol@good.test\n",
		IS_NO("1", "bob@good.test,carol@good.test") HAS_MORE("2", "bob@good.test") },
	{ "junk behind", "bob@good.test\t# our Bob\n@good.test OK\n",
		HAS_MORE("1", "bob@good.test") HAS_MORE("2", "@good.test") },
	{ "another domain", "bob@sub.good.test\n@elsewhere.test\n",
		IS_ELSEWHERE("1", "bob@sub.good.test") IS_ELSEWHERE("2", "@elsewhere.test") },
	{ "bytes that no terminal should have", "\x1b[31m\xc3\n", IS_NO("1", "?[31m?") },
	{ "eleven bad lines", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n",
		IS_NO("1", "1") IS_NO("2", "2") IS_NO("3", "3") IS_NO("4", "4") IS_NO("5", "5")
			IS_NO("6", "6") IS_NO("7", "7") IS_NO("8", "8") IS_NO("9", "9") IS_NO(
				"10", "10") "people: recipients.file: 1 more of its lines cannot be used\n" },
};

static void test_each_list(void **state)
{
	const struct config *config = help_config(YAML);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct problems *problems = problems_new(NULL);
		char *said = text_copy(problems, TEXT(""));

		size_t count = recipient_list_check(config, text_of(cases[i].list), problems);
		assert_int_equal(count, problems->count);
		for (size_t n = 0; n < problems->count; n++)
			said = text_must(talloc_asprintf_append(
				said, "%s\n", problems_format(problems, &problems->list[n])));
		if (strcmp(said, cases[i].want) != 0)
			fail_msg("%s:\n%s", cases[i].name, said);
		talloc_free(problems);
	}
	config_release(config);
}

static void test_who_is_on_the_list(void **state)
{
	struct recipients *recipients =
		recipients_new(NULL, TEXT("# us\r\nBob@good.test\r\n\n @Two.test\ncarol@good.test"));

	(void)state;
	assert_true(recipients_has(recipients, TEXT("bob@GOOD.test")));
	assert_true(recipients_has(recipients, TEXT("carol@good.test")));
	assert_true(recipients_has(recipients, TEXT("anybody@two.test")));
	assert_false(recipients_has(recipients, TEXT("dave@good.test")));
	assert_false(recipients_has(recipients, TEXT("# us")));
	talloc_free(recipients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_list),
		cmocka_unit_test(test_who_is_on_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
