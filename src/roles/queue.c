/*
 * Role `queue`: the store and the threads that serve it, one for each channel. It has no network. What a peer may ask depends on who it
 * is: `front` commits, `deliver` leases and records, the command line reads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/peer.h"
#include "queue/queue.h"
#include "queue/queue_admin.h"
#include "queue/queue_backup.h"
#include "report/metrics.h"
#include "report/track.h"
#include "roles/role.h"

struct queue {
	struct role *role;
	struct store *store;
	const struct config *next;
	int state_fd, lock_fd;
	struct metrics metrics;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned threads;
};

/* A control socket or a channel, and whose it is. */
struct served {
	struct queue *queue;
	int fd;
	enum { FRONT, DELIVER, CLI } who;
	uint64_t lessee; /* DELIVER: its incarnation */
	int64_t uid;	 /* CLI: who it is */
};

static void thread_ended(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->threads--;
	pthread_cond_signal(&queue->ended);
	pthread_mutex_unlock(&queue->lock);
}

static void start_thread(const struct served *what, void *(*run)(void *))
{
	struct served *served = text_must(talloc_memdup(NULL, what, sizeof *what));
	struct queue *queue = what->queue;

	pthread_mutex_lock(&queue->lock);
	queue->threads++;
	pthread_mutex_unlock(&queue->lock);
	if (thread_start(run, served) < 0) {
		base_close(&served->fd);
		talloc_free(served);
		thread_ended(queue);
	}
}

/* The answer to one ask, owned by `ask`; NULL ends the channel. */
static struct frame *answer(const struct served *served, struct frame *ask)
{
	struct store *store = served->queue->store;

	switch (served->who) {
	case FRONT:
		if (ask->kind == FRAME_COMMIT)
			return queue_commit_answer(store, ask, ask);
		if (ask->kind == FRAME_NEW_FILE)
			return queue_new_file_answer(store, ask, ask);
		if (ask->kind == FRAME_ROOM)
			return queue_room_answer(store, ask, ask);
		if (ask->kind == FRAME_NOTES)
			return queue_note_answer(store, ask, ask);
		return NULL;
	case DELIVER:
		if (ask->kind == FRAME_LEASE)
			return queue_lease_answer(store, ask, ask, served->lessee);
		if (ask->kind == FRAME_RECORD)
			return queue_record_answer(store, ask, ask, served->lessee);
		return NULL;
	case CLI:
		if (ask->kind == FRAME_TRACK)
			return track_page_answer(store, ask, ask);
		if (ask->kind == FRAME_BACKUP)
			return queue_backup_answer(store, ask, ask);
		return queue_admin_answer(store, ask, ask, served->uid);
	}
	return NULL;
}

/* A lease is certain to have arrived when its channel is used again; a channel that ends first took it along (deliver had no descriptor left for
 * its content, say), and what it lent is free again. */
static void *channel_run(void *argument)
{
	struct served *served = argument;
	struct queue *queue = served->queue;
	char *lent_domain = NULL;
	int64_t lent_mid = 0;
	unsigned held = 0;
	struct frame *ask;
	int r = 0;

	while (r == 0 && channel_receive(served, served->fd, queue->role->stop_fd, IO_FOREVER, &ask) == 0) {
		TALLOC_FREE(lent_domain);
		struct frame *frame = answer(served, ask);

		r = frame == NULL ? ERR_FORMAT : channel_send(served->fd, frame, clock_mono_ms() + 10000);
		if (frame != NULL && (ask->kind == FRAME_LEASE || ask->kind == FRAME_RECORD))
			lent_domain = queue_lease_lent(frame, served, &lent_mid);
		held += frame != NULL && ask->kind == FRAME_BACKUP;
		if (frame == NULL)
			log_event(LOG_WARN, "ask_refused", log_num("kind", ask->kind),
				log_num("peer", served->who));
		talloc_free(ask);
	}
	if (lent_domain != NULL)
		store_unlease(queue->store, served->lessee, lent_mid, lent_domain);
	while (held-- > 0)
		store_release_files(queue->store);
	base_close(&served->fd);
	talloc_free(served);
	thread_ended(queue);
	return NULL;
}

