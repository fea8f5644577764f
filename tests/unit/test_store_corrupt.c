/* Rows and content that were damaged on the disk are never delivered, are reported, and keep nobody else from being served. */
#include "queue/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/digest.h"
#include "base/err.h"
#include "queue/checksum.h"
#include "queue/store_admin.h"
#include "store_help.h"

static void harm(struct rig *rig, const char *sql)
{
	assert_true(help_change(rig, "queue.db", sql) > 0);
}

/* Do something to each file in content/. */
static void harm_content(struct rig *rig, bool remove_it)
{
	int content = openat(rig->fd, "content", O_RDONLY | O_DIRECTORY);
	DIR *directory = fdopendir(dup(content));

	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		if (remove_it) {
			unlinkat(content, entry->d_name, 0);
		} else {
			int fd = openat(content, entry->d_name, O_RDWR);
			char byte;

			assert_int_equal(pread(fd, &byte, 1, LARGE / 2), 1);
			byte ^= 1;
			assert_int_equal(pwrite(fd, &byte, 1, LARGE / 2), 1);
			close(fd);
		}
	}
	closedir(directory);
	close(content);
}

/* Each column of a message and of its content. */
static void test_11_28_no_damaged_message_is_lent(void **state)
{
	static const char *const harms[] = {
		"UPDATE message SET received = received + 1",
		"UPDATE message SET icid = icid || 'x'",
		"UPDATE message SET client = '192.0.2.2'",
		"UPDATE message SET helo = ''",
		"UPDATE message SET tls = '{}'",
		"UPDATE message SET sender = 'S@x.test'",
		"UPDATE message SET sender = ''",
		"UPDATE message SET size = size - 1",
		"UPDATE message SET file = 'x'",
		"UPDATE message SET digest = NULL",
		"UPDATE message SET digest = zeroblob(32)",
		"UPDATE message SET eight_bit = 1",
		"UPDATE message SET utf8 = 1",
		"UPDATE message SET ret = 1",
		"UPDATE message SET envid = 'x'",
		"UPDATE message SET recipients = 1",
		"UPDATE message SET sum = sum + 1",
		"UPDATE content SET bytes = CAST(x'00' || substr(bytes, 2) AS BLOB)",
		"UPDATE content SET bytes = CAST(bytes || x'00' AS BLOB)",
		"UPDATE content SET bytes = x''",
		"DELETE FROM content",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(harms); i++) {
		struct rig *rig = rig_new(NEVER);
		int64_t mid = commit(rig, "s@x.test", "hello", TO("1@a.test", "2@b.test"));

		harm(rig, harms[i]);
		if (lease_of(rig, NULL, 0) != NULL || store_queued(rig->store) != 0)
			fail_msg("lent after: %s", harms[i]);
		states_are(rig, mid, "corrupt corrupt");
		reopen(rig); /* it is looked at again, and still not whole */
		assert_int_equal(store_queued(rig->store), 0);
		states_are(rig, mid, "corrupt corrupt");
		rig_free(rig);
	}
}

static void test_11_28_a_damaged_recipient_is_not_lent_and_the_others_are(void **state)
{
	static const char *const harms[] = {
		"UPDATE recipient SET address = '9@a.test' WHERE rid = 2",
		"UPDATE recipient SET attempts = 1 WHERE rid = 2",
		"UPDATE recipient SET due = due + 1 WHERE rid = 2",
		"UPDATE recipient SET notify = 1 WHERE rid = 2",
		"UPDATE recipient SET orcpt = 'x' WHERE rid = 2",
		"UPDATE recipient SET sum = sum + 1 WHERE rid = 2",
		"UPDATE recipient SET rid = 20 WHERE rid = 2",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(harms); i++) {
		struct rig *rig = rig_new(NEVER);
		int64_t mid = commit(rig, "s@x.test", "hello", TO("1@a.test", "2@a.test", "3@a.test"));

		harm(rig, harms[i]);
		struct lease *lease = lease_of(rig, NULL, 0);
		if (lease == NULL || lease->envelope.recipient_count != 2)
			fail_msg("not as it must be after: %s", harms[i]);
		assert_string_equal(lease->envelope.recipients[0], "1@a.test");
		assert_string_equal(lease->envelope.recipients[1], "3@a.test");
		assert_int_equal(store_record(rig->store, outcome_of(lease, "dd")), 0);
		talloc_free(lease);
		assert_int_equal(store_queued(rig->store), 0);
		assert_int_equal(store_gauges(rig->store).oldest_ms, 0);
		reopen(rig); /* a row that is damaged itself never comes back */
		assert_int_equal(store_queued(rig->store), 0);
		struct store_tracked *record = track_one(rig, mid);
		unsigned corrupt = 0;
		for (size_t n = 0; n < 3; n++)
			corrupt += strcmp(record->recipients[n].state, "corrupt") == 0;
		assert_int_equal(corrupt, 1);
		talloc_free(record);
		rig_free(rig);
	}
}

