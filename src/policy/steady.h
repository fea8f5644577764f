#pragma once
/*
 * The queue's own clock, which no jump of the wall clock moves: it runs with the monotonic clock while the gateway runs, and over a
 * restart by what the wall clock says, within bounds. Pure: both clocks are passed in. All times are milliseconds.
 */

#include <stdint.h>

enum {
	STEADY_REST_MS =
		60 * 60 * 1000,	    /* a gateway that was off for at most this long was old mail's time too */
	STEADY_JUMP_MS = 60 * 1000, /* what is called a jump */
};

struct steady {
	int64_t now_ms;		  /* what this clock says; comparable with itself only */
	int64_t wall_ms, mono_ms; /* when it was looked at last */
};

/* Go on from what was saved: what this clock and the wall clock said then. ret_jump_ms: how much of the time since then does not count
 * because the wall clock says more than STEADY_REST_MS of it, or less than nothing; 0 = all counts. */
struct steady steady_resume(
	int64_t saved_ms, int64_t saved_wall_ms, int64_t wall_ms, int64_t mono_ms, int64_t *ret_jump_ms);

/* Move on to now. Returns how far the wall clock has jumped since the last look, 0 when it has not (by STEADY_JUMP_MS or more). */
int64_t steady_tick(struct steady *steady, int64_t wall_ms, int64_t mono_ms);
