/* Events as lines: what the peer says cannot break a line, and a JSON line is JSON however long its values are. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/base.h"
#include "base/err.h"

static char written[16384];

/* Write one event; what came out, without its time. */
static const char *event(enum log_level limit, enum log_format format, enum log_level level,
	const struct log_pair *pairs, size_t count)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	log_open(fd, "test", limit, format);
	log_write(level, "happened", pairs, count);
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	ssize_t n = pread(fd, written, sizeof written - 1, 0);
	close(fd);
	written[MAX(n, (ssize_t)0)] = '\0';
	return n > 25 && format == LOG_PLAIN ? written + 25 : written;
}

#define PLAIN(...)                                                                                           \
	event(LOG_DEBUG, LOG_PLAIN, LOG_INFO, (const struct log_pair[]){ __VA_ARGS__ },                      \
		COUNT(((const struct log_pair[]){ __VA_ARGS__ })))

static const struct {
	const char *name;
	struct text value;
	const char *want;
} values[] = {
	{ "a plain word", TEXT("a.b@c"), "a.b@c" },
	{ "nothing", TEXT(""), "\"\"" },
	{ "a blank", TEXT("a b"), "\"a b\"" },
	{ "an equals sign cannot forge a pair", TEXT("a=b"), "\"a=b\"" },
	{ "quotes", TEXT("a\"b\\c"), "\"a\\\"b\\\\c\"" },
	{ "line ends", TEXT("a\r\nb"), "\"a\\x0d\\x0ab\"" },
	{ "a NUL", TEXT("a\0b"), "\"a\\x00b\"" },
	{ "an escape sequence", TEXT("\x1b[2J"), "\"\\x1b[2J\"" },
	{ "DEL and eight bits", TEXT("\x7f\x80\xff"), "\"\\x7f\\x80\\xff\"" },
	{ "a tab", TEXT("\t"), "\"\\x09\"" },
};

static void test_plain_values_are_escaped(void **state)
{
	char want[200];

	(void)state;
	for (size_t i = 0; i < COUNT(values); i++) {
		snprintf(want, sizeof want, "info test happened key=%s n=-5\n", values[i].want);
		const char *got = PLAIN(log_text("key", values[i].value), log_num("n", -5));
		if (strcmp(got, want) != 0)
			fail_msg("%s: %s", values[i].name, got);
	}
	assert_string_equal(PLAIN(log_str("key", NULL)), "info test happened key=\"\"\n");
	assert_string_equal(
		PLAIN(log_text("key", (struct text){ NULL, 0 })), "info test happened key=\"\"\n");
}

static void test_only_urgent_enough_events_are_written(void **state)
{
	const struct log_pair pair = log_num("n", 1);

	(void)state;
	for (int limit = LOG_ERROR; limit <= LOG_DEBUG; limit++)
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++)
			assert_int_equal(event((enum log_level)limit, LOG_PLAIN, (enum log_level)level, &pair,
						 1)[0] != '\0',
				level <= limit);
}

static json_t *json_event(const struct log_pair *pairs, size_t count)
{
	json_error_t error;
	const char *line = event(LOG_DEBUG, LOG_JSON, LOG_WARN, pairs, count);
	size_t len = strlen(line);

	assert_true(len > 0 && len <= 4096 && line[len - 1] == '\n');
	assert_null(memchr(line, '\n', len - 1));
	json_t *json = json_loads(line, JSON_ALLOW_NUL, &error);
	if (json == NULL)
		print_error("%s: ...%s", error.text, line + (len > 120 ? len - 120 : 0));
	return json;
}

static void test_every_byte_is_valid_json(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		const struct log_pair pair =
			log_text("key", (struct text){ (const char[]){ (char)byte }, 1 });
		json_t *json = json_event(&pair, 1);

		assert_non_null(json);
		assert_string_equal(json_string_value(json_object_get(json, "event")), "happened");
		assert_string_equal(json_string_value(json_object_get(json, "level")), "warn");
		assert_non_null(json_object_get(json, "key"));
		if (byte >= 0x20 && byte < 0x7f)
			assert_int_equal(json_string_value(json_object_get(json, "key"))[0], byte);
		json_decref(json);
	}
}

