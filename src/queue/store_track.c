/*
 * Pages of tracking records. What is finished moves from queue.db to track.db while we read: it is copied before it is deleted, so looking into
 * queue.db first and into track.db then never misses a mail, and one that is in both is taken from track.db, where it is whole. Each of the
 * two is read in one transaction.
 */
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/salvage.h"
#include "queue/store_private.h"

enum { PAGE = 20 };

/* Records of one kind from one database, in the order of their keys. */
struct page {
	struct store_tracked records[PAGE];
	int64_t keys[PAGE]; /* mid, or the number of the refusal */
	size_t count;
};

static const char *column_copy(const void *owner, sqlite3_stmt *statement, int column)
{
	return text_copy(owner, database_text(statement, column));
}

static int read_attempts(
	sqlite3 *db, const void *owner, int64_t mid, int64_t rid, struct store_tracked_recipient *recipient)
{
	sqlite3_stmt *statement = database_prepare(db, "SELECT time, dcid, host, address, reply, tls FROM "
						       "attempt WHERE mid = ? AND rid = ? ORDER BY number");
	int r;

	database_bind_number(statement, 1, mid);
	database_bind_number(statement, 2, rid);
	while ((r = database_step(statement)) == 1) {
		recipient->attempts = text_must(talloc_realloc(owner, recipient->attempts,
			struct store_attempt, (unsigned)recipient->attempt_count + 1));
		recipient->attempts[recipient->attempt_count++] = (struct store_attempt){
			.time_ms = sqlite3_column_int64(statement, 0),
			.dcid = column_copy(owner, statement, 1),
			.host = column_copy(owner, statement, 2),
			.address = column_copy(owner, statement, 3),
			.reply = column_copy(owner, statement, 4),
			.tls = column_copy(owner, statement, 5),
		};
	}
	sqlite3_finalize(statement);
	return r;
}

/* As tracking names them: a queued recipient that has been tried is deferred, a refused one has no row of its own. */
enum { STATE_ANY = -1, STATE_DEFERRED = -2, STATE_REFUSED = -3 };

static const struct {
	const char *name;
	int state;
} states[] = { { "queued", STATE_QUEUED }, { "deferred", STATE_DEFERRED }, { "delivered", STATE_DELIVERED },
	{ "bounced", STATE_BOUNCED }, { "corrupt", STATE_CORRUPT }, { "deleted", STATE_DELETED },
	{ "refused", STATE_REFUSED } };

static const char *state_name(int64_t state, int64_t attempts)
{
	const int64_t shown = state == STATE_QUEUED && attempts > 0 ? STATE_DEFERRED : state;

	for (size_t i = 0; i < COUNT(states); i++)
		if (states[i].state == shown)
			return states[i].name;
	return "queued";
}

static int state_of(const char *word)
{
	for (size_t i = 0; word != NULL && i < COUNT(states); i++)
		if (strcmp(states[i].name, word) == 0)
			return states[i].state;
	return STATE_ANY;
}

bool store_is_state(const char *word)
{
	return state_of(word) != STATE_ANY;
}

static int read_tracked_recipients(sqlite3 *db, const void *owner, struct store_tracked *record)
{
	sqlite3_stmt *statement = database_prepare(
		db, "SELECT rid, address, state, attempts FROM recipient WHERE mid = ? ORDER BY rid");
	int r;

	database_bind_number(statement, 1, record->mid);
	while ((r = database_step(statement)) == 1) {
		record->recipients = text_must(talloc_realloc(owner, record->recipients,
			struct store_tracked_recipient, (unsigned)record->recipient_count + 1));
		struct store_tracked_recipient *recipient = &record->recipients[record->recipient_count++];

		*recipient = (struct store_tracked_recipient){
			.address = column_copy(owner, statement, 1),
			.state = state_name(
				sqlite3_column_int64(statement, 2), sqlite3_column_int64(statement, 3)),
		};
		r = read_attempts(db, owner, record->mid, sqlite3_column_int64(statement, 0), recipient);
		if (r < 0)
			break;
	}
	sqlite3_finalize(statement);
	return r;
}

static void bind_query(sqlite3_stmt *statement, const struct store_query *query, int64_t after)
{
	database_bind_number(statement, 1, after);
	database_bind_number(statement, 2, query->since_ms);
	sqlite3_bind_text(statement, 3, query->sender, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 4, query->recipient, -1, SQLITE_STATIC);
	database_bind_number(statement, 5, query->mid);
	database_bind_number(statement, 6, query->until_ms == 0 ? INT64_MAX : query->until_ms);
	sqlite3_bind_text(statement, 7, query->domain, -1, SQLITE_STATIC);
	database_bind_number(statement, 8, state_of(query->state));
	sqlite3_bind_text(statement, 9, query->host, -1, SQLITE_STATIC);
}

