/* Replies: codes and continuation, the kept text, and what an EHLO reply offers. */
#include "wire/smtp_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/err.h"

static const struct {
	const char *name;
	struct text lines[4]; /* ends at the first one without bytes pointed to */
	int want;	      /* of the last line */
	unsigned code;
	bool complete;
	const char *text;
} cases[] = {
	{ "one line", { TEXT("250 2.0.0 ok") }, 0, 250, true, "250 2.0.0 ok" },
	{ "a code alone", { TEXT("354") }, 0, 354, true, "354" },
	{ "a code and a blank", { TEXT("354 ") }, 0, 354, true, "354 " },
	{ "an unfinished reply", { TEXT("250-a") }, 0, 250, false, "250 a" },
	{ "two lines", { TEXT("250-a"), TEXT("250 b") }, 0, 250, true, "250 a b" },
	{ "an enhanced code on every line stands once",
		{ TEXT("550-5.7.1 you"), TEXT("550-5.7.1 are"), TEXT("550 5.7.1 blocked") }, 0, 550, true,
		"550 5.7.1 you are blocked" },
	{ "another enhanced code stays", { TEXT("550-5.7.1 you"), TEXT("550 5.7.10 x") }, 0, 550, true,
		"550 5.7.1 you 5.7.10 x" },
	{ "a word that is repeated stays", { TEXT("550-no"), TEXT("550 no") }, 0, 550, true, "550 no no" },
	{ "an enhanced code alone", { TEXT("550-5.7.1 no"), TEXT("550 5.7.1") }, 0, 550, true,
		"550 5.7.1 no" },
	{ "a code alone ends a reply", { TEXT("550-a"), TEXT("550-"), TEXT("550") }, 0, 550, true, "550 a" },
	{ "bytes that are not printable", { TEXT("250 a\0b\rc\xff\t\x7f") }, 0, 250, true, "250 a?b?c???" },
	{ "the smallest code", { TEXT("200") }, 0, 200, true, "200" },
	{ "the largest code", { TEXT("599") }, 0, 599, true, "599" },
	{ "2.20 codes that differ", { TEXT("250-a"), TEXT("550 b") }, ERR_FORMAT, 250, false, "250 a" },
	{ "2.20 code 99", { TEXT("99") }, ERR_FORMAT, 0, false, "" },
	{ "2.20 code 999", { TEXT("999 x") }, ERR_FORMAT, 0, false, "" },
	{ "code 600", { TEXT("600 x") }, ERR_FORMAT, 0, false, "" },
	{ "code 199", { TEXT("199 x") }, ERR_FORMAT, 0, false, "" },
	{ "an empty line", { TEXT("") }, ERR_FORMAT, 0, false, "" },
	{ "four digits", { TEXT("2500 x") }, ERR_FORMAT, 0, false, "" },
	{ "no digits", { TEXT("abc x") }, ERR_FORMAT, 0, false, "" },
	{ "a sign", { TEXT("+25 x") }, ERR_FORMAT, 0, false, "" },
	{ "a blank in front", { TEXT(" 250 x") }, ERR_FORMAT, 0, false, "" },
	{ "a tab behind the code", { TEXT("250\tx") }, ERR_FORMAT, 0, false, "" },
	{ "a NUL behind the code", { TEXT("250\0") }, ERR_FORMAT, 0, false, "" },
	{ "a line behind the last one", { TEXT("250 a"), TEXT("250 b") }, ERR_FORMAT, 250, true, "250 a" },
};

static void test_lines_become_a_reply(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct smtp_reply reply = { 0 };
		int r = 0;

		for (size_t line = 0; line < 4 && cases[i].lines[line].at != NULL; line++)
			r = smtp_reply_line(&reply, cases[i].lines[line]);
		if (r != cases[i].want || reply.code != cases[i].code ||
			reply.complete != cases[i].complete || strcmp(reply.text, cases[i].text) != 0)
			fail_msg("%s: %d, code %u, text \"%s\"", cases[i].name, r, reply.code, reply.text);
	}
}

static void test_2_20_a_reply_has_at_most_100_lines(void **state)
{
	struct smtp_reply reply = { 0 };

	(void)state;
	for (unsigned i = 0; i < SMTP_REPLY_LINES_MAX; i++)
		assert_int_equal(smtp_reply_line(&reply, TEXT("250-x")), 0);
	assert_int_equal(smtp_reply_line(&reply, TEXT("250 x")), ERR_FORMAT);
	assert_int_equal(reply.lines, SMTP_REPLY_LINES_MAX);
	assert_false(reply.complete);
}

