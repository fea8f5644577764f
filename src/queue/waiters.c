/*
 * See waiters.h. Somebody always looks in time: when mail is due, one of those who may take it sleeps no longer than that, or is called. Who
 * leaves, with mail or without, calls for what is left.
 */
#include "queue/waiters.h"

#include <string.h>

#include "base/base.h"
#include "base/thread.h"
#include "queue/schedule.h"

/* Who takes a mail may be followed by a new thread that waits for any: for a moment nobody is free although connections are. */
enum { GIVE_WAY_MS = 20 };

/* Whom a call is for. */
enum whom { FOR_ANY, FOR_ONE, EVERYBODY };

static bool is_meant(const struct waiter *waiter, enum whom whom, const char *destination)
{
	if (whom == EVERYBODY)
		return true;
	if (whom == FOR_ANY)
		return waiter->prefer == NULL;
	return waiter->prefer != NULL && strcmp(waiter->prefer, destination) == 0;
}

/* Some are meant, and ret_late is the first of them, when none of them looks at `time` already; else false. */
static bool would_be_late(const struct waiters *waiters, enum whom whom, const char *destination,
	int64_t time, struct waiter **ret_late)
{
	struct waiter *waiter;

	*ret_late = NULL;
	TAILQ_FOREACH (waiter, &waiters->list, next) {
		if (!is_meant(waiter, whom, destination))
			continue;
		if (waiter->called || waiter->until <= time)
			return false;
		if (*ret_late == NULL)
			*ret_late = waiter;
	}
	return true;
}

static bool somebody_is_free(const struct waiters *waiters)
{
	const struct waiter *waiter;

	TAILQ_FOREACH (waiter, &waiters->list, next)
		if (waiter->prefer == NULL)
			return true;
	return false;
}

/* The longer it has been due, the more give way for it: they may find that it was one mail only. */
static int64_t give_way_at(const struct waiters *waiters, struct schedule *schedule)
{
	const int64_t next = schedule_next(schedule, NULL);

	return next == INT64_MAX ? INT64_MAX : next + (int64_t)GIVE_WAY_MS * (1 + waiters->leaving);
}

void waiters_init(struct waiters *waiters)
{
	TAILQ_INIT(&waiters->list);
	waiters->leaving = 0;
}

void waiters_come(struct waiters *waiters, const char *prefer)
{
	if (prefer == NULL && waiters->leaving > 0)
		waiters->leaving--;
}

bool waiters_give_way(struct waiters *waiters, struct schedule *schedule, int64_t now)
{
	if (now < give_way_at(waiters, schedule) || somebody_is_free(waiters))
		return false;
	waiters->leaving++;
	return true;
}

void waiters_wait(struct waiters *waiters, pthread_mutex_t *lock, struct schedule *schedule,
	const char *prefer, int64_t until)
{
	const int64_t next = schedule_next(schedule, prefer), way = give_way_at(waiters, schedule);
	struct waiter me = { .prefer = prefer, .until = until }, *late;

	if (would_be_late(waiters, prefer == NULL ? FOR_ANY : FOR_ONE, prefer, next, &late))
		me.until = MIN(me.until, next);
	if (prefer != NULL && !somebody_is_free(waiters) &&
		would_be_late(waiters, EVERYBODY, NULL, way, &late))
		me.until = MIN(me.until, way);
	thread_condition(&me.condition);
	TAILQ_INSERT_TAIL(&waiters->list, &me, next);
	while (!me.called && thread_wait(&me.condition, lock, me.until)) {
	}
	TAILQ_REMOVE(&waiters->list, &me, next);
	pthread_cond_destroy(&me.condition);
}

static void call(struct waiters *waiters, enum whom whom, const char *destination, int64_t time)
{
	struct waiter *waiter;

	if (!would_be_late(waiters, whom, destination, time, &waiter) || waiter == NULL)
		return;
	waiter->called = true;
	pthread_cond_signal(&waiter->condition);
}

void waiters_call(struct waiters *waiters, struct schedule *schedule, const char *destination)
{
	if (destination != NULL)
		call(waiters, FOR_ONE, destination, schedule_next(schedule, destination));
	if (somebody_is_free(waiters))
		call(waiters, FOR_ANY, NULL, schedule_next(schedule, NULL));
	else
		call(waiters, EVERYBODY, NULL, give_way_at(waiters, schedule));
}

void waiters_call_each(struct waiters *waiters, struct schedule *schedule)
{
	const struct waiter *waiter;

	TAILQ_FOREACH (waiter, &waiters->list, next) {
		if (waiter->prefer == NULL || waiter->called)
			continue;

		const int64_t next = schedule_next(schedule, waiter->prefer);
		if (next < waiter->until)
			call(waiters, FOR_ONE, waiter->prefer, next);
	}
	waiters_call(waiters, schedule, NULL);
}

void waiters_call_all(struct waiters *waiters)
{
	struct waiter *waiter;

	TAILQ_FOREACH (waiter, &waiters->list, next) {
		waiter->called = true;
		pthread_cond_signal(&waiter->condition);
	}
}
