/* What each kind of job of the writer does, in the transaction of its group. Every row that is written here has its checksum. */
#include "queue/writer_private.h"

#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "queue/checksum.h"
#include "queue/database.h"
#include "queue/directive.h"

/* As many as CHECKSUM_MESSAGE and CHECKSUM_RECIPIENT have columns. */
#define MESSAGE_VALUES	 "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16"
#define RECIPIENT_VALUES "?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, 0"

void writer_prepare(struct writer *w)
{
	const struct {
		sqlite3_stmt **statement;
		const char *sql;
	} table[] = {
		{ &w->begin, "BEGIN IMMEDIATE" },
		{ &w->commit, "COMMIT" },
		{ &w->rollback, "ROLLBACK" },
		{ &w->add_message, "INSERT INTO message (" CHECKSUM_MESSAGE ", sum) VALUES (" MESSAGE_VALUES
				   ", row_sum('message', " MESSAGE_VALUES "))" },
		{ &w->add_content, "INSERT INTO content (mid, bytes) VALUES (?, ?)" },
		{ &w->add_recipient,
			"INSERT INTO recipient (" CHECKSUM_RECIPIENT ", sum) VALUES (" RECIPIENT_VALUES
			", row_sum('recipient', " RECIPIENT_VALUES "))" },
		{ &w->add_attempt,
			"INSERT INTO attempt (mid, rid, number, time, dcid, host, address, state, reply, tls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" },
		{ &w->add_refusal,
			"INSERT INTO refusal (id, time, icid, client, helo, tls, sender, recipient, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)" },
		{ &w->set_recipient,
			"UPDATE recipient SET state = ?1, attempts = ?2, due = ?3, warned = max(warned, ?7),"
			" sum = row_sum('recipient', mid, rid, address, domain, ?1, ?2, ?3, notify, orcpt, max(warned, ?7))"
			" WHERE mid = ?4 AND rid = ?5 AND state = 0 AND attempts = ?6 AND sum = " CHECKSUM_OF_RECIPIENT },
		{ &w->domain_live,
			"SELECT 1 FROM recipient WHERE mid = ? AND domain = ? AND state = 0 LIMIT 1" },
		{ &w->mail_live, "SELECT 1 FROM recipient WHERE mid = ? AND state = 0 LIMIT 1" },
		{ &w->mail_kept,
			"SELECT 1 FROM recipient WHERE mid = ? AND state NOT IN " DATABASE_FINAL " LIMIT 1" },
		{ &w->drop_content, "DELETE FROM content WHERE mid = ?" },
		{ &w->mail_file, "SELECT client, file FROM message WHERE mid = ?" },
		{ &w->add_outbox, "INSERT OR IGNORE INTO outbox (mid) VALUES (?)" },
		{ &w->drop_attempts, "DELETE FROM attempt WHERE mid = ? AND rid BETWEEN ? AND ?" },
		{ &w->drop_recipients, "DELETE FROM recipient WHERE mid = ? AND rid BETWEEN ? AND ?" },
		{ &w->drop_message, "DELETE FROM message WHERE mid = ?" },
		{ &w->drop_outbox, "DELETE FROM outbox WHERE mid = ?" },
		{ &w->drop_refusals, "DELETE FROM refusal WHERE id <= ?" },
		/* A wrong sum stays as evidence; a right one lets the recipient be queued again (database.c). */
		{ &w->set_corrupt,
			"UPDATE recipient SET state = 3, sum = CASE sum WHEN " CHECKSUM_OF_RECIPIENT
			" THEN row_sum('recipient', mid, rid, address, domain, 3, attempts, due, notify, orcpt, warned) ELSE sum END"
			" WHERE mid = ? AND state = 0" },
		{ &w->set_corrupt_domain,
			"UPDATE recipient SET state = 3 WHERE mid = ? AND domain = ? AND state = 0 AND sum <> " CHECKSUM_OF_RECIPIENT },
		/* Whatever its row says: only an operator who deletes it can end it. Its last attempt says so. */
		{ &w->set_deleted,
			"UPDATE recipient SET (state, attempts, sum) = (SELECT 4, n,"
			" row_sum('recipient', mid, rid, address, domain, 4, n, due, notify, orcpt, warned) FROM"
			" (SELECT coalesce(max(number), 0) + 1 AS n FROM attempt a WHERE a.mid = ?1 AND a.rid = ?2))"
			" WHERE mid = ?1 AND rid = ?2 AND state = 3" },
		{ &w->add_deletion,
			"INSERT INTO attempt (mid, rid, number, time, dcid, host, address, state, reply, tls)"
			" SELECT mid, rid, attempts, ?3, '', '', '', 4, ?4, '' FROM recipient WHERE mid = ?1 AND rid = ?2" },
		{ &w->set_clock, "INSERT OR REPLACE INTO clock (id, now, wall) VALUES (1, ?, ?)" },
	};

	for (size_t i = 0; i < COUNT(table); i++)
		*table[i].statement = database_prepare(w->db, table[i].sql);
}

