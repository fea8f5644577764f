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
#include "base/digest.h"
#include "config/config.h"
#include "config/crl_sources.h"
#include "ipc/channel.h"
#include "ipc/peer.h"
#include "net/http.h"
#include "net/tls.h"
#include "pki/ocsp_cache.h"
#include "pki/trust.h"
#include "roles/role.h"
#include "roles/upkeep_crl.h"
#include "roles/upkeep_ocsp.h"
#include "roles/upkeep_private.h"

enum { ANSWER_MS = 10000, RESOLVER_CHANNELS = 8, SERVED_MAX = 256 };

/* A control socket, or a channel that came over it. */
struct served {
	struct upkeep *upkeep;
	const char *peer; /* owned by this */
	int fd;
};

static void *control_run(void *argument);
static void *channel_run(void *argument);

bool upkeep_start_thread(struct upkeep *u, void *(*run)(void *argument), void *argument)
{
	pthread_mutex_lock(&u->lock);
	const bool room = u->served < SERVED_MAX && !atomic_load(&u->stopping);
	u->served += room;
	pthread_mutex_unlock(&u->lock);
	if (room && thread_start(run, argument) < 0)
		abort();
	return room;
}

void upkeep_end_thread(struct upkeep *u)
{
	pthread_mutex_lock(&u->lock);
	u->served--;
	pthread_cond_signal(&u->ended);
	pthread_mutex_unlock(&u->lock);
}

/* `fd` is given. */
static void serve(struct upkeep *u, const char *peer, int fd, void *(*run)(void *argument))
{
	struct served *served = text_must(talloc_zero(NULL, struct served));

	*served = (struct served){ .upkeep = u, .peer = text_copy(served, text_of(peer)), .fd = fd };
	if (upkeep_start_thread(u, run, served))
		return;
	log_event(LOG_WARN, "channel_refused", log_num("open", SERVED_MAX));
	base_close(&served->fd);
	talloc_free(served);
}

static void end_thread(struct served *served)
{
	struct upkeep *u = served->upkeep;

	base_close(&served->fd);
	talloc_free(served);
	tls_thread_end();
	upkeep_end_thread(u);
}

const struct http *upkeep_http(struct upkeep *u, char *ret_why)
{
	pthread_mutex_lock(&u->lock);
	if (u->http == NULL)
		u->http = http_start(u, ret_why);
	const struct http *http = u->http;
	pthread_mutex_unlock(&u->lock);
	return http;
}

/* With the lock held: tell master what it was not told; a role that has just started may have something to say before it has met master. */
static void tell_master(struct upkeep *u)
{
	if (u->unsaid == 0 || u->master_fd < 0)
		return;
	struct frame *frame = frame_new(NULL, FRAME_CHANGED);

	frame_put_number(frame, u->unsaid);
	if (channel_send(u->master_fd, frame, clock_mono_ms() + ANSWER_MS) == 0)
		u->unsaid = 0;
	talloc_free(frame);
}

void upkeep_changed(struct upkeep *u, unsigned parts)
{
	pthread_mutex_lock(&u->lock);
	u->unsaid |= parts;
	tell_master(u);
	pthread_mutex_unlock(&u->lock);
}

/* The answer to one ask, owned by it; NULL when it is malformed or not for this peer. */
static struct frame *answer(struct served *served, struct frame *ask)
{
	struct upkeep *u = served->upkeep;
	const bool by_operator = strcmp(served->peer, "cli") == 0;

	switch (ask->kind) {
	case FRAME_CRL_UPDATE:
		return by_operator ? upkeep_crl_answer(u->crl, ask) : NULL;
	case FRAME_OCSP:
		return by_operator ? NULL : upkeep_ocsp_answer(u, ask);
	default:
		return NULL;
	}
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

static void generation_free(struct upkeep_generation *generation)
{
	const struct config *config = generation->config;

	base_close(&generation->directory_fd);
	talloc_free(generation);
	config_release(config);
}

struct upkeep_generation *upkeep_hold(struct upkeep *u)
{
	pthread_mutex_lock(&u->lock);
	struct upkeep_generation *generation = u->current;
	if (generation != NULL)
		generation->users++;
	pthread_mutex_unlock(&u->lock);
	return generation;
}

void upkeep_release(struct upkeep *u, struct upkeep_generation *generation)
{
	pthread_mutex_lock(&u->lock);
	const bool last = generation != NULL && --generation->users == 0;
	pthread_mutex_unlock(&u->lock);
	if (last)
		generation_free(generation);
}

static void drop(struct upkeep *u)
{
	upkeep_release(u, u->prepared);
	u->prepared = NULL;
}

/* Of each source, which list is in use. */
static struct digest *digests(const void *owner, const struct config *config, const struct bundle *bundle)
{
	struct digest *lists =
		text_must(talloc_zero_array(owner, struct digest, (unsigned)config->crl.source_count + 1));

	for (size_t i = 0; i < config->crl.source_count; i++) {
		const struct text list = crl_sources_find(bundle, &config->crl.sources[i]);

		if (list.at != NULL)
			lists[i] = digest_of(list);
	}
	return lists;
}

static void prepare(struct upkeep *u, struct role_event *event)
{
	struct upkeep_generation *generation = text_must(talloc_zero(NULL, struct upkeep_generation));
	const struct config *config = event->config;

	*generation = (struct upkeep_generation){ .users = 1,
		.config = config,
		.lists = digests(generation, config, event->bundle),
		.directory_fd = frame_get_fd(event->frame) };
	if (crl_sources_wanted(config)) {
		generation->trust = trust_of(generation, config, event->bundle);
		generation->authorities = trust_pem_of(generation, config, event->bundle);
		const struct digest digest = digest_of(generation->authorities);
		digest_hex(&digest, generation->authorities_hex);
	}
	drop(u);
	u->prepared = generation;
	if (generation->directory_fd >= 0)
		role_ready(u->role);
	else
		role_refuse(u->role, "master sent no directory");
}

static void use(struct upkeep *u)
{
	struct upkeep_generation *before = u->current;

	if (u->prepared == NULL)
		return;
	pthread_mutex_lock(&u->lock);
	u->current = u->prepared;
	u->prepared = NULL;
	pthread_mutex_unlock(&u->lock);
	upkeep_release(u, before);
	upkeep_crl_use(u->crl);
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
		tell_master(u);
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

	atomic_store(&u->stopping, true);
	role_signal(u->role->stop_fd);
	upkeep_crl_stop(u->crl);
	pthread_mutex_lock(&u->lock);
	while (u->served > 0 && in_time)
		in_time = thread_wait(&u->ended, &u->lock, until);
	bool none = u->served == 0;
	pthread_mutex_unlock(&u->lock);
	if (!none)
		return; /* a library hangs: the process ends without it */
	drop(u);
	upkeep_release(u, u->current);
	base_close(&u->master_fd);
	talloc_free(u);
}

int role_upkeep(struct role *role)
{
	struct upkeep *u = text_must(talloc_zero(NULL, struct upkeep));

	u->role = role;
	u->master_fd = -1;
	u->resolver = peer_new(u, RESOLVER_CHANNELS);
	u->crl = upkeep_crl_new(u);
	u->ocsp = ocsp_cache_new(u);
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
