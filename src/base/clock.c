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

/* An age: digits and a unit letter, perhaps several times: 90s, 2h30m. */
static int parse_age(struct text t, int64_t now, int64_t *ret_wall_ms)
{
	static const struct {
		char letter;
		int64_t ms;
	} units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
	int64_t age = 0;

	while (t.len > 0) {
		size_t digits = 0, u = 0;
		uint64_t number;

		while (digits < t.len && t.at[digits] >= '0' && t.at[digits] <= '9')
			digits++;
		if (digits == t.len || text_number(text_first(t, digits), 100000, &number) < 0)
			return -EINVAL;
		while (u < sizeof units / sizeof units[0] && units[u].letter != t.at[digits])
			u++;
		if (u == sizeof units / sizeof units[0])
			return -EINVAL;
		age += (int64_t)number * units[u].ms;
		if (age > INT64_C(100000) * 86400000)
			return -EINVAL;
		t = text_from(t, digits + 1);
	}
	*ret_wall_ms = now - age;
	return 0;
}

/* `Z`, `+02:00` or nothing, which is UTC too; seconds east of UTC. */
static int parse_offset(const char *text, int64_t *ret_seconds)
{
	char sign;
	int hours, minutes, used = 0;

	*ret_seconds = 0;
	if (strcmp(text, "") == 0 || strcmp(text, "Z") == 0)
		return 0;
	if (sscanf(text, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || used != 6 ||
		text[used] != '\0' || (sign != '+' && sign != '-') || hours < 0 || hours > 23 ||
		minutes < 0 || minutes > 59)
		return -EINVAL;
	*ret_seconds = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return 0;
}

/* `T10:20` or ` 10:20`, with or without seconds and their fraction; what follows is the offset. */
static int parse_day_time(const char *text, struct tm *tm, int64_t *ret_ms, const char **ret_rest)
{
	int used = 0;

	if ((text[0] != 'T' && text[0] != ' ') ||
		sscanf(text + 1, "%2d:%2d%n", &tm->tm_hour, &tm->tm_min, &used) != 2 || used != 5)
		return -EINVAL;
	text += 1 + used;
	if (text[0] == ':') {
		used = 0;
		if (sscanf(text + 1, "%2d%n", &tm->tm_sec, &used) != 1 || used != 2)
			return -EINVAL;
		text += 3;
		if (text[0] == '.') {
			text++;
			for (int64_t unit = 100; text[0] >= '0' && text[0] <= '9'; unit /= 10)
				*ret_ms += (*text++ - '0') * unit;
		}
	}
	*ret_rest = text;
	return 0;
}

int clock_parse(const char *text, int64_t now, int64_t *ret_wall_ms)
{
	struct tm tm = { .tm_mday = 1 };
	int64_t east = 0, ms = 0;
	const char *rest = "";
	int used = 0;

	if (text[0] != '\0' && parse_age(text_of(text), now, ret_wall_ms) == 0)
		return 0;

	if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3 || used != 10)
		return -EINVAL;
	if (text[used] != '\0' &&
		(parse_day_time(text + used, &tm, &ms, &rest) < 0 || parse_offset(rest, &east) < 0))
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;

	/* timegm() makes the 30th of February the 2nd of March; a time that does not come back unchanged was none. */
	struct tm real = tm;
	int64_t seconds = (int64_t)timegm(&real);
	if (real.tm_year != tm.tm_year || real.tm_mon != tm.tm_mon || real.tm_mday != tm.tm_mday ||
		real.tm_hour != tm.tm_hour || real.tm_min != tm.tm_min || real.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_wall_ms = (seconds - east) * 1000 + ms;
	return 0;
}
