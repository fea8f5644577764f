/* Reading a database without SQLite: on sound files it finds what SQLite finds, whatever was done to them before; on damaged ones, the rest. */
#include "queue/salvage_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/digest.h"
#include "queue/salvage_wal.h"
#include "test_help.h"

/* A database with the tables of queue.db in small: `t` has 5 columns, `w` 6, and no index has as many. */
struct rig {
	char path[64];
	sqlite3 *db;
	uint64_t dice;
};

static void sql(struct rig *rig, const char *text)
{
	char *words = NULL;

	if (sqlite3_exec(rig->db, text, NULL, NULL, &words) != SQLITE_OK)
		fail_msg("%s: %s", text, words);
}

static struct rig *rig_new(void)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));

	help_directory(rig->path);
	char *name = text_must(talloc_asprintf(rig, "%s/queue.db", rig->path));
	assert_int_equal(sqlite3_open(name, &rig->db), SQLITE_OK);
	rig->dice = 1;
	sql(rig,
		"PRAGMA synchronous = OFF; PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
		"PRAGMA wal_autocheckpoint = 0;"
		"CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER, b TEXT, c BLOB, d REAL);"
		"CREATE TABLE w (a INTEGER, b INTEGER, c TEXT, d INTEGER, e TEXT, f BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;"
		"CREATE INDEX w_live ON w (a, c) WHERE d = 0");
	return rig;
}

static void rig_free(struct rig *rig)
{
	sqlite3_close(rig->db);
	help_remove(rig->path);
	talloc_free(rig);
}

static int open_name(struct rig *rig, const char *name)
{
	char *path = text_must(talloc_asprintf(rig, "%s/%s", rig->path, name));
	int fd = open(path, O_RDWR | O_CLOEXEC);

	talloc_free(path);
	return fd;
}

static unsigned throw_dice(struct rig *rig, unsigned limit)
{
	rig->dice = rig->dice * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(rig->dice >> 33) % limit;
}

/* One of each kind of change, in numbers, lengths and places that the dice choose. */
static void change(struct rig *rig)
{
	static const char *const changes[] = {
		"INSERT INTO t (a, b, c, d) VALUES (%d * 1234567, 'b%d', randomblob(%d), 1.5)",
		"INSERT INTO t (a, b, c, d) VALUES (-%d, 'b%d', zeroblob(%d * 10), NULL)",
		"INSERT INTO t (a, b, c, d) VALUES (%d << 40, 'b%d', randomblob(%d * 60), 0)",
		"INSERT OR REPLACE INTO w VALUES (%d, %d, 'domain.test', 0, printf('%%.*c', %d / 4, 'x'), NULL)",
		"INSERT OR REPLACE INTO w VALUES (%d, %d, 'other.test', 1, '', randomblob(%d * 5))",
		"INSERT OR REPLACE INTO w SELECT %d, id, 'many.test', 0, '', NULL FROM t WHERE id > %d AND id < %d",
		"UPDATE w SET d = 1 WHERE a = %d AND b <> %d + %d",
		"UPDATE t SET b = b || 'longer' WHERE id %% 7 = %d %% 7 AND id > %d - %d",
		"DELETE FROM t WHERE id %% 11 = %d %% 11 AND a < %d * 10000 + %d",
		"DELETE FROM w WHERE a = %d AND b > %d %% 10 + %d %% 10",
		"DELETE FROM w WHERE a > %d + %d + %d",
		"PRAGMA incremental_vacuum(%d)",
	};
	char *text = NULL;
	unsigned kind = throw_dice(rig, 2 * COUNT(changes));

	if (kind >= COUNT(changes))
		kind %= 6; /* more comes than goes */
	if (kind == COUNT(changes) - 1)
		text = talloc_asprintf(rig, "PRAGMA incremental_vacuum(%u)", throw_dice(rig, 6));
	else
		text = talloc_asprintf(
			rig, changes[kind], throw_dice(rig, 40), throw_dice(rig, 900), throw_dice(rig, 3000));
	sql(rig, text);
	talloc_free(text);
}

static char *add_bytes(char *line, char kind, const void *at, size_t len)
{
	const struct digest digest = digest_of((struct text){ at == NULL ? "" : at, len });
	char hex[DIGEST_HEX_MAX];

	return talloc_asprintf_append(line, " %c%zu:%s", kind, len, digest_hex(&digest, hex));
}

