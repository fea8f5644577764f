#pragma once
/* When certificates end, and what else has an end. */

#include <stdint.h>

#include "base/text.h"

/* The steps at which an operator is told: when a third of the life is left, but at most 120 days (conformance 8.24); 30, 14, 7 and 1 days before the end; at the end;
 * and 1, 7, 14 and 30 days after it (B20). */
enum { EXPIRY_FINE, EXPIRY_ENDED = 6, EXPIRY_STEPS = 11 };

/* Of a certificate, or of whatever else is valid from then to then; seconds. */
struct expiry {
	int64_t left_s; /* until it ends; negative when it has */
	int64_t life_s; /* from its begin to its end; 0 = not known */
};

/* What begins and ends then (wall clock, seconds), at `now_s`. */
struct expiry expiry_of(int64_t begins_s, int64_t ends_s, int64_t now_s);

/* That of the certificate of a PEM chain which ends first, at `now_ms` (clock_wall_ms()). 0, or ERR_FORMAT when there is no certificate. */
int expiry_of_chain(struct text pem, int64_t now_ms, struct expiry *ret_expiry);

/* How many steps it has passed: EXPIRY_FINE = none, from EXPIRY_ENDED on it has ended. */
int expiry_step(const struct expiry *expiry);

/* The same for what is made anew all the time, such as a list of revoked certificates: no step before the last quarter of its life. */
int expiry_step_late(const struct expiry *expiry);

/* Seconds until it passes the next step; INT64_MAX behind the last one. */
int64_t expiry_next(const struct expiry *expiry);

/* "fine", "expires" or "expired"; static. */
const char *expiry_word(const struct expiry *expiry);
