#pragma once
/* One message between two roles: a kind, a body of packed fields, and up to 128 descriptors.
 * The reader takes the fields in the order in which the writer put them; every length is checked. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum { FRAME_FDS_MAX = 128, FRAME_INLINE_MAX = 60 * 1024, FRAME_BODY_MAX = 64 * 1024 * 1024 };

/* Every kind of frame of the house. An ask is answered by FRAME_ANSWER on the same channel. */
enum frame_kind {
	FRAME_ANSWER = 1,
	/* master -> role, on the role's control socket */
	FRAME_GENERATION, /* prepare this generation; answered by READY or REFUSED */
	FRAME_USE,	  /* use the prepared generation */
	FRAME_DROP,	  /* forget the prepared generation */
	FRAME_PEER,	  /* a control socket to another role */
	FRAME_STATS,	  /* answered by ANSWER */
	FRAME_STOP,	  /* drain, then end */
	FRAME_READY,
	FRAME_REFUSED,
	/* any role -> its peer, on their control socket */
	FRAME_CHANNEL,	/* here is one end of a new channel */
	FRAME_ANNOUNCE, /* deliver -> queue: what I hold */
	/* asks to queue */
	FRAME_COMMIT,
	FRAME_NEW_FILE,
	FRAME_LEASE,
	FRAME_RECORD,
	FRAME_NOTES,
	FRAME_TRACK,
	FRAME_ROOM,
	FRAME_QUEUE_LIST,
	FRAME_QUEUE_APPLY,
	FRAME_QUEUE_SUSPEND,
	FRAME_QUEUE_STATUS,
	FRAME_QUEUE_DESTINATIONS,
	FRAME_QUEUE_CONTENT,
	FRAME_BACKUP,
	/* asks to deliver */
	FRAME_VERIFY,
	FRAME_EXPLAIN,
	FRAME_CLEAR_HOSTS, /* the temporary list */
	/* asks to resolver */
	FRAME_DNS,
	/* asks to keys */
	FRAME_SIGN,
	/* asks to upkeep */
	FRAME_CRL_UPDATE,
	FRAME_OCSP,
	/* upkeep -> master, on a socket between them */
	FRAME_CHANGED, /* files of upkeep's directory changed: which parts */
	/* command line -> master */
	FRAME_CONTROL_STATUS,
	FRAME_CONTROL_RELOAD,
	FRAME_CONTROL_CHANGED, /* log that the store of certificates or a list of authorities was changed */
	FRAME_CONTROL_TRUST,   /* read the authorities anew, and nothing else */
	FRAME_CONTROL_STOP,
	FRAME_CONTROL_QUEUE,	/* hand me a channel to queue */
	FRAME_CONTROL_RESOLVER, /* hand me a channel to resolver */
	FRAME_CONTROL_UPKEEP,	/* hand me a channel to upkeep */
	FRAME_CONTROL_DELIVER,	/* hand me a channel to deliver */
	FRAME_CONTROL_LISTS,	/* take the lists of revoked certificates into use that were fetched */
	FRAME_KIND_END,
};

struct frame {
	uint16_t kind;
	uint8_t *at;
	size_t len, room;
	size_t read; /* bytes taken so far */
	bool failed; /* a get ran past the end, or a put was too large */
	unsigned fd_count, fd_read;
	int fds[FRAME_FDS_MAX];
	size_t mapped; /* bytes to unmap when the body came in a memfd; 0 = talloc memory */
};

/* An empty frame owned by talloc parent `owner`; frees its descriptors and mapping with itself. */
struct frame *frame_new(const void *owner, enum frame_kind kind);

void frame_put_bool(struct frame *frame, bool value);
void frame_put_number(struct frame *frame, int64_t value);
void frame_put_text(struct frame *frame, struct text value);

/* A text, or NULL, which is not the empty text. */
void frame_put_optional(struct frame *frame, const char *text);

/* Adds a descriptor; the frame owns it from now on. At most FRAME_FDS_MAX. */
void frame_put_fd(struct frame *frame, int fd);

/* Take the next field; a missing or malformed one sets frame->failed and gives false, 0, empty text, -1. */
bool frame_get_bool(struct frame *frame);
int64_t frame_get_number(struct frame *frame);

/* As frame_get_number(), and outside [min, max] the frame has failed and `min` is returned. */
int64_t frame_get_range(struct frame *frame, int64_t min, int64_t max);

/* Borrowed from the frame. */
struct text frame_get_text(struct frame *frame);

/* A copy of the next text, owned by `owner`. */
char *frame_get_copy(struct frame *frame, const void *owner);

/* What frame_put_optional() put; owned by the frame. */
const char *frame_get_optional(struct frame *frame);

/* The next descriptor; the caller owns it. */
int frame_get_fd(struct frame *frame);

/* 0 when every get succeeded and nothing is left over, else ERR_FORMAT. */
int frame_done(const struct frame *frame);
