/* Answers of the DNS that are kept: which, for how long, and that who got one owns it. */
#include "lookup/dns_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/ip.h"
#include "dns_table.h"

enum { SOON_MS = 1000000 };

static const struct zone some[] = { { "a.test", DNS_MX, "+>b.test 10 m.test, 20 n.test" },
	{ "m.test", DNS_A, "192.0.2.1" }, { "t.test", DNS_TLSA, "+3 1 1 32, -0" }, { "no.test", DNS_A, "+!" },
	{ "late.test", DNS_A, "?too late" }, { "bogus.test", DNS_A, "*forged" }, { 0 } };

static struct dns_answer *ask(
	struct dns_cache *cache, const void *owner, const char *name, enum dns_type type)
{
	zones = some;
	return dns_cache_ask(cache, NULL, owner, name, type, -1, 0);
}

static void test_3_36_what_was_answered_is_not_asked_again(void **state)
{
	struct dns_cache *cache = dns_cache_new(NULL);
	void *first = talloc_new(NULL), *second = talloc_new(NULL);

	(void)state;
	asked = 0;
	ask(cache, first, "a.test", DNS_MX);
	ask(cache, first, "t.test", DNS_TLSA);
	ask(cache, first, "no.test", DNS_A);
	assert_int_equal(asked, 3);
	talloc_free(first); /* what is kept is nobody else's */

	struct dns_answer *mx = ask(cache, second, "A.test", DNS_MX);
	struct dns_answer *tlsa = ask(cache, second, "t.test", DNS_TLSA);
	struct dns_answer *none = ask(cache, second, "no.test", DNS_A);
	assert_int_equal(asked, 3);
	assert_int_equal(mx->result, DNS_FOUND);
	assert_int_equal(mx->security, DNS_SECURE);
	assert_string_equal(mx->canonical, "b.test");
	assert_int_equal(mx->count, 2);
	assert_string_equal(mx->records[1].name, "n.test");
	assert_int_equal(mx->records[1].preference, 20);
	assert_int_equal(tlsa->count, 2);
	assert_int_equal(tlsa->records[0].data.len, 35);
	assert_memory_equal(tlsa->records[0].data.at, "\003\001\001\xab", 4);
	assert_int_equal(tlsa->records[1].data.len, 0);
	assert_int_equal(none->result, DNS_NO_NAME);
	assert_int_equal(none->security, DNS_SECURE);
	talloc_free(cache); /* and what was given is not the cache's */
	assert_string_equal(mx->records[0].name, "m.test");
	talloc_free(second);
}

static void test_2_35_failures_are_asked_again(void **state)
{
	struct dns_cache *cache = dns_cache_new(NULL);

	(void)state;
	asked = 0;
	for (size_t i = 1; i <= 2; i++) {
		ask(cache, cache, "late.test", DNS_A);
		ask(cache, cache, "bogus.test", DNS_A);
		assert_int_equal(asked, 2 * i);
	}
	ask(cache, cache, "m.test", DNS_A);
	ask(cache, cache, "m.test", DNS_AAAA);
	assert_int_equal(asked, 6);
	ask(NULL, cache, "m.test", DNS_A);
	assert_int_equal(asked, 7);
	talloc_free(cache);
}

static void test_3_36_nothing_is_kept_beyond_its_time(void **state)
{
	static const struct {
		int64_t ttl_s, last_ms; /* that it can be had; -1 = never */
	} cases[] = { { 0, -1 }, { 1, -1 }, { 2, 999 }, { 30, 28999 }, { 61, 59999 }, { 300, 59999 },
		{ UINT32_MAX, 59999 } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dns_cache *cache = dns_cache_new(NULL);
		struct dns_answer answer = {
			.result = DNS_NO_DATA, .why = "", .canonical = "a.test", .ttl_s = cases[i].ttl_s
		};
		const struct dns_answer *last;

		dns_cache_keep(cache, "a.test", DNS_A, &answer, SOON_MS);
		last = dns_cache_find(
			cache, cache, "a.test", DNS_A, SOON_MS + MAX(cases[i].last_ms, (int64_t)0));
		assert_int_equal(last != NULL, cases[i].last_ms >= 0);
		if (last != NULL)
			assert_int_equal(last->ttl_s, cases[i].ttl_s - (cases[i].last_ms + 999) / 1000);
		assert_null(dns_cache_find(cache, cache, "a.test", DNS_A, SOON_MS + cases[i].last_ms + 1));
		assert_null(dns_cache_find(cache, cache, "a.test", DNS_A, SOON_MS)); /* it is gone */
		talloc_free(cache);
	}
}

static void test_it_is_bounded(void **state)
{
	struct dns_cache *cache = dns_cache_new(NULL);
	struct dns_answer answer = { .result = DNS_NO_DATA, .why = "", .canonical = "", .ttl_s = 300 };
	char name[300];

	(void)state;
	for (unsigned i = 0; i < DNS_CACHE_ANSWERS + 2; i++) {
		snprintf(name, sizeof name, "n%u.test", i);
		dns_cache_keep(cache, name, DNS_A, &answer, SOON_MS);
		dns_cache_keep(cache, name, DNS_A, &answer, SOON_MS); /* takes no second place */
	}
	assert_null(dns_cache_find(cache, cache, "n0.test", DNS_A, SOON_MS));
	assert_null(dns_cache_find(cache, cache, "n1.test", DNS_A, SOON_MS));
	assert_non_null(dns_cache_find(cache, cache, "n2.test", DNS_A, SOON_MS));
	assert_non_null(dns_cache_find(cache, cache, name, DNS_A, SOON_MS));

	memset(name, 'a', sizeof name);
	name[299] = '\0';
	dns_cache_keep(cache, name, DNS_A, &answer, SOON_MS);
	assert_null(dns_cache_find(cache, cache, name, DNS_A, SOON_MS));

	static const char large[9000];
	struct dns_record record = { .name = "", .data = { large, sizeof large } };
	answer = (struct dns_answer){
		.result = DNS_FOUND, .why = "", .canonical = "", .ttl_s = 300, .count = 1, .records = &record
	};
	dns_cache_keep(cache, "large.test", DNS_TXT, &answer, SOON_MS);
	assert_null(dns_cache_find(cache, cache, "large.test", DNS_TXT, SOON_MS));
	talloc_free(cache);
}

static void *ask_often(void *argument)
{
	for (unsigned i = 0; i < 2000; i++) {
		void *owner = talloc_new(NULL);
		struct dns_answer answer = {
			.result = DNS_NO_DATA, .why = "", .canonical = "x", .ttl_s = 300
		};
		char name[16];

		snprintf(name, sizeof name, "n%u", i % 7);
		dns_cache_keep(argument, name, DNS_A, &answer, SOON_MS);
		dns_cache_find(argument, owner, name, DNS_A, SOON_MS + (i % 3) * 59999);
		talloc_free(owner);
	}
	return NULL;
}

static void test_threads_share_it(void **state)
{
	struct dns_cache *cache = dns_cache_new(NULL);
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, cache), 0);
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	talloc_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_3_36_what_was_answered_is_not_asked_again),
		cmocka_unit_test(test_2_35_failures_are_asked_again),
		cmocka_unit_test(test_3_36_nothing_is_kept_beyond_its_time),
		cmocka_unit_test(test_it_is_bounded),
		cmocka_unit_test(test_threads_share_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
