#pragma once
/* When certificates end. */

#include <stdint.h>

#include "base/text.h"

/* The steps at which an operator is told: 30, 14, 7 and 1 days before the end, at the end, and 1, 7, 14 and 30 days after it (B20). */
enum { EXPIRY_FINE, EXPIRY_ENDED = 5, EXPIRY_STEPS = 10 };

/* Seconds from `now_ms` (clock_wall_ms()) until the first certificate of a PEM chain expires; negative when it has. 0, or ERR_FORMAT
 * when there is no certificate. */
int expiry_of_chain(struct text pem, int64_t now_ms, int64_t *ret_seconds);

/* How many steps a certificate with so many seconds left has passed: EXPIRY_FINE = none, from EXPIRY_ENDED on it has ended. */
int expiry_step(int64_t seconds_left);

/* Seconds until it passes the next step; INT64_MAX behind the last one. */
int64_t expiry_next(int64_t seconds_left);

/* "fine", "expires" or "expired"; static. */
const char *expiry_word(int64_t seconds_left);
