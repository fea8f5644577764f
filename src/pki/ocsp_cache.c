/*
 * An entry is kept by both clocks: the monotonic one knows no jumps, the wall clock goes on while a machine sleeps. When it is full, what ends first
 * leaves; what is being fetched stays, and there are fewer such than there is room, because each has a thread.
 */
#include "pki/ocsp_cache.h"

#include <pthread.h>

#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/thread.h"

enum { KEEP_MAX_MS = 12 * 3600 * 1000, FRESH_MS = 60 * 1000 };

struct entry {
	struct digest key;
	bool fetched; /* false: somebody does it */
	struct ocsp_kept kept;
	int64_t put_mono_ms, until_mono_ms;
	UT_hash_handle hh;
};

struct ocsp_cache {
	pthread_mutex_t lock;
	pthread_cond_t put;
	struct entry *entries;
};

static int cache_destroy(struct ocsp_cache *cache)
{
	HASH_CLEAR(hh, cache->entries);
	pthread_cond_destroy(&cache->put);
	pthread_mutex_destroy(&cache->lock);
	return 0;
}

struct ocsp_cache *ocsp_cache_new(const void *owner)
{
	struct ocsp_cache *cache = text_must(talloc_zero(owner, struct ocsp_cache));

	pthread_mutex_init(&cache->lock, NULL);
	thread_condition(&cache->put);
	talloc_set_destructor(cache, cache_destroy);
	return cache;
}

static struct entry *find(struct ocsp_cache *cache, const struct digest *key)
{
	struct entry *entry;

	HASH_FIND(hh, cache->entries, key, sizeof *key, entry);
	return entry;
}

static void forget(struct ocsp_cache *cache, struct entry *entry)
{
	HASH_DEL(cache->entries, entry);
	talloc_free(entry);
}

/* False when everything that is there is being fetched. */
static bool make_room(struct ocsp_cache *cache)
{
	struct entry *first = NULL;

	if (HASH_COUNT(cache->entries) < OCSP_CACHE_ENTRIES_MAX)
		return true;
	for (struct entry *entry = cache->entries; entry != NULL; entry = entry->hh.next)
		if (entry->fetched && (first == NULL || entry->until_mono_ms < first->until_mono_ms))
			first = entry;
	if (first == NULL)
		return false;
	forget(cache, first);
	return true;
}

static bool is_old(const struct entry *entry)
{
	return clock_mono_ms() >= entry->until_mono_ms || clock_wall_ms() >= entry->kept.until_ms;
}

static void begin(struct ocsp_cache *cache, const struct digest *key)
{
	struct entry *entry = text_must(talloc_zero(cache, struct entry));

	entry->key = *key;
	HASH_ADD(hh, cache->entries, key, sizeof entry->key, entry);
}

static struct ocsp_kept copy(const void *owner, const struct ocsp_kept *kept)
{
	char *bytes = text_must(talloc_memdup(
		owner, kept->response.len == 0 ? "" : kept->response.at, MAX(kept->response.len, (size_t)1)));

	return (struct ocsp_kept){ { bytes, kept->response.len }, text_copy(owner, text_of(kept->why)),
		kept->until_ms };
}

enum ocsp_claim ocsp_cache_claim(struct ocsp_cache *cache, const struct digest *key, int64_t deadline,
	const void *owner, struct ocsp_kept *ret_kept)
{
	enum ocsp_claim claim = OCSP_CLAIM_LATE;
	bool waited = false, in_time = true;

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find(cache, key);
	while (entry != NULL && !entry->fetched && in_time) {
		waited = true;
		in_time = thread_wait(&cache->put, &cache->lock, deadline);
		entry = find(cache, key);
	}
	if (entry != NULL && entry->fetched && !waited && is_old(entry)) {
		forget(cache, entry);
		entry = NULL;
	}
	if (entry != NULL && entry->fetched) {
		*ret_kept = copy(owner, &entry->kept);
		claim = OCSP_CLAIM_HELD;
	} else if (entry == NULL && in_time && make_room(cache)) {
		begin(cache, key);
		claim = OCSP_CLAIM_YOURS;
	}
	pthread_mutex_unlock(&cache->lock);
	return claim;
}

void ocsp_cache_forget(struct ocsp_cache *cache, const struct digest *key)
{
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find(cache, key);
	if (entry != NULL && entry->fetched && clock_mono_ms() - entry->put_mono_ms >= FRESH_MS)
		forget(cache, entry);
	pthread_mutex_unlock(&cache->lock);
}

void ocsp_cache_put(struct ocsp_cache *cache, const struct digest *key, const struct ocsp_kept *kept)
{
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find(cache, key);
	if (entry != NULL) {
		const int64_t left = kept->until_ms - clock_wall_ms();

		entry->kept = copy(entry, kept);
		entry->until_mono_ms = clock_mono_ms() + MIN(left, (int64_t)KEEP_MAX_MS);
		entry->put_mono_ms = clock_mono_ms();
		entry->fetched = true;
	}
	pthread_cond_broadcast(&cache->put);
	pthread_mutex_unlock(&cache->lock);
}
