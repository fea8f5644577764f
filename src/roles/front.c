/*
 * Role `front`: accepts connections and talks SMTP with them. It opens no files; its certificates come in the bundle. A generation holds
 * what its sessions share and lives until the last of them ends, so a reload drops nobody.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/bundle.h"
#include "config/config.h"
#include "ipc/peer.h"
#include "listen/listen.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "report/metrics.h"
#include "queue/store.h"
#include "report/notes.h"
#include "roles/role.h"
#include "session/smtp.h"

struct front {
	struct role *role;
	struct peer *queue;
	struct metrics metrics;
	struct notes *notes;
	struct listen_pool *pool;
	atomic_uint_fast64_t connections; /* numbers icid */
	struct generation *current, *next;
};

/* One listener of a generation; each accepts in a thread of its own. */
struct listener {
	struct generation *generation;
	int socket_fd;
	struct smtp_house house;
};

struct generation {
	atomic_uint users; /* acceptors, sessions, and the main loop */
	struct front *front;
	const struct config *config;
	int retired_fd; /* readable: accept no more */
	struct listener *listeners;
};

static void generation_release(struct generation *generation)
{
	if (atomic_fetch_sub(&generation->users, 1) > 1)
		return;
	for (size_t i = 0; i < generation->config->listener_count; i++)
		base_close(&generation->listeners[i].socket_fd);
	base_close(&generation->retired_fd);
	config_release(generation->config);
	talloc_free(generation);
}

/* The TLS context of a listener; NULL with why when its certificate cannot be used, NULL without when it has none. */
static struct tls_context *listener_tls(const struct generation *generation,
	const struct config_listener *listener, const struct bundle *bundle, const char **ret_why)
{
	const struct config_certificate *certificate = listener->certificate;

	*ret_why = NULL;
	if (certificate == NULL)
		return NULL;

	struct tls_context *tls = tls_context_server(generation, listener->name);
	struct identity_flaw flaw;
	struct identity *identity = identity_load(
		tls, bundle_find(bundle, certificate->chain), bundle_find(bundle, certificate->key), &flaw);
	if (identity == NULL || identity_use(identity, tls) < 0) {
		*ret_why = identity == NULL ? flaw.text : "a certificate cannot be used by OpenSSL";
		talloc_free(tls);
		return NULL;
	}
	return tls;
}

/* Build what the sessions of a new generation share; NULL and why when master's word cannot be used. */
static struct generation *generation_new(struct front *front, struct role_event *event, const char **ret_why)
{
	const struct config *config = event->config;
	struct generation *generation = text_must(talloc_zero(NULL, struct generation));

	atomic_init(&generation->users, 1);
	generation->front = front;
	generation->config = config;
	generation->retired_fd = eventfd(0, EFD_CLOEXEC);
	generation->listeners =
		text_must(talloc_zero_array(generation, struct listener, (unsigned)config->listener_count));
	*ret_why = event->extra_fds == config->listener_count
			   ? NULL
			   : "master sent another number of sockets than the configuration has listeners";
	for (size_t i = 0; i < config->listener_count; i++) {
		struct listener *listener = &generation->listeners[i];

		listener->generation = generation;
		listener->socket_fd = *ret_why == NULL ? frame_get_fd(event->frame) : -1;
		listener->house = (struct smtp_house){
			.config = config,
			.listener = &config->listeners[i],
			.queue = front->queue,
			.metrics = &front->metrics,
			.notes = front->notes,
			.drain_fd = front->role->drain_fd,
			.stop_fd = front->role->stop_fd,
		};
		if (*ret_why == NULL)
			listener->house.tls =
				listener_tls(generation, &config->listeners[i], event->bundle, ret_why);
	}
	if (*ret_why == NULL)
		return generation;
	generation_release(generation);
	return NULL;
}

static void serve(struct conn *conn, void *context)
{
	struct listener *listener = context;
	struct front *front = listener->generation->front;
	char icid[48];

	snprintf(icid, sizeof icid, "%llx-%llu", (unsigned long long)front->role->incarnation,
		(unsigned long long)atomic_fetch_add(&front->connections, 1) + 1);
	smtp_session_run(conn, &listener->house, icid);
	conn_free(conn);
	generation_release(listener->generation);
}

