/* A rate is a bucket that fills with `rate` a minute and holds as many: a burst of a whole minute's clients is fine, more is not. */
#include "listen/clients.h"

#include <pthread.h>
#include <stdlib.h>

#include <talloc.h>
#include <uthash.h>

#include "base/base.h"

enum { MINUTE_MS = 60000, SWEEP_EVERY = 1024 };

struct bucket {
	int64_t spent; /* events * MINUTE_MS */
	int64_t updated;
};

struct entry {
	UT_hash_handle hh;
	struct ip_network network;
	uint64_t sessions;
	struct bucket arrivals, handshakes;
};

struct clients {
	pthread_mutex_t lock;
	struct entry *entries;
	unsigned entered;
};

static int clients_destroy(struct clients *clients)
{
	struct entry *entry, *next;

	HASH_ITER (hh, clients->entries, entry, next) {
		HASH_DEL(clients->entries, entry);
		free(entry);
	}
	pthread_mutex_destroy(&clients->lock);
	return 0;
}

struct clients *clients_new(const void *owner)
{
	struct clients *clients = text_must(talloc_zero(owner, struct clients));

	pthread_mutex_init(&clients->lock, NULL);
	talloc_set_destructor(clients, clients_destroy);
	return clients;
}

static struct entry *entry_of(struct clients *clients, const struct ip *client, bool make)
{
	struct ip_network network = ip_client_network(client);
	struct entry *entry;

	HASH_FIND(hh, clients->entries, &network, sizeof network, entry);
	if (entry == NULL && make) {
		entry = text_must(calloc(1, sizeof *entry));
		entry->network = network;
		HASH_ADD(hh, clients->entries, network, sizeof entry->network, entry);
	}
	return entry;
}

/* True when `rate` lets one more happen now; the caller spends it. */
static bool bucket_has(struct bucket *bucket, uint64_t rate, int64_t now_ms)
{
	bucket->spent = MAX((int64_t)0, bucket->spent - (now_ms - bucket->updated) * (int64_t)rate);
	bucket->updated = now_ms;
	return bucket->spent + MINUTE_MS <= (int64_t)rate * MINUTE_MS;
}

/* Networks without sessions whose buckets are full again are forgotten. */
static void sweep(struct clients *clients, int64_t now_ms)
{
	struct entry *entry, *next;

	HASH_ITER (hh, clients->entries, entry, next) {
		if (entry->sessions > 0 || now_ms - entry->arrivals.updated < MINUTE_MS ||
			now_ms - entry->handshakes.updated < MINUTE_MS)
			continue;
		HASH_DEL(clients->entries, entry);
		free(entry);
	}
}

enum clients_verdict clients_enter(
	struct clients *clients, const struct ip *client, uint64_t most, uint64_t rate, int64_t now_ms)
{
	enum clients_verdict verdict = CLIENTS_WELCOME;

	pthread_mutex_lock(&clients->lock);
	if (++clients->entered % SWEEP_EVERY == 0)
		sweep(clients, now_ms);
	struct entry *entry = entry_of(clients, client, true);
	if (!bucket_has(&entry->arrivals, rate, now_ms))
		verdict = CLIENTS_TOO_FAST;
	else if (entry->sessions >= most)
		verdict = CLIENTS_TOO_MANY;
	if (verdict != CLIENTS_TOO_FAST)
		entry->arrivals.spent += MINUTE_MS;
	if (verdict == CLIENTS_WELCOME)
		entry->sessions++;
	pthread_mutex_unlock(&clients->lock);
	return verdict;
}

bool clients_handshake(struct clients *clients, const struct ip *client, uint64_t rate, int64_t now_ms)
{
	if (rate == 0)
		return true;

	pthread_mutex_lock(&clients->lock);
	struct bucket *bucket = &entry_of(clients, client, true)->handshakes;
	bool fine = bucket_has(bucket, rate, now_ms);
	if (fine)
		bucket->spent += MINUTE_MS;
	pthread_mutex_unlock(&clients->lock);
	return fine;
}

void clients_leave(struct clients *clients, const struct ip *client)
{
	pthread_mutex_lock(&clients->lock);
	struct entry *entry = entry_of(clients, client, false);
	if (entry != NULL && entry->sessions > 0)
		entry->sessions--;
	pthread_mutex_unlock(&clients->lock);
}
