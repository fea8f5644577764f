/*
 * See sound.h. A damaged database can look sound to SQLite: a page of a tree that is never asked for, a log whose end is taken for torn, a
 * state that took a recipient out of the index. So all of it is read at every start, which costs what reading the file costs: the queue
 * holds live mail only. What is inside rows their checksums say, when they are read.
 */
#include "queue/sound.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "queue/database.h"
#include "queue/salvage_wal.h"

/* The directory content/ is made after queue.db: where it is, queue.db was ours. */
static bool was_made(int directory_fd)
{
	return faccessat(directory_fd, "content", F_OK, 0) == 0;
}

static int open_file(int directory_fd, const char *name, int *ret_fd)
{
	*ret_fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 && errno != ENOENT ? -errno : 0;
}

/* SQLite asks for one page after the other, in the order of its trees: from a disk that takes ten times as long as to have all of it read in
 * its own order. Only what memory holds is worth it. */
static void read_ahead(int fd, off_t size)
{
	const off_t piece = 1024 * 1024; /* the kernel reads no more for one call */

	if (size / sysconf(_SC_PAGESIZE) < sysconf(_SC_PHYS_PAGES) / 2)
		for (off_t at = 0; at < size; at += piece)
			(void)posix_fadvise(fd, at, piece, POSIX_FADV_WILLNEED);
}

/* Before SQLite is let at it: what is broken in the log SQLite would forget. */
static int check_files(const void *owner, int directory_fd, bool *ret_there, const char **ret_damage)
{
	CLEANUP(base_close) int db = -1;
	CLEANUP(base_close) int wal = -1;
	struct stat status;
	struct salvage_wal *log;

	int r = open_file(directory_fd, "queue.db", &db);
	if (r < 0 || db < 0)
		return r;
	*ret_there = true;
	if (fstat(db, &status) < 0)
		return -errno;
	if (status.st_size == 0 && was_made(directory_fd))
		*ret_damage = "it is empty";
	read_ahead(db, status.st_size);
	r = open_file(directory_fd, "queue.db-wal", &wal);
	if (r == 0)
		r = salvage_wal_read(owner, wal, &log);
	if (r < 0)
		return r;
	if (log->lost)
		*ret_damage = "queue.db-wal, its log, is damaged";
	talloc_free(log);
	return 0;
}

/* The first column of the first row, owned by `owner`, NULL when it is NULL or there is no row. Positive when SQLite finds the file damaged;
 * negative when it cannot be read. */
static int ask(const void *owner, sqlite3 *db, const char *question, const char **ret_answer)
{
	sqlite3_stmt *row = NULL;
	int r = sqlite3_prepare_v2(db, question, -1, &row, NULL);

	*ret_answer = NULL;
	if (r == SQLITE_OK)
		r = sqlite3_step(row);
	if (r == SQLITE_ROW && sqlite3_column_type(row, 0) != SQLITE_NULL)
		*ret_answer = text_copy(owner, database_text(row, 0));
	sqlite3_finalize(row);
	switch (r & 0xff) {
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_CANTOPEN:
	case SQLITE_FULL:
	case SQLITE_IOERR:
	case SQLITE_LOCKED:
	case SQLITE_NOMEM:
	case SQLITE_PERM:
		return database_error(db);
	default:
		*ret_answer = text_copy(owner, text_of(sqlite3_errmsg(db)));
		return 1;
	}
}

static bool is(const char *answer, const char *wanted)
{
	return answer != NULL && strcmp(answer, wanted) == 0;
}

/* What a check of SQLite's says is a headline, and then what is wrong. */
static const char *headline_off(const char *words)
{
	const char *line = words == NULL ? NULL : strchr(words, '\n');

	return words == NULL ? "" : line == NULL ? words : line + 1;
}

enum whose { OURS, OLDER, NOT_OURS, HEADER_DAMAGED };

/* A later version that changes no table; what one wrong bit makes of our number is taken for damage. */
static bool is_newer(uint64_t version)
{
	return version > DATABASE_SCHEMA && __builtin_popcountll(version ^ DATABASE_SCHEMA) > 1;
}

/* The number of the schema and the mark of our files stand in the header, where one wrong bit could make a file of ours another's: the
 * tables themselves say it once more. */
