/*
 * The destinations: when each may send next, and which of them is next. One that may not is out of the heaps. How many places each has depends on
 * how many are taken in all, so the few that have taken some are settled anew whenever that changes.
 */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "policy/retry.h"
#include "queue/schedule_private.h"

/* KNOWN: so many destinations are remembered while nothing goes to them, so that the next mail need not begin with few connections again. */
enum { KNOWN = 1000 };

struct destination *schedule_destination(struct schedule *s, const char *name, bool make)
{
	struct destination *destination;

	HASH_FIND_STR(s->destinations, name, destination);
	if (destination == NULL && make) {
		destination = text_must(calloc(1, sizeof *destination));
		destination->name = text_must(strdup(name));
		destination->pace = pace_new();
		destination->is_new = true;
		LIST_INSERT_HEAD(&s->news, destination, news);
		HASH_ADD_KEYPTR(
			hh, s->destinations, destination->name, strlen(destination->name), destination);
	}
	return destination;
}

static unsigned lent_count(const struct schedule *s)
{
	return HASH_COUNT(s->lent);
}

static unsigned concurrency_of(const struct schedule *s, const struct destination *destination)
{
	return destination->limited ? destination->concurrency : s->concurrency;
}

static uint64_t rate_of(const struct schedule *s, const struct destination *destination)
{
	return destination->limited ? destination->rate : s->rate;
}

/* When the destination may send next; INT64_MAX = not before something changes. */
static int64_t ready_at(const struct schedule *s, const struct destination *destination)
{
	const struct heap_node *first = heap_first(&destination->waiting);

	if (first == NULL || destination->suspended ||
		!pace_has_place(destination->pace, destination->lent, lent_count(s),
			concurrency_of(s, destination), s->connections))
		return INT64_MAX;
	return MAX(first->key, MAX(destination->parked_until, (destination->next_us + 999) / 1000));
}

static void leave_heap(struct destination *destination)
{
	if (destination->heap != NULL)
		heap_remove(destination->heap, &destination->node);
	destination->heap = NULL;
}

void schedule_settle(struct schedule *s, struct destination *destination)
{
	int64_t ready = ready_at(s, destination);
	struct heap *heap = destination->pace.answered ? &s->ready : &s->silent;

	if (ready == INT64_MAX || destination->waiting.count <= destination->reserved)
		heap = NULL;
	if (heap != destination->heap)
		leave_heap(destination);
	if (heap != NULL)
		heap_set(heap, &destination->node, ready);
	destination->heap = heap;
}

static void settle_all(struct schedule *s)
{
	struct destination *destination, *next;

	HASH_ITER (hh, s->destinations, destination, next)
		schedule_settle(s, destination);
}

static void settle_busy(struct schedule *s)
{
	struct destination *destination;

	LIST_FOREACH (destination, &s->busy, busy)
		schedule_settle(s, destination);
}

void schedule_take_place(struct schedule *s, struct destination *destination, int64_t now)
{
	if (destination->lent++ == 0)
		LIST_INSERT_HEAD(&s->busy, destination, busy);
	s->silent_lent += !destination->pace.answered;
	destination->next_us = pace_next_us(destination->next_us, now * 1000, rate_of(s, destination));
	settle_busy(s);
}

void schedule_free_place(struct schedule *s, struct destination *destination)
{
	s->silent_lent -= !destination->pace.answered;
	if (--destination->lent == 0)
		LIST_REMOVE(destination, busy);
	schedule_settle(s, destination);
	settle_busy(s);
}

void schedule_set_retry(struct schedule *s, const int64_t *waits_ms, size_t count)
{
	talloc_free(s->waits_ms);
	s->waits_ms = text_must(talloc_memdup(s, waits_ms, count * sizeof waits_ms[0]));
	s->wait_count = count;
}

void schedule_set_concurrency(struct schedule *s, unsigned concurrency)
{
	s->concurrency = concurrency;
	settle_all(s);
}

void schedule_set_connections(struct schedule *s, unsigned connections)
{
	s->connections = connections;
	settle_all(s);
}

void schedule_set_rate(struct schedule *s, uint64_t rate)
{
	struct destination *destination, *next;

	s->rate = rate;
	HASH_ITER (hh, s->destinations, destination, next)
		if (!destination->limited)
			destination->next_us = 0;
	settle_all(s);
}

static void set_new(struct schedule *s, struct destination *destination, bool is_new)
{
	if (is_new && !destination->is_new)
		LIST_INSERT_HEAD(&s->news, destination, news);
	if (!is_new && destination->is_new)
		LIST_REMOVE(destination, news);
	destination->is_new = is_new;
}

void schedule_limit(struct schedule *s, const char *name, unsigned concurrency, uint64_t rate)
{
	struct destination *destination = schedule_destination(s, name, false);

	if (destination == NULL)
		return;
	set_new(s, destination, false);
	if (rate != rate_of(s, destination))
		destination->next_us = 0;
	destination->limited = true;
	destination->concurrency = concurrency;
	destination->rate = rate;
	schedule_settle(s, destination);
}

const char *schedule_new_destination(const struct schedule *s)
{
	const struct destination *destination = LIST_FIRST(&s->news);

	return destination == NULL ? NULL : destination->name;
}

