/*
 * Role `upkeep`: the only one that talks to the Internet by HTTP. It keeps what it fetches in its own directory, from where master takes it, and answers
 * `front`, `deliver` and commands. What is fetched comes from strangers, so nobody believes this role either: who uses a list proves it.
 * One thread for each channel; libcurl is loaded by the first who needs it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/peer.h"
#include "net/tls.h"
#include "report/metrics.h"
#include "roles/role.h"

enum { ANSWER_MS = 10000, RESOLVER_CHANNELS = 8, SERVED_MAX = 256 };

struct upkeep {
	struct role *role;
	struct peer *resolver;
	struct metrics metrics;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	const struct config *current, *prepared;
	int directory_fd, prepared_fd; /* state_dir/upkeep */
	int master_fd;		       /* what changed is said on it */
	unsigned served;	       /* threads */
};

/* A control socket, or a channel that came over it. */
struct served {
	struct upkeep *upkeep;
	const char *peer; /* owned by this */
	int fd;
};

static void *control_run(void *argument);
static void *channel_run(void *argument);

/* `fd` is given. */
static void serve(struct upkeep *u, const char *peer, int fd, void *(*run)(void *argument))
{
	struct served *served = text_must(talloc_zero(NULL, struct served));

	*served = (struct served){ .upkeep = u, .peer = text_copy(served, text_of(peer)), .fd = fd };
	pthread_mutex_lock(&u->lock);
	const bool room = u->served < SERVED_MAX;
	u->served += room;
	pthread_mutex_unlock(&u->lock);
	if (!room) {
		log_event(LOG_WARN, "channel_refused", log_num("open", SERVED_MAX));
		base_close(&served->fd);
		talloc_free(served);
	} else if (thread_start(run, served) < 0) {
		abort();
	}
}

static void end_thread(struct served *served)
{
	struct upkeep *u = served->upkeep;

	base_close(&served->fd);
	talloc_free(served);
	tls_thread_end();
	pthread_mutex_lock(&u->lock);
	u->served--;
	pthread_cond_signal(&u->ended);
	pthread_mutex_unlock(&u->lock);
}

/* The answer to one ask, owned by it; NULL when it is malformed or not for this peer. */
static struct frame *answer(struct served *served, struct frame *ask)
{
	(void)served, (void)ask;
	return NULL;
}

static void *channel_run(void *argument)
{
	struct served *served = argument;
	struct frame *ask;
	bool fine = true;

	while (fine &&
		channel_receive(served, served->fd, served->upkeep->role->stop_fd, IO_FOREVER, &ask) == 0) {
		struct frame *frame = answer(served, ask);

		if (frame == NULL)
			log_event(LOG_WARN, "ask_refused", log_num("kind", ask->kind),
				log_str("peer", served->peer));
		fine = frame != NULL && channel_send(served->fd, frame, clock_mono_ms() + ANSWER_MS) == 0;
		talloc_free(ask);
	}
	end_thread(served);
	return NULL;
}

static void *control_run(void *argument)
{
	struct served *control = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(control, control->fd, control->upkeep->role->stop_fd, &frame)) > 0)
		serve(control->upkeep, control->peer, fd, channel_run);
	end_thread(control);
	return NULL;
}

/* Words of master */

static void drop(struct upkeep *u)
{
	config_release(u->prepared);
	u->prepared = NULL;
	base_close(&u->prepared_fd);
}

static void prepare(struct upkeep *u, struct role_event *event)
{
	drop(u);
	u->prepared = event->config;
	u->prepared_fd = frame_get_fd(event->frame);
	if (u->prepared_fd >= 0)
		role_ready(u->role);
	else
		role_refuse(u->role, "master sent no directory");
}

static void use(struct upkeep *u)
{
	if (u->prepared == NULL)
		return;
	pthread_mutex_lock(&u->lock);
	config_release(u->current);
	base_close(&u->directory_fd);
	u->current = u->prepared;
	u->directory_fd = base_take(&u->prepared_fd);
	u->prepared = NULL;
	pthread_mutex_unlock(&u->lock);
}

/* Who this process talks to: master, the resolver, and those who ask. */
static void meet(struct upkeep *u, const struct role_event *event)
{
	if (strcmp(event->peer, "resolver") == 0) {
		peer_connect(u->resolver, event->fd);
	} else if (strcmp(event->peer, "master") == 0) {
		pthread_mutex_lock(&u->lock);
		base_close(&u->master_fd);
		u->master_fd = event->fd;
		pthread_mutex_unlock(&u->lock);
	} else {
		serve(u, event->peer, event->fd, strcmp(event->peer, "cli") == 0 ? channel_run : control_run);
	}
}

/* Nothing here is lost when it is cut short. */
static void end(struct upkeep *u)
{
	int64_t until = clock_mono_ms() + 2000;
	bool in_time = true;

	role_signal(u->role->stop_fd);
	pthread_mutex_lock(&u->lock);
	while (u->served > 0 && in_time)
		in_time = thread_wait(&u->ended, &u->lock, until);
	bool none = u->served == 0;
	pthread_mutex_unlock(&u->lock);
	if (!none)
		return; /* a library hangs: the process ends without it */
	drop(u);
	config_release(u->current);
	base_close(&u->directory_fd);
	base_close(&u->master_fd);
	talloc_free(u);
}

int role_upkeep(struct role *role)
{
	struct upkeep *u = text_must(talloc_zero(NULL, struct upkeep));

	*u = (struct upkeep){ .role = role, .directory_fd = -1, .prepared_fd = -1, .master_fd = -1 };
	u->resolver = peer_new(u, RESOLVER_CHANNELS);
	pthread_mutex_init(&u->lock, NULL);
	thread_condition(&u->ended);
	for (;;) {
		void *scratch = talloc_new(NULL);
		struct role_event event = role_next(role, scratch);

		switch (event.kind) {
		case ROLE_PREPARE:
			prepare(u, &event);
			break;
		case ROLE_USE:
			use(u);
			break;
		case ROLE_DROP:
			drop(u);
			break;
		case ROLE_PEER:
			meet(u, &event);
			break;
		case ROLE_STATS:
			role_stats(role, &u->metrics);
			break;
		case ROLE_STOP:
		case ROLE_GONE:
			end(u);
			talloc_free(scratch);
			return EXIT_SUCCESS;
		}
		talloc_free(scratch);
	}
}
