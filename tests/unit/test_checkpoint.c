/* The log of a database stays short while one writes and others read, and nobody who writes waits long. */
#include "queue/checkpoint.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "queue/database.h"
#include "test_help.h"

enum { COPIED = 20, BOUNDED = 200, DAMAGE_MS = 20000 };

struct rig {
	char path[64];
	int fd;
	sqlite3 *writer, *reader;
	struct checkpoint *checkpoint;
	int pages; /* of the log */
};

static int grown(void *context, sqlite3 *db, const char *name, int pages)
{
	struct rig *rig = context;

	(void)db;
	(void)name;
	rig->pages = pages;
	checkpoint_grown(rig->checkpoint, pages);
	return SQLITE_OK;
}

static struct rig *rig_new(void)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	const char *why;
	sqlite3 *log;

	help_directory(rig->path);
	rig->fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(database_open_writer(rig, rig->fd, DATABASE_QUEUE, &rig->writer, &why), 0);
	assert_int_equal(database_open_reader(rig, rig->fd, DATABASE_QUEUE, &rig->reader, &why), 0);
	assert_int_equal(database_open_writer(rig, rig->fd, DATABASE_QUEUE, &log, &why), 0);
	rig->checkpoint = checkpoint_start(rig, log, (struct checkpoint_limits){ COPIED, BOUNDED });
	sqlite3_wal_hook(rig->writer, grown, rig);
	return rig;
}

static void rig_free(struct rig *rig)
{
	checkpoint_stop(rig->checkpoint);
	database_close(rig->writer);
	database_close(rig->reader);
	close(rig->fd);
	help_remove(rig->path);
	talloc_free(rig);
}

/* One commit of a few pages. */
static void write_some(struct rig *rig)
{
	checkpoint_enter(rig->checkpoint);
	int r = database_exec(rig->writer, "INSERT INTO content (bytes) VALUES (randomblob(20000))");
	checkpoint_leave(rig->checkpoint);
	assert_int_equal(r, 0);
}

/* Write until the log begins anew. */
static void write_until_anew(struct rig *rig)
{
	const int64_t deadline = clock_mono_ms() + 60000;
	int before;

	do {
		before = rig->pages;
		write_some(rig);
		assert_true(clock_mono_ms() < deadline);
	} while (rig->pages >= before);
}

static void test_the_log_begins_anew_under_a_writer_that_never_pauses(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	for (int i = 0; i < 10; i++)
		write_until_anew(rig);
	rig_free(rig);
}

static void test_a_long_reader_stops_neither_the_writer_nor_what_it_sees(void **state)
{
	struct rig *rig = rig_new();
	sqlite3_stmt *count = database_prepare(rig->reader, "SELECT count(*) FROM content");

	(void)state;
	write_some(rig);
	assert_int_equal(database_exec(rig->reader, "BEGIN; SELECT * FROM content"), 0);
	for (int i = 0; i < 300; i++)
		write_some(rig);
	assert_true(rig->pages > BOUNDED);
	assert_int_equal(database_step(count), 1);
	assert_int_equal(sqlite3_column_int(count, 0), 1);
	sqlite3_reset(count);
	assert_int_equal(database_exec(rig->reader, "COMMIT"), 0);

	/* Once it is gone the log begins anew. */
	write_until_anew(rig);
	assert_int_equal(database_step(count), 1);
	assert_true(sqlite3_column_int(count, 0) > 301);
	sqlite3_finalize(count);
	rig_free(rig);
}

/* All of it is in the database, and no copy is under way, which would write behind the end of a file that is cut meanwhile. */
static void empty_the_log(struct rig *rig)
{
	const int64_t deadline = clock_mono_ms() + 60000;
	bool busy = true;

	while (busy) {
		sqlite3_stmt *truncate = database_prepare(rig->writer, "PRAGMA wal_checkpoint(TRUNCATE)");

		assert_true(clock_mono_ms() < deadline);
		assert_int_equal(database_step(truncate), 1);
		busy = sqlite3_column_int(truncate, 0) != 0;
		sqlite3_finalize(truncate);
	}
}

/* Nobody else would see that the database was cut short: what is written goes to the log. */
static void test_11_28_damage_that_a_checkpoint_meets_ends_the_process(void **state)
{
	char path[64];
	int status;

	(void)state;
	help_directory(path);
	pid_t child = fork();
	if (child == 0) {
		setenv("TMPDIR", path, 1);
		struct rig *rig = rig_new();

		for (int i = 0; i < 500; i++) /* far more than the log will hold: SQLite compares the two */
			write_some(rig);
		empty_the_log(rig);
		CLEANUP(base_close) int fd = openat(rig->fd, "queue.db", O_WRONLY | O_CLOEXEC);
		assert_int_equal(ftruncate(fd, 8192), 0);
		for (const int64_t until = clock_mono_ms() + DAMAGE_MS; clock_mono_ms() < until;)
			write_some(rig); /* until the checkpointer comes */
		rig_free(rig);
		_exit(EXIT_SUCCESS);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	help_remove(path);
	assert_int_equal(status, EXIT_FAILURE << 8); /* not by a signal */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_log_begins_anew_under_a_writer_that_never_pauses),
		cmocka_unit_test(test_a_long_reader_stops_neither_the_writer_nor_what_it_sees),
		cmocka_unit_test(test_11_28_damage_that_a_checkpoint_meets_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
