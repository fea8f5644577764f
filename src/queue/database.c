/*
 * The embedded database. It lives in a directory that is given as a descriptor, because role `queue` may not be able to walk
 * the path to it: names are /proc/self/fd/N/queue.db, and a thin VFS keeps SQLite from resolving them to paths.
 * page_size and auto_vacuum come before journal_mode=WAL; later they are ignored.
 */
#include "queue/database.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "queue/checksum.h"
#include "queue/copy.h"
#include "queue/storage_fault.h"

/* In queue.db and in track.db. */
#define ATTEMPTS                                                                                             \
	"CREATE TABLE attempt (mid INTEGER NOT NULL, rid INTEGER NOT NULL, number INTEGER NOT NULL,"         \
	" time INTEGER NOT NULL, dcid TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL,"             \
	" state INTEGER NOT NULL, reply TEXT NOT NULL, tls TEXT NOT NULL,"                                   \
	" PRIMARY KEY (mid, rid, number)) STRICT, WITHOUT ROWID;"

/* queue/directive.h */
#define DIRECTIVES                                                                                                                       \
	"CREATE TABLE IF NOT EXISTS directive (mid INTEGER NOT NULL, domain TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 0,"             \
	" next_hop TEXT NOT NULL DEFAULT '', PRIMARY KEY (mid, domain)) STRICT, WITHOUT ROWID;"                                          \
	"CREATE TABLE IF NOT EXISTS expired (mid INTEGER NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;" \
	"CREATE TABLE IF NOT EXISTS suspended (destination TEXT PRIMARY KEY, since INTEGER NOT NULL, uid INTEGER NOT NULL)"              \
	" STRICT, WITHOUT ROWID;"

static const char queue_schema[] =
	"CREATE TABLE message (mid INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL,"
	" icid TEXT NOT NULL, client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL,"
	" sender TEXT NOT NULL, size INTEGER NOT NULL, file TEXT, digest BLOB,"
	" eight_bit INTEGER NOT NULL DEFAULT 0, utf8 INTEGER NOT NULL DEFAULT 0, ret INTEGER NOT NULL DEFAULT 0,"
	" envid TEXT NOT NULL DEFAULT '',"
	" sum INTEGER NOT NULL DEFAULT 0,"
	" queued INTEGER NOT NULL DEFAULT 0,"
	" recipients INTEGER NOT NULL DEFAULT 0) STRICT;"

	"CREATE TABLE content (mid INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;"

	"CREATE TABLE recipient (mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL,"
	" domain TEXT NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,"
	" notify INTEGER NOT NULL DEFAULT 0, orcpt TEXT NOT NULL DEFAULT '',"
	" sum INTEGER NOT NULL DEFAULT 0,"
	" warned INTEGER NOT NULL DEFAULT 0,"
	" PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX recipient_live ON recipient (mid, domain, due) WHERE state = 0;"
	"CREATE INDEX recipient_corrupt ON recipient (mid) WHERE state = 3;"

	ATTEMPTS

	"CREATE TABLE refusal (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, icid TEXT NOT NULL,"
	" client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL,"
	" recipient TEXT NOT NULL, reply TEXT NOT NULL) STRICT;"

	"CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), now INTEGER NOT NULL, wall INTEGER NOT NULL) STRICT;"

	"CREATE TABLE outbox (mid INTEGER PRIMARY KEY) STRICT;"

	DIRECTIVES;

/* What each older schema lacks, by its version. */
static const char *const queue_upgrades[DATABASE_SCHEMA] = {
	[1] = "ALTER TABLE message ADD COLUMN eight_bit INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE message ADD COLUMN utf8 INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE message ADD COLUMN ret INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE message ADD COLUMN envid TEXT NOT NULL DEFAULT '';"
	      "ALTER TABLE recipient ADD COLUMN notify INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE recipient ADD COLUMN orcpt TEXT NOT NULL DEFAULT '';",
	[2] = "ALTER TABLE message ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE recipient ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;"
	      "CREATE INDEX recipient_corrupt ON recipient (mid) WHERE state = 3;"
	      "ALTER TABLE recipient ADD COLUMN warned INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE message ADD COLUMN queued INTEGER NOT NULL DEFAULT 0;"
	      "UPDATE message SET queued = received;"
	      "ALTER TABLE message ADD COLUMN recipients INTEGER NOT NULL DEFAULT 0;"
	      "CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), now INTEGER NOT NULL, wall INTEGER NOT NULL) STRICT;"
	      "CREATE TABLE outbox (mid INTEGER PRIMARY KEY) STRICT;"
	      "INSERT INTO outbox SELECT mid FROM message"
	      " WHERE mid NOT IN (SELECT mid FROM recipient WHERE state = 0);" DIRECTIVES,
};

