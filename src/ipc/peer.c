/*
 * A channel is a socketpair: one end stays here, the other travels over the control socket that master made. A channel
 * carries one ask at a time, so the answer needs no number; after any failure it is closed, never reused.
 */
#include "ipc/peer.h"

#include <pthread.h>
#include <time.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/thread.h"
#include "base/io.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

enum { PEER_CHANNELS_MAX = 64 };

struct peer {
	pthread_mutex_t lock;
	pthread_cond_t returned; /* a channel came back, or the peer was connected anew */
	int control_fd;
	uint64_t connection; /* counts peer_connect(): a channel of an older one is not kept */
	unsigned limit, open, idle;
	int idle_fds[PEER_CHANNELS_MAX];
};

static int peer_destroy(struct peer *peer)
{
	peer_connect(peer, -1);
	pthread_cond_destroy(&peer->returned);
	pthread_mutex_destroy(&peer->lock);
	return 0;
}

struct peer *peer_new(const void *owner, unsigned limit)
{
	struct peer *peer = text_must(talloc_zero(owner, struct peer));

	pthread_mutex_init(&peer->lock, NULL);
	thread_condition(&peer->returned);
	peer->control_fd = -1;
	peer->limit = MIN(limit, (unsigned)PEER_CHANNELS_MAX);
	talloc_set_destructor(peer, peer_destroy);
	return peer;
}

void peer_connect(struct peer *peer, int control_fd)
{
	pthread_mutex_lock(&peer->lock);
	base_close(&peer->control_fd);
	while (peer->idle > 0)
		base_close(&peer->idle_fds[--peer->idle]);
	peer->open = 0;
	peer->control_fd = control_fd;
	peer->connection++;
	pthread_cond_broadcast(&peer->returned);
	pthread_mutex_unlock(&peer->lock);
}

/* A new channel to the peer; called with the lock held, so that the control socket cannot change meanwhile. */
static int open_channel(struct peer *peer)
{
	CLEANUP(base_close) int ours = -1;
	int fds[2];

	if (peer->control_fd < 0)
		return ERR_CLOSED;
	int r = channel_pair(fds);
	if (r < 0)
		return r;

	ours = fds[0];
	struct frame *frame = frame_new(NULL, FRAME_CHANNEL);
	frame_put_fd(frame, fds[1]);
	r = channel_send(peer->control_fd, frame, clock_mono_ms() + 1000);
	talloc_free(frame);
	return r < 0 ? r : base_take(&ours);
}

/* Borrow a channel: an idle one, a new one, or the next that comes back. */
static int borrow(struct peer *peer, int64_t deadline, uint64_t *ret_connection)
{
	int fd = -ETIMEDOUT;

	pthread_mutex_lock(&peer->lock);
	while (peer->idle == 0 && peer->open >= peer->limit) {
		if (!thread_wait(&peer->returned, &peer->lock, deadline))
			goto done;
	}
	if (peer->idle > 0) {
		fd = peer->idle_fds[--peer->idle];
	} else {
		fd = open_channel(peer);
		if (fd >= 0)
			peer->open++;
	}
	*ret_connection = peer->connection;
done:
	pthread_mutex_unlock(&peer->lock);
	return fd;
}

static void give_back(struct peer *peer, int fd, uint64_t connection, bool usable)
{
	pthread_mutex_lock(&peer->lock);
	if (usable && connection == peer->connection)
		peer->idle_fds[peer->idle++] = base_take(&fd);
	else if (connection == peer->connection)
		peer->open--;
	pthread_cond_signal(&peer->returned);
	pthread_mutex_unlock(&peer->lock);
	base_close(&fd);
}

int peer_ask(struct peer *peer, const void *owner, const struct frame *ask, int stop_fd, int64_t deadline,
	struct frame **ret_answer)
{
	uint64_t connection;
	int fd = borrow(peer, deadline, &connection);

	if (fd < 0)
		return fd;

	int r = channel_send(fd, ask, deadline);
	if (r == 0)
		r = channel_receive(owner, fd, stop_fd, deadline, ret_answer);
	give_back(peer, fd, connection, r == 0);
	return r;
}

int peer_accept(const void *owner, int control_fd, int stop_fd, struct frame **ret_frame)
{
	struct frame *frame;
	int r;

	do {
		r = channel_receive(owner, control_fd, stop_fd, IO_FOREVER, &frame);
	} while (r == -EMFILE); /* its asker finds the channel closed, and makes another one */
	if (r < 0)
		return r;
	if (frame->kind != FRAME_CHANNEL) {
		*ret_frame = frame;
		return 0;
	}
	int fd = frame_get_fd(frame);
	r = frame_done(frame);
	talloc_free(frame);
	if (r < 0)
		base_close(&fd);
	return r < 0 ? r : fd;
}
