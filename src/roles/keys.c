/*
 * Role `keys`: holds the private keys and uses them for the others. It has no files and no network; what it is asked comes over channels from
 * roles that may have been taken over, so who asks is known by the control socket that master laid, and each ask is decided (policy/key_use).
 * One thread for each channel. Keys of the configuration of before stay as long as one of its sessions may, for those that have not begun TLS.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>
#include <utlist.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/peer.h"
#include "net/tls.h"
#include "pki/keyring.h"
#include "pki/sign.h"
#include "report/metrics.h"
#include "roles/role.h"

enum { ANSWER_MS = 10000, LOG_EVERY_MS = 1000, OLD_MAX = 16 };

/* The keys of a configuration. */
struct generation {
	struct keyring *keyring;
	int64_t session_ms; /* how long a session of it may last */
	int64_t until;	    /* of one that is not in use any more; monotonic */
	struct generation *next;
};

/* A role that asks. */
struct asker {
	struct key_use_rate rate;
	int64_t logged;	 /* when a refusal was logged last */
	unsigned silent; /* refusals since then */
};

struct keys {
	struct role *role;
	struct metrics metrics;
	pthread_rwlock_t rings; /* guards the generations */
	struct generation *current, *prepared, *old;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t ended;
	unsigned served; /* threads */
	struct asker askers[KEY_USE_ROLE_END];
};

/* A control socket, or a channel that came over it. */
struct served {
	struct keys *keys;
	enum key_use_role role;
	int fd;
};

static const char *const role_names[] = {
	[KEY_USE_FRONT] = "front", [KEY_USE_DELIVER] = "deliver", [KEY_USE_OTHER] = "other"
};

static enum key_use_role role_called(const char *name)
{
	return strcmp(name, "front") == 0     ? KEY_USE_FRONT
	       : strcmp(name, "deliver") == 0 ? KEY_USE_DELIVER
					      : KEY_USE_OTHER;
}

/* Count an ask; true when there are too many. */
static bool is_often(struct keys *keys, enum key_use_role role)
{
	pthread_mutex_lock(&keys->lock);
	bool often = key_use_often(&keys->askers[role].rate, clock_mono_ms());
	pthread_mutex_unlock(&keys->lock);
	return often;
}

/* At most one line a second for each role, with the number of those that were not told. */
static void log_refusal(struct keys *keys, enum key_use_role role, const char *key, enum key_use verdict)
{
	struct asker *asker = &keys->askers[role];
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&keys->lock);
	bool tell = asker->logged == 0 || now - asker->logged >= LOG_EVERY_MS;
	unsigned silent = asker->silent;
	asker->silent = tell ? 0 : silent + 1;
	if (tell)
		asker->logged = now;
	pthread_mutex_unlock(&keys->lock);
	if (tell)
		log_event(LOG_WARN, "sign_refused", log_str("peer", role_names[role]),
			log_str("certificate", key), log_str("reason", key_use_reason(verdict)),
			log_num("not_told", silent));
}

/* Called with the generations locked. */
static const struct keyring_key *find(const struct keys *keys, const struct digest *id)
{
	const struct generation *const first[] = { keys->current, keys->prepared };
	const struct keyring_key *key = NULL;
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < COUNT(first) && key == NULL; i++)
		key = first[i] == NULL ? NULL : keyring_find(first[i]->keyring, id);
	for (const struct generation *old = keys->old; old != NULL && key == NULL; old = old->next)
		key = old->until <= now ? NULL : keyring_find(old->keyring, id);
	return key;
}

/* The answer to one ask, owned by the ask; NULL when it is malformed. */
static struct frame *answer(struct served *served, struct frame *ask)
{
	struct keys *keys = served->keys;
	struct sign_request request;
	char bytes[KEYRING_BYTES_MAX];
	int len = 0;

	if (!sign_read(ask, &request))
		return NULL;

	struct key_use_facts facts = { .role = served->role,
		.kind = request.kind,
		.digest = request.digest,
		.len = request.bytes.len,
		.often = is_often(keys, served->role) };
	pthread_rwlock_rdlock(&keys->rings);
	const struct keyring_key *key = find(keys, &request.key);
	if (key != NULL)
		keyring_describe(key, &facts);
	enum key_use verdict = key_use_decide(&facts);
	if (verdict == KEY_USE_YES)
		len = keyring_use(key, request.kind, request.digest, request.version, request.bytes, bytes);
	if (len < 0)
		verdict = KEY_USE_NO_FIT;
	if (verdict != KEY_USE_YES)
		log_refusal(keys, served->role, key == NULL ? "" : keyring_name(key), verdict);
	pthread_rwlock_unlock(&keys->rings);

	metrics_count_sign(&keys->metrics, served->role, verdict);
	struct frame *frame = sign_answer(ask, verdict, (struct text){ bytes, (size_t)MAX(len, 0) });
	explicit_bzero(bytes, sizeof bytes);
	return frame;
}

