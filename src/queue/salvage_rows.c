/*
 * See salvage_rows.h. A row with a right checksum is believed. One with a wrong checksum is kept only to show what is known of a mail that
 * is damaged: it keeps its wrong checksum, so nothing of it is ever delivered (store_read.c). Twice the same recipient, because a page was
 * read that is not in use any more or an older state of one: finished is newer than queued, and more attempts are newer than fewer.
 */
#include "queue/salvage_rows.h"

#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/checksum.h"
#include "queue/database.h"
#include "queue/salvage_file.h"
#include "wire/utf8.h"

enum {
	ROWS = 1000,	       /* of a transaction */
	MIDS_SKIPPED = 1000000 /* lost mails had numbers that must not be given again */
};

#define MID_MAX ((int64_t)1 << 52)

/*
 * A row that was read is put into row_TABLE, which has the columns of TABLE; from there these statements take it. What is ordered about a
 * mail has no checksum: a mail that was held or rerouted is held, until somebody looks at it.
 */
struct table {
	const char *name;
	const char *check; /* whether the row is whole; NULL = nothing says so */
	const char *add, *add_damaged;
};

#define OF_MAIL(table)	    "recipient.mid = " table ".mid"
#define OF_RECIPIENT(table) OF_MAIL(table) " AND recipient.rid = " table ".rid"

enum {
	MESSAGE,
	RECIPIENT,
	OUTBOX,
	SEQUENCE,
	CONTENT,
	ATTEMPT,
	REFUSAL,
	DIRECTIVE,
	EXPIRED,
	SUSPENDED,
	TABLES
};

static const struct table tables[TABLES] = {
	[MESSAGE] = { "message", "SELECT sum = " CHECKSUM_OF_MESSAGE " FROM row_message",
		"INSERT OR IGNORE INTO message SELECT * FROM row_message",
		"INSERT INTO damaged_message SELECT * FROM row_message" },
	[RECIPIENT] = { "recipient", "SELECT sum = " CHECKSUM_OF_RECIPIENT " FROM row_recipient",
		"INSERT OR REPLACE INTO recipient SELECT * FROM row_recipient AS new"
		" WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE " OF_RECIPIENT(
			"new") " AND (recipient.state IN " DATABASE_FINAL ", recipient.attempts) >="
			       " (new.state IN " DATABASE_FINAL ", new.attempts))",
		"INSERT INTO damaged_recipient SELECT * FROM row_recipient" },
	[OUTBOX] = { "outbox", NULL, "INSERT INTO leaving SELECT mid FROM row_outbox", NULL },
	[SEQUENCE] = { "sqlite_sequence", NULL,
		"INSERT INTO sequence SELECT seq FROM row_sqlite_sequence WHERE name = 'message'", NULL },
	/* Only for a mail that is not finished. */
	[CONTENT] = { "content",
		"SELECT digest = row_digest(bytes) FROM row_content JOIN message USING (mid) WHERE file IS NULL"
		" AND EXISTS (SELECT 1 FROM recipient WHERE " OF_MAIL(
			"row_content") " AND state NOT IN " DATABASE_FINAL ")",
		"INSERT OR IGNORE INTO content SELECT * FROM row_content", NULL },
	[ATTEMPT] = { "attempt", NULL,
		"INSERT OR IGNORE INTO attempt SELECT * FROM row_attempt"
		" WHERE EXISTS (SELECT 1 FROM recipient WHERE " OF_RECIPIENT("row_attempt") ")",
		NULL },
	[REFUSAL] = { "refusal", NULL, "INSERT OR IGNORE INTO refusal SELECT * FROM row_refusal", NULL },
	[DIRECTIVE] = { "directive", NULL,
		"INSERT OR IGNORE INTO directive (mid, domain, held, next_hop) SELECT mid, domain, 1, next_hop FROM row_directive"
		" WHERE EXISTS (SELECT 1 FROM recipient WHERE " OF_MAIL(
			"row_directive") " AND recipient.domain = row_directive.domain AND state = 0)",
		NULL },
	/* The index recipient_corrupt has records of the same form, of those who are not queued. */
	[EXPIRED] = { "expired", NULL,
		"INSERT OR IGNORE INTO expired SELECT * FROM row_expired"
		" WHERE EXISTS (SELECT 1 FROM recipient WHERE " OF_RECIPIENT("row_expired") " AND state = 0)",
		NULL },
	[SUSPENDED] = { "suspended", NULL, "INSERT OR IGNORE INTO suspended SELECT * FROM row_suspended",
		NULL },
};

