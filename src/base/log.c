/* The log sink: the only mutable global of the program. A line is built on the stack and written by one write(2). */
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

static struct {
	int fd;
	const char *role;
	_Atomic enum log_level level; /* a reload changes them while threads log */
	_Atomic enum log_format format;
} sink = { .fd = STDERR_FILENO, .role = "postern", .level = LOG_INFO, .format = LOG_PLAIN };

enum { LINE_SIZE = 4096, LINE_ROOM = LINE_SIZE - 8 }; /* the end of a line always fits */

struct line {
	size_t len;
	char at[LINE_SIZE];
};

static const char *const level_names[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
};

void log_open(int fd, const char *role, enum log_level level, enum log_format format)
{
	sink.fd = fd;
	sink.role = role;
	sink.level = level;
	sink.format = format;
}

/* Room is kept for the closing bytes of a JSON line. */
static void add(struct line *line, const char *at, size_t len)
{
	size_t room = LINE_ROOM - line->len;

	memcpy(line->at + line->len, at, MIN(len, room));
	line->len += MIN(len, room);
}

static void add_str(struct line *line, const char *string)
{
	add(line, string, strlen(string));
}

/* Peer text never reaches a terminal or a log reader raw: everything but printable ASCII becomes \xNN. */
static void add_escaped(struct line *line, struct text value, enum log_format format)
{
	for (size_t i = 0; i < value.len && line->len < sizeof line->at - 16; i++) {
		unsigned char c = (unsigned char)value.at[i];
		char code[8];

		if (c == '"' || c == '\\')
			add(line, (const char[]){ '\\', (char)c }, 2);
		else if (c >= 0x20 && c < 0x7f)
			add(line, &value.at[i], 1);
		else
			add(line, code,
				(size_t)snprintf(
					code, sizeof code, format == LOG_JSON ? "\\u%04x" : "\\x%02x", c));
	}
}

static bool plain_word(struct text value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] <= ' ' || value.at[i] >= 0x7f || value.at[i] == '"' || value.at[i] == '\\' ||
			value.at[i] == '=')
			return false;
	return value.len > 0;
}

static void add_value(struct line *line, const struct log_pair *pair, enum log_format format)
{
	char number[24];

	if (pair->text.at == NULL) {
		add(line, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)pair->number));
	} else if (format == LOG_PLAIN && plain_word(pair->text)) {
		add(line, pair->text.at, pair->text.len);
	} else {
		add_str(line, "\"");
		add_escaped(line, pair->text, format);
		add_str(line, "\"");
	}
}

static void build_plain(struct line *line, const char *time, const char *level, const char *event,
	const struct log_pair *pairs, size_t count)
{
	const char *const head[] = { time, " ", level, " ", sink.role, " ", event };

	for (size_t i = 0; i < COUNT(head); i++)
		add_str(line, head[i]);
	for (size_t i = 0; i < count; i++) {
		add_str(line, " ");
		add_str(line, pairs[i].key);
		add_str(line, "=");
		add_value(line, &pairs[i], LOG_PLAIN);
	}
}

static void build_json(struct line *line, const char *time, const char *level, const char *event,
	const struct log_pair *pairs, size_t count)
{
	const char *const head[] = { "{\"time\":\"", time, "\",\"level\":\"", level, "\",\"role\":\"",
		sink.role, "\",\"event\":\"", event, "\"" };

	for (size_t i = 0; i < COUNT(head); i++)
		add_str(line, head[i]);
	for (size_t i = 0; i < count; i++) {
		size_t before = line->len;

		add_str(line, ",\"");
		add_str(line, pairs[i].key);
		add_str(line, "\":");
		add_value(line, &pairs[i], LOG_JSON);
		if (line->len >= LINE_ROOM) {
			line->len = before; /* a pair that does not fit is left out whole */
			break;
		}
	}
	line->at[line->len++] = '}'; /* there is always room for the end */
}

void log_write(enum log_level level, const char *event, const struct log_pair *pairs, size_t count)
{
	char time[CLOCK_TEXT_MAX];
	struct line line = { 0 };

	if (level > sink.level)
		return;

	clock_iso(clock_wall_ms(), time);
	if (sink.format == LOG_JSON)
		build_json(&line, time, level_names[level], event, pairs, count);
	else
		build_plain(&line, time, level_names[level], event, pairs, count);
	line.at[line.len++] = '\n';
	(void)!write(sink.fd, line.at, line.len);
}
