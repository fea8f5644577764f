#pragma once
/* The asking side of two roles: a pool of channels to one peer role, each borrowed for one ask. Safe from any thread. */

#include <stdint.h>

struct frame;
struct peer;

/* A peer without a connection; at most `limit` channels (1..64). Owned by `owner`. */
struct peer *peer_new(const void *owner, unsigned limit);

/* Connect to the peer role through its control socket (given; -1 = it is gone). Idle channels of the old one are closed,
 * asks on the way end with ERR_CLOSED by themselves. */
void peer_connect(struct peer *peer, int control_fd);

/* Send `ask` and wait for the answer, owned by `owner`. Waits for a free channel, too. 0, -ETIMEDOUT, ERR_STOPPED (stop_fd
 * became readable), or ERR_CLOSED: the role died or is not there; the caller treats it as a temporary failure. */
int peer_ask(struct peer *peer, const void *owner, const struct frame *ask, int stop_fd, int64_t deadline,
	struct frame **ret_answer);

/* The serving side: wait for the next channel on a control socket. A descriptor that the caller owns, or ERR_CLOSED, or ERR_STOPPED,
 * or 0 with the frame in ret_frame when something other than a channel came (owned by `owner`). A channel that comes when no descriptor is left
 * is lost, and nothing else. */
int peer_accept(const void *owner, int control_fd, int stop_fd, struct frame **ret_frame);
