#pragma once
/* SOCK_SEQPACKET socket pairs that carry frames. Deadlines are absolute clock_mono_ms() values. */

#include <stdint.h>

struct frame;

/* A connected pair of non-blocking, close-on-exec descriptors; 0, or a negative errno. */
int channel_pair(int ret_fds[2]);

/* Send `frame`, waiting for room until the deadline; its descriptors stay the frame's. A body over FRAME_INLINE_MAX
 * travels in a sealed memfd. 0, -ETIMEDOUT, ERR_CLOSED (the other end is gone), or ERR_FORMAT (the frame had failed). */
int channel_send(int fd, const struct frame *frame, int64_t deadline);

/* Receive one frame, owned by `owner`. `stop_fd` (or -1) readable ends the wait. 0, -ETIMEDOUT, ERR_CLOSED, ERR_STOPPED,
 * ERR_FORMAT, or -EMFILE: there was no descriptor left for what the frame brought, and it is lost. */
int channel_receive(const void *owner, int fd, int stop_fd, int64_t deadline, struct frame **ret_frame);