struct copying {
	sqlite3 *db;
	struct salvage_file *file;
	char *kinds[TABLES];
	bool has_rowid[TABLES];
	sqlite3_stmt *clears[TABLES], *puts[TABLES], *checks[TABLES], *adds[TABLES], *damaged_adds[TABLES];
	unsigned rows; /* of this transaction */
};

/* Without a log; that, and the sync, come when all is there. */
static const char beginning[] =
	"PRAGMA temp_store = MEMORY; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;"
	"CREATE TEMP TABLE damaged_message AS SELECT * FROM message;"
	"CREATE TEMP TABLE damaged_recipient AS SELECT * FROM recipient;"
	"CREATE TEMP TABLE sequence (seq INTEGER);"
	"CREATE TEMP TABLE leaving (mid INTEGER);"
	"BEGIN";

/* Once all messages and recipients are known. Rows of nobody are left out: their numbers may be what is damaged. Who lacks a recipient lost it,
 * unless it is just being moved to track.db. Ages are counted from the newest `queued`, which must not be a damaged one. */
static const char putting_together[] =
	"UPDATE damaged_message SET queued = 0;"
	"INSERT OR IGNORE INTO message SELECT * FROM damaged_message WHERE mid IN (SELECT mid FROM recipient);"

	"UPDATE damaged_recipient SET state = 3;"
	"INSERT OR IGNORE INTO recipient SELECT * FROM damaged_recipient"
	" WHERE EXISTS (SELECT 1 FROM message WHERE message.mid = damaged_recipient.mid"
	" AND damaged_recipient.rid BETWEEN 1 AND message.recipients);"

	"INSERT INTO message (mid, received, icid, client, helo, tls, sender, size)"
	" SELECT DISTINCT mid, strftime('%s', 'now') * 1000, '', '', '', '{}', '', 0 FROM recipient"
	" WHERE mid NOT IN (SELECT mid FROM message);"

	"WITH RECURSIVE lost (mid, rid) AS (SELECT mid, recipients FROM message WHERE sum = " CHECKSUM_OF_MESSAGE
	" AND recipients BETWEEN 1 AND 10000 AND mid NOT IN (SELECT mid FROM leaving)"
	" AND recipients > (SELECT count(*) FROM recipient WHERE recipient.mid = message.mid)"
	" UNION ALL SELECT mid, rid - 1 FROM lost WHERE rid > 1)"
	"INSERT OR IGNORE INTO recipient (mid, rid, address, domain, state, attempts, due)"
	" SELECT mid, rid, '', '', 3, 0, 0 FROM lost;"

	"INSERT INTO outbox SELECT mid FROM message"
	" WHERE mid NOT IN (SELECT mid FROM recipient WHERE state NOT IN " DATABASE_FINAL ");";

/* Once the content is known, too: nobody of a mail whose message or content is damaged is queued. A recipient keeps a sum that is right, so that it
 * can be queued again when the mail is mended. */
static const char condemning[] =
	"UPDATE recipient SET state = 3,"
	" sum = row_sum('recipient', mid, rid, address, domain, 3, attempts, due, notify, orcpt, warned)"
	" WHERE state = 0 AND sum = " CHECKSUM_OF_RECIPIENT
	" AND mid IN (SELECT mid FROM message WHERE sum <> " CHECKSUM_OF_MESSAGE
	" OR (file IS NULL AND mid NOT IN (SELECT mid FROM content)))";

/* The kinds of the columns of a table: n = the row's number, which a record leaves out; i = a number; t = a text; T = a text or NULL; b = a
 * blob; B = a blob or NULL. And whether its rows have numbers of their own. */
static char *kinds_of(sqlite3 *db, const char *table, bool *ret_has_rowid)
{
	sqlite3_stmt *row = database_prepare(db,
		"SELECT group_concat(CASE WHEN l.name = 'sqlite_sequence' THEN iif(c.name = 'name', 't', 'i')"
		" WHEN c.type = 'INTEGER' THEN iif(c.pk > 0 AND NOT l.wr, 'n', 'i')"
		" WHEN c.type = 'TEXT' THEN iif(c.\"notnull\" OR c.pk > 0, 't', 'T') ELSE iif(c.\"notnull\", 'b', 'B') END, ''), NOT l.wr"
		" FROM pragma_table_list(?1) l, pragma_table_info(?1) c");
	char *kinds = NULL;

	database_bind_text(row, 1, text_of(table));
	if (database_step(row) == 1) {
		kinds = text_copy(NULL, database_text(row, 0));
		*ret_has_rowid = sqlite3_column_int(row, 1) != 0;
	}
	sqlite3_finalize(row);
	return kinds;
}

