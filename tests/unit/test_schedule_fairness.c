/* 1,000 destinations, 100,000 mails, and the threads of `deliver` in simulated time: what some destinations do must not delay the rest. */
#include "queue/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"

enum { DESTINATIONS = 1000, MAILS = 100000, THREADS = 40, ME = 1 };
enum { CONNECT_MS = 20, MAIL_MS = 10, SLOW_MS = 60000, DEAD_MS = 30000, SILENT_MS = 300000 };

/* How a destination behaves, by its number. */
struct scene {
	int dead, silent, refusing, slow; /* so many of each, from destination 0 on */
	bool known;			  /* those that answer took mail before */
};

enum manner { DEAD, SILENT, REFUSING, SLOW, GOOD };

static enum manner manner_of(const struct scene *scene, int number)
{
	const int counts[] = { scene->dead, scene->silent, scene->refusing, scene->slow };

	for (int i = 0; i < (int)COUNT(counts); i++) {
		if (number < counts[i])
			return (enum manner)i;
		number -= counts[i];
	}
	return GOOD;
}

struct thread {
	bool busy;
	int64_t until, mid;
	char link[16]; /* destination of its open connection; empty = none */
	char domain[16];
	enum manner manner;
};

static int number_of(const char *destination)
{
	return atoi(destination + 1);
}

/* The thread asks for mail and begins with it, as worker_run() does. */
static void ask(struct schedule *s, struct thread *t, const struct scene *scene, int64_t now)
{
	struct schedule_item item;
	bool reused = t->link[0] != '\0' && schedule_lend(s, t->link, now, ME, &item);
	static const int64_t fails_after[] = {
		[DEAD] = DEAD_MS, [SILENT] = SILENT_MS, [REFUSING] = CONNECT_MS
	};

	if (!reused) {
		t->link[0] = '\0';
		if (!schedule_lend(s, NULL, now, ME, &item))
			return;
	}
	t->busy = true;
	t->mid = item.mid;
	t->manner = manner_of(scene, number_of(item.destination));
	snprintf(t->domain, sizeof t->domain, "%s", item.domain);
	if (t->manner >= SLOW)
		snprintf(t->link, sizeof t->link, "%s", item.destination);
	if (t->manner < SLOW)
		t->until = now + fails_after[t->manner];
	else
		t->until = now + (reused ? 0 : CONNECT_MS) + (t->manner == SLOW ? SLOW_MS : MAIL_MS);
}

/* What became of it. True when a good destination took a mail. */
static bool record(struct schedule *s, struct thread *t)
{
	t->busy = false;
	schedule_reached(s, t->mid, t->domain, t->manner >= SLOW, t->until);
	if (t->manner < SLOW) {
		assert_true(schedule_again(s, t->mid, t->domain, t->until + 60000));
		return false;
	}
	assert_true(schedule_finish(s, t->mid, t->domain));
	return t->manner == GOOD;
}

/* The destination took mail in the past, and earned all its connections. */
static void know(struct schedule *s, const char *name)
{
	struct schedule_item item;

	schedule_add(s, name, name, MAILS + 1, 0);
	assert_true(schedule_lend(s, name, 0, ME, &item));
	for (unsigned i = 0; i < 20; i++)
		schedule_reached(s, item.mid, name, true, 0);
	assert_true(schedule_finish(s, item.mid, name));
}

/* When the last mail to a good destination is delivered, in milliseconds. */
static int64_t play(const struct scene *scene)
{
	static const int64_t waits[] = { 60000, 300000, 900000 };
	struct thread threads[THREADS] = { 0 };
	struct schedule *s = schedule_new(NULL);
	int64_t now = 0;
	unsigned left = 0;

	schedule_set_retry(s, waits, COUNT(waits));
	schedule_set_concurrency(s, 20);
	schedule_set_connections(s, THREADS);
	for (int64_t mid = 0; mid < MAILS; mid++) {
		char name[16];
		int number = (int)(mid % DESTINATIONS);

		snprintf(name, sizeof name, "d%d", number);
		if (scene->known && mid < DESTINATIONS && manner_of(scene, number) >= SLOW)
			know(s, name);
		/* The others came a moment later. */
		schedule_add(s, name, name, mid + 1, manner_of(scene, number) == GOOD);
		left += manner_of(scene, number) == GOOD;
	}
	while (left > 0) {
		struct thread *next = NULL;
		bool idle = false;

		for (size_t i = 0; i < THREADS; i++) {
			if (!threads[i].busy)
				ask(s, &threads[i], scene, now);
			if (threads[i].busy && (next == NULL || threads[i].until < next->until))
				next = &threads[i];
			idle = idle || !threads[i].busy;
		}

		int64_t due = idle ? schedule_next(s, NULL) : INT64_MAX;
		if (next == NULL || due < next->until) {
			now = due;
			continue;
		}
		now = next->until;
		left -= record(s, next);
	}
	talloc_free(s);
	return now;
}

static void test_one_dead_and_one_silent_destination_delay_nobody(void **state)
{
	int64_t alone = play(&(struct scene){ 0 });
	int64_t among = play(&(struct scene){ .dead = 1, .silent = 1 });

	(void)state;
	/* Each of the two has two threads at most, so the others have 36 of 40. */
	assert_true(among <= alone * 40 / 36 + 1000);
}

static void test_a_hundred_that_do_not_answer_leave_half_of_the_threads(void **state)
{
	int64_t alone = play(&(struct scene){ 0 });
	int64_t among = play(&(struct scene){ .dead = 40, .silent = 40, .refusing = 20, .known = true });

	(void)state;
	assert_true(among <= alone * 2 + 2000);
}

static void test_slow_destinations_leave_threads_to_the_others(void **state)
{
	int64_t alone = play(&(struct scene){ 0 });
	int64_t one = play(&(struct scene){ .slow = 1, .known = true });
	int64_t four = play(&(struct scene){ .slow = 4, .known = true });

	(void)state;
	assert_true(one <= alone * 2 + 1000);
	assert_true(four <= alone * 5 + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_dead_and_one_silent_destination_delay_nobody),
		cmocka_unit_test(test_a_hundred_that_do_not_answer_leave_half_of_the_threads),
		cmocka_unit_test(test_slow_destinations_leave_threads_to_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
