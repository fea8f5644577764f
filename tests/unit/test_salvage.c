/* A damaged queue.db is noticed at the start, whatever is wrong with it, and the start goes on with what is whole. tests/crash/salvage does
 * this a thousand times at random; here are the cases that chance may miss. */
#include "queue/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "queue/sound.h"
#include "queue/store_admin.h"
#include "store_help.h"

enum { PAGE = 8192, FRAME = 24 + PAGE, WAL_HEADER = 32 };

static int open_name(struct rig *rig, const char *name, int flags)
{
	return openat(rig->fd, name, flags | O_CLOEXEC, 0600);
}

static void flip(struct rig *rig, const char *name, off_t at, unsigned bit)
{
	CLEANUP(base_close) int fd = open_name(rig, name, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte = (uint8_t)(byte ^ 1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* How many names in the state directory contain `word`. */
static unsigned names_with(struct rig *rig, const char *word)
{
	DIR *directory = opendir(rig->path);
	unsigned count = 0;

	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += strstr(entry->d_name, word) != NULL;
	closedir(directory);
	return count;
}

/* Two mails, all of them in queue.db and nothing in its log. */
static struct rig *rig_with_mails(void)
{
	struct rig *rig = rig_new(AT_ONCE);

	commit(rig, "s@x.test", "first", TO("1@a.test", "2@b.test"));
	commit(rig, "s@x.test", "second", TO("1@a.test"));
	reopen(rig);
	TALLOC_FREE(rig->store);
	return rig;
}

static void lends(struct rig *rig, unsigned count, const char *when)
{
	unsigned found = 0;

	for (struct lease *lease; (lease = lease_of(rig, NULL, 0)) != NULL; found++) {
		assert_string_equal(lease->envelope.sender, "s@x.test");
		talloc_free(lease); /* it stays lent */
	}
	if (found != count)
		fail_msg("%s: %u leases, not %u", when, found, count);
}

/* One bit of each byte: the number of the schema, the mark, the versions for reading and writing, the list of free pages, and so on. */
static void test_11_28_a_wrong_bit_in_the_header_loses_nothing(void **state)
{
	(void)state;
	for (off_t at = 0; at < 100; at++) {
		struct rig *rig = rig_with_mails();
		char when[32];

		snprintf(when, sizeof when, "byte %d", (int)at);
		flip(rig, "queue.db", at, (unsigned)at * 3 % 8);
		reopen(rig);
		lends(rig, 3, when);
		rig_free(rig);
	}
}

static void test_11_28_an_empty_file_is_not_taken_for_a_new_one(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);

	(void)state;
	commit_large(rig, LARGE, 0);
	reopen(rig);
	TALLOC_FREE(rig->store);
	int fd = open_name(rig, "queue.db", O_WRONLY | O_TRUNC);
	close(fd);
	reopen(rig);
	assert_int_equal(files_in_content(rig), 0);
	assert_int_equal(names_with(rig, ".corrupt-"), 2); /* itself, its content */
	assert_int_equal(names_with(rig, ".content"), 1);
	assert_true(commit(rig, "s@x.test", "new", TO("1@a.test")) > 1);
	reopen(rig);
	assert_int_equal(names_with(rig, ".corrupt-"), 2);
	rig_free(rig);
}

/* Between its last steps, and in the middle of the first. */
static void test_11_28_a_salvage_that_was_cut_short_is_finished(void **state)
{
	struct rig *rig = rig_with_mails();

	(void)state;
	assert_int_equal(renameat(rig->fd, "queue.db", rig->fd, "queue.db.salvaged"), 0);
	CLEANUP(base_close) int old = open_name(rig, "queue.db", O_WRONLY | O_CREAT);
	assert_int_equal(write(old, "old", 3), 3);
	CLEANUP(base_close) int log = open_name(rig, "queue.db-wal", O_WRONLY | O_CREAT);
	assert_int_equal(write(log, "log", 3), 3);
	reopen(rig);
	lends(rig, 3, "finished");
	assert_int_equal(names_with(rig, "salvaged") + names_with(rig, ".corrupt-"), 0);
	TALLOC_FREE(rig->store);

	CLEANUP(base_close) int new = open_name(rig, "queue.db.new", O_WRONLY | O_CREAT);
	assert_int_equal(write(new, "half", 4), 4);
	flip(rig, "queue.db", 63, 4);
	reopen(rig);
	lends(rig, 3, "made anew");
	assert_int_equal(names_with(rig, "queue.db.new"), 0);
	rig_free(rig);
}

static void test_11_28_a_damaged_file_of_an_older_version_is_refused_unchanged(void **state)
{
	struct rig *rig = rig_with_mails();
	struct store *store;
	const char *why = NULL;

	(void)state;
	help_change(rig, "queue.db",
		"ALTER TABLE message DROP COLUMN sum; ALTER TABLE recipient DROP COLUMN sum; PRAGMA user_version = 2");
	for (unsigned page = 2; page < 8; page++) /* one of them is the index */
		flip(rig, "queue.db", page * PAGE + 3, 0);
	assert_int_equal(store_open(rig, rig->fd, rig->config, &store, &why), -EUCLEAN);
	assert_non_null(strstr(why, ".recover"));
	assert_int_equal(names_with(rig, ".corrupt-") + names_with(rig, ".schema"), 0);
	rig_free(rig);
}

/* The chains of pages that large rows lie in, where they are in the log. */
static void break_chains(struct rig *rig)
{
	CLEANUP(base_close) int fd = open_name(rig, "queue.db-wal", O_RDWR);
	uint8_t start[4];

	for (off_t at = WAL_HEADER + 24; pread(fd, start, sizeof start, at) == sizeof start; at += FRAME)
		if (start[0] == 0)
			assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, at), 4);
}

