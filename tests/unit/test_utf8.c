/* UTF-8: what is one character, against a reference over all code points and all short byte strings. */
#include "wire/utf8.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"

/* RFC 3629 section 3, read as an encoder. */
static size_t encode(uint32_t code, char *out)
{
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const uint8_t marks[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	out[0] = (char)(marks[len] | code);
	return len;
}

static void test_each_code_point_is_one_character_and_surrogates_are_none(void **state)
{
	(void)state;
	for (uint32_t code = 0; code < 0x200000; code++) {
		char bytes[5] = { 0 };
		uint32_t got = UINT32_MAX;
		size_t len = encode(code, bytes);
		bool fine = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);

		if (utf8_first((struct text){ bytes, len }, &got) != (fine ? len : 0) ||
			(fine && got != code))
			fail_msg("U+%04X", (unsigned)code);
		if (fine && len > 1 && utf8_first((struct text){ bytes, len - 1 }, &got) != 0)
			fail_msg("U+%04X when cut", (unsigned)code);
	}
}

/* All strings of three bytes: fine exactly when encoding what came out gives them back. */
static void test_no_two_spellings_of_one_character(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < 1u << 24; number++) {
		char bytes[3] = { (char)(number >> 16), (char)(number >> 8), (char)number }, again[4];
		uint32_t code;
		size_t len = utf8_first((struct text){ bytes, 3 }, &code);

		if (len > 0 && (encode(code, again) != len || memcmp(bytes, again, len) != 0))
			fail_msg("%06X", (unsigned)number);
	}
}

static void test_1_40_malformed_texts(void **state)
{
	static const struct {
		struct text t;
		bool want;
	} cases[] = {
		{ TEXT(""), true },
		{ TEXT("a\0b"), true },
		{ TEXT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), true },
		{ TEXT("\xf4\x8f\xbf\xbf"), true },
		{ TEXT("a\x80"), false },
		{ TEXT("a\xc3"), false },
		{ TEXT("\xc3(\xa4"), false },
		{ TEXT("\xc0\x80"), false },
		{ TEXT("\xc1\xbf"), false },
		{ TEXT("\xe0\x9f\xbf"), false },
		{ TEXT("\xf0\x8f\xbf\xbf"), false },
		{ TEXT("\xed\xa0\x80"), false },
		{ TEXT("\xf4\x90\x80\x80"), false },
		{ TEXT("\xf8\x88\x80\x80\x80"), false },
		{ TEXT("\xfe"), false },
		{ TEXT("\xff"), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (utf8_valid(cases[i].t) != cases[i].want)
			fail_msg("case %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_code_point_is_one_character_and_surrogates_are_none),
		cmocka_unit_test(test_no_two_spellings_of_one_character),
		cmocka_unit_test(test_1_40_malformed_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
