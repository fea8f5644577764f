/* How demands are joined, over the whole product of facts; and the laws of the steps. Single pairs of demands are in test_tls_join.c,
 * the tables of the catalogue in test_tls_tables.c. */
#include "policy/tls_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "tls_product.h"

/* What the facts mean, said a second time and in another way: as predicates. */
struct meaning {
	bool must, never;	   /* firm ones */
	bool off;		   /* by the switch */
	bool dane_must, dane_held; /* opportunistic */
	unsigned checks;
	bool held;
};

static bool is_unknown(enum dane_finding found)
{
	return found == DANE_UNKNOWN || found == DANE_HOST_UNKNOWN || found == DANE_MX_UNKNOWN ||
	       found == DANE_UNKNOWN_INSECURE_MX;
}

static bool is_insecure_mx(enum dane_finding found)
{
	return found == DANE_USABLE_INSECURE_MX || found == DANE_UNUSABLE_INSECURE_MX ||
	       found == DANE_UNKNOWN_INSECURE_MX;
}

static bool is_required(enum tls_level level)
{
	return level == TLS_LEVEL_REQUIRED || level == TLS_LEVEL_REQUIRED_VERIFY ||
	       level == TLS_LEVEL_REQUIRED_VERIFY_HOSTED;
}

static struct meaning meaning_of(const struct tls_facts *f)
{
	const bool mandatory = f->dane == DANE_SETTING_MANDATORY,
		   opportunistic = f->dane == DANE_SETTING_OPPORTUNISTIC,
		   enforce = f->sts == STS_MODE_ENFORCE,
		   found = f->dane_found == DANE_USABLE || f->dane_found == DANE_UNUSABLE ||
			   is_insecure_mx(f->dane_found),
		   stands_in = (mandatory || opportunistic) && f->dane_found == DANE_USABLE,
		   ignored = is_insecure_mx(f->dane_found) && f->dane_insecure_mx == DANE_INSECURE_MX_MAY;
	struct meaning m = { .must = f->requiretls || mandatory || enforce || is_required(f->level) ||
				     f->implicit || f->credentials || f->required_listed,
		.off = f->level == TLS_LEVEL_NONE && f->level_from == TLS_FROM_NOBODY };

	m.never = (f->level == TLS_LEVEL_NONE && !m.off) || (f->allow_listed && !f->required_listed) ||
		  f->tls_off;
	m.dane_must = opportunistic && (found || is_unknown(f->dane_found)) && !ignored && !m.never &&
		      (m.must || !m.off);
	m.dane_held = m.dane_must && is_unknown(f->dane_found);
	m.held = m.dane_held || (mandatory && f->dane_found != DANE_USABLE) || (enforce && !f->sts_listed) ||
		 (f->requiretls && !f->mx_secure && !(enforce && f->sts_listed));
	if (f->level == TLS_LEVEL_REQUIRED_VERIFY)
		m.checks |= TLS_CHECK_DOMAIN;
	if (f->level == TLS_LEVEL_REQUIRED_VERIFY_HOSTED)
		m.checks |= TLS_CHECK_HOSTED;
	if (f->credentials || ((enforce || f->requiretls) && !stands_in))
		m.checks |= TLS_CHECK_HOST;
	if (mandatory || (m.dane_must && f->dane_found == DANE_USABLE) ||
		(m.dane_must && f->dane_found == DANE_USABLE_INSECURE_MX &&
			f->dane_insecure_mx == DANE_INSECURE_MX_DANE))
		m.checks |= TLS_CHECK_DANE;
	return m;
}

/* Every way in which the connection can go, as far as it differs. */
static bool can(const struct tls_decision *decision, enum tls_step wanted)
{
	const char *reason;

	for (int outcome = 0; outcome < TLS_OUTCOME_UP; outcome++)
		if (tls_decide_step(decision, (enum tls_outcome)outcome, 0, &reason) == wanted)
			return true;
	return tls_decide_step(decision, TLS_OUTCOME_UP, TLS_CHECK_ALL, &reason) == wanted;
}

