/* What each source demands, over all inputs of its function. */
#include "policy/tls_demand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "tls_product.h"

static bool is_nothing(const struct tls_demand *demand)
{
	return demand->want == TLS_SILENT && demand->recorded == 0 && demand->checks == 0 &&
	       demand->proofs == 0 && demand->mx == TLS_MX_ANY && demand->hold == TLS_GO &&
	       !demand->peer_requiretls && !demand->bounce;
}

/* A must of full weight that asks for `checks` and nothing else. */
static bool is_firm_must(const struct tls_demand *demand, unsigned checks)
{
	return demand->want == TLS_MUST && demand->weight == TLS_WEIGHT_FIRM && demand->checks == checks &&
	       demand->proofs == checks;
}

static void test_the_laws_of_every_demand(void **state)
{
	struct tls_facts facts;

	(void)state;
	for (unsigned i = 0; product_facts(i, &facts); i += 7) {
		const struct tls_demand demands[] = { tls_demand_requiretls(&facts), tls_demand_dane(&facts),
			tls_demand_mta_sts(&facts), tls_demand_destination(&facts), tls_demand_route(&facts),
			tls_demand_required_list(&facts), tls_demand_allow_list(&facts),
			tls_demand_temporary_list(&facts), tls_demand_tls_off(&facts) };

		for (size_t n = 0; n < COUNT(demands); n++) {
			const struct tls_demand *demand = &demands[n];
			const bool must = demand->want == TLS_MUST;

			if ((!must && (demand->checks != 0 || demand->hold != TLS_GO || demand->bounce ||
					      demand->mx != TLS_MX_ANY || demand->peer_requiretls)) ||
				(demand->checks & demand->recorded) != 0 ||
				(demand->proofs & ~(demand->checks | demand->recorded)) != 0 ||
				((must || demand->recorded != 0) && demand->reason == NULL) ||
				demand->dropped || demand->source >= TLS_SOURCE_COUNT)
				fail_msg("facts %u, source %zu", i, n);
		}
	}
}

static void test_C19_requiretls(void **state)
{
	struct tls_facts facts;

	(void)state;
	for (unsigned i = 0; product_facts(i, &facts); i += 5) {
		const struct tls_demand got = tls_demand_requiretls(&facts);
		const bool dane =
			facts.dane_found == DANE_USABLE &&
			(facts.dane == DANE_SETTING_OPPORTUNISTIC || facts.dane == DANE_SETTING_MANDATORY);
		const bool named = facts.sts == STS_MODE_ENFORCE && facts.sts_listed;

		assert_int_equal(got.source, TLS_SOURCE_REQUIRETLS);
		if (!facts.requiretls) {
			assert_true(is_nothing(&got));
			continue;
		}
		assert_true(is_firm_must(&got, dane ? TLS_CHECK_DANE : TLS_CHECK_HOST));
		assert_true(got.peer_requiretls && got.bounce);
		assert_int_equal(got.mx, TLS_MX_LISTED_OR_SECURE);
		assert_int_equal(got.hold, facts.mx_secure || named ? TLS_GO : TLS_SKIP_HOST);
	}
}

static void test_3_38_none_and_audit_demand_nothing(void **state)
{
	(void)state;
	for (int found = 0; found < DANE_FINDING_COUNT; found++)
		for (int mx = 0; mx < DANE_INSECURE_MX_COUNT; mx++) {
			struct tls_facts facts = { .dane_found = (enum dane_finding)found,
				.dane_insecure_mx = (enum dane_insecure_mx)mx };
			struct tls_demand got = tls_demand_dane(&facts);

			assert_true(is_nothing(&got));
			facts.dane = DANE_SETTING_AUDIT;
			got = tls_demand_dane(&facts);
			assert_int_equal(got.want, TLS_SILENT);
			assert_int_equal(got.recorded,
				found == DANE_USABLE || found == DANE_USABLE_INSECURE_MX ? TLS_CHECK_DANE
											 : 0);
			got.recorded = 0;
			assert_true(is_nothing(&got));
		}
}

