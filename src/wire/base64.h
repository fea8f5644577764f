#pragma once
/* Base64 (RFC 4648 section 4), as AUTH carries credentials. */

#include <stddef.h>

#include "base/text.h"

/* Room that base64_encode() needs for `len` bytes, with its final NUL. */
#define BASE64_ROOM(len) (((len) + 2) / 3 * 4 + 1)

/* Write `bytes` in base64, padded and with a final NUL, into `ret_text` (BASE64_ROOM(bytes.len) bytes); returns the length without the NUL. */
size_t base64_encode(struct text bytes, char *ret_text);