static void test_11_28_damage_that_is_met_ends_the_role_and_the_next_start_salvages(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	char *large = text_must(talloc_size(rig, 100000));
	struct store_refusal note = { 1, "1-1", "192.0.2.9", "h", "{}", "", "r@e.test", "550 no" };
	int status;

	(void)state;
	memset(large, 'x', 99999);
	large[99999] = '\0';
	TALLOC_FREE(rig->store);
	pid_t child = fork();
	if (child == 0) {
		reopen(rig);
		commit(rig, "s@x.test", large, TO("1@a.test"));
		commit(rig, "s@x.test", "small", TO("1@b.test"));
		for (int i = 0; i < 3; i++)
			store_note(rig->store, &note, 1);
		break_chains(rig);
		for (int i = 0; i < 2; i++)
			lease_of(rig, NULL, 0);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
	reopen(rig);
	struct lease *lease = must_lease(rig);
	assert_string_equal(lease->envelope.recipients[0], "1@b.test");
	nothing_is_due(rig);
	states_are(rig, 1, "corrupt");
	assert_int_equal(names_with(rig, "queue.db.corrupt-"), 2);
	talloc_free(lease);
	rig_free(rig);
}

/* Before anybody tries to deliver them. */
static void test_11_28_damaged_mail_is_corrupt_when_it_was_salvaged(void **state)
{
	static const char *const harms[] = { "DELETE FROM content WHERE mid = 1",
		"UPDATE message SET sender = 'thief@x.test' WHERE mid = 1" };

	(void)state;
	for (size_t i = 0; i < COUNT(harms); i++) {
		struct rig *rig = rig_with_mails();
		const int64_t page = help_number(
			rig, "queue.db", "SELECT rootpage FROM sqlite_schema WHERE name = 'recipient_live'");

		help_change(rig, "queue.db", harms[i]);
		flip(rig, "queue.db", (page - 1) * PAGE, 0);
		reopen(rig);
		assert_int_equal(names_with(rig, "queue.db.corrupt-") > 0, 1);
		states_are(rig, 1, "corrupt corrupt");
		states_are(rig, 2, "queued");
		assert_int_equal(store_gauges(rig->store).corrupt, 1);
		reopen(rig);
		states_are(rig, 1, "corrupt corrupt");
		lends(rig, 1, harms[i]);
		rig_free(rig);
	}
}

/* What the operator stopped is not begun again by damage. */
static void test_11_28_a_suspended_destination_stays_suspended(void **state)
{
	struct rig *rig = rig_with_mails();
	const int64_t page = help_number(
		rig, "queue.db", "SELECT rootpage FROM sqlite_schema WHERE name = 'recipient_live'");
	struct store_admin_suspension done;
	struct store_admin_status status;

	(void)state;
	reopen(rig);
	assert_int_equal(store_admin_suspend(rig->store, "a.test", true, 5, &done), 0);
	TALLOC_FREE(rig->store);
	flip(rig, "queue.db", (page - 1) * PAGE, 0);
	reopen(rig);
	assert_true(names_with(rig, "queue.db.corrupt-") > 0);
	assert_int_equal(store_admin_status(rig->store, rig, &status), 0);
	assert_int_equal(status.suspended_count, 1);
	assert_string_equal(status.suspended[0].destination, "a.test");
	assert_int_equal(status.suspended[0].uid, 5);
	assert_true(status.suspended[0].since_ms > 0);
	lends(rig, 1, "what is not suspended");
	rig_free(rig);
}

static void test_a_damaged_track_db_keeps_nobody_waiting(void **state)
{
	struct rig *rig = rig_with_mails();

	(void)state;
	flip(rig, "track.db", 3, 1);
	reopen(rig);
	lends(rig, 3, "without tracking");
	assert_int_equal(names_with(rig, "track.db.corrupt-") > 0, 1);
	rig_free(rig);
}

/* The versions for writing and reading, the format, the number of the schema, the mark. */
static void test_a_wrong_bit_in_the_header_of_track_db_keeps_nobody_waiting(void **state)
{
	static const struct {
		off_t at;
		unsigned bit;
	} flips[] = { { 18, 1 }, { 19, 7 }, { 47, 0 }, { 60, 7 }, { 61, 3 }, { 63, 0 }, { 63, 1 }, { 63, 6 },
		{ 68, 0 }, { 71, 2 } };

	(void)state;
	for (size_t i = 0; i < COUNT(flips); i++) {
		struct rig *rig = rig_with_mails();
		char when[32];

		snprintf(when, sizeof when, "byte %d", (int)flips[i].at);
		flip(rig, "track.db", flips[i].at, flips[i].bit);
		reopen(rig);
		lends(rig, 3, when);
		rig_free(rig);
	}
}

static void test_11_30_a_track_db_of_a_newer_version_is_refused(void **state)
{
	struct rig *rig = rig_with_mails();
	struct store *store;
	const char *why = NULL;

	(void)state;
	help_change(rig, "track.db", "PRAGMA user_version = 6");
	assert_int_equal(store_open(rig, rig->fd, rig->config, &store, &why), -ENOTSUP);
	assert_non_null(strstr(why, "newer version"));
	assert_int_equal(names_with(rig, "corrupt"), 0);
	help_change(rig, "track.db",
		"PRAGMA user_version = 1; ALTER TABLE message ADD COLUMN more TEXT;"
		"PRAGMA user_version = 3");
	assert_int_equal(store_open(rig, rig->fd, rig->config, &store, &why), -ENOTSUP);
	assert_int_equal(names_with(rig, "corrupt"), 0);
	rig_free(rig);
}

/* By `postern track` without a gateway. */
static void cannot_be_read(struct rig *rig, const char *words)
{
	struct store *reader = NULL;
	const char *why = NULL;

	assert_int_equal(store_open_reader(rig, rig->path, &reader, &why), -EUCLEAN);
	assert_non_null(strstr(why, words));
}

/* In the list of tables, where SQLite sees no damage in a name. */
static void test_a_wrong_bit_in_the_list_of_tables_of_track_db_keeps_nobody_waiting(void **state)
{
	static const char *const names[] = { "mid", "received", "moved", "rid", "number", "refusal", "icid" };
	struct rig *rig = rig_with_mails();
	char page[PAGE];
	off_t at;

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		CLEANUP(base_close) int fd = open_name(rig, "track.db", O_RDONLY);
		const char *damage = NULL;

		assert_int_equal(pread(fd, page, PAGE, 0), PAGE);
		at = (const char *)memmem(page, PAGE, names[i], strlen(names[i])) - page;
		flip(rig, "track.db", at, 0);
		assert_int_equal(sound_check_track(rig, rig->fd, &damage), 0);
		if (damage == NULL)
			fail_msg("%s: it is taken for sound", names[i]);
		cannot_be_read(rig, "track.db ");
		reopen(rig);
		lends(rig, 3, names[i]);
		if (names_with(rig, "track.db.corrupt-") < i + 1)
			fail_msg("%s: it is not set aside", names[i]);
		assert_int_equal(sound_check_track(rig, rig->fd, &damage), 0);
		assert_null(damage);
		TALLOC_FREE(rig->store);
	}
	rig_free(rig);
}

