/* Keys of session tickets: which one seals and which opens at which age; and that tickets of real connections follow. */
#include "net/tls_tickets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <talloc.h>

#include "base/base.h"
#include "net/tls.h"

enum { HOUR = 3600 * 1000 };

static struct tls_ticket_key seal(struct tls_tickets *tickets, int64_t now_ms)
{
	struct tls_ticket_key key;

	assert_int_equal(tls_tickets_find(tickets, now_ms, NULL, &key), TLS_TICKETS_CURRENT);
	return key;
}

static enum tls_tickets_found open_with(
	struct tls_tickets *tickets, int64_t now_ms, const struct tls_ticket_key *sealed)
{
	struct tls_ticket_key key = { 0 };
	enum tls_tickets_found found = tls_tickets_find(tickets, now_ms, sealed->name, &key);

	if (found == TLS_TICKETS_CURRENT || found == TLS_TICKETS_OLD) {
		assert_memory_equal(key.cipher, sealed->cipher, sizeof key.cipher);
		assert_memory_equal(key.mac, sealed->mac, sizeof key.mac);
	}
	return found;
}

static void test_8_17_a_key_seals_for_twelve_hours_and_opens_for_twenty_four(void **state)
{
	static const struct {
		int64_t at; /* after the key was made */
		bool seals;
		enum tls_tickets_found opens;
	} steps[] = {
		{ 0, true, TLS_TICKETS_CURRENT },
		{ 1, true, TLS_TICKETS_CURRENT },
		{ 12 * HOUR - 1, true, TLS_TICKETS_CURRENT },
		{ 12 * HOUR, false, TLS_TICKETS_OLD },
		{ 12 * HOUR + 1, false, TLS_TICKETS_OLD },
		{ 24 * HOUR - 1, false, TLS_TICKETS_OLD },
		{ 24 * HOUR, false, TLS_TICKETS_NONE },
		{ 48 * HOUR, false, TLS_TICKETS_NONE },
	};
	const int64_t start = 1000000;
	struct tls_tickets *tickets = tls_tickets_new(NULL, start);
	const struct tls_ticket_key first = seal(tickets, start);

	(void)state;
	for (size_t i = 0; i < COUNT(steps); i++) {
		int64_t now = start + steps[i].at;
		const struct tls_ticket_key key = seal(tickets, now);

		assert_int_equal(memcmp(key.name, first.name, sizeof key.name) == 0, steps[i].seals);
		assert_int_equal(memcmp(key.cipher, first.cipher, sizeof key.cipher) == 0, steps[i].seals);
		assert_int_equal(memcmp(key.mac, first.mac, sizeof key.mac) == 0, steps[i].seals);
		assert_int_equal(open_with(tickets, now, &first), steps[i].opens);
	}
	talloc_free(tickets);
}

/* Whether anybody came in between or not. */
static void test_8_17_a_key_that_nobody_used_for_a_day_is_gone(void **state)
{
	static const int64_t quiet[] = { 24 * HOUR, 25 * HOUR, 1000 * (int64_t)HOUR };

	(void)state;
	for (size_t i = 0; i < COUNT(quiet); i++) {
		struct tls_tickets *tickets = tls_tickets_new(NULL, 5);
		const struct tls_ticket_key first = seal(tickets, 5);

		assert_int_equal(open_with(tickets, 5 + quiet[i], &first), TLS_TICKETS_NONE);
		talloc_free(tickets);
	}
}

static void test_8_17_a_new_ticket_is_asked_for_only_when_there_is_a_newer_key(void **state)
{
	struct tls_tickets *tickets = tls_tickets_new(NULL, 0);
	struct tls_ticket_key before = seal(tickets, 0);

	(void)state;
	for (int64_t now = 0; now < 100 * (int64_t)HOUR; now += HOUR / 2) {
		const struct tls_ticket_key key = seal(tickets, now);
		bool turned = memcmp(key.name, before.name, sizeof key.name) != 0;

		assert_int_equal(open_with(tickets, now, &key), TLS_TICKETS_CURRENT);
		assert_int_equal(
			open_with(tickets, now, &before), turned ? TLS_TICKETS_OLD : TLS_TICKETS_CURRENT);
		assert_int_equal(turned, now > 0 && now % (12 * HOUR) == 0);
		before = key;
	}
	talloc_free(tickets);
}

static void test_8_17_keys_of_two_listeners_have_nothing_in_common(void **state)
{
	struct tls_tickets *here = tls_tickets_new(NULL, 0), *there = tls_tickets_new(NULL, 0);
	const struct tls_ticket_key key = seal(here, 0), other = seal(there, 0);

	(void)state;
	assert_memory_not_equal(key.name, other.name, sizeof key.name);
	assert_memory_not_equal(key.cipher, other.cipher, sizeof key.cipher);
	assert_memory_not_equal(key.mac, other.mac, sizeof key.mac);
	assert_int_equal(open_with(there, 0, &key), TLS_TICKETS_NONE);
	talloc_free(here);
	talloc_free(there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_8_17_a_key_seals_for_twelve_hours_and_opens_for_twenty_four),
		cmocka_unit_test(test_8_17_a_key_that_nobody_used_for_a_day_is_gone),
		cmocka_unit_test(test_8_17_a_new_ticket_is_asked_for_only_when_there_is_a_newer_key),
		cmocka_unit_test(test_8_17_keys_of_two_listeners_have_nothing_in_common),
	};

	tls_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
