#include "deliver/clear_hosts.h"

#include <pthread.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"

enum { HOUR_MS = 3600 * 1000, PLACES = 1024 };

struct clear_hosts {
	pthread_mutex_t lock; /* guards what follows */
	bool off;
	int64_t since_ms; /* the hour under way began */
	size_t count;
	struct ip hosts[PLACES];
};

struct clear_hosts *clear_hosts_new(const void *owner, int64_t now_ms)
{
	struct clear_hosts *hosts = text_must(talloc_zero(owner, struct clear_hosts));

	pthread_mutex_init(&hosts->lock, NULL);
	hosts->since_ms = now_ms;
	return hosts;
}

/* To be used with the list until its lock is given back. */
static void enter(struct clear_hosts *hosts, int64_t now_ms)
{
	pthread_mutex_lock(&hosts->lock);
	if (now_ms - hosts->since_ms < HOUR_MS)
		return;
	hosts->since_ms += (now_ms - hosts->since_ms) / HOUR_MS * HOUR_MS;
	hosts->count = 0;
}

static struct ip without_port(const struct ip *address)
{
	struct ip host = ip_unmapped(address);

	host.port = 0;
	return host;
}

static bool have(const struct clear_hosts *hosts, const struct ip *host)
{
	for (size_t i = 0; i < hosts->count; i++)
		if (hosts->hosts[i].family == host->family &&
			memcmp(hosts->hosts[i].bytes, host->bytes, sizeof host->bytes) == 0)
			return true;
	return false;
}

bool clear_hosts_add(struct clear_hosts *hosts, const struct ip *address, int64_t now_ms)
{
	const struct ip host = without_port(address);

	enter(hosts, now_ms);
	bool there = have(hosts, &host);
	if (!there && !hosts->off && hosts->count < PLACES) {
		hosts->hosts[hosts->count++] = host;
		there = true;
	}
	pthread_mutex_unlock(&hosts->lock);
	return there;
}

bool clear_hosts_have(struct clear_hosts *hosts, const struct ip *address, int64_t now_ms)
{
	const struct ip host = without_port(address);

	enter(hosts, now_ms);
	const bool there = have(hosts, &host);
	pthread_mutex_unlock(&hosts->lock);
	return there;
}

size_t clear_hosts_switch(struct clear_hosts *hosts, bool on, int64_t now_ms)
{
	enter(hosts, now_ms);
	const size_t count = on ? 0 : hosts->count;
	hosts->count -= count;
	hosts->off = !on;
	pthread_mutex_unlock(&hosts->lock);
	return count;
}

bool clear_hosts_is_on(struct clear_hosts *hosts)
{
	pthread_mutex_lock(&hosts->lock);
	const bool on = !hosts->off;
	pthread_mutex_unlock(&hosts->lock);
	return on;
}

size_t clear_hosts_count(struct clear_hosts *hosts, int64_t now_ms)
{
	enter(hosts, now_ms);
	const size_t count = hosts->count;
	pthread_mutex_unlock(&hosts->lock);
	return count;
}

size_t clear_hosts_empty(struct clear_hosts *hosts, int64_t now_ms)
{
	enter(hosts, now_ms);
	const size_t count = hosts->count;
	hosts->count = 0;
	pthread_mutex_unlock(&hosts->lock);
	return count;
}

struct ip *clear_hosts_list(
	struct clear_hosts *hosts, const void *owner, int64_t now_ms, size_t *ret_count, int64_t *ret_left_ms)
{
	enter(hosts, now_ms);
	struct ip *list = text_must(talloc_zero_array(owner, struct ip, (unsigned)hosts->count + 1));
	memcpy(list, hosts->hosts, hosts->count * sizeof list[0]);
	*ret_count = hosts->count;
	*ret_left_ms = HOUR_MS - (now_ms - hosts->since_ms);
	pthread_mutex_unlock(&hosts->lock);
	return list;
}
