/*
 * Role `resolver`: one thread, driven by events. Other roles ask over channels, one question at a time on each; the same question on its way for
 * several of them is asked once. Each has its own deadline: what the DNS does not answer in time is DNS_FAILED, and the question goes on so
 * that its answer is in the cache when it is asked again. Nothing here waits, so a broken zone delays nobody but those who ask for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <talloc.h>
#include <uthash.h>
#include <utlist.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/peer.h"
#include "lookup/dns.h"
#include "lookup/recursor.h"
#include "report/metrics.h"
#include "roles/role.h"

/* Three roles with 64 channels each and a few commands; and more questions than they can ask, because some go on without them. */
enum { CHANNELS_MAX = 512, QUESTIONS_MAX = 1000 };

struct resolver {
	struct role *role;
	struct event_base *base;
	struct event *control; /* master's words */
	struct recursor *recursor, *next_recursor;
	int64_t timeout_ms, next_timeout_ms;
	struct question *questions; /* on their way, by key */
	struct channel *channels;
	unsigned channel_count, waiting;
	struct metrics metrics;
};

/* A question on its way, and the channels that wait for its answer. */
struct question {
	struct resolver *resolver;
	const char *name;
	enum dns_type type;
	struct channel *waiting;
	UT_hash_handle hh;
	char key[DNS_NAME_MAX + 16]; /* type and name */
};

/* A channel on which questions come, or a control socket on which channels come. */
struct channel {
	struct resolver *resolver;
	bool brings_channels;
	int fd;
	struct event *readable, *late;
	struct question *question;			 /* whose answer it waits for; NULL = none */
	struct channel *previous, *next;		 /* of all */
	struct channel *previous_waiting, *next_waiting; /* of the question */
};

static void on_readable(evutil_socket_t fd, short events, void *argument);
static void on_late(evutil_socket_t fd, short events, void *argument);

static void leave_question(struct channel *channel)
{
	struct question *question = channel->question;

	if (question == NULL)
		return;
	DL_DELETE2(question->waiting, channel, previous_waiting, next_waiting);
	channel->question = NULL;
	channel->resolver->waiting--;
	event_del(channel->late);
}

static int channel_destroy(struct channel *channel)
{
	leave_question(channel);
	DL_DELETE2(channel->resolver->channels, channel, previous, next);
	channel->resolver->channel_count--;
	event_free(channel->readable);
	event_free(channel->late);
	base_close(&channel->fd);
	return 0;
}

/* `fd` is given. */
static void open_channel(struct resolver *resolver, int fd, bool brings_channels)
{
	struct channel *channel;

	if (resolver->channel_count == CHANNELS_MAX) {
		log_event(LOG_WARN, "channel_refused", log_num("open", CHANNELS_MAX));
		base_close(&fd);
		return;
	}
	channel = text_must(talloc_zero(resolver, struct channel));
	channel->resolver = resolver;
	channel->brings_channels = brings_channels;
	channel->fd = fd;
	channel->readable =
		text_must(event_new(resolver->base, fd, EV_READ | EV_PERSIST, on_readable, channel));
	channel->late = text_must(evtimer_new(resolver->base, on_late, channel));
	DL_APPEND2(resolver->channels, channel, previous, next);
	resolver->channel_count++;
	talloc_set_destructor(channel, channel_destroy);
	event_add(channel->readable, NULL);
}

/* Answer what the channel asked; it ends when the asker takes nothing. */
static void answer(struct channel *channel, const struct dns_answer *answer)
{
	struct frame *frame = dns_answer_frame(NULL, answer);

	leave_question(channel);
	metrics_count_dns(&channel->resolver->metrics, answer->result, answer->security);
	int r = channel_send(channel->fd, frame, clock_mono_ms());
	talloc_free(frame);
	if (r < 0)
		talloc_free(channel);
}

static void answer_failed(struct channel *channel, const char *why)
{
	struct dns_answer *failed = dns_failed(NULL, why);

	answer(channel, failed);
	talloc_free(failed);
}

static void log_failure(const struct question *question, const struct dns_answer *failed)
{
	log_event(LOG_WARN, "dns_failed", log_str("name", question->name),
		log_str("type", dns_type_word(question->type)),
		log_str("security", failed->security == DNS_BOGUS ? dns_security_word(DNS_BOGUS) : "unknown"),
		log_str("why", failed->why));
}

static void on_late(evutil_socket_t fd, short events, void *argument)
{
	struct channel *channel = argument;
	struct dns_answer *failed = dns_failed(NULL, "no name server answered in time");

	(void)fd, (void)events;
	log_failure(channel->question, failed);
	answer(channel, failed);
	talloc_free(failed);
}

static void on_answer(void *argument, struct dns_answer *result)
{
	struct question *question = argument;

	if (result->result == DNS_FAILED)
		log_failure(question, result);
	else
		log_event(LOG_DEBUG, "dns_answered", log_str("name", question->name),
			log_str("type", dns_type_word(question->type)),
			log_str("result", dns_result_word(result->result)),
			log_str("security", dns_security_word(result->security)));
	while (question->waiting != NULL)
		answer(question->waiting, result);
	HASH_DEL(question->resolver->questions, question);
	talloc_free(question);
	talloc_free(result);
}