static void test_B76_mandatory_dane_wants_usable_records(void **state)
{
	(void)state;
	for (int found = 0; found < DANE_FINDING_COUNT; found++)
		for (int mx = 0; mx < DANE_INSECURE_MX_COUNT; mx++) {
			const bool of_mx = found == DANE_INSECURE_MX || found == DANE_MX_UNKNOWN ||
					   found == DANE_USABLE_INSECURE_MX ||
					   found == DANE_UNUSABLE_INSECURE_MX ||
					   found == DANE_UNKNOWN_INSECURE_MX;
			const struct tls_facts facts = { .dane = DANE_SETTING_MANDATORY,
				.dane_found = (enum dane_finding)found,
				.dane_insecure_mx = (enum dane_insecure_mx)mx };
			const struct tls_demand got = tls_demand_dane(&facts);

			assert_int_equal(got.source, TLS_SOURCE_DANE_MANDATORY);
			assert_true(is_firm_must(&got, TLS_CHECK_DANE));
			assert_int_equal(got.recorded, 0);
			assert_false(got.bounce); /* 3.33: never at first sight */
			assert_int_equal(got.hold, found == DANE_USABLE ? TLS_GO
						   : of_mx		? TLS_DEFER
									: TLS_SKIP_HOST);
		}
}

/* [finding]: what opportunistic DANE wants when it is set to `dane`, `encrypt`, `may` for insecure MX records. */
enum wish { NOTHING, ENCRYPT, WATCH, PROVE, TRUST, SKIP, LATER };
static const enum wish wishes[DANE_FINDING_COUNT][DANE_INSECURE_MX_COUNT] = {
	[DANE_NOT_LOOKED] = { NOTHING, NOTHING, NOTHING },
	[DANE_INSECURE_MX] = { NOTHING, NOTHING, NOTHING },
	[DANE_INSECURE_HOST] = { NOTHING, NOTHING, NOTHING },
	[DANE_ABSENT] = { NOTHING, NOTHING, NOTHING },
	[DANE_INSECURE_RECORDS] = { NOTHING, NOTHING, NOTHING },
	[DANE_UNUSABLE] = { ENCRYPT, ENCRYPT, ENCRYPT },
	[DANE_USABLE] = { PROVE, PROVE, PROVE },
	[DANE_USABLE_INSECURE_MX] = { TRUST, WATCH, NOTHING },
	[DANE_UNUSABLE_INSECURE_MX] = { ENCRYPT, ENCRYPT, NOTHING },
	[DANE_UNKNOWN_INSECURE_MX] = { SKIP, SKIP, NOTHING },
	[DANE_MX_UNKNOWN] = { LATER, LATER, LATER },
	[DANE_HOST_UNKNOWN] = { SKIP, SKIP, SKIP },
	[DANE_UNKNOWN] = { SKIP, SKIP, SKIP },
};

static void test_B75_3_08_opportunistic_dane_takes_what_there_is(void **state)
{
	(void)state;
	for (int found = 0; found < DANE_FINDING_COUNT; found++)
		for (int mx = 0; mx < DANE_INSECURE_MX_COUNT; mx++) {
			const enum wish wish = wishes[found][mx];
			const struct tls_facts facts = { .dane = DANE_SETTING_OPPORTUNISTIC,
				.dane_found = (enum dane_finding)found,
				.dane_insecure_mx = (enum dane_insecure_mx)mx };
			const struct tls_demand got = tls_demand_dane(&facts);

			assert_int_equal(got.source, TLS_SOURCE_DANE);
			if (wish == NOTHING) {
				assert_true(is_nothing(&got));
				continue;
			}
			assert_int_equal(got.want, TLS_MUST);
			assert_int_equal(got.weight, TLS_WEIGHT_OPPORTUNISTIC);
			assert_int_equal(got.checks, wish == PROVE || wish == TRUST ? TLS_CHECK_DANE : 0);
			assert_int_equal(got.recorded, wish == WATCH ? TLS_CHECK_DANE : 0);
			assert_int_equal(got.proofs, wish == PROVE ? TLS_CHECK_DANE : 0);
			assert_int_equal(got.hold, wish == SKIP	   ? TLS_SKIP_HOST
						   : wish == LATER ? TLS_DEFER
								   : TLS_GO);
			assert_false(got.bounce);
		}
}

