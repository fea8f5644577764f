#pragma once
/* The frame of PEM files (RFC 7468): where blocks begin and end, and what they are called. What is in them is not looked at. Pure. */

#include <stdbool.h>

#include "base/text.h"

struct pem_frame {
	struct text label; /* "CERTIFICATE" */
	struct text whole; /* from its BEGIN line to the end of its END line */
};

/* The next whole block of `rest`, which is moved behind it; both borrow from it. False when there is none. A block without its own END line,
 * because another one begins before, is passed over. */
bool pem_frame_next(struct text *rest, struct pem_frame *ret_block);

/* True when a block of this label is a certificate. */
bool pem_frame_is_certificate(struct text label);
