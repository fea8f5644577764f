#include "pki/crl_ask.h"

#include "ipc/frame.h"

struct frame *crl_ask_frame(const void *owner, const char *source)
{
	struct frame *ask = frame_new(owner, FRAME_CRL_UPDATE);

	frame_put_text(ask, text_of(source));
	return ask;
}

bool crl_ask_result(const void *owner, struct frame *answer, struct crl_outcome *ret_outcome)
{
	ret_outcome->fine = frame_get_bool(answer);
	ret_outcome->renewed = frame_get_bool(answer);
	ret_outcome->reason = frame_get_copy(answer, owner);
	return frame_done(answer) == 0;
}

const char *crl_ask_read(const void *owner, struct frame *ask)
{
	const char *name = frame_get_copy(ask, owner);

	return frame_done(ask) == 0 ? name : NULL;
}

struct frame *crl_ask_answer(const void *owner, const struct crl_outcome *outcome)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_bool(answer, outcome->fine);
	frame_put_bool(answer, outcome->renewed);
	frame_put_text(answer, text_of(outcome->reason));
	return answer;
}
