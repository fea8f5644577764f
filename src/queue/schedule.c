/*
 * Two levels of heaps: destinations by when they may send next, and in each destination its mail by due time. A
 * destination at its concurrency is out of the outer heap. Items are plain malloc: a million of them must stay small.
 * Lent items are found by (mid, domain) in a hash, which is as small as the number of deliveries under way.
 */
#include "queue/schedule.h"

#include <stdlib.h>

#include <talloc.h>
#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include "base/base.h"
#include "base/heap.h"
#include "base/text.h"
#include "policy/retry.h"

enum { PARK_LONGEST_MS = 10 * 60 * 1000 };

struct domain {
	UT_hash_handle hh;
	char *name;
	struct destination *destination;
	uint64_t items; /* that wait or are lent; none = forgotten */
};

struct destination {
	struct heap_node node; /* in schedule->ready; first member */
	UT_hash_handle hh;
	char *name;
	uint64_t domains;    /* that are reached through it; none and nothing lent = forgotten */
	struct heap waiting; /* of struct item */
	unsigned lent;
	unsigned reserved; /* open connections that wait for mail */
	unsigned failures; /* in a row; not 0 = only one item at a time */
	int64_t parked_until;
};

struct item {
	struct heap_node node; /* in destination->waiting; first member */
	int64_t mid;
	struct domain *domain;
	bool deferred; /* waits after a try that failed; false while lent */
};

/* Key and entry of a lent item. */
struct lent {
	UT_hash_handle hh;
	struct {
		int64_t mid;
		const struct domain *domain; /* interned, so the pointer identifies it */
	} key;
	struct item *item;
	struct destination *destination; /* whose place it takes; the domain's may have changed meanwhile */
	uint64_t owner;
	uint32_t attempt; /* 0 = not known */
};

struct schedule {
	unsigned concurrency;
	int64_t *waits_ms;
	size_t wait_count;
	uint64_t count, deferred; /* all items, and those of them that are deferred */
	struct heap ready;	  /* of struct destination */
	struct destination *destinations;
	struct domain *domains;
	struct lent *lent;
};

static int schedule_destroy(struct schedule *s)
{
	struct destination *destination, *next_destination;
	struct domain *domain, *next_domain;
	struct lent *lent, *next_lent;

	HASH_ITER (hh, s->lent, lent, next_lent) {
		HASH_DEL(s->lent, lent);
		free(lent->item);
		free(lent);
	}
	HASH_ITER (hh, s->destinations, destination, next_destination) {
		HASH_DEL(s->destinations, destination);
		for (size_t i = 0; i < destination->waiting.count; i++)
			free((struct item *)destination->waiting.nodes[i]);
		heap_done(&destination->waiting);
		free(destination->name);
		free(destination);
	}
	HASH_ITER (hh, s->domains, domain, next_domain) {
		HASH_DEL(s->domains, domain);
		free(domain->name);
		free(domain);
	}
	heap_done(&s->ready);
	return 0;
}

struct schedule *schedule_new(const void *owner)
{
	struct schedule *s = text_must(talloc_zero(owner, struct schedule));

	s->concurrency = 1;
	talloc_set_destructor(s, schedule_destroy);
	return s;
}

static struct domain *domain_of(struct schedule *s, const char *name, bool make)
{
	struct domain *domain;

	HASH_FIND_STR(s->domains, name, domain);
	if (domain == NULL && make) {
		domain = text_must(calloc(1, sizeof *domain));
		domain->name = text_must(strdup(name));
		HASH_ADD_KEYPTR(hh, s->domains, domain->name, strlen(domain->name), domain);
	}
	return domain;
}

static struct destination *destination_of(struct schedule *s, const char *name, bool make)
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

static struct lent *lent_of(struct schedule *s, int64_t mid, const char *domain)
{
	struct lent *lent = NULL;
	typeof(lent->key) key;

	memset(&key, 0, sizeof key);
	key.mid = mid;
	key.domain = domain_of(s, domain, false);
	HASH_FIND(hh, s->lent, &key, sizeof key, lent);
	return lent;
}

/* When the destination may send next; INT64_MAX = not before something changes. */
static int64_t ready_at(const struct schedule *s, const struct destination *destination)
{
	const struct heap_node *first = heap_first(&destination->waiting);
	unsigned limit = destination->failures > 0 ? 1 : s->concurrency;

	return first == NULL || destination->lent >= limit ? INT64_MAX
							   : MAX(first->key, destination->parked_until);
}