/* After any upgrade: what is live is summed up, with the columns that it has now. */
static const char queue_seal[] =
	"UPDATE message SET digest = (SELECT row_digest(bytes) FROM content WHERE content.mid = message.mid)"
	" WHERE file IS NULL AND mid IN (SELECT mid FROM recipient WHERE state = 0);"
	"UPDATE message SET recipients = (SELECT count(*) FROM recipient WHERE recipient.mid = message.mid);"
	"UPDATE message SET sum = " CHECKSUM_OF_MESSAGE
	" WHERE mid IN (SELECT mid FROM recipient WHERE state = 0);"
	"UPDATE recipient SET sum = " CHECKSUM_OF_RECIPIENT
	" WHERE mid IN (SELECT mid FROM recipient WHERE state = 0);";

/* `moved` is when a record came here, for retention. */
static const char track_schema[] =
	"CREATE TABLE message (mid INTEGER PRIMARY KEY, received INTEGER NOT NULL, icid TEXT NOT NULL,"
	" client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL,"
	" size INTEGER NOT NULL, moved INTEGER NOT NULL) STRICT;"
	"CREATE INDEX message_moved ON message (moved);"

	"CREATE TABLE recipient (mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL,"
	" state INTEGER NOT NULL, attempts INTEGER NOT NULL, PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;"

	ATTEMPTS

	"CREATE TABLE refusal (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, icid TEXT NOT NULL,"
	" client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL,"
	" recipient TEXT NOT NULL, reply TEXT NOT NULL, moved INTEGER NOT NULL) STRICT;"
	"CREATE INDEX refusal_moved ON refusal (moved);";

static const struct kind {
	const char *name;
	int version, application;
	const char *schema;
	const char *const *upgrades; /* by the version before */
	const char *seal;	     /* what is done after any upgrade */
	const char *durable;	     /* what makes a commit a sync */
} kinds[] = {
	[DATABASE_QUEUE] = { "queue.db", DATABASE_SCHEMA, DATABASE_APPLICATION, queue_schema, queue_upgrades,
		queue_seal, "PRAGMA synchronous = FULL" },
	[DATABASE_TRACK] = { "track.db", 1, 0x506f5472 /* "PoTr" */, track_schema, NULL, "",
		"PRAGMA synchronous = FULL" /* before it is deleted from queue.db */ },
};

static sqlite3_vfs plain_names; /* written once by register_vfs() */

static int keep_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static void register_vfs(void)
{
	(void)sqlite3_config(
		SQLITE_CONFIG_MEMSTATUS, 0); /* its sums cost a lock for each allocation of each thread */
	plain_names = *sqlite3_vfs_find(NULL);
	plain_names.zName = "postern";
	plain_names.xFullPathname = keep_name;
	if (sqlite3_vfs_register(&plain_names, 0) != SQLITE_OK)
		abort();
}

static PRINTF(4, 5) int why(const void *owner, int error, const char **ret_why, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	*ret_why = text_must(talloc_vasprintf(owner, format, arguments));
	va_end(arguments);
	return error;
}

int database_open_file(int directory_fd, const char *name, int flags, sqlite3 **ret_db)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char path[128];
	int r;

	pthread_once(&once, register_vfs);
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory_fd, name);
	r = sqlite3_open_v2(path, ret_db, flags | SQLITE_OPEN_NOMUTEX, "postern");
	if (*ret_db == NULL)
		return -ENOMEM;
	if (r != SQLITE_OK)
		return database_error(*ret_db);
	sqlite3_busy_timeout(*ret_db, 10000);
	checksum_register(*ret_db);
	return 0;
}

static int open_kind(const void *owner, int directory_fd, const struct kind *kind, int flags,
	sqlite3 **ret_db, const char **ret_why)
{
	sqlite3 *db = NULL;
	int r = database_open_file(directory_fd, kind->name, flags, &db);

	if (r < 0) {
		why(owner, r, ret_why, "%s cannot be opened: %s", kind->name,
			db == NULL ? "no memory" : sqlite3_errmsg(db));
		sqlite3_close(db);
		return r;
	}
	*ret_db = db;
	return 0;
}

