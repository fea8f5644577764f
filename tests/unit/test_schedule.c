/* What is due next: each rule by itself, then random operations against a slow model that searches arrays. */
#include "queue/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "policy/pace.h"

/* A schedule whose pauses double from five seconds. */
static struct schedule *new_schedule(void)
{
	static const int64_t waits[] = { 5000, 10000, 20000, 40000, 80000, 160000, 320000, 640000 };
	struct schedule *s = schedule_new(NULL);

	schedule_set_retry(s, waits, sizeof waits / sizeof waits[0]);
	return s;
}

static struct schedule *fresh(unsigned concurrency)
{
	struct schedule *s = new_schedule();

	schedule_set_concurrency(s, concurrency);
	return s;
}

/* The destination of a lent mail answers `count` times more: it is trusted with so many more connections. */
static void answers(struct schedule *s, int64_t mid, const char *domain, unsigned count)
{
	while (count-- > 0)
		schedule_reached(s, mid, domain, true, 0);
}

/* Lend whatever is next; its mid, or 0. */
static int64_t lend(struct schedule *s, const char *prefer, int64_t now)
{
	struct schedule_item item;

	return schedule_lend(s, prefer, now, 1, &item) ? item.mid : 0;
}

static void test_an_empty_schedule_lends_nothing(void **state)
{
	struct schedule *s = fresh(1);

	(void)state;
	assert_int_equal(lend(s, NULL, INT64_MAX), 0);
	assert_int_equal(lend(s, "hop", INT64_MAX), 0);
	assert_true(schedule_next(s, NULL) == INT64_MAX);
	assert_true(schedule_next(s, "hop") == INT64_MAX);
	assert_int_equal(schedule_count(s), 0);
	assert_false(schedule_finish(s, 1, "a.test"));
	assert_false(schedule_again(s, 1, "a.test", 0));
	assert_false(schedule_claim(s, 1, "a.test", 0, 1));
	schedule_reached(s, 1, "a.test", false, 0);
	talloc_free(s);
}

static void test_mail_is_lent_in_the_order_in_which_it_is_due(void **state)
{
	struct schedule *s = fresh(10);

	(void)state;
	schedule_add(s, "one", "a.test", 1, 300);
	schedule_add(s, "two", "b.test", 2, 100);
	schedule_add(s, "one", "a.test", 3, 200);
	assert_int_equal(schedule_next(s, NULL), 100);
	assert_int_equal(lend(s, NULL, 99), 0);
	assert_int_equal(lend(s, NULL, 100), 2);
	assert_int_equal(schedule_next(s, NULL), 200);
	assert_int_equal(lend(s, NULL, 1000), 3);
	assert_int_equal(lend(s, NULL, 1000), 1);
	assert_int_equal(lend(s, NULL, 1000), 0);
	assert_int_equal(schedule_count(s), 3);
	talloc_free(s);
}

static void test_a_lent_item_names_its_mail_its_domain_and_its_destination(void **state)
{
	struct schedule *s = fresh(1);
	struct schedule_item item;

	(void)state;
	schedule_add(s, "192.0.2.1:25", "a.test", 7, 0);
	assert_true(schedule_lend(s, NULL, 0, 1, &item));
	assert_int_equal(item.mid, 7);
	assert_string_equal(item.domain, "a.test");
	assert_string_equal(item.destination, "192.0.2.1:25");
	talloc_free(s);
}

static void test_one_mail_for_two_domains_is_two_items(void **state)
{
	struct schedule *s = fresh(10);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	schedule_add(s, "hop", "b.test", 1, 0);
	assert_int_equal(schedule_count(s), 2);
	assert_int_equal(lend(s, NULL, 0), 1);
	assert_int_equal(lend(s, NULL, 0), 1);
	assert_true(schedule_finish(s, 1, "a.test"));
	assert_false(schedule_finish(s, 1, "a.test"));
	assert_true(schedule_finish(s, 1, "b.test"));
	assert_int_equal(schedule_count(s), 0);
	talloc_free(s);
}