/* Put the destination where it belongs in the outer heap, or take it out. Items that are kept for waiting connections do not count. */
static void settle(struct schedule *s, struct destination *destination)
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
		settle(s, destination);
}

static void forget_destination(struct schedule *s, struct destination *destination)
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

void schedule_route(struct schedule *s, const char *domain_name, const char *destination_name)
{
	struct domain *domain = domain_of(s, domain_name, true);
	struct destination *destination = destination_of(s, destination_name, true),
			   *before = domain->destination;

	if (before == destination)
		return;
	domain->destination = destination;
	destination->domains++;
	if (before != NULL)
		before->domains--;
}

/* Put a waiting item where its domain belongs. */
static void place(struct schedule *s, struct item *item, int64_t due)
{
	struct destination *destination = item->domain->destination;

	heap_set(&destination->waiting, &item->node, due);
	settle(s, destination);
}

void schedule_rehome(struct schedule *s)
{
	struct destination *destination, *next;
	struct heap all = { 0 };
	struct heap_node *node;

	HASH_ITER (hh, s->destinations, destination, next) {
		while ((node = heap_first(&destination->waiting)) != NULL) {
			heap_remove(&destination->waiting, node);
			heap_set(&all, node, node->key);
		}
		settle(s, destination);
	}
	while ((node = heap_first(&all)) != NULL) {
		heap_remove(&all, node);
		place(s, (struct item *)node, node->key);
	}
	heap_done(&all);
	HASH_ITER (hh, s->destinations, destination, next)
		forget_destination(s, destination);
}

const char **schedule_domains(const struct schedule *s, const void *owner, size_t *ret_count)
{
	const char **names = text_must(talloc_array(owner, const char *, HASH_COUNT(s->domains) + 1));
	struct domain *domain, *next;
	size_t count = 0;

	HASH_ITER (hh, s->domains, domain, next)
		names[count++] = domain->name;
	*ret_count = count;
	return names;
}

static void set_deferred(struct schedule *s, struct item *item, bool deferred)
{
	s->deferred += (uint64_t)deferred - (uint64_t)item->deferred;
	item->deferred = deferred;
}

static void add(struct schedule *s, const char *destination, const char *domain, int64_t mid, int64_t due,
	bool deferred)
{
	struct item *item = text_must(calloc(1, sizeof *item));

	schedule_route(s, domain, destination);
	item->mid = mid;
	item->domain = domain_of(s, domain, false);
	item->domain->items++;
	set_deferred(s, item, deferred);
	place(s, item, due);
	s->count++;
}

void schedule_add(struct schedule *s, const char *destination, const char *domain, int64_t mid, int64_t due)
{
	add(s, destination, domain, mid, due, false);
}

void schedule_add_deferred(
	struct schedule *s, const char *destination, const char *domain, int64_t mid, int64_t due)
{
	add(s, destination, domain, mid, due, true);
}

static void lend(struct schedule *s, struct item *item, struct destination *destination, uint64_t owner)
{
	struct lent *lent = text_must(calloc(1, sizeof *lent));

	heap_remove(&destination->waiting, &item->node);
	set_deferred(s, item, false);
	destination->lent++;
	lent->key.mid = item->mid;
	lent->key.domain = item->domain;
	lent->item = item;
	lent->destination = destination;
	lent->owner = owner;
	HASH_ADD(hh, s->lent, key, sizeof lent->key, lent);
	settle(s, destination);
}

void schedule_reserve(struct schedule *s, const char *name, bool waits)
{
	struct destination *destination = destination_of(s, name, true);

	if (waits)
		destination->reserved++;
	else if (destination->reserved > 0)
		destination->reserved--;
	settle(s, destination);
	forget_destination(s, destination);
}

/* The destination to lend from, or NULL when nothing is due there. */
static struct destination *due_destination(struct schedule *s, const char *prefer, int64_t now)
{
	struct destination *destination = prefer != NULL ? destination_of(s, prefer, false)
							 : (struct destination *)heap_first(&s->ready);

	return destination == NULL || ready_at(s, destination) > now ? NULL : destination;
}

bool schedule_lend(
	struct schedule *s, const char *prefer, int64_t now, uint64_t owner, struct schedule_item *ret_item)
{
	struct destination *destination = due_destination(s, prefer, now);

	if (destination == NULL)
		return false;

