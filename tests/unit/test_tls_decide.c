/* Delivery TLS: the levels, what a route adds, and table B59 over all inputs; then the laws. */
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
	enum tls_want tls;
	unsigned checks;
	const char *word, *reasons[TLS_FROM_COUNT];
} levels[] = {
	{ TLS_LEVEL_NONE, TLS_NEVER, 0, "none",
		{ "TLS is switched off by default", "TLS is switched off by destination `default`",
			"TLS is switched off for this destination" } },
	{ TLS_LEVEL_PREFERRED, TLS_MAY, 0, "preferred",
		{ "TLS is preferred by default", "TLS is preferred by destination `default`",
			"TLS is preferred for this destination" } },
	{ TLS_LEVEL_REQUIRED, TLS_MUST, 0, "required",
		{ "TLS is required by default", "TLS is required by destination `default`",
			"TLS is required for this destination" } },
	{ TLS_LEVEL_PREFERRED_VERIFY, TLS_MAY, 0, "preferred-verify",
		{ "TLS is preferred and verified by default",
			"TLS is preferred and verified by destination `default`",
			"TLS is preferred and verified for this destination" } },
	{ TLS_LEVEL_REQUIRED_VERIFY, TLS_MUST, TLS_CHECK_DOMAIN, "required-verify",
		{ "TLS for the recipient's domain is required by default",
			"TLS for the recipient's domain is required by destination `default`",
			"TLS for the recipient's domain is required for this destination" } },
	{ TLS_LEVEL_REQUIRED_VERIFY_HOSTED, TLS_MUST, TLS_CHECK_HOSTED, "required-verify-hosted",
		{ "TLS for the domain or its server is required by default",
			"TLS for the domain or its server is required by destination `default`",
			"TLS for the domain or its server is required for this destination" } },
};

static void test_B36_each_level_and_where_it_came_from(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(levels); i++) {
		for (int from = 0; from < TLS_FROM_COUNT; from++) {
			struct tls_facts facts = { .level = levels[i].level,
				.level_from = (enum tls_level_from)from };
			struct tls_decision got = tls_decide(&facts);

			assert_int_equal(got.tls, levels[i].tls);
			assert_int_equal(got.checks, levels[i].checks);
			assert_string_equal(got.level, levels[i].word);
			assert_string_equal(got.reason, levels[i].reasons[from]);
		}
	}
}

/* What a route adds, over all inputs: it never weakens, and an entry with `tls: none` contradicts it. */
static void test_2_12_a_route_with_implicit_tls_or_credentials(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(levels); i++)
		for (int from = 0; from < TLS_FROM_COUNT; from++)
			for (int route = 0; route < 4; route++) {
				struct tls_facts facts = { .level = levels[i].level,
					.level_from = (enum tls_level_from)from,
					.implicit = (route & 1) != 0,
					.credentials = (route & 2) != 0 };
				struct tls_decision got = tls_decide(&facts);

				assert_int_equal(got.tls, route == 0 ? levels[i].tls : TLS_MUST);
				assert_int_equal(got.checks,
					levels[i].checks | (facts.credentials ? TLS_CHECK_HOST : 0u));
				assert_int_equal(got.conflict, route != 0 &&
								       levels[i].level == TLS_LEVEL_NONE &&
								       from != TLS_FROM_NOBODY);
				assert_string_equal(got.level,
					levels[i].level == TLS_LEVEL_REQUIRED_VERIFY_HOSTED || route == 0
						? levels[i].word
					: got.checks != 0 ? "required-verify"
							  : "required");
				assert_non_null(got.reason);
			}
}

static void test_2_12_who_must_be_verified_gets_nothing_otherwise(void **state)
{
	struct tls_decision decision = { .tls = TLS_MUST };
	const char *reason;

	(void)state;
	for (decision.checks = 1; decision.checks <= TLS_CHECK_ALL; decision.checks++)
		for (unsigned passed = 0; passed <= TLS_CHECK_ALL; passed++)
			for (int outcome = 0; outcome < TLS_OUTCOME_COUNT; outcome++)
				assert_int_equal(tls_decide_step(&decision, (enum tls_outcome)outcome, passed,
							 &reason),
					outcome == TLS_OUTCOME_UP &&
							(passed & decision.checks) == decision.checks
						? TLS_STEP_SEND
						: TLS_STEP_DROP);
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
	{ "TLS up", TLS_OUTCOME_UP, TLS_STEP_DROP, TLS_STEP_SEND, TLS_STEP_SEND },
};

static enum tls_step step(enum tls_want demand, enum tls_outcome outcome)
{
	struct tls_decision decision = { .tls = demand };
	const char *reason = NULL;
	enum tls_step got = tls_decide_step(&decision, outcome, 0, &reason);

	assert_non_null(reason);
	assert_true(strlen(reason) > 10);
	return got;
}

static void test_B59_each_of_all_inputs(void **state)
{
	(void)state;
	assert_int_equal(COUNT(rows), TLS_OUTCOME_COUNT);
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
		[TLS_OUTCOME_UP] = NULL };

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
	for (int outcome = 0; outcome < TLS_OUTCOME_COUNT; outcome++)
		assert_int_not_equal(step(TLS_MUST, (enum tls_outcome)outcome), TLS_STEP_CLEAR);
}

static void test_B41_nothing_goes_clear_after_the_220(void **state)
{
	(void)state;
	for (int demand = TLS_NEVER; demand <= TLS_MUST; demand++) {
		assert_int_not_equal(
			step((enum tls_want)demand, TLS_OUTCOME_HANDSHAKE_FAILED), TLS_STEP_CLEAR);
		assert_int_not_equal(step((enum tls_want)demand, TLS_OUTCOME_UP), TLS_STEP_CLEAR);
	}
}

static void test_B59_only_tls_that_is_up_sends_in_tls(void **state)
{
	(void)state;
	for (int demand = TLS_NEVER; demand <= TLS_MUST; demand++)
		for (int outcome = TLS_OUTCOME_NO_ESMTP; outcome < TLS_OUTCOME_UP; outcome++)
			assert_int_not_equal(
				step((enum tls_want)demand, (enum tls_outcome)outcome), TLS_STEP_SEND);
}

static void test_each_outcome_has_a_reason_of_its_own(void **state)
{
	struct tls_decision decision = { .tls = TLS_MAY };
	const char *reasons[COUNT(rows)];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		tls_decide_step(&decision, rows[i].outcome, 0, &reasons[i]);
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
