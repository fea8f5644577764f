#pragma once
/* What the files of master share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ip.h"

struct bundle;
struct config;
struct frame;
struct metrics;
struct problems;

enum { MASTER_LISTENERS_MAX = 100 };

/* A role as master sees it. */
struct child {
	const char *name;
	unsigned bundle_reader; /* BUNDLE_... */
	pid_t pid;		/* 0 = not running */
	int control_fd;
	uint64_t incarnation;
	int64_t started, again_at; /* monotonic; again_at 0 = not waiting to be restarted */
	unsigned failures;	   /* deaths in a row */
	uint64_t restarts;
};

enum { CHILD_QUEUE, CHILD_FRONT, CHILD_DELIVER, CHILD_COUNT };

/* A listening socket, kept over reloads while a listener of the same name wants the same address. */
struct bound {
	char *name;
	struct ip wanted;
	int fd;
};

struct master {
	const char *file;
	char *program; /* path for re-execution */
	const struct config *config;
	struct bundle *bundle;
	uint64_t generation;
	uint64_t start, spawned; /* start counter; roles started since */
	int state_fd, runtime_fd, lock_fd, control_fd, signal_fd;
	bool stopping;
	bool changes_user;
	struct {
		uid_t uid;
		gid_t gid;
	} users[CHILD_COUNT];
	struct child children[CHILD_COUNT];
	struct bound *bound;
	size_t bound_count;
};

/* start.c: directories, users, the lock, the start counter. 0, or negative after saying why on stderr. */
int master_prepare_users(struct master *master);
int master_prepare_directories(struct master *master);

/* sockets.c: bind what `config` wants and is not bound yet into `ret_bound` (owned by master); unwanted ones are closed by master_keep_sockets(). 0,
 * or a negative error with a problem added. */
int master_bind(struct master *master, const struct config *config, struct problems *problems,
	struct bound **ret_bound, size_t *ret_count);
void master_keep_sockets(struct master *master, struct bound *bound, size_t count);
void master_close_sockets(const struct master *master, struct bound *bound, size_t count);

/* children.c: start a role (empty environment, own user), hand it the generation and wait until it is ready. 0, or a negative error with one
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

/* reload.c: read the file again and swap generations in two phases; every role says ready, or all keep what they have. */
bool master_reload(struct master *master, const void *owner, char **ret_text);

/* control.c: serve one client of the control socket. */
void master_serve_control(struct master *master);
