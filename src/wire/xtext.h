#pragma once
/* xtext of RFC 3461 section 4: printable ASCII without `+` and `=`, everything else as +XX (upper-case hexadecimal). */

#include "base/text.h"

/* Decode into `out` (room for t.len bytes). 0 and the length, or ERR_FORMAT: `+` without two upper-case hex digits, `=`, a control, a
 * space, a byte over 0x7e, or +00. */
int xtext_decode(struct text t, char *out, size_t *ret_len);

/* Encode into `out` (room for 3 * t.len bytes); the length. decode(encode(x)) = x for every x without NUL. */
size_t xtext_encode(struct text t, char *out);
