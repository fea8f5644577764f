/* What is finished moves from queue.db to track.db, whole, once, and seen all the time; what is old is forgotten. */
#include "queue/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "queue/readers.h"
#include "queue/store_private.h"
#include "store_help.h"

#define ROWS                                                                                                 \
	"SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM recipient) + (SELECT count(*) FROM attempt)"

static void test_S7_a_finished_mail_moves_to_track_db_whole(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test", "2@a.test"));

	(void)state;
	finish(rig, "dl");
	finish(rig, "b");
	help_wait_moved(rig);
	assert_int_equal(help_number(rig, "queue.db", ROWS), 0);
	assert_int_equal(help_number(rig, "track.db", ROWS), 1 + 2 + 3);
	states_are(rig, mid, "delivered bounced");
	struct store_tracked *record = track_one(rig, mid);
	assert_true(record->time_ms == 1700000000123);
	assert_int_equal(record->size, 1);
	assert_string_equal(record->sender, "s@x.test");
	assert_string_equal(record->icid, "1a-1");
	assert_string_equal(record->client, "192.0.2.1");
	assert_string_equal(record->helo, "client.test");
	assert_string_equal(record->tls, "{\"obtained\":\"none\"}");
	assert_int_equal(record->recipients[1].attempt_count, 2);
	struct store_attempt *attempt = &record->recipients[1].attempts[1];
	assert_true(attempt->time_ms == 1700000001000);
	assert_string_equal(attempt->dcid, "2b-9");
	assert_string_equal(attempt->host, "mx.test");
	assert_string_equal(attempt->address, "192.0.2.9:25");
	assert_string_equal(attempt->reply, "550 5.1.1 no");
	assert_string_equal(attempt->tls, "{\"obtained\":\"encrypted\"}");
	talloc_free(record);
	rig_free(rig);
}

static void test_a_mail_with_somebody_to_serve_stays(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t first = commit(rig, "s@x.test", "x", TO("1@a.test", "2@b.test"));

	(void)state;
	finish(rig, "d"); /* one of the two */
	int64_t second = commit(rig, "s@x.test", "x", TO("1@b.test"));
	struct lease *lease = lease_of(rig, "b.test", LONG_MS);
	struct lease *other = lease_of(rig, "b.test", LONG_MS);
	assert_int_equal(store_record(rig->store, outcome_of(lease->mid == first ? other : lease, "d")), 0);
	talloc_free(lease);
	talloc_free(other);
	help_wait_moved(rig);
	assert_int_equal(help_number(rig, "track.db", "SELECT mid FROM message"), second);
	assert_int_equal(help_number(rig, "queue.db", "SELECT mid FROM message"), first);
	assert_int_equal(help_number(rig, "queue.db", ROWS), 1 + 2 + 1);
	rig_free(rig);
}

/* An outbox that names what is not finished (damage, or a mistake of ours) moves nothing. */
static void test_a_mail_that_is_not_finished_is_not_moved_even_if_the_outbox_says_so(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t live = commit(rig, "s@x.test", "x", TO("1@a.test")),
		done = commit(rig, "s@x.test", "x", TO("1@b.test"));

	(void)state;
	assert_int_equal(help_change(rig, "queue.db", "INSERT INTO outbox VALUES (1)"), 1);
	struct lease *lease = lease_of(rig, "b.test", LONG_MS);
	assert_int_equal(store_record(rig->store, outcome_of(lease, "d")), 0);
	talloc_free(lease);
	help_wait_number(rig, "queue.db", "SELECT count(*) FROM message", 1);
	states_are(rig, live, "queued");
	states_are(rig, done, "delivered");
	finish(rig, "d");
	help_wait_moved(rig);
	states_are(rig, live, "delivered");
	rig_free(rig);
}

/* All mails of the store, page by page, each once and in order; how many. */
static size_t track_all(struct rig *rig, struct store *store)
{
	struct store_query query = { 0 };
	struct store_cursor cursor = { 0 };
	int64_t last = 0;
	size_t all = 0;

	while (!cursor.ended) {
		struct store_tracked *records;
		size_t count;

		assert_int_equal(store_track(store, rig, &query, &cursor, &records, &count), 0);
		for (size_t i = 0; i < count; i++) {
			if (records[i].mid != last + 1)
				fail_msg("%lld follows %lld", (long long)records[i].mid, (long long)last);
			last = records[i].mid;
			assert_int_equal(records[i].recipient_count, 3);
			for (size_t n = 0; n < 3; n++)
				assert_int_equal(records[i].recipients[n].attempt_count,
					strcmp(records[i].recipients[n].state, "delivered") == 0);
		}
		all += count;
		talloc_free(records);
	}
	return all;
}

