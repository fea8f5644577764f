/* TLSA records: what is read, what can match at all, and what is counted although it cannot (conformance 3.13, 3.14, 3.20 to 3.22). */
#include "wire/tlsa.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

enum { LEN_MAX = 80 };

/* A record of these numbers with `len` bytes of data. */
static struct tlsa_record record_of(unsigned usage, unsigned selector, unsigned matching, size_t len)
{
	static const char bytes[LEN_MAX] = { 1, 2, 3 };

	assert_true(len <= sizeof bytes);
	return (struct tlsa_record){ (uint8_t)usage, (uint8_t)selector, (uint8_t)matching, { bytes, len } };
}

/* The bytes lie at the end of a block of their own, so that a byte read behind them is seen. */
static void test_3_14_rdata_of_0_to_3_bytes_is_no_record(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 3; len++) {
		struct tlsa_record record = record_of(9, 9, 9, 9);
		char *bytes = test_malloc(len + (len == 0));

		memset(bytes, 1, len);
		assert_int_equal(tlsa_parse((struct text){ bytes, len }, &record), ERR_FORMAT);
		assert_int_equal(record.usage, 9);
		test_free(bytes);
	}
}

static void test_3_21_the_three_numbers_and_the_rest_are_read(void **state)
{
	struct tlsa_record record;
	struct text rdata = TEXT("\x02\x01\xff\x00\xab");

	(void)state;
	assert_int_equal(tlsa_parse(rdata, &record), 0);
	assert_int_equal(record.usage, 2);
	assert_int_equal(record.selector, 1);
	assert_int_equal(record.matching, 255);
	assert_true(text_equal(record.data, TEXT("\x00\xab")));
	assert_int_equal(tlsa_parse(TEXT("\xff\xfe\xfd\x01"), &record), 0);
	assert_int_equal(record.usage, 255);
	assert_int_equal(record.data.len, 1);
}

static bool has_a_usable_length(unsigned matching, size_t len)
{
	return matching == TLSA_FULL ? len > 0 : len == (matching == TLSA_SHA256 ? 32 : 64);
}

/* True when it is usable for mail as told here, which is what tlsa_flaw() must say. */
static bool check(unsigned usage, unsigned selector, unsigned matching, size_t len)
{
	struct tlsa_record record = record_of(usage, selector, matching, len);
	bool known = usage <= 3 && selector <= 1 && matching <= 2 && has_a_usable_length(matching, len);

	if ((tlsa_flaw(&record, false) == NULL) != (known && usage >= 2) ||
		(tlsa_flaw(&record, true) == NULL) != known)
		fail_msg("%u %u %u, %zu bytes", usage, selector, matching, len);
	return known && usage >= 2;
}

static void test_3_20_3_21_3_22_of_all_numbers_and_lengths_these_are_usable(void **state)
{
	static const size_t lengths[] = { 0, 1, 20, 31, 32, 33, 63, 64, 65 };
	size_t usable = 0;

	(void)state;
	for (unsigned usage = 0; usage < 256; usage++)
		for (unsigned selector = 0; selector < 256; selector++)
			for (unsigned matching = 0; matching < 256; matching += matching == 4 ? 250 : 1)
				for (size_t i = 0; i < COUNT(lengths); i++)
					usable += check(usage, selector, matching, lengths[i]);
	for (unsigned matching = 0; matching < 256; matching++)
		usable += check(3, 1, matching, 32);
	assert_int_equal(usable, 2 * 2 * (8 + 1 + 1) + 2);
}

static void test_3_20_3_21_3_22_the_flaw_is_named(void **state)
{
	static const struct {
		unsigned usage, selector, matching;
		size_t len;
		const char *word;
	} cases[] = {
		{ 0, 0, 1, 32, "usages 0 and 1" },
		{ 1, 1, 1, 32, "usages 0 and 1" },
		{ 4, 1, 1, 32, "usage is unknown" },
		{ 3, 2, 1, 32, "selector is unknown" },
		{ 3, 1, 3, 32, "matching type is unknown" },
		{ 3, 1, 254, 32, "matching type is unknown" },
		{ 3, 1, 255, 32, "private use" },
		{ 3, 1, 1, 31, "SHA-256" },
		{ 3, 1, 2, 32, "SHA-512" },
		{ 2, 0, 0, 0, "no data" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct tlsa_record record =
			record_of(cases[i].usage, cases[i].selector, cases[i].matching, cases[i].len);
		const char *flaw = tlsa_flaw(&record, false);

		assert_non_null(flaw);
		if (strstr(flaw, cases[i].word) == NULL)
			fail_msg("case %zu: %s", i, flaw);
	}
}

/* Only OpenSSL can tell whether it is a certificate: the record passes here. */
static void test_3_21_garbage_with_matching_type_0_is_for_pki_to_find(void **state)
{
	struct tlsa_record record = record_of(3, 0, 0, 5);

	(void)state;
	assert_null(tlsa_flaw(&record, false));
}

static void test_3_14_records_as_text(void **state)
{
	struct tlsa_record record = { 3, 1, 1, TEXT("\xab\x00\x7f\xff") };
	char *whole = tlsa_text(NULL, &record, 32), *part = tlsa_text(NULL, &record, 2),
	     *none = tlsa_text(NULL, &record, 0);

	(void)state;
	assert_string_equal(whole, "3 1 1 ab007fff");
	assert_string_equal(part, "3 1 1 ab00...");
	assert_string_equal(none, "3 1 1 ...");
	talloc_free(whole);
	talloc_free(part);
	talloc_free(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_3_14_rdata_of_0_to_3_bytes_is_no_record),
		cmocka_unit_test(test_3_21_the_three_numbers_and_the_rest_are_read),
		cmocka_unit_test(test_3_20_3_21_3_22_of_all_numbers_and_lengths_these_are_usable),
		cmocka_unit_test(test_3_20_3_21_3_22_the_flaw_is_named),
		cmocka_unit_test(test_3_21_garbage_with_matching_type_0_is_for_pki_to_find),
		cmocka_unit_test(test_3_14_records_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
