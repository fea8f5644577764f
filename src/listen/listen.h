#pragma once
/* Stage 1 of a mail's life: a listening socket becomes counted connections, each served by a kept thread. */

#include "net/conn.h"

struct listen_pool;

/* What a pool thread does with a connection: returns when it is over. The connection is given to it. */
typedef void listen_serve(struct conn *conn, void *context);

/* A pool without threads; they are started when needed and kept for a while. */
struct listen_pool *listen_pool_new(void);

/* End the kept threads and free the pool. No session may run any more. */
void listen_pool_free(struct listen_pool *pool);

/* Wait for the next client of `socket_fd`. NULL when `stop_fd` is readable. */
struct conn *listen_accept(int socket_fd, int stop_fd);

/* Let a pool thread run serve(conn, context); false when `limit` sessions are running already (conn stays the caller's). */
bool listen_give(
	struct listen_pool *pool, uint64_t limit, struct conn *conn, listen_serve *serve, void *context);

/* Wait until no session runs, or until `deadline` (clock_mono_ms()); true when none runs. */
bool listen_wait(struct listen_pool *pool, int64_t deadline);