static void wait_for(struct channel *channel, struct question *question)
{
	int64_t ms = channel->resolver->timeout_ms;

	channel->question = question;
	channel->resolver->waiting++;
	DL_APPEND2(question->waiting, channel, previous_waiting, next_waiting);
	event_add(channel->late, &(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

static void ask(struct channel *channel, const char *name, enum dns_type type)
{
	struct resolver *resolver = channel->resolver;
	struct question *question = text_must(talloc_zero(resolver, struct question)), *same;

	snprintf(question->key, sizeof question->key, "%d %s", (int)type, name);
	HASH_FIND_STR(resolver->questions, question->key, same);
	if (same != NULL) {
		talloc_free(question);
		wait_for(channel, same);
		return;
	}
	if (resolver->recursor == NULL || HASH_COUNT(resolver->questions) >= QUESTIONS_MAX) {
		talloc_free(question);
		answer_failed(channel, "too many questions are on their way");
		return;
	}
	question->resolver = resolver;
	question->name = text_copy(question, text_of(name));
	question->type = type;
	HASH_ADD_STR(resolver->questions, key, question);
	wait_for(channel, question);
	recursor_ask(resolver->recursor, name, type, on_answer, question); /* may answer at once */
}

/* One ask; false when the channel must end. */
static bool take_ask(struct channel *channel)
{
	struct frame *frame;
	enum dns_type type;
	const char *name;
	bool fine;

	if (channel_receive(NULL, channel->fd, -1, clock_mono_ms(), &frame) < 0)
		return false;
	fine = dns_ask_read(frame, frame, &name, &type) && channel->question == NULL;
	if (!fine)
		log_event(LOG_WARN, "ask_refused", log_num("kind", frame->kind));
	else if (name == NULL)
		answer_failed(channel, "this cannot be a name in the DNS");
	else
		ask(channel, name, type);
	talloc_free(frame);
	return fine;
}

/* False when the control socket must end. Without a free descriptor a channel cannot come, but the next one may. */
static bool take_channel(struct channel *control)
{
	struct frame *frame = NULL;
	int fd = peer_accept(NULL, control->fd, -1, &frame);

	talloc_free(frame);
	if (fd > 0)
		open_channel(control->resolver, fd, false);
	return fd > 0 || fd == ERR_FORMAT;
}

static void on_readable(evutil_socket_t fd, short events, void *argument)
{
	struct channel *channel = argument;

	(void)fd, (void)events;
	if (channel->brings_channels ? !take_channel(channel) : !take_ask(channel))
		talloc_free(channel);
}

/* Words of master */

static void drop(struct resolver *resolver)
{
	talloc_free(resolver->next_recursor);
	resolver->next_recursor = NULL;
}

static void prepare(struct resolver *resolver, struct role_event *event)
{
	CLEANUP(base_close) int directory = frame_get_fd(event->frame);
	const char *why = "master sent no directory for trust anchors";

	drop(resolver);
	if (fchdir(directory) == 0)
		resolver->next_recursor =
			recursor_new(resolver, resolver->base, event->config, event->bundle, &why);
	resolver->next_timeout_ms = event->config->dns.timeout_ms;
	config_release(event->config);
	if (resolver->next_recursor != NULL)
		role_ready(resolver->role);
	else
		role_refuse(resolver->role, why);
}

/* The cache is kept when nothing changed; else what is on its way is asked anew. */
static void use(struct resolver *resolver)
{
	struct question *question, *following;

	if (resolver->next_recursor == NULL)
		return;
	resolver->timeout_ms = resolver->next_timeout_ms;
	if (resolver->recursor != NULL && recursor_same(resolver->recursor, resolver->next_recursor)) {
		drop(resolver);
		return;
	}
	talloc_free(resolver->recursor);
	resolver->recursor = resolver->next_recursor;
	resolver->next_recursor = NULL;
	HASH_ITER (hh, resolver->questions, question, following)
		recursor_ask(resolver->recursor, question->name, question->type, on_answer, question);
}

static int resolver_destroy(struct resolver *resolver)
{
	talloc_free(resolver->recursor);
	talloc_free(resolver->next_recursor);
	while (resolver->channels != NULL)
		talloc_free(resolver->channels);
	HASH_CLEAR(hh, resolver->questions);
	event_free(resolver->control);
	event_base_free(resolver->base);
	return 0;
}

static void on_control(evutil_socket_t fd, short events, void *argument)
{
	struct resolver *resolver = argument;
	void *scratch = talloc_new(NULL);
	struct role_event event = role_next(resolver->role, scratch);

	(void)fd, (void)events;
	switch (event.kind) {
	case ROLE_PREPARE:
		prepare(resolver, &event);
		break;
	case ROLE_USE:
		use(resolver);
		break;
	case ROLE_DROP:
		drop(resolver);
		break;
	case ROLE_PEER:
		open_channel(resolver, event.fd, strcmp(event.peer, "cli") != 0);
		break;
	case ROLE_STATS:
		metrics_set(&resolver->metrics, METRIC_DNS_WAITING, resolver->waiting);
		role_stats(resolver->role, &resolver->metrics);
		break;
	case ROLE_STOP:
	case ROLE_GONE:
		event_base_loopbreak(resolver->base);
		break;
	}
	talloc_free(scratch);
}

int role_resolver(struct role *role)
{
	struct resolver *resolver = text_must(talloc_zero(NULL, struct resolver));

	resolver->role = role;
	resolver->base = text_must(event_base_new());
	resolver->control = text_must(
		event_new(resolver->base, role->control_fd, EV_READ | EV_PERSIST, on_control, resolver));
	talloc_set_destructor(resolver, resolver_destroy);
	event_add(resolver->control, NULL);
	event_base_dispatch(resolver->base);
	talloc_free(resolver);
	return EXIT_SUCCESS;
}