static void test_F1_F2_F3_F4_the_whole_product_means_what_it_says(void **state)
{
	struct tls_facts f;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i++) {
		const struct meaning m = meaning_of(&f);
		const struct tls_decision got = tls_decide(&f);
		const bool conflict = m.must && m.never;
		const enum tls_want tls = m.must || m.dane_must			   ? TLS_MUST
					  : m.never || m.off || f.temporary_listed ? TLS_NEVER
										   : TLS_MAY;

		if (got.conflict != conflict || got.tls != tls)
			fail_msg("facts %u: %d, %d", i, (int)got.tls, got.conflict);
		if (tls == TLS_MUST && !conflict &&
			(got.checks != m.checks || (got.hold != TLS_GO) != m.held))
			fail_msg("facts %u: checks %u instead of %u, hold %d", i, got.checks, m.checks,
				(int)got.hold);
		if (tls != TLS_MUST && (got.checks != 0 || got.hold != TLS_GO || got.bounce))
			fail_msg("facts %u: demands without a must", i);
		if (can(&got, TLS_STEP_CLEAR) != (tls != TLS_MUST) ||
			can(&got, TLS_STEP_SEND) != (tls != TLS_NEVER && !conflict && !m.held))
			fail_msg("facts %u: sent otherwise", i);
		if (got.may_list != (tls == TLS_MAY) || (got.recorded & got.checks) != 0 ||
			(got.proofs & ~(got.checks | got.recorded)) != 0 || got.count > TLS_DEMANDS_MAX)
			fail_msg("facts %u: untidy", i);
	}
}

static bool is_never(enum tls_source source)
{
	return source == TLS_SOURCE_TLS_OFF || source == TLS_SOURCE_TEMPORARY_LIST ||
	       source == TLS_SOURCE_ALLOW_LIST || source == TLS_SOURCE_DESTINATION_NONE;
}

/* Whether the demand is one of those without which the decision would be another. */
static bool made_it(const struct tls_decision *decision, const struct tls_demand *demand)
{
	if (demand->dropped)
		return false;
	if (decision->conflict)
		return demand->want == TLS_MUST;
	if (decision->hold != TLS_GO)
		return demand->hold == decision->hold;
	return demand->want == decision->tls;
}

static void test_F1_the_reason_is_the_first_of_those_that_decided(void **state)
{
	struct tls_facts f;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i += 7) {
		const struct tls_decision got = tls_decide(&f);
		const struct tls_demand *first = NULL, *against = NULL;

		for (size_t n = got.count; n-- > 0;) {
			const struct tls_demand *demand = &got.demands[n];

			assert_true(n == 0 || demand->source > got.demands[n - 1].source);
			if (made_it(&got, demand))
				first = demand;
			if (got.conflict && !demand->dropped && is_never(demand->source))
				against = demand;
		}
		assert_non_null(first);
		assert_int_equal(got.decided_by, first->source);
		assert_ptr_equal(got.reason, first->reason);
		assert_ptr_equal(got.against, against == NULL ? NULL : against->reason);
		assert_int_equal(got.against != NULL, got.conflict);
	}
}

/* Each thing that can be demanded in addition to facts. False when it is there already. */
enum { MORE = 9 };
static bool demand_more(struct tls_facts *f, int what)
{
	const struct tls_facts before = *f;

	switch (what) {
	case 0:
		f->requiretls = true;
		break;
	case 1:
		f->dane = DANE_SETTING_MANDATORY;
		break;
	case 2: /* which vouches for the host, so REQUIRETLS may be content */
		f->sts = f->requiretls && !f->mx_secure ? f->sts : STS_MODE_ENFORCE;
		break;
	case 3:
		f->implicit = true;
		break;
	case 4:
		f->credentials = true;
		break;
	case 5: /* which wins over the allow list, so what was a conflict may go (C12) */
		f->required_listed = f->required_listed || !f->allow_listed;
		break;
	case 6:
		if (f->level == TLS_LEVEL_PREFERRED || f->level == TLS_LEVEL_PREFERRED_VERIFY)
			f->level = TLS_LEVEL_REQUIRED;
		break;
	case 7:
		if (f->level == TLS_LEVEL_REQUIRED)
			f->level = TLS_LEVEL_REQUIRED_VERIFY;
		break;
	case 8:
		if (f->dane == DANE_SETTING_NONE || f->dane == DANE_SETTING_AUDIT)
			f->dane = DANE_SETTING_OPPORTUNISTIC;
		break;
	}
	return memcmp(&before, f, sizeof before) != 0;
}

static void test_F3_a_demand_more_never_weakens(void **state)
{
	struct tls_facts f;
	unsigned compared = 0;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i += 11)
		for (int what = 0; what < MORE; what++) {
			struct tls_facts more = f;

			if (!demand_more(&more, what))
				continue;
			struct tls_decision before = tls_decide(&f), now = tls_decide(&more);
			/* usable DANE replaces the look at the host's name, and nothing else */
			if (now.checks & TLS_CHECK_DANE && more.dane_found == DANE_USABLE && !f.credentials)
				before.checks &= ~(unsigned)TLS_CHECK_HOST;
			if (product_is_weaker(&before, &now))
				fail_msg("facts %u with %d more", i, what);
			compared++;
		}
	assert_true(compared > 100000);
}

