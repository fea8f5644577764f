/* When a role that does not answer is given up. */
#include "policy/silence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"

enum { LOOKS = SILENCE_END_MS / SILENCE_LOOK_MS };

static void test_a_role_that_answers_is_asked_for_ever(void **state)
{
	struct silence silence = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_ASK);
		silence_heard(&silence);
	}
}

static void test_an_answer_at_the_last_look_is_in_time(void **state)
{
	struct silence silence = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_ASK);
		for (int look = 1; look < LOOKS; look++)
			assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_WAIT);
		silence_heard(&silence);
	}
}

static void test_it_is_given_up_once(void **state)
{
	struct silence silence = { 0 };

	(void)state;
	silence_look(&silence, SILENCE_LOOK_MS);
	for (int look = 1; look < LOOKS; look++)
		assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_WAIT);
	assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_END);
	silence_heard(&silence); /* what it had said before it died */
	for (int i = 0; i < 100; i++)
		assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_WAIT);
}

/* However long master did not run: no pause kills anybody, and none is taken for an answer. */
static void test_a_pause_counts_as_one_look(void **state)
{
	static const int64_t pauses[] = { -1000, SILENCE_LOOK_MS, SILENCE_END_MS, INT64_C(3600000),
		INT64_MAX };

	(void)state;
	for (size_t p = 0; p < COUNT(pauses); p++) {
		struct silence silence = { 0 };

		silence_look(&silence, pauses[p]);
		assert_int_equal(silence.waits_ms, 0);
		for (int look = 1; look < LOOKS; look++)
			assert_int_equal(silence_look(&silence, pauses[p]), SILENCE_WAIT);
		assert_int_equal(
			silence_look(&silence, SILENCE_LOOK_MS), pauses[p] < 0 ? SILENCE_WAIT : SILENCE_END);
	}
}

/* A reload that waited knows it before the next look does; that alone ends nobody, and an answer mends it. */
static void test_what_others_waited_for_counts_as_one_look(void **state)
{
	struct silence silence = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		silence_missed(&silence);
	assert_int_equal(silence.waits_ms, SILENCE_LOOK_MS);
	for (int look = 2; look < LOOKS; look++)
		assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_WAIT);
	silence_missed(&silence);
	assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_END);
	silence = (struct silence){ 0 };
	silence_missed(&silence);
	silence_heard(&silence);
	assert_int_equal(silence_look(&silence, SILENCE_LOOK_MS), SILENCE_ASK);
	assert_int_equal(silence.waits_ms, 0);
}

static void test_short_looks_add_up(void **state)
{
	struct silence silence = { 0 };
	int looks = 0;

	(void)state;
	silence_look(&silence, 10);
	while (silence_look(&silence, 10) == SILENCE_WAIT)
		looks++;
	assert_int_equal(looks, SILENCE_END_MS / 10 - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_role_that_answers_is_asked_for_ever),
		cmocka_unit_test(test_an_answer_at_the_last_look_is_in_time),
		cmocka_unit_test(test_it_is_given_up_once),
		cmocka_unit_test(test_a_pause_counts_as_one_look),
		cmocka_unit_test(test_what_others_waited_for_counts_as_one_look),
		cmocka_unit_test(test_short_looks_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
