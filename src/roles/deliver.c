/*
 * Role `deliver`: threads that borrow mail from `queue`, take it to its next hop, and report the outcome until it is acknowledged. A
 * thread with an open connection asks for more mail for that destination first; threads are started while all others are busy.
 */
#include "deliver/deliver.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/bundle.h"
#include "config/config.h"
#include "deliver/account.h"
#include "deliver/clear_hosts.h"
#include "deliver/clear_hosts_ask.h"
#include "deliver/contexts.h"
#include "deliver/explain.h"
#include "deliver/link.h"
#include "deliver/verify.h"
#include "ipc/channel.h"
#include "ipc/peer.h"
#include "lookup/dns_cache.h"
#include "net/tls.h"
#include "net/tls_sessions.h"
#include "pki/crl_source.h"
#include "pki/crl_told.h"
#include "pki/key_handle.h"
#include "pki/trust.h"
#include "pki/verify_memo.h"
#include "queue/queue.h"
#include "report/metrics.h"
#include "roles/role.h"

enum { WORKERS_MAX = 60, REUSE_MS = 1000, WAIT_MS = 20000, AGAIN_MS = 200, AGAIN_LONGEST_MS = 5000 };

struct worker {
	struct deliver *deliver;
	bool asking;		/* a lease may have arrived that is not in `held` yet */
	struct queue_held held; /* mid 0 = nothing */
};

/* What deliveries under one configuration share. */
struct generation {
	atomic_uint users; /* deliveries, and the main loop */
	struct deliver_house house;
	struct crl_source_flaw *flaws; /* lists that are left out */
	size_t flaw_count;
};

struct deliver {
	struct role *role;
	struct peer *queue, *resolver, *upkeep, *keys;
	struct key_handles *handles; /* of client certificates */
	struct crl_told *told;
	struct clear_hosts *clear_hosts;
	struct metrics metrics;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	pthread_cond_t asked; /* a worker asks no more */
	struct generation *current, *next;
	bool stopping;
	unsigned served;	/* threads that serve `front` */
	unsigned workers, idle; /* idle: waiting for any mail */
	struct worker *slots[WORKERS_MAX];
};

static void *worker_run(void *argument);

/* Start a thread when none waits for mail; called with the lock held. */
static void start_worker(struct deliver *d)
{
	if (d->stopping || d->idle > 0 || d->current == NULL ||
		d->workers >= MIN(d->current->house.config->delivery.connections, (uint64_t)WORKERS_MAX))
		return;

	struct worker *worker = text_must(talloc_zero(NULL, struct worker));
	worker->deliver = d;
	for (size_t i = 0; i < WORKERS_MAX; i++) {
		if (d->slots[i] == NULL) {
			d->slots[i] = worker;
			break;
		}
	}
	d->workers++;
	d->idle++; /* it will be */
	if (thread_start(worker_run, worker) < 0)
		abort();
}

static void remove_worker(struct worker *worker)
{
	struct deliver *d = worker->deliver;

	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (d->slots[i] == worker)
			d->slots[i] = NULL;
	d->workers--;
	pthread_cond_signal(&d->ended);
	talloc_free(worker);
}

/* Wait a little, or until the role stops; false when it does. */
static bool pause_ms(struct deliver *d, int stop_fd, int ms)
{
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };

	(void)d;
	return poll(&stop, 1, ms) == 0;
}

static void hold(struct worker *worker, const struct lease *lease)
{
	pthread_mutex_lock(&worker->deliver->lock);
	worker->held = lease == NULL ? (struct queue_held){ 0 }
				     : (struct queue_held){ .mid = lease->mid, .domain = lease->domain };
	worker->asking = false;
	pthread_cond_signal(&worker->deliver->asked);
	pthread_mutex_unlock(&worker->deliver->lock);
}

/* Until hold(), a lease may arrive; false when the role stops and wants none. */
static bool begin_asking(struct worker *worker)
{
	struct deliver *d = worker->deliver;

	pthread_mutex_lock(&d->lock);
	worker->asking = true;
	const bool wanted = !d->stopping;
	pthread_mutex_unlock(&d->lock);
	return wanted;
}

/* Ask for a lease, and hold it before anybody can tell a new `queue` what is held. */
static int ask(struct worker *worker, const char *prefer, int64_t wait_ms, struct lease **ret_lease)
{
	struct deliver *d = worker->deliver;

	begin_asking(worker);
	int r = queue_lease(d->queue, NULL, prefer, wait_ms, d->role->drain_fd, ret_lease);
	hold(worker, *ret_lease);
	return r;
}

/* Mail for the open link, else (after closing it) any mail. NULL when nothing is due. */
static struct lease *next_lease(struct worker *worker, struct link **link)
{
	struct deliver *d = worker->deliver;
	struct lease *lease = NULL;
	int r = 0;