struct lines {
	char **list;
	size_t count;
};

static void add_line(struct lines *lines, char *line)
{
	lines->list = text_must(talloc_realloc(NULL, lines->list, char *, (unsigned)lines->count + 1));
	lines->list[lines->count++] = talloc_steal(lines->list, line);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct lines *lines)
{
	if (lines->count > 0)
		qsort(lines->list, lines->count, sizeof lines->list[0], compare);
}

/* What SQLite answers. */
static void ask_sqlite(struct rig *rig, const char *question, struct lines *lines)
{
	sqlite3_stmt *row;

	assert_int_equal(sqlite3_prepare_v2(rig->db, question, -1, &row, NULL), SQLITE_OK);
	while (sqlite3_step(row) == SQLITE_ROW) {
		char *line = talloc_asprintf(NULL, "%d", sqlite3_column_count(row));

		for (int i = 0; i < sqlite3_column_count(row); i++)
			switch (sqlite3_column_type(row, i)) {
			case SQLITE_NULL:
				line = talloc_strdup_append(line, " n");
				break;
			case SQLITE_INTEGER:
				line = talloc_asprintf_append(
					line, " i%lld", (long long)sqlite3_column_int64(row, i));
				break;
			case SQLITE_FLOAT: /* whole numbers are stored as such */
				line = talloc_strdup_append(
					line, sqlite3_column_double(row, i) == 0 ? " i0" : " r");
				break;
			case SQLITE_TEXT:
				line = add_bytes(line, 't', sqlite3_column_text(row, i),
					(size_t)sqlite3_column_bytes(row, i));
				break;
			default:
				line = add_bytes(line, 'b', sqlite3_column_blob(row, i),
					(size_t)sqlite3_column_bytes(row, i));
			}
		add_line(lines, line);
	}
	sqlite3_finalize(row);
}

/* What stands in the file. */
static void ask_file(struct rig *rig, struct lines *lines, unsigned view)
{
	int db = open_name(rig, "queue.db"), wal = open_name(rig, "queue.db-wal");
	struct salvage_file *file;
	struct salvage_row row;

	assert_int_equal(salvage_file_open(rig, db, wal, &file), 0);
	assert_true(view < salvage_file_views(file));
	salvage_file_view(file, view);
	while (salvage_file_next(file, &row)) {
		if (row.record.count != (row.has_rowid ? 5 : 6) || row.record.values[0].kind == SALVAGE_TEXT)
			continue;
		char *line = talloc_asprintf(NULL, "%zu", row.record.count);
		for (size_t i = 0; i < row.record.count; i++) {
			const struct salvage_value *v = &row.record.values[i];

			if (row.has_rowid && i == 0)
				line = talloc_asprintf_append(line, " i%lld", (long long)row.rowid);
			else if (v->kind == SALVAGE_NULL)
				line = talloc_strdup_append(line, " n");
			else if (v->kind == SALVAGE_NUMBER)
				line = talloc_asprintf_append(line, " i%lld", (long long)v->number);
			else if (v->kind == SALVAGE_REAL)
				line = talloc_strdup_append(line, " r");
			else
				line = add_bytes(
					line, v->kind == SALVAGE_TEXT ? 't' : 'b', v->bytes.at, v->bytes.len);
		}
		add_line(lines, line);
	}
	talloc_free(file);
	close(db);
	if (wal >= 0)
		close(wal);
	sort(lines);
}

static void same_rows(struct rig *rig, const char *when)
{
	struct lines want = { 0 }, have = { 0 };

	ask_sqlite(rig, "SELECT * FROM t", &want);
	ask_sqlite(rig, "SELECT * FROM w", &want);
	sort(&want);
	ask_file(rig, &have, 0);
	if (want.count != have.count)
		fail_msg("%s: SQLite has %zu rows, the file %zu", when, want.count, have.count);
	for (size_t i = 0; i < want.count; i++)
		assert_string_equal(want.list[i], have.list[i]);
	talloc_free(want.list);
	talloc_free(have.list);
}

