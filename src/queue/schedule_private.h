#pragma once
/* What the files of the schedule share: items, the domains they are for, the destinations they go through. */

#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include "base/heap.h"
#include "queue/schedule.h"

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

/* The destination called `name`, made when it is missing and `make` says so; else NULL. */
struct destination *schedule_destination(struct schedule *schedule, const char *name, bool make);

/* Put the destination where it belongs in the outer heap, or take it out: after every change of it. Items that are kept for waiting
 * connections do not count. */
void schedule_settle(struct schedule *schedule, struct destination *destination);

/* Forget the destination if nothing goes to it any more. */
void schedule_forget(struct schedule *schedule, struct destination *destination);

/* The destination to lend from, or NULL when nothing is due there: as schedule_lend(). */
struct destination *schedule_due(struct schedule *schedule, const char *prefer, int64_t now);

/* It was reached, or was not. */
void schedule_destination_answered(
	struct schedule *schedule, struct destination *destination, bool reached, int64_t now);
