/* The ask and its answer, field by field in the same order. An ask changes nothing, so it is simply repeated when its answer is lost. */
#include "pki/sign.h"

#include <poll.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "ipc/frame.h"
#include "ipc/peer.h"

enum { AGAIN_MS = 20 };

_Static_assert((int)SIGN_BYTES_MAX < (int)FRAME_INLINE_MAX, "an ask needs no memfd");

static struct frame *ask_frame(const struct sign_request *request)
{
	struct frame *ask = frame_new(NULL, FRAME_SIGN);

	frame_put_text(ask, (struct text){ (const char *)request->key.bytes, DIGEST_SIZE });
	frame_put_number(ask, request->kind);
	frame_put_number(ask, request->digest);
	frame_put_number(ask, request->version);
	frame_put_text(ask, request->bytes);
	return ask;
}

bool sign_read(struct frame *ask, struct sign_request *ret_request)
{
	const struct text key = frame_get_text(ask);

	*ret_request = (struct sign_request){
		.kind = (enum key_use_kind)frame_get_range(ask, 0, KEY_USE_KIND_END - 1),
		.digest = (enum key_use_digest)frame_get_range(ask, 0, KEY_USE_DIGEST_END - 1),
		.version = (unsigned)frame_get_range(ask, 0, UINT16_MAX),
		.bytes = frame_get_text(ask),
	};
	if (ask->kind != FRAME_SIGN || frame_done(ask) < 0 || key.len != DIGEST_SIZE ||
		ret_request->bytes.len > SIGN_BYTES_MAX)
		return false;
	memcpy(ret_request->key.bytes, key.at, DIGEST_SIZE);
	return true;
}

struct frame *sign_answer(const void *owner, enum key_use verdict, struct text bytes)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_number(answer, verdict);
	frame_put_text(answer, bytes);
	return answer;
}

static int answer_read(struct frame *answer, char *ret_bytes, enum key_use *ret_verdict)
{
	enum key_use verdict = (enum key_use)frame_get_range(answer, 0, KEY_USE_VERDICT_END - 1);
	struct text bytes = frame_get_text(answer);

	if (answer->kind != FRAME_ANSWER || frame_done(answer) < 0 || bytes.len > SIGN_BYTES_MAX ||
		(bytes.len > 0) != (verdict == KEY_USE_YES))
		return ERR_FORMAT;
	memcpy(ret_bytes, bytes.at, bytes.len);
	*ret_verdict = verdict;
	return (int)bytes.len;
}

static int ask_once(struct peer *keys, const struct frame *ask, int stop_fd, int64_t deadline,
	char *ret_bytes, enum key_use *ret_verdict)
{
	struct frame *answer;
	int r = peer_ask(keys, NULL, ask, stop_fd, deadline, &answer);

	if (r < 0)
		return r;
	r = answer_read(answer, ret_bytes, ret_verdict);
	if (answer->mapped == 0)
		explicit_bzero(answer->at, answer->len); /* it may be the secret of a session */
	talloc_free(answer);
	return r;
}

int sign_ask(struct peer *keys, const struct sign_request *request, int stop_fd, int64_t deadline,
	char *ret_bytes, enum key_use *ret_verdict)
{
	struct frame *ask = ask_frame(request);
	int r;

	for (;;) {
		enum key_use verdict = KEY_USE_YES;

		r = ask_once(keys, ask, stop_fd, deadline, ret_bytes, &verdict);
		*ret_verdict = verdict;
		if (r != ERR_CLOSED && verdict != KEY_USE_TOO_OFTEN)
			break;
		if (clock_mono_ms() + AGAIN_MS >= deadline)
			break;
		if (io_wait(-1, POLLIN, stop_fd, clock_mono_ms() + AGAIN_MS) == ERR_STOPPED) {
			r = ERR_STOPPED;
			break;
		}
	}
	talloc_free(ask);
	return r;
}