/* Too many sessions: one line, no thread, no waiting. */
static void turn_away(const struct listener *listener, struct conn *conn)
{
	char client[IP_TEXT_MAX];
	const char *reply = "421 4.3.2 too many connections, try later";
	const struct store_refusal refusal = {
		.time_ms = clock_wall_ms(),
		.client = ip_format(&conn->peer, client),
		.reply = reply,
	};

	metrics_count(listener->house.metrics, METRIC_REJECTED);
	notes_add(listener->house.notes, &refusal);
	log_event(LOG_WARN, "connection_refused", log_str("client", client), log_str("reply", reply),
		log_str("reason", "limits.connections"));
	conn_set_deadline(conn, clock_mono_ms());
	if (conn_write(conn, text_of(reply)) == 0 && conn_write(conn, TEXT("\r\n")) == 0)
		conn_flush(conn);
	conn_free(conn);
}

static void *accept_run(void *argument)
{
	struct listener *listener = argument;
	struct generation *generation = listener->generation;
	struct conn *conn;

	while ((conn = listen_accept(listener->socket_fd, generation->retired_fd)) != NULL) {
		atomic_fetch_add(&generation->users, 1);
		if (!listen_give(generation->front->pool, generation->config->limits.connections, conn, serve,
			    listener)) {
			turn_away(listener, conn);
			generation_release(generation);
		}
	}
	base_close(&listener->socket_fd); /* the generation may live on in its sessions, the port must not */
	generation_release(generation);
	return NULL;
}

static void retire(struct generation *generation)
{
	if (generation == NULL)
		return;
	role_signal(generation->retired_fd);
	generation_release(generation);
}

static void use(struct front *front)
{
	struct generation *generation = front->next;

	if (generation == NULL)
		return;
	retire(front->current);
	front->current = generation;
	front->next = NULL;
	for (size_t i = 0; i < generation->config->listener_count; i++) {
		atomic_fetch_add(&generation->users, 1);
		if (thread_start(accept_run, &generation->listeners[i]) < 0)
			abort();
	}
}

static void prepare(struct front *front, struct role_event *event)
{
	const char *why;

	if (front->next != NULL)
		generation_release(front->next);
	front->next = generation_new(front, event, &why);
	if (front->next != NULL)
		role_ready(front->role);
	else
		role_refuse(front->role, why);
}

static void drop(struct front *front)
{
	if (front->next != NULL)
		generation_release(front->next);
	front->next = NULL;
}

/* Sessions end at their next command boundary; those that do not within the drain time are cut. */
static void end(struct front *front, bool at_once)
{
	drop(front);
	retire(front->current);
	front->current = NULL;
	role_signal(front->role->drain_fd);
	bool ended = !at_once && listen_wait(front->pool, clock_mono_ms() + ROLE_DRAIN_MS);
	role_signal(front->role->stop_fd);
	if (!ended)
		ended = listen_wait(front->pool, clock_mono_ms() + 2000);
	if (!ended)
		return; /* a session hangs in a library: the process ends without it */
	listen_pool_free(front->pool);
	notes_stop(front->notes);
	talloc_free(front);
}

int role_front(struct role *role)
{
	struct front *front = text_must(talloc_zero(NULL, struct front));

	front->role = role;
	front->queue = peer_new(front, 64);
	front->notes = notes_start(front->queue, &front->metrics);
	front->pool = listen_pool_new();
	for (;;) {
		void *scratch = talloc_new(NULL);
		struct role_event event = role_next(role, scratch);

		switch (event.kind) {
		case ROLE_PREPARE:
			prepare(front, &event);
			break;
		case ROLE_USE:
			use(front);
			break;
		case ROLE_DROP:
			drop(front);
			break;
		case ROLE_PEER:
			peer_connect(front->queue, event.fd);
			break;
		case ROLE_STATS:
			role_stats(role, &front->metrics);
			break;
		case ROLE_STOP:
		case ROLE_GONE:
			end(front, event.kind == ROLE_GONE);
			talloc_free(scratch);
			return EXIT_SUCCESS;
		}
		talloc_free(scratch);
	}
}