/* Tables, version and mark in one transaction: a power cut leaves all or nothing of it. */
static int create(sqlite3 *db, const struct kind *kind)
{
	char marks[128];
	int r = database_exec(
		db, "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL");

	if (r == 0)
		r = database_exec(db, kind->durable);
	if (r == 0)
		r = database_exec(db, "BEGIN IMMEDIATE");
	if (r == 0)
		r = database_exec(db, kind->schema);
	snprintf(marks, sizeof marks, "PRAGMA application_id = %d; PRAGMA user_version = %d",
		kind->application, kind->version);
	if (r == 0)
		r = database_exec(db, marks);
	return r == 0 ? database_exec(db, "COMMIT") : r;
}

int database_make(sqlite3 *db, enum database_file file)
{
	return create(db, &kinds[file]);
}

static int read_columns(const void *owner, sqlite3 *db, const char **ret_columns)
{
	sqlite3_stmt *row = database_prepare(db, DATABASE_COLUMNS);
	int r = database_step(row);

	if (r == 1)
		*ret_columns = text_copy(owner, database_text(row, 0));
	sqlite3_finalize(row);
	return MIN(r, 0);
}

int database_our_columns(const void *owner, enum database_file file, const char **ret_columns)
{
	sqlite3 *db = NULL;
	int r = sqlite3_open(":memory:", &db) == SQLITE_OK ? database_make(db, file) : -ENOMEM;

	if (r == 0)
		r = read_columns(owner, db, ret_columns);
	database_close(db);
	return r;
}

/* A wrong bit in the name of a column is no damage to SQLite, but no statement about the column can be prepared. */
int database_check_columns(const void *owner, sqlite3 *db, enum database_file file, const char **ret_why)
{
	void *scratch = talloc_new(NULL);
	const char *theirs = NULL, *ours = NULL;
	int r = read_columns(scratch, db, &theirs);

	if (r < 0)
		why(owner, r, ret_why, "%s cannot be read: %s", kinds[file].name, sqlite3_errmsg(db));
	else
		r = database_our_columns(scratch, file, &ours);
	if (r == 0 && strcmp(theirs, ours) != 0)
		r = why(owner, -EUCLEAN, ret_why, "%s is damaged: its list of tables is wrong",
			kinds[file].name);
	talloc_free(scratch);
	return r;
}

/* Keep the database as it is under the name queue.db.schemaN, durable before anything is changed. */
static int keep_copy(sqlite3 *db, const struct kind *kind, int directory_fd, int64_t version)
{
	struct copy *copy;
	char name[32];

	snprintf(name, sizeof name, "%s.schema%lld", kind->name, (long long)version);
	int r = copy_start(NULL, db, directory_fd, name, &copy);
	if (r < 0)
		return r;
	do
		r = copy_step(copy);
	while (r >= 0 && r < 100);
	talloc_free(copy);
	return MIN(r, 0);
}

/* From an older schema to ours, all or nothing. */
static int upgrade(sqlite3 *db, const struct kind *kind, int64_t version)
{
	char mark[64];
	int r = database_exec(db, "BEGIN IMMEDIATE");

	for (; r == 0 && version < kind->version; version++)
		r = database_exec(db, kind->upgrades[version]);
	if (r == 0)
		r = database_exec(db, kind->seal);
	snprintf(mark, sizeof mark, "PRAGMA user_version = %d", kind->version);
	if (r == 0)
		r = database_exec(db, mark);
	return r == 0 ? database_exec(db, "COMMIT") : r;
}

/* Bring an older database to our schema. */
static int migrate(
	const void *owner, sqlite3 *db, const struct kind *kind, int directory_fd, const char **ret_why)
{
	int64_t version;
	int r = database_number(db, "PRAGMA user_version", &version);

	if (r < 0)
		return why(owner, r, ret_why, "%s cannot be read: %s", kind->name, sqlite3_errmsg(db));
	if (version >= kind->version)
		return 0;
	if (version < 1)
		return why(owner, -ENOTSUP, ret_why,
			"%s has tables and no schema number: it is damaged, or not ours", kind->name);
	r = keep_copy(db, kind, directory_fd, version);
	if (r < 0)
		return why(owner, r, ret_why,
			"%s is of an older version and cannot be copied before it is changed; make room for a second %s in the state directory: %s",
			kind->name, kind->name, err_text(r));
	r = upgrade(db, kind, version);
	if (r < 0)
		return why(owner, r, ret_why,
			"%s cannot be brought to this version's schema (it is as it was, and %s.schema%lld is a copy of it): %s",
			kind->name, kind->name, (long long)version, sqlite3_errmsg(db));
	log_event(LOG_INFO, "schema_upgraded", log_num("from", version), log_num("to", kind->version));
	return 0;
}

