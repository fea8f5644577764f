/* Recorded deliveries under other entries: what they would have been is what the decision says of the same facts, and what is not recorded is unknown. */
#include "report/tls_replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "report/tls_record.h"
#include "test_help.h"

#define POLICY "mail_flow_policies: [{name: open, tls: none}]\n"

/* A delivery to `host` at 192.0.2.1:25 as tracking has it. */
static json_t *record_of(const struct tls_facts *facts, json_t *connection, const char *host,
	const char *reply, const char *obtained)
{
	json_t *tls = json_pack("{s:o, s:o, s:s}", "facts", tls_record_facts(facts), "connection", connection,
		"obtained", obtained);

	return json_pack("{s:i, s:[{s:s, s:[{s:s, s:s, s:s, s:s, s:s, s:o}]}]}", "mid", 1, "recipients",
		"address", "r@Partner.test", "attempts", "dcid", "d-1", "time", "2026-11-22T10:00:00Z",
		"host", host, "address", "192.0.2.1:25", "reply", reply, "tls", tls);
}

/* The answer for one record; the caller's. */
static json_t *replayed(const char *then, const char *now, json_t *record)
{
	const struct config *before = help_config(then), *after = help_config(now);
	struct tls_replay *replay = tls_replay_new(NULL, before, after);

	tls_replay_add(replay, record);
	json_t *json = tls_replay_json(replay, 10);
	talloc_free(replay);
	config_release(after);
	config_release(before);
	json_decref(record);
	return json;
}

static long long number(json_t *json, const char *key)
{
	return (long long)json_integer_value(json_object_get(json, key));
}

/* It was sent as `was`, and would have been sent as `wanted`. */
static void expect(json_t *json, const char *was, const char *wanted)
{
	json_t *row = json_array_get(json_object_get(json, "domains"), 0);

	assert_int_equal(number(json, "deliveries"), 1);
	assert_string_equal(json_string_value(json_object_get(row, "domain")), "partner.test");
	if (number(json_object_get(row, "then"), was) != 1 ||
		number(json_object_get(row, "now"), wanted) != 1)
		fail_msg("%s -> %s: %s", was, wanted, json_dumps(json, 0));
	const bool lost = strcmp(was, "nothing") != 0 && strcmp(wanted, "nothing") == 0,
		   gained = strcmp(was, "nothing") == 0 && strcmp(wanted, "nothing") != 0 &&
			    strcmp(wanted, "unknown") != 0;
	assert_int_equal(number(json, "lost"), lost);
	assert_int_equal(number(json, "gained"), gained);
	assert_int_equal(number(json, "unknown"), strcmp(wanted, "unknown") == 0);
	assert_int_equal(json_array_size(json_object_get(row, "reasons")), strcmp(was, wanted) != 0);
	json_decref(json);
}

/* How mail is sent by this decision: as a delivery does it. */
static const char *sent(const struct tls_decision *decision, enum tls_outcome outcome, unsigned passed)
{
	const char *reason;

	if (decision->tls == TLS_NEVER && !decision->conflict && decision->hold == TLS_GO)
		return "clear";
	switch (tls_decide_step(decision, outcome, passed, &reason)) {
	case TLS_STEP_CLEAR:
		return "clear";
	case TLS_STEP_SEND:
		return tls_decide_obtained(decision, passed);
	case TLS_STEP_DROP:
		break;
	}
	return "nothing";
}

static char *yaml_of(const void *owner, enum tls_level level)
{
	return talloc_asprintf(owner, POLICY "destinations: [{domain: partner.test, tls: %s, dane: none}]\n",
		tls_demand_level_word(level));
}

