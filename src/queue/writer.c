/*
 * One writer. All jobs that arrived while the last group was committed form the next group, one transaction, one sync.
 * If a statement or the commit fails for want of space, the group is rolled back and each job is tried alone. Any other
 * failure of a commit ends the role: after a failed sync nobody knows what is on the disk, recovery finds out.
 */
#include "queue/writer.h"

#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "queue/checkpoint.h"
#include "queue/database.h"
#include "queue/writer_private.h"

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
		r = writer_run_job(w, job);
	if (r == 0)
		r = commit(w);
	if (r == 0)
		return 0;

	if (r == -EIO || r == -EUCLEAN)
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
		while ((job = STAILQ_FIRST(&group)) != NULL) {
			STAILQ_REMOVE_HEAD(&group, next);
			sem_post(&job->finished); /* it is gone from now on */
		}
		pthread_mutex_lock(&w->lock);
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
	w->last_mid = last_mid;
	w->last_refusal = last_refusal;
	writer_prepare(w);
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
	database_close(w->db);
	pthread_cond_destroy(&w->arrived);
	pthread_mutex_destroy(&w->lock);
	talloc_free(w);
}

/* The jobs come into the same group. */
static void submit_all(struct writer *w, struct job *jobs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sem_init(&jobs[i].finished, 0, 0);
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < count; i++)
		STAILQ_INSERT_TAIL(&w->jobs, &jobs[i], next);
	pthread_cond_signal(&w->arrived);
	pthread_mutex_unlock(&w->lock);
	for (size_t i = 0; i < count; i++) {
		while (sem_wait(&jobs[i].finished) < 0) {
		}
		sem_destroy(&jobs[i].finished);
	}
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