/* A never switches off what nobody asked for, and contradicts the rest; it never lets a mail go that somebody demanded to be protected. */
static void test_F2_C8_a_never_more_lets_nothing_through_that_was_demanded(void **state)
{
	struct tls_facts f;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i += 11) {
		const struct tls_decision before = tls_decide(&f);
		struct tls_facts more = f;

		more.allow_listed = true;
		const struct tls_decision now = tls_decide(&more);
		if (!meaning_of(&f).must)
			assert_true(now.tls == TLS_NEVER && !now.conflict);
		else if (f.required_listed)
			assert_false(product_is_weaker(&before, &now) || now.conflict != before.conflict);
		else
			assert_true(now.conflict && !can(&now, TLS_STEP_CLEAR) && !can(&now, TLS_STEP_SEND));
	}
}

static void test_F2_each_of_the_first_five_against_each_never(void **state)
{
	static const struct tls_facts musts[] = { { .requiretls = true, .mx_secure = true },
		{ .dane = DANE_SETTING_MANDATORY, .dane_found = DANE_USABLE },
		{ .sts = STS_MODE_ENFORCE, .sts_listed = true }, { .level = TLS_LEVEL_REQUIRED },
		{ .required_listed = true } };

	(void)state;
	for (size_t i = 0; i < COUNT(musts); i++)
		for (int none = 0; none < 2; none++) {
			struct tls_facts f = musts[i];
			if (none && f.level != TLS_LEVEL_NONE)
				continue; /* one entry says one level */
			f.level_from = TLS_FROM_DESTINATION;
			f.level = none ? TLS_LEVEL_NONE : MAX(f.level, TLS_LEVEL_PREFERRED);
			f.allow_listed = !none;
			const struct tls_decision got = tls_decide(&f);
			const char *reason;

			if (!none && f.required_listed) { /* C12 */
				assert_true(got.tls == TLS_MUST && !got.conflict);
				assert_int_equal(got.decided_by, TLS_SOURCE_REQUIRED_LIST);
				continue;
			}
			assert_true(got.conflict && !got.bounce);
			for (int outcome = 0; outcome < TLS_OUTCOME_COUNT; outcome++)
				for (unsigned passed = 0; passed <= TLS_CHECK_ALL; passed++)
					assert_int_equal(tls_decide_step(&got, (enum tls_outcome)outcome,
								 passed, &reason),
						TLS_STEP_DROP);
			assert_string_equal(got.against, none ? "TLS is switched off for this destination"
							      : "the host is listed in tls.starttls_never");
		}
}

/* Off, nothing is ever sent in TLS, and nothing that anything demands is sent at all; C12 is between the lists. */
static void test_F4_the_switch_forbids_all_tls(void **state)
{
	struct tls_facts f;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i += 11) {
		struct tls_facts off = f;

		off.tls_off = true;
		const bool must = meaning_of(&off).must;
		const struct tls_decision got = tls_decide(&off);
		if (can(&got, TLS_STEP_SEND) || can(&got, TLS_STEP_CLEAR) == must || got.conflict != must ||
			got.may_list || got.bounce)
			fail_msg("facts %u", i);
		if (!must)
			assert_true(got.tls == TLS_NEVER && got.decided_by == TLS_SOURCE_TLS_OFF);
		if (must)
			assert_string_equal(got.against, "tls.enabled is off");
	}
}

/* Nothing that is demanded, DANE that nobody asked for included, ever obeys the temporary list. */
static void test_C7_the_temporary_list_is_no_match_for_any_must(void **state)
{
	struct tls_facts f;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i += 3) {
		if (f.temporary_listed)
			continue;
		struct tls_facts listed = f;
		listed.temporary_listed = true;
		const struct tls_decision before = tls_decide(&f), now = tls_decide(&listed);
		if (before.tls == TLS_MAY)
			assert_true(before.may_list && now.tls == TLS_NEVER && !now.may_list);
		else if (before.tls != now.tls || before.checks != now.checks || before.hold != now.hold ||
			 before.conflict != now.conflict || before.may_list || now.may_list ||
			 before.decided_by != now.decided_by)
			fail_msg("facts %u", i);
	}
}

