/* What is found in a state directory: databases of older versions are copied and brought to ours with all their mail, others are refused. */
#include "queue/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "queue/database.h"
#include "store_help.h"

#define CURRENT "3"

/* The schemas as older versions made them. */
#define MESSAGE_1                                                                                            \
	"CREATE TABLE message (mid INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL,"            \
	" icid TEXT NOT NULL, client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL,"                  \
	" sender TEXT NOT NULL, size INTEGER NOT NULL, file TEXT, digest BLOB"
#define RECIPIENT_1                                                                                          \
	"CREATE TABLE recipient (mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL,"         \
	" domain TEXT NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,"
#define OTHERS_1                                                                                             \
	"CREATE TABLE content (mid INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;"                        \
	"CREATE INDEX recipient_live ON recipient (mid, domain, due) WHERE state = 0;"                       \
	"CREATE TABLE attempt (mid INTEGER NOT NULL, rid INTEGER NOT NULL, number INTEGER NOT NULL,"         \
	" time INTEGER NOT NULL, dcid TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL,"             \
	" state INTEGER NOT NULL, reply TEXT NOT NULL, tls TEXT NOT NULL,"                                   \
	" PRIMARY KEY (mid, rid, number)) STRICT, WITHOUT ROWID;"                                            \
	"CREATE TABLE refusal (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, icid TEXT NOT NULL,"           \
	" client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL,"                \
	" recipient TEXT NOT NULL, reply TEXT NOT NULL) STRICT;"

static const char *const schemas[] = {
	[1] = MESSAGE_1 ") STRICT;" RECIPIENT_1 " PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;" OTHERS_1,
	[2] = MESSAGE_1 ", eight_bit INTEGER NOT NULL DEFAULT 0, utf8 INTEGER NOT NULL DEFAULT 0,"
			" ret INTEGER NOT NULL DEFAULT 0, envid TEXT NOT NULL DEFAULT '') STRICT;" RECIPIENT_1
			" notify INTEGER NOT NULL DEFAULT 0, orcpt TEXT NOT NULL DEFAULT '',"
			" PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;" OTHERS_1,
};

/* One mail for two, one of them served; a finished one; one whose content is a file; one that is empty; and a refusal. */
static const char mails[] =
	"INSERT INTO message (received, icid, client, helo, tls, sender, size) VALUES"
	" (1000, '1-1', '192.0.2.1', 'a', '{}', 's@x.test', 5), (2000, '1-2', '192.0.2.1', 'a', '{}', '', 4);"
	"INSERT INTO message (received, icid, client, helo, tls, sender, size, file, digest) VALUES"
	" (3000, '1-3', '192.0.2.1', 'a', '{}', 's@x.test', 2, '0-0',"
	" x'8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4');" /* of "hi" */
	"INSERT INTO message (received, icid, client, helo, tls, sender, size) VALUES"
	" (4000, '1-4', '192.0.2.1', 'a', '{}', 's@x.test', 0);"
	"INSERT INTO content VALUES (1, CAST('hello' AS BLOB)), (4, x'');"
	"INSERT INTO recipient (mid, rid, address, domain, state, attempts, due) VALUES"
	" (1, 1, '1@A.test', 'a.test', 1, 1, 0), (1, 2, '2@A.test', 'a.test', 0, 1, 0),"
	" (2, 1, 'b@a.test', 'a.test', 2, 1, 0), (3, 1, 'c@a.test', 'a.test', 0, 0, 0),"
	" (4, 1, 'd@a.test', 'a.test', 0, 0, 0);"
	"INSERT INTO attempt VALUES (1, 1, 1, 1500, '2-1', 'mx', '', 0, '250 ok', '{}'),"
	" (1, 2, 1, 1500, '2-1', 'mx', '', 1, '450 later', '{}'),"
	" (2, 1, 1, 2500, '2-2', 'mx', '', 2, '550 no', '{}');"
	"INSERT INTO refusal VALUES (7, 5000, '1-5', '192.0.2.2', 'z', '{}', 'spy@z.test', 'r@e.test', '550 no');"
	"UPDATE sqlite_sequence SET seq = 40";

