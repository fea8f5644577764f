#pragma once
/* Time. Timers use the monotonic clock, stored times the wall clock; both are int64_t milliseconds. */

#include <stdint.h>

enum { CLOCK_TEXT_MAX = 40 };

/* Milliseconds of the monotonic clock; for deadlines and timers. */
int64_t clock_mono_ms(void);

/* Microseconds of the monotonic clock; for measuring what takes less than milliseconds. */
int64_t clock_mono_us(void);

/* Milliseconds since 1970-01-01 UTC; for what is stored or shown. */
int64_t clock_wall_ms(void);

/* Write `wall_ms` as `2026-11-21T10:20:30.123Z` into `ret_text` (CLOCK_TEXT_MAX bytes); returns ret_text. */
char *clock_iso(int64_t wall_ms, char *ret_text);

/* Write `wall_ms` as an RFC 5322 date in UTC into `ret_text` (CLOCK_TEXT_MAX bytes); returns ret_text. */
char *clock_mail_date(int64_t wall_ms, char *ret_text);

/* Read `2026-11-21`, `2026-11-21T10:20:30Z` (seconds may be missing; `+02:00` for `Z`; without either it is UTC; a space for `T`), or an age before
 * `now_ms` such as `90s`, `7d`, `2h30m`; 0, or -EINVAL. */
int clock_parse(const char *text, int64_t now_ms, int64_t *ret_wall_ms);