static void test_F3_usable_dane_replaces_what_mta_sts_checks_and_nothing_else(void **state)
{
	static const struct {
		struct tls_facts facts;
		unsigned without, with;
	} rows[] = {
		{ { .level = TLS_LEVEL_PREFERRED, .sts = STS_MODE_ENFORCE }, TLS_CHECK_HOST, TLS_CHECK_DANE },
		{ { .level = TLS_LEVEL_REQUIRED, .sts = STS_MODE_ENFORCE }, TLS_CHECK_HOST, TLS_CHECK_DANE },
		{ { .level = TLS_LEVEL_REQUIRED_VERIFY, .sts = STS_MODE_ENFORCE },
			TLS_CHECK_HOST | TLS_CHECK_DOMAIN, TLS_CHECK_DANE | TLS_CHECK_DOMAIN },
		{ { .level = TLS_LEVEL_REQUIRED_VERIFY_HOSTED, .sts = STS_MODE_ENFORCE },
			TLS_CHECK_HOST | TLS_CHECK_HOSTED, TLS_CHECK_DANE | TLS_CHECK_HOSTED },
		{ { .level = TLS_LEVEL_PREFERRED, .sts = STS_MODE_ENFORCE, .credentials = true },
			TLS_CHECK_HOST, TLS_CHECK_DANE | TLS_CHECK_HOST },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int listed = 0; listed < 2; listed++) {
			struct tls_facts f = rows[i].facts;

			f.sts_listed = listed != 0;
			f.dane_found = DANE_USABLE;
			assert_int_equal(tls_decide(&f).checks, rows[i].without);
			f.dane = DANE_SETTING_OPPORTUNISTIC;
			const struct tls_decision got = tls_decide(&f);
			assert_int_equal(got.checks, rows[i].with);
			/* its list of servers still holds (decision 1) */
			assert_int_equal(got.mx, TLS_MX_LISTED);
			assert_int_equal(got.hold, listed ? TLS_GO : TLS_SKIP_HOST);
			/* what is not proper DANE replaces nothing (3.02, 3.08) */
			f.dane_found = DANE_UNUSABLE;
			assert_int_equal(tls_decide(&f).checks, rows[i].without);
			f.dane_found = DANE_USABLE_INSECURE_MX;
			assert_int_equal(tls_decide(&f).checks, rows[i].without | TLS_CHECK_DANE);
			f.dane_found = DANE_USABLE;
			f.dane = DANE_SETTING_AUDIT;
			assert_int_equal(tls_decide(&f).checks, rows[i].without);
		}
}

/* What a failed delivery of a mail with REQUIRETLS means: now, when it is sure that it cannot be; later, when something is only not known. */
static void test_C19_a_lookup_that_failed_bounces_nothing(void **state)
{
	struct tls_facts f = { .level = TLS_LEVEL_PREFERRED,
		.dane = DANE_SETTING_OPPORTUNISTIC,
		.dane_found = DANE_UNUSABLE,
		.requiretls = true,
		.mx_secure = true };

	(void)state;
	assert_true(tls_decide(&f).bounce);
	assert_int_equal(tls_decide(&f).checks, TLS_CHECK_HOST);
	f.dane_found = DANE_UNKNOWN;
	assert_false(tls_decide(&f).bounce);
	assert_int_equal(tls_decide(&f).hold, TLS_SKIP_HOST);
	f.dane_found = DANE_ABSENT;
	f.mx_secure = false;
	assert_true(tls_decide(&f).bounce);
	assert_int_equal(tls_decide(&f).hold, TLS_SKIP_HOST);
	f.sts = STS_MODE_TESTING;
	f.sts_listed = true;
	assert_int_equal(tls_decide(&f).hold, TLS_SKIP_HOST);
	f.sts = STS_MODE_ENFORCE;
	assert_int_equal(tls_decide(&f).hold, TLS_GO);
}

static void test_2_12_who_must_be_verified_gets_nothing_otherwise(void **state)
{
	struct tls_decision decision = { .tls = TLS_MUST };
	const char *reason;

	(void)state;
	for (int tls = TLS_SILENT; tls <= TLS_MUST; tls++)
		for (decision.checks = 1; decision.checks <= TLS_CHECK_ALL; decision.checks++)
			for (unsigned passed = 0; passed <= TLS_CHECK_ALL; passed++)
				for (int outcome = 0; outcome < TLS_OUTCOME_COUNT; outcome++) {
					decision.tls = (enum tls_want)tls;
					const bool sent = tls >= TLS_MAY && outcome == TLS_OUTCOME_UP &&
							  (passed & decision.checks) == decision.checks;
					assert_int_equal(tls_decide_step(&decision, (enum tls_outcome)outcome,
								 passed, &reason),
						sent ? TLS_STEP_SEND : TLS_STEP_DROP);
				}
}

