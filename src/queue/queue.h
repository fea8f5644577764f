#pragma once
/*
 * Asking role `queue` from another process, and answering there. Each ask stands beside its answer in one file, with the fields in
 * the same order. Asks block until the answer, the deadline, or the end of the role: then they fail with a temporary error.
 */

#include <stdint.h>

#include "queue/envelope.h"
#include "queue/store.h"

struct frame;
struct peer;

/* Hand over a mail; when this returns 0 it is durable and ret_mid is its id: only now may a client hear 250. Waits as long as `queue`
 * lives, at most 300 s. -ENOSPC and the like: not stored, try later; ERR_CLOSED, -ETIMEDOUT: not known to be stored. */
int queue_commit(struct peer *queue, const struct envelope *envelope, const struct content *content,
	int stop_fd, int64_t *ret_mid);

/* A file for content over ENVELOPE_INLINE_MAX, `size` bytes expected (0 = unknown); the descriptor, or a negative error. */
int queue_new_file(struct peer *queue, uint64_t size, int stop_fd);

/* Whether a mail of `size` bytes (0 = unknown) has room: 0, -ENOSPC, or another negative error when it could not be asked. */
int queue_room(struct peer *queue, uint64_t size, int stop_fd);

/* Borrow the next mail that is due, of destination `prefer` only or of any (NULL), waiting up to `wait_ms`; NULL in ret_lease when
 * nothing was due. The lease is owned by `owner`. 0 or a negative error. */
int queue_lease(struct peer *queue, const void *owner, const char *prefer, int64_t wait_ms, int stop_fd,
	struct lease **ret_lease);

/* Report what became of a lease; 0 when it is recorded durably. May be repeated until it is. In the same ask, unless `prefer` is NULL, borrow
 * more mail as queue_lease() does, without waiting. */
int queue_record(struct peer *queue, const void *owner, const struct outcome *outcome, const char *prefer,
	int stop_fd, struct lease **ret_lease);

/* Refused connections and recipients, for tracking only. 0 or a negative error. */
int queue_note(struct peer *queue, const struct store_refusal *refusals, size_t count, int stop_fd);

/* The serving side of one ask: the answer frame, owned by `owner`; NULL for a malformed or unknown ask (close the channel then). */
struct frame *queue_commit_answer(struct store *store, struct frame *ask, const void *owner);
struct frame *queue_new_file_answer(struct store *store, struct frame *ask, const void *owner);
struct frame *queue_room_answer(struct store *store, struct frame *ask, const void *owner);
struct frame *queue_lease_answer(struct store *store, struct frame *ask, const void *owner, uint64_t lessee);
struct frame *queue_record_answer(struct store *store, struct frame *ask, const void *owner, uint64_t lessee);
/* What one of these two answers lends: its domain, owned by `owner`, and its mid; NULL when it lends nothing. The answer is used up by it and must
 * have been sent. */
char *queue_lease_lent(struct frame *answer, const void *owner, int64_t *ret_mid);
struct frame *queue_note_answer(struct store *store, struct frame *ask, const void *owner);

/* Unpack a commit ask, for queue_commit_answer() and for the sink: both borrow from `ask`; content fd is the caller's. 0 or ERR_FORMAT. */
int queue_commit_take(struct frame *ask, struct envelope *ret_envelope, struct content *ret_content);

/* The answer to a commit: `mid`, or a negative error. */
struct frame *queue_commit_reply(const void *owner, int64_t mid);

/* The answer to a new-file ask: the descriptor (given), or a negative error. */
struct frame *queue_new_file_reply(const void *owner, int fd);

/* What `deliver` holds, sent on the control socket to a `queue` before anything is leased: its incarnation and (mid, domain) pairs. */
struct queue_held {
	int64_t mid;
	const char *domain;
};
struct frame *queue_announce(const void *owner, uint64_t lessee, const struct queue_held *held, size_t count);
/* Claim everything in the frame for the announcer and admit it; its incarnation, or 0 when malformed. */
uint64_t queue_announced(struct store *store, struct frame *frame);
