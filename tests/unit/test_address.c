/* Addresses: what is accepted, how it is cut, and what never passes (conformance 1.42). */
#include "wire/address.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/err.h"

#define L16  "aaaaaaaaaaaaaaaa"
#define L63  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define D255 L63 "." L63 "." L63 "." L63

/* 8, 16 and 96 octets in characters of two. */
#define U8  "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f"
#define U16 U8 U8
#define U96 U16 U16 U16 U16 U16 U16

static void same(const char *name, const char *what, struct text got, struct text want)
{
	if (!text_equal(got, want))
		fail_msg("%s: %s is \"" TEXT_FMT "\", not \"" TEXT_FMT "\"", name, what, TEXT_ARG(got),
			TEXT_ARG(want));
}

static const struct {
	const char *name;
	struct text path;
	bool allow_null;
	const char *whole, *local, *domain;
	size_t used; /* 0: all of it */
	bool utf8;
} good[] = {
	{ "a plain path", TEXT("<a@b>"), true, "a@b", "a", "b", 0 },
	{ "what follows the path is not looked at", TEXT("<a@b> SIZE=1>"), true, "a@b", "a", "b", 5 },
	{ "the null path", TEXT("<>"), true, "", "", "", 0 },
	{ "postmaster alone", TEXT("<postmaster>"), false, "postmaster", "postmaster", "", 0 },
	{ "postmaster in any case", TEXT("<PostMaster>"), false, "PostMaster", "PostMaster", "", 0 },
	{ "postmaster with a domain", TEXT("<postmaster@b>"), false, "postmaster@b", "postmaster", "b", 0 },
	{ "a source route is dropped", TEXT("<@a:c@d>"), true, "c@d", "c", "d", 0 },
	{ "a long source route is dropped", TEXT("<@a,@[1.2.3.4],@b:c@d>"), true, "c@d", "c", "d", 0 },
	{ "a dot-atom", TEXT("<a.b+c=d@e.f>"), true, "a.b+c=d@e.f", "a.b+c=d", "e.f", 0 },
	{ "every atext", TEXT("<!#$%&'*+-/=?^_`{|}~@b>"), true, "!#$%&'*+-/=?^_`{|}~@b",
		"!#$%&'*+-/=?^_`{|}~", "b", 0 },
	{ "a quoted local part stays quoted", TEXT("<\"a b\"@c>"), true, "\"a b\"@c", "\"a b\"", "c", 0 },
	{ "a quoted local part may hold @ and >", TEXT("<\"a@b>\"@c>"), true, "\"a@b>\"@c", "\"a@b>\"", "c",
		0 },
	{ "quoted pairs", TEXT("<\"a\\\"\\\\\"@c>"), true, "\"a\\\"\\\\\"@c", "\"a\\\"\\\\\"", "c", 0 },
	{ "an underscore in a domain", TEXT("<a@_b.c>"), true, "a@_b.c", "a", "_b.c", 0 },
	{ "an IPv4 literal keeps its brackets", TEXT("<a@[192.0.2.1]>"), true, "a@[192.0.2.1]", "a",
		"[192.0.2.1]", 0 },
	{ "an IPv6 literal keeps its brackets", TEXT("<a@[IPv6:2001:db8::1]>"), true, "a@[IPv6:2001:db8::1]",
		"a", "[IPv6:2001:db8::1]", 0 },
	{ "a local part of 64", TEXT("<" L16 L16 L16 L16 "@b>"), true, L16 L16 L16 L16 "@b", L16 L16 L16 L16,
		"b", 0 },
	{ "a domain of 255 in labels of 63", TEXT("<a@" D255 ">"), true, "a@" D255, "a", D255, 0 },
	{ "1.40 UTF-8 in the local part", TEXT("<\xc3\xa4.b@c>"), true, "\xc3\xa4.b@c", "\xc3\xa4.b", "c", 0,
		true },
	{ "1.40 UTF-8 in quotes", TEXT("<\"\xe2\x82\xac >\"@c>"), true, "\"\xe2\x82\xac >\"@c",
		"\"\xe2\x82\xac >\"", "c", 0, true },
	{ "1.40 a U-label",
		TEXT("<a@b\xc3\xbc"
		     "cher.test>"),
		true,
		"a@b\xc3\xbc"
		"cher.test",
		"a",
		"b\xc3\xbc"
		"cher.test",
		0, true },
	{ "1.40 a character of four bytes", TEXT("<\xf0\x9f\x98\x80@b>"), true, "\xf0\x9f\x98\x80@b",
		"\xf0\x9f\x98\x80", "b", 0, true },
	{ "a route of U-labels is dropped", TEXT("<@\xc3\xa4:c@d>"), true, "c@d", "c", "d", 0, false },
	{ "a UTF-8 local part of 64 octets", TEXT("<" U16 U16 U16 U16 "@b>"), true, U16 U16 U16 U16 "@b",
		U16 U16 U16 U16, "b", 0, true },
	{ "a U-label of 63 characters", TEXT("<a@" U96 U16 U8 "aaa>"), true, "a@" U96 U16 U8 "aaa", "a",
		U96 U16 U8 "aaa", 0, true },
	{ "a UTF-8 domain of 255 octets",
		TEXT("<a@" U96 ".a" U96 ".a" U16 U16 U16 U8 "aaa"
		     ">"),
		true, "a@" U96 ".a" U96 ".a" U16 U16 U16 U8 "aaa", "a",
		U96 ".a" U96 ".a" U16 U16 U16 U8 "aaa", 0, true },
};

