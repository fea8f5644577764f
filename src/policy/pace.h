#pragma once
/* How many connections at once a destination is trusted with: it grows with every answer and is halved by every failure. Pure. */

#include <stdbool.h>
#include <stdint.h>

struct pace {
	unsigned allowed; /* connections at once; at least 1 */
	unsigned
		failures; /* times in a row that it was given up; not 0 = one connection at a time, as a probe */
	bool answered;	  /* it did the last time */
};

enum { PACE_START = 2 };

/* A destination that nobody has spoken to yet. */
struct pace pace_new(void);

/* After an answer: one connection more, `most` at most; a destination that had been given up starts anew. */
struct pace pace_after_answer(struct pace pace, unsigned most);

/* After a failure: half as many. ret_give_up: one was all that was left, so nothing goes there for a while. */
struct pace pace_after_failure(struct pace pace, bool *ret_give_up);

/* Connections that one destination may have at once when `concurrency` is the configured limit, `open` of all `total` connections are in
 * use and `own` of those are its own: no more than are left free then, so that the next destination always finds one. `total` 0 = any number. */
bool pace_has_place(struct pace pace, unsigned own, unsigned open, unsigned concurrency, unsigned total);

/* The same for all destinations together that have not answered: half of `total`, so that those that do are never without. */
bool pace_has_place_for_silent(unsigned silent, unsigned total);

/* When the next mail may follow one that was sent at `now_us`, at `rate` mails a minute (0 = any number), and at `next_us` at the earliest. */
int64_t pace_next_us(int64_t next_us, int64_t now_us, uint64_t rate);
