/* One array that sessions fill and one thread empties each second: the array's size is the limit. */
#include "report/notes.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <talloc.h>

#include "base/base.h"
#include "queue/queue.h"
#include "report/metrics.h"

enum { NOTES_MAX = 1000, BATCH_MS = 1000 };

struct batch {
	size_t count;
	struct store_refusal list[NOTES_MAX];
};

struct notes {
	pthread_mutex_t lock;
	struct batch *batch; /* NULL = empty */
	struct peer *queue;
	struct metrics *metrics;
	pthread_t thread;
	int stop_fd; /* readable: the thread shall end */
};

void notes_add(struct notes *notes, const struct store_refusal *refusal)
{
	pthread_mutex_lock(&notes->lock);
	if (notes->batch == NULL)
		notes->batch = text_must(talloc_zero(NULL, struct batch));
	if (notes->batch->count == NOTES_MAX) {
		metrics_count(notes->metrics, METRIC_NOTES_DROPPED);
	} else {
		struct store_refusal *n = &notes->batch->list[notes->batch->count++];
		const char **const texts[] = { &n->icid, &n->client, &n->helo, &n->tls, &n->sender,
			&n->recipient, &n->reply };

		*n = *refusal;
		for (size_t i = 0; i < COUNT(texts); i++)
			*texts[i] = text_copy(notes->batch, text_of(*texts[i]));
	}
	pthread_mutex_unlock(&notes->lock);
}

static void send_batch(struct notes *notes)
{
	pthread_mutex_lock(&notes->lock);
	struct batch *batch = notes->batch;
	notes->batch = NULL;
	pthread_mutex_unlock(&notes->lock);

	if (batch != NULL && queue_note(notes->queue, batch->list, batch->count, -1) < 0)
		for (size_t i = 0; i < batch->count; i++)
			metrics_count(notes->metrics, METRIC_NOTES_DROPPED);
	talloc_free(batch);
}

static void *notes_run(void *argument)
{
	struct notes *notes = argument;
	struct pollfd stop = { .fd = notes->stop_fd, .events = POLLIN };

	while (poll(&stop, 1, BATCH_MS) <= 0)
		send_batch(notes);
	send_batch(notes);
	return NULL;
}

struct notes *notes_start(struct peer *queue, struct metrics *metrics)
{
	struct notes *notes = text_must(talloc_zero(NULL, struct notes));

	pthread_mutex_init(&notes->lock, NULL);
	notes->queue = queue;
	notes->metrics = metrics;
	notes->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (pthread_create(&notes->thread, NULL, notes_run, notes) != 0)
		abort();
	return notes;
}

void notes_stop(struct notes *notes)
{
	eventfd_write(notes->stop_fd, 1);
	pthread_join(notes->thread, NULL);
	base_close(&notes->stop_fd);
	pthread_mutex_destroy(&notes->lock);
	talloc_free(notes);
}
