/* What stands between our Received field and the content (conformance 1.27), and what is found wrong, however the content is cut. */
#include "session/intake.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "config/config.h"

#define FIELD	  "Received: from a\r\n\tby b\r\n"
#define TOLD	  FIELD
#define PARTED	  FIELD "\r\n"
#define ALL(text) (text), sizeof(text) - 1

static const struct config_limits limits = { .message_size = 100000, .header = 8192 };

static const struct {
	const char *name;
	const char *content;
	size_t len;
	const char *before; /* what stands in front of it */
} cases[] = {
	{ "a field", ALL("Subject: a\r\n\r\nbody\r\n"), TOLD },
	{ "a field with blanks before its colon", ALL("Subject \t: a\r\n"), TOLD },
	{ "a field without an end", ALL("A:"), TOLD },
	{ "another Received field", ALL("Received: from c\r\n by d\r\n\r\n"), TOLD },
	{ "a field, then a line that is none", ALL("A: b\r\nX\r\n"), TOLD },
	{ "an empty line", ALL("\r\nbody\r\n"), TOLD },
	{ "an empty line of a bare CR", ALL("\r body\r\n"), TOLD },
	{ "an empty line of a bare LF", ALL("\n body\r\n"), TOLD },
	{ "nothing", ALL(""), TOLD },
	{ "a space", ALL(" by evil\r\nA: b\r\n"), PARTED },
	{ "a tab", ALL("\tby evil\r\nA: b\r\n"), PARTED },
	{ "a line of blanks", ALL(" \t\r\nA: b\r\n"), PARTED },
	{ "a mailbox line", ALL("From a@b Thu Jan  1 00:00:00\r\nA: b\r\n"), PARTED },
	{ "a word", ALL("X\r\nA: b\r\n"), PARTED },
	{ "a word without an end", ALL("X"), PARTED },
	{ "a word and a blank without an end", ALL("X "), PARTED },
	{ "a dot", ALL(".\r\n"), PARTED },
	{ "a colon", ALL(": b\r\n"), PARTED },
	{ "an 8-bit name", ALL("B\xc3\xa4: b\r\n"), PARTED },
	{ "a NUL", ALL("\0A: b\r\n"), PARTED },
	{ "a control byte", ALL("\x01: b\r\n"), PARTED },
};

static struct intake *start(void)
{
	return intake_new(NULL, NULL, -1, TEXT(FIELD));
}

static void add(struct intake *intake, struct text bytes)
{
	mail_data_in_look(&intake->data, bytes);
	intake_add(intake, &limits, NULL, -1, bytes);
}

static void check(const char *name, struct intake *intake, const char *before, struct text content)
{
	intake_end(intake, NULL, -1);

	struct text got = intake->body->content.bytes;
	size_t front = strlen(before);
	if (intake->flaw != INTAKE_FINE || intake->size != content.len ||
		intake->body->content.size != got.len ||
		!text_equal(text_first(got, front), text_of(before)) ||
		!text_equal(text_from(got, front), content))
		fail_msg("%s: flaw %d, %zu bytes: " TEXT_FMT, name, intake->flaw, got.len, TEXT_ARG(got));
	talloc_free(intake);
}

static void test_1_27_our_field_is_parted_from_what_is_no_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text content = { cases[i].content, cases[i].len };
		struct intake *bytes = start();

		for (size_t cut = 0; cut <= content.len; cut++) {
			struct intake *halves = start();

			add(halves, text_first(content, cut));
			add(halves, text_from(content, cut));
			check(cases[i].name, halves, cases[i].before, content);
			add(bytes, text_first(text_from(content, cut), 1));
		}
		check(cases[i].name, bytes, cases[i].before, content);
	}
}

/* A first line that does not say what it is for long. */
static void test_1_27_a_long_first_line(void **state)
{
	static const struct {
		size_t name_len;
		const char *rest;
		const char *before; /* NULL: it is too long for a header */
	} longs[] = {
		{ 8000, ": b\r\n\r\nbody\r\n", TOLD },
		{ 8000, "\r\nbody\r\n", PARTED },
		{ 8000, "", PARTED },
		{ 8192, " b\r\n", PARTED },
		{ 20000, " b\r\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(longs); i++) {
		struct intake *intake = start();
		char *name = text_must(talloc_asprintf(NULL, "%0*d", (int)longs[i].name_len, 0));
		char *content = text_must(talloc_asprintf(name, "%s%s", name, longs[i].rest));

		for (struct text left = text_of(content); left.len > 0; left = text_from(left, 1000))
			add(intake, text_first(left, 1000));
		if (longs[i].before != NULL)
			check(longs[i].rest, intake, longs[i].before, text_of(content));
		else
			assert_int_equal(intake->flaw, INTAKE_HEADER);
		if (longs[i].before == NULL)
			talloc_free(intake);
		talloc_free(name);
	}
}

static void test_1_29_1_31_1_66_the_first_flaw_counts(void **state)
{
	static const struct config_limits narrow = {
		.message_size = 3000, .header = 500, .line_length = 100
	};
	static const struct {
		const char *name, *line;
		size_t lines;
		enum intake_flaw flaw;
	} flaws[] = {
		{ "all is well", "Subject: a\r\n\r\nbody\r\n", 1, INTAKE_FINE },
		{ "a long header", "Subject: a\r\n", 50, INTAKE_HEADER },
		{ "many Received fields", "Received:\r\n", 45, INTAKE_FINE },
		{ "a large body", "\r\nbody", 1000, INTAKE_TOO_LARGE },
		{ "a line of 100 bytes",
			"\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n",
			1, INTAKE_FINE },
		{ "a line of 101 bytes",
			"\r\n01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n",
			1, INTAKE_LONG_LINE },
		{ "a line of 120 bytes with a bare CR inside, which leaves as two lines",
			"\r\n012345678901234567890123456789012345678901234567890123456789\r012345678901234567890123456789012345678901234567890123456789\r\n",
			1, INTAKE_FINE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(flaws); i++) {
		struct intake *intake = start();

		for (size_t n = 0; n < flaws[i].lines; n++) {
			mail_data_in_look(&intake->data, text_of(flaws[i].line));
			intake_add(intake, &narrow, NULL, -1, text_of(flaws[i].line));
		}
		intake_end(intake, NULL, -1);
		if (intake->flaw != flaws[i].flaw || intake->size != flaws[i].lines * strlen(flaws[i].line))
			fail_msg("%s: flaw %d", flaws[i].name, intake->flaw);
		talloc_free(intake);
	}

	struct intake *circles = start();
	for (size_t n = 0; n < 101; n++)
		add(circles, TEXT("Received: x\r\n"));
	assert_int_equal(circles->flaw, INTAKE_LOOP);
	talloc_free(circles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_27_our_field_is_parted_from_what_is_no_field),
		cmocka_unit_test(test_1_27_a_long_first_line),
		cmocka_unit_test(test_1_29_1_31_1_66_the_first_flaw_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