static const struct {
	const char *name;
	struct text path;
	bool allow_null;
} bad[] = {
	{ "nothing", TEXT(""), true },
	{ "only the bracket", TEXT("<"), true },
	{ "no brackets", TEXT("a@b"), true },
	{ "no closing bracket", TEXT("<a@b"), true },
	{ "null path where none is allowed", TEXT("<>"), false },
	{ "postmaster alone as a sender", TEXT("<postmaster>"), true },
	{ "a local part alone", TEXT("<abc>"), false },
	{ "postmaster without the end", TEXT("<postmaster"), false },
	{ "an empty local part", TEXT("<@b>"), true },
	{ "an empty quoted local part", TEXT("<\"\"@b>"), true },
	{ "an empty domain", TEXT("<a@>"), true },
	{ "two @", TEXT("<a@b@c>"), true },
	{ "a NUL in the quoted local part", TEXT("<\"a\0b\"@x>"), true },
	{ "a quoted NUL", TEXT("<\"a\\\0b\"@x>"), true },
	{ "a NUL behind the domain", TEXT("<a@x\0>"), true },
	{ "a NUL in the local part", TEXT("<a\0@x>"), true },
	{ "a tab", TEXT("<\"a\tb\"@x>"), true },
	{ "DEL", TEXT("<\"a\x7f\"@x>"), true },
	{ "1.40 a cut character in the local part", TEXT("<\xc3@x>"), true },
	{ "1.40 a cut character in quotes", TEXT("<\"\xe2\x82\"@x>"), true },
	{ "1.40 a cut character at the end of the domain", TEXT("<a@\xf0\x9f\x98>"), true },
	{ "1.40 Latin-1 in the domain", TEXT("<a@b\xfcr>"), true },
	{ "1.40 an overlong at sign",
		TEXT("<a\xc1\x80"
		     "b>"),
		true },
	{ "1.40 an overlong dot",
		TEXT("<a@b\xc0\xae"
		     "c>"),
		true },
	{ "1.40 an overlong CR in three bytes", TEXT("<a\xe0\x80\x8d@b>"), true },
	{ "1.40 a surrogate", TEXT("<\xed\xa0\x80@b>"), true },
	{ "1.40 a character over U+10FFFF", TEXT("<\xf4\x90\x80\x80@b>"), true },
	{ "a C1 control in the local part", TEXT("<a\xc2\x85@b>"), true },
	{ "a C1 control in quotes", TEXT("<\"\xc2\x9b\"@b>"), true },
	{ "a C1 control in the domain", TEXT("<a@\xc2\x80>"), true },
	{ "an ideographic full stop in the domain",
		TEXT("<a@b\xe3\x80\x82"
		     "c>"),
		true },
	{ "a fullwidth full stop in the domain",
		TEXT("<a@b\xef\xbc\x8e"
		     "c>"),
		true },
	{ "a halfwidth full stop in the domain",
		TEXT("<a@b\xef\xbd\xa1"
		     "c>"),
		true },
	{ "a quoted pair of a UTF-8 character", TEXT("<\"\\\xc3\xa4\"@b>"), true },
	{ "1.42 a UTF-8 local part of 65 octets", TEXT("<" U16 U16 U16 U16 "a@b>"), true },
	{ "a U-label of 64 characters", TEXT("<a@" U16 U16 U16 U16 U16 U16 U16 U16 ">"), true },
	{ "1.42 a UTF-8 domain of 256 octets",
		TEXT("<a@" U96 ".a" U96 ".a" U16 U16 U16 U8 "aaaa"
		     ">"),
		true },
	{ "a blank in front", TEXT("< a@b>"), true },
	{ "a blank before the end", TEXT("<a@b >"), true },
	{ "a leading dot", TEXT("<.a@b>"), true },
	{ "a trailing dot", TEXT("<a.@b>"), true },
	{ "two dots", TEXT("<a..b@c>"), true },
	{ "an open quote", TEXT("<\"a@b>"), true },
	{ "a backslash at the very end", TEXT("<\"a\\"), true },
	{ "quotes in the middle", TEXT("<a\"b\"@c>"), true },
	{ "a domain with a trailing dot", TEXT("<a@b.>"), true },
	{ "a domain that starts with a dot", TEXT("<a@.b>"), true },
	{ "a label that starts with a hyphen", TEXT("<a@-b>"), true },
	{ "a label that ends with a hyphen", TEXT("<a@b-.c>"), true },
	{ "a label of 64", TEXT("<a@" L63 "a>"), true },
	{ "a domain of 257", TEXT("<a@" D255 ".a>"), true },
	{ "a local part of 65", TEXT("<" L16 L16 L16 L16 "a@b>"), true },
	{ "a literal with a port", TEXT("<a@[192.0.2.1:25]>"), true },
	{ "an IPv6 literal without its tag", TEXT("<a@[2001:db8::1]>"), true },
	{ "an IPv6 tag before IPv4", TEXT("<a@[IPv6:192.0.2.1]>"), true },
	{ "an IPv6 tag before IPv4 and a port", TEXT("<a@[IPv6:192.0.2.1:25]>"), true },
	{ "brackets in brackets", TEXT("<a@[IPv6:[::1]]>"), true },
	{ "an empty literal", TEXT("<a@[]>"), true },
	{ "an empty IPv6 literal", TEXT("<a@[IPv6:]>"), true },
	{ "an open literal", TEXT("<a@[192.0.2.1>"), true },
	{ "a route without a mailbox", TEXT("<@a:>"), true },
	{ "a route without a colon", TEXT("<@a,@b>"), true },
	{ "a route that ends in a comma", TEXT("<@a,:c@d>"), true },
	{ "a route of nothing", TEXT("<@:c@d>"), true },
	{ "a route without the second @", TEXT("<@a,b:c@d>"), true },
};

