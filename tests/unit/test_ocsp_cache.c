/* What responders said, kept; and one fetch for all (pki/ocsp_cache.c). */
#include "pki/ocsp_cache.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"

static struct digest key_of(int number)
{
	return digest_of((struct text){ (const char *)&number, sizeof number });
}

static enum ocsp_claim claim(struct ocsp_cache *cache, int number, int64_t ms, char *ret_first)
{
	struct digest key = key_of(number);
	struct ocsp_kept kept = { .response = { "?", 1 } };
	enum ocsp_claim claim = ocsp_cache_claim(cache, &key, clock_mono_ms() + ms, cache, &kept);

	if (ret_first != NULL)
		*ret_first = kept.response.len > 0 ? kept.response.at[0] : kept.why[0];
	return claim;
}

static void put(struct ocsp_cache *cache, int number, const char *response, int64_t ms)
{
	struct digest key = key_of(number);
	const struct ocsp_kept kept = {
		.response = text_of(response), .why = "no", .until_ms = clock_wall_ms() + ms
	};

	ocsp_cache_put(cache, &key, &kept);
}

static void test_what_was_put_is_held_until_it_is_old(void **state)
{
	struct ocsp_cache *cache = ocsp_cache_new(NULL);
	char first;

	(void)state;
	assert_int_equal(claim(cache, 1, 0, NULL), OCSP_CLAIM_YOURS);
	put(cache, 1, "a", 60000);
	assert_int_equal(claim(cache, 1, 0, &first), OCSP_CLAIM_HELD);
	assert_int_equal(first, 'a');
	assert_int_equal(claim(cache, 2, 0, NULL), OCSP_CLAIM_YOURS);
	put(cache, 2, "", 60000);
	assert_int_equal(claim(cache, 2, 0, &first), OCSP_CLAIM_HELD);
	assert_int_equal(first, 'n');
	assert_int_equal(claim(cache, 3, 0, NULL), OCSP_CLAIM_YOURS);
	put(cache, 3, "c", 0);
	assert_int_equal(claim(cache, 3, 0, NULL), OCSP_CLAIM_YOURS);
	put(cache, 3, "c", 60000);
	assert_int_equal(claim(cache, 3, 0, NULL), OCSP_CLAIM_HELD);
	talloc_free(cache);
}

static void test_who_comes_while_it_is_fetched_does_not_wait_for_ever(void **state)
{
	struct ocsp_cache *cache = ocsp_cache_new(NULL);

	(void)state;
	assert_int_equal(claim(cache, 1, 0, NULL), OCSP_CLAIM_YOURS);
	assert_int_equal(claim(cache, 1, 20, NULL), OCSP_CLAIM_LATE);
	assert_int_equal(claim(cache, 2, 0, NULL), OCSP_CLAIM_YOURS);
	put(cache, 1, "a", 60000);
	assert_int_equal(claim(cache, 1, 0, NULL), OCSP_CLAIM_HELD);
	talloc_free(cache);
}

enum { THREADS = 16 };

struct race {
	struct ocsp_cache *cache;
	pthread_barrier_t start;
	atomic_int asking, fetches, held;
};

static void *race_run(void *argument)
{
	struct race *race = argument;
	char first = 0;
	void *scratch = talloc_new(NULL);
	struct digest key = key_of(7);
	struct ocsp_kept kept;

	pthread_barrier_wait(&race->start);
	atomic_fetch_add(&race->asking, 1);
	switch (ocsp_cache_claim(race->cache, &key, clock_mono_ms() + 30000, scratch, &kept)) {
	case OCSP_CLAIM_YOURS:
		atomic_fetch_add(&race->fetches, 1);
		while (atomic_load(&race->asking) < THREADS) /* the others are about to ask */
			sched_yield();
		put(race->cache, 7, "x", 60000);
		break;
	case OCSP_CLAIM_HELD:
		first = kept.response.at[0];
		atomic_fetch_add(&race->held, first == 'x');
		break;
	case OCSP_CLAIM_LATE:
		break;
	}
	talloc_free(scratch);
	return NULL;
}

static void test_one_fetch_for_all_who_ask_at_once(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct race race = { .cache = ocsp_cache_new(NULL) };
		pthread_t threads[THREADS];

		pthread_barrier_init(&race.start, NULL, THREADS);
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, race_run, &race), 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(atomic_load(&race.fetches), 1);
		assert_int_equal(atomic_load(&race.held), THREADS - 1);
		pthread_barrier_destroy(&race.start);
		talloc_free(race.cache);
	}
}

static void test_it_is_bounded(void **state)
{
	struct ocsp_cache *cache = ocsp_cache_new(NULL);

	(void)state;
	assert_int_equal(claim(cache, -1, 0, NULL), OCSP_CLAIM_YOURS); /* being fetched: stays */
	for (int i = 1; i <= 2 * OCSP_CACHE_ENTRIES_MAX; i++) {
		assert_int_equal(claim(cache, i, 0, NULL), OCSP_CLAIM_YOURS);
		put(cache, i, "a", 60000 + i * 1000);
	}
	assert_int_equal(claim(cache, -1, 0, NULL), OCSP_CLAIM_LATE);
	for (int i = OCSP_CACHE_ENTRIES_MAX + 2; i <= 2 * OCSP_CACHE_ENTRIES_MAX; i++)
		assert_int_equal(claim(cache, i, 0, NULL), OCSP_CLAIM_HELD);
	assert_int_equal(claim(cache, 1, 0, NULL), OCSP_CLAIM_YOURS); /* it would have ended first */
	talloc_free(cache);
}

static void test_there_is_no_room_while_everything_is_fetched(void **state)
{
	struct ocsp_cache *cache = ocsp_cache_new(NULL);

	(void)state;
	for (int i = 0; i < OCSP_CACHE_ENTRIES_MAX; i++)
		assert_int_equal(claim(cache, i, 0, NULL), OCSP_CLAIM_YOURS);
	assert_int_equal(claim(cache, OCSP_CACHE_ENTRIES_MAX, 0, NULL), OCSP_CLAIM_LATE);
	put(cache, 3, "a", 60000);
	assert_int_equal(claim(cache, OCSP_CACHE_ENTRIES_MAX, 0, NULL), OCSP_CLAIM_YOURS);
	talloc_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_put_is_held_until_it_is_old),
		cmocka_unit_test(test_who_comes_while_it_is_fetched_does_not_wait_for_ever),
		cmocka_unit_test(test_one_fetch_for_all_who_ask_at_once),
		cmocka_unit_test(test_it_is_bounded),
		cmocka_unit_test(test_there_is_no_room_while_everything_is_fetched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
