/* The header as it passes: where it ends, what it counts, and that cutting it anywhere changes nothing. */
#include "wire/header_scan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"

enum { ENDED = 1 << 0, MALFORMED = 1 << 1, EIGHT_BIT = 1 << 2 };

static const struct {
	const char *name;
	struct text content;
	size_t header_bytes;
	unsigned received;
	unsigned flags; /* before header_scan_end() */
} cases[] = {
	{ "nothing", TEXT(""), 0, 0, 0 },
	{ "an empty line first", TEXT("\r\nA: b\r\n"), 0, 0, ENDED },
	{ "one field", TEXT("A: b\r\n\r\nbody"), 6, 0, ENDED },
	{ "an unfinished field", TEXT("A: b"), 4, 0, 0 },
	{ "a folded field", TEXT("A: b\r\n\tc\r\n d\r\n\r\n"), 14, 0, ENDED },
	{ "a folded line of blanks", TEXT("A: b\r\n \r\nB:\r\n\r\n"), 13, 0, ENDED },
	{ "a field without a value", TEXT("A:\r\n\r\n"), 4, 0, ENDED },
	{ "blanks before the colon", TEXT("A \t:b\r\n\r\n"), 7, 0, ENDED },

	{ "1.66 Received fields", TEXT("Received: a\r\nRECEIVED: b\r\nreceived:\r\n\r\n"), 37, 3, ENDED },
	{ "1.66 Received with a blank before the colon", TEXT("Received : a\r\n\r\n"), 14, 1, ENDED },
	{ "1.66 names that are longer or shorter",
		TEXT("Received-SPF: a\r\nX-Received: b\r\nReceive: c\r\n\r\n"), 44, 0, ENDED },
	{ "1.66 a name with a letter twice", TEXT("Rreceived: a\r\nReceivedd: b\r\n\r\n"), 28, 0, ENDED },
	{ "1.66 Received in a folded line and in a value",
		TEXT("A: b\r\n Received: c\r\nB: Received: d\r\n\r\n"), 36, 0, ENDED },
	{ "1.66 Received in the body", TEXT("A: b\r\n\r\nReceived: c\r\n"), 6, 0, ENDED },
	{ "1.66 Received behind a bare LF", TEXT("A: b\nReceived: c\r\n\r\n"), 18, 1, ENDED },
	{ "1.66 Received behind a bare CR", TEXT("A: b\rReceived: c\r\n\r\n"), 18, 1, ENDED },

	{ "1.30 a line without a colon", TEXT("A: b\r\nX\r\nB: c\r\n\r\n"), 6, 0, ENDED | MALFORMED },
	{ "1.30 a line without a colon comes first", TEXT("X\r\nB: c\r\n"), 0, 0, ENDED | MALFORMED },
	{ "1.30 the same behind a bare LF", TEXT("A: b\nX\nB: c\n"), 5, 0, ENDED | MALFORMED },
	{ "1.30 a blank inside the name", TEXT("A: b\r\nFrom x: y\r\n"), 6, 0, ENDED | MALFORMED },
	{ "1.32 an mbox line", TEXT("From a@b Thu Jan  1 00:00:00\r\nA: b\r\n"), 0, 0, ENDED | MALFORMED },
	{ "1.30 a colon without a name", TEXT("A: b\r\n: c\r\n"), 6, 0, ENDED | MALFORMED },
	{ "1.30 an 8-bit byte in a name is no header", TEXT("A: b\r\nB\xc3\xa4: c\r\n"), 6, 0,
		ENDED | MALFORMED },
	{ "1.30 a NUL in a name", TEXT("A\0: b\r\n"), 0, 0, ENDED | MALFORMED },
	{ "1.30 DEL in a name", TEXT("A\x7f: b\r\n"), 0, 0, ENDED | MALFORMED },
	{ "1.27 a blank comes first", TEXT(" A: b\r\n"), 0, 0, ENDED | MALFORMED },
	{ "1.27 a tab comes first", TEXT("\tA: b\r\n"), 0, 0, ENDED | MALFORMED },
	{ "an open line may still become a field", TEXT("A: b\r\nRec"), 9, 0, 0 },

	{ "CR CR LF is an empty line", TEXT("A: b\r\r\nC: d\r\n"), 5, 0, ENDED },
	{ "LF LF is an empty line", TEXT("A: b\n\nC: d\n"), 5, 0, ENDED },
	{ "LF CR LF is an empty line", TEXT("A: b\n\r\nC: d\n"), 5, 0, ENDED },
	{ "a CR alone at the end", TEXT("A: b\r"), 5, 0, 0 },
	{ "an 8-bit value", TEXT("A: \xc3\xa4\r\n\r\n"), 7, 0, ENDED | EIGHT_BIT },
	{ "an 8-bit body", TEXT("A: b\r\n\r\n\xff"), 6, 0, ENDED },
	{ "a NUL in a value", TEXT("A: \0\r\n\r\n"), 6, 0, ENDED },
};