static void test_1_40_1_42_right_paths_are_cut_into_parts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		struct address address;
		size_t used = 0;

		if (address_parse_path(good[i].path, good[i].allow_null, &address, &used) < 0)
			fail_msg("%s: refused", good[i].name);
		same(good[i].name, "whole", address.whole, text_of(good[i].whole));
		same(good[i].name, "local", address.local, text_of(good[i].local));
		same(good[i].name, "domain", address.domain, text_of(good[i].domain));
		if (address.utf8 != good[i].utf8)
			fail_msg("%s: utf8 is %d", good[i].name, address.utf8);
		assert_int_equal(used, good[i].used != 0 ? good[i].used : good[i].path.len);
	}
}

static void test_1_40_1_42_wrong_paths_are_refused_and_write_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct address address = { .whole = TEXT("untouched") };
		size_t used = 77;

		if (address_parse_path(bad[i].path, bad[i].allow_null, &address, &used) != ERR_FORMAT)
			fail_msg("%s: accepted", bad[i].name);
		same(bad[i].name, "whole", address.whole, TEXT("untouched"));
		assert_int_equal(used, 77);
	}
}

/* Each path cut at each byte is refused, but the paths that are themselves cut right after the bracket. */
static void test_no_proper_prefix_of_a_path_is_a_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		size_t end = good[i].used != 0 ? good[i].used : good[i].path.len;

		for (size_t len = 0; len < end; len++) {
			char *copy = test_malloc(len + 1);
			struct address address;
			size_t used;

			memcpy(copy, good[i].path.at, len);
			if (address_parse_path(
				    (struct text){ copy, len }, good[i].allow_null, &address, &used) == 0)
				fail_msg("%s: accepted when cut after %zu", good[i].name, len);
			test_free(copy);
		}
	}
}