	if (*link != NULL) {
		r = ask(worker, (*link)->target.destination, REUSE_MS, &lease);
		if (lease != NULL)
			return lease;
		link_close(*link);
		*link = NULL;
	}

	pthread_mutex_lock(&d->lock);
	d->idle++;
	pthread_mutex_unlock(&d->lock);
	if (r == 0)
		r = ask(worker, NULL, WAIT_MS, &lease);
	if (r < 0)
		pause_ms(d, d->role->drain_fd, AGAIN_MS);
	pthread_mutex_lock(&d->lock);
	d->idle--;
	if (lease != NULL)
		start_worker(d);
	pthread_mutex_unlock(&d->lock);
	return lease;
}

/* An outcome is repeated until `queue` has it: after a restart of `queue` too. Returns more mail for destination `prefer` (NULL: none is wanted)
 * that is due now, or NULL. */
static struct lease *record(
	struct worker *worker, const struct lease *lease, const struct outcome *outcome, const char *prefer)
{
	struct deliver *d = worker->deliver;
	struct lease *next;
	int r;

	if (!begin_asking(worker))
		prefer = NULL;
	r = queue_record(d->queue, NULL, outcome, prefer, d->role->stop_fd, &next);
	hold(worker, r < 0 ? lease : next);
	for (int ms = AGAIN_MS; r < 0; ms = MIN(2 * ms, AGAIN_LONGEST_MS)) {
		log_event(LOG_WARN, "outcome_not_recorded", log_num("mid", outcome->mid),
			log_str("reason", err_text(r)));
		if (r == -EINVAL || !pause_ms(d, d->role->stop_fd, ms))
			break;
		r = queue_record(d->queue, NULL, outcome, NULL, d->role->stop_fd, &next);
	}
	if (next == NULL)
		hold(worker, NULL);
	return next;
}

/* NULL before the first is used. */
static struct generation *generation_hold(struct deliver *d)
{
	pthread_mutex_lock(&d->lock);
	struct generation *generation = d->current;
	if (generation != NULL)
		atomic_fetch_add(&generation->users, 1);
	pthread_mutex_unlock(&d->lock);
	return generation;
}

static void generation_release(struct generation *generation)
{
	if (generation == NULL || atomic_fetch_sub(&generation->users, 1) > 1)
		return;
	const struct config *config = generation->house.config;
	tls_sessions_release(generation->house.sessions);
	talloc_free(generation);
	config_release(config);
}

/* Returns what is to be delivered next, when that is known. */
static struct lease *deliver_lease(struct worker *worker, struct link **link, const struct lease *lease)
{
	struct generation *generation = generation_hold(worker->deliver);
	struct outcome *outcome = deliver_attempt(&generation->house, link, lease, lease);
	struct lease *next =
		record(worker, lease, outcome, *link == NULL ? NULL : (*link)->target.destination);

	generation_release(generation);
	return next;
}

/* An idle thread stays; a second one leaves. */
static bool superfluous(struct deliver *d)
{
	return d->stopping || d->idle > 0;
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;
	struct deliver *d = worker->deliver;
	struct link *link = NULL;
	struct lease *lease = NULL, *next;
	bool leave = false;

	pthread_mutex_lock(&d->lock);
	d->idle--; /* counted by start_worker() */
	pthread_mutex_unlock(&d->lock);
	while (!leave) {
		if (lease == NULL)
			lease = next_lease(worker, &link);
		next = lease == NULL ? NULL : deliver_lease(worker, &link, lease);
		pthread_mutex_lock(&d->lock);
		leave = next == NULL && (lease == NULL ? superfluous(d) : d->stopping);
		pthread_mutex_unlock(&d->lock);
		talloc_free(lease);
		lease = next;
	}
	link_close(link);
	tls_thread_end();
	pthread_mutex_lock(&d->lock);
	remove_worker(worker);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* A control socket from `front`, a channel that came over it, or one of the command line's. */
struct served {
	struct deliver *deliver;
	int fd;
	bool by_operator;
};

static void start_served(struct deliver *d, int fd, bool by_operator, void *(*run)(void *))
{
	struct served *served = text_must(talloc_zero(NULL, struct served));

	*served = (struct served){ .deliver = d, .fd = fd, .by_operator = by_operator };
	pthread_mutex_lock(&d->lock);
	d->served++;
	pthread_mutex_unlock(&d->lock);
	if (thread_start(run, served) < 0)
		abort();
}

static void end_served(struct served *served)
{
	struct deliver *d = served->deliver;

	base_close(&served->fd);
	talloc_free(served);
	tls_thread_end();
	pthread_mutex_lock(&d->lock);
	d->served--;
	pthread_cond_signal(&d->ended);
	pthread_mutex_unlock(&d->lock);
}

/* `front` asks whether a recipient exists; an operator what would become of mail. NULL = that is none of theirs. */
static struct frame *answer_to(
	const struct served *served, const struct deliver_house *house, struct frame *ask)
{
	if (ask->kind == FRAME_VERIFY && !served->by_operator)
		return verify_answer(house, ask, ask);
	if (ask->kind == FRAME_EXPLAIN && served->by_operator)
		return explain_answer(house, ask, ask);
	if (ask->kind == FRAME_CLEAR_HOSTS && served->by_operator)
		return clear_hosts_ask_answer(house->clear_hosts, ask, ask);
	return NULL;
}

static void *channel_run(void *argument)
{
	struct served *served = argument;
	struct frame *ask;
	int r = 0;

	while (r == 0 &&
		channel_receive(served, served->fd, served->deliver->role->stop_fd, IO_FOREVER, &ask) == 0) {
		struct generation *generation = generation_hold(served->deliver);
		struct frame *answer = generation == NULL ? NULL : answer_to(served, &generation->house, ask);

		r = answer == NULL ? ERR_FORMAT : channel_send(served->fd, answer, clock_mono_ms() + 10000);
		generation_release(generation);
		talloc_free(ask);
	}
	end_served(served);
	return NULL;
}

static void *control_run(void *argument)
{
	struct served *control = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(control, control->fd, control->deliver->role->stop_fd, &frame)) > 0)
		start_served(control->deliver, fd, false, channel_run);
	end_served(control);
	return NULL;
}

