/* Does this address exist? All inputs of the rule, and the laws that must hold over them (policy/recipient.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"
#include "policy/recipient.h"

static const struct {
	const char *name;
	struct recipient_facts facts;
	enum recipient_verdict want;
} cases[] = {
	{ "nothing is checked", { 0 }, RECIPIENT_TAKE },
	{ "on the list", { .has_list = true, .listed = true }, RECIPIENT_TAKE },
	{ "not on the list", { .has_list = true }, RECIPIENT_UNKNOWN },
	{ "postmaster is not on the list", { .special = true, .has_list = true }, RECIPIENT_TAKE },
	{ "the next hop knows it", { .answer = RECIPIENT_YES }, RECIPIENT_TAKE },
	{ "the next hop does not know it", { .answer = RECIPIENT_NO }, RECIPIENT_UNKNOWN },
	{ "the next hop cannot be asked", { .answer = RECIPIENT_LATER }, RECIPIENT_DEFER },
	{ "the next hop refuses it for another reason", { .answer = RECIPIENT_REFUSED }, RECIPIENT_REJECT },
	{ "its mailbox is full", { .answer = RECIPIENT_FULL }, RECIPIENT_WAIT },
	{ "listed, but the next hop does not know it",
		{ .has_list = true, .listed = true, .answer = RECIPIENT_NO }, RECIPIENT_UNKNOWN },
	{ "not listed, and the next hop cannot be asked", { .has_list = true, .answer = RECIPIENT_LATER },
		RECIPIENT_UNKNOWN },
};

static void test_each_known_case(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (recipient_decide(&cases[i].facts).verdict != cases[i].want)
			fail_msg("%s", cases[i].name);
}

static void test_laws_over_all_inputs(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		for (int answer = RECIPIENT_NOT_ASKED; answer <= RECIPIENT_LATER; answer++) {
			struct recipient_facts f = { bits & 1, bits & 2, bits & 4,
				(enum recipient_answer)answer };
			struct recipient_decision decision = recipient_decide(&f);

			assert_non_null(decision.reason);
			if (f.special)
				assert_int_equal(decision.verdict, RECIPIENT_TAKE);
			if (!f.special && answer > RECIPIENT_YES)
				assert_int_not_equal(decision.verdict, RECIPIENT_TAKE);
			if (!f.special && f.has_list && !f.listed)
				assert_int_equal(decision.verdict, RECIPIENT_UNKNOWN);
			if (!f.special && answer == RECIPIENT_NO)
				assert_int_equal(decision.verdict, RECIPIENT_UNKNOWN);
			if (decision.verdict == RECIPIENT_DEFER)
				assert_int_equal(answer, RECIPIENT_LATER);
			assert_int_equal(
				recipient_must_ask(&f, true), !f.special && (!f.has_list || f.listed));
			assert_false(recipient_must_ask(&f, false));
		}
	}
}

/* What a next hop said to RCPT. */
static const struct {
	const char *reply;
	enum recipient_answer want;
} replies[] = {
	{ "250 2.1.5 ok", RECIPIENT_YES },
	{ "250", RECIPIENT_YES },
	{ "251 user not local", RECIPIENT_YES },
	{ "550 5.1.1 no such user", RECIPIENT_NO },
	{ "550 5.1.10 recipient not found", RECIPIENT_NO },
	{ "554 5.1.1 no such user", RECIPIENT_NO },
	{ "556 5.1.10 no mail here", RECIPIENT_NO },
	{ "550 5.1.1", RECIPIENT_NO },
	{ "550 no such user", RECIPIENT_NO },
	{ "550", RECIPIENT_NO },
	{ "550 5.1 users only", RECIPIENT_NO },
	{ "550 5.1.1.1 what", RECIPIENT_NO },
	{ "551 not local", RECIPIENT_NO },
	{ "553 bad mailbox", RECIPIENT_NO },
	{ "550 5.1.7 bad sender", RECIPIENT_REFUSED },
	{ "550 5.1.8 bad domain of the sender", RECIPIENT_REFUSED },
	{ "550 5.2.1 disabled", RECIPIENT_REFUSED },
	{ "550 5.4.1 access denied", RECIPIENT_REFUSED },
	{ "550 5.7.1 relaying denied", RECIPIENT_REFUSED },
	{ "554 5.7.1 client refused", RECIPIENT_REFUSED },
	{ "554 refused", RECIPIENT_REFUSED },
	{ "501 syntax", RECIPIENT_REFUSED },
	{ "552 5.2.2 over quota", RECIPIENT_FULL },
	{ "550 5.2.2 over quota", RECIPIENT_FULL },
	{ "552 over quota", RECIPIENT_FULL },
	{ "452 4.2.2 over quota", RECIPIENT_FULL },
	{ "552 5.3.4 too large", RECIPIENT_REFUSED },
	{ "452 4.5.3 too many", RECIPIENT_LATER },
	{ "450 4.2.0 greylisted", RECIPIENT_LATER },
	{ "450 4.1.1 not now", RECIPIENT_LATER },
	{ "421 going down", RECIPIENT_LATER },
	{ "550 4.1.1 which of the two?", RECIPIENT_LATER },
	{ "450 5.1.1 which of the two?", RECIPIENT_LATER },
	{ "354 go on", RECIPIENT_LATER },
};

static void test_what_a_reply_means(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(replies); i++) {
		unsigned code = (unsigned)atoi(replies[i].reply);
		struct text text = text_from(text_of(replies[i].reply), 4);
		enum recipient_answer answer = recipient_understand(code, text);

		if (answer != replies[i].want)
			fail_msg("%s: %s", replies[i].reply, recipient_word(answer));
		assert_int_equal(
			recipient_is_lasting(answer), answer == RECIPIENT_YES || answer == RECIPIENT_NO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_known_case),
		cmocka_unit_test(test_laws_over_all_inputs),
		cmocka_unit_test(test_what_a_reply_means),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
