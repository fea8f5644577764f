/*
 * One connection, one ask at a time. An answer that came too late is skipped by its number. Answers are kept for a moment: whoever asks for
 * the page in a loop must not keep master from its work.
 */
#include "admin/status.h"

#include <pthread.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

enum { ASK_MS = 5000, FRESH_MS = 500 };

struct status {
	pthread_mutex_t lock;
	int fd;
	int64_t asks;	  /* numbers them */
	int64_t asked_at; /* when `text` was true */
	char *text;
};

static int status_destroy(struct status *status)
{
	base_close(&status->fd);
	pthread_mutex_destroy(&status->lock);
	return 0;
}

struct status *status_new(const void *owner)
{
	struct status *status = text_must(talloc_zero(owner, struct status));

	pthread_mutex_init(&status->lock, NULL);
	status->fd = -1;
	talloc_set_destructor(status, status_destroy);
	return status;
}

void status_connect(struct status *status, int fd)
{
	pthread_mutex_lock(&status->lock);
	base_close(&status->fd);
	status->fd = fd;
	pthread_mutex_unlock(&status->lock);
}

/* Send the next ask and wait for its answer; called with the lock held. */
static int ask(struct status *status, int stop_fd)
{
	int64_t deadline = clock_mono_ms() + ASK_MS;
	struct frame *frame = frame_new(status, FRAME_CONTROL_STATUS), *answer = NULL;

	frame_put_number(frame, ++status->asks);
	int r = status->fd < 0 ? ERR_CLOSED : channel_send(status->fd, frame, deadline);
	while (r == 0) {
		r = channel_receive(frame, status->fd, stop_fd, deadline, &answer);
		if (r == 0 && frame_get_number(answer) == status->asks)
			break;
	}
	if (r == 0 && !frame_get_bool(answer))
		r = ERR_FORMAT;
	if (r == 0) {
		TALLOC_FREE(status->text);
		status->text = frame_get_copy(answer, status);
		status->asked_at = clock_mono_ms();
	}
	talloc_free(frame);
	return r;
}

int status_ask(struct status *status, const void *owner, int stop_fd, char **ret_status)
{
	int r = 0;

	pthread_mutex_lock(&status->lock);
	if (status->text == NULL || clock_mono_ms() - status->asked_at > FRESH_MS)
		r = ask(status, stop_fd);
	if (r == 0)
		*ret_status = text_copy(owner, text_of(status->text));
	pthread_mutex_unlock(&status->lock);
	return r;
}