static void test_B41_B42_nothing_goes_clear_after_the_220_or_where_tls_is_a_must(void **state)
{
	(void)state;
	for (int tls = TLS_SILENT; tls <= TLS_MUST; tls++)
		for (int outcome = 0; outcome < TLS_OUTCOME_COUNT; outcome++) {
			const struct tls_decision decision = { .tls = (enum tls_want)tls };
			const char *reason = NULL;
			const enum tls_step step =
				tls_decide_step(&decision, (enum tls_outcome)outcome, 0, &reason);

			assert_true(strlen(reason) > 10);
			if (tls == TLS_MUST || tls == TLS_SILENT || outcome >= TLS_OUTCOME_HANDSHAKE_FAILED)
				assert_int_not_equal(step, TLS_STEP_CLEAR);
			else
				assert_int_equal(step, TLS_STEP_CLEAR);
			if (outcome != TLS_OUTCOME_UP)
				assert_int_not_equal(step, TLS_STEP_SEND);
		}
}

static void test_3_08_3_38_what_is_called_verified(void **state)
{
	struct tls_facts f;

	(void)state;
	for (unsigned i = 0; product_facts(i, &f); i += 13 * 7 + 1) {
		const struct tls_decision decision = tls_decide(&f);

		for (unsigned passed = 0; passed <= TLS_CHECK_ALL; passed++) {
			const char *reason, *word = tls_decide_obtained(&decision, passed);
			const bool by_dane = (decision.checks & passed & TLS_CHECK_DANE) != 0,
				   insecure_mx = f.dane_found == DANE_USABLE_INSECURE_MX &&
						 f.dane != DANE_SETTING_MANDATORY,
				   other = (((decision.checks & ~(unsigned)TLS_CHECK_DANE) |
						    (f.level == TLS_LEVEL_PREFERRED_VERIFY ? TLS_CHECK_DOMAIN
											   : 0)) &
						   passed) != 0;

			if (tls_decide_step(&decision, TLS_OUTCOME_UP, passed, &reason) != TLS_STEP_SEND)
				continue;
			assert_string_equal(word, (by_dane && !insecure_mx) || other ? "verified"
						  : by_dane			     ? "trusted"
										     : "encrypted");
		}
	}
}

static void test_what_tlsrpt_calls_it(void **state)
{
	static const char *const words[TLS_OUTCOME_COUNT] = { [TLS_OUTCOME_NO_ESMTP] =
								      "starttls-not-supported",
		[TLS_OUTCOME_NOT_OFFERED] = "starttls-not-supported",
		[TLS_OUTCOME_REFUSED] = "starttls-not-supported",
		[TLS_OUTCOME_HANDSHAKE_FAILED] = "validation-failure" };

	(void)state;
	for (size_t i = 0; i < COUNT(words); i++) {
		const char *word = tls_decide_word((enum tls_outcome)i);

		assert_int_equal(word == NULL, words[i] == NULL);
		if (word != NULL)
			assert_string_equal(word, words[i]);
	}
}

static void test_each_outcome_has_a_reason_of_its_own(void **state)
{
	struct tls_decision decision = { .tls = TLS_MAY };
	const char *reasons[TLS_OUTCOME_COUNT];

	(void)state;
	for (size_t i = 0; i < COUNT(reasons); i++) {
		tls_decide_step(&decision, (enum tls_outcome)i, 0, &reasons[i]);
		for (size_t n = 0; n < i; n++)
			assert_string_not_equal(reasons[n], reasons[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_F1_F2_F3_F4_the_whole_product_means_what_it_says),
		cmocka_unit_test(test_F1_the_reason_is_the_first_of_those_that_decided),
		cmocka_unit_test(test_F3_a_demand_more_never_weakens),
		cmocka_unit_test(test_F2_C8_a_never_more_lets_nothing_through_that_was_demanded),
		cmocka_unit_test(test_F2_each_of_the_first_five_against_each_never),
		cmocka_unit_test(test_F4_the_switch_forbids_all_tls),
		cmocka_unit_test(test_C7_the_temporary_list_is_no_match_for_any_must),
		cmocka_unit_test(test_F3_usable_dane_replaces_what_mta_sts_checks_and_nothing_else),
		cmocka_unit_test(test_C19_a_lookup_that_failed_bounces_nothing),
		cmocka_unit_test(test_2_12_who_must_be_verified_gets_nothing_otherwise),
		cmocka_unit_test(test_B41_B42_nothing_goes_clear_after_the_220_or_where_tls_is_a_must),
		cmocka_unit_test(test_3_08_3_38_what_is_called_verified),
		cmocka_unit_test(test_what_tlsrpt_calls_it),
		cmocka_unit_test(test_each_outcome_has_a_reason_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