static int whose_is(const void *owner, sqlite3 *db, bool made, enum whose *ret_whose, const char **ret_words)
{
	const char *version, *mark, *theirs, *ours = NULL;
	uint64_t number = 0;

	int r = ask(owner, db, DATABASE_COLUMNS, &theirs);
	*ret_words = theirs;
	if (r > 0 && !made)
		return 0;
	if (r == 0)
		r = database_our_columns(owner, DATABASE_QUEUE, &ours);
	if (r == 0)
		r = ask(owner, db, "PRAGMA user_version", &version);
	if (r == 0)
		r = ask(owner, db, "PRAGMA application_id", &mark);
	if (r != 0)
		return r;

	bool marked = text_number(text_of(mark), INT32_MAX, &number) == 0 && number == DATABASE_APPLICATION,
	     known = text_number(text_of(version), INT32_MAX, &number) == 0;
	if (is(theirs, ours) && marked && known && is_newer(number))
		*ret_whose = NOT_OURS;
	else if (is(theirs, ours))
		*ret_whose = marked && known && number == DATABASE_SCHEMA ? OURS : HEADER_DAMAGED;
	else if (theirs == NULL)
		*ret_whose = made ? HEADER_DAMAGED : NOT_OURS;
	else if (marked && known && number == DATABASE_SCHEMA)
		*ret_whose = HEADER_DAMAGED;
	else
		*ret_whose = marked && known && number > 0 && number < DATABASE_SCHEMA ? OLDER : NOT_OURS;
	return 0;
}

/* 0 = sound, positive = damaged, as ret_words says; negative = unknown. */
static int check_tables(const void *owner, sqlite3 *db, bool made, const char **ret_words)
{
	static const char *const settings[][2] = { { "PRAGMA journal_mode", "wal" },
		{ "PRAGMA page_size", "8192" }, { "PRAGMA auto_vacuum", "2" },
		{ "PRAGMA encoding", "UTF-8" } };
	enum whose whose = NOT_OURS;

	int r = whose_is(owner, db, made, &whose, ret_words);
	if (r != 0 || whose == NOT_OURS)
		return r;
	*ret_words = "its header or its list of tables is wrong";
	if (whose == HEADER_DAMAGED || sqlite3_db_readonly(db, "main") != 0)
		return 1;
	for (size_t i = 0; i < COUNT(settings); i++) {
		const char *answer;

		r = ask(owner, db, settings[i][0], &answer);
		if (r == 0 && !is(answer, settings[i][1]))
			r = 1;
		if (r != 0)
			return r;
	}
	r = ask(owner, db, "PRAGMA integrity_check(1)", ret_words);
	if (r == 0 && !is(*ret_words, "ok"))
		r = 1;
	if (r > 0)
		*ret_words = headline_off(*ret_words);
	/* Rows of older schemas have no checksums: nobody could say which of them are whole. */
	return r > 0 && whose == OLDER ? -EUCLEAN : r;
}

int sound_check(const void *owner, int directory_fd, const char **ret_damage)
{
	void *scratch = talloc_new(owner);
	const char *words = NULL;
	sqlite3 *db = NULL;
	bool there = false;

	int r = check_files(scratch, directory_fd, &there, &words);
	if (r == 0 && there && words == NULL) {
		r = database_open_file(directory_fd, "queue.db", SQLITE_OPEN_READWRITE, &db);
		if (r == 0) {
			/* What is damaged stays as it is found. */
			sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
			r = check_tables(scratch, db, was_made(directory_fd), &words);
		}
		database_close(db);
		if (r == 0)
			words = NULL;
	}
	if (r >= 0)
		*ret_damage = words == NULL ? NULL : text_copy(owner, text_of(words));
	talloc_free(scratch);
	return MIN(r, 0);
}

/* As check_tables(). */
static int check_track(const void *owner, sqlite3 *db, const char **ret_words)
{
	const char *theirs, *ours = NULL;

	int r = ask(owner, db, "PRAGMA quick_check(1)", ret_words);
	if (r == 0 && !is(*ret_words, "ok"))
		r = 1;
	if (r > 0)
		*ret_words = headline_off(*ret_words);
	if (r == 0)
		r = ask(owner, db, DATABASE_COLUMNS, ret_words);
	if (r != 0)
		return r;
	theirs = *ret_words;
	*ret_words = "its list of tables is wrong";
	r = database_our_columns(owner, DATABASE_TRACK, &ours);
	return r == 0 && !is(theirs, ours) ? 1 : r;
}

int sound_check_track(const void *owner, int directory_fd, const char **ret_damage)
{
	void *scratch = talloc_new(owner);
	const char *words = NULL;
	sqlite3 *db = NULL;

	*ret_damage = NULL;
	int r = faccessat(directory_fd, "track.db", F_OK, 0) < 0 ? -errno : 0;
	if (r == 0)
		r = database_open_file(directory_fd, "track.db", SQLITE_OPEN_READWRITE, &db);
	if (r == 0)
		r = check_track(scratch, db, &words);
	if (r > 0)
		*ret_damage = text_copy(owner, text_of(words));
	database_close(db);
	talloc_free(scratch);
	return r == -ENOENT ? 0 : MIN(r, 0);
}
