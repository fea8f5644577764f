/* Time in UTC only: localtime() reads /etc/localtime, which most roles cannot open. */
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static int64_t now_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	return now_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return now_us(CLOCK_REALTIME) / 1000;
}

static struct tm utc(int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm = { 0 };

	gmtime_r(&seconds, &tm);
	return tm;
}

char *clock_iso(int64_t wall_ms, char *ret_text)
{
	struct tm tm = utc(wall_ms);
	size_t used = strftime(ret_text, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(ret_text + used, CLOCK_TEXT_MAX - used, ".%03dZ", (int)(wall_ms % 1000));
	return ret_text;
}

char *clock_mail_date(int64_t wall_ms, char *ret_text)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
		"Oct", "Nov", "Dec" };
	struct tm tm = utc(wall_ms);

	snprintf(ret_text, CLOCK_TEXT_MAX, "%s, %02d %s %04d %02d:%02d:%02d +0000", days[tm.tm_wday],
		tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return ret_text;
}

/* An age: digits and one unit letter. */
static int parse_age(struct text t, int64_t now, int64_t *ret_wall_ms)
{
	static const struct {
		char letter;
		int64_t ms;
	} units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
	uint64_t number;

	if (t.len < 2 || text_number(text_first(t, t.len - 1), 100000, &number) < 0)
		return -EINVAL;

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (t.at[t.len - 1] == units[i].letter) {
			*ret_wall_ms = now - (int64_t)number * units[i].ms;
			return 0;
		}
	}
	return -EINVAL;
}

int clock_parse(const char *text, int64_t now, int64_t *ret_wall_ms)
{
	struct tm tm = { .tm_mday = 1 };
	int used = 0;

	if (parse_age(text_of(text), now, ret_wall_ms) == 0)
		return 0;

	if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3 || used != 10)
		return -EINVAL;
	if (text[used] != '\0') {
		int more = 0;

		if (sscanf(text + used, "T%2d:%2d:%2dZ%n", &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &more) != 3 ||
			more != 10 || text[used + more] != '\0')
			return -EINVAL;
	}
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;

	/* timegm() makes the 30th of February the 2nd of March; a time that does not come back unchanged was none. */
	struct tm real = tm;
	int64_t seconds = (int64_t)timegm(&real);
	if (real.tm_year != tm.tm_year || real.tm_mon != tm.tm_mon || real.tm_mday != tm.tm_mday ||
		real.tm_hour != tm.tm_hour || real.tm_min != tm.tm_min || real.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_wall_ms = seconds * 1000;
	return 0;
}
