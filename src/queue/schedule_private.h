#pragma once
/* What the files of the schedule share: items, the domains they are for, the destinations they go through. */

#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include <sys/queue.h>

#include "base/heap.h"
#include "policy/pace.h"
#include "queue/schedule.h"

struct domain {
	UT_hash_handle hh;
	char *name;
	struct destination *destination;
	uint64_t items; /* that wait or are lent; none = forgotten */
};

struct destination {
	struct heap_node node; /* in `heap`; first member */
	struct heap *heap;     /* schedule->ready or ->silent; NULL = in none */
	UT_hash_handle hh;
	LIST_ENTRY(destination) busy; /* in schedule->busy while something is lent */
	char *name;
	uint64_t users; /* domains and rerouted items that go through it; none and nothing lent = forgotten */
	struct heap waiting; /* of struct item */
	unsigned lent;
	unsigned reserved; /* open connections that wait for mail */
	struct pace pace;
	int64_t parked_until, next_us; /* next_us: by its rate */
	int64_t parked_since; /* when the first of the pauses in a row began; 0 = it was reached since */
	char *why;	      /* what the try said that parked it; NULL = nothing */
	uint64_t deferred;    /* of those that wait */
	bool suspended;
	bool limited; /* it has the limits that follow, instead of those for all */
	unsigned concurrency;
	uint64_t rate;
	bool is_new; /* in schedule->news: schedule_new_destination() tells of it */
	LIST_ENTRY(destination) news;
};

struct item {
	struct heap_node node; /* in destination->waiting; first member */
	int64_t mid;
	struct domain *domain;
	struct destination *via; /* rerouted: not where the domain goes; else NULL */
	bool deferred;		 /* waits after a try that failed; false while lent */
	bool overdue;		 /* in schedule->overdue */
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
	bool marked;	  /* schedule_mark() */
	bool hurried;	  /* schedule_hurry() */
};

struct schedule {
	unsigned concurrency, connections;
	uint64_t rate;
	int64_t *waits_ms;
	size_t wait_count;
	uint64_t count, deferred;  /* all items, and those of them that are deferred */
	struct heap ready, silent; /* of struct destination: that answered, and that did not (yet) */
	unsigned silent_lent;	   /* items that are lent of the silent ones */
	LIST_HEAD(, destination) busy, news;
	struct destination *destinations;
	struct domain *domains;
	struct lent *lent;
	struct item *
		*overdue; /* schedule_set_overdue(): waiting ones, and NULL for those that wait no more */
	size_t overdue_count;
};

/* The destination called `name`, made when it is missing and `make` says so; else NULL. */
struct destination *schedule_destination(struct schedule *schedule, const char *name, bool make);

/* Put the destination where it belongs in the outer heaps, or take it out: after every change of it. Items that are kept for waiting
 * connections do not count. */
void schedule_settle(struct schedule *schedule, struct destination *destination);

/* One item of it more is lent (at `now`), or one less. */
void schedule_take_place(struct schedule *schedule, struct destination *destination, int64_t now);
void schedule_free_place(struct schedule *schedule, struct destination *destination);

/* Forget the destination if nothing goes to it any more; some that answered are kept. */
void schedule_forget(struct schedule *schedule, struct destination *destination);

/* The destination to lend from, or NULL when nothing is due there: as schedule_lend(). */
struct destination *schedule_due(struct schedule *schedule, const char *prefer, int64_t now);

/* It was reached, or was not. */
void schedule_destination_answered(
	struct schedule *schedule, struct destination *destination, bool reached, int64_t now);
