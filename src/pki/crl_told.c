#include "pki/crl_told.h"

#include <pthread.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/digest.h"

enum { HOUR_MS = 3600 * 1000, PLACES = 64 };

struct said {
	struct digest what;
	int64_t at_ms; /* 0 = free */
};

struct crl_told {
	pthread_mutex_t lock;
	struct said said[PLACES];
};

struct crl_told *crl_told_new(const void *owner)
{
	struct crl_told *told = text_must(talloc_zero(owner, struct crl_told));

	pthread_mutex_init(&told->lock, NULL);
	return told;
}

bool crl_told_first(struct crl_told *told, const char *issuer, const char *reason, int64_t now_ms)
{
	char *both = text_must(talloc_asprintf(NULL, "%s\n%s", issuer, reason));
	const struct digest what = digest_of(text_of(both));
	struct said *place = &told->said[0];
	bool first = true;

	talloc_free(both);
	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < PLACES; i++) {
		struct said *said = &told->said[i];

		if (said->at_ms != 0 && memcmp(&said->what, &what, sizeof what) == 0) {
			first = now_ms - said->at_ms >= HOUR_MS;
			place = said;
			break;
		}
		if (said->at_ms < place->at_ms) /* the oldest gives way */
			place = said;
	}
	if (first)
		*place = (struct said){ what, now_ms };
	pthread_mutex_unlock(&told->lock);
	return first;
}
