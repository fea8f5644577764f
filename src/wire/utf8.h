#pragma once
/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing over U+10FFFF. */

#include "base/text.h"

/* The character at the start of `t` (not empty): its length in bytes (1..4) and its code point; 0 when the bytes are malformed or cut. */
size_t utf8_first(struct text t, uint32_t *ret_code);

/* True when all of `t` is well-formed; the empty text is. */
bool utf8_valid(struct text t);