/* Whether a row has the shape of `table`; text that nobody vouches for must be clean, because it is shown. */
static bool fits(const struct copying *c, unsigned table, const struct salvage_row *row)
{
	const struct salvage_record *record = &row->record;
	const char *kinds = c->kinds[table];

	if (record->count != strlen(kinds) || row->has_rowid != c->has_rowid[table])
		return false;
	for (size_t i = 0; i < record->count; i++) {
		static const enum salvage_kind wanted[] = { ['n'] = SALVAGE_NULL,
			['i'] = SALVAGE_NUMBER,
			['t'] = SALVAGE_TEXT,
			['T'] = SALVAGE_TEXT,
			['b'] = SALVAGE_BLOB,
			['B'] = SALVAGE_BLOB };
		const struct salvage_value *value = &record->values[i];

		if (value->kind == SALVAGE_NULL && (kinds[i] == 'T' || kinds[i] == 'B'))
			continue;
		if (value->kind != wanted[(unsigned char)kinds[i]])
			return false;
		if (value->kind == SALVAGE_TEXT &&
			(!utf8_valid(value->bytes) ||
				memchr(value->bytes.at, '\0', value->bytes.len) != NULL))
			return false;
	}
	return true;
}

static int put(sqlite3_stmt *statement, const struct salvage_row *row)
{
	for (size_t i = 0; i < row->record.count; i++) {
		const struct salvage_value *value = &row->record.values[i];
		const int place = (int)i + 1, len = (int)value->bytes.len;

		switch (value->kind) {
		case SALVAGE_NULL:
			if (i == 0)
				sqlite3_bind_int64(statement, place, row->rowid);
			else
				sqlite3_bind_null(statement, place);
			break;
		case SALVAGE_NUMBER:
			sqlite3_bind_int64(statement, place, value->number);
			break;
		case SALVAGE_TEXT:
			sqlite3_bind_text(statement, place, value->bytes.at, len, SQLITE_STATIC);
			break;
		case SALVAGE_BLOB:
			sqlite3_bind_blob(statement, place, value->bytes.at, len, SQLITE_STATIC);
			break;
		case SALVAGE_REAL: /* no table has one */
			break;
		}
	}
	int r = database_step(statement);
	sqlite3_clear_bindings(statement);
	return r;
}

/* Whether the row in row_TABLE is whole: 1, 0, or a negative error. */
static int check(sqlite3_stmt *statement)
{
	if (statement == NULL)
		return 1;
	int r = database_step(statement), whole = r == 1 && sqlite3_column_int(statement, 0) != 0;
	sqlite3_reset(statement);
	return r < 0 ? r : whole;
}

static int add(struct copying *c, unsigned table, const struct salvage_row *row)
{
	int r = database_step(c->clears[table]);

	if (r == 0)
		r = put(c->puts[table], row);
	if (r < 0)
		return r;
	int whole = check(c->checks[table]);
	sqlite3_stmt *statement = whole > 0 ? c->adds[table] : c->damaged_adds[table];
	if (whole < 0 || statement == NULL)
		return MIN(whole, 0);
	r = database_step(statement);
	if (r == 0 && ++c->rows % ROWS == 0)
		r = database_exec(c->db, "COMMIT; BEGIN");
	return r == -EINVAL
		       ? 0
		       : r; /* a row that the table does not take, such as a number of a mail that cannot be */
}

/* Read the whole file for the rows of some tables. */
static int scan(struct copying *c, unsigned first, unsigned last)
{
	struct salvage_row row;
	int r = 0;

	for (unsigned view = 0; view < salvage_file_views(c->file); view++) {
		salvage_file_view(c->file, view);
		while (r == 0 && salvage_file_next(c->file, &row))
			for (unsigned table = first; r == 0 && table <= last; table++)
				if (fits(c, table, &row))
					r = add(c, table, &row);
	}
	return r;
}

/* The next mail gets a number that no lost one had. */
static int skip_mids(sqlite3 *db)
{
	sqlite3_stmt *row = database_prepare(db,
		"SELECT max(mid) FROM message WHERE sum = " CHECKSUM_OF_MESSAGE
		" UNION ALL SELECT max(mid) FROM recipient WHERE sum = " CHECKSUM_OF_RECIPIENT
		" UNION ALL SELECT max(seq) FROM sequence WHERE seq < ?");
	int64_t highest = 0;
	int r;

	database_bind_number(row, 1, MID_MAX);
	while ((r = database_step(row)) == 1)
		highest = MAX(highest, sqlite3_column_int64(row, 0));
	sqlite3_finalize(row);
	if (r == 0)
		r = database_exec(db, "DELETE FROM sqlite_sequence");
	if (r < 0)
		return r;
	row = database_prepare(db, "INSERT INTO sqlite_sequence (name, seq) VALUES ('message', ?)");
	database_bind_number(row, 1, highest + MIDS_SKIPPED);
	r = database_step(row);
	sqlite3_finalize(row);
	return r;
}

