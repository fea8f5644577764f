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
	{ "VRFY", TEXT("VRFY a b"), SMTP_VRFY, SMTP_FINE, "a b" },
	{ "EXPN", TEXT("expn list"), SMTP_EXPN, SMTP_FINE, "list" },
	{ "1.06 VRFY with UTF-8", TEXT("VRFY \xc3\xbc@x"), SMTP_VRFY, SMTP_NEEDS_UTF8, "\xc3\xbc@x" },
	{ "EXPN with UTF-8", TEXT("EXPN \xc3\xbc"), SMTP_EXPN, SMTP_NEEDS_UTF8, "\xc3\xbc" },
	{ "VRFY with UTF-8 and SMTPUTF8", TEXT("VRFY \xc3\xbc smtputf8"), SMTP_VRFY, SMTP_FINE,
		"\xc3\xbc smtputf8" },
	{ "XCLIENT", TEXT("XCLIENT ADDR=192.0.2.1 NAME=x"), SMTP_XCLIENT, SMTP_FINE,
		"ADDR=192.0.2.1 NAME=x" },
	{ "10.33 XCLIENT with bare control bytes", TEXT("XCLIENT NAME=foo\r"), SMTP_XCLIENT, SMTP_BAD_SYNTAX,
		NULL },
	{ "10.33 XCLIENT keeps xtext as it is", TEXT("XCLIENT NAME=foo+0D+0ABAR"), SMTP_XCLIENT, SMTP_FINE,
		"NAME=foo+0D+0ABAR" },
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
	{ "1.40 a UTF-8 sender without SMTPUTF8", TEXT("MAIL FROM:<\xc3\xa4@x>"), SMTP_MAIL, SMTP_NEEDS_UTF8,
		NULL },
	{ "1.40 a UTF-8 domain without SMTPUTF8", TEXT("MAIL FROM:<a@\xc3\xa4> SIZE=1"), SMTP_MAIL,
		SMTP_NEEDS_UTF8, NULL },
	{ "1.40 a UTF-8 sender with SMTPUTF8", TEXT("MAIL FROM:<\xc3\xa4@x> SMTPUTF8"), SMTP_MAIL, SMTP_FINE,
		NULL },
	{ "1.40 another flaw comes first", TEXT("MAIL FROM:<\xc3\xa4@x> FOO"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.40 a UTF-8 recipient is for the session to judge", TEXT("RCPT TO:<\xc3\xa4@x>"), SMTP_RCPT,
		SMTP_FINE, NULL },
	{ "1.40 a UTF-8 address that is none", TEXT("RCPT TO:<\xc3\xa4>"), SMTP_RCPT, SMTP_BAD_ADDRESS,
		NULL },
	{ "a C1 control in an address", TEXT("MAIL FROM:<\xc2\x85@x> SMTPUTF8"), SMTP_MAIL, SMTP_BAD_ADDRESS,
		NULL },
	{ "a null recipient", TEXT("RCPT TO:<>"), SMTP_RCPT, SMTP_BAD_ADDRESS, NULL },
	{ "RCPT FROM", TEXT("RCPT FROM:<a@b>"), SMTP_RCPT, SMTP_BAD_SYNTAX, NULL },
	{ "something glued to the path", TEXT("RCPT TO:<a@b>c"), SMTP_RCPT, SMTP_BAD_SYNTAX, NULL },
	{ "a second path", TEXT("RCPT TO:<a@b> <c@d>"), SMTP_RCPT, SMTP_BAD_SYNTAX, NULL },

	{ "1.44 an unknown parameter", TEXT("MAIL FROM:<a@b> FOO=bar"), SMTP_MAIL, SMTP_UNKNOWN_PARAMETER,
		NULL },
	{ "1.44 an unknown parameter without value", TEXT("MAIL FROM:<a@b> REQUIRETLS"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 an unknown parameter with a UTF-8 value", TEXT("MAIL FROM:<a@b> FOO=\xc3\xa4"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 an unknown parameter of RCPT", TEXT("RCPT TO:<a@b> RRVS=x"), SMTP_RCPT,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 MAIL knows no NOTIFY", TEXT("MAIL FROM:<a@b> NOTIFY=NEVER"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 MAIL knows no ORCPT", TEXT("MAIL FROM:<a@b> ORCPT=rfc822;a"), SMTP_MAIL,
		SMTP_UNKNOWN_PARAMETER, NULL },
	{ "1.44 RCPT knows no SMTPUTF8", TEXT("RCPT TO:<a@b> SMTPUTF8"), SMTP_RCPT, SMTP_UNKNOWN_PARAMETER,
		NULL },
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
	{ "an 8-bit parameter", TEXT("MAIL FROM:<a@b> A=\xc3"), SMTP_MAIL, SMTP_BAD_UTF8, NULL },
	{ "UTF-8 in the name of a parameter", TEXT("MAIL FROM:<a@b> \xc3\xa4=1"), SMTP_MAIL, SMTP_BAD_SYNTAX,
		NULL },
};

static void test_1_10_1_31_1_44_each_line_gives_its_verb_and_flaw(void **state)
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

/* Conformance 1.40: whatever the verb, whatever else is wrong with the line. */
static void test_1_40_malformed_utf8_in_a_known_command(void **state)
{
	static const struct text verbs[] = { TEXT("EHLO"), TEXT("HELO"), TEXT("STARTTLS"), TEXT("MAIL"),
		TEXT("RCPT"), TEXT("DATA"), TEXT("RSET"), TEXT("NOOP"), TEXT("QUIT"), TEXT("BDAT"),
		TEXT("VRFY"), TEXT("EXPN"), TEXT("HELP"), TEXT("XCLIENT") };
	static const struct text arguments[] = { TEXT(" \xff"), TEXT(" FROM:<\xc0\x80@x> SMTPUTF8"),
		TEXT(" TO:<\xe4@x>"), TEXT(" \xed\xa0\x80"), TEXT(" \xf4\x90\x80\x80"), TEXT(" \xc3") };

	(void)state;
	for (size_t i = 0; i < COUNT(verbs); i++) {
		for (size_t j = 0; j < COUNT(arguments); j++) {
			char line[64];

			memcpy(line, verbs[i].at, verbs[i].len);
			memcpy(line + verbs[i].len, arguments[j].at, arguments[j].len);
			struct smtp_command command =
				smtp_command_parse((struct text){ line, verbs[i].len + arguments[j].len });
			if (command.flaw != SMTP_BAD_UTF8 || command.verb == SMTP_UNKNOWN)
				fail_msg("%s, argument %zu: flaw %d", verbs[i].at, j, (int)command.flaw);
		}
	}
	assert_int_equal(smtp_command_parse(TEXT("FOO \xff")).flaw, SMTP_FINE);
}

static void test_1_34_a_malformed_bdat_is_refused(void **state)
{
	static const struct {
		struct text line;
		enum smtp_flaw flaw;
		uint64_t size;
		bool last;
	} cases[] = {
		{ TEXT("BDAT 0"), SMTP_FINE, 0, false },
		{ TEXT("BDAT 0 LAST"), SMTP_FINE, 0, true },
		{ TEXT("bdat  12   last "), SMTP_FINE, 12, true },
		{ TEXT("BDAT 9223372036854775807 LAST"), SMTP_FINE, INT64_MAX, true },
		{ TEXT("BDAT 0000000000000000001"), SMTP_FINE, 1, false },
		{ TEXT("BDAT 9223372036854775808"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 99999999999999999999"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 00000000000000000001"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT LAST"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT -1"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT +1"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 0x1"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 1,000"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 1 FOO"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 1 LAST LAST"), SMTP_BAD_SYNTAX, 0, true },
		{ TEXT("BDAT 1 2"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 1LAST"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 1\tLAST"), SMTP_BAD_SYNTAX, 0, false },
		{ TEXT("BDAT 1\0"), SMTP_BAD_SYNTAX, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct smtp_command command = smtp_command_parse(cases[i].line);

		if (command.verb != SMTP_BDAT || command.flaw != cases[i].flaw)
			fail_msg(TEXT_FMT ": flaw %d", TEXT_ARG(cases[i].line), (int)command.flaw);
		if (command.flaw == SMTP_FINE &&
			(command.size != cases[i].size || command.last != cases[i].last))
			fail_msg(TEXT_FMT ": size or LAST", TEXT_ARG(cases[i].line));
	}
}

static void test_1_38_binarymime_and_other_bodies_are_refused(void **state)
{
	static const struct {
		struct text line;
		enum smtp_flaw flaw;
		enum smtp_body body;
	} cases[] = {
		{ TEXT("MAIL FROM:<>"), SMTP_FINE, SMTP_BODY_7BIT },
		{ TEXT("MAIL FROM:<> BODY=7BIT"), SMTP_FINE, SMTP_BODY_7BIT },
		{ TEXT("MAIL FROM:<> body=8bitmime"), SMTP_FINE, SMTP_BODY_8BIT },
		{ TEXT("MAIL FROM:<> BODY=BINARYMIME"), SMTP_BAD_SYNTAX, SMTP_BODY_7BIT },
		{ TEXT("MAIL FROM:<> BODY=8BIT"), SMTP_BAD_SYNTAX, SMTP_BODY_7BIT },
		{ TEXT("MAIL FROM:<> BODY"), SMTP_BAD_SYNTAX, SMTP_BODY_7BIT },
		{ TEXT("MAIL FROM:<> BODY="), SMTP_BAD_SYNTAX, SMTP_BODY_7BIT },
		{ TEXT("RCPT TO:<a@b> BODY=7BIT"), SMTP_UNKNOWN_PARAMETER, SMTP_BODY_7BIT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct smtp_command command = smtp_command_parse(cases[i].line);

		if (command.flaw != cases[i].flaw || command.body != cases[i].body)
			fail_msg(TEXT_FMT ": flaw %d", TEXT_ARG(cases[i].line), (int)command.flaw);
	}
}

/* Each known parameter twice, in another case the second time. */
static void test_1_44_duplicate_parameters_are_refused(void **state)
{
	static const struct text twice[] = {
		TEXT("MAIL FROM:<> SIZE=0 size=0"),
		TEXT("MAIL FROM:<> BODY=7BIT SIZE=1 Body=7BIT"),
		TEXT("MAIL FROM:<> SMTPUTF8 smtputf8"),
		TEXT("MAIL FROM:<> RET=FULL ret=FULL"),
		TEXT("MAIL FROM:<> ENVID=a envid=a"),
		TEXT("MAIL FROM:<> AUTH=<> auth=<>"),
		TEXT("RCPT TO:<a@b> NOTIFY=NEVER notify=NEVER"),
		TEXT("RCPT TO:<a@b> ORCPT=rfc822;a orcpt=rfc822;a"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(twice); i++)
		if (smtp_command_parse(twice[i]).flaw != SMTP_BAD_SYNTAX)
			fail_msg(TEXT_FMT, TEXT_ARG(twice[i]));
}

#define X100 N50 N50
#define X500 X100 X100 X100 X100 X100

static void test_1_43_dsn_parameters_of_mail(void **state)
{
	static const struct {
		struct text line;
		enum smtp_flaw flaw;
		enum smtp_ret ret;
		const char *envid;
	} cases[] = {
		{ TEXT("MAIL FROM:<>"), SMTP_FINE, SMTP_RET_NONE, "" },
		{ TEXT("MAIL FROM:<> RET=FULL ENVID=QQ314159"), SMTP_FINE, SMTP_RET_FULL, "QQ314159" },
		{ TEXT("MAIL FROM:<> ret=hdrs"), SMTP_FINE, SMTP_RET_HDRS, "" },
		{ TEXT("MAIL FROM:<> ENVID=a+20b+2B+3Dc"), SMTP_FINE, SMTP_RET_NONE, "a+20b+2B+3Dc" },
		{ TEXT("MAIL FROM:<> ENVID=" X100), SMTP_FINE, SMTP_RET_NONE, X100 },
		{ TEXT("MAIL FROM:<> ENVID=+3D" X100), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=" X500 X100), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> RET=SOME"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> RET"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID="), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=+00"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=+zz"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=a+2b"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=a+4"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		/* Nobody writes header fields or 8-bit bytes into a notification. */
		{ TEXT("MAIL FROM:<> ENVID=a+0D+0AX"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=+C3+A4"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
		{ TEXT("MAIL FROM:<> ENVID=\xc3\xa4 SMTPUTF8"), SMTP_BAD_SYNTAX, SMTP_RET_NONE, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct smtp_command command = smtp_command_parse(cases[i].line);

		if (command.flaw != cases[i].flaw)
			fail_msg(TEXT_FMT ": flaw %d", TEXT_ARG(cases[i].line), (int)command.flaw);
		if (command.flaw == SMTP_FINE &&
			(command.ret != cases[i].ret || !text_equal(command.envid, text_of(cases[i].envid))))
			fail_msg(TEXT_FMT ": RET or ENVID", TEXT_ARG(cases[i].line));
	}
}

static void test_1_43_dsn_parameters_of_rcpt(void **state)
{
	enum { NEVER = SMTP_NOTIFY_NEVER, SUCCESS = SMTP_NOTIFY_SUCCESS, FAILURE = SMTP_NOTIFY_FAILURE };
	static const struct {
		struct text parameters;
		enum smtp_flaw flaw;
		unsigned notify;
		const char *orcpt;
		bool utf8;
	} cases[] = {
		{ TEXT(""), SMTP_FINE, 0, "", false },
		{ TEXT("NOTIFY=NEVER"), SMTP_FINE, NEVER, "", false },
		{ TEXT("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+40x"), SMTP_FINE, SUCCESS | FAILURE,
			"rfc822;Bob+40x", false },
		{ TEXT("notify=delay,success,failure"), SMTP_FINE, SUCCESS | FAILURE | SMTP_NOTIFY_DELAY, "",
			false },
		{ TEXT("NOTIFY=SUCCESS,SUCCESS"), SMTP_FINE, SUCCESS, "", false },
		{ TEXT("NOTIFY=NEVER,SUCCESS"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY=DELAY,NEVER"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY=SUCCESS,"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY=,SUCCESS"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY=SOME"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY=SUCCESSES"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("NOTIFY="), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=rfc822;a@b"), SMTP_FINE, 0, "rfc822;a@b", false },
		{ TEXT("ORCPT=x-a;" X500), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=a;" X100 X100 X100 X100 N50 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"),
			SMTP_FINE, 0,
			"a;" X100 X100 X100 X100 N50 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
			false },
		{ TEXT("ORCPT=rfc822"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=rfc822;"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=;a@b"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=a@b;c"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=rfc822;a=b"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=rfc822;a+0D+0AX:+20y"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=rfc822;a+00"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=rfc822;\xc3\xa4@b"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=\xc3\xa4;a"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=utf-8;\\x{E4}@b"), SMTP_FINE, 0, "utf-8;\\x{E4}@b", false },
		{ TEXT("ORCPT=UTF-8;\xc3\xa4@b"), SMTP_FINE, 0, "UTF-8;\xc3\xa4@b", true },
		{ TEXT("ORCPT=utf-8;\xc3\xa4+0D"), SMTP_BAD_SYNTAX, 0, NULL, false },
		{ TEXT("ORCPT=utf-8;\xc2\x85"), SMTP_BAD_SYNTAX, 0, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text start = TEXT("RCPT TO:<a@b> ");
		char line[1024];

		memcpy(line, start.at, start.len);
		memcpy(line + start.len, cases[i].parameters.at, cases[i].parameters.len);
		struct smtp_command command =
			smtp_command_parse((struct text){ line, start.len + cases[i].parameters.len });
		if (command.flaw != cases[i].flaw)
			fail_msg(TEXT_FMT ": flaw %d", TEXT_ARG(cases[i].parameters), (int)command.flaw);
		if (command.flaw != SMTP_FINE)
			continue;
		if (command.notify != cases[i].notify || command.utf8_address != cases[i].utf8 ||
			!text_equal(command.orcpt, text_of(cases[i].orcpt)))
			fail_msg(TEXT_FMT ": NOTIFY or ORCPT", TEXT_ARG(cases[i].parameters));
	}
}

static void test_auth_is_checked_and_forgotten(void **state)
{
	static const struct {
		struct text line;
		enum smtp_flaw flaw;
	} cases[] = {
		{ TEXT("MAIL FROM:<a@b> AUTH=<>"), SMTP_FINE },
		{ TEXT("MAIL FROM:<a@b> AUTH=e+3Dmc2@example.com"), SMTP_FINE },
		{ TEXT("MAIL FROM:<a@b> AUTH"), SMTP_BAD_SYNTAX },
		{ TEXT("MAIL FROM:<a@b> AUTH=+3d"), SMTP_BAD_SYNTAX },
		{ TEXT("MAIL FROM:<a@b> AUTH=+00"), SMTP_BAD_SYNTAX },
		{ TEXT("MAIL FROM:<a@b> AUTH=" X500), SMTP_FINE },
		{ TEXT("MAIL FROM:<a@b> AUTH=" X500 "a"), SMTP_BAD_SYNTAX },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (smtp_command_parse(cases[i].line).flaw != cases[i].flaw)
			fail_msg(TEXT_FMT, TEXT_ARG(cases[i].line));
}

static void test_1_40_smtputf8_and_utf8_addresses_are_noticed(void **state)
{
	static const struct {
		struct text line;
		enum smtp_flaw flaw;
		bool smtputf8, utf8_address;
	} cases[] = {
		{ TEXT("MAIL FROM:<a@b>"), SMTP_FINE, false, false },
		{ TEXT("MAIL FROM:<a@b> SMTPUTF8 SIZE=1"), SMTP_FINE, true, false },
		{ TEXT("MAIL FROM:<\xc3\xa4@b> BODY=8BITMIME smtputf8"), SMTP_FINE, true, true },
		{ TEXT("MAIL FROM:<a@b> SMTPUTF8=1"), SMTP_BAD_SYNTAX, true, false },
		{ TEXT("MAIL FROM:<a@b> SMTPUTF8="), SMTP_BAD_SYNTAX, false, false },
		{ TEXT("RCPT TO:<a@b>"), SMTP_FINE, false, false },
		{ TEXT("RCPT TO:<a@\xc3\xa4>"), SMTP_FINE, false, true },
		{ TEXT("RCPT TO:<@\xc3\xa4:a@b>"), SMTP_FINE, false, false },
		{ TEXT("VRFY a SMTPUTF8"), SMTP_FINE, true, false },
		{ TEXT("EXPN \xc3\xa4  smtputf8 "), SMTP_FINE, true, false },
		{ TEXT("VRFY SMTPUTF8"), SMTP_FINE, false, false },
		{ TEXT("VRFY \xc3\xa4SMTPUTF8"), SMTP_NEEDS_UTF8, false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct smtp_command command = smtp_command_parse(cases[i].line);

		if (command.flaw != cases[i].flaw || command.smtputf8 != cases[i].smtputf8 ||
			command.utf8_address != cases[i].utf8_address)
			fail_msg(TEXT_FMT ": flaw %d", TEXT_ARG(cases[i].line), (int)command.flaw);
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
		cmocka_unit_test(test_1_10_1_31_1_44_each_line_gives_its_verb_and_flaw),
		cmocka_unit_test(test_1_40_malformed_utf8_in_a_known_command),
		cmocka_unit_test(test_1_34_a_malformed_bdat_is_refused),
		cmocka_unit_test(test_1_38_binarymime_and_other_bodies_are_refused),
		cmocka_unit_test(test_1_44_duplicate_parameters_are_refused),
		cmocka_unit_test(test_1_43_dsn_parameters_of_mail),
		cmocka_unit_test(test_1_43_dsn_parameters_of_rcpt),
		cmocka_unit_test(test_auth_is_checked_and_forgotten),
		cmocka_unit_test(test_1_40_smtputf8_and_utf8_addresses_are_noticed),
		cmocka_unit_test(test_addresses_and_sizes_are_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
