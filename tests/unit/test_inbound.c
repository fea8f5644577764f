/* Table B35 and rules B25-B27 over all 72 inputs: three settings, three kinds of command, TLS up or not, key usable or not, all TLS
 * switched off or not (F4). */
#include "policy/inbound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

/* Columns: not secured and no key; not secured with a key; secured (with or without a key: it is not needed any more). */
static const struct {
	const char *name;
	enum inbound_tls tls;
	enum inbound_command command;
	enum inbound_verdict no_key, key, secured;
} rows[] = {
	{ "No, STARTTLS", INBOUND_TLS_NONE, INBOUND_STARTTLS, INBOUND_NOT_OFFERED, INBOUND_NOT_OFFERED,
		INBOUND_SECOND_TLS },
	{ "No, EHLO, NOOP or QUIT", INBOUND_TLS_NONE, INBOUND_HARMLESS, INBOUND_GO_ON, INBOUND_GO_ON,
		INBOUND_GO_ON },
	{ "No, any other command", INBOUND_TLS_NONE, INBOUND_OTHER, INBOUND_GO_ON, INBOUND_GO_ON,
		INBOUND_GO_ON },
	{ "Preferred, STARTTLS", INBOUND_TLS_PREFERRED, INBOUND_STARTTLS, INBOUND_UNAVAILABLE, INBOUND_GO_ON,
		INBOUND_SECOND_TLS },
	{ "Preferred, EHLO, NOOP or QUIT", INBOUND_TLS_PREFERRED, INBOUND_HARMLESS, INBOUND_GO_ON,
		INBOUND_GO_ON, INBOUND_GO_ON },
	{ "Preferred, any other command", INBOUND_TLS_PREFERRED, INBOUND_OTHER, INBOUND_GO_ON, INBOUND_GO_ON,
		INBOUND_GO_ON },
	{ "Required, STARTTLS", INBOUND_TLS_REQUIRED, INBOUND_STARTTLS, INBOUND_UNAVAILABLE, INBOUND_GO_ON,
		INBOUND_SECOND_TLS },
	{ "Required, EHLO, NOOP or QUIT", INBOUND_TLS_REQUIRED, INBOUND_HARMLESS, INBOUND_GO_ON,
		INBOUND_GO_ON, INBOUND_GO_ON },
	{ "Required, any other command", INBOUND_TLS_REQUIRED, INBOUND_OTHER, INBOUND_NEED_TLS,
		INBOUND_NEED_TLS, INBOUND_GO_ON },
};

static void test_B35_F4_each_of_all_inputs(void **state)
{
	bool seen[3][3] = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		seen[rows[i].tls][rows[i].command] = true;
		for (int bits = 0; bits < 8; bits++) {
			struct inbound_facts facts = { .tls = rows[i].tls,
				.command = rows[i].command,
				.secured = bits & 1,
				.usable = bits & 2,
				.tls_off = bits & 4 };
			const bool off = facts.tls_off && facts.command == INBOUND_STARTTLS;
			enum inbound_verdict want = facts.secured  ? rows[i].secured
						    : off	   ? INBOUND_NOT_OFFERED
						    : facts.usable ? rows[i].key
								   : rows[i].no_key,
					     got = inbound_decide(&facts);

			if (got != want)
				fail_msg("%s, bits=%d: %d, not %d", rows[i].name, bits, (int)got, (int)want);
		}
	}
	for (int i = 0; i < 9; i++)
		assert_true(seen[i / 3][i % 3]);
}

static void test_B25_nothing_but_the_harmless_runs_in_clear_on_a_required_listener(void **state)
{
	(void)state;
	for (int command = INBOUND_STARTTLS; command <= INBOUND_OTHER; command++) {
		for (int usable = 0; usable < 2; usable++) {
			struct inbound_facts facts = { INBOUND_TLS_REQUIRED, (enum inbound_command)command,
				false, usable };
			bool runs = inbound_decide(&facts) == INBOUND_GO_ON;

			assert_int_equal(
				runs, command == INBOUND_HARMLESS || (command == INBOUND_STARTTLS && usable));
		}
	}
}

/* B23, B24, B26, 1.48: what EHLO lists is exactly what would run. */
static void test_B26_starttls_is_listed_exactly_when_it_would_run(void **state)
{
	unsigned listed = 0;

	(void)state;
	for (int tls = INBOUND_TLS_NONE; tls <= INBOUND_TLS_REQUIRED; tls++) {
		for (int bits = 0; bits < 8; bits++) {
			struct inbound_facts facts = { (enum inbound_tls)tls, INBOUND_STARTTLS, bits & 1,
				bits & 2, bits & 4 };

			assert_int_equal(
				inbound_offers_starttls(&facts), inbound_decide(&facts) == INBOUND_GO_ON);
			listed += inbound_offers_starttls(&facts);
		}
	}
	assert_int_equal(listed, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B35_F4_each_of_all_inputs),
		cmocka_unit_test(test_B25_nothing_but_the_harmless_runs_in_clear_on_a_required_listener),
		cmocka_unit_test(test_B26_starttls_is_listed_exactly_when_it_would_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
