#pragma once
/* The HTTP server of role `admin`: one thread, one listening socket, one page. */

#include <stdbool.h>
#include <stdint.h>

struct server;
struct status;

/* Answer on `socket_fd` (a listening socket, given) with what `status` (kept) says. NULL when there is no memory or thread for it. */
struct server *server_start(int socket_fd, struct status *status);

/* True when the server listens on this very socket, perhaps through another descriptor. */
bool server_has(const struct server *server, int socket_fd);

/* Answer no more; wait at most `ms`, then free it. False when its thread hangs: then it stays. NULL is fine. */
bool server_end(struct server *server, int64_t ms);
