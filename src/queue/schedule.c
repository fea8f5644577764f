/*
 * The items: added, lent, given back. Two levels of heaps: destinations by when they may send next (schedule_destination.c), and in each
 * destination its mail by due time.
 * Items are plain malloc: a million of them must stay small.
 * Lent items are found by (mid, domain) in a hash, which is as small as the number of deliveries under way.
 */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "queue/schedule_private.h"

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
		free(destination->why);
		free(destination);
	}
	HASH_ITER (hh, s->domains, domain, next_domain) {
		HASH_DEL(s->domains, domain);
		free(domain->name);
		free(domain);
	}
	heap_done(&s->ready);
	heap_done(&s->silent);
	free(s->overdue);
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

void schedule_route(struct schedule *s, const char *domain_name, const char *destination_name)
{
	struct domain *domain = domain_of(s, domain_name, true);
	struct destination *destination = schedule_destination(s, destination_name, true),
			   *before = domain->destination;

	if (before == destination)
		return;
	domain->destination = destination;
	destination->users++;
	if (before != NULL)
		before->users--;
}

static struct destination *home_of(const struct item *item)
{
	return item->via != NULL ? item->via : item->domain->destination;
}

/* Put a waiting item where it belongs. */
static void place(struct schedule *s, struct item *item, int64_t due)
{
	struct destination *destination = home_of(item);

	heap_set(&destination->waiting, &item->node, due);
	destination->deferred += item->deferred;
	schedule_settle(s, destination);
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
		destination->deferred = 0;
		schedule_settle(s, destination);
	}
	while ((node = heap_first(&all)) != NULL) {
		heap_remove(&all, node);
		place(s, (struct item *)node, node->key);
	}
	heap_done(&all);
	schedule_tidy(s);
}

