#pragma once
/* Group commit: one thread that owns the writing connection. Callers wait until their job is synced or has failed. */

#include <stdint.h>

#include <sqlite3.h>

#include "base/digest.h"
#include "policy/steady.h"
#include "queue/envelope.h"
#include "queue/store.h"

struct checkpoint;
struct directive;
struct writer;

/* Start the thread; it takes over `db` and tells `checkpoint` how its log grows. New mails and refusals get the numbers that follow `last_mid` and
 * `last_refusal`, the highest that were ever given. Owned by `owner`. */
struct writer *writer_start(const void *owner, sqlite3 *db, struct checkpoint *checkpoint, int64_t last_mid,
	int64_t last_refusal);

/* End the thread after the jobs it has, and close the connection. */
void writer_stop(struct writer *writer);

/* From now on `observe` hears, in the writer's thread, how many microseconds each commit took; `context` is kept. To be called before the
 * first job. */
void writer_watch(struct writer *writer, void (*observe)(void *context, int64_t microseconds), void *context);

/* A mail to insert; due at `due_ms` (wall clock). Content is either in memory or in the synced file `file`. */
struct writer_mail {
	const struct envelope *envelope;
	struct text bytes;
	const char *file;	     /* NULL = in `bytes` */
	const struct digest *digest; /* of the content */
	uint64_t size;
	int64_t due_ms;
	int64_t queued_ms; /* policy/steady.h */
	int64_t mid;	   /* out */
};

/* An outcome to record. */
struct writer_outcome {
	const struct outcome *outcome;
	int64_t due_ms;		 /* for recipients that are deferred; wall clock */
	struct writer_mail *dsn; /* or NULL */
	bool repeated;		 /* out: it had been recorded before, nothing was changed */
	bool waiting;		 /* out: a recipient of this domain is still queued */
	bool outgoing;		 /* out: the mail is in the outbox now */
	char client[64]; /* out: who sent the mail that is queued for nobody any more; empty = it is */
	char file[64];	 /* out: content file that is not needed any more; empty = none */
	int result;	 /* out, of writer_outcomes() */
};

/* Rows that were damaged. */
struct writer_damage {
	int64_t mid;
	const char *
		domain; /* of the recipients whose own rows are damaged; NULL = the mail is: all its queued recipients */
	uint64_t marked; /* out: how many are not queued any more */
	bool waiting;	 /* out: a recipient of this domain is still queued */
	char client[64]; /* out: as above */
};

/* Some recipients of a finished mail, with their attempts; with the last ones goes the mail itself. */
struct writer_piece {
	int64_t mid, first_rid, last_rid;
	bool last;
};

/* Each returns when its change is durable: 0, or -ENOSPC, -EDQUOT, -EINVAL with nothing changed. */
int writer_mail(struct writer *writer, struct writer_mail *mail);
int writer_outcome(struct writer *writer, struct writer_outcome *outcome);
int writer_damage(struct writer *writer, struct writer_damage *damage);
int writer_directives(struct writer *writer, const struct directive *directives, size_t count);
/* Delete what is in track.db: pieces of finished mails, refusals up to number `last`. */
int writer_forget(struct writer *writer, const struct writer_piece *pieces, size_t count);
int writer_forget_notes(struct writer *writer, int64_t last);
/* Give up to `pages` free pages back to the file system. */
int writer_vacuum(struct writer *writer, unsigned pages);
int writer_notes(struct writer *writer, const struct store_refusal *refusals, size_t count);

/* The same for many at once, each for itself; returns when all are durable or have failed, which `result` of each says. */
void writer_outcomes(struct writer *writer, struct writer_outcome *outcomes, size_t count);

/* Save what the queue's clock says, and the wall clock beside it. */
int writer_clock(struct writer *writer, const struct steady *clock);