static void test_a_long_text_is_cut_and_terminated(void **state)
{
	char line[2 * SMTP_REPLY_TEXT_MAX];
	struct smtp_reply reply = { 0 };

	(void)state;
	memset(line, 'x', sizeof line);
	memcpy(line, "451 ", 4);
	assert_int_equal(smtp_reply_line(&reply, (struct text){ line, sizeof line }), 0);
	assert_int_equal(strlen(reply.text), SMTP_REPLY_TEXT_MAX - 1);
	assert_memory_equal(reply.text, line, SMTP_REPLY_TEXT_MAX - 1);
}

static void test_2_20_the_words_of_many_lines_are_cut_too(void **state)
{
	struct smtp_reply reply = { 0 };
	char line[60];

	(void)state;
	memset(line, 'x', sizeof line);
	memcpy(line, "451-", 4);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(smtp_reply_line(&reply, (struct text){ line, sizeof line }), 0);
		assert_true(strlen(reply.text) < SMTP_REPLY_TEXT_MAX);
	}
	assert_int_equal(strlen(reply.text), SMTP_REPLY_TEXT_MAX - 1);
}

static const struct {
	const char *line;
	bool too_many;
} counts[] = {
	{ "452 4.5.3 too many recipients", true },
	{ "452 4.5.3", true },
	{ "452 too many recipients", true },
	{ "452", true },
	{ "552 too many recipients", true },
	{ "550 5.5.3 too many recipients", true },
	{ "451 4.5.3 slow down", true },
	{ "452 4.3.1 no space", false },
	{ "452 4.2.2 mailbox full", false },
	{ "452 4.5.30 x", false },
	{ "552 5.2.2 mailbox full", false },
	{ "450 4.2.1 later", false },
	{ "550 no such user", false },
	{ "550 5.1.1 user 5.5.3", false },
};

static void test_2_25_too_many_recipients_is_told_from_other_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(counts); i++) {
		struct smtp_reply reply = { 0 };

		assert_int_equal(smtp_reply_line(&reply, text_of(counts[i].line)), 0);
		if (smtp_reply_too_many(&reply) != counts[i].too_many)
			fail_msg("%s", counts[i].line);
	}
}

static const struct {
	const char *line;
	uint64_t most;
} limits[] = {
	{ "250 LIMITS RCPTMAX=10", 10 },
	{ "250-limits rcptmax=10", 10 },
	{ "250 LIMITS MAILMAX=5 RCPTMAX=100 RCPTDOMAINMAX=1", 100 },
	{ "250 LIMITS MAILMAX=5", 0 },
	{ "250 LIMITS RCPTMAX=", 0 },
	{ "250 LIMITS RCPTMAX=many", 0 },
	{ "250 LIMITS RCPTMAX=99999999999999999999", 0 },
	{ "250 LIMITS XRCPTMAX=10", 0 },
	{ "250 LIMITS", 0 },
	{ "250 RCPTMAX=10", 0 },
};

static void test_2_25_the_limit_of_recipients_is_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(limits); i++) {
		struct smtp_reply reply = { 0 };

		assert_int_equal(smtp_reply_line(&reply, TEXT("250-mx LIMITS RCPTMAX=3")), 0);
		assert_int_equal(smtp_reply_line(&reply, text_of(limits[i].line)), 0);
		if (reply.rcpt_max != limits[i].most)
			fail_msg("%s: %llu", limits[i].line, (unsigned long long)reply.rcpt_max);
	}
}

static void test_the_class_is_the_first_digit(void **state)
{
	(void)state;
	for (unsigned code = 200; code <= 599; code++) {
		struct smtp_reply reply = { 0 };
		char line[16];

		snprintf(line, sizeof line, "%u x", code);
		assert_int_equal(smtp_reply_line(&reply, text_of(line)), 0);
		assert_int_equal(smtp_reply_class(&reply), (unsigned)(line[0] - '0'));
	}
}

