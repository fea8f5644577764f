/*
 * One writer. All jobs that arrived while the last group was committed form the next group, one transaction, one sync.
 * If a statement or the commit fails for want of space, the group is rolled back and each job is tried alone. Any other
 * failure of a commit ends the role: after a failed sync nobody knows what is on the disk, recovery finds out.
 */
#include "queue/writer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "queue/checkpoint.h"
#include "queue/checksum.h"
#include "queue/database.h"
#include "queue/directive.h"

enum job_kind {
	JOB_MAIL,
	JOB_OUTCOME,
	JOB_DAMAGE,
	JOB_DIRECTIVES,
	JOB_NOTES,
	JOB_CLOCK,
	JOB_FORGET,
	JOB_FORGET_NOTES,
	JOB_VACUUM
};

struct job {
	STAILQ_ENTRY(job) next;
	enum job_kind kind;
	struct writer_mail *mail;
	struct writer_outcome *outcome;
	struct writer_damage *damage;
	const struct directive *directives;
	const struct store_refusal *refusals;
	const struct writer_piece *pieces;
	size_t count;
	const struct steady *clock;
	int64_t number;
	int result;
	bool done;
	pthread_cond_t finished;
};

STAILQ_HEAD(jobs, job);

struct writer {
	pthread_mutex_t lock;
	pthread_cond_t arrived;
	pthread_t thread;
	struct jobs jobs;
	bool stopping;
	void (*observe)(void *context, int64_t microseconds); /* or NULL */
	void *observer;					      /* its context */
	sqlite3 *db;
	struct checkpoint *checkpoint;
	int64_t last_mid, last_refusal;
	sqlite3_stmt *begin, *commit, *rollback;
	sqlite3_stmt *add_message, *add_content, *add_recipient, *add_attempt, *add_refusal;
	sqlite3_stmt *set_recipient, *domain_live, *mail_live, *mail_kept, *drop_content, *mail_file,
		*add_outbox;
	sqlite3_stmt *set_corrupt, *set_corrupt_domain, *set_clock;
	sqlite3_stmt *drop_attempts, *drop_recipients, *drop_message, *drop_outbox, *drop_refusals;
};

/* As many as CHECKSUM_MESSAGE and CHECKSUM_RECIPIENT have columns. */
#define MESSAGE_VALUES	 "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15"
#define RECIPIENT_VALUES "?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, 0"

static void prepare(struct writer *w)
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
		{ &w->set_clock, "INSERT OR REPLACE INTO clock (id, now, wall) VALUES (1, ?, ?)" },
	};

	for (size_t i = 0; i < COUNT(table); i++)
		*table[i].statement = database_prepare(w->db, table[i].sql);
}

/* Numbers of mails are given here, because they are part of the sum; sqlite_sequence keeps the highest that ever was. */
static int64_t highest(sqlite3 *db, const char *sql, int64_t least)
{
	sqlite3_stmt *row = database_prepare(db, sql);
	const int64_t found = database_step(row) == 1 ? sqlite3_column_int64(row, 0) : 0;

	sqlite3_finalize(row);
	return MAX(found, least);
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

/* 1 = recorded now, 0 = it had been before, negative = failed. */
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
	if (r < 0 || sqlite3_changes(w->db) == 0)
		return r;

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
	database_bind_number(w->add_outbox, 1, mid);
	return r < 0 ? r : database_step(w->add_outbox);
}

