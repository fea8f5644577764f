/*
 * Tracking moves in slices: copied to track.db in one transaction that is synced (G8), then deleted from queue.db by the writer. Copying replaces
 * what an earlier, interrupted try copied, so each step may be done again. Nobody waits for this thread, and it waits for the disk alone: mail
 * goes on when track.db cannot be written.
 */
#include "queue/mover.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "queue/database.h"
#include "queue/salvage.h"
#include "queue/storage_fault.h"
#include "queue/writer.h"

enum {
	SLICE_MAILS = 200,
	SLICE_RECIPIENTS = 1000,  /* a slice ends with the mail that reaches it */
	DELETED_RECIPIENTS = 500, /* by one job of the writer; each has attempts, too */
	SLICE_REFUSALS = 1000,
	SLICE_PAGES = 64,    /* given back at once */
	FREE_PAGES = 1024,   /* fewer are left for new mail */
	GATHER_MS = 50,	     /* between two slices that are not full */
	TIDY_MS = 60 * 1000, /* between two looks for what is old */
	AGAIN_MS = 5 * 1000, /* after an error */
};

struct mover {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool awake, stopping;
	int64_t keep_ms;
	int directory_fd;
	sqlite3 *
		db; /* track.db; queue.db is attached as `live`. NULL after an error until it is opened again */
	struct writer *writer;
	sqlite3_stmt *begin, *commit, *rollback;
	sqlite3_stmt *next, *add_message, *add_recipients, *add_attempts;
	sqlite3_stmt *last_refusal, *add_refusals;
	sqlite3_stmt *old_message, *drop_attempts, *drop_recipients, *drop_message, *drop_refusals;
	struct writer_piece pieces[SLICE_MAILS];
	size_t count;
	bool full; /* there may be more than in this slice */
	char *why; /* the last transaction failed; or NULL */
	int told;  /* the error that was logged, until it works again; 0 = none */
};

static int prepare(struct mover *m)
{
	const struct {
		sqlite3_stmt **statement;
		const char *sql;
	} table[] = {
		{ &m->begin, "BEGIN" },
		{ &m->commit, "COMMIT" },
		{ &m->rollback, "ROLLBACK" },
		/* Nothing that is not final is ever moved, whatever the outbox says. */
		{ &m->next,
			"SELECT mid, (SELECT max(rid) FROM live.recipient WHERE recipient.mid = outbox.mid)"
			" FROM live.outbox WHERE mid > ?"
			" AND NOT EXISTS (SELECT 1 FROM live.recipient WHERE recipient.mid = outbox.mid"
			" AND state NOT IN " DATABASE_FINAL ") ORDER BY mid LIMIT 1" },
		{ &m->add_message,
			"INSERT OR REPLACE INTO main.message SELECT mid, received, icid, client, helo, tls, sender,"
			" size, ?2 FROM live.message WHERE mid = ?1" },
		{ &m->add_recipients,
			"INSERT OR REPLACE INTO main.recipient SELECT mid, rid, address, state, attempts"
			" FROM live.recipient WHERE mid = ?1" },
		{ &m->add_attempts,
			"INSERT OR REPLACE INTO main.attempt SELECT mid, rid, number, time, dcid, host, address,"
			" state, reply, tls FROM live.attempt WHERE mid = ?1" },
		{ &m->last_refusal, "SELECT max(id) FROM (SELECT id FROM live.refusal ORDER BY id LIMIT ?)" },
		{ &m->add_refusals,
			"INSERT OR REPLACE INTO main.refusal SELECT id, time, icid, client, helo, tls, sender,"
			" recipient, reply, ?2 FROM live.refusal WHERE id <= ?1" },
		{ &m->old_message, "SELECT mid FROM main.message WHERE moved < ? ORDER BY moved LIMIT 1" },
		{ &m->drop_attempts, "DELETE FROM main.attempt WHERE mid = ?" },
		{ &m->drop_recipients, "DELETE FROM main.recipient WHERE mid = ?" },
		{ &m->drop_message, "DELETE FROM main.message WHERE mid = ?" },
		{ &m->drop_refusals,
			"DELETE FROM main.refusal WHERE id IN"
			" (SELECT id FROM main.refusal WHERE moved < ? ORDER BY moved LIMIT ?)" },
	};

	for (size_t i = 0; i < COUNT(table); i++)
		if (sqlite3_prepare_v3(m->db, table[i].sql, -1, SQLITE_PREPARE_PERSISTENT, table[i].statement,
			    NULL) != SQLITE_OK)
			return database_error(m->db);
	return 0;
}

static void disconnect(struct mover *m)
{
	database_close(m->db);
	m->db = NULL;
}

/* Take over `track`; closed when that fails. */
static int connect(struct mover *m, sqlite3 *track)
{
	char sql[64];

	m->db = track;
	snprintf(sql, sizeof sql, "ATTACH '/proc/self/fd/%d/queue.db' AS live", m->directory_fd);
	int r = database_exec(track, sql);
	if (r == 0)
		r = prepare(m);
	if (r < 0)
		disconnect(m);
	return r;
}