static void test_11_28_recipients_whose_message_is_gone_leave_the_queue(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit(rig, "s@x.test", "hello", TO("1@a.test", "2@a.test"));
	harm(rig, "DELETE FROM message");
	nothing_is_due(rig);
	assert_int_equal(store_queued(rig->store), 0);
	reopen(rig);
	assert_int_equal(store_queued(rig->store), 0);
	nothing_is_due(rig);
	rig_free(rig);
}

static void test_11_28_a_mail_of_another_domain_goes_on(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t first = commit(rig, "s@x.test", "hello", TO("1@a.test")),
		second = commit(rig, "s@x.test", "hello", TO("1@a.test", "1@b.test"));

	(void)state;
	harm(rig, "UPDATE message SET sender = 'thief@x.test' WHERE mid = 1");
	finish(rig, "d");
	finish(rig, "d");
	nothing_is_due(rig);
	states_are(rig, first, "corrupt");
	states_are(rig, second, "delivered delivered");
	rig_free(rig);
}

/* Between lease and outcome. */
static void test_an_outcome_does_not_make_a_damaged_recipient_whole(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	int64_t mid = commit(rig, "s@x.test", "hello", TO("1@a.test", "2@a.test"));
	struct lease *lease = must_lease(rig);

	(void)state;
	harm(rig, "UPDATE recipient SET address = '9@a.test' WHERE rid = 2");
	assert_int_equal(store_record(rig->store, outcome_of(lease, "ll")), 0);
	talloc_free(lease);
	lease = must_lease(rig);
	assert_int_equal(lease->envelope.recipient_count, 1);
	assert_int_equal(lease->attempts, 1);
	talloc_free(lease);
	states_are(rig, mid, "deferred corrupt");
	rig_free(rig);
}

static void test_damaged_or_missing_content_is_not_lent_and_not_lost(void **state)
{
	(void)state;
	for (int remove_it = 0; remove_it < 2; remove_it++) {
		struct rig *rig = rig_new(NEVER);
		int64_t mid = commit_large(rig, LARGE, 0);

		harm_content(rig, remove_it);
		nothing_is_due(rig);
		states_are(rig, mid, "corrupt corrupt");
		assert_int_equal(files_in_content(rig), !remove_it);
		reopen(rig);
		assert_int_equal(store_queued(rig->store), 2);
		assert_int_equal(files_in_content(rig), !remove_it);
		nothing_is_due(rig);
		rig_free(rig);
	}
}

static void test_mended_content_is_lent_after_a_start(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit_large(rig, LARGE, 0);

	(void)state;
	harm_content(rig, false);
	nothing_is_due(rig);
	harm_content(rig, false);
	reopen(rig);
	finish(rig, "d");
	finish(rig, "d");
	states_are(rig, mid, "delivered delivered");
	assert_int_equal(files_in_content(rig), 0);
	rig_free(rig);
}

static void test_a_corrupt_mail_leaves_the_quota_of_its_network(void **state)
{
	struct rig *rig = rig_new(NEVER "limits: {queue_quota: 1}\n");
	struct envelope envelope = envelope_to("s@x.test", TO("1@a.test"));
	struct content content = content_of("x");
	int64_t mid = commit(rig, "s@x.test", "hello", TO("1@a.test"));

	(void)state;
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), ERR_QUOTA);
	harm(rig, "UPDATE message SET sender = 'thief@x.test'");
	nothing_is_due(rig);
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	rig_free(rig);
}

