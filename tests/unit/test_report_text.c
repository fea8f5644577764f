/* What peers and senders wrote, as it stands in a report. */
#include "wire/report_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

static void is(const char *name, const char *got, size_t len, const char *want)
{
	if (!text_equal((struct text){ got, len }, text_of(want)))
		fail_msg("%s: \"%.*s\", not \"%s\"", name, (int)len, got, want);
}

static const struct {
	const char *name;
	struct text t;
	enum report_text_form form;
	const char *want;
} lines[] = {
	{ "plain text", TEXT("550 5.1.1 no such user"), REPORT_TEXT_ASCII, "550 5.1.1 no such user" },
	{ "nothing", TEXT(""), REPORT_TEXT_UTF8, "" },
	{ "2.28 line ends", TEXT("550 a\r\nAction: delivered\n\rx"), REPORT_TEXT_UTF8,
		"550 a??Action: delivered??x" },
	{ "2.28 NUL and other controls", TEXT("a\0b\t\x1b[31m\x7f"), REPORT_TEXT_UTF8, "a?b??[31m?" },
	{ "2.28 HTML", TEXT("550 <script>x</script><img src=a@b>"), REPORT_TEXT_ASCII,
		"550 (script)x(/script)(img src=a@b)" },
	{ "an address stays", TEXT("550 <bob.x+y@a-b.test>: no"), REPORT_TEXT_ASCII,
		"550 <bob.x+y@a-b.test>: no" },
	{ "two signs are no address", TEXT("<a@b@c>"), REPORT_TEXT_ASCII, "(a@b@c)" },
	{ "an address without an end", TEXT("<a@b"), REPORT_TEXT_ASCII, "(a@b" },
	{ "2.28 8 bit in ASCII", TEXT("J\xc3\xbcrgen"), REPORT_TEXT_ASCII, "J??rgen" },
	{ "8 bit escapes in addresses only", TEXT("J\xc3\xbcrgen"), REPORT_TEXT_ESCAPED, "J??rgen" },
	{ "UTF-8 as it is", TEXT("J\xc3\xbcrgen"), REPORT_TEXT_UTF8, "J\xc3\xbcrgen" },
	{ "no UTF-8", TEXT("J\xfcrgen\xc3"), REPORT_TEXT_UTF8, "J?rgen?" },
	{ "C1 controls, line separators, directions", TEXT("\xc2\x85\xe2\x80\xa8\xe2\x80\xaex"),
		REPORT_TEXT_UTF8, "????????x" },
};

static void test_2_28_one_harmless_line(void **state)
{
	char out[200];

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		is(lines[i].name, out, report_text_line(lines[i].t, lines[i].form, out), lines[i].want);
}

static void test_2_28_a_line_of_a_header(void **state)
{
	static const struct text t = TEXT("From:\t\"J\xc3\xbc\" <a$b=@c>\r\nX: \0y");
	char out[100];

	(void)state;
	is("ASCII", out, report_text_header(t, REPORT_TEXT_ASCII, out), "From:\t\"J??\" <a$b=@c>??X: ?y");
	is("UTF-8", out, report_text_header(t, REPORT_TEXT_UTF8, out),
		"From:\t\"J\xc3\xbc\" <a$b=@c>??X: ?y");
}

static const struct {
	const char *name;
	struct text t;
	enum report_text_form form;
	const char *want;
} recipients[] = {
	{ "ASCII", TEXT("a+b@c.test"), REPORT_TEXT_ASCII, "rfc822; a+b@c.test" },
	{ "ASCII stays rfc822", TEXT("a@c.test"), REPORT_TEXT_UTF8, "rfc822; a@c.test" },
	{ "ASCII needs no escapes", TEXT("a+b=c\\@c.test"), REPORT_TEXT_ESCAPED, "rfc822; a+b=c\\@c.test" },
	{ "2.28 UTF-8 to one who knows it", TEXT("\xc3\xbc@c.test"), REPORT_TEXT_UTF8,
		"utf-8; \xc3\xbc@c.test" },
	{ "2.28 UTF-8 in seven bits", TEXT("\xc3\xbc+\\@\xf0\x9f\x98\x80.test"), REPORT_TEXT_ESCAPED,
		"utf-8; \\x{FC}\\x{2B}\\x{5C}@\\x{1F600}.test" },
	{ "2.28 UTF-8 to one who does not", TEXT("\xc3\xbc@c.test"), REPORT_TEXT_ASCII, "rfc822; ??@c.test" },
	{ "line ends", TEXT("a\r\nAction: x@c"), REPORT_TEXT_ESCAPED, "rfc822; a??Action: x@c" },
};

