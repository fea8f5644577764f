/* A hash of networks with a mail in the queue; a network without one is forgotten. */
#include "queue/quota.h"

#include <stdlib.h>

#include <talloc.h>
#include <uthash.h>

#include "base/ip.h"

struct entry {
	UT_hash_handle hh;
	struct ip_network network;
	uint64_t mails;
};

struct quota {
	struct entry *entries;
};

static int quota_destroy(struct quota *quota)
{
	struct entry *entry, *next;

	HASH_ITER (hh, quota->entries, entry, next) {
		HASH_DEL(quota->entries, entry);
		free(entry);
	}
	return 0;
}

struct quota *quota_new(const void *owner)
{
	struct quota *quota = text_must(talloc_zero(owner, struct quota));

	talloc_set_destructor(quota, quota_destroy);
	return quota;
}

static struct entry *find(const struct quota *quota, const char *client, struct ip_network *ret_network)
{
	struct entry *entry = NULL;
	struct ip ip;

	if (ip_parse(text_of(client), &ip) < 0)
		return NULL;
	*ret_network = ip_client_network(&ip);
	HASH_FIND(hh, quota->entries, ret_network, sizeof *ret_network, entry);
	return entry;
}

void quota_add(struct quota *quota, const char *client)
{
	struct ip_network network = { .prefix = 0 };
	struct entry *entry = find(quota, client, &network);

	if (entry == NULL && network.prefix > 0) {
		entry = text_must(calloc(1, sizeof *entry));
		entry->network = network;
		HASH_ADD(hh, quota->entries, network, sizeof entry->network, entry);
	}
	if (entry != NULL)
		entry->mails++;
}

void quota_drop(struct quota *quota, const char *client)
{
	struct ip_network network;
	struct entry *entry = find(quota, client, &network);

	if (entry != NULL && --entry->mails == 0) {
		HASH_DEL(quota->entries, entry);
		free(entry);
	}
}

uint64_t quota_count(const struct quota *quota, const char *client)
{
	struct ip_network network;
	const struct entry *entry = find(quota, client, &network);

	return entry == NULL ? 0 : entry->mails;
}
