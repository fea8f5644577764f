#pragma once
/* What the files of the writer share: its thread and groups (writer.c), and what each job writes (writer_jobs.c). */

#include <pthread.h>
#include <semaphore.h>
#include <sys/queue.h>

#include "queue/writer.h"

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
	sem_t finished;
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
	sqlite3_stmt *set_corrupt, *set_corrupt_domain, *set_deleted, *add_deletion, *set_clock;
	sqlite3_stmt *drop_attempts, *drop_recipients, *drop_message, *drop_outbox, *drop_refusals;
};

/* Prepare all statements. */
void writer_prepare(struct writer *w);

/* Run one job in the open transaction; 0, or a negative error. */
int writer_run_job(struct writer *w, struct job *job);
