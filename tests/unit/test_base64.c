/* Base64 against the vectors of RFC 4648 section 10 and against OpenSSL over all bytes. */
#include "wire/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "base/base.h"

static void test_the_vectors_of_the_standard(void **state)
{
	static const char *const vectors[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" } };
	char got[16];

	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		assert_int_equal(base64_encode(text_of(vectors[i][0]), got), strlen(vectors[i][1]));
		assert_string_equal(got, vectors[i][1]);
		assert_true(strlen(vectors[i][1]) + 1 <= BASE64_ROOM(strlen(vectors[i][0])));
	}
}

static void test_all_bytes_at_each_place(void **state)
{
	char bytes[260], got[BASE64_ROOM(260)];
	unsigned char want[BASE64_ROOM(260)];

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)i;
	for (size_t at = 0; at < 3; at++)
		for (size_t len = 0; len + at <= sizeof bytes; len++) {
			EVP_EncodeBlock(want, (const unsigned char *)bytes + at, (int)len);
			base64_encode((struct text){ bytes + at, len }, got);
			assert_string_equal(got, (const char *)want);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_vectors_of_the_standard),
		cmocka_unit_test(test_all_bytes_at_each_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
