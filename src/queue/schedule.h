#pragma once
/*
 * What is due next: an in-memory index destination -> due times of its mail. Pure: time is passed in (clock_mono_ms()).
 * An item is one mail for one recipient domain. A destination begins with few items at once and is trusted with more as it answers
 * (policy/pace.h); one that cannot be reached is parked as a whole and then probed by one item at a time.
 * Not thread-safe: queue/store guards it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct schedule;

/* An empty schedule owned by `owner`. */
struct schedule *schedule_new(const void *owner);

/* The waits between the attempts of a mail, from which it follows how long a destination is parked (policy/retry.h). Copied; to be called before
 * anything is lent. */
void schedule_set_retry(struct schedule *schedule, const int64_t *waits_ms, size_t count);

/* Items of each destination without limits of its own that may be out at once, from now on. */
void schedule_set_concurrency(struct schedule *schedule, unsigned concurrency);

/* Items that may be out in all (0 = any number, as at first): each destination leaves some to the others, and those that do not answer leave half to
 * those that do. */
void schedule_set_connections(struct schedule *schedule, unsigned connections);

/* Items a minute that each destination without limits of its own takes; 0 = any number, as at first. */
void schedule_set_rate(struct schedule *schedule, uint64_t rate);

/* The limits of one destination, from now on; nothing happens when it is not known. They are forgotten with it. */
void schedule_limit(struct schedule *schedule, const char *destination, unsigned concurrency, uint64_t rate);

/* A destination that was not limited since it came, or since schedule_renew(), after which all of them are to be limited anew; NULL when there is none.
 * Borrowed until the next change. */
const char *schedule_new_destination(const struct schedule *schedule);
void schedule_renew(struct schedule *schedule);

/* Add a mail for `domain`, which is reached through `destination`, due at `due`. Texts are copied. */
void schedule_add(
	struct schedule *schedule, const char *destination, const char *domain, int64_t mid, int64_t due);

/* The same for a mail that was tried before: it counts as deferred. */
void schedule_add_deferred(
	struct schedule *schedule, const char *destination, const char *domain, int64_t mid, int64_t due);

/* The same with all that can be said about it. */
struct schedule_entry {
	int64_t mid, due;
	const char *domain, *destination;
	const char *via; /* goes through this destination instead, whatever the routes say; or NULL */
	bool deferred;	 /* was tried before */
};
void schedule_put(struct schedule *schedule, const struct schedule_entry *entry);

/* From now on mail for `domain` is reached through `destination`; schedule_rehome() then moves what waits. */
void schedule_route(struct schedule *schedule, const char *domain, const char *destination);
void schedule_rehome(struct schedule *schedule);

/* Names of all domains with mail; the array is owned by `owner`, the names are borrowed until the next change. */
const char **schedule_domains(const struct schedule *schedule, const void *owner, size_t *ret_count);

/* A lent item; texts are borrowed until it is given back. */
struct schedule_item {
	int64_t mid;
	const char *domain, *destination;
};

/* Lend the next item that is due at `now` to `owner` (not 0): of destination `prefer` when that is not NULL (and of no other), else
 * of the destination that has waited longest. False when nothing is due there. */
bool schedule_lend(struct schedule *schedule, const char *prefer, int64_t now, uint64_t owner,
	struct schedule_item *ret_item);

/* Somebody with an open connection to `destination` waits for its mail (or waits no longer): as many items are kept for them, so that
 * connections are reused instead of opened beside idle ones. */
void schedule_reserve(struct schedule *schedule, const char *destination, bool waits);

/* Lend the waiting item of `mid` and `domain` to `owner` whether it is due or not (it holds it already); false when there is none. */
bool schedule_claim(struct schedule *schedule, int64_t mid, const char *domain, int64_t now, uint64_t owner);

/* Forget those of `keys` (ascending by mid) that wait, and set `waited` of each. Looks at everything that waits once, however many they are. */
struct schedule_key {
	int64_t mid;
	const char *domain;
	bool waited; /* out */
};
void schedule_remove(struct schedule *schedule, struct schedule_key *keys, size_t count);

/* After schedule_remove(), when all is put back that shall be: forget destinations that nothing goes to. Until then it is known how they answered. */
void schedule_tidy(struct schedule *schedule);

/* Remember that a lent item was changed in the store while it is out, so that who takes it back looks there; false when it is not lent. */
bool schedule_mark(struct schedule *schedule, int64_t mid, const char *domain);