static void test_a_bare_mailbox_must_use_all_of_the_text(void **state)
{
	static const struct {
		struct text t;
		int want;
	} cases[] = {
		{ TEXT("a@b"), 0 },
		{ TEXT("\"a b\"@[IPv6:::1]"), 0 },
		{ TEXT("a@b "), ERR_FORMAT },
		{ TEXT("a@b>"), ERR_FORMAT },
		{ TEXT("<a@b>"), ERR_FORMAT },
		{ TEXT("a"), ERR_FORMAT },
		{ TEXT("@b"), ERR_FORMAT },
		{ TEXT(""), ERR_FORMAT },
		{ TEXT("a@b\0"), ERR_FORMAT },
		{ TEXT("\xc3\xa4@\xc3\xa4"), 0 },
		{ TEXT("\xc3\xa4@\xc3"), ERR_FORMAT },
		{ TEXT("postmaster"), ERR_FORMAT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct address address;

		if (address_parse(cases[i].t, &address) != cases[i].want)
			fail_msg(TEXT_FMT, TEXT_ARG(cases[i].t));
	}
}

static void test_domains(void **state)
{
	static const struct {
		struct text t;
		bool want;
	} cases[] = {
		{ TEXT("a"), true },
		{ TEXT("mx1.good.test"), true },
		{ TEXT("A-b_c.0"), true },
		{ TEXT(D255), true },
		{ TEXT(""), false },
		{ TEXT("."), false },
		{ TEXT("a."), false },
		{ TEXT(".a"), false },
		{ TEXT("a..b"), false },
		{ TEXT("a-"), false },
		{ TEXT("a b"), false },
		{ TEXT("a\0"), false },
		{ TEXT("a\n"), false },
		{ TEXT("[1.2.3.4]"), false },
		{ TEXT("a)"), false },
		{ TEXT("\xc3\xa4"), false },
		{ TEXT("a\xc3\xa4.b"), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (address_is_domain(cases[i].t) != cases[i].want)
			fail_msg("\"" TEXT_FMT "\"", TEXT_ARG(cases[i].t));
}

static void test_literals(void **state)
{
	static const struct {
		struct text t;
		bool want;
	} cases[] = {
		{ TEXT("[192.0.2.1]"), true },
		{ TEXT("[IPv6:2001:db8::1]"), true },
		{ TEXT("[ipv6:::ffff:192.0.2.1]"), true },
		{ TEXT("192.0.2.1"), false },
		{ TEXT("[192.0.2.1"), false },
		{ TEXT("[192.0.2]"), false },
		{ TEXT("[192.0.2.1]]"), false },
		{ TEXT("[192.0.2.1\0]"), false },
		{ TEXT("[IPv6:[::1]:25]"), false },
		{ TEXT("[IPv6:::1%1]"), false },
		{ TEXT("[x:y]"), false },
		{ TEXT("[]"), false },
		{ TEXT("]"), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (address_is_literal(cases[i].t) != cases[i].want)
			fail_msg("\"" TEXT_FMT "\"", TEXT_ARG(cases[i].t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_40_1_42_right_paths_are_cut_into_parts),
		cmocka_unit_test(test_1_40_1_42_wrong_paths_are_refused_and_write_nothing),
		cmocka_unit_test(test_no_proper_prefix_of_a_path_is_a_path),
		cmocka_unit_test(test_a_bare_mailbox_must_use_all_of_the_text),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_literals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
