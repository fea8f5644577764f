#pragma once
/* Stage 1 of a mail's life: a listening socket becomes counted connections, each served by a kept thread. */

#include "net/conn.h"

struct listen_pool;

/* What a pool thread does with a connection: returns when it is over. The connection is given to it. */
typedef void listen_serve(struct conn *conn, void *context);

/* A pool of at most `limit` sessions at once; threads are started when needed and kept for a while. Owned by `owner`. */
struct listen_pool *listen_pool_new(const void *owner);

/* Wait for the next client of `socket_fd`. NULL when `stop_fd` is readable. */
struct conn *listen_accept(int socket_fd, int stop_fd);

/* Let a pool thread run serve(conn, context); false when `limit` sessions are running already (conn stays the caller's). */
bool listen_give(
	struct listen_pool *pool, uint64_t limit, struct conn *conn, listen_serve *serve, void *context);

/* Wait until no session runs, or until `deadline` (clock_mono_ms()); true when none runs. */
bool listen_wait(struct listen_pool *pool, int64_t deadline);