enum { MANY = 700 };

static void *finish_many(void *argument)
{
	struct rig *rig = argument;

	for (int i = 0; i < MANY; i++)
		finish(rig, "ddd");
	return NULL;
}

static void test_nothing_is_missing_or_twice_while_mails_move(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct store *reader;
	const char *why;
	pthread_t thread;

	(void)state;
	for (int i = 0; i < MANY; i++)
		commit(rig, "s@x.test", "x", TO("1@a.test", "2@a.test", "3@a.test"));
	assert_int_equal(store_open_reader(rig, rig->path, &reader, &why), 0);
	pthread_create(&thread, NULL, finish_many, rig);
	do {
		assert_int_equal(track_all(rig, rig->store), MANY);
		assert_int_equal(track_all(rig, reader), MANY);
	} while (help_number(rig, "queue.db", "SELECT count(*) FROM message") > 0);
	pthread_join(thread, NULL);
	assert_int_equal(track_all(rig, rig->store), MANY);
	assert_int_equal(help_number(rig, "track.db", "SELECT count(*) FROM message"), MANY);
	talloc_free(reader);
	rig_free(rig);
}

/* A crash after the copy, or in the middle of deleting a large mail. */
static void record_with_report(struct rig *rig, struct lease *lease)
{
	struct outcome *outcome = outcome_of(lease, "b");

	report_to(outcome, "s@x.test");
	outcome->dsn->icid = talloc_asprintf(outcome, "dsn-%lld", (long long)lease->mid);
	assert_int_equal(store_record(rig->store, outcome), 0);
	talloc_free(lease);
}

/* Everything waits for track.db, which is locked until somebody looks for reports. */
struct look {
	struct rig *rig;
	sqlite3 *lock;
	unsigned looks;
};