static int run_outcome(struct writer *w, struct writer_outcome *job)
{
	const struct outcome *o = job->outcome;
	bool live = false;
	int r;

	job->repeated = true;
	job->file[0] = job->client[0] = '\0';
	for (size_t i = 0; i < o->recipient_count; i++) {
		r = run_recipient(w, job, &o->recipients[i]);
		if (r < 0)
			return r;
		if (r > 0)
			job->repeated = false;
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

static int run_job(struct writer *w, struct job *job)
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

/* The sync: all that callers wait for happens here. */
static int commit(struct writer *w)
{
	int64_t start = clock_mono_us();
	int r = database_step(w->commit);

	if (r == 0 && w->observe != NULL)
		w->observe(w->observer, clock_mono_us() - start);
	return r;
}

/* One transaction; 0 when it is durable. The first failing job is named by ret_job. */
static int run_transaction(struct writer *w, struct job *first, struct job *end)
{
	int r = database_step(w->begin);

	for (struct job *job = first; r == 0 && job != end; job = STAILQ_NEXT(job, next))
		r = run_job(w, job);
	if (r == 0)
		r = commit(w);
	if (r == 0)
		return 0;

	if (r == -EIO)
		database_fail(w->db);
	if (!sqlite3_get_autocommit(w->db))
		database_step(w->rollback);
	return r;
}

static void run_group(struct writer *w, struct jobs *group)
{
	int r = run_transaction(w, STAILQ_FIRST(group), NULL);
	struct job *job;

	STAILQ_FOREACH (job, group, next)
		job->result = r == 0 ? 0 : run_transaction(w, job, STAILQ_NEXT(job, next));
}

/* After each commit: how long the log is. */
static int grown(void *context, sqlite3 *db, const char *name, int pages)
{
	struct writer *w = context;

	(void)db;
	(void)name;
	checkpoint_grown(w->checkpoint, pages);
	return SQLITE_OK;
}

static void *writer_run(void *argument)
{
	struct writer *w = argument;
	struct job *job;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct jobs group = STAILQ_HEAD_INITIALIZER(group);

		while (STAILQ_EMPTY(&w->jobs) && !w->stopping)
			pthread_cond_wait(&w->arrived, &w->lock);
		if (STAILQ_EMPTY(&w->jobs))
			break;
		STAILQ_CONCAT(&group, &w->jobs);
		pthread_mutex_unlock(&w->lock);
		checkpoint_enter(w->checkpoint);
		run_group(w, &group);
		checkpoint_leave(w->checkpoint);
		pthread_mutex_lock(&w->lock);
		while ((job = STAILQ_FIRST(&group)) != NULL) {
			STAILQ_REMOVE_HEAD(&group, next);
			job->done = true;
			pthread_cond_signal(&job->finished);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct writer *writer_start(
	const void *owner, sqlite3 *db, struct checkpoint *checkpoint, int64_t last_mid, int64_t last_refusal)
{
	struct writer *w = text_must(talloc_zero(owner, struct writer));

	w->db = db;
	w->checkpoint = checkpoint;
	sqlite3_wal_hook(db, grown, w); /* instead of SQLite's own, which would checkpoint here */
	STAILQ_INIT(&w->jobs);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->arrived, NULL);
	w->last_mid = highest(db, "SELECT seq FROM sqlite_sequence WHERE name = 'message'", last_mid);
	w->last_refusal = highest(db, "SELECT max(id) FROM refusal", last_refusal);
	prepare(w);
	if (pthread_create(&w->thread, NULL, writer_run, w) != 0)
		abort();
	return w;
}

void writer_watch(struct writer *w, void (*observe)(void *context, int64_t microseconds), void *context)
{
	pthread_mutex_lock(&w->lock); /* the thread takes it before each group, and so sees these */
	w->observe = observe;
	w->observer = context;
	pthread_mutex_unlock(&w->lock);
}

void writer_stop(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->arrived);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	for (sqlite3_stmt *statement; (statement = sqlite3_next_stmt(w->db, NULL)) != NULL;)
		sqlite3_finalize(statement);
	database_close(w->db);
	pthread_cond_destroy(&w->arrived);
	pthread_mutex_destroy(&w->lock);
	talloc_free(w);
}

/* The jobs come into the same group. */
static void submit_all(struct writer *w, struct job *jobs, size_t count)
{
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < count; i++) {
		pthread_cond_init(&jobs[i].finished, NULL);
		STAILQ_INSERT_TAIL(&w->jobs, &jobs[i], next);
	}
	pthread_cond_signal(&w->arrived);
	for (size_t i = 0; i < count; i++) {
		while (!jobs[i].done)
			pthread_cond_wait(&jobs[i].finished, &w->lock);
		pthread_cond_destroy(&jobs[i].finished);
	}
	pthread_mutex_unlock(&w->lock);
}

static int submit(struct writer *w, struct job *job)
{
	submit_all(w, job, 1);
	return job->result;
}

int writer_mail(struct writer *w, struct writer_mail *mail)
{
	return submit(w, &(struct job){ .kind = JOB_MAIL, .mail = mail });
}

int writer_outcome(struct writer *w, struct writer_outcome *outcome)
{
	return submit(w, &(struct job){ .kind = JOB_OUTCOME, .outcome = outcome });
}

int writer_damage(struct writer *w, struct writer_damage *damage)
{
	return submit(w, &(struct job){ .kind = JOB_DAMAGE, .damage = damage });
}

void writer_outcomes(struct writer *w, struct writer_outcome *outcomes, size_t count)
{
	struct job *jobs = text_must(talloc_zero_array(NULL, struct job, (unsigned)count + 1));

	for (size_t i = 0; i < count; i++)
		jobs[i] = (struct job){ .kind = JOB_OUTCOME, .outcome = &outcomes[i] };
	submit_all(w, jobs, count);
	for (size_t i = 0; i < count; i++)
		outcomes[i].result = jobs[i].result;
	talloc_free(jobs);
}

int writer_directives(struct writer *w, const struct directive *directives, size_t count)
{
	return submit(w, &(struct job){ .kind = JOB_DIRECTIVES, .directives = directives, .count = count });
}

int writer_notes(struct writer *w, const struct store_refusal *refusals, size_t count)
{
	return submit(w, &(struct job){ .kind = JOB_NOTES, .refusals = refusals, .count = count });
}

int writer_clock(struct writer *w, const struct steady *clock)
{
	return submit(w, &(struct job){ .kind = JOB_CLOCK, .clock = clock });
}

int writer_forget(struct writer *w, const struct writer_piece *pieces, size_t count)
{
	return submit(w, &(struct job){ .kind = JOB_FORGET, .pieces = pieces, .count = count });
}

int writer_forget_notes(struct writer *w, int64_t last)
{
	return submit(w, &(struct job){ .kind = JOB_FORGET_NOTES, .number = last });
}

int writer_vacuum(struct writer *w, unsigned pages)
{
	return submit(w, &(struct job){ .kind = JOB_VACUUM, .number = pages });
}
