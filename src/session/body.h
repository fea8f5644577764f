#pragma once
/* The content of a mail while it is received: in memory up to ENVELOPE_INLINE_MAX, then in a file of `queue`. */

#include "queue/envelope.h"

struct peer;

struct body {
	struct content content; /* what queue_commit() takes */
	char *memory;
	size_t len, room;
};

/* An empty body owned by `owner`; its file is closed with it. */
struct body *body_new(const void *owner);

/* Append bytes; 0, or a negative error (-ENOSPC, ERR_CLOSED: `queue` cannot take it now). */
int body_add(struct body *body, struct peer *queue, int stop_fd, struct text bytes);

/* The content is complete: from now on, body->content is all of it. Errors as of body_add(). */
int body_end(struct body *body, struct peer *queue, int stop_fd);
