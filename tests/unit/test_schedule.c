/* What is due next: each rule by itself, then random operations against a slow model that searches arrays. */
#include "queue/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"

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
	assert_false(schedule_claim(s, 1, "a.test", 1));
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
	assert_true(lend(s, NULL, 0) != 0);
	assert_int_equal(lend(s, NULL, 0), 0);
	schedule_set_concurrency(s, 3);
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

static void test_mail_is_kept_for_who_waits_with_an_open_connection(void **state)
{
	struct schedule *s = fresh(5);

	(void)state;
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
	assert_false(schedule_claim(s, 1, "b.test", 1));
	assert_false(schedule_claim(s, 3, "a.test", 1));
	assert_true(schedule_claim(s, 2, "a.test", 1));
	assert_false(schedule_claim(s, 2, "a.test", 1));
	/* Above the concurrency, too: it is on its way whatever we think. */
	assert_true(schedule_claim(s, 1, "a.test", 1));
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
	}
	schedule_free_owner(s, 1, 70);
	assert_int_equal(schedule_next(s, NULL), 70);
	assert_true(lend(s, NULL, 70) % 2 == 1);
	assert_true(lend(s, NULL, 70) % 2 == 1);
	assert_int_equal(lend(s, NULL, 70), 0);
	assert_true(schedule_finish(s, 2, "a.test"));
	talloc_free(s);
}

/* The model. */

enum { DOMAINS = 5, HOPS = 4, ITEMS = 30, OWNERS = 3, STEPS = 60000 };

static const char *const domain_names[DOMAINS] = { "a.test", "b.test", "c.test", "", "e.test" };
static const char *const hop_names[HOPS] = { "one", "two", "three", "four" };

struct model {
	unsigned concurrency;
	unsigned hop_of[DOMAINS];
	struct {
		bool there, lent, deferred;
		int64_t mid, due;
		unsigned domain, hop; /* hop: whose place a lent one takes */
		uint64_t owner;
	} items[ITEMS];
	struct {
		unsigned reserved, failures;
		int64_t parked;
	} hops[HOPS];
};

static unsigned count_items(const struct model *m, unsigned hop, bool lent)
{
	unsigned count = 0;

	for (size_t i = 0; i < ITEMS; i++)
		if (m->items[i].there && m->items[i].lent == lent)
			count += (lent ? m->items[i].hop : m->hop_of[m->items[i].domain]) == hop;
	return count;
}

static int64_t first_due(const struct model *m, unsigned hop)
{
	int64_t due = INT64_MAX;

	for (size_t i = 0; i < ITEMS; i++)
		if (m->items[i].there && !m->items[i].lent && m->hop_of[m->items[i].domain] == hop)
			due = MIN(due, m->items[i].due);
	return due;
}

static int64_t ready(const struct model *m, unsigned hop)
{
	int64_t due = first_due(m, hop);

	if (due == INT64_MAX || count_items(m, hop, true) >= (m->hops[hop].failures ? 1 : m->concurrency))
		return INT64_MAX;
	return MAX(due, m->hops[hop].parked);
}

/* When anybody may be given something: what is kept for open connections does not count. */
static int64_t ready_for_anybody(const struct model *m, unsigned hop)
{
	return count_items(m, hop, false) > m->hops[hop].reserved ? ready(m, hop) : INT64_MAX;
}

static int64_t ready_anywhere(const struct model *m)
{
	int64_t least = INT64_MAX;

	for (unsigned hop = 0; hop < HOPS; hop++)
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

/* A destination that nothing goes to any more is forgotten with its failures. */
static void forget(struct model *m)
{
	for (unsigned hop = 0; hop < HOPS; hop++) {
		if (m->hops[hop].reserved == 0 && count_items(m, hop, false) == 0 &&
			count_items(m, hop, true) == 0) {
			bool used = false;

			for (size_t i = 0; i < ITEMS; i++)
				used = used || (m->items[i].there && m->hop_of[m->items[i].domain] == hop);
			if (!used)
				m->hops[hop].failures = 0, m->hops[hop].parked = 0;
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
	unsigned from = m->hop_of[m->items[i].domain];
	assert_string_equal(item.domain, domain_names[m->items[i].domain]);
	assert_string_equal(item.destination, hop_names[from]);
	assert_int_equal(m->items[i].due, first_due(m, from));
	assert_true((prefer == NULL ? ready_for_anybody(m, from) : ready(m, from)) == want);
	m->items[i].lent = true;
	m->items[i].deferred = false;
	m->items[i].owner = owner;
	m->items[i].hop = from;
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
		(m->items[i].deferred ? schedule_add_deferred : schedule_add)(
			s, hop_names[m->hop_of[domain]], domain_names[domain], next_mid, m->items[i].due);
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
		unsigned hop = m->items[i].hop, *failures = &m->hops[hop].failures;

		schedule_reached(s, mid, domain, reached, now);
		if (!reached)
			m->hops[hop].parked = now + MIN(INT64_C(5000) << MIN(*failures, 7u), INT64_C(600000));
		else
			m->hops[hop].parked = 0;
		*failures = reached ? 0 : *failures + 1;
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

static void step_rare(struct schedule *s, struct model *m, int64_t now)
{
	unsigned domain = (unsigned)rand() % DOMAINS, hop = (unsigned)rand() % HOPS;
	uint64_t owner = 1 + (uint64_t)rand() % OWNERS;
	size_t i = (size_t)rand() % ITEMS;
	bool used = false;

	switch (rand() % 5) {
	case 0:
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
		assert_int_equal(schedule_claim(s, m->items[i].mid, domain_names[m->items[i].domain], owner),
			m->items[i].there && !m->items[i].lent);
		if (m->items[i].there && !m->items[i].lent) {
			m->items[i].lent = true;
			m->items[i].deferred = false;
			m->items[i].owner = owner;
			m->items[i].hop = m->hop_of[m->items[i].domain];
		}
		break;
	}
}

static void test_random_operations_agree_with_a_slow_model(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct model m = { .concurrency = 2 };
		struct schedule *s = fresh(2);
		int64_t now = 0;

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
		cmocka_unit_test(test_mail_is_kept_for_who_waits_with_an_open_connection),
		cmocka_unit_test(test_waiting_mail_follows_a_new_route),
		cmocka_unit_test(test_what_somebody_holds_already_can_be_claimed),
		cmocka_unit_test(test_what_the_dead_held_is_due_at_once_and_nothing_else),
		cmocka_unit_test(test_random_operations_agree_with_a_slow_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
