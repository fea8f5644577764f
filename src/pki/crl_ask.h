#pragma once
/* Asking role `upkeep` to fetch a list of revoked certificates now. Ask and answer stand in one file. */

#include <stdbool.h>

struct frame;

struct crl_outcome {
	bool fine;	    /* the list was fetched, and can be used */
	bool renewed;	    /* it is another one than before */
	const char *reason; /* why not; of a fine one why the secondary URL was needed, else empty */
};

/* For `source` (a name), or for what is asked: both owned by `owner`. */
struct frame *crl_ask_frame(const void *owner, const char *source);
/* What came back; false when it is malformed. */
bool crl_ask_result(const void *owner, struct frame *answer, struct crl_outcome *ret_outcome);

/* The serving side: the name, owned by `owner`, or NULL for a malformed ask; and the answer. */
const char *crl_ask_read(const void *owner, struct frame *ask);
struct frame *crl_ask_answer(const void *owner, const struct crl_outcome *outcome);