static int connect_again(struct mover *m)
{
	sqlite3 *track = NULL;
	const char *why;
	int r = database_open_writer(m, m->directory_fd, DATABASE_TRACK, &track, &why);

	talloc_free(m->why);
	m->why = r < 0 ? (char *)why : NULL;
	return r < 0 ? r : connect(m, track);
}

/* Run a statement with up to two numbers; 0, or a negative error. */
static int run(sqlite3_stmt *statement, int64_t first, int64_t second)
{
	database_bind_number(statement, 1, first);
	database_bind_number(statement, 2, second);
	return database_step(statement);
}

/* The first row of a query as numbers; 1, 0 when there is none, or a negative error. */
static int look_up(sqlite3_stmt *row, int64_t argument, int64_t *ret_numbers, int count)
{
	database_bind_number(row, 1, argument);
	int r = database_step(row);

	for (int i = 0; r == 1 && i < count; i++)
		ret_numbers[i] = sqlite3_column_int64(row, i);
	sqlite3_reset(row);
	return r;
}

static int end_transaction(struct mover *m, int error)
{
	int r = error < 0 ? error : database_step(m->commit);

	talloc_free(m->why);
	m->why = r < 0 ? text_copy(m, text_of(sqlite3_errmsg(m->db))) : NULL;
	if (r < 0 && !sqlite3_get_autocommit(m->db))
		database_step(m->rollback);
	return r;
}

/* Copy a slice into the open transaction and note what is to be deleted for it. */
static int copy_mails(struct mover *m, int64_t now)
{
	int64_t found[2] = { 0, 0 }, recipients = 0;
	int r = 1;

	m->count = 0;
	while (m->count < SLICE_MAILS && recipients < SLICE_RECIPIENTS &&
		(r = look_up(m->next, found[0], found, 2)) == 1) {
		r = run(m->add_message, found[0], now);
		if (r == 0)
			r = run(m->add_recipients, found[0], 0);
		if (r == 0)
			r = run(m->add_attempts, found[0], 0);
		if (r < 0)
			return r;
		recipients += found[1];
		m->pieces[m->count++] = (struct writer_piece){ found[0], 1, found[1], true };
	}
	m->full = m->count == SLICE_MAILS || recipients >= SLICE_RECIPIENTS;
	return MIN(r, 0);
}

/* Have it deleted: mails in a few jobs, one with very many recipients in pieces of its own. */
static int delete_mails(struct mover *m)
{
	size_t first = 0;
	int64_t recipients = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->count; i++) {
		struct writer_piece *piece = &m->pieces[i];

		while (r == 0 && piece->last_rid - piece->first_rid >= DELETED_RECIPIENTS) {
			const struct writer_piece part = { piece->mid, piece->first_rid,
				piece->first_rid + DELETED_RECIPIENTS - 1, false };

			r = writer_forget(m->writer, &part, 1);
			piece->first_rid += DELETED_RECIPIENTS;
		}
		recipients += piece->last_rid - piece->first_rid + 1;
		if (r == 0 && (recipients >= DELETED_RECIPIENTS || i + 1 == m->count)) {
			r = writer_forget(m->writer, &m->pieces[first], i + 1 - first);
			first = i + 1;
			recipients = 0;
		}
	}
	return r;
}

/* Move a slice; 1 when it was full, or a negative error. */
static int move_mails(struct mover *m)
{
	int r = database_step(m->begin);

	if (r == 0)
		r = end_transaction(m, copy_mails(m, clock_wall_ms()));
	if (r == 0)
		r = delete_mails(m);
	return r < 0 ? r : m->full;
}

/* The same for refusals; 1 when some were moved. */
static int move_refusals(struct mover *m)
{
	int64_t last = 0;
	int r = look_up(m->last_refusal, SLICE_REFUSALS, &last, 1);

	if (r <= 0 || last == 0)
		return r < 0 ? r : 0;
	r = database_step(m->begin);
	if (r == 0)
		r = end_transaction(m, run(m->add_refusals, last, clock_wall_ms()));
	if (r == 0)
		r = writer_forget_notes(m->writer, last);
	return r < 0 ? r : 1;
}

/* Forget a slice of what is older than it is to be kept; how much, or a negative error. */
static int forget_old(struct mover *m, int64_t keep_ms)
{
	const int64_t before = clock_wall_ms() - keep_ms;
	int64_t mid;
	int r = database_step(m->begin), count = 0;

	while (r >= 0 && count < SLICE_MAILS && (r = look_up(m->old_message, before, &mid, 1)) == 1) {
		r = run(m->drop_attempts, mid, 0);
		if (r == 0)
			r = run(m->drop_recipients, mid, 0);
		if (r == 0)
			r = run(m->drop_message, mid, 0);
		count++;
	}
	if (r >= 0)
		r = run(m->drop_refusals, before, SLICE_REFUSALS);
	count += sqlite3_changes(m->db);
	r = end_transaction(m, MIN(r, 0));
	return r < 0 ? r : count;
}