/* One letter for each extension that was noticed. */
static void offers(const struct smtp_reply *reply, char *ret_letters)
{
	snprintf(ret_letters, 16, "%s%s%s%s%s%s%s%s%s%s", reply->has_starttls ? "t" : "",
		reply->has_pipelining ? "p" : "", reply->has_size ? "s" : "", reply->has_8bitmime ? "8" : "",
		reply->has_smtputf8 ? "u" : "", reply->has_chunking ? "c" : "", reply->has_dsn ? "d" : "",
		reply->has_requiretls ? "r" : "", reply->has_auth_plain ? "P" : "",
		reply->has_auth_login ? "L" : "");
}

static const struct {
	const char *name, *line, *offers;
	uint64_t size;
} extensions[] = {
	{ "STARTTLS", "250-STARTTLS", "t", 0 },
	{ "starttls in lower case", "250-starttls", "t", 0 },
	{ "a trailing blank", "250 STARTTLS ", "t", 0 },
	{ "PIPELINING", "250 PIPELINING", "p", 0 },
	{ "SIZE with a limit", "250-SIZE 1000", "s", 1000 },
	{ "SIZE without a limit", "250-SIZE", "s", 0 },
	{ "SIZE of no number", "250-SIZE many", "s", 0 },
	{ "SIZE that overflows", "250-SIZE 99999999999999999999", "s", 0 },
	{ "8BITMIME", "250-8BITMIME", "8", 0 },
	{ "SMTPUTF8", "250-SMTPUTF8", "u", 0 },
	{ "CHUNKING", "250-CHUNKING", "c", 0 },
	{ "DSN", "250-DSN", "d", 0 },
	{ "REQUIRETLS", "250-REQUIRETLS", "r", 0 },
	{ "AUTH PLAIN", "250-AUTH PLAIN", "P", 0 },
	{ "AUTH with mechanisms that we do not know", "250-auth GSSAPI login CRAM-MD5 plain", "PL", 0 },
	{ "AUTH with words that hold others", "250-AUTH XPLAIN LOGINX", "", 0 },
	{ "AUTH without mechanisms", "250-AUTH", "", 0 },
	{ "a longer word", "250-STARTTLSX", "", 0 },
	{ "a shorter word", "250-STARTTL", "", 0 },
	{ "a keyword behind another word", "250-X STARTTLS", "", 0 },
	{ "a keyword behind a blank", "250- STARTTLS", "", 0 },
	{ "an unknown keyword", "250-XFOO", "", 0 },
	{ "nothing", "250", "", 0 },
};

static void test_extensions_match_as_whole_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(extensions); i++) {
		struct smtp_reply reply = { 0 };
		char letters[16];

		assert_int_equal(smtp_reply_line(&reply, TEXT("250-mx.good.test")), 0);
		assert_int_equal(smtp_reply_line(&reply, text_of(extensions[i].line)), 0);
		offers(&reply, letters);
		if (strcmp(letters, extensions[i].offers) != 0 || reply.size != extensions[i].size)
			fail_msg("%s: offers \"%s\"", extensions[i].name, letters);
	}
}

static void test_the_greeting_offers_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(extensions); i++) {
		struct smtp_reply reply = { 0 };
		char letters[16];

		assert_int_equal(smtp_reply_line(&reply, text_of(extensions[i].line)), 0);
		offers(&reply, letters);
		if (letters[0] != '\0')
			fail_msg("%s: offers \"%s\"", extensions[i].name, letters);
	}
}

static void test_a_refused_line_offers_nothing(void **state)
{
	struct smtp_reply reply = { 0 };

	(void)state;
	assert_int_equal(smtp_reply_line(&reply, TEXT("250-mx")), 0);
	assert_int_equal(smtp_reply_line(&reply, TEXT("220-STARTTLS")), ERR_FORMAT);
	assert_false(reply.has_starttls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_become_a_reply),
		cmocka_unit_test(test_2_20_a_reply_has_at_most_100_lines),
		cmocka_unit_test(test_a_long_text_is_cut_and_terminated),
		cmocka_unit_test(test_2_20_the_words_of_many_lines_are_cut_too),
		cmocka_unit_test(test_2_25_too_many_recipients_is_told_from_other_refusals),
		cmocka_unit_test(test_2_25_the_limit_of_recipients_is_read),
		cmocka_unit_test(test_the_class_is_the_first_digit),
		cmocka_unit_test(test_extensions_match_as_whole_words),
		cmocka_unit_test(test_the_greeting_offers_nothing),
		cmocka_unit_test(test_a_refused_line_offers_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
