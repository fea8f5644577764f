#pragma once
/*
 * One event per line: `2026-11-21T10:20:30.123Z info role event key=value ...`, or the same as one JSON object; to a stream (standard
 * error, a file), to the system's syslog socket, or to the journal's. Only printable ASCII is written, whatever a peer said.
 * Only the role that acts on a fact logs it; `base`, `wire`, `policy` and `ipc` never log.
 * Every event is listed in docs/events.md.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_PLAIN, LOG_JSON };

struct log_pair {
	const char *key;
	struct text text; /* used when at != NULL */
	int64_t number;
};

/* What the descriptor is: a stream that takes lines, or a datagram socket connected to /dev/log or to the journal. */
enum log_kind { LOG_STREAM, LOG_SYSLOG, LOG_JOURNAL };

/* Send events of `level` and more urgent ones to descriptor `fd`; `role` (static) names the process. When it returns nobody uses the
 * descriptor of before. What `fd` does not take goes to standard error. */
void log_open_as(enum log_kind kind, int fd, const char *role, enum log_level level, enum log_format format);

/* The same for a stream. */
static inline void log_open(int fd, const char *role, enum log_level level, enum log_format format)
{
	log_open_as(LOG_STREAM, fd, role, level, format);
}

/* A pair whose value is text from anywhere; it is escaped when written. Borrowed until log_event() returns. */
static inline struct log_pair log_text(const char *key, struct text value)
{
	return (struct log_pair){ .key = key, .text = value.at == NULL ? TEXT("") : value };
}

/* A pair whose value is a C string; NULL is written as empty. */
static inline struct log_pair log_str(const char *key, const char *value)
{
	return (struct log_pair){ .key = key, .text = text_of(value) };
}

/* A pair whose value is a number. */
static inline struct log_pair log_num(const char *key, int64_t value)
{
	return (struct log_pair){ .key = key, .number = value };
}

#define log_event(level, event, ...)                                                                         \
	log_write(level, event, (const struct log_pair[]){ __VA_ARGS__ },                                    \
		sizeof((const struct log_pair[]){ __VA_ARGS__ }) / sizeof(struct log_pair))

/* Write one event; use log_event(). Lines are cut at 4 KiB. Safe from any thread. */
void log_write(enum log_level level, const char *event, const struct log_pair *pairs, size_t count);