/* Each level then, each now, each outcome, each set of checks that held, when all were made. */
static void one_pair(enum tls_level then, enum tls_level now, enum tls_outcome outcome, unsigned passed)
{
	void *scratch = talloc_new(NULL);
	struct tls_facts facts = { .level = then, .level_from = TLS_FROM_DESTINATION };
	const struct tls_decision before = tls_decide(&facts);
	const char *was = sent(&before, outcome, passed);
	const unsigned made = outcome == TLS_OUTCOME_UP ? TLS_CHECK_ALL : 0;
	const bool tried = before.tls != TLS_NEVER;
	json_t *record = record_of(&facts, tried ? tls_record_connection(outcome, made, passed) : json_null(),
		"mx.partner.test", strcmp(was, "nothing") == 0 ? "450 4.7.5 TLS: no" : "250 ok",
		strcmp(was, "clear") == 0 || strcmp(was, "nothing") == 0 ? "none" : was);

	facts.level = now;
	const struct tls_decision after = tls_decide(&facts);
	const char *wanted = after.tls != TLS_NEVER && !tried ? "unknown" : sent(&after, outcome, passed);
	expect(replayed(yaml_of(scratch, then), yaml_of(scratch, now), record), was, wanted);
	talloc_free(scratch);
}

static void test_every_level_for_every_level(void **state)
{
	(void)state;
	for (int then = 0; then < TLS_LEVEL_COUNT; then++)
		for (int now = 0; now < TLS_LEVEL_COUNT; now++)
			for (int outcome = 0; outcome < TLS_OUTCOME_COUNT; outcome++)
				for (unsigned passed = 0;
					passed <= (outcome == TLS_OUTCOME_UP ? TLS_CHECK_ALL : 0u);
					passed += 2)
					one_pair((enum tls_level)then, (enum tls_level)now,
						(enum tls_outcome)outcome, passed);
}

static const struct tls_facts preferred = { .level = TLS_LEVEL_PREFERRED, .level_from = TLS_FROM_NOBODY };

static json_t *with(const struct tls_facts *facts, unsigned made, unsigned passed, const char *now)
{
	char *yaml = talloc_asprintf(NULL, POLICY "%s", now);
	json_t *json = replayed(POLICY, yaml,
		record_of(facts, tls_record_connection(TLS_OUTCOME_UP, made, passed), "mx.partner.test",
			"250 ok", "encrypted"));

	talloc_free(yaml);
	return json;
}

static void test_what_is_not_recorded_is_unknown(void **state)
{
	struct tls_facts facts = preferred;

	(void)state;
	/* A certificate that was not compared; one that was and failed decides, whatever else was not looked at. */
	expect(with(&facts, 0, 0,
		       "destinations: [{domain: partner.test, tls: required-verify, dane: none}]\n"),
		"encrypted", "unknown");
	expect(with(&facts, TLS_CHECK_DOMAIN, 0,
		       "destinations: [{domain: partner.test, tls: required-verify, dane: none}]\n"),
		"encrypted", "nothing");
	/* TLSA records that nobody asked for. */
	expect(with(&facts, 0, 0, "destinations: [{domain: partner.test, dane: mandatory}]\n"), "encrypted",
		"unknown");
	facts.dane = DANE_SETTING_OPPORTUNISTIC;
	facts.dane_found = DANE_ABSENT;
	expect(with(&facts, 0, 0, "destinations: [{domain: partner.test, dane: mandatory}]\n"), "encrypted",
		"nothing");
	facts.dane_found = DANE_UNUSABLE;
	expect(with(&facts, 0, 0, "tls: {dane_pkix_usages: enforce}\n"), "encrypted", "unknown");
	/* Two that are demanded: the one that failed decides, though the other was not looked at. */
	facts.dane_found = DANE_USABLE;
	facts.mx_secure = true;
	expect(with(&facts, TLS_CHECK_DOMAIN, 0,
		       "destinations: [{domain: partner.test, tls: required-verify, dane: opportunistic}]\n"),
		"encrypted", "nothing");
	expect(with(&facts, TLS_CHECK_DOMAIN, TLS_CHECK_DOMAIN,
		       "destinations: [{domain: partner.test, tls: required-verify, dane: opportunistic}]\n"),
		"encrypted", "unknown");
	/* Other rules for names, or other authorities, say other things of the same certificate. */
	facts = preferred;
	expect(with(&facts, TLS_CHECK_DOMAIN, TLS_CHECK_DOMAIN,
		       "destinations: [{domain: partner.test, tls: required-verify, dane: none}]\n"),
		"encrypted", "verified");
	expect(with(&facts, TLS_CHECK_DOMAIN, TLS_CHECK_DOMAIN,
		       "tls: {cn_fallback: true}\ndestinations: [{domain: partner.test, tls: required-verify, dane: none}]\n"),
		"encrypted", "unknown");
}