/* Whatever is cut off, the line stays one JSON object. */
static void test_a_cut_line_is_valid_json_at_every_length(void **state)
{
	static char bytes[5000];
	unsigned broken = 0;

	(void)state;
	for (int escaped = 0; escaped < 2; escaped++) {
		memset(bytes, escaped ? 1 : 'x', sizeof bytes);
		for (size_t len = escaped ? 600 : 3900; len < (escaped ? 720 : 4200); len++) {
			const struct log_pair pairs[] = { log_text("first", (struct text){ bytes, len }),
				log_num("number", 123456789), log_text("second", TEXT("a \"b\"")),
				log_text("third", (struct text){ bytes, 50 }) };
			json_t *json = json_event(pairs, COUNT(pairs));

			broken += json == NULL;
			json_decref(json);
			if (broken > 0)
				fail_msg("a value of %zu bytes breaks the line", len);
		}
	}
}

static void test_a_long_plain_line_is_cut_and_still_one_line(void **state)
{
	static char bytes[9000];

	(void)state;
	memset(bytes, 'x', sizeof bytes);
	const char *got = PLAIN(log_text("key", (struct text){ bytes, sizeof bytes }), log_num("n", 1));
	assert_true(strlen(written) <= 4096);
	assert_int_equal(got[strlen(got) - 1], '\n');
	assert_null(memchr(got, '\n', strlen(got) - 1));
}

/* One event to a datagram socket; what one datagram held. */
static const char *datagram(
	enum log_kind kind, enum log_format format, const struct log_pair *pairs, size_t count)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	log_open_as(kind, fds[0], "front", LOG_INFO, format);
	log_write(LOG_DEBUG, "hidden", pairs, count);
	log_write(LOG_WARN, "happened", pairs, count);
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	ssize_t n = recv(fds[1], written, sizeof written - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	written[n] = '\0';
	assert_int_equal(recv(fds[1], &(char){ 0 }, 1, MSG_DONTWAIT), -1);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(strlen(written), (size_t)n);
	return written;
}

/* CR, LF, ESC, NUL, U+0085, U+2028, and U+202E, which turns the direction of text. */
#define NASTY "a\r\nb\x1b[2J\0\xc2\x85\xe2\x80\xa8\xe2\x80\xae"

static void test_11_03_every_sink_escapes_what_steers_readers(void **state)
{
	const struct log_pair pair = log_text("line", TEXT(NASTY));
	enum { KINDS = LOG_JOURNAL + 1 };

	(void)state;
	for (int kind = LOG_STREAM; kind < KINDS; kind++) {
		for (int format = LOG_PLAIN; format <= LOG_JSON; format++) {
			const char *got =
				kind == LOG_STREAM
					? event(LOG_DEBUG, (enum log_format)format, LOG_INFO, &pair, 1)
					: datagram((enum log_kind)kind, (enum log_format)format, &pair, 1);
			unsigned line_ends = 0;

			for (const char *c = got; *c != '\0'; c++) {
				line_ends += *c == '\n';
				assert_true(*c == '\n' || (*c >= ' ' && *c < 0x7f));
			}
			/* the journal: a line for each of its eight fields */
			assert_int_equal(line_ends, kind == LOG_STREAM ? 1 : kind == LOG_SYSLOG ? 0 : 8);
			assert_non_null(strstr(got, format == LOG_JSON ? "\\u00c2\\u0085" : "\\xc2\\x85"));
		}
	}
}

static void test_syslog_hears_a_header_of_rfc_5424(void **state)
{
	const struct log_pair pairs[] = { log_str("reason", "a b"), log_num("n", 7) };
	char want[200], host[65] = "";

	(void)state;
	gethostname(host, sizeof host - 1);
	const char *got = datagram(LOG_SYSLOG, LOG_PLAIN, pairs, COUNT(pairs));
	snprintf(want, sizeof want, " %s postern-front %d happened - happened reason=\"a b\" n=7", host,
		(int)getpid());
	assert_int_equal(
		strncmp(got, "<20>1 20", 8), 0); /* facility mail, severity warning, version 1, year */
	assert_string_equal(got + strlen("<20>1 2026-11-21T10:20:30.123Z"), want);

	got = datagram(LOG_SYSLOG, LOG_JSON, pairs, COUNT(pairs));
	json_t *json = json_loads(strchr(got, '{'), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "reason")), "a b");
	json_decref(json);
}

