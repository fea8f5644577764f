/*
 * Role `front`: accepts connections and talks SMTP with them. It opens no files; its certificates come in the bundle, their keys stay in `keys`. A generation holds
 * what its sessions share and lives until the last of them ends, so a reload drops nobody.
 */
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/bundle.h"
#include "config/config.h"
#include "ipc/peer.h"
#include "listen/clients.h"
#include "listen/listen.h"
#include "listen/proxy_protocol.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "pki/identity_names.h"
#include "pki/key_handle.h"
#include "pki/staples.h"
#include "report/metrics.h"
#include "queue/store.h"
#include "report/notes.h"
#include "roles/role.h"
#include "session/call_ahead.h"
#include "session/recipients.h"
#include "session/smtp.h"

struct front {
	struct role *role;
	struct peer *queue, *deliver, *resolver, *keys, *upkeep;
	struct key_handles *handles;
	struct clients *clients;
	struct smtp_room room;
	struct metrics metrics;
	struct notes *notes;
	struct listen_pool *pool;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	unsigned acceptors;		  /* threads that accept */
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
	struct staples *staples;
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

/* Load the certificates of a listener into `tls` with handles for their keys; why not, or NULL. */
static const char *load_certificates(const struct generation *generation,
	const struct config_listener *listener, const struct bundle *bundle, struct tls_context *tls)
{
	size_t count = 0;

	while (config_listener_certificate(listener, count) != NULL)
		count++;
	const struct identity **identities =
		text_must(talloc_zero_array(tls, const struct identity *, (unsigned)count));
	for (size_t i = 0; i < count; i++) {
		const struct config_certificate *certificate = config_listener_certificate(listener, i);
		struct identity_flaw flaw;

		identities[i] = identity_load_chain(tls, bundle_find(bundle, certificate->chain),
			generation->front->handles, certificate->name, &flaw);
		if (identities[i] == NULL)
			return flaw.text;
		if (generation->config->tls.stapling)
			staples_add(generation->staples, certificate->name,
				bundle_find(bundle, certificate->chain));
	}
	staples_use(generation->staples, tls);
	return identity_names_use(identities, count, tls) < 0 ? "a certificate cannot be used by OpenSSL"
							      : NULL;
}

/* The TLS context of a listener; NULL with why when a certificate cannot be used, NULL without when it has none. */
static struct tls_context *listener_tls(const struct generation *generation,
	const struct config_listener *listener, const struct bundle *bundle, const char **ret_why)
{
	*ret_why = NULL;
	if (listener->certificate == NULL)
		return NULL;

	struct tls_context *tls = tls_context_server(generation, listener->name);
	*ret_why = tls_use_profile(tls, listener->tls_profile) < 0
			   ? "a TLS profile cannot be used by OpenSSL"
			   : load_certificates(generation, listener, bundle, tls);
	if (*ret_why == NULL)
		return tls;
	talloc_free(tls);
	return NULL;
}

/* For sessions: the handshakes of a client network are limited (conformance 1.53). */
static bool may_handshake(void *context, const struct ip *client)
{
	struct listener *listener = context;

	return clients_handshake(listener->generation->front->clients, client,
		listener->house.config->limits.tls_rate, clock_mono_ms());
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
	generation->staples = staples_new(generation);
	generation->listeners =
		text_must(talloc_zero_array(generation, struct listener, (unsigned)config->listener_count));
	*ret_why = event->extra_fds == config->listener_count
			   ? NULL
			   : "master sent another number of sockets than the configuration has listeners";
	const struct recipients *recipients =
		config->recipients.file == NULL
			? NULL
			: recipients_new(generation, bundle_find(event->bundle, config->recipients.file));
	struct call_ahead *call_ahead = call_ahead_new(generation, front->deliver);
	for (size_t i = 0; i < config->listener_count; i++) {
		struct listener *listener = &generation->listeners[i];

		listener->generation = generation;
		listener->socket_fd = *ret_why == NULL ? frame_get_fd(event->frame) : -1;
		listener->house = (struct smtp_house){
			.config = config,
			.listener = &config->listeners[i],
			.queue = front->queue,
			.resolver = front->resolver,
			.recipients = recipients,
			.call_ahead = call_ahead,
			.room = &front->room,
			.may_handshake = may_handshake,
			.context = listener,
			.metrics = &front->metrics,
			.notes = front->notes,
			.drain_fd = front->role->drain_fd,
			.stop_fd = front->role->stop_fd,
		};
		if (*ret_why == NULL)
			listener->house.tls =
				listener_tls(generation, &config->listeners[i], event->bundle, ret_why);
	}
	staples_inherit(generation->staples, front->current == NULL ? NULL : front->current->staples);
	if (*ret_why == NULL)
		return generation;
	generation_release(generation);
	return NULL;
}

/* Somebody who may not come in: one line, no waiting. The connection stays the caller's. */
static void turn_away(const struct listener *listener, struct conn *conn, const char *icid, const char *reply,
	const char *reason)
{
	char client[IP_TEXT_MAX];
	const struct store_refusal refusal = {
		.time_ms = clock_wall_ms(),
		.icid = icid,
		.client = ip_format(&conn->peer, client),
		.reply = reply,
	};

	metrics_count(listener->house.metrics, METRIC_REJECTED_LIMIT);
	notes_add(listener->house.notes, &refusal);
	log_event(LOG_WARN, "connection_refused", log_str("icid", icid), log_str("client", client),
		log_str("reply", reply), log_str("reason", reason));
	conn_set_deadline(conn, clock_mono_ms());
	if (conn_write(conn, text_of(reply)) == 0 && conn_write(conn, TEXT("\r\n")) == 0)
		conn_flush(conn);
}

static bool is_proxy(const struct listener *listener, const struct ip *client)
{
	const struct config_listener *config = listener->house.listener;

	for (size_t i = 0; i < config->proxy_protocol_from_count; i++)
		if (ip_in_network(client, &config->proxy_protocol_from[i]))
			return true;
	return false;
}

/* A client whose address is known: counted, then served. */
static void admit(struct listener *listener, struct conn *conn, const char *icid)
{
	struct front *front = listener->generation->front;
	const struct config_limits *limits = &listener->house.config->limits;
	const struct ip client = conn->peer; /* XCLIENT may change it */

	switch (clients_enter(
		front->clients, &client, limits->connections_per_network, limits->rate, clock_mono_ms())) {
	case CLIENTS_TOO_MANY:
		turn_away(listener, conn, icid, "421 4.7.0 too many connections from your network",
			"limits.connections_per_network");
		break;
	case CLIENTS_TOO_FAST:
		turn_away(listener, conn, icid, "421 4.7.0 your network connects too often, try later",
			"limits.rate");
		break;
	case CLIENTS_WELCOME:
		smtp_session_run(conn, &listener->house, icid);
		clients_leave(front->clients, &client);
	}
}

static void serve(struct conn *conn, void *context)
{
	struct listener *listener = context;
	struct front *front = listener->generation->front;
	char icid[48], proxy[IP_TEXT_MAX];
	int r = 0;

	snprintf(icid, sizeof icid, "%llx-%llu", (unsigned long long)front->role->incarnation,
		(unsigned long long)atomic_fetch_add(&front->connections, 1) + 1);
	conn_set_stop(conn, front->role->stop_fd);
	if (is_proxy(listener, &conn->peer)) {
		ip_format(&conn->peer, proxy);
		r = proxy_protocol_read(conn);
		if (r < 0)
			log_event(LOG_WARN, "proxy_header_refused", log_str("icid", icid),
				log_str("client", proxy), log_str("reason", err_text(r)));
	}
	if (r == 0)
		admit(listener, conn, icid);
	conn_free(conn);
	generation_release(listener->generation);
}

static void end_thread(struct generation *generation)
{
	struct front *front = generation->front;

	generation_release(generation);
	tls_thread_end();
	pthread_mutex_lock(&front->lock);
	front->acceptors--;
	pthread_cond_signal(&front->ended);
	pthread_mutex_unlock(&front->lock);
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
			turn_away(listener, conn, "", "421 4.3.2 too many connections, try later",
				"limits.connections");
			conn_free(conn);
			generation_release(generation);
		}
	}
	base_close(&listener->socket_fd); /* the generation may live on in its sessions, the port must not */
	end_thread(generation);
	return NULL;
}