static void test_F3_mta_sts(void **state)
{
	struct tls_facts facts;

	(void)state;
	for (unsigned i = 0; product_facts(i, &facts); i += 5) {
		const struct tls_demand got = tls_demand_mta_sts(&facts);
		const bool dane =
			facts.dane_found == DANE_USABLE &&
			(facts.dane == DANE_SETTING_OPPORTUNISTIC || facts.dane == DANE_SETTING_MANDATORY);

		assert_int_equal(got.source, TLS_SOURCE_MTA_STS);
		switch (facts.sts) {
		case STS_MODE_NONE:
			assert_true(is_nothing(&got));
			break;
		case STS_MODE_TESTING:
			assert_int_equal(got.want, TLS_SILENT);
			assert_int_equal(got.recorded, TLS_CHECK_HOST);
			assert_int_equal(got.proofs, 0);
			break;
		case STS_MODE_ENFORCE:
			assert_true(is_firm_must(&got, dane ? TLS_CHECK_DANE : TLS_CHECK_HOST));
			assert_int_equal(got.mx, TLS_MX_LISTED);
			assert_int_equal(got.hold, facts.sts_listed ? TLS_GO : TLS_SKIP_HOST);
			assert_false(got.bounce);
			break;
		case STS_MODE_COUNT:
			fail();
		}
	}
}

static const struct {
	enum tls_source source;
	enum tls_want want;
	unsigned checks, recorded, proofs;
	const char *word, *reason;
} levels[TLS_LEVEL_COUNT] = {
	{ TLS_SOURCE_DESTINATION_NONE, TLS_NEVER, 0, 0, 0, "none", "TLS is switched off" },
	{ TLS_SOURCE_DESTINATION, TLS_MAY, 0, TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, 0, "preferred",
		"TLS is preferred" },
	{ TLS_SOURCE_DESTINATION_REQUIRED, TLS_MUST, 0, TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, 0, "required",
		"TLS is required" },
	{ TLS_SOURCE_DESTINATION, TLS_MAY, 0, TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, TLS_CHECK_DOMAIN,
		"preferred-verify", "TLS is preferred and verified" },
	{ TLS_SOURCE_DESTINATION_REQUIRED, TLS_MUST, TLS_CHECK_DOMAIN, TLS_CHECK_HOSTED, TLS_CHECK_DOMAIN,
		"required-verify", "TLS for the recipient's domain is required" },
	{ TLS_SOURCE_DESTINATION_REQUIRED, TLS_MUST, TLS_CHECK_HOSTED, TLS_CHECK_DOMAIN, TLS_CHECK_HOSTED,
		"required-verify-hosted", "TLS for the domain or its server is required" },
};
static const char *const from_words[TLS_FROM_COUNT] = { "by default", "by destination `default`",
	"for this destination" };

static void test_B36_B37_each_level_and_where_it_came_from(void **state)
{
	(void)state;
	for (int level = 0; level < TLS_LEVEL_COUNT; level++)
		for (int from = 0; from < TLS_FROM_COUNT; from++) {
			const struct tls_facts facts = { .level = (enum tls_level)level,
				.level_from = (enum tls_level_from)from };
			const struct tls_demand got = tls_demand_destination(&facts);
			const size_t len = strlen(levels[level].reason);

			assert_int_equal(got.source, levels[level].source);
			assert_int_equal(got.want, levels[level].want);
			assert_int_equal(got.checks, levels[level].checks);
			assert_int_equal(got.recorded, levels[level].recorded);
			assert_int_equal(got.proofs, levels[level].proofs);
			assert_int_equal(got.weight, level == TLS_LEVEL_NONE && from == TLS_FROM_NOBODY
							     ? TLS_WEIGHT_SWITCH
							     : TLS_WEIGHT_FIRM);
			assert_true(got.hold == TLS_GO && got.mx == TLS_MX_ANY && !got.bounce);
			assert_string_equal(tls_demand_level_word((enum tls_level)level), levels[level].word);
			assert_memory_equal(got.reason, levels[level].reason, len);
			assert_string_equal(got.reason + len + 1, from_words[from]);
		}
}

