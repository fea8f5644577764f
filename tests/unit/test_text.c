/* Slices: comparing, cutting, numbers, copies. */
#include "base/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"

static void is(struct text got, const char *want)
{
	if (!text_equal(got, text_of(want)))
		fail_msg("\"" TEXT_FMT "\", not \"%s\"", TEXT_ARG(got), want);
}

static void test_texts_compare_by_length_and_bytes(void **state)
{
	(void)state;
	assert_true(text_equal(TEXT("ab"), TEXT("ab")));
	assert_true(text_equal(TEXT("a\0b"), TEXT("a\0b")));
	assert_true(text_equal(TEXT(""), text_of(NULL)));
	assert_false(text_equal(TEXT("a\0b"), TEXT("a\0c")));
	assert_false(text_equal(TEXT("ab"), TEXT("abc")));
	assert_false(text_equal(TEXT("ab"), TEXT("AB")));
	assert_true(text_equal_nocase(TEXT("aBz"), TEXT("AbZ")));
	assert_false(text_equal_nocase(TEXT("ab"), TEXT("abc")));
	assert_false(text_equal_nocase(TEXT("@"), TEXT("`")));
	assert_false(text_equal_nocase(TEXT("\xe4"), TEXT("\xc4")));
	assert_true(text_starts_nocase(TEXT("FROM:<>"), TEXT("from:")));
	assert_false(text_starts_nocase(TEXT("FRO"), TEXT("from:")));
	assert_true(text_starts_nocase(TEXT(""), TEXT("")));
	assert_true(text_ends_nocase(TEXT("mx.Good.TEST"), TEXT(".test")));
	assert_false(text_ends_nocase(TEXT("test"), TEXT(".test")));
}

static void test_texts_are_cut_within_their_bounds(void **state)
{
	(void)state;
	is(text_from(TEXT("abc"), 1), "bc");
	is(text_from(TEXT("abc"), 3), "");
	is(text_from(TEXT("abc"), 99), "");
	is(text_first(TEXT("abc"), 2), "ab");
	is(text_first(TEXT("abc"), 99), "abc");
	is(text_trim(TEXT(" \t a b\t ")), "a b");
	is(text_trim(TEXT("   ")), "");
	is(text_trim(TEXT("")), "");
	is(text_trim(TEXT("\na ")), "\na");
}

static void test_bytes_are_found_or_the_length_comes_back(void **state)
{
	(void)state;
	assert_int_equal(text_find(TEXT("a@b@c"), '@'), 1);
	assert_int_equal(text_find_last(TEXT("a@b@c"), '@'), 3);
	assert_int_equal(text_find(TEXT("abc"), '@'), 3);
	assert_int_equal(text_find_last(TEXT("abc"), '@'), 3);
	assert_int_equal(text_find(TEXT(""), '@'), 0);
	assert_int_equal(text_find(TEXT("a\0b"), '\0'), 1);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *t;
		uint64_t max;
		int want;
		uint64_t number;
	} cases[] = {
		{ "0", 0, 0, 0 },
		{ "007", 7, 0, 7 },
		{ "65535", 65535, 0, 65535 },
		{ "65536", 65535, -ERANGE, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "", 9, -EINVAL, 0 },
		{ "-1", 9, -EINVAL, 0 },
		{ "+1", 9, -EINVAL, 0 },
		{ " 1", 9, -EINVAL, 0 },
		{ "1 ", 9, -EINVAL, 0 },
		{ "0x1", 9, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t number = 77;

		if (text_number(text_of(cases[i].t), cases[i].max, &number) != cases[i].want)
			fail_msg("\"%s\"", cases[i].t);
		assert_true(number == (cases[i].want == 0 ? cases[i].number : 77));
	}
}

static void test_copies_belong_to_their_owner_and_end_in_nul(void **state)
{
	void *owner = talloc_new(NULL);
	char *copy = text_copy(owner, TEXT("Ab\xc4!"));

	(void)state;
	assert_string_equal(copy, "Ab\xc4!");
	assert_ptr_equal(talloc_parent(copy), owner);
	assert_string_equal(text_copy(owner, text_of(NULL)), "");
	assert_string_equal(text_copy_lower(owner, TEXT("AZ[\xc4z")), "az[\xc4z");
	talloc_free(owner);
}

static void test_distances(void **state)
{
	char longer[65];

	(void)state;
	memset(longer, 'a', sizeof longer);
	assert_int_equal(text_distance(TEXT("listen"), TEXT("LISTEN")), 0);
	assert_int_equal(text_distance(TEXT("listen"), TEXT("listne")), 2);
	assert_int_equal(text_distance(TEXT("kitten"), TEXT("sitting")), 3);
	assert_int_equal(text_distance(TEXT(""), TEXT("abc")), 3);
	assert_int_equal(text_distance(TEXT("abc"), TEXT("")), 3);
	assert_int_equal(text_distance((struct text){ longer, 64 }, (struct text){ longer, 64 }), 0);
	assert_int_equal(text_distance((struct text){ longer, 65 }, (struct text){ longer, 65 }), 64);
}

static void test_bytes_over_127_are_noticed_wherever_they_stand(void **state)
{
	char bytes[20];

	(void)state;
	for (size_t len = 0; len <= sizeof bytes; len++) {
		memset(bytes, 0x7f, sizeof bytes);
		assert_true(text_is_ascii((struct text){ bytes, len }));
		for (size_t i = 0; i < sizeof bytes; i++) {
			bytes[i] = (char)0x80;
			assert_int_equal(text_is_ascii((struct text){ bytes, len }), i >= len);
			bytes[i] = 0;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_compare_by_length_and_bytes),
		cmocka_unit_test(test_texts_are_cut_within_their_bounds),
		cmocka_unit_test(test_bytes_are_found_or_the_length_comes_back),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_copies_belong_to_their_owner_and_end_in_nul),
		cmocka_unit_test(test_distances),
		cmocka_unit_test(test_bytes_over_127_are_noticed_wherever_they_stand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
