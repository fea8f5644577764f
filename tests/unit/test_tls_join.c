/* The join of demands, over all pairs and triples of those that can be made. */
#include "policy/tls_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "tls_product.h"

/* All demands that can be made, each once. */
enum { DEMANDS_ALL = 128 };
static size_t all_demands(struct tls_demand *ret_demands)
{
	struct tls_facts f;
	size_t count = 0;

	for (unsigned i = 0; product_facts(i, &f); i += 7) {
		const struct tls_demand demands[] = { tls_demand_requiretls(&f), tls_demand_dane(&f),
			tls_demand_mta_sts(&f), tls_demand_destination(&f), tls_demand_route(&f),
			tls_demand_required_list(&f), tls_demand_allow_list(&f),
			tls_demand_temporary_list(&f), tls_demand_tls_off(&f) };

		for (size_t n = 0; n < COUNT(demands); n++) {
			size_t at = 0;

			while (at < count && memcmp(&ret_demands[at], &demands[n], sizeof demands[n]) != 0)
				at++;
			if (at < count)
				continue;
			assert_true(count < DEMANDS_ALL);
			memcpy(&ret_demands[count++], &demands[n], sizeof demands[n]);
		}
	}
	return count;
}

static bool is_same(const struct tls_decision *a, const struct tls_decision *b)
{
	return a->tls == b->tls && a->checks == b->checks && a->recorded == b->recorded &&
	       a->proofs == b->proofs && a->mx == b->mx && a->hold == b->hold &&
	       a->peer_requiretls == b->peer_requiretls && a->conflict == b->conflict &&
	       a->bounce == b->bounce;
}

/* Two demands of one source are never made at once. */
static bool is_one_source(const struct tls_demand *a, const struct tls_demand *b)
{
#define KIND(s)                                                                                              \
	((s) == TLS_SOURCE_DANE_MANDATORY ? TLS_SOURCE_DANE                                                  \
		: (s) == TLS_SOURCE_DESTINATION_REQUIRED || (s) == TLS_SOURCE_DESTINATION_NONE               \
			? TLS_SOURCE_DESTINATION                                                             \
			: (s))
	return KIND(a->source) == KIND(b->source);
#undef KIND
}

static bool is_pair(
	const struct tls_demand *a, const struct tls_demand *b, enum tls_source one, enum tls_source other)
{
	return (a->source == one && b->source == other) || (a->source == other && b->source == one);
}

static void join_two(const struct tls_demand *a, const struct tls_demand *b)
{
	const struct tls_demand two[] = { *a, *b }, turned[] = { *b, *a };
	const struct tls_decision got = tls_decide_join(two, 2), same = tls_decide_join(turned, 2);
	const bool musts = a->want == TLS_MUST && b->want == TLS_MUST;
	const bool must_and_never = (a->want == TLS_MUST && b->want == TLS_NEVER) ||
				    (a->want == TLS_NEVER && b->want == TLS_MUST);
	const bool c12 = must_and_never && is_pair(a, b, TLS_SOURCE_REQUIRED_LIST, TLS_SOURCE_ALLOW_LIST);
	const struct tls_demand *must = a->want == TLS_MUST ? a : b, *never = a->want == TLS_MUST ? b : a;

	assert_true(is_same(&got, &same));
	assert_ptr_equal(got.reason, same.reason);
	if (musts)
		assert_true(got.tls == TLS_MUST && got.checks == (a->checks | b->checks) &&
			    got.hold == MAX(a->hold, b->hold) && got.mx == MAX(a->mx, b->mx) &&
			    got.peer_requiretls == (a->peer_requiretls || b->peer_requiretls));
	assert_int_equal(got.conflict, must_and_never && !c12 && must->weight == TLS_WEIGHT_FIRM &&
					       never->weight == TLS_WEIGHT_FIRM);
	if (must_and_never && !c12)
		assert_int_equal(got.tls, never->weight > must->weight ? TLS_NEVER : TLS_MUST);
	if (c12)
		assert_int_equal(got.tls, TLS_MUST);
	if (!must_and_never && !musts)
		assert_int_equal(got.tls, a->want == TLS_MUST || b->want == TLS_MUST	 ? TLS_MUST
					  : a->want == TLS_NEVER || b->want == TLS_NEVER ? TLS_NEVER
											 : TLS_MAY);
	/* a demand is in vain only when the other outweighs it */
	for (size_t i = 0; i < got.count; i++)
		assert_int_equal(got.demands[i].dropped,
			c12 ? got.demands[i].source == TLS_SOURCE_ALLOW_LIST
			    : must_and_never && !got.conflict && got.demands[i].want != got.tls);
}

static void test_F1_all_pairs_of_demands(void **state)
{
	static struct tls_demand all[DEMANDS_ALL];
	const size_t count = all_demands(all);

	(void)state;
	assert_true(count > 40);
	for (size_t a = 0; a < count; a++)
		for (size_t b = 0; b < count; b++)
			if (!is_one_source(&all[a], &all[b]))
				join_two(&all[a], &all[b]);
}

/* A third must takes nothing away, in whatever order they come. */
static void test_F1_all_triples_with_a_must(void **state)
{
	static struct tls_demand all[DEMANDS_ALL];
	const size_t count = all_demands(all);

	(void)state;
	for (size_t a = 0; a < count; a++)
		for (size_t b = 0; b < a; b++)
			for (size_t c = 0; c < count; c++) {
				const struct tls_demand three[] = { all[c], all[a], all[b] };
				const struct tls_decision two = tls_decide_join(three + 1, 2),
							  got = tls_decide_join(three, 3);

				if (all[c].want != TLS_MUST || all[c].weight != TLS_WEIGHT_FIRM ||
					is_one_source(&all[a], &all[b]) || is_one_source(&all[a], &all[c]) ||
					is_one_source(&all[b], &all[c]) ||
					all[c].source == TLS_SOURCE_REQUIRED_LIST)
					continue;
				if (product_is_weaker(&two, &got) || got.tls != TLS_MUST ||
					(all[c].checks & ~got.checks) != 0)
					fail_msg("demands %zu, %zu and %zu", a, b, c);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_F1_all_pairs_of_demands),
		cmocka_unit_test(test_F1_all_triples_with_a_must),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
