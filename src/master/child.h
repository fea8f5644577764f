#pragma once
/* A role as master sees it: starting it with an empty environment as its own user, and the few words master has for it. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy/silence.h"
#include "report/metrics.h"

struct bound;
struct bundle;
struct config;
struct master;

/* What a role is offered with a generation. */
struct child_offer {
	const struct bundle *bundle;
	const struct config *config;
	const struct bound *bound; /* the listeners, then the page of metrics.address if there is one */
	int log_fd;
	unsigned parts; /* what alone was read anew, of BUNDLE_PARTS; 0 = everything */
};

struct child {
	const char *name;
	unsigned bundle_reader; /* BUNDLE_... */
	pid_t pid;		/* 0 = not running */
	int control_fd;
	uint64_t incarnation;
	int64_t started, again_at; /* monotonic; again_at 0 = not waiting to be restarted */
	unsigned failures;	   /* deaths in a row */
	uint64_t restarts;
	struct metrics metrics; /* as it told them last */
	int64_t asks;		/* numbers them: a late answer is not taken for another one's */
	struct silence silence;
};

/* Start it, hand it what is offered and wait until it is ready; it waits for FRAME_USE then. 0, or a negative error with what
 * it does not do in ret_why (owned by `owner`); -EINVAL: the role itself says no, and why. */
int child_start(struct master *master, struct child *child, const struct child_offer *offer,
	const void *owner, const char **ret_why);
/* Offer a generation to a running role and wait for its word; as child_start(). */
int child_prepare(struct master *master, struct child *child, const struct child_offer *offer,
	const void *owner, const char **ret_why);
/* Tell a role that was just started to use what it prepared, and wire it. */
void child_join(struct master *master, struct child *child);
/* Send a frame without fields. */
void child_tell(struct child *child, int kind);
/* Ask for its counters, without waiting. */
void child_ask(struct child *child);
/* Wait for the answer until `deadline` (clock_mono_ms()): its counters are in `metrics` then; the generation it uses, or negative when it did
 * not answer. */
int64_t child_stats(struct child *child, int64_t deadline);
/* Take what it has said meanwhile, without waiting. */
void child_hear(struct child *child);
/* Wait until it has ended, at most `ms`; then kill it. */
void child_finish(struct child *child, int64_t ms);
