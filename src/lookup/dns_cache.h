#pragma once
/*
 * What role `resolver` answered a moment ago, kept within this process: a mail asks for as many as eight records, and for the same ones as the mail
 * before it. Nothing is kept beyond the time that its answer states, nor for more than a minute; failures are not kept at all.
 */

#include "lookup/dns.h"

enum { DNS_CACHE_MS = 60 * 1000, DNS_CACHE_ANSWERS = 4096 };

struct dns_cache;

/* An empty one, owned by `owner`. Threads may share it. */
struct dns_cache *dns_cache_new(const void *owner);

/* As dns_ask(), but from the cache (NULL: always dns_ask()) when it has the answer. */
struct dns_answer *dns_cache_ask(struct dns_cache *cache, struct peer *resolver, const void *owner,
	const char *name, enum dns_type type, int stop_fd, int64_t deadline);

/* The answer that was kept, owned by `owner`, with the time that it still holds; NULL when there is none at `now_ms` (clock_mono_ms()). */
struct dns_answer *dns_cache_find(
	struct dns_cache *cache, const void *owner, const char *name, enum dns_type type, int64_t now_ms);

/* Keep a copy of `answer`, which came at `now_ms`, if it may be kept. The oldest one gives way when there are too many. */
void dns_cache_keep(struct dns_cache *cache, const char *name, enum dns_type type,
	const struct dns_answer *answer, int64_t now_ms);
