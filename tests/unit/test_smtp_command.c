/* Command lines: the verb, the flaw, and what is taken out of the argument. */
#include "wire/smtp_command.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"

#define N50  "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define N255 N50 N50 N50 N50 N50 "nnnnn"

static const struct {
	const char *name;
	struct text line;
	enum smtp_verb verb;
	enum smtp_flaw flaw;
	const char *argument; /* NULL: not looked at */
} lines[] = {
	{ "EHLO with a name", TEXT("EHLO client.example"), SMTP_EHLO, SMTP_FINE, "client.example" },
	{ "verbs match in any case", TEXT("eHlO x"), SMTP_EHLO, SMTP_FINE, "x" },
	{ "HELO with blanks around its name", TEXT("HELO   x  "), SMTP_HELO, SMTP_FINE, "x" },
	{ "an IPv4 literal is a name", TEXT("EHLO [192.0.2.1]"), SMTP_EHLO, SMTP_FINE, "[192.0.2.1]" },
	{ "1.19 an IPv6 literal is a name", TEXT("EHLO [IPv6:::1]"), SMTP_EHLO, SMTP_FINE, "[IPv6:::1]" },
	{ "a strange name is syntax enough", TEXT("EHLO a..b%0d%0a"), SMTP_EHLO, SMTP_FINE, "a..b%0d%0a" },
	{ "EHLO without a name", TEXT("EHLO"), SMTP_EHLO, SMTP_BAD_SYNTAX, "" },
	{ "EHLO with blanks only", TEXT("EHLO   "), SMTP_EHLO, SMTP_BAD_SYNTAX, "" },
	{ "HELO without a name", TEXT("HELO"), SMTP_HELO, SMTP_BAD_SYNTAX, "" },
	{ "EHLO with two words", TEXT("EHLO a b"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with 255 octets", TEXT("EHLO " N255), SMTP_EHLO, SMTP_FINE, N255 },
	{ "1.19 EHLO with 256 octets", TEXT("EHLO " N255 "n"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with a parenthesis", TEXT("EHLO a)"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with a backslash", TEXT("EHLO a\\r"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with a CR", TEXT("EHLO a\rb"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with a NUL", TEXT("EHLO a\0"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with DEL", TEXT("EHLO a\x7f"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },
	{ "1.19 EHLO with an 8-bit byte", TEXT("EHLO \xc3\xa4"), SMTP_EHLO, SMTP_BAD_SYNTAX, NULL },

	{ "STARTTLS", TEXT("STARTTLS"), SMTP_STARTTLS, SMTP_FINE, "" },
	{ "STARTTLS with trailing blanks", TEXT("STARTTLS  "), SMTP_STARTTLS, SMTP_FINE, "" },
	{ "1.48 STARTTLS with an argument", TEXT("STARTTLS foo"), SMTP_STARTTLS, SMTP_BAD_SYNTAX, "foo" },
	{ "DATA", TEXT("data"), SMTP_DATA, SMTP_FINE, "" },
	{ "DATA with an argument", TEXT("DATA x"), SMTP_DATA, SMTP_BAD_SYNTAX, NULL },
	{ "QUIT", TEXT("QUIT"), SMTP_QUIT, SMTP_FINE, "" },
	{ "QUIT with an argument", TEXT("QUIT now"), SMTP_QUIT, SMTP_BAD_SYNTAX, NULL },
	{ "RSET", TEXT("RSET "), SMTP_RSET, SMTP_FINE, "" },
	{ "1.10 RSET with an argument", TEXT("RSET x"), SMTP_RSET, SMTP_BAD_SYNTAX, NULL },
	{ "1.10 NOOP with an argument", TEXT("NOOP x y"), SMTP_NOOP, SMTP_FINE, "x y" },
	{ "NOOP", TEXT("NOOP"), SMTP_NOOP, SMTP_FINE, "" },
	{ "VRFY", TEXT("VRFY \xc3\xbc@x"), SMTP_VRFY, SMTP_FINE, "\xc3\xbc@x" },
	{ "HELP", TEXT("HELP me"), SMTP_HELP, SMTP_FINE, "me" },

	{ "1.09 an unknown verb", TEXT("FOO bar"), SMTP_UNKNOWN, SMTP_FINE, "bar" },
	{ "1.15 HTTP", TEXT("GET / HTTP/1.1"), SMTP_UNKNOWN, SMTP_FINE, "/ HTTP/1.1" },
	{ "an empty line", TEXT(""), SMTP_UNKNOWN, SMTP_FINE, "" },
	{ "blanks only", TEXT("   "), SMTP_UNKNOWN, SMTP_FINE, "" },
	{ "a blank before the verb", TEXT(" QUIT"), SMTP_UNKNOWN, SMTP_FINE, NULL },
	{ "a verb is a whole word", TEXT("QUITS"), SMTP_UNKNOWN, SMTP_FINE, NULL },
	{ "a verb is not its beginning", TEXT("QUI"), SMTP_UNKNOWN, SMTP_FINE, NULL },
	{ "a verb glued to its argument", TEXT("MAILFROM:<a@b>"), SMTP_UNKNOWN, SMTP_FINE, NULL },
	{ "a verb with a colon", TEXT("MAIL:<a@b>"), SMTP_UNKNOWN, SMTP_FINE, NULL },

	{ "a NUL right behind a verb", TEXT("QUIT\0"), SMTP_QUIT, SMTP_BAD_SYNTAX, NULL },
	{ "a CR right behind a verb", TEXT("DATA\r"), SMTP_DATA, SMTP_BAD_SYNTAX, NULL },
	{ "a NUL in the argument of NOOP", TEXT("NOOP a\0b"), SMTP_NOOP, SMTP_BAD_SYNTAX, NULL },
	{ "a bare LF in the argument of HELP", TEXT("HELP a\nQUIT"), SMTP_HELP, SMTP_BAD_SYNTAX, NULL },
	{ "a tab is a control byte", TEXT("MAIL\tFROM:<a@b>"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "a trailing tab too", TEXT("RSET\t"), SMTP_RSET, SMTP_BAD_SYNTAX, NULL },
	{ "a NUL in an unknown verb", TEXT("FO\0O"), SMTP_UNKNOWN, SMTP_FINE, NULL },

	{ "MAIL alone", TEXT("MAIL"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "MAIL without FROM", TEXT("MAIL <a@b>"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "MAIL TO", TEXT("MAIL TO:<a@b>"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "MAIL without an address", TEXT("MAIL FROM:"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "a blank before the colon", TEXT("MAIL FROM :<a@b>"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "no brackets", TEXT("MAIL FROM:a@b"), SMTP_MAIL, SMTP_BAD_ADDRESS, NULL },
	{ "an open bracket", TEXT("MAIL FROM:<a@b"), SMTP_MAIL, SMTP_BAD_ADDRESS, NULL },
	{ "1.42 an empty quoted local part", TEXT("RCPT TO:<\"\"@x>"), SMTP_RCPT, SMTP_BAD_ADDRESS, NULL },
	{ "1.42 a NUL in the address", TEXT("MAIL FROM:<a@x\0>"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "1.40 an 8-bit address", TEXT("MAIL FROM:<\xc3\xa4@x>"), SMTP_MAIL, SMTP_BAD_ADDRESS, NULL },
	{ "a null recipient", TEXT("RCPT TO:<>"), SMTP_RCPT, SMTP_BAD_ADDRESS, NULL },
	{ "RCPT FROM", TEXT("RCPT FROM:<a@b>"), SMTP_RCPT, SMTP_BAD_SYNTAX, NULL },
	{ "something glued to the path", TEXT("RCPT TO:<a@b>c"), SMTP_RCPT, SMTP_BAD_SYNTAX, NULL },
	{ "a second path", TEXT("RCPT TO:<a@b> <c@d>"), SMTP_RCPT, SMTP_BAD_SYNTAX, NULL },

	{ "1.44 an unknown parameter", TEXT("MAIL FROM:<a@b> FOO=bar"), SMTP_MAIL, SMTP_UNKNOWN_PARAMETER,
		NULL },
	{ "1.44 an unknown parameter without value", TEXT("MAIL FROM:<a@b> SMTPUTF8"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 BODY is unknown as yet", TEXT("MAIL FROM:<a@b> BODY=8BITMIME"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 an unknown parameter of RCPT", TEXT("RCPT TO:<a@b> NOTIFY=NEVER"), SMTP_RCPT,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 RCPT knows no SIZE", TEXT("RCPT TO:<a@b> SIZE=1"), SMTP_RCPT, SMTP_UNKNOWN_PARAMETER, NULL },
	{ "a name that begins like SIZE", TEXT("MAIL FROM:<a@b> SIZES=1"), SMTP_MAIL, SMTP_UNKNOWN_PARAMETER,
		NULL },
	{ "1.44 a duplicate parameter", TEXT("MAIL FROM:<a@b> SIZE=1 SIZE=1"), SMTP_MAIL, SMTP_BAD_SYNTAX,
		NULL },
	{ "1.44 a duplicate parameter in another case", TEXT("MAIL FROM:<a@b> SIZE=0 size=0"), SMTP_MAIL,
		SMTP_BAD_SYNTAX, NULL },
	{ "1.31 SIZE that is no number", TEXT("MAIL FROM:<a@b> SIZE=abc"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "1.31 SIZE of 21 digits", TEXT("MAIL FROM:<a@b> SIZE=000000000000000000001"), SMTP_MAIL,
		SMTP_BAD_SYNTAX, NULL },
	{ "1.31 SIZE that overflows", TEXT("MAIL FROM:<a@b> SIZE=18446744073709551616"), SMTP_MAIL,
		SMTP_BAD_SYNTAX, NULL },
	{ "SIZE without a value", TEXT("MAIL FROM:<a@b> SIZE"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "SIZE with an empty value", TEXT("MAIL FROM:<a@b> SIZE="), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "SIZE with a sign", TEXT("MAIL FROM:<a@b> SIZE=-1"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "a parameter without a name", TEXT("MAIL FROM:<a@b> =1"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
	{ "a parameter with two equal signs", TEXT("MAIL FROM:<a@b> A=1=2"), SMTP_MAIL, SMTP_BAD_SYNTAX,
		NULL },
	{ "an 8-bit parameter", TEXT("MAIL FROM:<a@b> A=\xc3"), SMTP_MAIL, SMTP_BAD_SYNTAX, NULL },
};

static void test_each_line_gives_its_verb_and_flaw(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		struct smtp_command command = smtp_command_parse(lines[i].line);

		if (command.verb != lines[i].verb || command.flaw != lines[i].flaw)
			fail_msg("%s: verb %d, flaw %d", lines[i].name, (int)command.verb, (int)command.flaw);
		if (lines[i].argument != NULL && !text_equal(command.argument, text_of(lines[i].argument)))
			fail_msg("%s: argument \"" TEXT_FMT "\"", lines[i].name, TEXT_ARG(command.argument));
	}
}

static const struct {
	const char *name;
	struct text line;
	const char *whole, *domain;
	uint64_t size;
} envelopes[] = {
	{ "a sender", TEXT("MAIL FROM:<a@b>"), "a@b", "b", 0 },
	{ "a null sender", TEXT("MAIL FROM:<>"), "", "", 0 },
	{ "any case", TEXT("mail from:<A@b>"), "A@b", "b", 0 },
	{ "a blank after the colon", TEXT("MAIL FROM: <a@b>"), "a@b", "b", 0 },
	{ "trailing blanks", TEXT("MAIL FROM:<a@b>  "), "a@b", "b", 0 },
	{ "SIZE", TEXT("MAIL FROM:<a@b> SIZE=123"), "a@b", "b", 123 },
	{ "size in lower case, many blanks", TEXT("MAIL FROM:<a@b>   size=7  "), "a@b", "b", 7 },
	{ "SIZE of 20 digits", TEXT("MAIL FROM:<> SIZE=18446744073709551615"), "", "", UINT64_MAX },
	{ "a quoted sender with blank and bracket", TEXT("MAIL FROM:<\"a> b\"@c> SIZE=1"), "\"a> b\"@c", "c",
		1 },
	{ "a recipient", TEXT("RCPT TO:<a@b>"), "a@b", "b", 0 },
	{ "postmaster", TEXT("RCPT TO:<Postmaster>"), "Postmaster", "", 0 },
	{ "1.42 a source route is stripped", TEXT("RCPT TO:<@a,@b:c@d>"), "c@d", "d", 0 },
	{ "a literal", TEXT("RCPT TO: <a@[IPv6:::1]>"), "a@[IPv6:::1]", "[IPv6:::1]", 0 },
};

static void test_addresses_and_sizes_are_taken_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(envelopes); i++) {
		struct smtp_command command = smtp_command_parse(envelopes[i].line);

		if (command.flaw != SMTP_FINE || command.size != envelopes[i].size ||
			!text_equal(command.address.whole, text_of(envelopes[i].whole)) ||
			!text_equal(command.address.domain, text_of(envelopes[i].domain)))
			fail_msg("%s: flaw %d, address \"" TEXT_FMT "\"", envelopes[i].name,
				(int)command.flaw, TEXT_ARG(command.address.whole));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_line_gives_its_verb_and_flaw),
		cmocka_unit_test(test_addresses_and_sizes_are_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
