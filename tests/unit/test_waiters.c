/* Who is woken for mail that becomes due. The waiters are put on the list by hand; nobody sleeps. */
#include "queue/waiters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "queue/schedule.h"

enum { NOW = 1000, LATER = NOW + 60000, ME = 1, WAITERS = 4 };

struct rig {
	struct schedule *schedule;
	struct waiters waiters;
	struct waiter list[WAITERS];
	unsigned count;
	int64_t mid;
};

static struct rig *rig_new(void)
{
	static const int64_t waits[] = { 60000 };
	struct rig *rig = talloc_zero(NULL, struct rig);

	rig->schedule = schedule_new(rig);
	schedule_set_retry(rig->schedule, waits, COUNT(waits));
	schedule_set_concurrency(rig->schedule, 20);
	waiters_init(&rig->waiters);
	return rig;
}

static void wait_for(struct rig *rig, const char *prefer, int64_t until)
{
	struct waiter *waiter = &rig->list[rig->count++];

	waiter->prefer = prefer;
	waiter->until = until;
	pthread_cond_init(&waiter->condition, NULL);
	TAILQ_INSERT_TAIL(&rig->waiters.list, waiter, next);
	if (prefer != NULL)
		schedule_reserve(rig->schedule, prefer, true);
}

static void add(struct rig *rig, const char *destination, int64_t due)
{
	schedule_add(rig->schedule, destination, destination, ++rig->mid, due);
	waiters_call(&rig->waiters, rig->schedule, destination);
}

/* One letter for each waiter: `x` is called, `-` is not. */
static const char *called(struct rig *rig)
{
	char *text = talloc_strdup(rig, "");

	for (unsigned i = 0; i < rig->count; i++)
		text = talloc_asprintf_append(text, "%s", rig->list[i].called ? "x" : "-");
	return text;
}

/* It wakes and leaves with what it finds, as store_lease() does. */
static void leave(struct rig *rig, unsigned index)
{
	struct waiter *waiter = &rig->list[index];
	struct schedule_item item;

	TAILQ_REMOVE(&rig->waiters.list, waiter, next);
	waiter->called = false;
	bool found = schedule_lend(rig->schedule, waiter->prefer, NOW, ME, &item);
	if (waiter->prefer != NULL)
		schedule_reserve(rig->schedule, waiter->prefer, false);
	waiters_call(&rig->waiters, rig->schedule, found ? item.destination : waiter->prefer);
}

static void test_one_is_called_and_it_calls_the_next(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	for (int i = 0; i < 4; i++)
		wait_for(rig, NULL, LATER);
	add(rig, "a.test", NOW);
	assert_string_equal(called(rig), "x---");
	add(rig, "b.test", NOW);
	add(rig, "c.test", NOW);
	assert_string_equal(called(rig), "x---");
	leave(rig, 0);
	assert_string_equal(called(rig), "-x--");
	leave(rig, 1);
	assert_string_equal(called(rig), "--x-");
	leave(rig, 2); /* with the last mail */
	assert_string_equal(called(rig), "----");
	talloc_free(rig);
}

static void test_an_open_connection_comes_first(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	wait_for(rig, NULL, LATER);
	wait_for(rig, "a.test", LATER);
	wait_for(rig, "b.test", LATER);
	wait_for(rig, "b.test", LATER);
	add(rig, "b.test", NOW);
	assert_string_equal(called(rig), "--x-");
	add(rig, "b.test", NOW);
	assert_string_equal(called(rig), "--x-");
	leave(rig, 2);
	assert_string_equal(called(rig), "---x");
	leave(rig, 3);
	assert_string_equal(called(rig), "----");
	schedule_finish(rig->schedule, 1, "b.test"); /* a place for a third one */
	add(rig, "b.test", NOW);
	assert_string_equal(called(rig), "x---");
	talloc_free(rig);
}

/* What was kept for a connection is anybody's when its waiter goes without it. */
static void test_who_leaves_without_mail_calls_for_it(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	wait_for(rig, "a.test", NOW);
	wait_for(rig, NULL, LATER);
	add(rig, "a.test", NOW + 10);
	assert_string_equal(called(rig), "--"); /* the first looks at NOW */
	leave(rig, 0);
	assert_string_equal(called(rig), "-x");
	talloc_free(rig);
}

static void test_who_looks_in_time_is_not_called(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	wait_for(rig, NULL, LATER);
	wait_for(rig, NULL, NOW + 50);
	add(rig, "a.test", NOW + 100);
	assert_string_equal(called(rig), "--");
	add(rig, "b.test", NOW + 20);
	assert_string_equal(called(rig), "x-");
	talloc_free(rig);
}