static void test_a_sound_file_has_the_rows_that_sqlite_finds(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < 20; i++)
			change(rig);
		same_rows(rig, "from the log");
		if (round % 3 == 0)
			sql(rig, "PRAGMA wal_checkpoint(PASSIVE)");
		if (round % 5 == 0) {
			sql(rig, "PRAGMA wal_checkpoint(TRUNCATE)");
			same_rows(rig, "from the file");
		}
		if (round % 7 == 0) { /* its pages are in the log, and must not be read */
			sql(rig, "PRAGMA cache_size = 5; BEGIN; UPDATE t SET c = zeroblob(9000); ROLLBACK");
			same_rows(rig, "after a transaction that was rolled back");
		}
	}
	rig_free(rig);
}

/* More pages than the first page of the map knows. */
static void test_a_large_file_has_the_rows_that_sqlite_finds(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	sql(rig, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1900)"
		 " INSERT INTO t (a, b, c) SELECT i, 'b', randomblob(9000) FROM n");
	sql(rig, "DELETE FROM t WHERE id % 3 = 0");
	same_rows(rig, "from the log");
	sql(rig, "PRAGMA wal_checkpoint(TRUNCATE)");
	same_rows(rig, "from the file");
	rig_free(rig);
}

static size_t rows_of(struct rig *rig, unsigned view)
{
	struct lines lines = { 0 };

	ask_file(rig, &lines, view);
	talloc_free(lines.list);
	return lines.count;
}

static void harm(struct rig *rig, const char *name, off_t at, size_t len)
{
	int fd = open_name(rig, name);
	uint8_t bytes[SALVAGE_PAGE_SIZE] = { 0 };

	if (len == 0) { /* one bit */
		len = 1;
		assert_int_equal(pread(fd, bytes, 1, at), 1);
		bytes[0] ^= 4;
	}
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	close(fd);
}

/* The pages that are not lost give their rows whatever happened to those above them, and to the map. */
static void test_11_28_a_lost_page_hides_no_other(void **state)
{
	static const struct {
		const char *what;
		off_t at;
		size_t len;
	} harms[] = {
		{ "page 1", 0, SALVAGE_PAGE_SIZE },
		{ "the map", SALVAGE_PAGE_SIZE, SALVAGE_PAGE_SIZE },
		{ "the root of t", 2 * SALVAGE_PAGE_SIZE, SALVAGE_PAGE_SIZE },
		{ "the size of a page", 16, 0 },
		{ "the number of pages", 31, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(harms); i++) {
		struct rig *rig = rig_new();

		sql(rig, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
			 " INSERT INTO t (a, b, c) SELECT i, 'b', randomblob(900) FROM n");
		sql(rig, "DELETE FROM t WHERE id > 250");
		sql(rig, "PRAGMA wal_checkpoint(TRUNCATE)");
		harm(rig, "queue.db", harms[i].at, harms[i].len);
		if (rows_of(rig, 0) != 250)
			fail_msg("without %s there are %zu rows", harms[i].what, rows_of(rig, 0));
		rig_free(rig);
	}
}

/* Each bit of what the map says about the free pages: what was deleted stays so. */
static void test_11_28_one_wrong_bit_in_the_map_brings_nothing_back(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	sql(rig, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
		 " INSERT INTO t (a, b, c) SELECT i, 'b', randomblob(900) FROM n");
	sql(rig, "DELETE FROM t; PRAGMA wal_checkpoint(TRUNCATE)");
	int fd = open_name(rig, "queue.db");
	for (off_t bit = 0; bit < 8L * 5 * 20; bit++) {
		off_t at = SALVAGE_PAGE_SIZE + bit / 8;
		uint8_t before, after;

		assert_int_equal(pread(fd, &before, 1, at), 1);
		after = (uint8_t)(before ^ 1 << bit % 8);
		assert_int_equal(pwrite(fd, &after, 1, at), 1);
		if (rows_of(rig, 0) != 0)
			fail_msg("bit %d brings back deleted rows", (int)bit);
		assert_int_equal(pwrite(fd, &before, 1, at), 1);
	}
	close(fd);
	rig_free(rig);
}

/* Have the first page of `t` name its only row a hundred times. */
static void repeat_row(struct rig *rig)
{
	enum { TIMES = 100 };
	uint8_t page[SALVAGE_PAGE_SIZE];
	const off_t at = 2 * SALVAGE_PAGE_SIZE;
	int fd = open_name(rig, "queue.db");

	assert_int_equal(pread(fd, page, sizeof page, at), sizeof page);
	assert_int_equal(page[0], 0x0d);
	assert_int_equal(salvage_page_cells(page, 3), 1);
	page[4] = TIMES;
	for (size_t i = 1; i < TIMES; i++)
		memcpy(page + 8 + 2 * i, page + 8, 2);
	assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
	close(fd);
}

/* A file that was made to keep a start busy: many rows share their bytes, in the page or in a chain of pages. */
static void test_11_28_what_many_rows_claim_is_not_read_for_all_of_them(void **state)
{
	static const unsigned sizes[] = { 7000, 800000 };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct rig *rig = rig_new();
		char *row = text_must(
			talloc_asprintf(rig, "INSERT INTO t (a, c) VALUES (1, zeroblob(%u))", sizes[i]));

		sql(rig, row);
		sql(rig, "INSERT INTO w VALUES (1, 1, 'domain.test', 0, '', zeroblob(800000))");
		sql(rig, "PRAGMA wal_checkpoint(TRUNCATE)");
		assert_int_equal(rows_of(rig, 0), 2);
		repeat_row(rig);
		if (rows_of(rig, 0) != 4 + 1)
			fail_msg("of %u bytes: %zu rows", sizes[i], rows_of(rig, 0));
		rig_free(rig);
	}
}

