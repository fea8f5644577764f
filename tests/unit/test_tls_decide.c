/* Delivery TLS: levels B40-B42 and columns 1 to 3 of B59 over all inputs, then the two laws. */
#include "policy/tls_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static const struct {
	enum tls_level level;
	enum tls_demand tls;
	const char *word, *reasons[TLS_SOURCE_DESTINATION + 1];
} levels[] = {
	{ TLS_LEVEL_NONE, TLS_NEVER, "none",
		{ "TLS is switched off by default", "TLS is switched off by destination `default`",
			"TLS is switched off for this destination" } },
	{ TLS_LEVEL_PREFERRED, TLS_MAY, "preferred",
		{ "TLS is preferred by default", "TLS is preferred by destination `default`",
			"TLS is preferred for this destination" } },
	{ TLS_LEVEL_REQUIRED, TLS_MUST, "required",
		{ "TLS is required by default", "TLS is required by destination `default`",
			"TLS is required for this destination" } },
};

static void test_B36_each_level_and_where_it_came_from(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(levels); i++) {
		for (int from = TLS_SOURCE_NOBODY; from <= TLS_SOURCE_DESTINATION; from++) {
			struct tls_facts facts = { .level = levels[i].level,
				.level_from = (enum tls_source)from };
			struct tls_decision got = tls_decide(&facts);

			assert_int_equal(got.tls, levels[i].tls);
			assert_string_equal(got.level, levels[i].word);
			assert_string_equal(got.reason, levels[i].reasons[from]);
		}
	}
}

/* What a route adds, over all inputs: it never weakens, and `tls: none` with it is a contradiction. */
static void test_2_12_a_route_with_implicit_tls_or_credentials(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(levels); i++)
		for (int from = TLS_SOURCE_NOBODY; from <= TLS_SOURCE_DESTINATION; from++)
			for (int route = 0; route < 4; route++) {
				struct tls_facts facts = { .level = levels[i].level,
					.level_from = (enum tls_source)from,
					.implicit = (route & 1) != 0,
					.credentials = (route & 2) != 0 };
				struct tls_decision got = tls_decide(&facts);

				assert_int_equal(got.tls, route == 0 ? levels[i].tls : TLS_MUST);
				assert_int_equal(got.verify, facts.credentials);
				assert_int_equal(
					got.conflict, route != 0 && levels[i].level == TLS_LEVEL_NONE);
				assert_string_equal(got.level, facts.credentials ? "required-verify"
							       : route != 0	 ? "required"
										 : levels[i].word);
				assert_non_null(got.reason);
			}
}

static void test_2_12_who_must_be_verified_gets_nothing_otherwise(void **state)
{
	struct tls_decision decision = { .tls = TLS_MUST, .verify = true };
	const char *reason;

	(void)state;
	for (int outcome = TLS_OUTCOME_NO_ESMTP; outcome <= TLS_OUTCOME_VERIFIED; outcome++)
		assert_int_equal(tls_decide_step(&decision, (enum tls_outcome)outcome, &reason),
			outcome == TLS_OUTCOME_VERIFIED ? TLS_STEP_SEND : TLS_STEP_DROP);
}

/* The cells "n/a (STARTTLS never sent)" must not send anything if they are ever met. */
static const struct {
	const char *name;
	enum tls_outcome outcome;
	enum tls_step never, may, must;
} rows[] = {
	{ "EHLO refused", TLS_OUTCOME_NO_ESMTP, TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP },
	{ "STARTTLS not in EHLO", TLS_OUTCOME_NOT_OFFERED, TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP },
	{ "STARTTLS answered other than 220", TLS_OUTCOME_REFUSED, TLS_STEP_CLEAR, TLS_STEP_CLEAR,
		TLS_STEP_DROP },
	{ "220, then handshake error", TLS_OUTCOME_HANDSHAKE_FAILED, TLS_STEP_DROP, TLS_STEP_DROP,
		TLS_STEP_DROP },
	{ "TLS up, not verified", TLS_OUTCOME_NOT_VERIFIED, TLS_STEP_DROP, TLS_STEP_DROP, TLS_STEP_DROP },
	{ "TLS up", TLS_OUTCOME_UP, TLS_STEP_DROP, TLS_STEP_SEND, TLS_STEP_SEND },
	{ "TLS up, verified", TLS_OUTCOME_VERIFIED, TLS_STEP_DROP, TLS_STEP_SEND, TLS_STEP_SEND },
};

