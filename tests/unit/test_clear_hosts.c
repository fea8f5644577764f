/* The temporary list of C6: by address, emptied as a whole every hour, bounded. */
#include "deliver/clear_hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"

enum { HOUR = 3600 * 1000, START = 5000 };

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text_of(text), &ip), 0);
	return ip;
}

static void test_C6_hosts_are_listed_by_address_whatever_their_port(void **state)
{
	struct clear_hosts *hosts = clear_hosts_new(NULL, START);
	struct ip a = ip_of("192.0.2.1:25"), again = ip_of("192.0.2.1:587"),
		  mapped = ip_of("[::ffff:192.0.2.1]:25"), b = ip_of("192.0.2.2:25"),
		  six = ip_of("[2001:db8::1]:25");
	size_t count;
	int64_t left;

	(void)state;
	assert_false(clear_hosts_have(hosts, &a, START));
	assert_true(clear_hosts_add(hosts, &a, START + 1));
	assert_true(clear_hosts_add(hosts, &again, START + 1));
	assert_true(clear_hosts_have(hosts, &again, START + 1));
	assert_true(clear_hosts_have(hosts, &mapped, START + 1));
	assert_false(clear_hosts_have(hosts, &b, START + 1));
	assert_false(clear_hosts_have(hosts, &six, START + 1));
	assert_true(clear_hosts_add(hosts, &six, START + 2));
	struct ip *list = clear_hosts_list(hosts, hosts, START + 10, &count, &left);
	assert_int_equal(count, 2);
	assert_int_equal(left, HOUR - 10);
	assert_int_equal(list[0].port, 0);
	assert_memory_equal(list[0].bytes, a.bytes, 4);
	assert_memory_equal(list[1].bytes, six.bytes, 16);
	assert_int_equal(clear_hosts_empty(hosts, START + 10), 2);
	assert_false(clear_hosts_have(hosts, &a, START + 10));
	talloc_free(hosts);
}

/* Not an hour for each host: the hour of the list (Q16). */
static void test_C6_all_of_it_is_forgotten_every_hour(void **state)
{
	struct clear_hosts *hosts = clear_hosts_new(NULL, START);
	struct ip a = ip_of("192.0.2.1"), b = ip_of("192.0.2.2");
	size_t count;
	int64_t left;

	(void)state;
	assert_true(clear_hosts_add(hosts, &a, START + 1));
	assert_true(clear_hosts_add(hosts, &b, START + HOUR - 1));
	assert_true(clear_hosts_have(hosts, &a, START + HOUR - 1));
	assert_true(clear_hosts_have(hosts, &b, START + HOUR - 1));
	assert_false(clear_hosts_have(hosts, &a, START + HOUR));
	assert_false(clear_hosts_have(hosts, &b, START + HOUR));
	/* An hour in which nobody asked counts. */
	assert_true(clear_hosts_add(hosts, &a, START + 3 * HOUR + HOUR / 2));
	assert_true(clear_hosts_have(hosts, &a, START + 4 * HOUR - 1));
	clear_hosts_list(hosts, hosts, START + 4 * HOUR - 1, &count, &left);
	assert_int_equal(left, 1);
	assert_false(clear_hosts_have(hosts, &a, START + 4 * HOUR));
	assert_int_equal(clear_hosts_empty(hosts, START + 4 * HOUR), 0);
	talloc_free(hosts);
}

/* Without room, TLS goes on being tried. */
static void test_C6_the_list_is_bounded(void **state)
{
	struct clear_hosts *hosts = clear_hosts_new(NULL, START);
	size_t added = 0, count;
	int64_t left;

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		struct ip ip = { .family = AF_INET, .bytes = { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } };

		added += clear_hosts_add(hosts, &ip, START);
	}
	assert_in_range(added, 1000, 4000);
	clear_hosts_list(hosts, hosts, START, &count, &left);
	assert_int_equal(count, added);
	struct ip last = ip_of("10.0.19.135");
	assert_false(clear_hosts_have(hosts, &last, START));
	struct ip first = ip_of("10.0.0.0");
	assert_true(clear_hosts_add(hosts, &first, START)); /* who is there stays there */
	assert_true(clear_hosts_add(hosts, &last, START + HOUR));
	talloc_free(hosts);
}

/* A delivery that began before it was switched off adds nothing after. */
static void test_C6_the_list_ends_with_its_switch(void **state)
{
	struct clear_hosts *hosts = clear_hosts_new(NULL, START);
	struct ip a = ip_of("192.0.2.1");

	(void)state;
	assert_true(clear_hosts_is_on(hosts));
	assert_true(clear_hosts_add(hosts, &a, START));
	assert_int_equal(clear_hosts_switch(hosts, true, START), 0);
	assert_true(clear_hosts_have(hosts, &a, START));
	assert_int_equal(clear_hosts_switch(hosts, false, START), 1);
	assert_false(clear_hosts_is_on(hosts));
	assert_false(clear_hosts_have(hosts, &a, START));
	assert_false(clear_hosts_add(hosts, &a, START));
	assert_int_equal(clear_hosts_switch(hosts, true, START), 0);
	assert_false(clear_hosts_have(hosts, &a, START));
	assert_true(clear_hosts_add(hosts, &a, START));
	talloc_free(hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_C6_hosts_are_listed_by_address_whatever_their_port),
		cmocka_unit_test(test_C6_all_of_it_is_forgotten_every_hour),
		cmocka_unit_test(test_C6_the_list_is_bounded),
		cmocka_unit_test(test_C6_the_list_ends_with_its_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