enum { FRAME = 24 + SALVAGE_PAGE_SIZE };

/* Three transactions in the log. */
static struct rig *rig_with_log(void)
{
	struct rig *rig = rig_new();

	sql(rig,
		"PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (2)");
	sql(rig, "INSERT INTO t (a) VALUES (3)");
	return rig;
}

static struct salvage_wal *read_log(struct rig *rig)
{
	int fd = open_name(rig, "queue.db-wal");
	struct salvage_wal *wal;

	assert_int_equal(salvage_wal_read(rig, fd, &wal), 0);
	close(fd);
	return wal;
}

static void test_11_28_a_log_says_what_it_lost(void **state)
{
	struct rig *rig = rig_with_log();
	struct salvage_wal *wal = read_log(rig);
	const size_t frames = wal->count;

	(void)state;
	assert_true(wal->sound && !wal->lost && frames >= 3);
	assert_int_equal(rows_of(rig, 0), 3);
	rig_free(rig);
	for (size_t frame = 0; frame < frames; frame++)
		for (unsigned part = 0; part < 5; part++) {
			/* the page's number, the commit, a salt, the checksum, the page */
			static const off_t parts[] = { 0, 6, 8, 20, 24 + 5000 };

			rig = rig_with_log();
			harm(rig, "queue.db-wal", 32 + (off_t)frame * FRAME + parts[part], 0);
			wal = read_log(rig);
			size_t last = frames - 1;
			while (last > 0 && wal->frames[last - 1].commit == 0)
				last--; /* the first frame of the last transaction */
			if (wal->lost != (frame < last))
				fail_msg("part %u of frame %zu of %zu: %s", part, frame, frames,
					wal->lost ? "lost" : "not lost");
			if (part == 4 && rows_of(rig, 0) != 3)
				fail_msg("frame %zu: a wrong bit beside the rows hides them", frame);
			rig_free(rig);
		}
}

/* The map in the file still calls the pages free, and the newer one in the log is lost. */
static void test_11_28_a_lost_frame_of_the_map_hides_nothing(void **state)
{
	struct rig *rig = rig_new();
	unsigned lost = 0;

	(void)state;
	sql(rig, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
		 " INSERT INTO t (a, b, c) SELECT i, 'b', randomblob(900) FROM n");
	sql(rig, "DELETE FROM t; PRAGMA wal_checkpoint(TRUNCATE)");
	sql(rig, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
		 " INSERT INTO t (a, b, c) SELECT i, 'b', randomblob(900) FROM n");
	struct salvage_wal *wal = read_log(rig);
	for (size_t i = 0; i < wal->count; i++)
		if (wal->frames[i].page == 2) {
			harm(rig, "queue.db-wal", (off_t)wal->frames[i].at - 24, 24);
			lost++;
		}
	assert_int_equal(lost, 1);
	if (rows_of(rig, 0) != 100)
		fail_msg("%zu rows of 100", rows_of(rig, 0));
	rig_free(rig);
}

