/* The frame of PEM files: which blocks there are, and that nothing of one gets into another. */
#include "wire/pem_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

#define BEGIN(label) "-----BEGIN " label "-----\n"
#define END(label)   "-----END " label "-----"

static void test_blocks_are_found_whole_and_by_their_label(void **state)
{
	static const struct {
		const char *name, *file;
		const char *blocks[3]; /* as they stand in the file; NULL ends */
	} cases[] = {
		{ "nothing", "", { NULL } },
		{ "words", "hello\nworld\n", { NULL } },
		{ "one", BEGIN("A") "x\n" END("A") "\n", { BEGIN("A") "x\n" END("A") } },
		{ "no last line end", BEGIN("A") "x\n" END("A"), { BEGIN("A") "x\n" END("A") } },
		{ "CRLF", "-----BEGIN A-----\r\nx\r\n-----END A-----\r\n",
			{ "-----BEGIN A-----\r\nx\r\n-----END A-----\r" } },
		{ "blanks behind", "-----BEGIN A----- \t\nx\n-----END A----- \n",
			{ "-----BEGIN A----- \t\nx\n-----END A----- " } },
		{ "two, words between",
			"a\n" BEGIN("A") END("A") "\nb\n" BEGIN("B C") "y\n" END("B C") "\nc\n",
			{ BEGIN("A") END("A"), BEGIN("B C") "y\n" END("B C") } },
		{ "an empty label", BEGIN("") "x\n" END("") "\n", { BEGIN("") "x\n" END("") } },
		{ "cut, then a whole one", BEGIN("A") "x\n" BEGIN("B") "y\n" END("B") "\n",
			{ BEGIN("B") "y\n" END("B") } },
		{ "the end of another", BEGIN("A") "x\n" END("B") "\n", { NULL } },
		{ "the end of another, and then its own", BEGIN("A") "x\n" END("B") "\n" END("A") "\n",
			{ NULL } },
		{ "one inside another", BEGIN("A") BEGIN("B") "y\n" END("B") "\n" END("A") "\n",
			{ BEGIN("B") "y\n" END("B") } },
		{ "an end only", END("A") "\n", { NULL } },
		{ "not at the beginning of a line", " " BEGIN("A") "x\n" END("A") "\n", { NULL } },
		{ "four dashes", "-----BEGIN A----\nx\n-----END A-----\n", { NULL } },
		{ "dashes that overlap", "-----BEGIN ----\n-----END ----\n", { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t size = strlen(cases[i].file);
		char *exact = text_must(malloc(size + (size == 0))); /* ASan sees a byte too many */
		struct text rest = { exact, size };
		struct pem_frame block;

		memcpy(exact, cases[i].file, size);
		for (size_t n = 0; n < COUNT(cases[i].blocks) && cases[i].blocks[n] != NULL; n++)
			if (!pem_frame_next(&rest, &block) ||
				!text_equal(block.whole, text_of(cases[i].blocks[n])))
				fail_msg("%s: block %zu", cases[i].name, n + 1);
		if (pem_frame_next(&rest, &block))
			fail_msg("%s: one too many: " TEXT_FMT, cases[i].name, TEXT_ARG(block.whole));
		free(exact);
	}
}

static void test_only_certificates_are_certificates(void **state)
{
	static const char *const no[] = { "", "PRIVATE KEY", "CERTIFICATE REQUEST", "certificate",
		"CERTIFICATE ", "RSA PRIVATE KEY", "X509 CRL" };
	static const char *const yes[] = { "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE" };

	(void)state;
	for (size_t i = 0; i < COUNT(no); i++)
		assert_false(pem_frame_is_certificate(text_of(no[i])));
	for (size_t i = 0; i < COUNT(yes); i++)
		assert_true(pem_frame_is_certificate(text_of(yes[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks_are_found_whole_and_by_their_label),
		cmocka_unit_test(test_only_certificates_are_certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
