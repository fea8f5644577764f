#pragma once
/* What responders said, until it is old; and one fetch for all who ask at once. Safe from any thread. */

#include <stdint.h>

#include "base/digest.h"
#include "base/text.h"

struct ocsp_cache;

enum { OCSP_CACHE_ENTRIES_MAX = 1000 };

enum ocsp_claim {
	OCSP_CLAIM_HELD, /* here it is */
	OCSP_CLAIM_YOURS, /* nobody knows: fetch it, and put it whatever comes of it, since others wait for that */
	OCSP_CLAIM_LATE /* somebody fetches it, and did not have it by the deadline; or there is no room */
};

struct ocsp_kept {
	struct text response; /* empty = there is none */
	const char *why;      /* then: why not */
	int64_t until_ms;     /* wall clock; it is kept so long, and at most half a day */
};

/* Owned by `owner`; nobody may wait when it is freed. */
struct ocsp_cache *ocsp_cache_new(const void *owner);

/* What is kept under `key`, copied to `owner`; waits for who fetches it until `deadline` (clock_mono_ms()). */
enum ocsp_claim ocsp_cache_claim(struct ocsp_cache *cache, const struct digest *key, int64_t deadline,
	const void *owner, struct ocsp_kept *ret_kept);

/* Let the next claim fetch, unless what is kept is less than a minute old. */
void ocsp_cache_forget(struct ocsp_cache *cache, const struct digest *key);

/* What came of the fetch that was claimed (copied). Who waits gets it, however short it is kept. */
void ocsp_cache_put(struct ocsp_cache *cache, const struct digest *key, const struct ocsp_kept *kept);