/* Refuse what is not ours before anything is written to it. */
static int inspect(
	const void *owner, sqlite3 *db, const struct kind *kind, bool *ret_empty, const char **ret_why)
{
	int64_t version, tables, application;
	int r = database_number(db, "PRAGMA user_version", &version);

	if (r == 0)
		r = database_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (r == 0)
		r = database_number(db, "PRAGMA application_id", &application);
	/* A question that is no mistake of ours and that SQLite does not understand: the file's format says that it is newer than SQLite. */
	if (r < 0)
		return why(owner, sqlite3_errcode(db) == SQLITE_ERROR ? -EUCLEAN : r, ret_why,
			"%s cannot be read: %s", kind->name, sqlite3_errmsg(db));
	*ret_empty = tables == 0;
	if (version > kind->version)
		return why(owner, -ENOTSUP, ret_why,
			"%s was written by a newer version of postern; start that version again, or move the state directory aside; its schema is %lld",
			kind->name, (long long)version);
	if (!*ret_empty && application != kind->application)
		return why(owner, -ENOTSUP, ret_why,
			"%s is a database of another program; name another state_dir", kind->name);
	return 0;
}

/* What `error` of an opening means. The mark and the number of the schema stand in the header, where a wrong bit makes a file of ours another's: the
 * list of tables says it once more. So a damaged track.db is not refused as another's; queue.db was judged before (sound.h). */
static int judge_header(
	const void *owner, sqlite3 *db, enum database_file file, int error, const char **ret_why)
{
	const struct kind *kind = &kinds[file];
	const char *unused;
	void *scratch = talloc_new(NULL);
	int64_t version, application;
	int r = error == -ENOTSUP && file == DATABASE_TRACK
			? database_check_columns(scratch, db, file, &unused)
			: error;

	if (r == 0)
		r = database_number(db, "PRAGMA user_version", &version);
	if (r == 0)
		r = database_number(db, "PRAGMA application_id", &application);
	talloc_free(scratch);
	if (r < 0 || (application == kind->application && version > kind->version &&
			     __builtin_popcountll((uint64_t)(version ^ kind->version)) > 1))
		return error;
	return why(owner, -EUCLEAN, ret_why, "%s is damaged: its header is wrong", kind->name);
}

int database_open_writer(
	const void *owner, int directory_fd, enum database_file file, sqlite3 **ret_db, const char **ret_why)
{
	const struct kind *kind = &kinds[file];
	sqlite3 *db = NULL;
	int64_t busy = 0;
	bool empty;
	int r = open_kind(
		owner, directory_fd, kind, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, ret_why);

	if (r < 0)
		return r;
	r = inspect(owner, db, kind, &empty, ret_why);
	if (r == 0 && empty) {
		r = create(db, kind);
		if (r < 0)
			why(owner, r, ret_why, "%s cannot be made: %s", kind->name, sqlite3_errmsg(db));
	}
	if (r == 0)
		r = migrate(owner, db, kind, directory_fd, ret_why);
	if (r == 0 && file == DATABASE_TRACK) /* queue.db was judged as a whole (sound.h) */
		r = database_check_columns(owner, db, file, ret_why);
	if (r == 0 &&
		(database_exec(db, kind->durable) < 0 ||
			database_exec(db, "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON") < 0))
		r = why(owner, -EIO, ret_why, "%s cannot be read: %s", kind->name, sqlite3_errmsg(db));
	/* What recovery found may lie in the page cache only: make it durable before anything acts on it. */
	if (r == 0) {
		r = database_number(db, "PRAGMA wal_checkpoint(TRUNCATE)", &busy);
		if (r < 0 || busy != 0)
			r = why(owner, r < 0 ? r : -EIO, ret_why, "%s cannot be checkpointed: %s", kind->name,
				sqlite3_errmsg(db));
	}
	if (r < 0) {
		r = judge_header(owner, db, file, r, ret_why);
		sqlite3_close(db);
	} else {
		*ret_db = db;
	}
	return r;
}

