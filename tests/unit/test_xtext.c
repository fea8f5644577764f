/* xtext: what decodes, what does not, and that encoding and decoding give the text back (conformance 1.43). */
#include "wire/xtext.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/err.h"

static void test_1_43_what_decodes_and_what_does_not(void **state)
{
	static const struct {
		struct text t;
		const char *want; /* NULL: refused */
	} cases[] = {
		{ TEXT(""), "" },
		{ TEXT("QQ314159"), "QQ314159" },
		{ TEXT("Bob+40x"), "Bob@x" },
		{ TEXT("+2B+3D"), "+=" },
		{ TEXT("a+20b"), "a b" },
		{ TEXT("foo+0D+0ABAR"), "foo\r\nBAR" },
		{ TEXT("+FF+7F"), "\xff\x7f" },
		{ TEXT("<>!~"), "<>!~" },
		{ TEXT("+00"), NULL },
		{ TEXT("a+00b"), NULL },
		{ TEXT("+zz"), NULL },
		{ TEXT("+2b"), NULL },
		{ TEXT("+4"), NULL },
		{ TEXT("+"), NULL },
		{ TEXT("a+G0"), NULL },
		{ TEXT("a=b"), NULL },
		{ TEXT("a b"), NULL },
		{ TEXT("a\tb"), NULL },
		{ TEXT("a\0"), NULL },
		{ TEXT("\x7f"), NULL },
		{ TEXT("\xc3\xa4"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *out = test_malloc(cases[i].t.len + 1);
		size_t len = 77;
		int r = xtext_decode(cases[i].t, out, &len);

		if (r != (cases[i].want != NULL ? 0 : ERR_FORMAT))
			fail_msg("case %zu: %d", i, r);
		if (r == 0 && !text_equal((struct text){ out, len }, text_of(cases[i].want)))
			fail_msg("case %zu: \"" TEXT_FMT "\"", i, (int)len, out);
		if (r < 0)
			assert_int_equal(len, 77);
		test_free(out);
	}
}

/* Each pair of bytes without NUL, `+` and `=` among them. */
static void test_1_43_decoding_what_was_encoded_gives_it_back(void **state)
{
	(void)state;
	for (unsigned first = 1; first < 256; first++) {
		for (unsigned second = 1; second < 256; second++) {
			char plain[2] = { (char)first, (char)second }, coded[6], again[6];
			size_t len = xtext_encode((struct text){ plain, 2 }, coded), again_len;

			assert_int_equal(xtext_decode((struct text){ coded, len }, again, &again_len), 0);
			assert_int_equal(again_len, 2);
			assert_memory_equal(again, plain, 2);
		}
	}
	char coded[6];
	assert_int_equal(xtext_encode(TEXT("+="), coded), 6);
	assert_memory_equal(coded, "+2B+3D", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_43_what_decodes_and_what_does_not),
		cmocka_unit_test(test_1_43_decoding_what_was_encoded_gives_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
