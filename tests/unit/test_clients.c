/* Sessions and new sessions of a client network are counted exactly (listen/clients.c), and so is its queued mail (queue/quota.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "listen/clients.h"
#include "queue/quota.h"

static struct ip ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text_of(text), &ip), 0);
	return ip;
}

static void test_a_client_network_is_a_24_or_a_56(void **state)
{
	static const struct {
		const char *name, *a, *b;
		bool same;
	} cases[] = {
		{ "the same address", "192.0.2.1", "192.0.2.1", true },
		{ "the same /24", "192.0.2.1", "192.0.2.254", true },
		{ "the next /24", "192.0.2.1", "192.0.3.1", false },
		{ "the same /56", "2001:db8:1:2::1", "2001:db8:1:ff::9", true },
		{ "the next /56", "2001:db8:1:2::1", "2001:db8:1:100::1", false },
		{ "other families", "192.0.2.1", "2001:db8::1", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip a = ip(cases[i].a), b = ip(cases[i].b);
		struct ip_network na = ip_client_network(&a), nb = ip_client_network(&b);

		if ((memcmp(&na, &nb, sizeof na) == 0) != cases[i].same)
			fail_msg("%s", cases[i].name);
	}
}

static void test_sessions_at_once_are_limited_for_each_network(void **state)
{
	struct clients *clients = clients_new(NULL);
	struct ip a = ip("192.0.2.1"), neighbour = ip("192.0.2.2"), other = ip("198.51.100.1");

	(void)state;
	assert_int_equal(clients_enter(clients, &a, 2, 100, 0), CLIENTS_WELCOME);
	assert_int_equal(clients_enter(clients, &neighbour, 2, 100, 0), CLIENTS_WELCOME);
	assert_int_equal(clients_enter(clients, &a, 2, 100, 0), CLIENTS_TOO_MANY);
	assert_int_equal(clients_enter(clients, &other, 2, 100, 0), CLIENTS_WELCOME);
	clients_leave(clients, &neighbour);
	assert_int_equal(clients_enter(clients, &a, 2, 100, 0), CLIENTS_WELCOME);
	talloc_free(clients);
}

static void test_new_sessions_are_limited_by_the_minute(void **state)
{
	struct clients *clients = clients_new(NULL);
	struct ip a = ip("192.0.2.1");
	int64_t now = 1000;

	(void)state;
	for (int i = 0; i < 60; i++) {
		assert_int_equal(clients_enter(clients, &a, 1000, 60, now), CLIENTS_WELCOME);
		clients_leave(clients, &a);
	}
	assert_int_equal(clients_enter(clients, &a, 1000, 60, now), CLIENTS_TOO_FAST);
	assert_int_equal(clients_enter(clients, &a, 1000, 60, now + 999), CLIENTS_TOO_FAST);
	assert_int_equal(clients_enter(clients, &a, 1000, 60, now + 1000), CLIENTS_WELCOME);
	assert_int_equal(clients_enter(clients, &a, 1000, 60, now + 1000), CLIENTS_TOO_FAST);
	assert_int_equal(clients_enter(clients, &a, 1000, 60, now + 61000), CLIENTS_WELCOME);
	talloc_free(clients);
}

static void test_1_53_handshakes_are_limited_by_the_minute(void **state)
{
	struct clients *clients = clients_new(NULL);
	struct ip a = ip("192.0.2.1"), neighbour = ip("192.0.2.2"), other = ip("198.51.100.1");
	int64_t now = 1000;

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_true(clients_handshake(clients, i % 2 == 0 ? &a : &neighbour, 6, now));
	assert_false(clients_handshake(clients, &a, 6, now));
	assert_true(clients_handshake(clients, &other, 6, now));
	assert_false(clients_handshake(clients, &neighbour, 6, now + 9999));
	assert_true(clients_handshake(clients, &a, 6, now + 10000));
	assert_false(clients_handshake(clients, &a, 6, now + 10000));
	assert_true(clients_handshake(clients, &a, 0, now + 10000));

	/* Arrivals are counted apart. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(clients_enter(clients, &a, 9, 3, now + 10000), CLIENTS_WELCOME);
	assert_int_equal(clients_enter(clients, &a, 9, 3, now + 10000), CLIENTS_TOO_FAST);
	assert_true(clients_handshake(clients, &a, 6, now + 20000));
	talloc_free(clients);
}

/* Networks are forgotten when it makes no difference, and not before. */
static void test_1_53_networks_are_forgotten_when_their_buckets_are_full(void **state)
{
	struct clients *clients = clients_new(NULL);
	struct ip a = ip("192.0.2.1");

	(void)state;
	assert_true(clients_handshake(clients, &a, 1, 1000));
	for (unsigned i = 0; i < 3000; i++) {
		char text[IP_TEXT_MAX];
		struct ip many;

		snprintf(text, sizeof text, "10.%u.%u.1", i / 256, i % 256);
		many = ip(text);
		assert_int_equal(clients_enter(clients, &many, 1, 1, 60999), CLIENTS_WELCOME);
		clients_leave(clients, &many);
	}
	assert_false(clients_handshake(clients, &a, 1, 60999));
	assert_true(clients_handshake(clients, &a, 1, 61000));
	talloc_free(clients);
}

static void test_queued_mail_is_counted_for_each_network(void **state)
{
	struct quota *quota = quota_new(NULL);

	(void)state;
	quota_add(quota, "192.0.2.1");
	quota_add(quota, "192.0.2.2");
	quota_add(quota, "local");
	assert_int_equal(quota_count(quota, "192.0.2.9"), 2);
	assert_int_equal(quota_count(quota, "192.0.3.1"), 0);
	assert_int_equal(quota_count(quota, "local"), 0);
	quota_drop(quota, "192.0.2.1");
	quota_drop(quota, "192.0.2.1");
	quota_drop(quota, "192.0.2.1");
	assert_int_equal(quota_count(quota, "192.0.2.1"), 0);
	talloc_free(quota);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_client_network_is_a_24_or_a_56),
		cmocka_unit_test(test_sessions_at_once_are_limited_for_each_network),
		cmocka_unit_test(test_new_sessions_are_limited_by_the_minute),
		cmocka_unit_test(test_1_53_handshakes_are_limited_by_the_minute),
		cmocka_unit_test(test_1_53_networks_are_forgotten_when_their_buckets_are_full),
		cmocka_unit_test(test_queued_mail_is_counted_for_each_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