static bool somebody_asks(const struct deliver *d)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (d->slots[i] != NULL && d->slots[i]->asking)
			return true;
	return false;
}

/* A new control socket to `queue`: first say what is held, then ask. The `queue` before it is dead, so who still asks that one hears its last
 * answer or the end at once, and what it lent last must be said as well. */
static void connect_queue(struct deliver *d, int fd)
{
	struct queue_held held[WORKERS_MAX];
	size_t count = 0;

	peer_connect(d->queue, -1);
	pthread_mutex_lock(&d->lock);
	while (somebody_asks(d))
		pthread_cond_wait(&d->asked, &d->lock);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (d->slots[i] != NULL && d->slots[i]->held.mid != 0)
			held[count++] = d->slots[i]->held;
	struct frame *frame = queue_announce(NULL, d->role->incarnation, held, count);
	channel_send(fd, frame, clock_mono_ms() + 10000);
	talloc_free(frame);
	peer_connect(d->queue, fd);
	start_worker(d);
	pthread_mutex_unlock(&d->lock);
}

static bool is_left_out(const struct generation *generation, const char *source)
{
	for (size_t i = 0; i < generation->flaw_count; i++)
		if (strcmp(generation->flaws[i].source, source) == 0)
			return true;
	return false;
}

/* The lists of revoked certificates, where they count. One that cannot be relied on refuses a generation that brings only lists, unless it was left out before; else, the
 * authorities or the clock may have changed, and it is left out. False with why. */
static bool load_lists(
	struct deliver *d, struct generation *generation, const struct bundle *bundle, const char **ret_why)
{
	struct deliver_house *house = &generation->house;

	if (!house->config->crl.check.outbound_smtp)
		return true;
	house->crls = crl_source_load(
		generation, house->config, bundle, house->trust, &generation->flaws, &generation->flaw_count);
	for (size_t i = 0; i < generation->flaw_count; i++) {
		const struct crl_source_flaw *flaw = &generation->flaws[i];

		log_event(LOG_ERROR, "crl_unusable", log_str("source", flaw->source),
			log_str("reason", flaw->why));
		if (d->role->parts != BUNDLE_REVOCATION || d->current == NULL ||
			is_left_out(d->current, flaw->source))
			continue;
		*ret_why = text_must(talloc_asprintf(
			d, "the list of source %s cannot be used: %s", flaw->source, flaw->why));
		return false;
	}
	return true;
}

/* Build what deliveries under a new configuration share; NULL and why when it cannot be used. */
static struct generation *generation_new(
	struct deliver *d, const struct config *config, const struct bundle *bundle, const char **ret_why)
{
	struct generation *generation = text_must(talloc_zero(NULL, struct generation));
	struct tls_context *tls = tls_context_client(generation);
	const struct contexts *contexts = contexts_new(generation, config, bundle, d->handles, ret_why);
	const struct accounts *accounts = account_load(generation, config, bundle);

