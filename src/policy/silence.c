/* Silence is counted in looks, not by the clock alone: six of them make the end, whatever passes between two. */
#include "policy/silence.h"

#include "base/base.h"

enum silence_step silence_look(struct silence *silence, int64_t passed_ms)
{
	if (!silence->asked) {
		*silence = (struct silence){ .asked = true };
		return SILENCE_ASK;
	}
	silence->waits_ms += MAX(MIN(passed_ms, (int64_t)SILENCE_LOOK_MS), (int64_t)0);
	if (silence->given_up || silence->waits_ms < SILENCE_END_MS)
		return SILENCE_WAIT;
	silence->given_up = true;
	return SILENCE_END;
}

void silence_missed(struct silence *silence)
{
	silence->asked = true;
	silence->waits_ms = MAX(silence->waits_ms, (int64_t)SILENCE_LOOK_MS);
}

void silence_heard(struct silence *silence)
{
	if (!silence->given_up)
		*silence = (struct silence){ 0 };
}
