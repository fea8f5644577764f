#pragma once
/* When a role that does not answer is given up. Pure; all times are milliseconds. */

#include <stdbool.h>
#include <stdint.h>

enum {
	SILENCE_LOOK_MS = 5000, /* between two looks */
	SILENCE_END_MS = 30000, /* an answer that is owed for so long does not come any more */
};

/* What a role owes; all zero = nothing. */
struct silence {
	bool asked, given_up;
	int64_t waits_ms; /* how long the question has waited, as far as it counts */
};

enum silence_step {
	SILENCE_ASK,  /* it owes nothing: ask */
	SILENCE_WAIT, /* its answer may still come, or it was given up before */
	SILENCE_END,  /* give it up; said once */
};

/* A look, `passed_ms` after the last one. Of a longer pause than there should be only that counts: the one who looks did not run either (the
 * machine was suspended, or is overloaded), so whoever is silent at once after it may have had no time to answer. */
enum silence_step silence_look(struct silence *silence, int64_t passed_ms);

/* Somebody else waited for an answer in vain. */
void silence_missed(struct silence *silence);

/* It said something. */
void silence_heard(struct silence *silence);
