/* A mail from `front` to `queue`: content up to 128 KiB travels in the frame (in a memfd when it is large for one), more in a file that
 * `queue` made, so that its directory, free space and syncs are decided in one place. */
#include "queue/queue.h"

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"

enum { COMMIT_MS = 300000, NEW_FILE_MS = 30000, ROOM_MS = 5000 };

int queue_commit(struct peer *queue, const struct envelope *envelope, const struct content *content,
	int stop_fd, int64_t *ret_mid)
{
	struct frame *ask = frame_new(NULL, FRAME_COMMIT), *answer;

	envelope_put(ask, envelope);
	envelope_put_content(ask, content);
	int r = peer_ask(queue, ask, ask, stop_fd, clock_mono_ms() + COMMIT_MS, &answer);
	if (r == 0) {
		int64_t mid = frame_get_number(answer);

		r = frame_done(answer) < 0 || mid == 0 || mid < INT32_MIN ? ERR_FORMAT
									  : (int)MIN(mid, (int64_t)0);
		if (r == 0)
			*ret_mid = mid;
	}
	talloc_free(ask);
	return r;
}

int queue_commit_take(struct frame *ask, struct envelope *ret_envelope, struct content *ret_content)
{
	envelope_get(ask, ask, ret_envelope);
	envelope_get_content(ask, ret_content);
	if (frame_done(ask) == 0)
		return 0;
	base_close(&ret_content->fd);
	return ERR_FORMAT;
}

struct frame *queue_commit_reply(const void *owner, int64_t mid)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_number(answer, mid);
	return answer;
}

struct frame *queue_commit_answer(struct store *store, struct frame *ask, const void *owner)
{
	struct envelope envelope;
	struct content content;
	int64_t mid;

	if (queue_commit_take(ask, &envelope, &content) < 0)
		return NULL;

	int r = store_commit(store, &envelope, &content, &mid);
	base_close(&content.fd);
	return queue_commit_reply(owner, r < 0 ? r : mid);
}

int queue_new_file(struct peer *queue, uint64_t size, int stop_fd)
{
	struct frame *ask = frame_new(NULL, FRAME_NEW_FILE), *answer;

	frame_put_number(ask, (int64_t)size);
	int r = peer_ask(queue, ask, ask, stop_fd, clock_mono_ms() + NEW_FILE_MS, &answer);
	if (r == 0) {
		r = (int)frame_get_range(answer, INT32_MIN, 0);
		if (r == 0)
			r = frame_get_fd(answer);
		if (frame_done(answer) < 0) {
			base_close(&r);
			r = ERR_FORMAT;
		}
	}
	talloc_free(ask);
	return r;
}

struct frame *queue_new_file_reply(const void *owner, int fd)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_number(answer, MIN(fd, 0));
	if (fd >= 0)
		frame_put_fd(answer, fd);
	return answer;
}

struct frame *queue_new_file_answer(struct store *store, struct frame *ask, const void *owner)
{
	uint64_t size = (uint64_t)frame_get_range(ask, 0, INT64_MAX);

	return frame_done(ask) < 0 ? NULL : queue_new_file_reply(owner, store_new_file(store, size));
}

int queue_room(struct peer *queue, uint64_t size, int stop_fd)
{
	struct frame *ask = frame_new(NULL, FRAME_ROOM), *answer;

	frame_put_number(ask, (int64_t)MIN(size, (uint64_t)INT64_MAX));
	int r = peer_ask(queue, ask, ask, stop_fd, clock_mono_ms() + ROOM_MS, &answer);
	if (r == 0) {
		r = (int)frame_get_range(answer, INT32_MIN, 0);
		if (frame_done(answer) < 0)
			r = ERR_FORMAT;
	}
	talloc_free(ask);
	return r;
}

struct frame *queue_room_answer(struct store *store, struct frame *ask, const void *owner)
{
	uint64_t size = (uint64_t)frame_get_range(ask, 0, INT64_MAX);

	return frame_done(ask) < 0 ? NULL : queue_commit_reply(owner, store_room(store, size));
}
