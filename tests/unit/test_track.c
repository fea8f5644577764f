/* Tracking records as JSON lines and counters in frames; what peers said may be anything and stays JSON. */
#include "report/track.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/io.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "report/metrics.h"
#include "test_help.h"

struct rig {
	char path[64];
	int fd;
	const struct config *config;
	struct store *store;
};

static struct rig *rig_new(void)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	const char *why;

	help_directory(rig->path);
	rig->fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig->config = help_config("mail_flow_policies: [{name: open, tls: none}]\n");
	assert_int_equal(store_open(NULL, rig->fd, rig->config, &rig->store, &why), 0);
	return rig;
}

static void rig_free(struct rig *rig)
{
	talloc_free(rig->store);
	config_release(rig->config);
	close(rig->fd);
	help_remove(rig->path);
	talloc_free(rig);
}

static int64_t commit(struct rig *rig, const char *helo, const char *tls)
{
	const char *recipients[] = { "r@a.test", "q@a.test" };
	struct envelope envelope = {
		.received_ms = 1700000000123,
		.icid = "1a-1",
		.client = "192.0.2.1",
		.helo = helo,
		.tls = tls,
		.sender = "s@x.test",
		.recipients = recipients,
		.recipient_count = 2,
	};
	struct content content = { .bytes = TEXT("hello"), .fd = -1, .size = 5 };
	int64_t mid;

	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	return mid;
}

static void record(struct rig *rig, int64_t mid, const char *reply)
{
	struct outcome_recipient recipient = { 1, OUTCOME_BOUNCED, reply };
	struct outcome outcome = { .mid = mid,
		.domain = "a.test",
		.attempt = 1,
		.time_ms = 1700000001123,
		.dcid = "2-1",
		.host = "mx.test",
		.address = "192.0.2.9:25",
		.tls = "{\"obtained\":\"encrypted\"}",
		.recipients = &recipient,
		.recipient_count = 1 };

	assert_int_equal(store_record(rig->store, &outcome), 0);
}

/* The first record of everything. */
static json_t *first(struct rig *rig)
{
	struct store_query query = { 0 };
	struct store_cursor cursor = { 0 };
	struct text lines;
	json_error_t error;

	assert_int_equal(track_page_read(rig->store, rig, &query, &cursor, &lines), 0);
	assert_true(lines.len > 0 && lines.at[lines.len - 1] == '\n');
	json_t *json = json_loadb(lines.at, text_find(lines, '\n'), 0, &error);
	if (json == NULL)
		fail_msg("%s: " TEXT_FMT, error.text, TEXT_ARG(lines));
	return json;
}

static const char *word(json_t *json, const char *key)
{
	const char *value = json_string_value(json_object_get(json, key));

	if (value == NULL)
		fail_msg("no text under \"%s\"", key);
	return value;
}

static void test_a_mail_has_the_documented_shape(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "c.test", "{\"obtained\":\"none\"}");

	(void)state;
	record(rig, mid, "550 5.1.1 no");
	json_t *json = first(rig), *inbound = json_object_get(json, "inbound"),
	       *recipients = json_object_get(json, "recipients"), *one = json_array_get(recipients, 0),
	       *attempt = json_array_get(json_object_get(one, "attempts"), 0);
	assert_int_equal(json_object_size(json), 6);
	assert_int_equal(json_integer_value(json_object_get(json, "mid")), mid);
	assert_string_equal(word(json, "time"), "2023-11-14T22:13:20.123Z");
	assert_string_equal(word(json, "sender"), "s@x.test");
	assert_int_equal(json_integer_value(json_object_get(json, "size")), 5);
	assert_int_equal(json_object_size(inbound), 4);
	assert_string_equal(word(inbound, "icid"), "1a-1");
	assert_string_equal(word(inbound, "client"), "192.0.2.1");
	assert_string_equal(word(inbound, "helo"), "c.test");
	assert_string_equal(word(json_object_get(inbound, "tls"), "obtained"), "none");
	assert_int_equal(json_array_size(recipients), 2);
	assert_string_equal(word(one, "address"), "r@a.test");
	assert_string_equal(word(one, "state"), "bounced");
	assert_int_equal(json_object_size(attempt), 6);
	assert_string_equal(word(attempt, "time"), "2023-11-14T22:13:21.123Z");
	assert_string_equal(word(attempt, "dcid"), "2-1");
	assert_string_equal(word(attempt, "host"), "mx.test");
	assert_string_equal(word(attempt, "address"), "192.0.2.9:25");
	assert_string_equal(word(attempt, "reply"), "550 5.1.1 no");
	assert_string_equal(word(json_object_get(attempt, "tls"), "obtained"), "encrypted");
	assert_string_equal(word(json_array_get(recipients, 1), "state"), "queued");
	assert_int_equal(json_array_size(json_object_get(json_array_get(recipients, 1), "attempts")), 0);
	json_decref(json);
	rig_free(rig);
}

