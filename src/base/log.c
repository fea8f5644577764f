/*
 * The log sink: the only mutable global of the program. An event is built on the stack and handed over by one system call, so that it is
 * never mixed with another one. Called from any thread of any role; master opens the descriptor and the roles inherit it, so nothing
 * here opens a file. syslog: the header of RFC 5424; journal: its native fields (systemd's JOURNAL_NATIVE_PROTOCOL).
 */
#include "base/log.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

struct sink {
	int fd;
	enum log_kind kind;
	const char *role;
	enum log_level level;
	enum log_format format;
	char host[HOST_NAME_MAX + 1]; /* for syslog */
};

/* A reload changes the sink while threads log: they share the lock, the change has it alone. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static struct sink current = { .fd = STDERR_FILENO, .role = "postern", .level = LOG_INFO };

/* The end of an event always fits: END_SIZE is kept free. The journal hears everything twice, as text and as fields. */
enum { LINE_SIZE = 4096, JOURNAL_SIZE = 3 * LINE_SIZE, END_SIZE = 8, FACILITY_MAIL = 2 };

struct line {
	char *at;
	size_t len, room;
};

struct event {
	enum log_level level;
	const char *name;
	const struct log_pair *pairs;
	size_t count;
	char time[CLOCK_TEXT_MAX];
};

static const char *const level_names[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
};

/* Severities of RFC 5424. */
static const int severities[] = { [LOG_ERROR] = 3, [LOG_WARN] = 4, [LOG_INFO] = 6, [LOG_DEBUG] = 7 };

void log_open_as(enum log_kind kind, int fd, const char *role, enum log_level level, enum log_format format)
{
	struct sink sink = { .fd = fd, .kind = kind, .role = role, .level = level, .format = format };

	if (gethostname(sink.host, HOST_NAME_MAX) < 0 || sink.host[0] == '\0')
		memcpy(sink.host, "-", 2);
	for (char *c = sink.host; *c != '\0'; c++)
		*c = *c > ' ' && *c < 0x7f ? *c : '?';
	pthread_rwlock_wrlock(&lock);
	current = sink;
	pthread_rwlock_unlock(&lock);
}

static void add(struct line *line, const char *at, size_t len)
{
	size_t room = line->room - line->len;

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
	for (size_t i = 0; i < value.len && line->len + END_SIZE < line->room; i++) {
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

static void add_pairs(struct line *line, const struct event *event)
{
	for (size_t i = 0; i < event->count; i++) {
		add_str(line, " ");
		add_str(line, event->pairs[i].key);
		add_str(line, "=");
		add_value(line, &event->pairs[i], LOG_PLAIN);
	}
}

static void add_json(struct line *line, const struct sink *sink, const struct event *event)
{
	const char *const head[] = { "{\"time\":\"", event->time, "\",\"level\":\"",
		level_names[event->level], "\",\"role\":\"", sink->role, "\",\"event\":\"", event->name,
		"\"" };

	for (size_t i = 0; i < COUNT(head); i++)
		add_str(line, head[i]);
	for (size_t i = 0; i < event->count; i++) {
		size_t before = line->len;

		add_str(line, ",\"");
		add_str(line, event->pairs[i].key);
		add_str(line, "\":");
		add_value(line, &event->pairs[i], LOG_JSON);
		if (line->len == line->room) {
			line->len = before; /* a pair that does not fit is left out whole */
			break;
		}
	}
	line->at[line->len++] = '}'; /* there is always room for the end */
}

static void build_stream(struct line *line, const struct sink *sink, const struct event *event)
{
	const char *const head[] = { event->time, " ", level_names[event->level], " ", sink->role, " ",
		event->name };

	if (sink->format == LOG_JSON) {
		add_json(line, sink, event);
	} else {
		for (size_t i = 0; i < COUNT(head); i++)
			add_str(line, head[i]);
		add_pairs(line, event);
	}
	line->at[line->len++] = '\n';
}

/* What the header of syslog or the fields of the journal do not say already. */
static void add_message(struct line *line, const struct sink *sink, const struct event *event)
{
	if (sink->format == LOG_JSON) {
		add_json(line, sink, event);
	} else {
		add_str(line, event->name);
		add_pairs(line, event);
	}
}

/* `<PRI>1 TIME HOST postern-ROLE PID EVENT - MESSAGE` */
static void build_syslog(struct line *line, const struct sink *sink, const struct event *event)
{
	char head[200];

	add(line, head,
		(size_t)snprintf(head, sizeof head, "<%d>1 %.40s %.64s postern-%.20s %d %.32s - ",
			FACILITY_MAIL * 8 + severities[event->level], event->time, sink->host, sink->role,
			(int)getpid(), event->name));
	add_message(line, sink, event);
}

/* A field of the event for the journal: POSTERN_KEY=value. Values are escaped, so none has a line end. */
static void add_field(struct line *line, const struct log_pair *pair)
{
	size_t before = line->len;
	char number[24];

	add_str(line, "POSTERN_");
	for (const char *c = pair->key; *c != '\0'; c++)
		add(line, &(char){ *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c }, 1);
	add_str(line, "=");
	if (pair->text.at == NULL)
		add(line, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)pair->number));
	else
		add_escaped(line, pair->text, LOG_PLAIN);
	add_str(line, "\n");
	if (line->len == line->room)
		line->len = before; /* what does not fit is left out whole */
}

static void build_journal(struct line *line, const struct sink *sink, const struct event *event)
{
	char head[160];

	add(line, head,
		(size_t)snprintf(head, sizeof head,
			"PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=postern\nSYSLOG_PID=%d\n",
			severities[event->level], FACILITY_MAIL, (int)getpid()));
	add_field(line, &(struct log_pair){ .key = "role", .text = text_of(sink->role) });
	add_field(line, &(struct log_pair){ .key = "event", .text = text_of(event->name) });

	struct line message = { .at = line->at + line->len, .room = LINE_SIZE - END_SIZE };
	add_str(&message, "MESSAGE=");
	add_message(&message, sink, event);
	line->len += message.len;
	line->at[line->len++] = '\n';
	for (size_t i = 0; i < event->count; i++)
		add_field(line, &event->pairs[i]);
}

static void (*const builders[])(struct line *line, const struct sink *sink, const struct event *event) = {
	[LOG_STREAM] = build_stream,
	[LOG_SYSLOG] = build_syslog,
	[LOG_JOURNAL] = build_journal,
};

/* False when the descriptor did not take it: a full disk, a daemon that is gone. */
static bool hand_over(const struct sink *sink, const struct event *event)
{
	char bytes[JOURNAL_SIZE];
	struct line line = { .at = bytes,
		.room = (sink->kind == LOG_JOURNAL ? JOURNAL_SIZE : LINE_SIZE) - END_SIZE };

	builders[sink->kind](&line, sink, event);
	return write(sink->fd, line.at, line.len) == (ssize_t)line.len;
}

void log_write(enum log_level level, const char *event, const struct log_pair *pairs, size_t count)
{
	struct event built = { .level = level, .name = event, .pairs = pairs, .count = count };

	pthread_rwlock_rdlock(&lock);
	if (level <= current.level) {
		clock_iso(clock_wall_ms(), built.time);
		if (!hand_over(&current, &built)) {
			struct sink stream = current;

			stream.kind = LOG_STREAM;
			stream.fd = STDERR_FILENO;
			hand_over(&stream, &built);
		}
	}
	pthread_rwlock_unlock(&lock);
}