static void test_with_nobody_free_an_open_connection_looks(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	wait_for(rig, "a.test", LATER);
	wait_for(rig, "b.test", LATER);
	add(rig, "c.test", NOW);
	assert_string_equal(called(rig), "x-");
	add(rig, "d.test", NOW);
	assert_string_equal(called(rig), "x-");
	talloc_free(rig);
}

static void test_an_open_connection_gives_way_for_what_waits(void **state)
{
	struct rig *rig = rig_new();
	struct waiters *w = &rig->waiters;

	(void)state;
	assert_false(waiters_give_way(w, rig->schedule, NOW));
	add(rig, "c.test", NOW);
	assert_false(waiters_give_way(w, rig->schedule, NOW + 19));
	assert_true(waiters_give_way(w, rig->schedule, NOW + 20));
	/* The next one, only when that one does not come in time; */
	assert_false(waiters_give_way(w, rig->schedule, NOW + 39));
	assert_true(waiters_give_way(w, rig->schedule, NOW + 40));
	/* who does come is none that is on its way; */
	waiters_come(w, "a.test");
	assert_false(waiters_give_way(w, rig->schedule, NOW + 59));
	waiters_come(w, NULL);
	waiters_come(w, NULL);
	waiters_come(w, NULL);
	assert_true(waiters_give_way(w, rig->schedule, NOW + 20));
	/* and nobody leaves while somebody is free. */
	wait_for(rig, NULL, LATER);
	assert_false(waiters_give_way(w, rig->schedule, LATER));
	talloc_free(rig);
}

/* What one destination gives back another may use: connections have a limit together. */
static void test_when_a_place_is_free_one_of_each_destination_looks(void **state)
{
	struct rig *rig = rig_new();
	struct schedule_item item;

	(void)state;
	schedule_set_connections(rig->schedule, 3);
	for (int i = 0; i < 2; i++)
		add(rig, "a.test", NOW);
	assert_true(schedule_lend(rig->schedule, "a.test", NOW, ME, &item));
	add(rig, "c.test", NOW);
	add(rig, "c.test", NOW + 50);
	assert_true(schedule_lend(rig->schedule, "c.test", NOW, ME, &item));
	assert_true(schedule_next(rig->schedule, "a.test") == INT64_MAX);
	wait_for(rig, "a.test", LATER);
	wait_for(rig, "a.test", LATER);
	wait_for(rig, "b.test", LATER);
	wait_for(rig, "c.test", NOW + 20);
	waiters_call_each(&rig->waiters, rig->schedule);
	assert_string_equal(called(rig), "----");
	assert_true(schedule_finish(rig->schedule, item.mid, "c.test"));
	waiters_call(&rig->waiters, rig->schedule, "c.test");
	assert_string_equal(called(rig), "----");
	waiters_call_each(&rig->waiters, rig->schedule);
	assert_string_equal(called(rig), "x---");
	waiters_call_each(&rig->waiters, rig->schedule);
	assert_string_equal(called(rig), "x---");
	talloc_free(rig);
}

static void test_all_are_called(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	wait_for(rig, "a.test", LATER);
	wait_for(rig, NULL, LATER);
	wait_for(rig, NULL, LATER);
	waiters_call_all(&rig->waiters);
	assert_string_equal(called(rig), "xxx");
	talloc_free(rig);
}

/* The real sleep: of two that wait for any mail one is enough to look when it is due. */
static void test_a_sleep_ends_when_mail_is_due(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct rig *rig = rig_new();
	const int64_t start = clock_mono_ms();

	(void)state;
	schedule_add(rig->schedule, "a.test", "a.test", 1, start + 30);
	pthread_mutex_lock(&lock);
	waiters_wait(&rig->waiters, &lock, rig->schedule, NULL, start + 3600000);
	assert_true(clock_mono_ms() >= start + 30);
	assert_true(TAILQ_EMPTY(&rig->waiters.list));

	/* With an open connection to another destination and nobody free: when it is to give way. */
	waiters_wait(&rig->waiters, &lock, rig->schedule, "b.test", start + 3600000);
	assert_true(waiters_give_way(&rig->waiters, rig->schedule, clock_mono_ms()));
	pthread_mutex_unlock(&lock);
	talloc_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_is_called_and_it_calls_the_next),
		cmocka_unit_test(test_an_open_connection_comes_first),
		cmocka_unit_test(test_who_leaves_without_mail_calls_for_it),
		cmocka_unit_test(test_who_looks_in_time_is_not_called),
		cmocka_unit_test(test_with_nobody_free_an_open_connection_looks),
		cmocka_unit_test(test_an_open_connection_gives_way_for_what_waits),
		cmocka_unit_test(test_when_a_place_is_free_one_of_each_destination_looks),
		cmocka_unit_test(test_all_are_called),
		cmocka_unit_test(test_a_sleep_ends_when_mail_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