static void test_the_lists(void **state)
{
	(void)state;
	expect(with(&preferred, 0, 0,
		       "tls: {starttls_never: [192.0.2.0/24]}\ndestinations: [{domain: default, dane: none}]\n"),
		"encrypted", "clear");
	expect(with(&preferred, 0, 0,
		       "tls: {starttls_never: [mx.partner.test]}\ndestinations: [{domain: partner.test, tls: required, dane: none}]\n"),
		"encrypted", "nothing");
	expect(with(&preferred, 0, 0,
		       "tls: {starttls_required: [partner.test]}\ndestinations: [{domain: default, dane: none}]\n"),
		"encrypted", "encrypted");
}

/* A failed handshake with tls.retry_without_tls: mail goes on in clear, which is recorded as a delivery of its own. */
static void test_B59_C13_a_failed_handshake_that_is_listed(void **state)
{
	struct tls_facts facts = preferred;
	const char *now =
		POLICY "tls: {retry_without_tls: true}\ndestinations: [{domain: default, dane: none}]\n";

	(void)state;
	expect(replayed(POLICY, now,
		       record_of(&facts, tls_record_connection(TLS_OUTCOME_HANDSHAKE_FAILED, 0, 0),
			       "mx.partner.test", "450 4.7.5 TLS: no", "none")),
		"nothing", "clear");
	facts.retry_without_tls = true;
	json_t *json = replayed(POLICY, now,
		record_of(&facts, tls_record_connection(TLS_OUTCOME_HANDSHAKE_FAILED, 0, 0),
			"mx.partner.test", "450 4.7.5 TLS: no", "none"));
	assert_int_equal(number(json, "deliveries"), 0);
	json_decref(json);
}

/* Attempts that never came to TLS, records without facts, and a server in vain before another one. */
static void test_what_counts(void **state)
{
	const struct tls_facts facts = { .level = TLS_LEVEL_REQUIRED, .level_from = TLS_FROM_DESTINATION };
	const char *now = POLICY "destinations: [{domain: partner.test, tls: none}]\n";
	json_t *record =
		record_of(&facts, json_null(), "mx.partner.test", "450 4.4.1 cannot connect", "none");

	(void)state;
	json_t *json = replayed(POLICY, now, record);
	assert_int_equal(number(json, "deliveries"), 0);
	json_decref(json);

	record = record_of(&facts, json_null(), "mx.partner.test", "450 4.7.5 TLS: held", "none");
	expect(replayed(POLICY, now, record), "nothing", "clear");

	record = record_of(&facts, json_null(), "mx.partner.test", "250 ok", "encrypted");
	json_t *attempt = json_array_get(
		json_object_get(json_array_get(json_object_get(record, "recipients"), 0), "attempts"), 0);
	json_t *tls = json_object_get(attempt, "tls");
	json_object_del(json_object_get(tls, "facts"), "requiretls");
	json = replayed(POLICY, now, record);
	assert_int_equal(number(json, "without_facts"), 1);
	assert_int_equal(number(json, "deliveries"), 0);
	json_decref(json);

	record = record_of(&facts, tls_record_connection(TLS_OUTCOME_UP, 0, 0), "mx.partner.test", "250 ok",
		"encrypted");
	attempt = json_array_get(
		json_object_get(json_array_get(json_object_get(record, "recipients"), 0), "attempts"), 0);
	tls = json_object_get(attempt, "tls");
	json_object_set_new(tls, "earlier",
		json_pack("[{s:s, s:s, s:s, s:{s:o, s:o}}]", "host", "mx1.partner.test", "address",
			"192.0.2.9:25", "reply", "450 4.7.5 TLS: no", "tls", "facts",
			tls_record_facts(&facts), "connection",
			tls_record_connection(TLS_OUTCOME_NOT_OFFERED, 0, 0)));
	json = replayed(POLICY, now, record);
	assert_int_equal(number(json, "deliveries"), 2);
	assert_int_equal(number(json, "gained"), 1);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_level_for_every_level),
		cmocka_unit_test(test_what_is_not_recorded_is_unknown),
		cmocka_unit_test(test_the_lists),
		cmocka_unit_test(test_B59_C13_a_failed_handshake_that_is_listed),
		cmocka_unit_test(test_what_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