/* Domains are compared in lower case everywhere; the address keeps its spelling. */
static int add_recipient(struct writer *w, const struct writer_mail *mail, size_t index)
{
	const char *address = mail->envelope->recipients[index];
	char *domain = text_copy_lower(NULL, envelope_domain(address));

	database_bind_number(w->add_recipient, 1, mail->mid);
	database_bind_number(w->add_recipient, 2, (int64_t)index + 1);
	database_bind_text(w->add_recipient, 3, text_of(address));
	database_bind_text(w->add_recipient, 4, text_of(domain));
	database_bind_number(w->add_recipient, 5, mail->due_ms);
	database_bind_number(
		w->add_recipient, 6, mail->envelope->notify == NULL ? 0 : mail->envelope->notify[index]);
	database_bind_text(w->add_recipient, 7,
		text_of(mail->envelope->orcpt == NULL ? "" : mail->envelope->orcpt[index]));
	int r = database_step(w->add_recipient);
	talloc_free(domain);
	return r;
}

static int run_mail(struct writer *w, struct writer_mail *mail)
{
	const struct envelope *e = mail->envelope;
	const struct text texts[] = { text_of(e->icid), text_of(e->client), text_of(e->helo), text_of(e->tls),
		text_of(e->sender) };

	mail->mid = ++w->last_mid;
	database_bind_number(w->add_message, 1, mail->mid);
	database_bind_number(w->add_message, 2, e->received_ms);
	for (int i = 0; i < (int)COUNT(texts); i++)
		database_bind_text(w->add_message, i + 3, texts[i]);
	database_bind_number(w->add_message, 8, (int64_t)mail->size);
	sqlite3_bind_text(w->add_message, 9, mail->file, -1, SQLITE_STATIC);
	sqlite3_bind_blob(w->add_message, 10, mail->digest->bytes, DIGEST_SIZE, SQLITE_STATIC);
	const int64_t flags[] = { e->eight_bit, e->utf8, e->ret };
	for (int i = 0; i < (int)COUNT(flags); i++)
		database_bind_number(w->add_message, i + 11, flags[i]);
	database_bind_text(w->add_message, 14, text_of(e->envid));
	database_bind_number(w->add_message, 15, mail->queued_ms);
	database_bind_number(w->add_message, 16, (int64_t)e->recipient_count);
	int r = database_step(w->add_message);
	if (r < 0)
		return r;

	if (mail->file == NULL) {
		database_bind_number(w->add_content, 1, mail->mid);
		sqlite3_bind_blob(w->add_content, 2, mail->bytes.len == 0 ? "" : mail->bytes.at,
			(int)mail->bytes.len, SQLITE_STATIC);
		r = database_step(w->add_content);
	}
	for (size_t i = 0; r == 0 && i < e->recipient_count; i++)
		r = add_recipient(w, mail, i);
	return r;
}

/* The end of a corrupt recipient; as run_recipient(). */
static int delete_corrupt(
	struct writer *w, const struct outcome *o, const struct outcome_recipient *recipient)
{
	database_bind_number(w->set_deleted, 1, o->mid);
	database_bind_number(w->set_deleted, 2, recipient->rid);
	int r = database_step(w->set_deleted);
	if (r < 0 || sqlite3_changes(w->db) == 0)
		return r;
	database_bind_number(w->add_deletion, 1, o->mid);
	database_bind_number(w->add_deletion, 2, recipient->rid);
	database_bind_number(w->add_deletion, 3, o->time_ms);
	database_bind_text(w->add_deletion, 4, text_of(recipient->reply));
	r = database_step(w->add_deletion);
	return r < 0 ? r : 2;
}