void schedule_renew(struct schedule *s)
{
	struct destination *destination, *next;

	HASH_ITER (hh, s->destinations, destination, next)
		set_new(s, destination, true);
}

void schedule_forget(struct schedule *s, struct destination *destination)
{
	if (destination->users > 0 || destination->lent > 0 || destination->reserved > 0 ||
		destination->waiting.count > 0 || destination->suspended ||
		(destination->pace.answered && HASH_COUNT(s->destinations) <= KNOWN))
		return;

	leave_heap(destination);
	set_new(s, destination, false);
	heap_done(&destination->waiting);
	HASH_DEL(s->destinations, destination);
	free(destination->name);
	free(destination->why);
	free(destination);
}

void schedule_reserve(struct schedule *s, const char *name, bool waits)
{
	struct destination *destination = schedule_destination(s, name, true);

	if (waits)
		destination->reserved++;
	else if (destination->reserved > 0)
		destination->reserved--;
	schedule_settle(s, destination);
	schedule_forget(s, destination);
}

void schedule_suspend(struct schedule *s, const char *name, bool suspended)
{
	struct destination *destination = schedule_destination(s, name, true);

	destination->suspended = suspended;
	schedule_settle(s, destination);
	schedule_forget(s, destination);
}

void schedule_unpark(struct schedule *s, const char *name)
{
	struct destination *destination = schedule_destination(s, name, false);

	if (destination == NULL)
		return;
	destination->parked_until = 0;
	schedule_settle(s, destination);
}

struct schedule_view schedule_view(struct schedule *s, const char *name)
{
	const struct destination *destination = schedule_destination(s, name, false);

	if (destination == NULL)
		return (struct schedule_view){ .why = "" };
	return (struct schedule_view){ .suspended = destination->suspended,
		.lent = destination->lent,
		.idle = destination->reserved,
		.concurrency = destination->pace.failures > 0
				       ? 1
				       : MIN(destination->pace.allowed, concurrency_of(s, destination)),
		.rate = rate_of(s, destination),
		.waiting = destination->waiting.count,
		.deferred = destination->deferred,
		.parked_until = destination->parked_until,
		.parked_since = destination->parked_since,
		.why = destination->why == NULL ? "" : destination->why };
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **schedule_destinations(const struct schedule *s, const void *owner, const char *after,
	bool parked, size_t most, size_t *ret_count)
{
	const char **names = text_must(talloc_array(owner, const char *, HASH_COUNT(s->destinations) + 1));
	const struct destination *destination, *next;
	size_t count = 0;

	HASH_ITER (hh, s->destinations, destination, next) {
		const bool busy =
			destination->waiting.count > 0 || destination->lent > 0 || destination->suspended;

		if ((destination->parked_until > 0 || (busy && !parked)) &&
			strcmp(destination->name, after) > 0)
			names[count++] = destination->name;
	}
	qsort(names, count, sizeof names[0], compare_names);
	*ret_count = MIN(count, most);
	return names;
}

/* Of the two that are first in their heaps, which is earlier; NULL when there is none. The silent ones together have a limit. */
static struct destination *first_of_all(const struct schedule *s)
{
	struct heap_node *ready = heap_first(&s->ready), *silent = heap_first(&s->silent);

	if (silent != NULL && !pace_has_place_for_silent(s->silent_lent, s->connections))
		silent = NULL;
	if (ready == NULL || (silent != NULL && silent->key < ready->key))
		return (struct destination *)silent;
	return (struct destination *)ready;
}

struct destination *schedule_due(struct schedule *s, const char *prefer, int64_t now)
{
	struct destination *destination =
		prefer != NULL ? schedule_destination(s, prefer, false) : first_of_all(s);

	return destination == NULL || ready_at(s, destination) > now ? NULL : destination;
}

static void set_pace(struct schedule *s, struct destination *destination, struct pace pace)
{
	if (destination->pace.answered && !pace.answered)
		s->silent_lent += destination->lent;
	if (!destination->pace.answered && pace.answered)
		s->silent_lent -= destination->lent;
	destination->pace = pace;
}

void schedule_destination_answered(
	struct schedule *s, struct destination *destination, bool reached, int64_t now)
{
	bool give_up = false;

	if (reached) {
		set_pace(
			s, destination, pace_after_answer(destination->pace, concurrency_of(s, destination)));
		destination->parked_until = 0;
		destination->parked_since = 0;
		free(destination->why);
		destination->why = NULL;
	} else if (destination->parked_until <= now) { /* else this try began before it was given up */
		set_pace(s, destination, pace_after_failure(destination->pace, &give_up));
	}
	if (give_up) {
		destination->parked_until =
			now + retry_pause_ms(s->waits_ms, s->wait_count, destination->pace.failures);
		if (destination->parked_since == 0)
			destination->parked_since = now;
	}
	schedule_settle(s, destination);
}

int64_t schedule_next(struct schedule *s, const char *prefer)
{
	const struct destination *destination =
		prefer != NULL ? schedule_destination(s, prefer, false) : first_of_all(s);

	return destination == NULL ? INT64_MAX : ready_at(s, destination);
}