static int move_now(unsigned event, void *context, void *statement, void *time)
{
	struct look *look = context;

	(void)event, (void)time;
	if (strstr(sqlite3_sql(statement), "icid = ?") == NULL || look->looks++ > 0)
		return 0;
	assert_int_equal(sqlite3_exec(look->lock, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	help_wait_moved(look->rig);
	return 0;
}

static void watch(struct readers *readers, struct look *look)
{
	sqlite3 *db = readers_take(readers);

	sqlite3_trace_v2(db, look == NULL ? 0 : SQLITE_TRACE_PROFILE, look == NULL ? NULL : move_now, look);
	readers_give(readers, db);
}

static void test_a_report_is_not_missed_while_it_moves(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct look look = { .rig = rig };
	char *path = talloc_asprintf(rig, "%s/track.db", rig->path);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@a.test"));

	(void)state;
	record_with_report(rig, must_lease(rig));
	help_wait_moved(rig);
	assert_int_equal(sqlite3_open(path, &look.lock), SQLITE_OK);
	assert_int_equal(sqlite3_exec(look.lock, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	finish(rig, "d"); /* the report */
	watch(rig->store->readers, &look);
	watch(rig->store->tracks, &look);
	struct store_tracked *record = track_one(rig, mid);
	assert_int_equal(look.looks, 2);
	assert_int_equal(record->report_count, 1);
	assert_int_equal(record->reports[0], mid + 1);
	talloc_free(record);
	watch(rig->store->readers, NULL);
	watch(rig->store->tracks, NULL);
	sqlite3_close(look.lock);
	rig_free(rig);
}

static void test_reports_are_named_in_their_order_wherever_they_are(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@a.test", "q@b.test"));

	(void)state;
	struct lease *leases[] = { must_lease(rig), must_lease(rig) };
	for (int i = 0; i < 2; i++)
		record_with_report(rig, leases[i]);
	finish(rig, "d"); /* the first report */
	help_wait_moved(rig);
	struct store_tracked *record = track_one(rig, mid);
	assert_int_equal(record->report_count, 2);
	assert_int_equal(record->reports[0], mid + 1);
	assert_int_equal(record->reports[1], mid + 2);
	talloc_free(record);
	rig_free(rig);
}

static void test_11_27_what_was_being_moved_is_moved_again(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test", "2@a.test"));

	(void)state;
	help_change(rig, "track.db", "ALTER TABLE message RENAME TO away"); /* so that nothing is moved yet */
	finish(rig, "dd");
	TALLOC_FREE(rig->store);
	assert_int_equal(
		help_change(rig, "track.db",
			"ALTER TABLE away RENAME TO message;"
			"INSERT INTO message VALUES (1, 1700000000123, '1a-1', '192.0.2.1', '', '', 's@x.test', 1, 0);"
			"INSERT INTO recipient VALUES (1, 1, '1@a.test', 1, 1), (1, 2, '2@a.test', 1, 1);"
			"INSERT INTO attempt VALUES (1, 1, 1, 1, '', '', '', 0, '250', '')"),
		1);
	assert_int_equal(help_change(rig, "queue.db",
				 "DELETE FROM attempt WHERE rid = 1; DELETE FROM recipient WHERE rid = 1"),
		1);
	reopen(rig);
	help_wait_moved(rig);
	states_are(rig, mid, "delivered delivered");
	assert_int_equal(help_number(rig, "track.db", ROWS), 1 + 2 + 2);
	assert_int_equal(help_number(rig, "queue.db", ROWS), 0);
	nothing_is_due(rig);
	rig_free(rig);
}

static void test_a_mail_with_very_many_recipients_moves_in_pieces(void **state)
{
	enum { RECIPIENTS = 1777 };
	struct rig *rig = rig_new(NEVER);
	const char **recipients = text_must(talloc_array(rig, const char *, RECIPIENTS));
	char *states = text_must(talloc_zero_size(rig, RECIPIENTS + 1));

	(void)state;
	for (int i = 0; i < RECIPIENTS; i++)
		recipients[i] = text_must(talloc_asprintf(recipients, "%d@a.test", i));
	memset(states, 'd', RECIPIENTS);
	commit(rig, "s@x.test", "x", recipients, RECIPIENTS);
	finish(rig, states);
	help_wait_moved(rig);
	assert_int_equal(help_number(rig, "queue.db", ROWS), 0);
	assert_int_equal(help_number(rig, "track.db", ROWS), 1 + 2 * RECIPIENTS);
	rig_free(rig);
}

static void refuse(struct rig *rig, const char *recipient)
{
	struct store_refusal refusal = { .time_ms = 1700000002000,
		.icid = "1a-2",
		.client = "192.0.2.7",
		.helo = "evil.test",
		.tls = "{}",
		.sender = "spy@z.test",
		.recipient = recipient,
		.reply = "550 5.7.1 no" };

	assert_int_equal(store_note(rig->store, &refusal, 1), 0);
}

static void test_refusals_move_too_and_keep_their_order_over_a_start(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct store_query query = { .sender = "spy@z.test" };
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	size_t count;

	(void)state;
	refuse(rig, "1@e.test");
	refuse(rig, "2@e.test");
	help_wait_moved(rig);
	reopen(rig);
	refuse(rig, "3@e.test");
	assert_int_equal(store_track(rig->store, rig, &query, &cursor, &records, &count), 0);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(records[i].recipients[0].address[0], '1' + (int)i);
		assert_string_equal(records[i].recipients[0].state, "refused");
		assert_string_equal(records[i].recipients[0].attempts[0].reply, "550 5.7.1 no");
		assert_string_equal(records[i].helo, "evil.test");
	}
	help_wait_moved(rig);
	assert_int_equal(help_number(rig, "track.db", "SELECT count(*) FROM refusal"), 3);
	rig_free(rig);
}

static void test_what_is_old_is_forgotten_and_no_number_comes_again(void **state)
{
	struct rig *rig = rig_new(NEVER "tracking: {keep: 1ms}\n");
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test")),
		live = commit(rig, "s@x.test", "x", TO("1@b.test"));

	(void)state;
	struct lease *lease = lease_of(rig, "a.test", LONG_MS);
	assert_int_equal(store_record(rig->store, outcome_of(lease, "d")), 0);
	talloc_free(lease);
	refuse(rig, "1@e.test");
	help_wait_moved(rig);
	reopen(rig); /* it looks for what is old at its start, and each minute */
	help_wait_number(rig, "track.db", ROWS, 0);
	help_wait_number(rig, "track.db", "SELECT count(*) FROM refusal", 0);
	states_are(rig, live, "queued");
	finish(rig, "d");
	help_wait_moved(rig);
	reopen(rig);
	help_wait_number(rig, "track.db", ROWS, 0);
	reopen(rig);
	assert_true(commit(rig, "s@x.test", "x", TO("1@a.test")) > MAX(mid, live));
	rig_free(rig);
}

static void test_what_is_kept_for_ever_is_kept(void **state)
{
	struct rig *rig = rig_new(NEVER "tracking: {keep: 0d}\n");
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test"));

	(void)state;
	finish(rig, "d");
	help_wait_moved(rig);
	assert_int_equal(help_change(rig, "track.db", "UPDATE message SET moved = 1"), 1);
	reopen(rig);
	commit(rig, "s@x.test", "x", TO("1@a.test"));
	finish(rig, "d");
	help_wait_moved(rig); /* so it has looked */
	states_are(rig, mid, "delivered");
	rig_free(rig);
}

static void test_a_file_that_is_mostly_free_shrinks(void **state)
{
	struct rig *rig = rig_new(NEVER);
	char *bytes = text_must(talloc_size(rig, ENVELOPE_INLINE_MAX));

	(void)state;
	memset(bytes, 'x', ENVELOPE_INLINE_MAX);
	for (int i = 0; i < 100; i++) {
		struct envelope envelope = envelope_to("s@x.test", TO("1@a.test"));
		struct content content = {
			.bytes = { bytes, ENVELOPE_INLINE_MAX }, .fd = -1, .size = ENVELOPE_INLINE_MAX
		};
		int64_t mid;

		assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	}
	for (int i = 0; i < 100; i++)
		finish(rig, "d");
	help_wait_moved(rig);
	int64_t before = help_number(rig, "queue.db", "PRAGMA page_count");
	assert_true(before > 1600);
	reopen(rig);
	help_wait_number(
		rig, "queue.db", "SELECT (SELECT freelist_count FROM pragma_freelist_count) > 1024", 0);
	assert_true(help_number(rig, "queue.db", "PRAGMA page_count") < before);
	rig_free(rig);
}

/* Tracking is not what a gateway is for: mail goes on without it. */
static void test_mail_goes_on_while_track_db_cannot_be_written(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	help_change(rig, "track.db", "ALTER TABLE attempt RENAME TO away");
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test"));
	finish(rig, "d");
	commit(rig, "s@x.test", "x", TO("1@a.test"));
	finish(rig, "d");
	assert_int_equal(store_queued(rig->store), 0);
	assert_int_equal(help_number(rig, "queue.db", "SELECT count(*) FROM outbox"), 2);
	help_change(rig, "track.db", "ALTER TABLE away RENAME TO attempt");
	help_wait_moved(rig);
	states_are(rig, mid, "delivered");
	rig_free(rig);
}

/* It is not waited for at the end either. */
static void test_the_store_ends_while_track_db_cannot_be_written(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	help_change(rig, "track.db", "ALTER TABLE attempt RENAME TO away");
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test"));
	finish(rig, "d");
	TALLOC_FREE(rig->store);
	assert_int_equal(help_number(rig, "queue.db", "SELECT count(*) FROM outbox"), 1);
	help_change(rig, "track.db", "ALTER TABLE away RENAME TO attempt");
	reopen(rig);
	help_wait_moved(rig);
	states_are(rig, mid, "delivered");
	rig_free(rig);
}

/* Whoever copies the files of a gateway that was stopped needs no more than the databases. */
static void test_a_store_that_is_closed_leaves_no_log(void **state)
{
	static const char *const logs[] = { "queue.db-wal", "track.db-wal" };
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit(rig, "s@x.test", "x", TO("1@a.test"));
	finish(rig, "d");
	help_wait_moved(rig);
	for (size_t i = 0; i < COUNT(logs); i++)
		assert_int_equal(faccessat(rig->fd, logs[i], F_OK, 0), 0);
	TALLOC_FREE(rig->store);
	for (size_t i = 0; i < COUNT(logs); i++)
		if (faccessat(rig->fd, logs[i], F_OK, 0) == 0)
			fail_msg("%s is left", logs[i]);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_S7_a_finished_mail_moves_to_track_db_whole),
		cmocka_unit_test(test_a_mail_with_somebody_to_serve_stays),
		cmocka_unit_test(test_a_mail_that_is_not_finished_is_not_moved_even_if_the_outbox_says_so),
		cmocka_unit_test(test_nothing_is_missing_or_twice_while_mails_move),
		cmocka_unit_test(test_a_report_is_not_missed_while_it_moves),
		cmocka_unit_test(test_reports_are_named_in_their_order_wherever_they_are),
		cmocka_unit_test(test_11_27_what_was_being_moved_is_moved_again),
		cmocka_unit_test(test_a_mail_with_very_many_recipients_moves_in_pieces),
		cmocka_unit_test(test_refusals_move_too_and_keep_their_order_over_a_start),
		cmocka_unit_test(test_what_is_old_is_forgotten_and_no_number_comes_again),
		cmocka_unit_test(test_what_is_kept_for_ever_is_kept),
		cmocka_unit_test(test_a_file_that_is_mostly_free_shrinks),
		cmocka_unit_test(test_mail_goes_on_while_track_db_cannot_be_written),
		cmocka_unit_test(test_the_store_ends_while_track_db_cannot_be_written),
		cmocka_unit_test(test_a_store_that_is_closed_leaves_no_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
