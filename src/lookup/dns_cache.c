/* A table by type and name, in the order in which the answers came. Answers are copied in and out under the lock, so that nobody holds what another
 * thread drops. */
#include "lookup/dns_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/clock.h"

/* Larger answers are rare and not worth the memory. */
enum { RECORDS_MAX = 100, DATA_MAX = 8192, SECOND_MS = 1000 };

struct entry {
	int64_t came_ms, until_ms;
	struct dns_answer *answer;
	UT_hash_handle hh;
	char key[DNS_NAME_MAX + 16]; /* type and name */
};

struct dns_cache {
	pthread_mutex_t lock;
	struct entry *entries;
};

static int destroy(struct dns_cache *cache)
{
	HASH_CLEAR(hh, cache->entries);
	pthread_mutex_destroy(&cache->lock);
	return 0;
}

struct dns_cache *dns_cache_new(const void *owner)
{
	struct dns_cache *cache = text_must(talloc_zero(owner, struct dns_cache));

	pthread_mutex_init(&cache->lock, NULL);
	talloc_set_destructor(cache, destroy);
	return cache;
}

static struct dns_answer *copy(const void *owner, const struct dns_answer *answer)
{
	struct dns_answer *own = text_must(talloc_memdup(owner, answer, sizeof *answer));

	own->why = text_copy(own, text_of(answer->why));
	own->canonical = text_copy(own, text_of(answer->canonical));
	own->records = text_must(talloc_array(own, struct dns_record, (unsigned)MAX(answer->count, 1u)));
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *record = &answer->records[i];

		own->records[i] = *record;
		own->records[i].name = text_copy(own, text_of(record->name));
		own->records[i].data = (struct text){ text_copy(own, record->data), record->data.len };
	}
	return own;
}

/* False for a name that is too long to be one. */
static bool make_key(char key[DNS_NAME_MAX + 16], const char *name, enum dns_type type)
{
	int len = snprintf(key, DNS_NAME_MAX + 16, "%d %s", (int)type, name);

	for (char *at = key; *at != '\0'; at++)
		*at = text_lower(*at);
	return len > 0 && len < DNS_NAME_MAX + 16;
}

static void drop(struct dns_cache *cache, struct entry *entry)
{
	HASH_DEL(cache->entries, entry);
	talloc_free(entry);
}

struct dns_answer *dns_cache_find(
	struct dns_cache *cache, const void *owner, const char *name, enum dns_type type, int64_t now_ms)
{
	char key[DNS_NAME_MAX + 16];
	struct dns_answer *answer = NULL;
	struct entry *entry;

	if (!make_key(key, name, type))
		return NULL;
	pthread_mutex_lock(&cache->lock);
	HASH_FIND_STR(cache->entries, key, entry);
	if (entry != NULL && entry->until_ms <= now_ms) {
		drop(cache, entry);
		entry = NULL;
	}
	if (entry != NULL) {
		answer = copy(owner, entry->answer);
		answer->ttl_s -= (now_ms - entry->came_ms + SECOND_MS - 1) / SECOND_MS;
	}
	pthread_mutex_unlock(&cache->lock);
	return answer;
}

static bool may_keep(const struct dns_answer *answer)
{
	size_t data = 0;

	for (size_t i = 0; i < answer->count; i++)
		data += answer->records[i].data.len;
	return answer->result != DNS_FAILED && answer->count <= RECORDS_MAX && data <= DATA_MAX;
}

void dns_cache_keep(struct dns_cache *cache, const char *name, enum dns_type type,
	const struct dns_answer *answer, int64_t now_ms)
{
	/* Parts of a second are not stated. */
	const int64_t ms = MIN((answer->ttl_s - 1) * SECOND_MS, (int64_t)DNS_CACHE_MS);
	char key[DNS_NAME_MAX + 16];
	struct entry *old;

	if (ms <= 0 || !may_keep(answer) || !make_key(key, name, type))
		return;
	pthread_mutex_lock(&cache->lock);
	HASH_FIND_STR(cache->entries, key, old);
	if (old != NULL)
		drop(cache, old);
	else if (HASH_COUNT(cache->entries) >= DNS_CACHE_ANSWERS)
		drop(cache, cache->entries);
	struct entry *entry = text_must(talloc_zero(cache, struct entry));
	memcpy(entry->key, key, sizeof key);
	entry->came_ms = now_ms;
	entry->until_ms = now_ms + ms;
	entry->answer = copy(entry, answer);
	HASH_ADD_STR(cache->entries, key, entry);
	pthread_mutex_unlock(&cache->lock);
}

struct dns_answer *dns_cache_ask(struct dns_cache *cache, struct peer *resolver, const void *owner,
	const char *name, enum dns_type type, int stop_fd, int64_t deadline)
{
	struct dns_answer *answer =
		cache == NULL ? NULL : dns_cache_find(cache, owner, name, type, clock_mono_ms());

	if (answer != NULL)
		return answer;
	answer = dns_ask(resolver, owner, name, type, stop_fd, deadline);
	if (cache != NULL)
		dns_cache_keep(cache, name, type, answer, clock_mono_ms());
	return answer;
}