static unsigned flags_of(const struct header_scan *scan)
{
	return (scan->ended ? ENDED : 0) | (scan->malformed ? MALFORMED : 0) |
	       (scan->eight_bit ? EIGHT_BIT : 0);
}

static void check(size_t i, size_t cut, const struct header_scan *scan)
{
	if (scan->header_bytes != cases[i].header_bytes || scan->received != cases[i].received ||
		flags_of(scan) != cases[i].flags)
		fail_msg("%s, cut after %zu: %zu bytes, %u received, flags %u", cases[i].name, cut,
			(size_t)scan->header_bytes, scan->received, flags_of(scan));
}

/* In every two pieces, and byte by byte. */
static void test_1_30_1_66_the_header_ends_where_it_ends_and_received_is_counted(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text content = cases[i].content;
		struct header_scan bytes = header_scan_start();

		for (size_t cut = 0; cut <= content.len; cut++) {
			struct header_scan scan = header_scan_start();

			header_scan_take(&scan, text_first(content, cut));
			header_scan_take(&scan, text_from(content, cut));
			check(i, cut, &scan);
			header_scan_take(&bytes, text_first(text_from(content, cut), 1));
		}
		check(i, 1, &bytes);
	}
}

static void test_1_30_the_end_of_the_content_ends_the_header(void **state)
{
	static const struct {
		struct text content;
		size_t header_bytes;
		bool malformed;
	} ends[] = {
		{ TEXT(""), 0, false },
		{ TEXT("A: b"), 4, false },
		{ TEXT("A: b\r\n"), 6, false },
		{ TEXT("A: b\r\nX"), 6, true },
		{ TEXT("A: b\r\nX \t"), 6, true },
		{ TEXT("A: b\r\n\r\nX"), 6, false },
		{ TEXT("A: b\r\nX y"), 6, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(ends); i++) {
		struct header_scan scan = header_scan_start();

		header_scan_take(&scan, ends[i].content);
		header_scan_end(&scan);
		if (!scan.ended || scan.header_bytes != ends[i].header_bytes ||
			scan.malformed != ends[i].malformed)
			fail_msg("case %zu", i);
	}
}

static void test_1_27_what_the_content_begins_with(void **state)
{
	static const struct {
		struct text content;
		enum header_scan_beginning open, ended; /* before and after header_scan_end() */
	} beginnings[] = {
		{ TEXT(""), HEADER_SCAN_UNKNOWN, HEADER_SCAN_HEADER },
		{ TEXT("A"), HEADER_SCAN_UNKNOWN, HEADER_SCAN_BODY },
		{ TEXT("A "), HEADER_SCAN_UNKNOWN, HEADER_SCAN_BODY },
		{ TEXT("A b"), HEADER_SCAN_BODY, HEADER_SCAN_BODY },
		{ TEXT("A:"), HEADER_SCAN_HEADER, HEADER_SCAN_HEADER },
		{ TEXT("A: b\r\nC"), HEADER_SCAN_HEADER, HEADER_SCAN_HEADER },
		{ TEXT("A: b\r\nC d"), HEADER_SCAN_HEADER, HEADER_SCAN_HEADER },
		{ TEXT("\r"), HEADER_SCAN_HEADER, HEADER_SCAN_HEADER },
		{ TEXT("\n"), HEADER_SCAN_HEADER, HEADER_SCAN_HEADER },
		{ TEXT(" "), HEADER_SCAN_BODY, HEADER_SCAN_BODY },
		{ TEXT("\tA: b"), HEADER_SCAN_BODY, HEADER_SCAN_BODY },
		{ TEXT("\0"), HEADER_SCAN_BODY, HEADER_SCAN_BODY },
		{ TEXT(":"), HEADER_SCAN_BODY, HEADER_SCAN_BODY },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(beginnings); i++) {
		struct header_scan scan = header_scan_start();

		header_scan_take(&scan, beginnings[i].content);
		if (header_scan_beginning(&scan) != beginnings[i].open)
			fail_msg("case %zu, open", i);
		header_scan_end(&scan);
		if (header_scan_beginning(&scan) != beginnings[i].ended)
			fail_msg("case %zu, ended", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_30_1_66_the_header_ends_where_it_ends_and_received_is_counted),
		cmocka_unit_test(test_1_30_the_end_of_the_content_ends_the_header),
		cmocka_unit_test(test_1_27_what_the_content_begins_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