static off_t root_of(struct rig *rig, const char *table)
{
	char *sql = text_must(
		talloc_asprintf(rig, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table));

	return (help_number(rig, "track.db", sql) - 1) * PAGE;
}

/* Numbers must not begin anew because those that were given cannot be read. */
static void test_a_track_db_that_does_not_say_its_last_numbers_is_set_aside(void **state)
{
	static const char *const tables[] = { "message", "refusal" };

	(void)state;
	for (size_t i = 0; i < COUNT(tables); i++) {
		struct rig *rig = rig_with_mails();

		flip(rig, "track.db", root_of(rig, tables[i]), 1);
		reopen(rig);
		assert_int_equal(names_with(rig, "track.db.corrupt-") > 0, 1);
		lends(rig, 3, tables[i]);
		rig_free(rig);
	}
}

/* Where an opening does not look. */
static void test_a_track_db_that_turned_out_damaged_is_set_aside_at_the_next_start(void **state)
{
	struct rig *rig = rig_with_mails();
	struct store_query query = { 0 };
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	size_t count;

	(void)state;
	reopen(rig);
	const int64_t moved = commit(rig, "s@x.test", "third", TO("1@c.test"));
	while (true) {
		struct lease *lease = must_lease(rig);
		const bool found = lease->mid == moved;

		if (found)
			assert_int_equal(store_record(rig->store, outcome_of(lease, "d")), 0);
		talloc_free(lease);
		if (found)
			break;
	}
	help_wait_moved(rig);
	TALLOC_FREE(rig->store);
	flip(rig, "track.db", root_of(rig, "recipient"), 1);
	reopen(rig);
	assert_int_equal(names_with(rig, "track.db.corrupt-"), 0);
	assert_int_equal(store_track(rig->store, rig, &query, &cursor, &records, &count), -EUCLEAN);
	finish(rig, "d");
	reopen(rig);
	assert_int_equal(names_with(rig, "track.db.corrupt-") > 0, 1);
	assert_int_equal(names_with(rig, "doubtful"), 0);
	assert_int_equal(store_track(rig->store, rig, &query, &cursor, &records, &count), 0);
	assert_int_equal(count, 2);
	/* A doubt that is not founded costs nothing. */
	close(open_name(rig, "track.db.doubtful", O_WRONLY | O_CREAT));
	const unsigned kept = names_with(rig, "track.db.corrupt-");
	reopen(rig);
	assert_int_equal(names_with(rig, "track.db.corrupt-"), kept);
	rig_free(rig);
}

