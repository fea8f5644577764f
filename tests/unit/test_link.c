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

static const struct config_tls_profile profile;
static const struct config_certificate certificate;
static const struct config_authorities authorities;

static struct link_target target_new(void)
{
	struct link_target target = { .generation = 3,
		.destination = "mx:a.test",
		.domain = "a.test",
		.host = "m.a.test",
		.sni = "m.a.test",
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
	DOMAIN,
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
	RECORDED,
	PROOFS,
	DANE,
	SNI,
	NO_SNI,
	PROFILE,
	CERTIFICATE,
	AUTHORITIES,
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
	case DOMAIN: /* nobody looked whether the server's certificate is for it */
		target->domain = "b.test";
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
	case RECORDED:
		target->decision.recorded = TLS_CHECK_DOMAIN;
		break;
	case PROOFS:
		target->decision.proofs = TLS_CHECK_DOMAIN;
		break;
	case DANE:
		target->dane_id.bytes[5] = 1;
		break;
	case SNI:
		target->sni = "n.a.test";
		break;
	case NO_SNI:
		target->sni = NULL;
		break;
	case PROFILE:
		target->profile = &profile;
		break;
	case CERTIFICATE:
		target->certificate = &certificate;
		break;
	case AUTHORITIES:
		target->authorities = &authorities;
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
		if (link_fits(&link, &target) != (what <= DOMAIN))
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

/* One server for two domains: its certificate was looked at for one of them. */
static void test_2_17_another_domain_uses_the_connection_only_when_its_name_does_not_count(void **state)
{
	static const unsigned checks[] = { TLS_CHECK_DANE, TLS_CHECK_HOST, TLS_CHECK_DOMAIN, TLS_CHECK_HOSTED,
		TLS_CHECK_HOST | TLS_CHECK_DOMAIN };

	(void)state;
	for (size_t i = 0; i < COUNT(checks); i++) {
		const bool named = checks[i] & (TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED);

		for (int proof = 0; proof < 2; proof++) {
			struct link link = { .target = target_new(), .account_id = one.id };
			struct link_target target = target_new();

			*(proof ? &link.target.decision.proofs : &link.target.decision.checks) = checks[i];
			*(proof ? &target.decision.proofs : &target.decision.checks) = checks[i];
			assert_true(link_fits(&link, &target));
			target.domain = "b.test";
			assert_int_equal(link_fits(&link, &target), !named);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_15_each_part_of_the_key_counts),
		cmocka_unit_test(test_2_15_a_connection_without_login_is_for_mail_without_login),
		cmocka_unit_test(
			test_2_17_another_domain_uses_the_connection_only_when_its_name_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
