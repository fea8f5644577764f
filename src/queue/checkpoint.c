/*
 * A PASSIVE checkpoint never waits and nobody waits for it, but under steady load it never sees the end of the log, which then only grows. So
 * above a bound a RESTART follows it: that holds the writer off while it copies the rest and waits for readers, a fifth of a second at most. What
 * a checkpoint copied is synced before the log may begin anew; SQLite sees to that.
 */
#include "queue/checkpoint.h"

#include <pthread.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "queue/database.h"

enum { READERS_WAIT_MS = 200 };

struct checkpoint {
	pthread_mutex_t lock;
	pthread_cond_t grown, changed; /* `changed`: writing or restarting */
	pthread_t thread;
	bool stopping, writing, restarting;
	int pages; /* of the log */
	int due;   /* copy it when it has so many */
	int bound; /* begin it anew when it has so many */
	struct checkpoint_limits limits;
	sqlite3 *db;
};

/* Without room nothing is lost: the log stays, and it is tried again when it has grown. After damage the next start looks. */
static void copy(struct checkpoint *c, int mode)
{
	if (sqlite3_wal_checkpoint_v2(c->db, "main", mode, NULL, NULL) == SQLITE_OK ||
		sqlite3_errcode(c->db) == SQLITE_BUSY)
		return;
	int r = database_error(c->db);
	if (r == -EIO || r == -EUCLEAN)
		database_fail(c->db);
}

/* Only readers may be in its way: a writer that never pauses would never let it begin. */
static void restart(struct checkpoint *c)
{
	pthread_mutex_lock(&c->lock);
	c->restarting = true;
	while (c->writing)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
	copy(c, SQLITE_CHECKPOINT_RESTART);
	pthread_mutex_lock(&c->lock);
	c->restarting = false;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static void *checkpoint_run(void *argument)
{
	struct checkpoint *c = argument;

	pthread_mutex_lock(&c->lock);
	while (!c->stopping) {
		if (c->pages < c->due) {
			pthread_cond_wait(&c->grown, &c->lock);
			continue;
		}
		const bool bound = c->pages >= c->bound;
		c->due = c->pages + c->limits.copied;
		if (bound) /* if a reader prevents it now, do not hold writers off all the time */
			c->bound = 2 * c->pages;
		pthread_mutex_unlock(&c->lock);
		copy(c, SQLITE_CHECKPOINT_PASSIVE);
		if (bound)
			restart(c);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

struct checkpoint *checkpoint_start(const void *owner, sqlite3 *db, struct checkpoint_limits limits)
{
	struct checkpoint *c = text_must(talloc_zero(owner, struct checkpoint));

	c->db = db;
	c->limits = limits;
	c->due = limits.copied;
	c->bound = limits.bounded;
	sqlite3_busy_timeout(db, READERS_WAIT_MS);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->grown, NULL);
	pthread_cond_init(&c->changed, NULL);
	if (pthread_create(&c->thread, NULL, checkpoint_run, c) != 0)
		abort();
	return c;
}

void checkpoint_enter(struct checkpoint *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->restarting)
		pthread_cond_wait(&c->changed, &c->lock);
	c->writing = true;
	pthread_mutex_unlock(&c->lock);
}

void checkpoint_leave(struct checkpoint *c)
{
	pthread_mutex_lock(&c->lock);
	c->writing = false;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

void checkpoint_grown(struct checkpoint *c, int pages)
{
	pthread_mutex_lock(&c->lock);
	if (pages < c->pages) { /* it began anew */
		c->due = c->limits.copied;
		c->bound = c->limits.bounded;
	}
	c->pages = pages;
	if (pages >= c->due)
		pthread_cond_signal(&c->grown);
	pthread_mutex_unlock(&c->lock);
}

void checkpoint_stop(struct checkpoint *c)
{
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->grown);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	database_close(c->db);
	pthread_cond_destroy(&c->grown);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	talloc_free(c);
}
