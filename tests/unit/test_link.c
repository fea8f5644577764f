/* When mail may use a connection that is open: only when nothing of what it was opened for differs (conformance 2.15). */
#include "deliver/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "deliver/account.h"

static const struct account one = { .username = "u", .password = TEXT("p"), .id = { .bytes = { 1 } } },
			    other = { .username = "u", .password = TEXT("q"), .id = { .bytes = { 2 } } };

static struct link_target target_new(void)
{
	struct link_target target = { .generation = 3,
		.destination = "mx:a.test",
		.host = "m.a.test",
		.helo = "gw.good.test",
		.decision = { .tls = TLS_MAY, .level = "preferred", .reason = "one" },
		.account = &one };

	assert_int_equal(ip_parse(TEXT("192.0.2.1:25"), &target.address), 0);
	assert_int_equal(ip_parse(TEXT("192.0.2.7"), &target.source), 0);
	return target;
}

enum change {
	NOTHING,
	REASON,
	GENERATION,
	DESTINATION,
	HOST,
	LITERAL,
	ADDRESS,
	PORT,
	SOURCE,
	NO_SOURCE,
	HELO,
	IMPLICIT,
	MUST,
	NEVER,
	VERIFY,
	ACCOUNT,
	NO_ACCOUNT,
	CHANGES,
};

static void change(struct link_target *target, enum change what)
{
	switch (what) {
	case NOTHING:
	case CHANGES:
		break;
	case REASON:
		target->decision.reason = "two";
		break;
	case GENERATION:
		target->generation = 4;
		break;
	case DESTINATION:
		target->destination = "mx:b.test";
		break;
	case HOST:
		target->host = "n.a.test";
		break;
	case LITERAL:
		target->literal = true;
		break;
	case ADDRESS:
		target->address.bytes[3]++;
		break;
	case PORT:
		target->address.port++;
		break;
	case SOURCE:
		target->source.bytes[3]++;
		break;
	case NO_SOURCE:
		target->source = (struct ip){ 0 };
		break;
	case HELO:
		target->helo = "out.good.test";
		break;
	case IMPLICIT:
		target->implicit_tls = true;
		break;
	case MUST:
		target->decision.tls = TLS_MUST;
		break;
	case NEVER:
		target->decision.tls = TLS_NEVER;
		break;
	case VERIFY:
		target->decision.checks = TLS_CHECK_HOST;
		break;
	case ACCOUNT:
		target->account = &other;
		break;
	case NO_ACCOUNT:
		target->account = NULL;
		break;
	}
}

static void test_2_15_each_part_of_the_key_counts(void **state)
{
	struct link link = { .target = target_new(), .account_id = one.id };

	(void)state;
	link.target.account = NULL; /* as link_open() leaves it */
	for (int what = NOTHING; what < CHANGES; what++) {
		struct link_target target = target_new();

		change(&target, (enum change)what);
		if (link_fits(&link, &target) != (what <= REASON))
			fail_msg("change %d", what);
	}
}

static void test_2_15_a_connection_without_login_is_for_mail_without_login(void **state)
{
	struct link link = { .target = target_new() };
	struct link_target target = target_new();

	(void)state;
	link.target.account = NULL;
	assert_false(link_fits(&link, &target));
	target.account = NULL;
	assert_true(link_fits(&link, &target));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_15_each_part_of_the_key_counts),
		cmocka_unit_test(test_2_15_a_connection_without_login_is_for_mail_without_login),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
