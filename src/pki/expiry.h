#pragma once
/* When certificates end. */

#include <stdint.h>

#include "base/text.h"

/* Seconds from `now_ms` (clock_wall_ms()) until the first certificate of a PEM chain expires; negative when it has. 0, or ERR_FORMAT
 * when there is no certificate. */
int expiry_of_chain(struct text pem, int64_t now_ms, int64_t *ret_seconds);