static void test_a_mended_row_is_lent_after_a_start(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "hello", TO("1@a.test"));

	(void)state;
	harm(rig, "UPDATE content SET bytes = CAST('jello' AS BLOB)");
	nothing_is_due(rig);
	reopen(rig);
	states_are(rig, mid, "corrupt");
	harm(rig, "UPDATE content SET bytes = CAST('hello' AS BLOB)");
	reopen(rig);
	finish(rig, "d");
	states_are(rig, mid, "delivered");
	rig_free(rig);
}

/* How many mails and recipients match. */
static unsigned listed(struct rig *rig, struct store_admin_filter filter, unsigned *ret_recipients)
{
	struct store_admin_page page;

	assert_int_equal(store_admin_list(rig->store, rig, &filter, 0, STORE_ADMIN_PAGE, &page), 0);
	*ret_recipients = 0;
	for (size_t i = 0; i < page.count; i++) {
		*ret_recipients += (unsigned)page.mails[i].recipient_count;
		for (size_t n = 0; n < page.mails[i].recipient_count; n++)
			if (filter.state == STORE_ADMIN_CORRUPT)
				assert_int_equal(page.mails[i].recipients[n].state, STORE_ADMIN_CORRUPT);
	}
	return (unsigned)page.count;
}

static struct store_admin_done apply(
	struct rig *rig, enum store_admin_command command, struct store_admin_filter filter)
{
	const struct store_admin_order order = {
		.command = command, .filter = filter, .next_hop = "", .uid = 5
	};
	struct store_admin_done done;

	assert_int_equal(store_admin_apply(rig->store, &order, 0, STORE_ADMIN_PAGE, &done), 0);
	return done;
}

/* A damaged message, a damaged recipient beside one that waits, a damaged file. */
static void test_11_28_corrupt_mail_is_listed_counted_and_deleted(void **state)
{
	struct rig *rig = rig_new(NEVER "limits: {queue_quota: 4}\n");
	const struct store_admin_filter corrupt = { .state = STORE_ADMIN_CORRUPT };
	int64_t first = commit(rig, "s@x.test", "hello", TO("1@a.test", "2@b.test")),
		second = commit(rig, "s@x.test", "hello", TO("1@a.test", "2@a.test")),
		third = commit_large(rig, LARGE, 0);
	unsigned recipients;

	(void)state;
	assert_int_equal(store_gauges(rig->store).corrupt, 0);
	harm(rig, "UPDATE message SET sender = 'thief@x.test' WHERE mid = 1");
	harm(rig, "UPDATE recipient SET attempts = 7 WHERE mid = 2 AND rid = 2");
	harm_content(rig, false);
	finish(rig, "l"); /* the one who is whole */
	nothing_is_due(rig);
	states_are(rig, first, "corrupt corrupt");
	states_are(rig, second, "deferred corrupt");
	states_are(rig, third, "corrupt corrupt");
	assert_int_equal(store_gauges(rig->store).corrupt, 3);
	assert_int_equal(listed(rig, (struct store_admin_filter){ 0 }, &recipients), 1);
	assert_int_equal(recipients, 1);
	assert_int_equal(listed(rig, corrupt, &recipients), 3);
	assert_int_equal(recipients, 5);
	assert_int_equal(listed(rig, (struct store_admin_filter){ .mid = second }, &recipients), 1);
	assert_int_equal(recipients, 2);

	/* No other order is about them. */
	assert_int_equal(apply(rig, STORE_ADMIN_HOLD, corrupt).recipients, 0);
	assert_int_equal(
		apply(rig, STORE_ADMIN_EXPIRE, (struct store_admin_filter){ .mid = first }).recipients, 0);
	assert_int_equal(apply(rig, STORE_ADMIN_COUNT, corrupt).recipients, 5);

	assert_int_equal(
		apply(rig, STORE_ADMIN_DELETE, (struct store_admin_filter){ .mid = first }).recipients, 2);
	states_are(rig, first, "deleted deleted");
	struct store_tracked *record = track_one(rig, first);
	assert_string_equal(record->recipients[1].attempts[0].reply, "deleted by the operator (uid 5)");
	talloc_free(record);
	assert_int_equal(apply(rig, STORE_ADMIN_DELETE, corrupt).recipients, 3);
	states_are(rig, second, "deferred deleted");
	states_are(rig, third, "deleted deleted");
	assert_int_equal(store_gauges(rig->store).corrupt, 0);
	assert_int_equal(listed(rig, corrupt, &recipients), 0);
	assert_int_equal(files_in_content(rig), 0);
	assert_int_equal(help_number(rig, "queue.db", "SELECT count(*) FROM content"), 1);
	help_wait_moved(rig);
	assert_int_equal(help_number(rig, "queue.db", "SELECT count(*) FROM message"), 1);
	/* One waits, so three more fit: each corrupt mail left the quota once. */
	for (int i = 0; i < 3; i++)
		commit(rig, "s@x.test", "more", TO("1@a.test"));
	struct envelope envelope = envelope_to("s@x.test", TO("1@a.test"));
	struct content content = content_of("x");
	int64_t mid;
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), ERR_QUOTA);
	reopen(rig);
	assert_int_equal(store_gauges(rig->store).corrupt, 0);
	rig_free(rig);
}

