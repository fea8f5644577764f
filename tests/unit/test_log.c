/* Events as lines: what the peer says cannot break a line, and a JSON line is JSON however long its values are. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/base.h"
#include "base/err.h"

static char written[8192];

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
		cmocka_unit_test(test_every_error_has_a_phrase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