/* 1 = recorded now, 2 = and it was not queued, 0 = it had been before, negative = failed. */
static int run_recipient(
	struct writer *w, const struct writer_outcome *job, const struct outcome_recipient *recipient)
{
	const struct outcome *o = job->outcome;
	/* Stored recipient states: 0 queued, 1 delivered, 2 bounced, 4 deleted. */
	static const int states[] = {
		[OUTCOME_DELIVERED] = 1, [OUTCOME_DEFERRED] = 0, [OUTCOME_BOUNCED] = 2, [OUTCOME_DELETED] = 4
	};
	const struct outcome_leg leg = envelope_leg(o, (size_t)(recipient - o->recipients));
	const struct text texts[] = { text_of(leg.dcid), text_of(leg.host), text_of(leg.address) };

	const int64_t numbers[] = { states[recipient->state], o->attempt, job->due_ms, o->mid, recipient->rid,
		(int64_t)o->attempt - 1, recipient->warned };
	for (int i = 0; i < (int)COUNT(numbers); i++)
		database_bind_number(w->set_recipient, i + 1, numbers[i]);
	int r = database_step(w->set_recipient);
	if (r < 0)
		return r;
	if (sqlite3_changes(w->db) == 0)
		return recipient->state == OUTCOME_DELETED ? delete_corrupt(w, o, recipient) : 0;

	database_bind_number(w->add_attempt, 1, o->mid);
	database_bind_number(w->add_attempt, 2, recipient->rid);
	database_bind_number(w->add_attempt, 3, o->attempt);
	database_bind_number(w->add_attempt, 4, o->time_ms);
	for (int i = 0; i < (int)COUNT(texts); i++)
		database_bind_text(w->add_attempt, i + 5, texts[i]);
	database_bind_number(w->add_attempt, 8, recipient->state);
	database_bind_text(w->add_attempt, 9, text_of(recipient->reply));
	database_bind_text(w->add_attempt, 10, text_of(leg.tls));
	r = database_step(w->add_attempt);
	return r < 0 ? r : 1;
}

static int is_live(sqlite3_stmt *statement, int64_t mid, const char *domain, bool *ret_live)
{
	database_bind_number(statement, 1, mid);
	if (domain != NULL)
		database_bind_text(statement, 2, text_of(domain));
	int r = database_step(statement);
	*ret_live = r == 1;
	sqlite3_reset(statement);
	return MIN(r, 0);
}

static void copy_column(sqlite3_stmt *row, int column, char *ret_text, size_t size)
{
	snprintf(ret_text, size, TEXT_FMT, TEXT_ARG(database_text(row, column)));
}

/* Nobody is queued any more. When everybody is done the content goes in the same transaction, and the mail into the outbox (S6). */
static int finish_mail(struct writer *w, int64_t mid, struct writer_outcome *job)
{
	bool kept = false;

	database_bind_number(w->mail_file, 1, mid);
	int r = database_step(w->mail_file);
	if (r <= 0)
		return r;
	copy_column(w->mail_file, 0, job->client, sizeof job->client);
	copy_column(w->mail_file, 1, job->file, sizeof job->file);
	sqlite3_reset(w->mail_file);
	r = is_live(w->mail_kept, mid, NULL, &kept);
	if (r < 0 || kept) {
		job->file[0] = '\0';
		return r;
	}
	database_bind_number(w->drop_content, 1, mid);
	r = database_step(w->drop_content);
	job->outgoing = true;
	database_bind_number(w->add_outbox, 1, mid);
	return r < 0 ? r : database_step(w->add_outbox);
}

static int run_outcome(struct writer *w, struct writer_outcome *job)
{
	const struct outcome *o = job->outcome;
	bool live = false, was_live = false;
	int r;

	job->repeated = true;
	job->outgoing = false;
	job->file[0] = job->client[0] = '\0';
	for (size_t i = 0; i < o->recipient_count; i++) {
		r = run_recipient(w, job, &o->recipients[i]);
		if (r < 0)
			return r;
		if (r > 0)
			job->repeated = false;
		was_live = was_live || r == 1;
	}
	if (!job->repeated && job->dsn != NULL) {
		r = run_mail(w, job->dsn);
		if (r < 0)
			return r;
	}
	r = is_live(w->domain_live, o->mid, o->domain, &job->waiting);
	if (r == 0)
		r = is_live(w->mail_live, o->mid, NULL, &live);
	if (r == 0 && !live)
		r = finish_mail(w, o->mid, job);
	if (!was_live)
		job->client[0] = '\0'; /* it counted no more since it was corrupt */
	return r;
}