static void test_11_28_a_log_without_its_header_is_read(void **state)
{
	static const off_t parts[] = { 0, 3, 5, 9, 13, 17, 21, 25, 29 };

	(void)state;
	for (size_t i = 0; i < COUNT(parts); i++) {
		struct rig *rig = rig_with_log();

		harm(rig, "queue.db-wal", parts[i], 0);
		assert_true(read_log(rig)->lost);
		assert_int_equal(rows_of(rig, 0), 3);
		assert_true(rows_of(rig, 1) >= 2);
		harm(rig, "queue.db-wal", 20, 12); /* and the first frame */
		harm(rig, "queue.db-wal", 32 + 8, 8);
		assert_true(read_log(rig)->lost);
		assert_int_equal(rows_of(rig, 0), 3);
		harm(rig, "queue.db-wal", 0, 32 + 24);
		assert_true(read_log(rig)->lost);
		rig_free(rig);
	}
}

/* One bit of the magic number even says how the checksums of all frames are reckoned. */
static void test_11_28_no_bit_of_the_header_of_a_log_loses_it(void **state)
{
	struct rig *rig = rig_with_log();
	int fd = open_name(rig, "queue.db-wal");

	(void)state;
	for (unsigned bit = 0; bit < 32 * 8; bit++) {
		uint8_t was, is;

		assert_int_equal(pread(fd, &was, 1, bit / 8), 1);
		is = was ^ (uint8_t)(1u << bit % 8);
		assert_int_equal(pwrite(fd, &is, 1, bit / 8), 1);
		if (!read_log(rig)->lost || rows_of(rig, 0) != 3)
			fail_msg("bit %u of byte %u", bit % 8, bit / 8);
		assert_int_equal(pwrite(fd, &was, 1, bit / 8), 1);
	}
	close(fd);
	rig_free(rig);
}

/* The same bit is wrong in a salt of the header and in that of the first frame, which seems to confirm it, and is damaged otherwise, too. */
static void test_11_28_a_salt_that_is_wrong_twice_loses_no_log(void **state)
{
	(void)state;
	for (off_t at = 0; at < 8; at++) {
		struct rig *rig = rig_with_log();

		harm(rig, "queue.db-wal", 16 + at, 0);
		harm(rig, "queue.db-wal", 32 + 8 + at, 0);
		harm(rig, "queue.db-wal", 32 + 24 + 5000, 0);
		assert_true(read_log(rig)->lost);
		assert_int_equal(rows_of(rig, 0), 3);
		rig_free(rig);
	}
}

static void test_a_torn_or_left_over_end_of_the_log_is_no_damage(void **state)
{
	struct rig *rig = rig_with_log();
	struct salvage_wal *wal = read_log(rig);
	int fd = open_name(rig, "queue.db-wal");

	(void)state;
	for (size_t left = wal->count * FRAME + 32; left > 0; left -= MIN(left, 1000u)) {
		assert_int_equal(ftruncate(fd, (off_t)left), 0);
		assert_false(read_log(rig)->lost);
	}
	close(fd);
	rig_free(rig);

	rig = rig_with_log(); /* the log begins again, shorter */
	sql(rig, "PRAGMA wal_checkpoint(RESTART); INSERT INTO t (a) VALUES (4)");
	wal = read_log(rig);
	assert_true(wal->sound && !wal->lost && wal->count < 3);
	same_rows(rig, "after the log began again");
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_sound_file_has_the_rows_that_sqlite_finds),
		cmocka_unit_test(test_a_large_file_has_the_rows_that_sqlite_finds),
		cmocka_unit_test(test_11_28_a_lost_page_hides_no_other),
		cmocka_unit_test(test_11_28_one_wrong_bit_in_the_map_brings_nothing_back),
		cmocka_unit_test(test_11_28_what_many_rows_claim_is_not_read_for_all_of_them),
		cmocka_unit_test(test_11_28_a_log_says_what_it_lost),
		cmocka_unit_test(test_11_28_a_lost_frame_of_the_map_hides_nothing),
		cmocka_unit_test(test_11_28_a_log_without_its_header_is_read),
		cmocka_unit_test(test_11_28_no_bit_of_the_header_of_a_log_loses_it),
		cmocka_unit_test(test_11_28_a_salt_that_is_wrong_twice_loses_no_log),
		cmocka_unit_test(test_a_torn_or_left_over_end_of_the_log_is_no_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
