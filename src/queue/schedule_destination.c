/*
 * The destinations: when each may send next, and which of them is next. A destination at its concurrency is out of the heap.
 */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "policy/retry.h"
#include "queue/schedule_private.h"

enum { PARK_LONGEST_MS = 10 * 60 * 1000 };

struct destination *schedule_destination(struct schedule *s, const char *name, bool make)
{
	struct destination *destination;

	HASH_FIND_STR(s->destinations, name, destination);
	if (destination == NULL && make) {
		destination = text_must(calloc(1, sizeof *destination));
		destination->name = text_must(strdup(name));
		HASH_ADD_KEYPTR(
			hh, s->destinations, destination->name, strlen(destination->name), destination);
	}
	return destination;
}

/* When the destination may send next; INT64_MAX = not before something changes. */
static int64_t ready_at(const struct schedule *s, const struct destination *destination)
{
	const struct heap_node *first = heap_first(&destination->waiting);
	unsigned limit = destination->failures > 0 ? 1 : s->concurrency;

	return first == NULL || destination->lent >= limit ? INT64_MAX
							   : MAX(first->key, destination->parked_until);
}

void schedule_settle(struct schedule *s, struct destination *destination)
{
	int64_t ready = ready_at(s, destination);

	if (ready == INT64_MAX || destination->waiting.count <= destination->reserved)
		heap_remove(&s->ready, &destination->node);
	else
		heap_set(&s->ready, &destination->node, ready);
}

void schedule_set_retry(struct schedule *s, const int64_t *waits_ms, size_t count)
{
	talloc_free(s->waits_ms);
	s->waits_ms = text_must(talloc_memdup(s, waits_ms, count * sizeof waits_ms[0]));
	s->wait_count = count;
}

void schedule_set_concurrency(struct schedule *s, unsigned concurrency)
{
	struct destination *destination, *next;

	s->concurrency = concurrency;
	HASH_ITER (hh, s->destinations, destination, next)
		schedule_settle(s, destination);
}

void schedule_forget(struct schedule *s, struct destination *destination)
{
	if (destination->domains > 0 || destination->lent > 0 || destination->reserved > 0 ||
		destination->waiting.count > 0)
		return;

	heap_remove(&s->ready, &destination->node);
	heap_done(&destination->waiting);
	HASH_DEL(s->destinations, destination);
	free(destination->name);
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

struct destination *schedule_due(struct schedule *s, const char *prefer, int64_t now)
{
	struct destination *destination = prefer != NULL ? schedule_destination(s, prefer, false)
							 : (struct destination *)heap_first(&s->ready);

	return destination == NULL || ready_at(s, destination) > now ? NULL : destination;
}

void schedule_destination_answered(
	struct schedule *s, struct destination *destination, bool reached, int64_t now)
{
	if (reached) {
		destination->failures = 0;
		destination->parked_until = 0;
	} else {
		int64_t pause = retry_wait_ms(s->waits_ms, s->wait_count, destination->failures + 1, 0);

		destination->failures++;
		destination->parked_until = now + MIN(pause, (int64_t)PARK_LONGEST_MS);
	}
	schedule_settle(s, destination);
}

int64_t schedule_next(struct schedule *s, const char *prefer)
{
	if (prefer != NULL) {
		const struct destination *destination = schedule_destination(s, prefer, false);

		return destination == NULL ? INT64_MAX : ready_at(s, destination);
	}

	const struct heap_node *first = heap_first(&s->ready);
	return first == NULL ? INT64_MAX : first->key;
}
