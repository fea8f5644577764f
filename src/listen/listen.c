/* Threads are kept because making one costs more than a short session (docs/performance.md when it exists); an idle one leaves after
 * half a minute. The count of sessions is exact: it is taken before a thread is woken. */
#include "listen/listen.h"

#include <poll.h>
#include <pthread.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/err.h"
#include "base/thread.h"
#include "net/tls.h"

enum { IDLE_MS = 30000, PAUSE_MS = 100 };

struct job {
	STAILQ_ENTRY(job) next;
	struct conn *conn;
	listen_serve *serve;
	void *context;
};

struct listen_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	STAILQ_HEAD(, job) jobs;
	uint64_t sessions; /* given and not finished */
	unsigned threads;
	unsigned idle;	  /* threads that wait for work */
	unsigned waiting; /* jobs nobody has taken */
	bool ending;
};

struct listen_pool *listen_pool_new(void)
{
	struct listen_pool *pool = text_must(talloc_zero(NULL, struct listen_pool));

	pthread_mutex_init(&pool->lock, NULL);
	thread_condition(&pool->work);
	thread_condition(&pool->done);
	STAILQ_INIT(&pool->jobs);
	return pool;
}

struct conn *listen_accept(int socket_fd, int stop_fd)
{
	struct pollfd polled[2] = { { .fd = stop_fd, .events = POLLIN },
		{ .fd = socket_fd, .events = POLLIN } };

	for (;;) {
		if (poll(polled, 2, -1) > 0 && polled[0].revents != 0)
			return NULL;

		int fd = accept4(socket_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			return conn_new(fd);
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* The client stays in the backlog; try again when a session may have ended. */
			log_event(LOG_ERROR, "accept_failed", log_str("reason", err_text(-errno)));
			poll(polled, 1, PAUSE_MS);
		}
	}
}

/* The next job, or NULL after a long wait for one; called with the lock held. */
static struct job *next_job(struct listen_pool *pool)
{
	int64_t until = clock_mono_ms() + IDLE_MS;
	bool in_time = true;

	while (STAILQ_EMPTY(&pool->jobs)) {
		if (pool->ending || !in_time)
			return NULL;
		pool->idle++;
		in_time = thread_wait(&pool->work, &pool->lock, until);
		pool->idle--;
	}

	struct job *job = STAILQ_FIRST(&pool->jobs);
	STAILQ_REMOVE_HEAD(&pool->jobs, next);
	pool->waiting--;
	return job;
}

static void *thread_run(void *argument)
{
	struct listen_pool *pool = argument;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	while ((job = next_job(pool)) != NULL) {
		pthread_mutex_unlock(&pool->lock);
		job->serve(job->conn, job->context);
		talloc_free(job);
		pthread_mutex_lock(&pool->lock);
		pool->sessions--;
		pthread_cond_broadcast(&pool->done);
	}
	pthread_mutex_unlock(&pool->lock);
	tls_thread_end();
	pthread_mutex_lock(&pool->lock);
	pool->threads--;
	pthread_cond_broadcast(&pool->done);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Called with the lock held. */
static bool add_thread(struct listen_pool *pool)
{
	if (thread_start(thread_run, pool) < 0)
		return false;
	pool->threads++;
	return true;
}

bool listen_give(
	struct listen_pool *pool, uint64_t limit, struct conn *conn, listen_serve *serve, void *context)
{
	bool given = false;

	pthread_mutex_lock(&pool->lock);
	if (pool->sessions < limit && (pool->idle > pool->waiting || add_thread(pool))) {
		struct job *job = text_must(talloc_zero(NULL, struct job));

		*job = (struct job){ .conn = conn, .serve = serve, .context = context };
		STAILQ_INSERT_TAIL(&pool->jobs, job, next);
		pool->sessions++;
		pool->waiting++;
		given = true;
	}
	pthread_mutex_unlock(&pool->lock);
	if (given)
		pthread_cond_signal(&pool->work); /* whoever wakes finds the lock free */
	return given;
}

bool listen_wait(struct listen_pool *pool, int64_t deadline)
{
	bool in_time = true;

	pthread_mutex_lock(&pool->lock);
	while (pool->sessions > 0 && in_time)
		in_time = thread_wait(&pool->done, &pool->lock, deadline);
	bool ended = pool->sessions == 0;
	pthread_mutex_unlock(&pool->lock);
	return ended;
}

void listen_pool_free(struct listen_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->threads > 0)
		pthread_cond_wait(&pool->done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->done);
	pthread_mutex_destroy(&pool->lock);
	talloc_free(pool);
}
