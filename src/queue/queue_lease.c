/* Mail from `queue` to `deliver` and its outcome back. A lease belongs to one incarnation of `deliver`, which announces itself first. */
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "queue/queue.h"

enum {
	SLACK_MS = 30000,
	RECORD_MS = 60000,
	NOTE_MS = 10000,
	WAIT_MAX_MS = 60000,
	HELD_MAX = 1000,
	NOTES_MAX = 1000
};

/* The answer to an ask that may lend: what came of it, and the lease, if there is one. */
static struct frame *lending_answer(const void *owner, int result)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_number(answer, result);
	return answer;
}

static struct frame *put_lent(struct frame *answer, const struct lease *lease)
{
	frame_put_bool(answer, lease != NULL);
	if (lease != NULL)
		envelope_put_lease(answer, lease);
	return answer;
}

static int ask_lending(struct peer *queue, const void *owner, struct frame *ask, int64_t within_ms,
	int stop_fd, struct lease **ret_lease)
{
	struct frame *answer;
	int r = peer_ask(queue, ask, ask, stop_fd, clock_mono_ms() + within_ms, &answer);

	*ret_lease = NULL;
	if (r == 0)
		r = (int)frame_get_range(answer, INT32_MIN, 0);
	if (r == 0 && frame_get_bool(answer)) {
		*ret_lease = envelope_get_lease(answer, owner);
		r = *ret_lease == NULL ? ERR_FORMAT : 0;
	} else if (r == 0 && frame_done(answer) < 0) {
		r = ERR_FORMAT;
	}
	talloc_free(ask);
	return r;
}

int queue_lease(struct peer *queue, const void *owner, const char *prefer, int64_t wait_ms, int stop_fd,
	struct lease **ret_lease)
{
	struct frame *ask = frame_new(NULL, FRAME_LEASE);

	frame_put_optional(ask, prefer);
	frame_put_number(ask, wait_ms);
	return ask_lending(queue, owner, ask, wait_ms + SLACK_MS, stop_fd, ret_lease);
}

struct frame *queue_lease_answer(struct store *store, struct frame *ask, const void *owner, uint64_t lessee)
{
	const char *prefer = frame_get_optional(ask);
	int64_t wait_ms = frame_get_range(ask, 0, WAIT_MAX_MS);
	struct lease *lease;

	if (frame_done(ask) < 0)
		return NULL;

	struct frame *answer = lending_answer(owner, 0);
	if (store_lease(store, answer, lessee, prefer, wait_ms, &lease) < 0)
		lease = NULL;
	return put_lent(answer, lease);
}

int queue_record(struct peer *queue, const void *owner, const struct outcome *outcome, const char *prefer,
	int stop_fd, struct lease **ret_lease)
{
	struct frame *ask = frame_new(NULL, FRAME_RECORD);

	frame_put_optional(ask, prefer);
	envelope_put_outcome(ask, outcome);
	return ask_lending(queue, owner, ask, RECORD_MS, stop_fd, ret_lease);
}

struct frame *queue_record_answer(struct store *store, struct frame *ask, const void *owner, uint64_t lessee)
{
	const char *prefer = frame_get_optional(ask);
	struct outcome *outcome = envelope_get_outcome(ask, ask);
	struct lease *lease = NULL;

	if (outcome == NULL)
		return NULL;

	int r = store_record(store, outcome);
	struct frame *answer = lending_answer(owner, r);
	if (r == 0 && prefer != NULL && store_lease(store, answer, lessee, prefer, 0, &lease) < 0)
		lease = NULL;
	return put_lent(answer, lease);
}

char *queue_lease_lent(struct frame *answer, const void *owner, int64_t *ret_mid)
{
	frame_get_number(answer); /* result */
	if (!frame_get_bool(answer))
		return NULL;

	*ret_mid = frame_get_number(answer);
	frame_get_text(answer); /* destination */
	return frame_get_copy(answer, owner);
}

static int ask_number(struct peer *queue, struct frame *ask, int64_t within_ms, int stop_fd)
{
	struct frame *answer;
	int r = peer_ask(queue, ask, ask, stop_fd, clock_mono_ms() + within_ms, &answer);

	if (r == 0) {
		r = (int)frame_get_range(answer, INT32_MIN, 0);
		if (frame_done(answer) < 0)
			r = ERR_FORMAT;
	}
	talloc_free(ask);
	return r;
}

static struct frame *number_answer(const void *owner, int number)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_number(answer, number);
	return answer;
}

int queue_note(struct peer *queue, const struct store_refusal *refusals, size_t count, int stop_fd)
{
	struct frame *ask = frame_new(NULL, FRAME_NOTES);

	frame_put_number(ask, (int64_t)count);
	for (size_t i = 0; i < count; i++) {
		const struct store_refusal *n = &refusals[i];
		const char *const texts[] = { n->icid, n->client, n->helo, n->tls, n->sender, n->recipient,
			n->reply };

		frame_put_number(ask, n->time_ms);
		for (size_t t = 0; t < COUNT(texts); t++)
			frame_put_text(ask, text_of(texts[t]));
	}
	return ask_number(queue, ask, NOTE_MS, stop_fd);
}

struct frame *queue_note_answer(struct store *store, struct frame *ask, const void *owner)
{
	size_t count = (size_t)frame_get_range(ask, 0, NOTES_MAX);
	struct store_refusal *refusals =
		text_must(talloc_zero_array(ask, struct store_refusal, (unsigned)count + 1));

	for (size_t i = 0; i < count; i++) {
		struct store_refusal *n = &refusals[i];
		const char **const texts[] = { &n->icid, &n->client, &n->helo, &n->tls, &n->sender,
			&n->recipient, &n->reply };

		n->time_ms = frame_get_number(ask);
		for (size_t t = 0; t < COUNT(texts); t++)
			*texts[t] = frame_get_copy(ask, refusals);
	}
	return frame_done(ask) < 0 ? NULL : number_answer(owner, store_note(store, refusals, count));
}

struct frame *queue_announce(const void *owner, uint64_t lessee, const struct queue_held *held, size_t count)
{
	struct frame *frame = frame_new(owner, FRAME_ANNOUNCE);

	frame_put_number(frame, (int64_t)lessee);
	frame_put_number(frame, (int64_t)count);
	for (size_t i = 0; i < count; i++) {
		frame_put_number(frame, held[i].mid);
		frame_put_text(frame, text_of(held[i].domain));
	}
	return frame;
}

uint64_t queue_announced(struct store *store, struct frame *frame)
{
	uint64_t lessee = (uint64_t)frame_get_range(frame, 1, INT64_MAX);
	size_t count = (size_t)frame_get_range(frame, 0, HELD_MAX);

	for (size_t i = 0; i < count && !frame->failed; i++) {
		int64_t mid = frame_get_number(frame);
		char *domain = frame_get_copy(frame, frame);

		store_claim(store, lessee, mid, domain);
	}
	if (frame_done(frame) < 0)
		return 0;
	store_admit(store, lessee);
	return lessee;
}
