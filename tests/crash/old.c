/* See old.h. The tables are those that version made; the mails have the form that the checker knows from load.c. */
#include "old.h"

#include <fcntl.h>
#include <stdlib.h>

#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "load.h"
#include "mail.h"

enum { OLD_SIZE = 5000 };

static const char schema[] =
	"PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
	"PRAGMA synchronous = FULL; BEGIN;"
	"CREATE TABLE message (mid INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL,"
	" icid TEXT NOT NULL, client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL,"
	" sender TEXT NOT NULL, size INTEGER NOT NULL, file TEXT, digest BLOB,"
	" eight_bit INTEGER NOT NULL DEFAULT 0, utf8 INTEGER NOT NULL DEFAULT 0, ret INTEGER NOT NULL DEFAULT 0,"
	" envid TEXT NOT NULL DEFAULT '') STRICT;"
	"CREATE TABLE content (mid INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;"
	"CREATE TABLE recipient (mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL,"
	" domain TEXT NOT NULL, state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,"
	" notify INTEGER NOT NULL DEFAULT 0, orcpt TEXT NOT NULL DEFAULT '',"
	" PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX recipient_live ON recipient (mid, domain, due) WHERE state = 0;"
	"CREATE TABLE attempt (mid INTEGER NOT NULL, rid INTEGER NOT NULL, number INTEGER NOT NULL,"
	" time INTEGER NOT NULL, dcid TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL,"
	" state INTEGER NOT NULL, reply TEXT NOT NULL, tls TEXT NOT NULL,"
	" PRIMARY KEY (mid, rid, number)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE refusal (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, icid TEXT NOT NULL,"
	" client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL,"
	" recipient TEXT NOT NULL, reply TEXT NOT NULL) STRICT;"
	"PRAGMA application_id = 0x506f7374; PRAGMA user_version = 2";

static void run(sqlite3 *db, const char *sql)
{
	load_must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "making an old database");
}

static void add_mail(const void *owner, sqlite3 *db, int number)
{
	const char *token = text_must(talloc_asprintf(owner, "old-%d", number));
	char *sql = text_must(talloc_asprintf(owner,
		"INSERT INTO message (received, icid, client, helo, tls, sender, size)"
		" VALUES (1700000000000, '%s', '192.0.2.1', 'old.test', '{}', 'sender@d0.test', %d);"
		"INSERT INTO recipient (mid, rid, address, domain, state, attempts, due)"
		" VALUES (%d, 1, 'r@d%d.test', 'd%d.test', 0, 0, 0);"
		"INSERT INTO content VALUES (%d, CAST('%s' AS BLOB))",
		token, OLD_SIZE, number, number, number, number, mail_content(owner, token, OLD_SIZE)));

	load_mark("begin %s %d r@d%d.test", token, OLD_SIZE, number);
	run(db, sql);
}

void old_make(const char *directory)
{
	void *owner = talloc_new(NULL);
	char *path = text_must(talloc_asprintf(owner, "%s/queue.db", directory));
	sqlite3 *db;

	load_must(sqlite3_open(path, &db) == SQLITE_OK, "opening an old database");
	run(db, schema);
	for (int number = 1; number <= OLD_MAILS; number++)
		add_mail(owner, db, number);
	run(db, "COMMIT");
	CLEANUP(base_close) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	load_must(fsync(fd) == 0, "syncing the directory of an old database");
	for (int number = 1; number <= OLD_MAILS; number++)
		load_mark("commit old-%d %d", number, number);
	load_mark("old");
	_exit(EXIT_SUCCESS);
}