static void test_the_journal_hears_fields(void **state)
{
	const struct log_pair pairs[] = { log_str("icid", "1-2"), log_num("n", -7) };
	char want[300];

	(void)state;
	snprintf(want, sizeof want,
		"PRIORITY=4\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=postern\nSYSLOG_PID=%d\nPOSTERN_ROLE=front\n"
		"POSTERN_EVENT=happened\nMESSAGE=happened icid=1-2 n=-7\nPOSTERN_ICID=1-2\nPOSTERN_N=-7\n",
		(int)getpid());
	assert_string_equal(datagram(LOG_JOURNAL, LOG_PLAIN, pairs, COUNT(pairs)), want);
}

static void test_an_event_too_long_is_cut_in_every_sink(void **state)
{
	static char bytes[5000];

	(void)state;
	for (int fill = 1; fill <= 'x'; fill += 'x' - 1) {
		memset(bytes, fill, sizeof bytes);
		for (size_t len = 500; len < sizeof bytes; len += 37) {
			const struct log_pair pairs[] = { log_text("a", (struct text){ bytes, len }),
				log_text("b", (struct text){ bytes, len }),
				log_text("c", (struct text){ bytes, len }), log_num("n", 1) };

			assert_true(strlen(datagram(LOG_SYSLOG, LOG_PLAIN, pairs, COUNT(pairs))) <= 4096);
			json_t *json = json_loads(
				strchr(datagram(LOG_SYSLOG, LOG_JSON, pairs, COUNT(pairs)), '{'), 0, NULL);
			assert_non_null(json);
			json_decref(json);
			const char *got = datagram(LOG_JOURNAL, LOG_JSON, pairs, COUNT(pairs));
			assert_int_equal(got[strlen(got) - 1], '\n');
			for (const char *field = got; *field != '\0'; field = strchr(field, '\n') + 1)
				assert_true(strchr(field, '=') < strchr(field, '\n'));
		}
	}
}

static void test_what_the_sink_does_not_take_goes_to_standard_error(void **state)
{
	const struct log_pair pair = log_num("n", 1);
	int fd = memfd_create("stderr", MFD_CLOEXEC), kept = dup(STDERR_FILENO), fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	close(fds[1]); /* the daemon is gone */
	dup2(fd, STDERR_FILENO);
	log_open_as(LOG_JOURNAL, fds[0], "test", LOG_INFO, LOG_PLAIN);
	log_write(LOG_INFO, "happened", &pair, 1);
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	dup2(kept, STDERR_FILENO);
	ssize_t n = pread(fd, written, sizeof written - 1, 0);
	written[MAX(n, (ssize_t)0)] = '\0';
	assert_string_equal(written + 25, "info test happened n=1\n");
	close(fds[0]);
	close(kept);
	close(fd);
}

static void test_every_error_has_a_phrase(void **state)
{
	static const int errors[] = { ERR_CLOSED, ERR_STOPPED, ERR_TOO_LONG, ERR_TLS, ERR_FORMAT, -ENOSPC,
		-ETIMEDOUT, -EIO };

	(void)state;
	for (size_t i = 0; i < COUNT(errors); i++) {
		assert_true(strlen(err_text(errors[i])) > 3);
		assert_string_not_equal(err_text(errors[i]), "unknown error");
		for (size_t n = 0; n < i; n++)
			assert_string_not_equal(err_text(errors[i]), err_text(errors[n]));
	}
	assert_string_equal(err_text(-9999), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_values_are_escaped),
		cmocka_unit_test(test_only_urgent_enough_events_are_written),
		cmocka_unit_test(test_every_byte_is_valid_json),
		cmocka_unit_test(test_a_cut_line_is_valid_json_at_every_length),
		cmocka_unit_test(test_a_long_plain_line_is_cut_and_still_one_line),
		cmocka_unit_test(test_11_03_every_sink_escapes_what_steers_readers),
		cmocka_unit_test(test_syslog_hears_a_header_of_rfc_5424),
		cmocka_unit_test(test_the_journal_hears_fields),
		cmocka_unit_test(test_an_event_too_long_is_cut_in_every_sink),
		cmocka_unit_test(test_what_the_sink_does_not_take_goes_to_standard_error),
		cmocka_unit_test(test_every_error_has_a_phrase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