/* Keeps the staples of a generation as long as it accepts. */
static void *staples_run(void *argument)
{
	struct generation *generation = argument;
	struct pollfd retired = { .fd = generation->retired_fd, .events = POLLIN };
	int64_t wait;

	do
		wait = staples_renew(generation->staples, generation->front->upkeep, retired.fd);
	while (poll(&retired, 1, (int)MIN(wait, (int64_t)INT_MAX)) == 0);
	end_thread(generation);
	return NULL;
}

static void start_thread(struct generation *generation, void *(*run)(void *argument), void *argument)
{
	struct front *front = generation->front;

	atomic_fetch_add(&generation->users, 1);
	pthread_mutex_lock(&front->lock);
	front->acceptors++;
	pthread_mutex_unlock(&front->lock);
	if (thread_start(run, argument) < 0)
		abort();
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
		metrics_listener(&front->metrics, generation->config->listeners[i].name);
		start_thread(generation, accept_run, &generation->listeners[i]);
	}
	if (staples_count(generation->staples) > 0)
		start_thread(generation, staples_run, generation);
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

/* They see the retired descriptor at once. */
static void wait_for_acceptors(struct front *front)
{
	pthread_mutex_lock(&front->lock);
	while (front->acceptors > 0)
		pthread_cond_wait(&front->ended, &front->lock);
	pthread_mutex_unlock(&front->lock);
}

/* Sessions end at their next command boundary; those that do not within the drain time are cut. */
static void end(struct front *front, bool at_once)
{
	drop(front);
	retire(front->current);
	front->current = NULL;
	role_signal(front->role->drain_fd);
	wait_for_acceptors(front);
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

static struct peer *peer_called(const struct front *front, const char *name)
{
	return strcmp(name, "queue") == 0      ? front->queue
	       : strcmp(name, "resolver") == 0 ? front->resolver
	       : strcmp(name, "keys") == 0     ? front->keys
	       : strcmp(name, "upkeep") == 0   ? front->upkeep
					       : front->deliver;
}

int role_front(struct role *role)
{
	struct front *front = text_must(talloc_zero(NULL, struct front));

	front->role = role;
	pthread_mutex_init(&front->lock, NULL);
	pthread_cond_init(&front->ended, NULL);
	front->queue = peer_new(front, 64);
	front->deliver = peer_new(front, 16);
	front->resolver = peer_new(front, 64);
	front->upkeep = peer_new(front, 64);
	front->keys = peer_new(front, 64);
	front->handles = key_handle_start(front, front->keys, role->stop_fd);
	front->clients = clients_new(front);
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
			peer_connect(peer_called(front, event.peer), event.fd);
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