	atomic_init(&generation->users, 1);
	generation->house = (struct deliver_house){ .config = config,
		.resolver = d->resolver,
		.dns_cache = dns_cache_new(generation),
		.upkeep = d->upkeep,
		.tls = tls,
		.contexts = contexts,
		.trust = trust_of(generation, config, bundle),
		.memo = verify_memo_new(generation),
		.told = d->told,
		.clear_hosts = d->clear_hosts,
		.sessions = tls_sessions_new(),
		.accounts = accounts,
		.metrics = &d->metrics,
		.incarnation = d->role->incarnation,
		.stop_fd = d->role->stop_fd };
	if (accounts != NULL && contexts != NULL && load_lists(d, generation, bundle, ret_why))
		return generation;
	if (accounts == NULL)
		*ret_why = "the password of a route is missing";
	generation_release(generation);
	return NULL;
}

static void prepare(struct deliver *d, const struct config *config, const struct bundle *bundle)
{
	const char *why = "";

	generation_release(d->next);
	d->next = generation_new(d, config, bundle, &why);
	if (d->next != NULL)
		role_ready(d->role);
	else
		role_refuse(d->role, why);
}

/* Also deliveries under way by an older configuration put nobody on a list that is switched off. */
static void switch_clear_hosts(struct deliver *d, bool on)
{
	const size_t forgotten = clear_hosts_switch(d->clear_hosts, on, clock_mono_ms());

	if (forgotten > 0)
		log_event(LOG_INFO, "clear_hosts_emptied", log_num("hosts", (int64_t)forgotten));
}

static void use(struct deliver *d)
{
	pthread_mutex_lock(&d->lock);
	if (d->next != NULL) {
		generation_release(d->current);
		d->current = d->next;
		d->next = NULL;
		switch_clear_hosts(d, d->current->house.config->tls.retry_without_tls);
	}
	start_worker(d);
	pthread_mutex_unlock(&d->lock);
}

/* True when none is left. */
static bool wait_for_workers(struct deliver *d, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	bool in_time = true;

	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	while (d->workers + d->served > 0 && in_time)
		in_time = thread_wait(&d->ended, &d->lock, until);
	bool none = d->workers + d->served == 0;
	pthread_mutex_unlock(&d->lock);
	return none;
}

/* Deliveries under way are finished within the drain time; what is cut is delivered again later. */
static void end(struct deliver *d, bool at_once)
{
	role_signal(d->role->drain_fd);
	if (!at_once)
		wait_for_workers(d, ROLE_DRAIN_MS);
	role_signal(d->role->stop_fd);
	if (!wait_for_workers(d, 2000))
		return; /* a delivery hangs in a library: the process ends without it */
	generation_release(d->current);
	generation_release(d->next);
	talloc_free(d);
}

int role_deliver(struct role *role)
{
	struct deliver *d = text_must(talloc_zero(NULL, struct deliver));

	d->role = role;
	d->queue = peer_new(d, 64);
	d->resolver = peer_new(d, 64);
	d->upkeep = peer_new(d, 64);
	d->keys = peer_new(d, 64);
	d->handles = key_handle_start(d, d->keys, role->stop_fd);
	d->told = crl_told_new(d);
	d->clear_hosts = clear_hosts_new(d, clock_mono_ms());
	pthread_mutex_init(&d->lock, NULL);
	thread_condition(&d->ended);
	pthread_cond_init(&d->asked, NULL);
	for (;;) {
		void *scratch = talloc_new(NULL);
		struct role_event event = role_next(role, scratch);

		switch (event.kind) {
		case ROLE_PREPARE:
			prepare(d, event.config, event.bundle);
			break;
		case ROLE_USE:
			use(d);
			break;
		case ROLE_DROP:
			generation_release(d->next);
			d->next = NULL;
			break;
		case ROLE_PEER:
			if (strcmp(event.peer, "queue") == 0)
				connect_queue(d, event.fd);
			else if (strcmp(event.peer, "resolver") == 0)
				peer_connect(d->resolver, event.fd);
			else if (strcmp(event.peer, "upkeep") == 0)
				peer_connect(d->upkeep, event.fd);
			else if (strcmp(event.peer, "cli") == 0)
				start_served(d, event.fd, true, channel_run);
			else if (strcmp(event.peer, "keys") == 0)
				peer_connect(d->keys, event.fd);
			else
				start_served(d, event.fd, false, control_run);
			break;
		case ROLE_STATS:
			metrics_set(&d->metrics, METRIC_CLEAR_HOSTS,
				(int64_t)clear_hosts_count(d->clear_hosts, clock_mono_ms()));
			role_stats(role, &d->metrics);
			break;
		case ROLE_STOP:
		case ROLE_GONE:
			end(d, event.kind == ROLE_GONE);
			talloc_free(scratch);
			return EXIT_SUCCESS;
		}
		talloc_free(scratch);
	}
}