/* Count and log. A finished mail is nobody's loss. */
static int report(sqlite3 *db, struct salvage_counts *counts)
{
	sqlite3_stmt *row = database_prepare(db,
		"SELECT mid, sender, sum = " CHECKSUM_OF_MESSAGE ","
		" file IS NOT NULL OR EXISTS (SELECT 1 FROM content WHERE content.mid = message.mid),"
		" (SELECT count(*) FROM recipient WHERE recipient.mid = message.mid AND sum <> " CHECKSUM_OF_RECIPIENT
		"),"
		" (SELECT count(*) FROM recipient WHERE recipient.mid = message.mid AND state NOT IN " DATABASE_FINAL
		") AS open"
		" FROM message WHERE open > 0 ORDER BY mid");
	int r;

	while ((r = database_step(row)) == 1) {
		bool message = sqlite3_column_int(row, 2) != 0, content = sqlite3_column_int(row, 3) != 0;
		int64_t recipients = sqlite3_column_int64(row, 4);

		if (message && content && recipients == 0) {
			counts->mails++;
			continue;
		}
		counts->damaged++;
		log_event(LOG_ERROR, "mail_damaged", log_num("mid", sqlite3_column_int64(row, 0)),
			log_text("sender", database_text(row, 1)),
			log_str("part", !message   ? "message"
					: !content ? "content"
						   : "recipient"),
			log_num("recipients", sqlite3_column_int64(row, 5)), log_num("lost", recipients));
	}
	sqlite3_finalize(row);
	return r;
}

static int prepare(struct copying *c)
{
	for (unsigned i = 0; i < TABLES; i++) {
		const struct table *t = &tables[i];

		c->kinds[i] = kinds_of(c->db, t->name, &c->has_rowid[i]);
		if (c->kinds[i] == NULL)
			return -EIO;
		char *make = text_must(talloc_asprintf(c->kinds[i],
			     "CREATE TEMP TABLE row_%s AS SELECT * FROM %s WHERE false", t->name, t->name)),
		     *clear = text_must(talloc_asprintf(make, "DELETE FROM row_%s", t->name)),
		     *values = text_must(talloc_asprintf(make, "INSERT INTO row_%s VALUES (?", t->name));
		for (size_t n = 1; n < strlen(c->kinds[i]); n++)
			values = text_must(talloc_strdup_append(values, ", ?"));
		int r = database_exec(c->db, make);
		if (r < 0)
			return r;
		c->clears[i] = database_prepare(c->db, clear);
		c->puts[i] = database_prepare(c->db, text_must(talloc_strdup_append(values, ")")));
		c->checks[i] = t->check == NULL ? NULL : database_prepare(c->db, t->check);
		c->adds[i] = database_prepare(c->db, t->add);
		c->damaged_adds[i] = t->add_damaged == NULL ? NULL : database_prepare(c->db, t->add_damaged);
	}
	return 0;
}

static void end(struct copying *c)
{
	for (unsigned i = 0; i < TABLES; i++) {
		sqlite3_stmt *all[] = { c->clears[i], c->puts[i], c->checks[i], c->adds[i],
			c->damaged_adds[i] };

		for (size_t n = 0; n < COUNT(all); n++)
			sqlite3_finalize(all[n]);
		talloc_free(c->kinds[i]);
	}
}

/* What was made for this goes with the connection. */
int salvage_rows_copy(sqlite3 *db, struct salvage_file *file, struct salvage_counts *ret_counts)
{
	struct copying copying = { .db = db, .file = file };
	struct salvage_counts counts = { 0 };

	int r = database_exec(db, beginning);
	if (r == 0)
		r = prepare(&copying);
	if (r == 0)
		r = scan(&copying, MESSAGE, SEQUENCE);
	if (r == 0)
		r = database_exec(db, putting_together);
	if (r == 0)
		r = scan(&copying, CONTENT, SUSPENDED);
	if (r == 0)
		r = database_exec(db, condemning);
	if (r == 0)
		r = skip_mids(db);
	if (r == 0)
		r = report(db, &counts);
	end(&copying);
	if (r == 0)
		r = database_exec(db, "COMMIT; PRAGMA journal_mode = WAL");
	if (r == 0)
		*ret_counts = counts;
	return r;
}