int database_open_reader(
	const void *owner, int directory_fd, enum database_file file, sqlite3 **ret_db, const char **ret_why)
{
	const struct kind *kind = &kinds[file];
	sqlite3 *db = NULL;
	int64_t version;
	bool empty;
	int r = open_kind(owner, directory_fd, kind, SQLITE_OPEN_READONLY, &db, ret_why);

	if (r < 0)
		return r;
	r = inspect(owner, db, kind, &empty, ret_why);
	if (r == 0 && empty)
		r = why(owner, -ENOENT, ret_why, "%s is empty: no gateway has run here yet", kind->name);
	if (r == 0)
		r = database_number(db, "PRAGMA user_version", &version);
	if (r == 0 && version < kind->version)
		r = why(owner, -ENOTSUP, ret_why,
			"%s was written by an older version of postern; start the gateway, which brings it to this one",
			kind->name);
	if (r < 0) {
		r = judge_header(owner, db, file, r, ret_why);
		sqlite3_close(db);
	} else {
		*ret_db = db;
	}
	return r;
}

void database_close(sqlite3 *db)
{
	sqlite3_stmt *statement;

	while (db != NULL && (statement = sqlite3_next_stmt(db, NULL)) != NULL)
		sqlite3_finalize(statement);
	sqlite3_close_v2(db);
}

int database_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : database_error(db);
}

int database_number(sqlite3 *db, const char *sql, int64_t *ret_number)
{
	sqlite3_stmt *row = NULL;
	int r = sqlite3_prepare_v2(db, sql, -1, &row, NULL) == SQLITE_OK ? database_step(row)
									 : database_error(db);

	if (r >= 0)
		*ret_number = r == 1 ? sqlite3_column_int64(row, 0) : 0;
	sqlite3_finalize(row);
	return MIN(r, 0);
}

sqlite3_stmt *database_prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;

	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK) {
		fprintf(stderr, "postern: statement \"%s\": %s\n", sql, sqlite3_errmsg(db));
		abort();
	}
	return statement;
}

/* Few are kept by a connection, and to compare their texts costs a thousandth of preparing one. */
sqlite3_stmt *database_keep(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *statement = NULL;

	while ((statement = sqlite3_next_stmt(db, statement)) != NULL)
		if (!sqlite3_stmt_busy(statement) && strcmp(sqlite3_sql(statement), sql) == 0)
			return statement;
	return database_prepare(db, sql);
}

void database_reset(sqlite3_stmt *statement)
{
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
}

/* sqlite3_system_errno() does not see what fails in a COMMIT; the files know. */
int database_errno(sqlite3 *db)
{
	sqlite3_file *log = NULL;
	int error = 0;

	sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (log != NULL && log->pMethods != NULL)
		log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
	if (error == 0)
		sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
	return error;
}

/* A write without room changes nothing; after a failed sync nobody knows what is on the disk, whatever the reason was. */
static int io_error(sqlite3 *db)
{
	int error = sqlite3_extended_errcode(db) == SQLITE_IOERR_WRITE ? database_errno(db) : EIO;

	return error == EDQUOT || error == ENOSPC ? -error : -EIO;
}

int database_error(sqlite3 *db)
{
	switch (sqlite3_errcode(db) & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
	case SQLITE_TOOBIG:
		return -EINVAL;
	case SQLITE_IOERR:
		return io_error(db);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	default:
		return -EIO;
	}
}

void database_fail(sqlite3 *db)
{
	int error = database_error(db) == -EUCLEAN ? -EUCLEAN : -database_errno(db);
	const char *cure = storage_fault_cure(error);

	log_event(LOG_ERROR, "store_failed", log_str("reason", sqlite3_errmsg(db)),
		log_str("error", error == 0 ? "" : err_text(error)),
		log_str("cure", cure != NULL ? cure : storage_fault_cure(-EIO)));
	_exit(EXIT_FAILURE);
}

void database_bind_text(sqlite3_stmt *statement, int place, struct text value)
{
	sqlite3_bind_text(statement, place, value.at == NULL ? "" : value.at, (int)value.len, SQLITE_STATIC);
}

void database_bind_number(sqlite3_stmt *statement, int place, int64_t value)
{
	sqlite3_bind_int64(statement, place, value);
}

struct text database_text(sqlite3_stmt *statement, int column)
{
	const char *at = (const char *)sqlite3_column_text(statement, column);

	return at == NULL ? TEXT("") : (struct text){ at, (size_t)sqlite3_column_bytes(statement, column) };
}

int database_step(sqlite3_stmt *statement)
{
	int r = sqlite3_step(statement);

	if (r == SQLITE_ROW)
		return 1;

	int error = r == SQLITE_DONE ? 0 : database_error(sqlite3_db_handle(statement));
	sqlite3_reset(statement);
	return error;
}