/* Mails that match and come after `after`. */
static int read_mails(
	sqlite3 *db, const void *owner, const struct store_query *query, int64_t after, struct page *page)
{
	sqlite3_stmt *statement = database_prepare(db,
		"SELECT mid, received, size, sender, icid, client, helo, tls FROM message WHERE mid > ?1"
		" AND received >= ?2 AND received < ?6 AND (?3 IS NULL OR sender = ?3 COLLATE NOCASE)"
		" AND (?5 = 0 OR mid = ?5)"
		" AND ((?4 IS NULL AND ?7 IS NULL AND ?8 = -1) OR EXISTS (SELECT 1 FROM recipient r"
		" WHERE r.mid = message.mid AND (?4 IS NULL OR r.address = ?4 COLLATE NOCASE)"
		" AND (?7 IS NULL OR substr(r.address, -length(?7) - 1) = '@' || ?7 COLLATE NOCASE)"
		" AND (?8 = -1 OR r.state = ?8 AND (?8 <> 0 OR r.attempts = 0)"
		" OR ?8 = -2 AND r.state = 0 AND r.attempts > 0)))"
		" AND (?9 IS NULL OR EXISTS (SELECT 1 FROM attempt a WHERE a.mid = message.mid"
		" AND (a.host = ?9 COLLATE NOCASE OR a.address = ?9))) ORDER BY mid");
	int r = 0;

	bind_query(statement, query, after);
	while (page->count < PAGE && (r = database_step(statement)) == 1) {
		struct store_tracked *record = &page->records[page->count];

		*record = (struct store_tracked){
			.mid = sqlite3_column_int64(statement, 0),
			.time_ms = sqlite3_column_int64(statement, 1),
			.size = (uint64_t)sqlite3_column_int64(statement, 2),
			.sender = column_copy(owner, statement, 3),
			.icid = column_copy(owner, statement, 4),
			.client = column_copy(owner, statement, 5),
			.helo = column_copy(owner, statement, 6),
			.tls = column_copy(owner, statement, 7),
		};
		page->keys[page->count++] = record->mid;
		r = read_tracked_recipients(db, owner, record);
		if (r < 0)
			break;
	}
	sqlite3_finalize(statement);
	return MIN(r, 0);
}

/* The same for refusals. */
static int read_refusals(
	sqlite3 *db, const void *owner, const struct store_query *query, int64_t after, struct page *page)
{
	sqlite3_stmt *statement = database_prepare(db,
		"SELECT id, time, sender, icid, client, helo, tls, recipient, reply FROM refusal WHERE id > ?1"
		" AND time >= ?2 AND time < ?6 AND (?3 IS NULL OR sender = ?3 COLLATE NOCASE)"
		" AND (?4 IS NULL OR recipient = ?4 COLLATE NOCASE) AND ?5 = 0"
		" AND (?7 IS NULL OR substr(recipient, -length(?7) - 1) = '@' || ?7 COLLATE NOCASE)"
		" AND ?8 IN (-1, -3) AND ?9 IS NULL ORDER BY id");
	int r = 0;

	bind_query(statement, query, after);
	while (page->count < PAGE && (r = database_step(statement)) == 1) {
		struct store_tracked *record = &page->records[page->count];
		struct store_attempt *attempt = text_must(talloc_zero(owner, struct store_attempt));
		struct store_tracked_recipient *recipient =
			text_must(talloc_zero(owner, struct store_tracked_recipient));

		page->keys[page->count++] = sqlite3_column_int64(statement, 0);
		*record = (struct store_tracked){
			.time_ms = sqlite3_column_int64(statement, 1),
			.sender = column_copy(owner, statement, 2),
			.icid = column_copy(owner, statement, 3),
			.client = column_copy(owner, statement, 4),
			.helo = column_copy(owner, statement, 5),
			.tls = column_copy(owner, statement, 6),
			.recipients = recipient,
			.recipient_count = 1,
		};
		*attempt = (struct store_attempt){ .time_ms = record->time_ms,
			.dcid = "",
			.host = "",
			.address = "",
			.tls = "",
			.reply = column_copy(owner, statement, 8) };
		*recipient = (struct store_tracked_recipient){ .address = column_copy(owner, statement, 7),
			.state = "refused",
			.attempts = attempt,
			.attempt_count = 1 };
	}
	sqlite3_finalize(statement);
	return MIN(r, 0);
}