	struct item *item = (struct item *)heap_first(&destination->waiting);
	lend(s, item, destination, owner);
	*ret_item = (struct schedule_item){
		.mid = item->mid, .domain = item->domain->name, .destination = destination->name
	};
	return true;
}

bool schedule_claim(struct schedule *s, int64_t mid, const char *domain, uint64_t owner)
{
	struct destination *destination, *next;

	HASH_ITER (hh, s->destinations, destination, next) {
		for (size_t i = 0; i < destination->waiting.count; i++) {
			struct item *item = (struct item *)destination->waiting.nodes[i];

			if (item->mid == mid && strcmp(item->domain->name, domain) == 0) {
				lend(s, item, destination, owner);
				return true;
			}
		}
	}
	return false;
}

void schedule_set_attempt(struct schedule *s, int64_t mid, const char *domain, uint32_t attempt)
{
	struct lent *lent = lent_of(s, mid, domain);

	if (lent != NULL)
		lent->attempt = attempt;
}

bool schedule_is_lent(
	struct schedule *s, int64_t mid, const char *domain, uint64_t *ret_owner, uint32_t *ret_attempt)
{
	const struct lent *lent = lent_of(s, mid, domain);

	if (lent == NULL)
		return false;
	*ret_owner = lent->owner;
	*ret_attempt = lent->attempt;
	return true;
}

/* Forget that the item is lent; the item, or NULL when it was not lent. */
static struct item *take_back(struct schedule *s, struct lent *lent)
{
	if (lent == NULL)
		return NULL;

	struct item *item = lent->item;
	HASH_DEL(s->lent, lent);
	lent->destination->lent--;
	settle(s, lent->destination);
	if (lent->destination != item->domain->destination)
		forget_destination(s, lent->destination);
	free(lent);
	return item;
}

bool schedule_finish(struct schedule *s, int64_t mid, const char *domain_name)
{
	struct item *item = take_back(s, lent_of(s, mid, domain_name));

	if (item == NULL)
		return false;

	struct domain *domain = item->domain;
	free(item);
	s->count--;
	if (--domain->items == 0) {
		struct destination *destination = domain->destination;

		destination->domains--;
		HASH_DEL(s->domains, domain);
		free(domain->name);
		free(domain);
		forget_destination(s, destination);
	}
	return true;
}

static bool give_back(struct schedule *s, int64_t mid, const char *domain, int64_t due, bool deferred)
{
	struct item *item = take_back(s, lent_of(s, mid, domain));

	if (item == NULL)
		return false;
	set_deferred(s, item, deferred);
	place(s, item, due);
	return true;
}

bool schedule_again(struct schedule *s, int64_t mid, const char *domain, int64_t due)
{
	return give_back(s, mid, domain, due, true);
}

bool schedule_return(struct schedule *s, int64_t mid, const char *domain, int64_t now)
{
	return give_back(s, mid, domain, now, false);
}

void schedule_reached(struct schedule *s, int64_t mid, const char *domain, bool reached, int64_t now)
{
	struct lent *lent = lent_of(s, mid, domain);

	if (lent == NULL)
		return;

	struct destination *destination = lent->destination;
	if (reached) {
		destination->failures = 0;
		destination->parked_until = 0;
	} else {
		int64_t pause = retry_wait_ms(s->waits_ms, s->wait_count, destination->failures + 1, 0);

		destination->failures++;
		destination->parked_until = now + MIN(pause, (int64_t)PARK_LONGEST_MS);
	}
	settle(s, destination);
}

void schedule_free_owner(struct schedule *s, uint64_t owner, int64_t now)
{
	struct lent *lent, *next;

	HASH_ITER (hh, s->lent, lent, next) {
		if (lent->owner != owner)
			continue;

		place(s, take_back(s, lent), now);
	}
}

int64_t schedule_next(struct schedule *s, const char *prefer)
{
	if (prefer != NULL) {
		const struct destination *destination = destination_of(s, prefer, false);

		return destination == NULL ? INT64_MAX : ready_at(s, destination);
	}

	const struct heap_node *first = heap_first(&s->ready);
	return first == NULL ? INT64_MAX : first->key;
}

uint64_t schedule_count(const struct schedule *s)
{
	return s->count;
}

struct schedule_counts schedule_counts(const struct schedule *s)
{
	const uint64_t lent = HASH_COUNT(s->lent);

	return (struct schedule_counts){
		.ready = s->count - s->deferred - lent, .deferred = s->deferred, .lent = lent
	};
}
