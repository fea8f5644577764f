#pragma once
/* When something that is done again and again is due: every so often, each day, or one day each week. Pure; all times are UTC, like those of the log. */

#include <stdint.h>

enum timetable_kind { TIMETABLE_EVERY, TIMETABLE_DAILY, TIMETABLE_WEEKLY };

struct timetable {
	enum timetable_kind kind;
	int64_t every_ms; /* TIMETABLE_EVERY */
	unsigned weekday; /* TIMETABLE_WEEKLY; 0 = Sunday */
	unsigned minute;  /* of the day, of the other two */
};

/* The first time at which it is due after `last_ms` (wall clock; 0 = it was never done, so it is due now). A clock that was set back since makes nobody
 * wait longer than the timetable says. */
int64_t timetable_next_ms(const struct timetable *timetable, int64_t last_ms, int64_t now_ms);

/* When it is tried again after `failures` (1 or more) in a row, the last at `failed_ms`: after a minute, twice as long each time, an hour at most. */
int64_t timetable_again_ms(int64_t failed_ms, unsigned failures, int64_t now_ms);