static void test_damage_in_queue_db_is_no_reason_to_doubt_track_db(void **state)
{
	struct rig *rig = rig_with_mails();
	const int64_t page =
		help_number(rig, "queue.db", "SELECT rootpage FROM sqlite_schema WHERE name = 'message'");
	struct store_admin_suspension done;
	struct store_query query = { 0 };
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	size_t count;

	(void)state;
	reopen(rig);
	flip(rig, "queue.db", (page - 1) * PAGE, 1);
	/* A commit has the readers forget what they keep in memory. */
	assert_int_equal(store_admin_suspend(rig->store, "a.test", true, 5, &done), 0);
	assert_int_equal(store_track(rig->store, rig, &query, &cursor, &records, &count), -EUCLEAN);
	assert_int_equal(names_with(rig, "doubtful"), 0);
	reopen(rig);
	assert_true(names_with(rig, "queue.db.corrupt-") > 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_28_a_wrong_bit_in_the_header_loses_nothing),
		cmocka_unit_test(test_11_28_an_empty_file_is_not_taken_for_a_new_one),
		cmocka_unit_test(test_11_28_a_salvage_that_was_cut_short_is_finished),
		cmocka_unit_test(test_11_28_a_damaged_file_of_an_older_version_is_refused_unchanged),
		cmocka_unit_test(test_11_28_damage_that_is_met_ends_the_role_and_the_next_start_salvages),
		cmocka_unit_test(test_11_28_damaged_mail_is_corrupt_when_it_was_salvaged),
		cmocka_unit_test(test_11_28_a_suspended_destination_stays_suspended),
		cmocka_unit_test(test_a_damaged_track_db_keeps_nobody_waiting),
		cmocka_unit_test(test_a_wrong_bit_in_the_header_of_track_db_keeps_nobody_waiting),
		cmocka_unit_test(test_11_30_a_track_db_of_a_newer_version_is_refused),
		cmocka_unit_test(test_a_wrong_bit_in_the_list_of_tables_of_track_db_keeps_nobody_waiting),
		cmocka_unit_test(test_a_track_db_that_does_not_say_its_last_numbers_is_set_aside),
		cmocka_unit_test(test_a_track_db_that_turned_out_damaged_is_set_aside_at_the_next_start),
		cmocka_unit_test(test_damage_in_queue_db_is_no_reason_to_doubt_track_db),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
