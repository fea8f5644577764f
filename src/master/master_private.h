#pragma once
/* What the files of master share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ip.h"
#include "master/child.h"

struct bundle;
struct config;
struct frame;
struct metrics;
struct problems;

enum { MASTER_LISTENERS_MAX = 100 };

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

/* reload.c: read the file again and swap generations in two phases; every role says ready, or all keep what they have. */
bool master_reload(struct master *master, const void *owner, char **ret_text);

/* control.c: serve one client of the control socket. */
void master_serve_control(struct master *master);
