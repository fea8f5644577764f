#include "policy/timetable.h"

#include "base/base.h"

enum {
	MINUTE_MS = 60 * 1000,
	HOUR_MS = 60 * MINUTE_MS,
	DAY_MS = 24 * HOUR_MS,
	WEEK_DAYS = 7,
	EPOCH_WEEKDAY = 4 /* 1970-01-01 was a Thursday */
};

/* How many days after the day of `ms` (0 to 6) is the wanted one. */
static int64_t days_until(const struct timetable *timetable, int64_t ms)
{
	unsigned today = (unsigned)((ms / DAY_MS + EPOCH_WEEKDAY) % WEEK_DAYS);

	return timetable->kind == TIMETABLE_DAILY ? 0 : (timetable->weekday + WEEK_DAYS - today) % WEEK_DAYS;
}

int64_t timetable_next_ms(const struct timetable *timetable, int64_t last_ms, int64_t now_ms)
{
	int64_t last = MIN(last_ms, now_ms), due;

	if (last_ms <= 0)
		return now_ms;
	if (timetable->kind == TIMETABLE_EVERY)
		return last + timetable->every_ms;
	due = (last / DAY_MS + days_until(timetable, last)) * DAY_MS + (int64_t)timetable->minute * MINUTE_MS;
	if (due <= last)
		due += timetable->kind == TIMETABLE_DAILY ? DAY_MS : (int64_t)WEEK_DAYS * DAY_MS;
	return due;
}

int64_t timetable_again_ms(int64_t failed_ms, unsigned failures, int64_t now_ms)
{
	const int64_t wait = (int64_t)MINUTE_MS << MIN(MAX(failures, 1u) - 1, 6u);

	return MIN(failed_ms, now_ms) + MIN(wait, (int64_t)HOUR_MS);
}
