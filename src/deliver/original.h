#pragma once
/* The part of a report that gives the original back: whole, or its header. */

#include "queue/envelope.h"

struct original {
	const char *type;  /* of the MIME part; static */
	struct text bytes; /* lines end with CRLF, the last one too; owned by the owner */
	bool eight_bit;	   /* a byte over 0x7f is in it */
};

/* What of `content` goes into a report. whole: all of it, if that passes everywhere, else the header, in which every byte that is not printable
 * ASCII becomes `?`. global: a reader who knows RFC 6533, so well-formed UTF-8 may stay in the header. Owned by `owner`. */
struct original original_of(const void *owner, const struct content *content, bool whole, bool global);