static void test_2_12_a_route_with_implicit_tls_or_credentials(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		const struct tls_facts facts = { .implicit = (i & 1) != 0, .credentials = (i & 2) != 0 };
		const struct tls_demand got = tls_demand_route(&facts);

		assert_int_equal(got.source, TLS_SOURCE_ROUTE);
		if (i == 0)
			assert_true(is_nothing(&got));
		else
			assert_true(is_firm_must(&got, facts.credentials ? TLS_CHECK_HOST : 0));
	}
}

static void test_C8_C11_the_lists(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		const struct tls_facts facts = { .allow_listed = (i & 1) != 0,
			.required_listed = (i & 2) != 0,
			.temporary_listed = (i & 4) != 0 };
		const struct tls_demand allow = tls_demand_allow_list(&facts),
					required = tls_demand_required_list(&facts),
					temporary = tls_demand_temporary_list(&facts);

		assert_int_equal(allow.want, facts.allow_listed ? TLS_NEVER : TLS_SILENT);
		assert_int_equal(allow.weight, TLS_WEIGHT_FIRM);
		assert_int_equal(temporary.want, facts.temporary_listed ? TLS_NEVER : TLS_SILENT);
		assert_int_equal(temporary.weight, TLS_WEIGHT_TEMPORARY);
		if (facts.required_listed)
			assert_true(is_firm_must(&required, 0));
		else
			assert_true(is_nothing(&required));
	}
}

static void test_F4_the_switch_for_all_tls(void **state)
{
	struct tls_facts facts;

	(void)state;
	for (unsigned i = 0; product_facts(i, &facts); i += 5) {
		const struct tls_demand got = tls_demand_tls_off(&facts);

		assert_int_equal(got.source, TLS_SOURCE_TLS_OFF);
		if (!facts.tls_off) {
			assert_true(is_nothing(&got));
			continue;
		}
		assert_int_equal(got.want, TLS_NEVER);
		assert_int_equal(got.weight, TLS_WEIGHT_FIRM);
		assert_string_equal(got.reason, "tls.enabled is off");
	}
}

static void all_different(const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_non_null(words[i]);
		assert_null(strpbrk(words[i], " _ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
		for (size_t n = 0; n < i; n++)
			assert_string_not_equal(words[n], words[i]);
	}
}

static void test_every_word_is_its_own(void **state)
{
	const char *words[16];

	(void)state;
#define WORDS(type, function, count)                                                                         \
	for (int i = 0; i < (count); i++)                                                                    \
		words[i] = function((type)i);                                                                \
	all_different(words, (count))
	WORDS(enum tls_level, tls_demand_level_word, TLS_LEVEL_COUNT);
	WORDS(enum tls_level_from, tls_demand_level_from_word, TLS_FROM_COUNT);
	WORDS(enum tls_source, tls_demand_source_word, TLS_SOURCE_COUNT);
	WORDS(enum tls_want, tls_demand_want_word, TLS_MUST + 1);
	WORDS(enum tls_hold, tls_demand_hold_word, TLS_DEFER + 1);
	WORDS(enum tls_mx, tls_demand_mx_word, TLS_MX_LISTED + 1);
	WORDS(enum dane_setting, tls_demand_dane_word, DANE_SETTING_COUNT);
	WORDS(enum dane_insecure_mx, tls_demand_insecure_mx_word, DANE_INSECURE_MX_COUNT);
	WORDS(enum sts_mode, tls_demand_sts_word, STS_MODE_COUNT);
#undef WORDS
	for (int i = 0; i < 4; i++)
		words[i] = tls_demand_check_word((enum tls_check)(1 << i));
	all_different(words, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_laws_of_every_demand),
		cmocka_unit_test(test_C19_requiretls),
		cmocka_unit_test(test_3_38_none_and_audit_demand_nothing),
		cmocka_unit_test(test_B76_mandatory_dane_wants_usable_records),
		cmocka_unit_test(test_B75_3_08_opportunistic_dane_takes_what_there_is),
		cmocka_unit_test(test_F3_mta_sts),
		cmocka_unit_test(test_B36_B37_each_level_and_where_it_came_from),
		cmocka_unit_test(test_2_12_a_route_with_implicit_tls_or_credentials),
		cmocka_unit_test(test_C8_C11_the_lists),
		cmocka_unit_test(test_F4_the_switch_for_all_tls),
		cmocka_unit_test(test_every_word_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