/* Their rows disagree about the attempts. */
static void test_a_queued_and_a_corrupt_recipient_are_deleted_together(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "hello", TO("1@a.test", "2@a.test"));

	(void)state;
	harm(rig, "UPDATE recipient SET attempts = 7 WHERE rid = 2");
	finish(rig, "l");
	nothing_is_due(rig);
	states_are(rig, mid, "deferred corrupt");
	assert_int_equal(
		apply(rig, STORE_ADMIN_DELETE, (struct store_admin_filter){ .mid = mid }).recipients, 2);
	states_are(rig, mid, "deleted deleted");
	help_wait_moved(rig);
	assert_int_equal(help_number(rig, "queue.db", "SELECT count(*) FROM message"), 0);
	rig_free(rig);
}

/* The format is that of checksum.h, to the byte: whoever repairs a database must get the same. */
static void test_the_checksum_of_a_row(void **state)
{
	static const char packed[] = "t\0\0\0\0\0\0\0\3"
				     "abc"
				     "i\377\377\377\377\377\377\377\376"
				     "n"
				     "b\0\0\0\0\0\0\0\2"
				     "\0\1"
				     "t\0\0\0\0\0\0\0\0";
	const struct digest want = digest_of((struct text){ packed, sizeof packed - 1 });
	sqlite3_stmt *row;
	sqlite3 *db;
	int64_t sum = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		sum = (int64_t)((uint64_t)sum << 8 | want.bytes[i]);
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	checksum_register(db);
	assert_int_equal(
		sqlite3_prepare_v2(db,
			"SELECT row_sum('abc', -2, NULL, x'0001', ''), row_digest(x'0001'),"
			" row_sum(printf('%.*c', 100000, 'x')) <> row_sum(printf('%.*c', 100001, 'x'))",
			-1, &row, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(row), SQLITE_ROW);
	assert_true(sqlite3_column_int64(row, 0) == sum);
	const struct digest digest = digest_of((struct text){ "\0\1", 2 });
	assert_int_equal(sqlite3_column_bytes(row, 1), DIGEST_SIZE);
	assert_memory_equal(sqlite3_column_blob(row, 1), digest.bytes, DIGEST_SIZE);
	assert_int_equal(sqlite3_column_int(row, 2), 1);
	sqlite3_finalize(row);
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_28_no_damaged_message_is_lent),
		cmocka_unit_test(test_11_28_a_damaged_recipient_is_not_lent_and_the_others_are),
		cmocka_unit_test(test_11_28_recipients_whose_message_is_gone_leave_the_queue),
		cmocka_unit_test(test_11_28_a_mail_of_another_domain_goes_on),
		cmocka_unit_test(test_an_outcome_does_not_make_a_damaged_recipient_whole),
		cmocka_unit_test(test_damaged_or_missing_content_is_not_lent_and_not_lost),
		cmocka_unit_test(test_mended_content_is_lent_after_a_start),
		cmocka_unit_test(test_a_mended_row_is_lent_after_a_start),
		cmocka_unit_test(test_11_28_corrupt_mail_is_listed_counted_and_deleted),
		cmocka_unit_test(test_a_queued_and_a_corrupt_recipient_are_deleted_together),
		cmocka_unit_test(test_a_corrupt_mail_leaves_the_quota_of_its_network),
		cmocka_unit_test(test_the_checksum_of_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