static void test_2_27_final_recipients(void **state)
{
	char out[REPORT_TEXT_ADDRESS_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(recipients); i++)
		is(recipients[i].name, out, report_text_recipient(recipients[i].t, recipients[i].form, out),
			recipients[i].want);
}

static const struct {
	const char *name;
	struct text t;
	enum report_text_form form;
	const char *want;
} originals[] = {
	{ "plain", TEXT("rfc822;bob@a.test"), REPORT_TEXT_ASCII, "rfc822; bob@a.test" },
	{ "xtext", TEXT("rfc822;b+2Bo+3Db@a.test"), REPORT_TEXT_ASCII, "rfc822; b+o=b@a.test" },
	{ "2.28 line ends in it", TEXT("rfc822;b+0D+0AAction:+20x"), REPORT_TEXT_ASCII,
		"rfc822; b??Action: x" },
	{ "2.28 HTML in it", TEXT("rfc822;+3Cb>@a"), REPORT_TEXT_ASCII, "rfc822; (b)@a" },
	{ "another type", TEXT("x400;/c=us+2F"), REPORT_TEXT_ASCII, "" },
	{ "another type, well written", TEXT("x400;/c+3Dus+2F"), REPORT_TEXT_ASCII, "x400; /c=us/" },
	{ "UTF-8 in xtext, as Postfix writes it", TEXT("rfc822;+C3+BC@a.test"), REPORT_TEXT_UTF8,
		"utf-8; \xc3\xbc@a.test" },
	{ "UTF-8 in xtext, seven bits", TEXT("rfc822;+C3+BC@a.test"), REPORT_TEXT_ESCAPED,
		"utf-8; \\x{FC}@a.test" },
	{ "UTF-8 in xtext, but no SMTPUTF8", TEXT("rfc822;+C3+BC@a.test"), REPORT_TEXT_ASCII,
		"rfc822; ??@a.test" },
	{ "utf-8 with escapes", TEXT("utf-8;\\x{FC}@a.test"), REPORT_TEXT_ASCII, "utf-8; \\x{FC}@a.test" },
	{ "utf-8 as it is", TEXT("utf-8;\xc3\xbc@a.test"), REPORT_TEXT_UTF8, "utf-8; \xc3\xbc@a.test" },
	{ "utf-8 as it is, seven bits", TEXT("utf-8;\xc3\xbc@a.test"), REPORT_TEXT_ESCAPED,
		"utf-8; \\x{FC}@a.test" },
	{ "utf-8 as it is, but no SMTPUTF8", TEXT("utf-8;\xc3\xbc@a.test"), REPORT_TEXT_ASCII,
		"rfc822; ??@a.test" },
	{ "cut xtext", TEXT("rfc822;a+2"), REPORT_TEXT_ASCII, "" },
	{ "no type", TEXT(";a@b"), REPORT_TEXT_ASCII, "" },
	{ "no semicolon", TEXT("rfc822"), REPORT_TEXT_ASCII, "" },
	{ "nothing", TEXT(""), REPORT_TEXT_ASCII, "" },
};

static void test_2_27_original_recipients_are_decoded_and_made_safe(void **state)
{
	char out[REPORT_TEXT_ADDRESS_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(originals); i++)
		is(originals[i].name, out, report_text_orcpt(originals[i].t, originals[i].form, out),
			originals[i].want);
}

static void test_the_longest_fit(void **state)
{
	char out[REPORT_TEXT_ADDRESS_MAX], longest[513];

	(void)state;
	memset(longest, '\\', sizeof longest);
	memcpy(longest, "\xc3\xbc", 2);
	assert_int_equal(
		report_text_recipient((struct text){ longest, sizeof longest }, REPORT_TEXT_ESCAPED, out),
		sizeof "utf-8; " - 1 + 6 + 510 * 6);
	memcpy(longest, "rfc822;", 7);
	assert_int_equal(report_text_orcpt((struct text){ longest, 513 }, REPORT_TEXT_ASCII, out), 0);
	assert_int_equal(report_text_orcpt((struct text){ longest, 512 }, REPORT_TEXT_ASCII, out), 513);
}

static void test_envelope_ids(void **state)
{
	char out[100];

	(void)state;
	is("plain", out, report_text_envid(TEXT("QQ314159"), out), "QQ314159");
	is("xtext", out, report_text_envid(TEXT("a+20b+0D+0AAction:+20<x>"), out), "a b??Action: (x)");
	is("none", out, report_text_envid(TEXT("a+2"), out), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_28_one_harmless_line),
		cmocka_unit_test(test_2_28_a_line_of_a_header),
		cmocka_unit_test(test_2_27_final_recipients),
		cmocka_unit_test(test_2_27_original_recipients_are_decoded_and_made_safe),
		cmocka_unit_test(test_the_longest_fit),
		cmocka_unit_test(test_envelope_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
