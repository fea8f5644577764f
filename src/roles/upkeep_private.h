#pragma once
/* What the files of role `upkeep` share. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/digest.h"
#include "base/text.h"
#include "report/metrics.h"

struct bundle;
struct config;
struct frame;
struct http;
struct ocsp_cache;
struct peer;
struct role;
struct trust;
struct upkeep_crl;

/* A configuration that is used, or prepared. */
struct upkeep_generation {
	unsigned users; /* guarded by the lock of struct upkeep */
	const struct config *config;
	const struct trust *trust;	      /* NULL when nothing is fetched */
	struct text authorities;	      /* the same as PEM, for https */
	char authorities_hex[DIGEST_HEX_MAX]; /* of them */
	struct digest *lists; /* of each source: of the list that is in use; all zero = none */
	int directory_fd;     /* state_dir/upkeep */
};

struct upkeep {
	struct role *role;
	struct peer *resolver;
	struct metrics metrics;
	atomic_bool stopping;
	struct upkeep_crl *crl;
	struct ocsp_cache *ocsp;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	struct upkeep_generation *current, *prepared;
	const struct http *http; /* NULL until something is fetched */
	int master_fd;		 /* what changed is said on it */
	unsigned unsaid;	 /* what changed and master was not told yet, for it was not there */
	unsigned served;	 /* threads */
};

/* The configuration in use, or NULL; give it back. */
struct upkeep_generation *upkeep_hold(struct upkeep *u);
void upkeep_release(struct upkeep *u, struct upkeep_generation *generation);

/* libcurl, loaded by the first who needs it; NULL and why (HTTP_WHY_MAX) when it cannot be. */
const struct http *upkeep_http(struct upkeep *u, char *ret_why);

/* Tell master that files of these parts (BUNDLE_REVOCATION, ...) changed. */
void upkeep_changed(struct upkeep *u, unsigned parts);

/* Start a thread that is counted; end it with upkeep_end_thread() as its last act. False when there are too many. */
bool upkeep_start_thread(struct upkeep *u, void *(*run)(void *argument), void *argument);
void upkeep_end_thread(struct upkeep *u);