/* Both kinds from one database, as they are at one moment. */
static int read_pages(struct readers *readers, const void *owner, const struct store_query *query,
	const struct store_cursor *cursor, struct page *mails, struct page *refusals)
{
	sqlite3 *db = readers_take(readers);
	int r = database_exec(db, "BEGIN");

	if (r == 0)
		r = read_mails(db, owner, query, cursor->mid, mails);
	if (r == 0)
		r = read_refusals(db, owner, query, cursor->refusal, refusals);
	if (!sqlite3_get_autocommit(db))
		database_exec(db, "COMMIT");
	readers_give(readers, db);
	return r;
}

/* The first records of both pages, each once, while there is room; moves *cursor to the last of them. */
static void merge(const struct page *queue, const struct page *track, struct store_tracked *records,
	size_t *count, int64_t *cursor)
{
	size_t q = 0, t = 0;

	while (*count < PAGE && (q < queue->count || t < track->count)) {
		const bool from_track =
			q == queue->count || (t < track->count && track->keys[t] <= queue->keys[q]);

		if (from_track && q < queue->count && queue->keys[q] == track->keys[t])
			q++;
		*cursor = from_track ? track->keys[t] : queue->keys[q];
		records[(*count)++] = from_track ? track->records[t++] : queue->records[q++];
	}
}

/* In their order, each once. */
static void add_report(const void *owner, struct store_tracked *record, int64_t mid)
{
	size_t place = record->report_count;

	while (place > 0 && record->reports[place - 1] > mid)
		place--;
	if (place > 0 && record->reports[place - 1] == mid)
		return;
	record->reports = text_must(
		talloc_realloc(owner, record->reports, int64_t, (unsigned)record->report_count + 1));
	memmove(&record->reports[place + 1], &record->reports[place],
		(record->report_count - place) * sizeof record->reports[0]);
	record->reports[place] = mid;
	record->report_count++;
}

/* Reports are mails whose inbound connection is named after the mail that they are about (deliver/dsn.c). */
static int find_reports(struct readers *readers, const void *owner, struct store_tracked *record)
{
	char icid[32];
	sqlite3 *db = readers_take(readers);
	sqlite3_stmt *rows = database_prepare(
		db, "SELECT mid FROM message WHERE mid > ? AND icid = ? AND sender = '' ORDER BY mid");
	int r;

	snprintf(icid, sizeof icid, "dsn-%lld", (long long)record->mid);
	database_bind_number(rows, 1, record->mid);
	database_bind_text(rows, 2, text_of(icid));
	while ((r = database_step(rows)) == 1)
		add_report(owner, record, sqlite3_column_int64(rows, 0));
	sqlite3_finalize(rows);
	readers_give(readers, db);
	return r;
}

/* What came of reading track.db; a reader has no right to mark it. */
static int doubt(const struct store *store, int error)
{
	if (error == -EUCLEAN && store->state_fd >= 0)
		salvage_doubt_track(store->state_fd);
	return error;
}

int store_track(struct store *store, const void *owner, const struct store_query *query,
	struct store_cursor *cursor, struct store_tracked **ret_records, size_t *ret_count)
{
	struct store_tracked *records = text_must(talloc_zero_array(owner, struct store_tracked, PAGE));
	struct page *pages = text_must(talloc_zero_array(records, struct page, 4));
	size_t count = 0;

	int r = read_pages(store->readers, records, query, cursor, &pages[0], &pages[2]);
	if (r == 0)
		r = doubt(store, read_pages(store->tracks, records, query, cursor, &pages[1], &pages[3]));
	if (r < 0) {
		talloc_free(records);
		return r;
	}
	merge(&pages[0], &pages[1], records, &count, &cursor->mid);
	merge(&pages[2], &pages[3], records, &count, &cursor->refusal);
	cursor->ended = count < PAGE;
	talloc_free(pages);
	/* A report moves from queue.db to track.db: who has read queue.db finds in track.db what has left it since; the other way round it is missed. */
	if (query->mid != 0 && count == 1)
		r = find_reports(store->readers, records, &records[0]);
	if (query->mid != 0 && count == 1 && r == 0)
		r = doubt(store, find_reports(store->tracks, records, &records[0]));
	if (r < 0) {
		talloc_free(records);
		return r;
	}
	*ret_records = records;
	*ret_count = count;
	return 0;
}
