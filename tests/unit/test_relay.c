/* Relaying over all inputs: the law against an open relay, and each row of the table. */
#include "policy/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

static const struct {
	struct relay_facts facts;
	bool accepted;
	const char *reason;
} rows[] = {
	/* action, domain accepted, domainless */
	{ { RELAY_ACTION_ACCEPT, false, false }, false, "relaying denied" },
	{ { RELAY_ACTION_ACCEPT, false, true }, true, "postmaster" },
	{ { RELAY_ACTION_ACCEPT, true, false }, true, "accepted domain" },
	{ { RELAY_ACTION_ACCEPT, true, true }, true, "accepted domain" },
	{ { RELAY_ACTION_RELAY, false, false }, true, "policy relays for this client" },
	{ { RELAY_ACTION_RELAY, false, true }, true, "policy relays for this client" },
	{ { RELAY_ACTION_RELAY, true, false }, true, "policy relays for this client" },
	{ { RELAY_ACTION_RELAY, true, true }, true, "policy relays for this client" },
	{ { RELAY_ACTION_REJECT, false, false }, false, "policy rejects this client" },
	{ { RELAY_ACTION_REJECT, false, true }, false, "policy rejects this client" },
	{ { RELAY_ACTION_REJECT, true, false }, false, "policy rejects this client" },
	{ { RELAY_ACTION_REJECT, true, true }, false, "policy rejects this client" },
};

static void test_each_of_all_inputs(void **state)
{
	bool seen[3][2][2] = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct relay_decision got = relay_decide(&rows[i].facts);

		seen[rows[i].facts.action][rows[i].facts.domain_accepted][rows[i].facts.domainless] = true;
		if (got.accepted != rows[i].accepted)
			fail_msg("row %zu: accepted=%d", i, got.accepted);
		assert_string_equal(got.reason, rows[i].reason);
	}
	for (size_t i = 0; i < 12; i++)
		assert_true(seen[i / 4][i / 2 % 2][i % 2]);
}

static void test_only_action_relay_takes_mail_for_strangers(void **state)
{
	(void)state;
	for (int action = RELAY_ACTION_ACCEPT; action <= RELAY_ACTION_REJECT; action++) {
		struct relay_facts stranger = { .action = (enum relay_action)action };

		assert_int_equal(relay_decide(&stranger).accepted, action == RELAY_ACTION_RELAY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_of_all_inputs),
		cmocka_unit_test(test_only_action_relay_takes_mail_for_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