static void refuses_to_open(struct rig *rig, const char *word)
{
	const char *why = NULL;
	struct store *store;

	if (store_open(rig, rig->fd, rig->config, &store, &why) == 0)
		fail_msg("opened, but must not: %s", word);
	assert_non_null(why);
	if (strstr(why, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, word);
}

static void test_11_30_what_is_not_ours_or_newer_is_refused_and_left_as_it_is(void **state)
{
	struct rig *rig = rig_new(NEVER);
	char path[100], bytes[8192];

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	TALLOC_FREE(rig->store);
	help_change(rig, "queue.db", "PRAGMA user_version = 4"); /* which changed no table */
	refuses_to_open(rig, "newer version");
	help_change(
		rig, "queue.db", "ALTER TABLE message ADD COLUMN later INTEGER; PRAGMA user_version = 99");
	refuses_to_open(rig, "newer version");
	help_change(
		rig, "queue.db", "ALTER TABLE message DROP COLUMN later; PRAGMA user_version = " CURRENT "");
	reopen(rig);
	assert_int_equal(store_queued(rig->store), 1);
	TALLOC_FREE(rig->store);

	help_change(rig, "queue.db", "DROP TABLE content; PRAGMA application_id = 1");
	refuses_to_open(rig, "another program");

	snprintf(path, sizeof path, "%s/content", rig->path);
	assert_int_equal(rmdir(path), 0); /* a directory without it was never ours */
	snprintf(path, sizeof path, "%s/queue.db", rig->path);
	int fd = open(path, O_WRONLY | O_TRUNC);
	memset(bytes, 'x', sizeof bytes);
	assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
	close(fd);
	refuses_to_open(rig, "cannot be");
	rig_free(rig);
}

/* A directory as version `schema` of the database left it. */
static struct rig *old_rig(int schema)
{
	struct rig *rig = rig_new(AT_ONCE);
	char *setup;

	TALLOC_FREE(rig->store);
	assert_int_equal(unlinkat(rig->fd, "queue.db", 0), 0);
	unlinkat(rig->fd, "queue.db-wal", 0);
	unlinkat(rig->fd, "queue.db-shm", 0);
	setup = text_must(talloc_asprintf(rig,
		"PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
		"%s%s;"
		"PRAGMA application_id = %d; PRAGMA user_version = %d",
		schemas[schema], mails, 0x506f7374, schema));
	help_change(rig, "queue.db", setup);
	int file = openat(rig->fd, "content/0-0", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(file, "hi", 2), 2);
	close(file);
	return rig;
}

/* The three live mails of `mails`, in any order. */
static void deliver_all(struct rig *rig)
{
	static const struct {
		const char *address, *bytes;
	} table[] = { { "2@A.test", "hello" }, { "c@a.test", "hi" }, { "d@a.test", "" } };
	unsigned seen = 0;

	for (int n = 0; n < 3; n++) {
		struct lease *lease = must_lease(rig);

		assert_int_equal(lease->envelope.recipient_count, 1);
		for (size_t i = 0; i < COUNT(table); i++) {
			if (strcmp(lease->envelope.recipients[0], table[i].address) != 0)
				continue;
			seen |= 1u << i;
			assert_int_equal(lease->content.size, strlen(table[i].bytes));
			if (lease->content.fd < 0)
				assert_true(text_equal(lease->content.bytes, text_of(table[i].bytes)));
		}
		assert_int_equal(store_record(rig->store, outcome_of(lease, "d")), 0);
		talloc_free(lease);
	}
	assert_int_equal(seen, 7);
}

static void test_11_30_an_older_schema_is_copied_and_upgraded_with_all_its_mail(void **state)
{
	static const char *const copies[] = { [1] = "queue.db.schema1", [2] = "queue.db.schema2" };

	(void)state;
	for (int schema = 1; schema <= 2; schema++) {
		struct rig *rig = old_rig(schema);

		reopen(rig);
		assert_int_equal(store_queued(rig->store), 3);
		assert_int_equal(help_number(rig, "queue.db", "PRAGMA user_version"), DATABASE_SCHEMA);
		assert_int_equal(help_number(rig, copies[schema], "PRAGMA user_version"), schema);
		assert_int_equal(
			help_number(rig, copies[schema], "SELECT count(*) FROM recipient WHERE state = 0"),
			3);
		assert_int_equal(faccessat(rig->fd, "queue.db.schema2.new", F_OK, 0), -1);
		states_are(rig, 1, "delivered deferred");
		states_are(rig, 2, "bounced");
		deliver_all(rig);
		states_are(rig, 1, "delivered delivered");
		assert_int_equal(files_in_content(rig), 0);
		assert_true(commit(rig, "s@x.test", "x", TO("r@a.test")) == 41);
		reopen(rig);
		assert_int_equal(store_queued(rig->store), 1);
		rig_free(rig);
	}
}

/* A power cut between copy and upgrade: both are done again. */
static void test_11_30_an_upgrade_that_was_cut_off_is_done_again(void **state)
{
	struct rig *rig = old_rig(2);
	int left = openat(rig->fd, "queue.db.schema2.new", O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_int_equal(write(left, "rubbish", 7), 7);
	close(left);
	left = openat(rig->fd, "queue.db.schema2", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(left, "rubbish", 7), 7);
	close(left);
	reopen(rig);
	assert_int_equal(help_number(rig, "queue.db.schema2", "SELECT count(*) FROM message"), 4);
	assert_int_equal(store_queued(rig->store), 3);
	rig_free(rig);
}

/* Nothing is changed unless there is a copy. */
static void test_11_30_without_a_copy_there_is_no_upgrade(void **state)
{
	struct rig *rig = old_rig(2);

	(void)state;
	assert_int_equal(mkdirat(rig->fd, "queue.db.schema2", 0700), 0);
	refuses_to_open(rig, "make room for a second queue.db");
	assert_int_equal(help_number(rig, "queue.db", "PRAGMA user_version"), 2);
	assert_int_equal(unlinkat(rig->fd, "queue.db.schema2", AT_REMOVEDIR), 0);
	reopen(rig);
	assert_int_equal(store_queued(rig->store), 3);
	rig_free(rig);
}

static void test_a_reader_refuses_an_older_schema_and_says_what_to_do(void **state)
{
	struct rig *rig = old_rig(2);
	struct store *reader;
	const char *why;

	(void)state;
	assert_int_equal(store_open_reader(rig, rig->path, &reader, &why), -ENOTSUP);
	assert_non_null(strstr(why, "start the gateway"));
	rig_free(rig);
}

static void test_a_state_directory_that_cannot_be_written_is_refused_with_a_reason(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	TALLOC_FREE(rig->store);
	help_remove(rig->path);
	refuses_to_open(rig, "queue.db cannot be");
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_30_what_is_not_ours_or_newer_is_refused_and_left_as_it_is),
		cmocka_unit_test(test_11_30_an_older_schema_is_copied_and_upgraded_with_all_its_mail),
		cmocka_unit_test(test_11_30_an_upgrade_that_was_cut_off_is_done_again),
		cmocka_unit_test(test_11_30_without_a_copy_there_is_no_upgrade),
		cmocka_unit_test(test_a_reader_refuses_an_older_schema_and_says_what_to_do),
		cmocka_unit_test(test_a_state_directory_that_cannot_be_written_is_refused_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