/* Take channels (and, from deliver, the announcement) off a control socket until that role dies. */
static void *control_run(void *argument)
{
	struct served *served = argument;
	struct queue *queue = served->queue;
	struct frame *frame;
	int r;

	while ((r = peer_accept(served, served->fd, queue->role->stop_fd, &frame)) >= 0) {
		if (r > 0) {
			start_thread(&(struct served){ .queue = queue,
					     .fd = r,
					     .who = served->who,
					     .lessee = served->lessee },
				channel_run);
			continue;
		}
		if (frame->kind == FRAME_ANNOUNCE && served->who == DELIVER)
			served->lessee = queue_announced(queue->store, frame);
		talloc_free(frame);
	}
	if (served->who == DELIVER && served->lessee != 0)
		store_free_owner(queue->store, served->lessee);
	base_close(&served->fd);
	talloc_free(served);
	thread_ended(queue);
	return NULL;
}

static void serve_peer(struct queue *queue, const struct role_event *event)
{
	struct served served = { .queue = queue, .fd = event->fd };

	served.who = strcmp(event->peer, "front") == 0	   ? FRONT
		     : strcmp(event->peer, "deliver") == 0 ? DELIVER
							   : CLI;
	if (served.who == CLI)
		served.uid = frame_get_number(event->frame);
	start_thread(&served, served.who == CLI ? channel_run : control_run);
}

static void observe_sync(void *context, int64_t microseconds)
{
	metrics_observe(context, METRIC_SYNC_TIME, microseconds);
}

static void set_gauges(struct queue *queue)
{
	const struct store_gauges gauges =
		queue->store == NULL ? (struct store_gauges){ 0 } : store_gauges(queue->store);

	metrics_set(&queue->metrics, METRIC_QUEUE_READY, (int64_t)gauges.ready);
	metrics_set(&queue->metrics, METRIC_QUEUE_DEFERRED, (int64_t)gauges.deferred);
	metrics_set(&queue->metrics, METRIC_QUEUE_LEASED, (int64_t)gauges.leased);
	metrics_set(&queue->metrics, METRIC_QUEUE_OLDEST, gauges.oldest_ms / 1000);
	metrics_set(&queue->metrics, METRIC_QUEUE_CORRUPT, (int64_t)gauges.corrupt);
}

static void prepare(struct queue *queue, struct role_event *event)
{
	const char *why = "the store cannot be opened";
	int r = 0;

	if (queue->store == NULL) {
		queue->state_fd = frame_get_fd(event->frame);
		queue->lock_fd = frame_get_fd(event->frame); /* held as long as this process lives */
		r = store_open(queue, queue->state_fd, event->config, &queue->store, &why);
		if (r == 0)
			store_watch_syncs(queue->store, observe_sync, &queue->metrics);
	}
	if (r < 0) {
		config_release(event->config);
		role_refuse(queue->role, why);
		return;
	}
	config_release(queue->next);
	queue->next = event->config;
	role_ready(queue->role);
}

static void use(struct queue *queue)
{
	if (queue->next == NULL)
		return;
	store_configure(queue->store, queue->next);
	config_release(queue->next);
	queue->next = NULL;
}

static void end(struct queue *queue)
{
	int64_t until = clock_mono_ms() + 5000;
	bool in_time = true;

	role_signal(queue->role->stop_fd);
	if (queue->store != NULL)
		store_stop(queue->store);
	pthread_mutex_lock(&queue->lock);
	while (queue->threads > 0 && in_time)
		in_time = thread_wait(&queue->ended, &queue->lock, until);
	unsigned left = queue->threads;
	pthread_mutex_unlock(&queue->lock);
	config_release(queue->next);
	/* If a thread is left, the process ends with the store as it is: recovery is made for that. */
	if (left == 0)
		talloc_free(queue);
}

int role_queue(struct role *role)
{
	struct queue *queue = text_must(talloc_zero(NULL, struct queue));

	queue->role = role;
	pthread_mutex_init(&queue->lock, NULL);
	thread_condition(&queue->ended);
	for (;;) {
		void *scratch = talloc_new(NULL);
		struct role_event event = role_next(role, scratch);

		switch (event.kind) {
		case ROLE_PREPARE:
			prepare(queue, &event);
			break;
		case ROLE_USE:
			use(queue);
			break;
		case ROLE_DROP:
			config_release(queue->next);
			queue->next = NULL;
			break;
		case ROLE_PEER:
			serve_peer(queue, &event);
			break;
		case ROLE_STATS:
			set_gauges(queue);
			role_stats(role, &queue->metrics);
			break;
		case ROLE_STOP:
		case ROLE_GONE:
			end(queue);
			talloc_free(scratch);
			return EXIT_SUCCESS;
		}
		talloc_free(scratch);
	}
}