/* The same, and it is due as soon as it comes back. */
void schedule_hurry(struct schedule *schedule, int64_t mid, const char *domain);
bool schedule_is_hurried(const struct schedule *schedule, int64_t mid, const char *domain);
bool schedule_is_marked(const struct schedule *schedule, int64_t mid, const char *domain);

/* Lend nothing of `destination` from now on, or again; what is out comes back as always. */
void schedule_suspend(struct schedule *schedule, const char *destination, bool suspended);

/* A parked destination is tried again now, by one item. */
void schedule_unpark(struct schedule *schedule, const char *destination);

/* How a destination stands; all zero when nothing is known about it. Times are those of clock_mono_ms(). */
struct schedule_view {
	bool suspended;
	unsigned lent, idle;	    /* deliveries under way, and open connections that wait for mail */
	unsigned concurrency;	    /* deliveries that it is trusted with now */
	uint64_t rate;		    /* mails a minute; 0 = any number */
	uint64_t waiting, deferred; /* deferred: of those that wait */
	int64_t parked_until; /* 0 = not parked; in the past: one mail tries it, the others wait for that */
	int64_t parked_since; /* since when it could not be reached */
	const char *why; /* the reply of the try that parked it, or empty; borrowed until the next change */
};
struct schedule_view schedule_view(struct schedule *schedule, const char *destination);

/* What became of the lent item explains why its destination cannot be reached, if schedule_reached() parks it now. The first SCHEDULE_WHY_MAX bytes
 * are kept. */
enum { SCHEDULE_WHY_MAX = 200 };
void schedule_explain(struct schedule *schedule, int64_t mid, const char *domain, const char *why);

/* Names behind `after` of destinations that mail waits or is lent for, or that are suspended or parked (of parked ones only, if `parked`): the first
 * `most` of them in order. The array is owned by `owner`, the names are borrowed until the next change. */
const char **schedule_destinations(const struct schedule *schedule, const void *owner, const char *after,
	bool parked, size_t most, size_t *ret_count);

/* Name the items that schedule_lend_overdue() may lend, instead of those named before: those of `keys` (ascending by mid) that wait for a destination
 * that could not be reached when last tried. Looks once at everything that waits for such ones, however many keys there are. */
void schedule_set_overdue(struct schedule *schedule, const struct schedule_key *keys, size_t count);

/* Lend the next of them that is due at `now`, although its destination is parked; each is looked at once. False when there is none. */
bool schedule_lend_overdue(
	struct schedule *schedule, int64_t now, uint64_t owner, struct schedule_item *ret_item);

/* True when a destination could not be reached when last tried. */
bool schedule_has_parked(const struct schedule *schedule);

/* Remember which attempt (from 1) a lent item is out for; 0 = not known, as for claimed items. */
void schedule_set_attempt(struct schedule *schedule, int64_t mid, const char *domain, uint32_t attempt);

/* To whom an item is lent, and for which attempt; false when it is not lent. */
bool schedule_is_lent(struct schedule *schedule, int64_t mid, const char *domain, uint64_t *ret_owner,
	uint32_t *ret_attempt);

/* Give a lent item back: finished; or deferred until `due`; or never tried, and due again at `now`. Nothing happens when it is not lent.
 * True when it was. */
bool schedule_finish(struct schedule *schedule, int64_t mid, const char *domain);
bool schedule_again(struct schedule *schedule, int64_t mid, const char *domain, int64_t due);
bool schedule_return(struct schedule *schedule, int64_t mid, const char *domain, int64_t now);

/* The destination of a lent item was reached, or was not: then it is parked from `now` on, for the time that schedule_set_retry() gave. */
void schedule_reached(struct schedule *schedule, int64_t mid, const char *domain, bool reached, int64_t now);

/* Everything lent to `owner` is due again at `now`. */
void schedule_free_owner(struct schedule *schedule, uint64_t owner, int64_t now);

/* When the next item (of destination `prefer`, or of any when NULL) may be lent; INT64_MAX = nothing waits. */
int64_t schedule_next(struct schedule *schedule, const char *prefer);

/* Items that wait or are lent. */
uint64_t schedule_count(const struct schedule *schedule);

/* The same by what they wait for; counted as they change, so asking costs nothing however many there are. */
struct schedule_counts {
	uint64_t ready;	   /* not tried yet, or given back untried: for a free connection */
	uint64_t deferred; /* for the next try after one that failed, and then for a free connection */
	uint64_t lent;
};
struct schedule_counts schedule_counts(const struct schedule *schedule);