static int run_damage(struct writer *w, struct writer_damage *job)
{
	sqlite3_stmt *set = job->domain == NULL ? w->set_corrupt : w->set_corrupt_domain;
	bool live = false;

	job->client[0] = '\0';
	job->waiting = false;
	database_bind_number(set, 1, job->mid);
	if (job->domain != NULL)
		database_bind_text(set, 2, text_of(job->domain));
	int r = database_step(set);
	job->marked = (uint64_t)sqlite3_changes(w->db);
	if (r == 0 && job->domain != NULL)
		r = is_live(w->domain_live, job->mid, job->domain, &job->waiting);
	if (r == 0)
		r = is_live(w->mail_live, job->mid, NULL, &live);
	if (r < 0 || live || job->marked == 0)
		return r;
	database_bind_number(w->mail_file, 1, job->mid);
	r = database_step(w->mail_file);
	if (r == 1)
		copy_column(w->mail_file, 0, job->client, sizeof job->client);
	sqlite3_reset(w->mail_file);
	return MIN(r, 0);
}

static int run_notes(struct writer *w, const struct store_refusal *refusals, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct store_refusal *n = &refusals[i];
		const char *const texts[] = { n->icid, n->client, n->helo, n->tls, n->sender, n->recipient,
			n->reply };

		database_bind_number(w->add_refusal, 1, ++w->last_refusal);
		database_bind_number(w->add_refusal, 2, n->time_ms);
		for (int t = 0; t < (int)COUNT(texts); t++)
			database_bind_text(w->add_refusal, t + 3, text_of(texts[t]));
		r = database_step(w->add_refusal);
	}
	return r;
}

static int run_clock(struct writer *w, const struct steady *clock)
{
	database_bind_number(w->set_clock, 1, clock->now_ms);
	database_bind_number(w->set_clock, 2, clock->wall_ms);
	return database_step(w->set_clock);
}

static int run_number(sqlite3_stmt *statement, int64_t number)
{
	database_bind_number(statement, 1, number);
	return database_step(statement);
}

/* The message goes last: while it is there, its recipients are complete in track.db. */
static int run_forget(struct writer *w, const struct writer_piece *pieces, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		sqlite3_stmt *const rows[] = { w->drop_attempts, w->drop_recipients };

		for (size_t n = 0; r == 0 && n < COUNT(rows); n++) {
			database_bind_number(rows[n], 2, pieces[i].first_rid);
			database_bind_number(rows[n], 3, pieces[i].last_rid);
			r = run_number(rows[n], pieces[i].mid);
		}
		if (r == 0 && pieces[i].last)
			r = run_number(w->drop_message, pieces[i].mid);
		if (r == 0 && pieces[i].last)
			r = run_number(w->drop_outbox, pieces[i].mid);
	}
	return r;
}

static int run_vacuum(struct writer *w, int64_t pages)
{
	char sql[64];

	snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%lld)", (long long)pages);
	return database_exec(w->db, sql);
}

int writer_run_job(struct writer *w, struct job *job)
{
	switch (job->kind) {
	case JOB_MAIL:
		return run_mail(w, job->mail);
	case JOB_OUTCOME:
		return run_outcome(w, job->outcome);
	case JOB_DAMAGE:
		return run_damage(w, job->damage);
	case JOB_DIRECTIVES:
		return directive_run(w->db, job->directives, job->count);
	case JOB_NOTES:
		return run_notes(w, job->refusals, job->count);
	case JOB_CLOCK:
		return run_clock(w, job->clock);
	case JOB_FORGET:
		return run_forget(w, job->pieces, job->count);
	case JOB_FORGET_NOTES:
		return run_number(w->drop_refusals, job->number);
	case JOB_VACUUM:
		return run_vacuum(w, job->number);
	}
	return -EINVAL;
}