/* Give a slice of free pages back to the file system; 1 when there are more. */
static int give_back(struct mover *m)
{
	int64_t free_pages, pages;
	char sql[64];
	int r = database_number(m->db, "PRAGMA main.freelist_count", &free_pages);

	if (r == 0 && free_pages > FREE_PAGES) {
		snprintf(sql, sizeof sql, "PRAGMA main.incremental_vacuum(%d)", SLICE_PAGES);
		r = database_exec(m->db, sql);
		return r < 0 ? r : 1;
	}
	if (r == 0)
		r = database_number(m->db, "PRAGMA live.freelist_count", &free_pages);
	if (r == 0)
		r = database_number(m->db, "PRAGMA live.page_count", &pages);
	if (r < 0 || free_pages <= FREE_PAGES || free_pages < pages / 2)
		return r;
	r = writer_vacuum(m->writer, SLICE_PAGES);
	return r < 0 ? r : 1;
}

/* One slice of everything; 1 when there is more to do at once. */
static int step(struct mover *m, bool tidy, int64_t keep_ms)
{
	int mails = move_mails(m), refusals = mails < 0 ? mails : move_refusals(m), old = 0, pages = 0;

	if (refusals >= 0 && tidy && keep_ms > 0)
		old = forget_old(m, keep_ms);
	if (refusals >= 0 && old >= 0 && tidy)
		pages = give_back(m);
	if (refusals < 0 || old < 0 || pages < 0)
		return MIN(refusals, MIN(old, pages));
	return mails > 0 || refusals > 0 || old > 0 || pages > 0;
}

/* True when the thread is to end: what is damaged stays as it is until the next start sets it aside. After a failed sync nobody knows what is
 * in the file, as at a start: so as there it is opened again, and what its log holds is made durable before anything is deleted for it. */
static bool failed(struct mover *m, int error)
{
	const char *cure = storage_fault_cure(error),
		   *reason = error == -EIO && m->why != NULL ? m->why : err_text(error);

	if (error == -EUCLEAN)
		salvage_doubt_track(m->directory_fd);
	if (error == -EUCLEAN || error == -EINVAL) {
		log_event(LOG_ERROR, "tracking_stopped", log_str("reason", m->why != NULL ? m->why : reason));
		return true;
	}
	if (error != m->told)
		log_event(LOG_WARN, "tracking_delayed", log_str("reason", reason),
			log_str("cure", cure != NULL ? cure : ""));
	m->told = error;
	if (error == -EIO)
		disconnect(m);
	return false;
}

static void works(struct mover *m)
{
	if (m->told != 0)
		log_event(LOG_INFO, "tracking_resumed");
	m->told = 0;
}

static void *mover_run(void *argument)
{
	struct mover *m = argument;
	int64_t tidy_at = 0, pause_until = 0;

	pthread_mutex_lock(&m->lock);
	m->awake = true; /* the outbox may not be empty */
	while (!m->stopping) {
		const int64_t now = clock_mono_ms(), until = now < pause_until ? pause_until
							     : m->awake	       ? now
									       : tidy_at;

		if (now < until) {
			thread_wait(&m->changed, &m->lock, until);
			continue;
		}

		const int64_t keep_ms = m->keep_ms;
		const bool tidy = now >= tidy_at;
		m->awake = false;
		pthread_mutex_unlock(&m->lock);
		int r = m->db == NULL ? connect_again(m) : 0;
		if (r == 0)
			r = step(m, tidy, keep_ms);
		const bool ends = r < 0 && failed(m, r);
		if (r >= 0)
			works(m);
		pthread_mutex_lock(&m->lock);
		if (ends)
			break;
		m->awake = m->awake || r != 0;
		pause_until = clock_mono_ms() + (r < 0 ? AGAIN_MS : r == 0 ? GATHER_MS : 0);
		if (tidy && r == 0)
			tidy_at = clock_mono_ms() + TIDY_MS;
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

struct mover *mover_start(
	const void *owner, sqlite3 *track, int directory_fd, struct writer *writer, int64_t keep_ms)
{
	struct mover *m = text_must(talloc_zero(owner, struct mover));

	m->directory_fd = directory_fd;
	if (connect(m, track) < 0) {
		talloc_free(m);
		return NULL;
	}
	m->writer = writer;
	m->keep_ms = keep_ms;
	pthread_mutex_init(&m->lock, NULL);
	thread_condition(&m->changed);
	if (pthread_create(&m->thread, NULL, mover_run, m) != 0)
		abort();
	return m;
}

void mover_wake(struct mover *m)
{
	pthread_mutex_lock(&m->lock);
	if (!m->awake)
		pthread_cond_signal(&m->changed);
	m->awake = true;
	pthread_mutex_unlock(&m->lock);
}

void mover_keep(struct mover *m, int64_t keep_ms)
{
	pthread_mutex_lock(&m->lock);
	m->keep_ms = keep_ms;
	pthread_mutex_unlock(&m->lock);
}

void mover_stop(struct mover *m)
{
	pthread_mutex_lock(&m->lock);
	m->stopping = true;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	disconnect(m);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	talloc_free(m);
}