static void test_a_destination_takes_no_more_than_its_concurrency(void **state)
{
	struct schedule *s = fresh(2);

	(void)state;
	for (int64_t mid = 1; mid <= 4; mid++)
		schedule_add(s, "hop", mid % 2 ? "a.test" : "b.test", mid, 0);
	schedule_add(s, "other", "c.test", 9, 5);
	assert_int_equal(lend(s, NULL, 0), 1);
	assert_true(lend(s, "hop", 0) != 0);
	assert_int_equal(lend(s, "hop", 0), 0);
	assert_true(schedule_next(s, "hop") == INT64_MAX);
	assert_int_equal(schedule_next(s, NULL), 5);
	assert_int_equal(lend(s, NULL, 5), 9);
	assert_true(schedule_finish(s, 1, "a.test"));
	int64_t mid = lend(s, NULL, 0);
	assert_true(mid != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	schedule_set_concurrency(s, 3);
	assert_int_equal(lend(s, NULL, 0), 0);
	answers(s, 9, "c.test", 2);
	assert_int_equal(lend(s, NULL, 0), 0);
	answers(s, mid, mid % 2 ? "a.test" : "b.test", 1);
	assert_true(lend(s, NULL, 0) != 0);
	talloc_free(s);
}

static void test_an_item_given_back_is_due_when_it_says(void **state)
{
	struct schedule *s = fresh(1);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	assert_int_equal(lend(s, NULL, 0), 1);
	assert_true(schedule_again(s, 1, "a.test", 500));
	assert_false(schedule_again(s, 1, "a.test", 600));
	assert_int_equal(lend(s, NULL, 499), 0);
	assert_int_equal(lend(s, NULL, 500), 1);
	talloc_free(s);
}

static void test_an_unreachable_destination_is_parked_and_probed_by_one(void **state)
{
	struct schedule *s = fresh(3);

	(void)state;
	for (int64_t mid = 1; mid <= 3; mid++)
		schedule_add(s, "hop", "a.test", mid, 0);
	assert_int_equal(lend(s, NULL, 0), 1);
	schedule_reached(s, 1, "a.test", false, 1000);
	assert_true(schedule_again(s, 1, "a.test", 1000));

	int64_t at = schedule_next(s, NULL);
	assert_int_equal(at, 6000);
	assert_int_equal(lend(s, NULL, at - 1), 0);
	assert_int_equal(lend(s, "hop", at - 1), 0);
	int64_t probe = lend(s, NULL, at);
	assert_true(probe != 0);
	assert_int_equal(lend(s, NULL, at + 1000), 0);

	schedule_reached(s, probe, "a.test", true, at);
	assert_true(schedule_finish(s, probe, "a.test"));
	assert_true(lend(s, NULL, at) != 0);
	assert_true(lend(s, NULL, at) != 0);
	talloc_free(s);
}

static void test_a_destination_is_parked_longer_each_time_up_to_ten_minutes(void **state)
{
	static const int64_t pauses[] = { 5000, 10000, 20000, 40000, 80000, 160000, 320000, 600000, 600000,
		600000 };
	struct schedule *s = fresh(3);
	int64_t now = 0;

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	for (size_t i = 0; i < COUNT(pauses); i++) {
		assert_int_equal(lend(s, NULL, now), 1);
		schedule_reached(s, 1, "a.test", false, now);
		schedule_again(s, 1, "a.test", now);
		assert_int_equal(schedule_next(s, NULL), now + pauses[i]);
		now += pauses[i];
	}
	assert_int_equal(lend(s, NULL, now), 1);
	schedule_reached(s, 1, "a.test", true, now);
	schedule_again(s, 1, "a.test", now);
	assert_int_equal(schedule_next(s, NULL), now);
	talloc_free(s);
}

/* With the default of delivery.retry: mail that came meanwhile goes out when the outage of half a minute is over. */
static void test_a_short_outage_parks_for_half_a_minute(void **state)
{
	static const int64_t standard[] = { 900000, 900000, 1800000, 3600000, 7200000 };
	static const int64_t probes[] = { 30000, 90000, 210000, 450000, 930000, 1530000, 2130000 };
	struct schedule *s = fresh(3);

	(void)state;
	schedule_set_retry(s, standard, COUNT(standard));
	schedule_add(s, "hop", "a.test", 1, 0);
	assert_int_equal(lend(s, NULL, 0), 1);
	schedule_reached(s, 1, "a.test", false, 0);
	schedule_again(s, 1, "a.test", standard[0]);
	for (int64_t mid = 2; mid <= 20; mid++)
		schedule_add(s, "hop", "a.test", mid, 10);
	for (size_t i = 0; i < COUNT(probes); i++) {
		assert_int_equal(schedule_next(s, NULL), probes[i]);
		assert_int_equal(lend(s, "hop", probes[i] - 1), 0);
		int64_t probe = lend(s, NULL, probes[i]);
		assert_true(probe > 1);
		assert_int_equal(lend(s, "hop", probes[i]), 0);
		if (i + 1 < COUNT(probes)) {
			schedule_reached(s, probe, "a.test", false, probes[i]);
			schedule_again(s, probe, "a.test", probes[i] + standard[0] * 100);
			continue;
		}
		schedule_reached(s, probe, "a.test", true, probes[i]);
		assert_true(schedule_finish(s, probe, "a.test"));
		assert_int_equal(schedule_next(s, NULL), 10);

		/* After an answer it begins anew. */
		probe = lend(s, NULL, probes[i]);
		assert_true(probe != 0);
		schedule_reached(s, probe, "a.test", false, probes[i]);
		assert_true(schedule_finish(s, probe, "a.test"));
		assert_int_equal(schedule_next(s, NULL), probes[i] + 30000);
	}
	talloc_free(s);
}

static void test_mail_is_kept_for_who_waits_with_an_open_connection(void **state)
{
	struct schedule *s = fresh(5);

	(void)state;
	schedule_add(s, "hop", "z.test", 8, 0);
	assert_int_equal(lend(s, NULL, 0), 8);
	answers(s, 8, "z.test", 3);
	schedule_finish(s, 8, "z.test");
	schedule_reserve(s, "hop", true);
	schedule_add(s, "hop", "a.test", 1, 0);
	assert_true(schedule_next(s, NULL) == INT64_MAX);
	assert_int_equal(schedule_next(s, "hop"), 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	schedule_add(s, "hop", "a.test", 2, 0);
	assert_true(lend(s, NULL, 0) != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	assert_true(lend(s, "hop", 0) != 0);
	schedule_reserve(s, "hop", false);
	schedule_add(s, "hop", "a.test", 3, 0);
	assert_int_equal(lend(s, NULL, 0), 3);
	schedule_reserve(s, "nobody", false);
	talloc_free(s);
}

static void test_waiting_mail_follows_a_new_route(void **state)
{
	struct schedule *s = fresh(1);
	struct schedule_item item;
	size_t count;

	(void)state;
	schedule_add(s, "old", "a.test", 1, 0);
	schedule_add(s, "old", "a.test", 2, 0);
	schedule_add(s, "old", "b.test", 3, 1);
	assert_true(schedule_lend(s, "old", 0, 1, &item));
	int64_t held = item.mid;
	schedule_route(s, "a.test", "new");
	schedule_rehome(s);

	/* The lent one still takes a place of the old destination; the other goes over the new one. */
	assert_int_equal(lend(s, "old", 9), 0);
	assert_int_equal(lend(s, "new", 9), 3 - held);
	assert_true(schedule_again(s, held, "a.test", 5));
	assert_int_equal(lend(s, "old", 9), 3);
	assert_int_equal(lend(s, "old", 9), 0);
	assert_true(schedule_finish(s, 3 - held, "a.test"));
	assert_int_equal(lend(s, "new", 9), held);

	const char **domains = schedule_domains(s, NULL, &count);
	assert_int_equal(count, 2);
	talloc_free(domains);
	talloc_free(s);
}

static void test_what_somebody_holds_already_can_be_claimed(void **state)
{
	struct schedule *s = fresh(1);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 900);
	schedule_add(s, "hop", "a.test", 2, 950);
	assert_false(schedule_claim(s, 1, "b.test", 0, 1));
	assert_false(schedule_claim(s, 3, "a.test", 0, 1));
	assert_true(schedule_claim(s, 2, "a.test", 0, 1));
	assert_false(schedule_claim(s, 2, "a.test", 0, 1));
	/* Above the concurrency, too: it is on its way whatever we think. */
	assert_true(schedule_claim(s, 1, "a.test", 0, 1));
	assert_true(schedule_finish(s, 2, "a.test"));
	assert_true(schedule_finish(s, 1, "a.test"));
	talloc_free(s);
}

static void test_what_the_dead_held_is_due_at_once_and_nothing_else(void **state)
{
	struct schedule *s = fresh(10);
	struct schedule_item item;

	(void)state;
	for (int64_t mid = 1; mid <= 4; mid++) {
		schedule_add(s, "hop", "a.test", mid, 0);
		assert_true(schedule_lend(s, NULL, 0, mid % 2 ? 1 : 2, &item));
		answers(s, mid, "a.test", 1);
	}
	schedule_free_owner(s, 1, 70);
	assert_int_equal(schedule_next(s, NULL), 70);
	assert_true(lend(s, NULL, 70) % 2 == 1);
	assert_true(lend(s, NULL, 70) % 2 == 1);
	assert_int_equal(lend(s, NULL, 70), 0);
	assert_true(schedule_finish(s, 2, "a.test"));
	talloc_free(s);
}

static void test_a_destination_begins_with_two_and_earns_more_by_answers(void **state)
{
	struct schedule *s = fresh(4);

	(void)state;
	for (int64_t mid = 1; mid <= 9; mid++)
		schedule_add(s, "hop", "a.test", mid, 0);
	assert_true(lend(s, NULL, 0) != 0);
	int64_t second = lend(s, NULL, 0);
	assert_true(second != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	answers(s, second, "a.test", 1);
	assert_true(lend(s, NULL, 0) != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	answers(s, second, "a.test", 9);
	assert_true(lend(s, NULL, 0) != 0);
	assert_int_equal(lend(s, NULL, 0), 0);

	/* Half of four is two: nothing more while four are out, but it is not parked; then one: it is. */
	schedule_reached(s, second, "a.test", false, 0);
	assert_true(schedule_finish(s, second, "a.test"));
	assert_int_equal(lend(s, NULL, 0), 0);
	assert_true(schedule_view(s, "hop").parked_until == 0);
	talloc_free(s);
}

static void test_a_destination_that_answered_is_remembered_for_its_next_mail(void **state)
{
	struct schedule *s = fresh(9);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	assert_int_equal(lend(s, NULL, 0), 1);
	answers(s, 1, "a.test", 2);
	schedule_finish(s, 1, "a.test");
	for (int64_t mid = 2; mid <= 9; mid++)
		schedule_add(s, "hop", "b.test", mid, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_true(lend(s, NULL, 0) != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	talloc_free(s);
}

static void test_those_that_do_not_answer_leave_half_to_those_that_do(void **state)
{
	struct schedule *s = fresh(20);
	unsigned silent = 0;

	(void)state;
	schedule_set_connections(s, 10);
	schedule_add(s, "good", "good.test", 1000, 0);
	assert_int_equal(lend(s, "good", 0), 1000);
	answers(s, 1000, "good.test", 1);
	schedule_finish(s, 1000, "good.test");
	for (int64_t mid = 1; mid <= 50; mid++) {
		char name[16];

		snprintf(name, sizeof name, "silent%d", (int)mid % 25);
		schedule_add(s, name, name, mid, 0);
	}
	while (lend(s, NULL, 1) != 0)
		silent++;
	assert_int_equal(silent, 5);
	assert_true(schedule_next(s, NULL) == INT64_MAX);
	for (int64_t mid = 1001; mid <= 1009; mid++)
		schedule_add(s, "good", "good.test", mid, 0);
	assert_true(lend(s, NULL, 1) > 1000);
	assert_true(lend(s, NULL, 1) > 1000);
	talloc_free(s);
}

static void test_one_destination_takes_no_more_than_it_leaves_to_the_others(void **state)
{
	struct schedule *s = fresh(20);
	unsigned one = 0, other = 0;
	int64_t mid;

	(void)state;
	schedule_set_connections(s, 12);
	for (mid = 1; mid <= 40; mid++) {
		schedule_add(s, mid % 2 ? "one" : "other", mid % 2 ? "one.test" : "other.test", mid,
			mid % 2 ? 0 : 5);
	}
	assert_int_equal(lend(s, NULL, 0) % 2, 1);
	answers(s, 1, "one.test", 20);
	answers(s, (mid = lend(s, "other", 5)), "other.test", 20);
	assert_true(mid != 0);
	schedule_return(s, mid, "other.test", 5);
	for (one = 1; lend(s, NULL, 0) != 0; one++)
		;
	assert_int_equal(one, 6);
	while (lend(s, NULL, 5) != 0)
		other++;
	assert_int_equal(other, 3);
	/* What comes back goes to who has less. */
	assert_true(schedule_finish(s, 1, "one.test"));
	mid = lend(s, NULL, 5);
	assert_true(mid != 0 && mid % 2 == 0);
	talloc_free(s);
}

static void test_a_rate_spaces_the_mails_of_each_destination(void **state)
{
	struct schedule *s = fresh(9);
	int64_t now = 0;

	(void)state;
	schedule_set_rate(s, 7);
	for (int64_t mid = 1; mid <= 30; mid++)
		schedule_add(s, "hop", "a.test", mid, 0);
	schedule_add(s, "other", "b.test", 99, 1);
	for (unsigned i = 0; i < 20; i++) {
		int64_t mid = lend(s, "hop", now);

		assert_true(mid != 0);
		assert_true(schedule_finish(s, mid, "a.test"));
		assert_int_equal(lend(s, "hop", now), 0);
		assert_in_range(schedule_next(s, "hop"), 60000 * (i + 1) / 7, 60000 * (i + 1) / 7 + i + 2);
		now = schedule_next(s, "hop");
	}
	assert_int_equal(lend(s, NULL, 1), 99);
	schedule_set_rate(s, 0);
	assert_true(lend(s, "hop", now) != 0);
	assert_true(lend(s, "hop", now) != 0);
	talloc_free(s);
}

static void test_a_destination_with_limits_of_its_own_keeps_to_them_and_no_other_does(void **state)
{
	struct schedule *s = fresh(3);
	int64_t own = 0, other = 0;

	(void)state;
	for (int64_t mid = 1; mid <= 6; mid++) {
		schedule_add(s, "own", "a.test", mid, 0);
		schedule_add(s, "other", "b.test", 10 + mid, 0);
	}
	schedule_limit(s, "own", 1, 0);
	schedule_limit(s, "unknown", 1, 1);
	assert_true((own = lend(s, "own", 0)) != 0);
	assert_true((other = lend(s, "other", 0)) != 0);
	answers(s, own, "a.test", 5);
	answers(s, other, "b.test", 5);
	assert_int_equal(lend(s, "own", 0), 0);
	assert_true(lend(s, "other", 0) != 0);
	assert_true(lend(s, "other", 0) != 0);
	assert_int_equal(lend(s, "other", 0), 0);

	/* What counts for all does not count for it; more than that, when it may. */
	schedule_set_concurrency(s, 1);
	schedule_limit(s, "own", 4, 0);
	answers(s, own, "a.test", 5);
	for (unsigned i = 0; i < 3; i++)
		assert_true(lend(s, "own", 0) != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	talloc_free(s);
}

static void test_a_destination_with_a_rate_of_its_own_keeps_to_it_and_no_other_does(void **state)
{
	struct schedule *s = fresh(9);

	(void)state;
	schedule_set_rate(s, 600);
	for (int64_t mid = 1; mid <= 6; mid++) {
		schedule_add(s, "slow", "a.test", mid, 0);
		schedule_add(s, "free", "b.test", 10 + mid, 0);
		schedule_add(s, "other", "c.test", 20 + mid, 0);
	}
	schedule_limit(s, "slow", 9, 60);
	schedule_limit(s, "free", 9, 0);
	assert_true(lend(s, "slow", 0) != 0);
	assert_int_equal(schedule_next(s, "slow"), 1000);
	assert_int_equal(lend(s, "slow", 999), 0);
	assert_true(lend(s, "free", 0) != 0);
	assert_true(lend(s, "free", 0) != 0);
	assert_true(lend(s, "other", 0) != 0);
	assert_int_equal(schedule_next(s, "other"), 100);

	/* A new rate counts from the next mail on, and an old one that is said again changes nothing. */
	schedule_renew(s);
	schedule_set_rate(s, 1);
	schedule_limit(s, "slow", 9, 60);
	assert_int_equal(schedule_next(s, "slow"), 1000);
	schedule_limit(s, "slow", 9, 120);
	assert_true(lend(s, "slow", 1) != 0);
	assert_int_equal(schedule_next(s, "slow"), INT64_MAX); /* it begins with two */
	talloc_free(s);
}

static void test_new_destinations_are_named_until_they_are_limited(void **state)
{
	struct schedule *s = fresh(2);
	unsigned count = 0;
	const char *name;

	(void)state;
	assert_null(schedule_new_destination(s));
	schedule_add(s, "one", "a.test", 1, 0);
	schedule_put(s, &(struct schedule_entry){
				.mid = 2, .domain = "a.test", .destination = "one", .via = "detour" });
	schedule_reserve(s, "open", true);
	schedule_suspend(s, "suspended", true);
	schedule_suspend(s, "gone", true);
	schedule_suspend(s, "gone", false);
	for (; (name = schedule_new_destination(s)) != NULL; count++)
		schedule_limit(s, name, 1, 0);
	assert_int_equal(count, 4);
	schedule_renew(s);
	for (; (name = schedule_new_destination(s)) != NULL; count++)
		schedule_limit(s, name, 1, 0);
	assert_int_equal(count, 8);

	/* Forgotten with its limits: it is new when it comes again. */
	assert_int_equal(lend(s, "one", 0), 1);
	assert_int_equal(lend(s, "detour", 0), 2);
	assert_true(schedule_finish(s, 1, "a.test") && schedule_finish(s, 2, "a.test"));
	schedule_add(s, "detour", "b.test", 3, 0);
	assert_string_equal(schedule_new_destination(s), "detour");
	talloc_free(s);
}

static void test_a_view_tells_what_waits_and_why_nothing_goes_out(void **state)
{
	struct schedule *s = fresh(5);
	char flood[1000];
	size_t count;

	(void)state;
	memset(flood, 'x', sizeof flood);
	flood[sizeof flood - 1] = '\0';
	for (int64_t mid = 1; mid <= 3; mid++)
		schedule_add(s, "hop", "a.test", mid, 0);
	schedule_add_deferred(s, "hop", "a.test", 4, 90);
	schedule_add(s, "other", "b.test", 5, 0);
	assert_int_equal(schedule_view(s, "hop").waiting, 4);
	assert_int_equal(schedule_view(s, "hop").deferred, 1);
	assert_string_equal(schedule_view(s, "hop").why, "");
	assert_int_equal(schedule_view(s, "none").waiting, 0);
	assert_string_equal(schedule_view(s, "none").why, "");

	int64_t mid = lend(s, "hop", 0);
	schedule_explain(s, mid, "a.test", flood);
	schedule_reached(s, mid, "a.test", false, 7);
	assert_true(schedule_again(s, mid, "a.test", 50));
	const struct schedule_view view = schedule_view(s, "hop");
	assert_int_equal(view.deferred, 2);
	assert_int_equal(strlen(view.why), SCHEDULE_WHY_MAX);
	assert_true(view.parked_since == 7 && view.parked_until > 7);
	assert_int_equal(view.concurrency, 1);

	/* In order and in pages; the parked ones alone. */
	const char **names = schedule_destinations(s, s, "", false, 1, &count);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "hop");
	names = schedule_destinations(s, s, "hop", false, 9, &count);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "other");
	schedule_destinations(s, s, "", true, 9, &count);
	assert_int_equal(count, 1);

	/* A route that moves the mail moves what is counted. */
	schedule_route(s, "a.test", "other");
	schedule_rehome(s);
	assert_int_equal(schedule_view(s, "other").waiting, 5);
	assert_int_equal(schedule_view(s, "other").deferred, 2);
	assert_int_equal(schedule_view(s, "hop").waiting, 0);
	talloc_free(s);
}

static void test_a_suspended_destination_is_lent_nothing_until_it_is_resumed(void **state)
{
	struct schedule *s = fresh(5);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	schedule_add(s, "hop", "a.test", 2, 0);
	assert_int_equal(lend(s, NULL, 0), 1);
	schedule_suspend(s, "hop", true);
	assert_int_equal(lend(s, NULL, 0), 0);
	assert_int_equal(lend(s, "hop", 0), 0);
	assert_true(schedule_again(s, 1, "a.test", 0));
	assert_true(schedule_view(s, "hop").suspended);
	assert_int_equal(schedule_view(s, "hop").waiting, 2);
	assert_true(schedule_next(s, NULL) == INT64_MAX);
	schedule_suspend(s, "hop", false);
	assert_true(lend(s, NULL, 0) != 0);

	/* Known before its first mail, too. */
	schedule_suspend(s, "later", true);
	schedule_add(s, "later", "c.test", 3, 0);
	assert_int_equal(lend(s, "later", 9), 0);
	talloc_free(s);
}

static void test_a_rerouted_mail_goes_its_own_way_and_the_others_of_its_domain_do_not(void **state)
{
	struct schedule *s = fresh(5);
	struct schedule_item item;

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	schedule_put(s, &(struct schedule_entry){
				.mid = 2, .domain = "a.test", .destination = "hop", .via = "detour" });
	schedule_route(s, "a.test", "new");
	schedule_rehome(s);
	assert_int_equal(lend(s, "hop", 0), 0);
	assert_int_equal(lend(s, "new", 0), 1);
	assert_true(schedule_lend(s, NULL, 0, 1, &item));
	assert_int_equal(item.mid, 2);
	assert_string_equal(item.destination, "detour");
	assert_true(schedule_again(s, 2, "a.test", 7));
	assert_int_equal(lend(s, "detour", 7), 2);
	assert_true(schedule_finish(s, 2, "a.test"));
	assert_true(schedule_finish(s, 1, "a.test"));
	assert_int_equal(schedule_count(s), 0);
	talloc_free(s);
}

static void test_what_waits_can_be_removed_and_what_is_out_can_be_marked(void **state)
{
	struct schedule *s = fresh(5);

	(void)state;
	for (int64_t mid = 1; mid <= 20; mid++)
		schedule_add(s, mid % 3 ? "hop" : "other", mid % 3 ? "a.test" : "b.test", mid, mid);
	assert_int_equal(lend(s, NULL, 99), 1);
	struct schedule_key keys[] = { { 1, "a.test", true }, { 3, "b.test", false }, { 4, "b.test", true },
		{ 5, "a.test", false }, { 20, "a.test", false }, { 77, "a.test", true },
		{ 78, "unknown", true } };
	static const bool waited[] = { false, true, false, true, true, false, false };
	schedule_remove(s, keys, COUNT(keys));
	for (size_t i = 0; i < COUNT(keys); i++)
		assert_int_equal(keys[i].waited, waited[i]);
	schedule_remove(s, NULL, 0);
	assert_int_equal(schedule_count(s), 17);
	assert_false(schedule_mark(s, 5, "a.test"));
	assert_false(schedule_is_marked(s, 1, "a.test"));
	assert_true(schedule_mark(s, 1, "a.test"));
	assert_true(schedule_is_marked(s, 1, "a.test"));
	assert_true(schedule_return(s, 1, "a.test", 0));
	assert_false(schedule_is_marked(s, 1, "a.test"));
	talloc_free(s);
}

static void test_the_same_mail_is_never_out_twice(void **state)
{
	struct schedule *s = fresh(5);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	assert_int_equal(lend(s, NULL, 0), 1);
	schedule_add(s, "hop", "a.test", 1, 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	assert_true(schedule_finish(s, 1, "a.test"));
	assert_int_equal(schedule_count(s), 0);
	talloc_free(s);
}

static void test_a_parked_destination_can_be_tried_at_once(void **state)
{
	struct schedule *s = fresh(5);

	(void)state;
	schedule_add(s, "hop", "a.test", 1, 0);
	schedule_add(s, "hop", "a.test", 2, 0);
	int64_t mid = lend(s, NULL, 0);
	schedule_reached(s, mid, "a.test", false, 0);
	schedule_again(s, mid, "a.test", 0);
	assert_int_equal(lend(s, NULL, 100), 0);
	schedule_unpark(s, "hop");
	schedule_unpark(s, "unknown");
	assert_true(lend(s, NULL, 100) != 0);
	assert_int_equal(lend(s, NULL, 100), 0);
	talloc_free(s);
}

static void set_overdue(struct schedule *s, int64_t first, int64_t last)
{
	struct schedule_key keys[20];
	size_t count = 0;

	for (int64_t mid = first; mid <= last; mid++) {
		keys[count++] = (struct schedule_key){ .mid = mid, .domain = "a.test" };
		keys[count++] = (struct schedule_key){ .mid = mid, .domain = "unknown" };
	}
	schedule_set_overdue(s, keys, count);
}

/* All that is overdue, lent and finished, by number: "1 2 ". */
static const char *overdue(struct schedule *s, int64_t now)
{
	char *text = talloc_strdup(s, "");
	struct schedule_item item;

	while (schedule_lend_overdue(s, now, 1, &item)) {
		text = talloc_asprintf_append(text, "%lld ", (long long)item.mid);
		assert_true(schedule_finish(s, item.mid, item.domain));
	}
	return text;
}

static void test_what_is_overdue_does_not_wait_for_a_parked_destination_wherever_it_goes(void **state)
{
	static const struct {
		const char *name, *parked, *want;
		bool suspend, unpark, remove, claim, rehome, again;
	} cases[] = {
		{ "those that are due", "hop", "2 3 " },
		{ "rerouted", "detour", "6 " },
		{ "elsewhere", "other", "" },
		{ "suspended meanwhile", "hop", "", .suspend = true },
		{ "reached meanwhile", "hop", "", .unpark = true },
		{ "removed meanwhile", "hop", "3 ", .remove = true },
		{ "lent meanwhile", "hop", "3 ", .claim = true },
		{ "led elsewhere meanwhile", "hop", "", .rehome = true },
		{ "looked for again", "hop", "3 ", .again = true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct schedule *s = fresh(5);
		struct schedule_item item;

		schedule_add(s, cases[i].parked, "probe.test", 99, 0);
		assert_int_equal(lend(s, NULL, 0), 99);
		schedule_reached(s, 99, "probe.test", false, 0);
		for (int64_t mid = 1; mid <= 4; mid++)
			schedule_add(s, "hop", "a.test", mid, mid == 4 ? 200 : 100);
		for (int64_t mid = 5; mid <= 6; mid++)
			schedule_put(s, &(struct schedule_entry){ .mid = mid,
						.domain = "a.test",
						.destination = "hop",
						.via = mid == 6 ? "detour" : "nearer",
						.due = 100 });
		assert_false(schedule_lend_overdue(s, 100, 1, &item));
		set_overdue(s, 2, 8);
		if (cases[i].suspend)
			schedule_suspend(s, "hop", true);
		if (cases[i].unpark)
			schedule_unpark(s, "hop");
		if (cases[i].remove)
			schedule_remove(s, &(struct schedule_key){ .mid = 2, .domain = "a.test" }, 1);
		if (cases[i].claim)
			assert_true(schedule_claim(s, 2, "a.test", 100, 2));
		if (cases[i].rehome) {
			schedule_route(s, "a.test", "new");
			schedule_rehome(s);
		}
		if (cases[i].again)
			set_overdue(s, 3, 8);
		const char *got = overdue(s, 100);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].name, got);
		assert_false(schedule_lend_overdue(s, 300, 1, &item));
		talloc_free(s);
	}
}

/* The model. */

enum { DOMAINS = 5, HOPS = 4, ITEMS = 30, OWNERS = 3, STEPS = 60000 };

static const char *const domain_names[DOMAINS] = { "a.test", "b.test", "c.test", "", "e.test" };
static const char *const hop_names[HOPS] = { "one", "two", "three", "four" };

struct model {
	bool limits; /* each destination has its own: those of all count for none */
	unsigned concurrency;
	unsigned hop_of[DOMAINS];
	struct {
		bool there, lent, deferred;
		int64_t mid, due;
		unsigned domain, hop; /* hop: whose place a lent one takes */
		unsigned via;	      /* HOPS = none */
		uint64_t owner;
	} items[ITEMS];
	unsigned connections;
	uint64_t rate;
	struct {
		unsigned reserved;
		struct pace pace;
		int64_t parked, next_us;
		bool suspended;
		unsigned concurrency;
		uint64_t rate;
	} hops[HOPS];
};

static unsigned concurrency_of(const struct model *m, unsigned hop)
{
	return m->limits ? m->hops[hop].concurrency : m->concurrency;
}

static uint64_t rate_of(const struct model *m, unsigned hop)
{
	return m->limits ? m->hops[hop].rate : m->rate;
}

static unsigned home(const struct model *m, size_t item)
{
	return m->items[item].via < HOPS ? m->items[item].via : m->hop_of[m->items[item].domain];
}

static unsigned count_items(const struct model *m, unsigned hop, bool lent)
{
	unsigned count = 0;

	for (size_t i = 0; i < ITEMS; i++)
		if (m->items[i].there && m->items[i].lent == lent)
			count += (lent ? m->items[i].hop : home(m, i)) == hop;
	return count;
}

static int64_t first_due(const struct model *m, unsigned hop)
{
	int64_t due = INT64_MAX;

	for (size_t i = 0; i < ITEMS; i++)
		if (m->items[i].there && !m->items[i].lent && home(m, i) == hop)
			due = MIN(due, m->items[i].due);
	return due;
}

static int64_t ready(const struct model *m, unsigned hop)
{
	int64_t due = first_due(m, hop);
	unsigned open = 0;

	for (unsigned h = 0; h < HOPS; h++)
		open += count_items(m, h, true);
	if (due == INT64_MAX || m->hops[hop].suspended ||
		!pace_has_place(m->hops[hop].pace, count_items(m, hop, true), open, concurrency_of(m, hop),
			m->connections))
		return INT64_MAX;
	return MAX(due, MAX(m->hops[hop].parked, (m->hops[hop].next_us + 999) / 1000));
}

static void take_place(struct model *m, unsigned hop, int64_t now)
{
	m->hops[hop].next_us = pace_next_us(m->hops[hop].next_us, now * 1000, rate_of(m, hop));
}

/* When anybody may be given something: what is kept for open connections does not count. */
static int64_t ready_for_anybody(const struct model *m, unsigned hop)
{
	return count_items(m, hop, false) > m->hops[hop].reserved ? ready(m, hop) : INT64_MAX;
}

static int64_t ready_anywhere(const struct model *m)
{
	int64_t least = INT64_MAX;
	unsigned silent = 0;

	for (unsigned hop = 0; hop < HOPS; hop++)
		silent += m->hops[hop].pace.answered ? 0 : count_items(m, hop, true);
	for (unsigned hop = 0; hop < HOPS; hop++)
		if (m->hops[hop].pace.answered || pace_has_place_for_silent(silent, m->connections))
			least = MIN(least, ready_for_anybody(m, hop));
	return least;
}

static size_t find(const struct model *m, int64_t mid)
{
	for (size_t i = 0; i < ITEMS; i++)
		if (m->items[i].there && m->items[i].mid == mid)
			return i;
	return ITEMS;
}

/* A destination that nothing goes to any more is forgotten with its failures, unless it answered. */
static void forget(struct model *m)
{
	for (unsigned hop = 0; hop < HOPS; hop++) {
		if (m->hops[hop].reserved == 0 && count_items(m, hop, false) == 0 &&
			count_items(m, hop, true) == 0) {
			bool used = false;

			for (size_t i = 0; i < ITEMS; i++)
				used = used || (m->items[i].there && (m->hop_of[m->items[i].domain] == hop ||
									     m->items[i].via == hop));
			if (!used && !m->hops[hop].suspended && !m->hops[hop].pace.answered)
				m->hops[hop].pace = pace_new(),
				m->hops[hop].parked = m->hops[hop].next_us = 0;
		}
	}
}

static void step_lend(struct schedule *s, struct model *m, int64_t now)
{
	unsigned hop = (unsigned)rand() % (HOPS * 2);
	const char *prefer = hop < HOPS ? hop_names[hop] : NULL;
	int64_t want = prefer == NULL ? ready_anywhere(m) : ready(m, hop);
	uint64_t owner = 1 + (uint64_t)rand() % OWNERS;
	struct schedule_item item;
	bool lent = schedule_lend(s, prefer, now, owner, &item);

	assert_int_equal(lent, want <= now);
	if (!lent)
		return;

	size_t i = find(m, item.mid);
	assert_true(i < ITEMS && !m->items[i].lent);
	unsigned from = home(m, i);
	assert_string_equal(item.domain, domain_names[m->items[i].domain]);
	assert_string_equal(item.destination, hop_names[from]);
	assert_int_equal(m->items[i].due, first_due(m, from));
	assert_true((prefer == NULL ? ready_for_anybody(m, from) : ready(m, from)) == want);
	m->items[i].lent = true;
	m->items[i].deferred = false;
	m->items[i].owner = owner;
	m->items[i].hop = from;
	take_place(m, from, now);
}

static void step_add(struct schedule *s, struct model *m, int64_t now)
{
	static int64_t next_mid;

	for (size_t i = 0; i < ITEMS; i++) {
		if (m->items[i].there)
			continue;

		unsigned domain = (unsigned)rand() % DOMAINS;
		m->items[i].there = true;
		m->items[i].lent = false;
		m->items[i].mid = ++next_mid;
		m->items[i].due = now + rand() % 2000;
		m->items[i].domain = domain;
		m->items[i].deferred = rand() % 4 == 0;
		m->items[i].via = rand() % 4 == 0 ? (unsigned)rand() % HOPS : HOPS;
		if (m->items[i].via < HOPS)
			schedule_put(s, &(struct schedule_entry){ .mid = next_mid,
						.due = m->items[i].due,
						.domain = domain_names[domain],
						.destination = hop_names[m->hop_of[domain]],
						.via = hop_names[m->items[i].via],
						.deferred = m->items[i].deferred });
		else
			(m->items[i].deferred ? schedule_add_deferred : schedule_add)(s,
				hop_names[m->hop_of[domain]], domain_names[domain], next_mid,
				m->items[i].due);
		return;
	}
}

static void step_back(struct schedule *s, struct model *m, size_t i, int64_t now)
{
	const char *domain = domain_names[m->items[i].domain];
	bool lent = m->items[i].there && m->items[i].lent;
	int64_t mid = m->items[i].mid;

	if (lent && rand() % 3 == 0) {
		bool reached = rand() % 2;
		unsigned hop = m->items[i].hop;
		struct pace *pace = &m->hops[hop].pace;
		bool give_up = false;

		schedule_reached(s, mid, domain, reached, now);
		if (reached)
			*pace = pace_after_answer(*pace, concurrency_of(m, hop)), m->hops[hop].parked = 0;
		else if (m->hops[hop].parked <= now)
			*pace = pace_after_failure(*pace, &give_up);
		if (give_up)
			m->hops[hop].parked =
				now + MIN(INT64_C(5000) << MIN(pace->failures - 1, 7u), INT64_C(600000));
	}
	if (rand() % 2 == 0) {
		assert_int_equal(schedule_finish(s, mid, domain), lent);
		m->items[i].there = m->items[i].there && !lent;
	} else {
		int64_t due = now + rand() % 2000;
		bool deferred = rand() % 2;

		assert_int_equal((deferred ? schedule_again : schedule_return)(s, mid, domain, due), lent);
		if (lent)
			m->items[i].lent = false, m->items[i].due = due, m->items[i].deferred = deferred;
	}
}

/* As the store does before it lends: the destinations that are new. */
static void limit_new(struct schedule *s, const struct model *m)
{
	const char *name;

	while (m->limits && (name = schedule_new_destination(s)) != NULL)
		for (unsigned hop = 0; hop < HOPS; hop++)
			if (strcmp(name, hop_names[hop]) == 0)
				schedule_limit(s, name, m->hops[hop].concurrency, m->hops[hop].rate);
}

/* As the store does after a reload. */
static void step_limits(struct schedule *s, struct model *m)
{
	unsigned hop = (unsigned)rand() % HOPS;

	uint64_t rate = rand() % 2 ? 0 : 200 + (uint64_t)rand() % 2000;

	m->hops[hop].concurrency = 1 + (unsigned)rand() % 4;
	if (rate != m->hops[hop].rate)
		m->hops[hop].rate = rate, m->hops[hop].next_us = 0;
	schedule_renew(s);
}

static void step_rare(struct schedule *s, struct model *m, int64_t now)
{
	unsigned domain = (unsigned)rand() % DOMAINS, hop = (unsigned)rand() % HOPS;
	uint64_t owner = 1 + (uint64_t)rand() % OWNERS;
	size_t i = (size_t)rand() % ITEMS;
	bool used = false;

	switch (rand() % 8) {
	case 0:
		if (m->limits && rand() % 2) {
			step_limits(s, m);
			break;
		}
		m->concurrency = 1 + (unsigned)rand() % 3;
		schedule_set_concurrency(s, m->concurrency);
		break;
	case 1:
		for (size_t n = 0; n < ITEMS; n++)
			used = used || (m->items[n].there && m->items[n].domain == domain);
		m->hop_of[domain] = hop;
		if (used)
			schedule_route(s, domain_names[domain], hop_names[hop]);
		schedule_rehome(s);
		break;
	case 2:
		schedule_free_owner(s, owner, now);
		for (size_t n = 0; n < ITEMS; n++)
			if (m->items[n].there && m->items[n].lent && m->items[n].owner == owner)
				m->items[n].lent = false, m->items[n].due = now;
		break;
	case 3:
		if (rand() % 2) {
			schedule_reserve(s, hop_names[hop], true);
			m->hops[hop].reserved++;
		} else {
			schedule_reserve(s, hop_names[hop], false);
			m->hops[hop].reserved -= m->hops[hop].reserved > 0;
		}
		break;
	case 4:
		assert_int_equal(
			schedule_claim(s, m->items[i].mid, domain_names[m->items[i].domain], now, owner),
			m->items[i].there && !m->items[i].lent);
		if (m->items[i].there && !m->items[i].lent) {
			m->items[i].lent = true;
			m->items[i].deferred = false;
			m->items[i].owner = owner;
			m->items[i].hop = home(m, i);
			take_place(m, m->items[i].hop, now);
		}
		break;
	case 5:
		m->hops[hop].suspended = rand() % 3 == 0;
		schedule_suspend(s, hop_names[hop], m->hops[hop].suspended);
		break;
	case 6:
		if (rand() % 2) {
			m->connections = (unsigned)rand() % 12;
			schedule_set_connections(s, m->connections);
		} else {
			m->rate = rand() % 2 ? 0 : 200 + (uint64_t)rand() % 2000;
			schedule_set_rate(s, m->rate);
			for (unsigned h = 0; h < HOPS && !m->limits; h++)
				m->hops[h].next_us = 0;
		}
		break;
	case 7:
		if (m->items[i].there) {
			struct schedule_key key = { .mid = m->items[i].mid,
				.domain = domain_names[m->items[i].domain] };

			schedule_remove(s, &key, 1);
			schedule_tidy(s);
			assert_int_equal(key.waited, !m->items[i].lent);
			m->items[i].there = m->items[i].lent;
		} else {
			schedule_unpark(s, hop_names[hop]);
			m->hops[hop].parked = 0;
		}
		break;
	}
}

static void test_random_operations_agree_with_a_slow_model(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct model m = { .concurrency = 2, .limits = seed % 2 == 0 };
		struct schedule *s = fresh(2);
		int64_t now = 0;

		for (unsigned hop = 0; hop < HOPS; hop++)
			m.hops[hop].pace = pace_new(), m.hops[hop].concurrency = hop + 1;

		srand(seed);
		for (unsigned step = 0; step < STEPS / 4; step++) {
			uint64_t count = 0, lent = 0, deferred = 0;
			int dice = rand() % 20;

			now += rand() % 200;
			if (dice < 6)
				step_add(s, &m, now);
			else if (dice < 13)
				step_lend(s, &m, now);
			else if (dice < 18)
				step_back(s, &m, (size_t)rand() % ITEMS, now);
			else
				step_rare(s, &m, now);
			forget(&m);
			limit_new(s, &m);

			for (size_t i = 0; i < ITEMS; i++) {
				count += m.items[i].there;
				lent += m.items[i].there && m.items[i].lent;
				deferred += m.items[i].there && m.items[i].deferred;
			}
			const struct schedule_counts counts = schedule_counts(s);
			assert_int_equal(schedule_count(s), count);
			assert_int_equal(counts.lent, lent);
			assert_int_equal(counts.deferred, deferred);
			assert_int_equal(counts.ready, count - lent - deferred);
			assert_true(schedule_next(s, NULL) == ready_anywhere(&m));
			for (unsigned hop = 0; hop < HOPS; hop++)
				assert_true(schedule_next(s, hop_names[hop]) == ready(&m, hop));
		}
		talloc_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_schedule_lends_nothing),
		cmocka_unit_test(test_mail_is_lent_in_the_order_in_which_it_is_due),
		cmocka_unit_test(test_a_lent_item_names_its_mail_its_domain_and_its_destination),
		cmocka_unit_test(test_one_mail_for_two_domains_is_two_items),
		cmocka_unit_test(test_a_destination_takes_no_more_than_its_concurrency),
		cmocka_unit_test(test_an_item_given_back_is_due_when_it_says),
		cmocka_unit_test(test_an_unreachable_destination_is_parked_and_probed_by_one),
		cmocka_unit_test(test_a_destination_is_parked_longer_each_time_up_to_ten_minutes),
		cmocka_unit_test(test_a_short_outage_parks_for_half_a_minute),
		cmocka_unit_test(test_mail_is_kept_for_who_waits_with_an_open_connection),
		cmocka_unit_test(test_waiting_mail_follows_a_new_route),
		cmocka_unit_test(test_what_somebody_holds_already_can_be_claimed),
		cmocka_unit_test(test_what_the_dead_held_is_due_at_once_and_nothing_else),
		cmocka_unit_test(test_a_destination_begins_with_two_and_earns_more_by_answers),
		cmocka_unit_test(test_a_destination_that_answered_is_remembered_for_its_next_mail),
		cmocka_unit_test(test_those_that_do_not_answer_leave_half_to_those_that_do),
		cmocka_unit_test(test_one_destination_takes_no_more_than_it_leaves_to_the_others),
		cmocka_unit_test(test_a_rate_spaces_the_mails_of_each_destination),
		cmocka_unit_test(test_a_destination_with_limits_of_its_own_keeps_to_them_and_no_other_does),
		cmocka_unit_test(test_a_destination_with_a_rate_of_its_own_keeps_to_it_and_no_other_does),
		cmocka_unit_test(test_new_destinations_are_named_until_they_are_limited),
		cmocka_unit_test(test_a_view_tells_what_waits_and_why_nothing_goes_out),
		cmocka_unit_test(test_a_suspended_destination_is_lent_nothing_until_it_is_resumed),
		cmocka_unit_test(test_a_rerouted_mail_goes_its_own_way_and_the_others_of_its_domain_do_not),
		cmocka_unit_test(test_what_waits_can_be_removed_and_what_is_out_can_be_marked),
		cmocka_unit_test(test_the_same_mail_is_never_out_twice),
		cmocka_unit_test(
			test_what_is_overdue_does_not_wait_for_a_parked_destination_wherever_it_goes),
		cmocka_unit_test(test_a_parked_destination_can_be_tried_at_once),
		cmocka_unit_test(test_random_operations_agree_with_a_slow_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