void schedule_tidy(struct schedule *s)
{
	struct destination *destination, *next;

	HASH_ITER (hh, s->destinations, destination, next)
		schedule_forget(s, destination);
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

void schedule_put(struct schedule *s, const struct schedule_entry *entry)
{
	struct item *item = text_must(calloc(1, sizeof *item));

	schedule_route(s, entry->domain, entry->destination);
	item->mid = entry->mid;
	item->domain = domain_of(s, entry->domain, false);
	item->domain->items++;
	if (entry->via != NULL) {
		item->via = schedule_destination(s, entry->via, true);
		item->via->users++;
	}
	set_deferred(s, item, entry->deferred);
	place(s, item, entry->due);
	s->count++;
}

void schedule_add(struct schedule *s, const char *destination, const char *domain, int64_t mid, int64_t due)
{
	schedule_put(s, &(struct schedule_entry){
				.mid = mid, .domain = domain, .destination = destination, .due = due });
}

void schedule_add_deferred(
	struct schedule *s, const char *destination, const char *domain, int64_t mid, int64_t due)
{
	schedule_put(s, &(struct schedule_entry){ .mid = mid,
				.domain = domain,
				.destination = destination,
				.due = due,
				.deferred = true });
}

/* The item is neither waiting nor lent: forget it, and its domain with the last one. */
static void forget_item(struct schedule *s, struct item *item)
{
	struct domain *domain = item->domain;

	set_deferred(s, item, false);
	if (item->via != NULL)
		item->via->users--;
	free(item);
	s->count--;
	if (--domain->items == 0) {
		domain->destination->users--;
		HASH_DEL(s->domains, domain);
		free(domain->name);
		free(domain);
	}
}

/* The list is short, and few leave it this way. */
static void forget_overdue(struct schedule *s, struct item *item)
{
	for (size_t i = 0; item->overdue && i < s->overdue_count; i++)
		if (s->overdue[i] == item)
			s->overdue[i] = NULL;
	item->overdue = false;
}

static void unplace(struct schedule *s, struct item *item, struct destination *destination)
{
	forget_overdue(s, item);
	heap_remove(&destination->waiting, &item->node);
	destination->deferred -= item->deferred;
	set_deferred(s, item, false);
	schedule_settle(s, destination);
}

/* False when the same is lent already: the item is forgotten then. */
static bool lend(
	struct schedule *s, struct item *item, struct destination *destination, int64_t now, uint64_t owner)
{
	unplace(s, item, destination);
	if (lent_of(s, item->mid, item->domain->name) != NULL) {
		forget_item(s, item); /* the lent one keeps the destination */
		return false;
	}

	struct lent *lent = text_must(calloc(1, sizeof *lent));
	lent->key.mid = item->mid;
	lent->key.domain = item->domain;
	lent->item = item;
	lent->destination = destination;
	lent->owner = owner;
	HASH_ADD(hh, s->lent, key, sizeof lent->key, lent);
	schedule_take_place(s, destination, now);
	return true;
}

bool schedule_lend(
	struct schedule *s, const char *prefer, int64_t now, uint64_t owner, struct schedule_item *ret_item)
{
	struct destination *destination;

	while ((destination = schedule_due(s, prefer, now)) != NULL) {
		struct item *item = (struct item *)heap_first(&destination->waiting);

		if (!lend(s, item, destination, now, owner))
			continue;
		*ret_item = (struct schedule_item){
			.mid = item->mid, .domain = item->domain->name, .destination = destination->name
		};
		return true;
	}
	return false;
}

static bool is_parked(const struct destination *destination)
{
	return destination->parked_until > 0 && !destination->suspended;
}

/* A waiting item that was asked for. */
struct found {
	int64_t mid;
	const struct domain *domain;
	struct item *item;
};

/* Look for items of `found` (ascending by mid), all in one pass over what waits for a destination. */
static void find_at(const struct destination *destination, struct found *found, size_t count)
{
	for (size_t i = 0; i < destination->waiting.count; i++) {
		struct item *item = (struct item *)destination->waiting.nodes[i];
		size_t low = 0, high = count;

		if (item->mid < found[0].mid || item->mid > found[count - 1].mid)
			continue;
		while (low < high) {
			size_t middle = (low + high) / 2;

			if (found[middle].mid < item->mid)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < count && found[low].mid == item->mid; low++)
			if (found[low].domain == item->domain)
				found[low].item = item;
	}
}

/* The same for `keys` wherever they wait, or for parked destinations only. To be freed. */
static struct found *find_keys(
	const struct schedule *s, const struct schedule_key *keys, size_t count, bool parked)
{
	struct found *found = text_must(calloc(count + 1, sizeof *found));
	const struct destination *destination, *next;

	for (size_t i = 0; i < count; i++)
		found[i] = (struct found){ .mid = keys[i].mid,
			.domain = domain_of((struct schedule *)s, keys[i].domain, false) };
	HASH_ITER (hh, s->destinations, destination, next)
		if (count > 0 && (!parked || is_parked(destination)))
			find_at(destination, found, count);
	return found;
}

bool schedule_claim(struct schedule *s, int64_t mid, const char *domain, int64_t now, uint64_t owner)
{
	struct found *found = find_keys(s, &(struct schedule_key){ .mid = mid, .domain = domain }, 1, false);
	struct item *item = found->item;

	free(found);
	return item != NULL && lend(s, item, home_of(item), now, owner);
}

void schedule_remove(struct schedule *s, struct schedule_key *keys, size_t count)
{
	struct found *found = find_keys(s, keys, count, false);

	for (size_t i = 0; i < count; i++) {
		keys[i].waited = found[i].item != NULL;
		if (keys[i].waited) {
			unplace(s, found[i].item, home_of(found[i].item));
			forget_item(s, found[i].item);
		}
	}
	free(found);
}

bool schedule_mark(struct schedule *s, int64_t mid, const char *domain)
{
	struct lent *lent = lent_of(s, mid, domain);

	if (lent != NULL)
		lent->marked = true;
	return lent != NULL;
}

void schedule_hurry(struct schedule *s, int64_t mid, const char *domain)
{
	struct lent *lent = lent_of(s, mid, domain);

	if (lent != NULL)
		lent->marked = lent->hurried = true;
}

bool schedule_is_hurried(const struct schedule *s, int64_t mid, const char *domain)
{
	const struct lent *lent = lent_of((struct schedule *)s, mid, domain);

	return lent != NULL && lent->hurried;
}

bool schedule_is_marked(const struct schedule *s, int64_t mid, const char *domain)
{
	const struct lent *lent = lent_of((struct schedule *)s, mid, domain);

	return lent != NULL && lent->marked;
}

void schedule_set_overdue(struct schedule *s, const struct schedule_key *keys, size_t count)
{
	struct found *found = find_keys(s, keys, count, true);

	for (size_t i = 0; i < s->overdue_count; i++)
		if (s->overdue[i] != NULL)
			s->overdue[i]->overdue = false;
	free(s->overdue);
	s->overdue = text_must(calloc(count + 1, sizeof s->overdue[0]));
	s->overdue_count = 0;
	for (size_t i = count; i-- > 0;) { /* they are taken from the end */
		if (found[i].item == NULL || found[i].item->overdue)
			continue;
		found[i].item->overdue = true;
		s->overdue[s->overdue_count++] = found[i].item;
	}
	free(found);
}

bool schedule_lend_overdue(struct schedule *s, int64_t now, uint64_t owner, struct schedule_item *ret_item)
{
	while (s->overdue_count > 0) {
		struct item *item = s->overdue[--s->overdue_count];

		if (item == NULL)
			continue;
		item->overdue = false;
		struct destination *destination = home_of(item);
		if (!is_parked(destination) || item->node.key > now ||
			!lend(s, item, destination, now, owner))
			continue;
		*ret_item = (struct schedule_item){
			.mid = item->mid, .domain = item->domain->name, .destination = destination->name
		};
		return true;
	}
	return false;
}

bool schedule_has_parked(const struct schedule *s)
{
	struct destination *destination, *next;

	HASH_ITER (hh, s->destinations, destination, next)
		if (is_parked(destination))
			return true;
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
	schedule_free_place(s, lent->destination);
	if (lent->destination != home_of(item))
		schedule_forget(s, lent->destination);
	free(lent);
	return item;
}

bool schedule_finish(struct schedule *s, int64_t mid, const char *domain_name)
{
	struct item *item = take_back(s, lent_of(s, mid, domain_name));

	if (item == NULL)
		return false;

	struct destination *via = item->via, *destination = item->domain->destination;
	forget_item(s, item);
	schedule_forget(s, destination);
	if (via != NULL && via != destination)
		schedule_forget(s, via);
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

	schedule_destination_answered(s, lent->destination, reached, now);
}

void schedule_explain(struct schedule *s, int64_t mid, const char *domain, const char *why)
{
	struct lent *lent = lent_of(s, mid, domain);

	if (lent == NULL)
		return;
	free(lent->destination->why);
	lent->destination->why = text_must(strndup(why, SCHEDULE_WHY_MAX));
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