static void test_a_refusal_has_no_mid(void **state)
{
	struct rig *rig = rig_new();
	struct store_refusal refusal = { 1700000000123, "1a-2", "192.0.2.2", "", "", "", "", "554 5.7.1 no" };

	(void)state;
	assert_int_equal(store_note(rig->store, &refusal, 1), 0);
	json_t *json = first(rig), *one = json_array_get(json_object_get(json, "recipients"), 0);
	assert_true(json_is_null(json_object_get(json, "mid")));
	assert_true(json_is_null(json_object_get(one, "address")));
	assert_string_equal(word(one, "state"), "refused");
	assert_string_equal(
		word(json_array_get(json_object_get(one, "attempts"), 0), "reply"), "554 5.7.1 no");
	assert_true(json_is_null(json_object_get(json_object_get(json, "inbound"), "tls")));
	json_decref(json);
	rig_free(rig);
}

static void test_what_peers_said_stays_json(void **state)
{
	static const char *const said[] = { "\xff\xfe", "a\xc3", "\xc3\xbc", "a\"b\\c", "a\nb\x01\x1b",
		"\x7f", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80" };

	(void)state;
	for (size_t i = 0; i < COUNT(said); i++) {
		struct rig *rig = rig_new();
		int64_t mid = commit(rig, said[i], "not json {");

		record(rig, mid, said[i]);
		json_t *json = first(rig);
		assert_non_null(word(json_object_get(json, "inbound"), "helo"));
		assert_true(json_is_null(json_object_get(json_object_get(json, "inbound"), "tls")));
		json_decref(json);
		rig_free(rig);
	}
}

struct serving {
	struct rig *rig;
	int fd;
};

static void *serve(void *argument)
{
	struct serving *serving = argument;
	struct frame *ask;

	while (channel_receive(NULL, serving->fd, -1, IO_FOREVER, &ask) == 0) {
		struct frame *answer = track_page_answer(serving->rig->store, ask, ask);

		assert_non_null(answer);
		channel_send(serving->fd, answer, clock_mono_ms() + 10000);
		talloc_free(ask);
	}
	return NULL;
}

static void test_the_command_line_pages_through_everything_over_a_channel(void **state)
{
	struct rig *rig = rig_new();
	struct store_query query = { .sender = "S@x.test" };
	struct store_cursor cursor = { 0 };
	struct serving serving = { .rig = rig };
	pthread_t thread;
	unsigned lines_seen = 0, pages = 0;
	int fds[2];

	(void)state;
	for (int i = 0; i < 45; i++)
		commit(rig, "c.test", "{}");
	assert_int_equal(channel_pair(fds), 0);
	serving.fd = fds[1];
	pthread_create(&thread, NULL, serve, &serving);
	while (!cursor.ended) {
		struct text lines;

		assert_int_equal(track_page(fds[0], rig, &query, &cursor, &lines), 0);
		for (size_t i = 0; i < lines.len; i++)
			lines_seen += lines.at[i] == '\n';
		pages++;
	}
	close(fds[0]);
	pthread_join(thread, NULL);
	close(fds[1]);
	assert_int_equal(lines_seen, 45);
	assert_int_equal(pages, 3);
	rig_free(rig);
}

static void test_a_malformed_ask_is_not_answered(void **state)
{
	struct rig *rig = rig_new();
	struct frame *ask = frame_new(rig, FRAME_TRACK);

	(void)state;
	assert_null(track_page_answer(rig->store, ask, ask));
	rig_free(rig);
}

static void test_counters_have_names_and_add_up_over_frames(void **state)
{
	struct metrics one = { 0 }, sum = { 0 };

	(void)state;
	for (int i = 0; i < METRIC_COUNT; i++) {
		assert_non_null(metrics_name((enum metric)i));
		for (int n = 0; n < i; n++)
			assert_string_not_equal(metrics_name((enum metric)i), metrics_name((enum metric)n));
		for (int n = 0; n <= i; n++)
			metrics_count(&one, (enum metric)i);
	}
	metrics_listener(&one, "a");
	metrics_listener(&one, "b");
	metrics_count_session(&one, "b", METRICS_STARTTLS);
	for (int times = 1; times <= 2; times++) {
		struct frame *frame = frame_new(NULL, FRAME_ANSWER);

		metrics_put(frame, &one);
		metrics_add(frame, &sum);
		assert_int_equal(frame_done(frame), 0);
		talloc_free(frame);
		for (int i = 0; i < METRIC_COUNT; i++)
			assert_int_equal(atomic_load(&sum.values[i]), times * (i + 1));
		assert_int_equal(sum.listener_count, 2);
		assert_string_equal(sum.listeners[1].name, "b");
		for (int i = 0; i < METRICS_TLS_COUNT; i++) {
			assert_int_equal(atomic_load(&sum.listeners[0].sessions[i]), 0);
			assert_int_equal(atomic_load(&sum.listeners[1].sessions[i]),
				i == METRICS_STARTTLS ? times : 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_mail_has_the_documented_shape),
		cmocka_unit_test(test_a_refusal_has_no_mid),
		cmocka_unit_test(test_what_peers_said_stays_json),
		cmocka_unit_test(test_the_command_line_pages_through_everything_over_a_channel),
		cmocka_unit_test(test_a_malformed_ask_is_not_answered),
		cmocka_unit_test(test_counters_have_names_and_add_up_over_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