static enum tls_step step(enum tls_demand demand, enum tls_outcome outcome)
{
	struct tls_decision decision = { .tls = demand };
	const char *reason = NULL;
	enum tls_step got = tls_decide_step(&decision, outcome, &reason);

	assert_non_null(reason);
	assert_true(strlen(reason) > 10);
	return got;
}

static void test_B59_each_of_all_inputs(void **state)
{
	(void)state;
	assert_int_equal(COUNT(rows), TLS_OUTCOME_VERIFIED + 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum tls_step got[] = { step(TLS_NEVER, rows[i].outcome), step(TLS_MAY, rows[i].outcome),
			step(TLS_MUST, rows[i].outcome) };

		if (got[0] != rows[i].never || got[1] != rows[i].may || got[2] != rows[i].must)
			fail_msg("%s: %d %d %d", rows[i].name, (int)got[0], (int)got[1], (int)got[2]);
	}
}

static void test_what_tlsrpt_calls_it(void **state)
{
	static const char *const words[] = { [TLS_OUTCOME_NO_ESMTP] = "starttls-not-supported",
		[TLS_OUTCOME_NOT_OFFERED] = "starttls-not-supported",
		[TLS_OUTCOME_REFUSED] = "starttls-not-supported",
		[TLS_OUTCOME_HANDSHAKE_FAILED] = "validation-failure",
		[TLS_OUTCOME_VERIFIED] = NULL };

	(void)state;
	for (size_t i = 0; i < COUNT(words); i++) {
		const char *word = tls_decide_word((enum tls_outcome)i);

		assert_int_equal(word == NULL, words[i] == NULL);
		if (word != NULL)
			assert_string_equal(word, words[i]);
	}
}

static void test_B42_required_never_goes_clear(void **state)
{
	(void)state;
	for (int outcome = TLS_OUTCOME_NO_ESMTP; outcome <= TLS_OUTCOME_VERIFIED; outcome++)
		assert_int_not_equal(step(TLS_MUST, (enum tls_outcome)outcome), TLS_STEP_CLEAR);
}

static void test_B41_nothing_goes_clear_after_the_220(void **state)
{
	(void)state;
	for (int demand = TLS_NEVER; demand <= TLS_MUST; demand++) {
		assert_int_not_equal(
			step((enum tls_demand)demand, TLS_OUTCOME_HANDSHAKE_FAILED), TLS_STEP_CLEAR);
		assert_int_not_equal(step((enum tls_demand)demand, TLS_OUTCOME_UP), TLS_STEP_CLEAR);
	}
}

static void test_B59_only_tls_that_is_up_sends_in_tls(void **state)
{
	(void)state;
	for (int demand = TLS_NEVER; demand <= TLS_MUST; demand++)
		for (int outcome = TLS_OUTCOME_NO_ESMTP; outcome < TLS_OUTCOME_UP; outcome++)
			assert_int_not_equal(
				step((enum tls_demand)demand, (enum tls_outcome)outcome), TLS_STEP_SEND);
}

static void test_each_outcome_has_a_reason_of_its_own(void **state)
{
	struct tls_decision decision = { .tls = TLS_MAY };
	const char *reasons[COUNT(rows)];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		tls_decide_step(&decision, rows[i].outcome, &reasons[i]);
		for (size_t n = 0; n < i; n++)
			assert_string_not_equal(reasons[n], reasons[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B36_each_level_and_where_it_came_from),
		cmocka_unit_test(test_2_12_a_route_with_implicit_tls_or_credentials),
		cmocka_unit_test(test_2_12_who_must_be_verified_gets_nothing_otherwise),
		cmocka_unit_test(test_B59_each_of_all_inputs),
		cmocka_unit_test(test_what_tlsrpt_calls_it),
		cmocka_unit_test(test_B42_required_never_goes_clear),
		cmocka_unit_test(test_B41_nothing_goes_clear_after_the_220),
		cmocka_unit_test(test_B59_only_tls_that_is_up_sends_in_tls),
		cmocka_unit_test(test_each_outcome_has_a_reason_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
