/* The tables `directive`, `expired` and `suspended` of queue.db. */
#include "queue/directive.h"

#include <errno.h>

#include <talloc.h>

#include "base/base.h"
#include "queue/database.h"
#include "queue/envelope.h"

static const char *const statements[] = {
	[DIRECTIVE_HOLD] = "INSERT INTO directive (mid, domain, held) VALUES (?1, ?2, 1)"
			   " ON CONFLICT DO UPDATE SET held = 1",
	[DIRECTIVE_RELEASE] = "UPDATE directive SET held = 0 WHERE mid = ?1 AND domain = ?2",
	[DIRECTIVE_REROUTE] = "INSERT INTO directive (mid, domain, next_hop) VALUES (?1, ?2, ?5)"
			      " ON CONFLICT DO UPDATE SET next_hop = ?5",
	[DIRECTIVE_EXPIRE] = "INSERT OR IGNORE INTO expired (mid, rid) VALUES (?1, ?3)",
	[DIRECTIVE_SUSPEND] = "INSERT OR IGNORE INTO suspended (destination, since, uid) VALUES (?5, ?4, ?3)",
	[DIRECTIVE_RESUME] = "DELETE FROM suspended WHERE destination = ?5",
	[DIRECTIVE_CLEAN_MAILS] =
		"DELETE FROM directive WHERE (held = 0 AND next_hop = '') OR NOT EXISTS (SELECT 1 FROM recipient r"
		" WHERE r.mid = directive.mid AND r.domain = directive.domain AND r.state = 0)",
	[DIRECTIVE_CLEAN_RECIPIENTS] = "DELETE FROM expired WHERE NOT EXISTS (SELECT 1 FROM recipient r"
				       " WHERE r.mid = expired.mid AND r.rid = expired.rid AND r.state = 0)",
};

int directive_run(sqlite3 *db, const struct directive *directives, size_t count)
{
	sqlite3_stmt *statement = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct directive *d = &directives[i];

		if (i == 0 || d->kind != directives[i - 1].kind) {
			sqlite3_finalize(statement);
			statement = database_prepare(db, statements[d->kind]);
		}
		database_bind_number(statement, 1, d->mid);
		sqlite3_bind_text(statement, 2, d->domain, -1, SQLITE_STATIC);
		database_bind_number(statement, 3, d->rid);
		database_bind_number(statement, 4, d->time_ms);
		sqlite3_bind_text(statement, 5, d->text, -1, SQLITE_STATIC);
		r = database_step(statement);
	}
	sqlite3_finalize(statement);
	return r;
}

sqlite3_stmt *directive_prepare(sqlite3 *db)
{
	return database_prepare(db,
		"SELECT min(due), max(attempts), (SELECT held FROM directive WHERE mid = ?1 AND domain = ?2),"
		" (SELECT next_hop FROM directive WHERE mid = ?1 AND domain = ?2),"
		" max(EXISTS (SELECT 1 FROM expired e WHERE e.mid = r.mid AND e.rid = r.rid))"
		" FROM recipient r WHERE mid = ?1 AND domain = ?2 AND state = 0");
}

int directive_read(sqlite3_stmt *row, const void *owner, int64_t mid, const char *domain,
	struct directive_view *ret_view)
{
	database_bind_number(row, 1, mid);
	database_bind_text(row, 2, text_of(domain));
	int r = database_step(row);
	if (r == 1)
		*ret_view = (struct directive_view){ .live = sqlite3_column_type(row, 0) != SQLITE_NULL,
			.due = sqlite3_column_int64(row, 0),
			.attempts = sqlite3_column_int64(row, 1),
			.held = sqlite3_column_int(row, 2) != 0,
			.next_hop = text_copy(owner, database_text(row, 3)),
			.expired = sqlite3_column_int(row, 4) != 0 };
	sqlite3_reset(row);
	return r == 1 ? 0 : MIN(r, -EIO);
}

/* 1 and its last reply (empty = none) when it is, else 0 or a negative error. */
static int is_expired(sqlite3_stmt *row, const void *owner, int64_t mid, int64_t rid, const char **ret_reply)
{
	database_bind_number(row, 1, mid);
	database_bind_number(row, 2, rid);
	int r = database_step(row);
	if (r == 1)
		*ret_reply = text_copy(owner, database_text(row, 0));
	sqlite3_reset(row);
	return r;
}

int directive_select_expired(sqlite3 *db, struct lease *lease)
{
	sqlite3_stmt *row = database_prepare(db,
		"SELECT (SELECT reply FROM attempt a WHERE a.mid = e.mid AND a.rid = e.rid ORDER BY number DESC LIMIT 1)"
		" FROM expired e WHERE mid = ? AND rid = ?");
	struct envelope *e = &lease->envelope;
	size_t kept = 0;
	int r = 0;

	lease->replies = text_must(talloc_zero_array(lease, const char *, (unsigned)e->recipient_count + 1));
	for (size_t i = 0; r >= 0 && i < e->recipient_count; i++) {
		r = is_expired(row, lease, lease->mid, lease->rids[i], &lease->replies[kept]);
		if (r != 1)
			continue;
		e->recipients[kept] = e->recipients[i];
		e->notify[kept] = e->notify[i];
		e->orcpt[kept] = e->orcpt[i];
		lease->warned[kept] = lease->warned[i];
		lease->rids[kept++] = lease->rids[i];
	}
	sqlite3_finalize(row);
	lease->expired = kept > 0;
	if (kept > 0)
		e->recipient_count = kept;
	return MIN(r, 0);
}