static void start_thread(struct keys *keys, enum key_use_role role, int fd, void *(*run)(void *argument))
{
	struct served *served = text_must(talloc_zero(NULL, struct served));

	*served = (struct served){ .keys = keys, .role = role, .fd = fd };
	pthread_mutex_lock(&keys->lock);
	keys->served++;
	pthread_mutex_unlock(&keys->lock);
	if (thread_start(run, served) < 0)
		abort();
}

static void end_thread(struct served *served)
{
	struct keys *keys = served->keys;

	base_close(&served->fd);
	talloc_free(served);
	tls_thread_end();
	pthread_mutex_lock(&keys->lock);
	keys->served--;
	pthread_cond_signal(&keys->ended);
	pthread_mutex_unlock(&keys->lock);
}

static void *channel_run(void *argument)
{
	struct served *served = argument;
	struct frame *ask;
	bool fine = true;

	while (fine &&
		channel_receive(served, served->fd, served->keys->role->stop_fd, IO_FOREVER, &ask) == 0) {
		struct frame *frame = answer(served, ask);

		if (frame == NULL)
			log_event(LOG_WARN, "ask_refused", log_num("kind", ask->kind),
				log_str("peer", role_names[served->role]));
		fine = frame != NULL && channel_send(served->fd, frame, clock_mono_ms() + ANSWER_MS) == 0;
		if (frame != NULL)
			explicit_bzero(frame->at, frame->len);
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

	while ((fd = peer_accept(control, control->fd, control->keys->role->stop_fd, &frame)) > 0)
		start_thread(control->keys, control->role, fd, channel_run);
	end_thread(control);
	return NULL;
}

/* Words of master */

static void drop(struct keys *keys)
{
	pthread_rwlock_wrlock(&keys->rings);
	TALLOC_FREE(keys->prepared);
	pthread_rwlock_unlock(&keys->rings);
}

static void prepare(struct keys *keys, struct role_event *event)
{
	struct generation *generation = text_must(talloc_zero(keys, struct generation));
	const char *why = "";

	generation->session_ms = event->config->limits.session_time_ms;
	generation->keyring = keyring_load(generation, event->config, event->bundle, &why);
	config_release(event->config);
	drop(keys);
	if (generation->keyring == NULL) {
		talloc_free(generation);
		role_refuse(keys->role, why);
		return;
	}
	pthread_rwlock_wrlock(&keys->rings);
	keys->prepared = generation;
	pthread_rwlock_unlock(&keys->rings);
	role_ready(keys->role);
}

/* Forget the keys that no session needs any more, and of more than a few generations the oldest. Called with the generations locked. */
static void forget(struct keys *keys)
{
	struct generation *old, *next;
	int64_t now = clock_mono_ms();
	unsigned count = 0;

	LL_FOREACH_SAFE(keys->old, old, next)
	{
		if (old->until > now && ++count <= OLD_MAX)
			continue;
		LL_DELETE(keys->old, old);
		talloc_free(old);
	}
}

static void use(struct keys *keys)
{
	pthread_rwlock_wrlock(&keys->rings);
	if (keys->prepared != NULL) {
		if (keys->current != NULL) {
			keys->current->until = clock_mono_ms() + keys->current->session_ms;
			LL_PREPEND(keys->old, keys->current);
		}
		keys->current = keys->prepared;
		keys->prepared = NULL;
	}
	forget(keys);
	pthread_rwlock_unlock(&keys->rings);
}

static void tell_stats(struct keys *keys)
{
	pthread_rwlock_wrlock(&keys->rings);
	forget(keys);
	pthread_rwlock_unlock(&keys->rings);
	role_stats(keys->role, &keys->metrics);
}

/* The others ended before, so nobody waits for an answer. */
static void end(struct keys *keys)
{
	int64_t until = clock_mono_ms() + 2000;
	bool in_time = true;

	role_signal(keys->role->stop_fd);
	pthread_mutex_lock(&keys->lock);
	while (keys->served > 0 && in_time)
		in_time = thread_wait(&keys->ended, &keys->lock, until);
	bool none = keys->served == 0;
	pthread_mutex_unlock(&keys->lock);
	if (none)
		talloc_free(keys);
}

int role_keys(struct role *role)
{
	struct keys *keys = text_must(talloc_zero(NULL, struct keys));

	keys->role = role;
	pthread_rwlock_init(&keys->rings, NULL);
	pthread_mutex_init(&keys->lock, NULL);
	thread_condition(&keys->ended);
	for (;;) {
		void *scratch = talloc_new(NULL);
		struct role_event event = role_next(role, scratch);

		switch (event.kind) {
		case ROLE_PREPARE:
			prepare(keys, &event);
			break;
		case ROLE_USE:
			use(keys);
			break;
		case ROLE_DROP:
			drop(keys);
			break;
		case ROLE_PEER:
			start_thread(keys, role_called(event.peer), event.fd, control_run);
			break;
		case ROLE_STATS:
			tell_stats(keys);
			break;
		case ROLE_STOP:
		case ROLE_GONE:
			end(keys);
			talloc_free(scratch);
			return EXIT_SUCCESS;
		}
		talloc_free(scratch);
	}
}
