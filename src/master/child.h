#pragma once
/* A role as master sees it: starting it with an empty environment as its own user, and the few words master has for it. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bound;
struct bundle;
struct config;
struct master;
struct metrics;

struct child {
	const char *name;
	unsigned bundle_reader; /* BUNDLE_... */
	pid_t pid;		/* 0 = not running */
	int control_fd;
	uint64_t incarnation;
	int64_t started, again_at; /* monotonic; again_at 0 = not waiting to be restarted */
	unsigned failures;	   /* deaths in a row */
	uint64_t restarts;
	int64_t asks; /* numbers them: a late answer is not taken for another one's */
};

/* Start it, hand it the generation and wait until it is ready. 0, or a negative error with one
 * sentence in ret_why (owned by `owner`). */
int child_start(struct master *master, struct child *child, const void *owner, const char **ret_why);
/* Offer the generation in `bundle` to a running role and wait for its word; as child_start(). */
int child_prepare(struct master *master, struct child *child, const struct bundle *bundle,
	const struct config *config, const struct bound *bound, const void *owner, const char **ret_why);
/* Send a frame without fields. */
void child_tell(struct child *child, int kind);
/* Connect the two roles by a new pair of control sockets, if both run. */
void child_wire(struct child *asker, struct child *server);
/* Wire every pair in which `child` takes part. */
void child_wire_all(struct master *master, struct child *child);
/* Ask for its counters and add them to `sum`; the generation it uses, or negative when it did not answer. */
int64_t child_stats(struct child *child, struct metrics *sum);
/* Wait until it has ended, at most `ms`; then kill it. */
void child_finish(struct child *child, int64_t ms);
