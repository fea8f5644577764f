/* Facts and outcome of a delivery, written, read and decided on again: the same decision and the same step. What is not as it was written is unknown. */
#include "report/tls_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

enum { SAMPLES = 5000 };

/* Any combination that the types allow, one after the other without an order. */
static unsigned next(uint64_t *state, unsigned count)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*state >> 33) % count;
}

static struct tls_facts any_facts(uint64_t *state)
{
	return (struct tls_facts){ .level = (enum tls_level)next(state, TLS_LEVEL_COUNT),
		.level_from = (enum tls_level_from)next(state, TLS_FROM_COUNT),
		.implicit = next(state, 2),
		.credentials = next(state, 2),
		.allow_listed = next(state, 2),
		.required_listed = next(state, 2),
		.temporary_listed = next(state, 2),
		.tls_off = next(state, 2),
		.retry_without_tls = next(state, 2),
		.dane = (enum dane_setting)next(state, DANE_SETTING_COUNT),
		.dane_insecure_mx = (enum dane_insecure_mx)next(state, DANE_INSECURE_MX_COUNT),
		.dane_found = (enum dane_finding)next(state, DANE_FINDING_COUNT),
		.sts = (enum sts_mode)next(state, STS_MODE_COUNT),
		.sts_listed = next(state, 2),
		.requiretls = next(state, 2),
		.mx_secure = next(state, 2) };
}

static char *dumped(json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	assert_non_null(text);
	json_decref(json);
	return text;
}

static void assert_same(json_t *one, json_t *other)
{
	char *a = dumped(one), *b = dumped(other);

	assert_string_equal(a, b);
	free(a);
	free(b);
}

static json_t *evidence(const struct tls_facts *facts, json_t *connection)
{
	return json_pack("{s:o, s:o}", "facts", tls_record_facts(facts), "connection", connection);
}

static void test_what_is_written_decides_the_same(void **unused)
{
	uint64_t state = 1;

	(void)unused;
	for (int i = 0; i < SAMPLES; i++) {
		const struct tls_facts facts = any_facts(&state);
		const enum tls_outcome outcome = (enum tls_outcome)next(&state, TLS_OUTCOME_COUNT);
		const unsigned made = outcome == TLS_OUTCOME_UP ? next(&state, TLS_CHECK_ALL + 1) : 0,
			       passed = made & next(&state, TLS_CHECK_ALL + 1);
		json_t *json = evidence(&facts, tls_record_connection(outcome, made, passed));
		struct tls_record record;
		const char *why, *again;

		assert_true(tls_record_read(json, &record));
		const struct tls_decision before = tls_decide(&facts), after = tls_decide(&record.facts);
		assert_same(tls_record_policy(&before), tls_record_policy(&after));
		assert_true(record.connected && record.outcome == outcome && record.made == made &&
			    record.passed == passed);
		assert_int_equal(tls_decide_step(&before, outcome, passed, &why),
			tls_decide_step(&after, record.outcome, record.passed, &again));
		assert_string_equal(why, again);
		assert_same(tls_record_facts(&facts), tls_record_facts(&record.facts));
		json_decref(json);
	}
}

static void test_without_a_connection_the_facts_count(void **unused)
{
	const struct tls_facts facts = { .level = TLS_LEVEL_REQUIRED };
	json_t *json = evidence(&facts, json_null());
	struct tls_record record;

	(void)unused;
	assert_true(tls_record_read(json, &record));
	assert_false(record.connected);
	json_object_del(json, "connection");
	assert_true(tls_record_read(json, &record));
	json_decref(json);
}

/* Each member at any depth: without it, and with something else in its place. */
static void spoil(json_t *whole, json_t *object)
{
	struct tls_record record;
	const char *key;
	json_t *value;
	void *following;

	json_object_foreach_safe(object, following, key, value)
	{
		json_t *kept = json_incref(value);

		if (json_is_object(value))
			spoil(whole, value);
		json_object_set_new(object, key, json_string("\xf0\x9f\x90\x88"));
		assert_false(tls_record_read(whole, &record));
		json_object_set_new(object, key, json_integer(1));
		assert_false(tls_record_read(whole, &record));
		json_object_set_new(object, key, kept);
		assert_true(tls_record_read(whole, &record));
	}
}

static void test_what_is_not_as_written_is_unknown(void **unused)
{
	const struct tls_facts facts = { .level = TLS_LEVEL_PREFERRED_VERIFY };
	json_t *json = evidence(&facts, tls_record_connection(TLS_OUTCOME_UP, TLS_CHECK_ALL, TLS_CHECK_HOST));
	struct tls_record record;

	(void)unused;
	assert_true(tls_record_read(json, &record));
	spoil(json, json);
	json_t *connection = json_object_get(json, "connection");
	json_object_set_new(connection, "made", json_pack("[s]", "domain"));
	assert_false(tls_record_read(json, &record)); /* passed without having been made */
	json_object_set_new(connection, "passed", json_pack("[s]", "domain"));
	assert_true(tls_record_read(json, &record));
	json_object_set_new(connection, "passed", json_pack("[s]", "domains"));
	assert_false(tls_record_read(json, &record));
	json_object_set_new(connection, "passed", json_array());
	json_object_set_new(connection, "outcome", json_string("refused"));
	assert_false(tls_record_read(json, &record)); /* a certificate without TLS */
	json_decref(json);
	assert_false(tls_record_read(NULL, &record));
	json = json_string("facts");
	assert_false(tls_record_read(json, &record));
	json_decref(json);
}

/* Records from before there was a switch for all TLS. */
static void test_F4_without_the_switch_it_was_on(void **unused)
{
	const struct tls_facts facts = { .level = TLS_LEVEL_REQUIRED, .tls_off = true };
	json_t *json = evidence(&facts, json_null());
	struct tls_record record;

	(void)unused;
	assert_true(tls_record_read(json, &record) && record.facts.tls_off);
	json_object_del(json_object_get(json, "facts"), "tls_off");
	assert_true(tls_record_read(json, &record) && !record.facts.tls_off);
	json_decref(json);
}

static void test_the_decision_as_json(void **unused)
{
	const struct tls_facts facts = { .level = TLS_LEVEL_REQUIRED_VERIFY,
		.level_from = TLS_FROM_DESTINATION,
		.dane = DANE_SETTING_OPPORTUNISTIC,
		.dane_found = DANE_USABLE,
		.mx_secure = true };
	const struct tls_decision decision = tls_decide(&facts);
	json_t *json = tls_record_policy(&decision);

	(void)unused;
	assert_string_equal(json_string_value(json_object_get(json, "tls")), "must");
	assert_string_equal(json_string_value(json_object_get(json, "reason")), decision.reason);
	assert_int_equal(json_array_size(json_object_get(json, "checks")), 2);
	assert_int_equal(json_array_size(json_object_get(json, "demands")), decision.count);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_decides_the_same),
		cmocka_unit_test(test_without_a_connection_the_facts_count),
		cmocka_unit_test(test_what_is_not_as_written_is_unknown),
		cmocka_unit_test(test_F4_without_the_switch_it_was_on),
		cmocka_unit_test(test_the_decision_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
