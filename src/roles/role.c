/* The first steps of a role process (give up privileges before anything is read) and its conversation with master. */
#include "roles/role.h"

#include <grp.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "ipc/channel.h"
#include "net/tls.h"
#include "report/metrics.h"

enum { ANSWER_MS = 10000 };

static void answer(struct role *role, struct frame *frame)
{
	channel_send(role->control_fd, frame, clock_mono_ms() + ANSWER_MS);
	talloc_free(frame);
}

/* Every answer starts with the number of the ask. */
static struct frame *new_answer(struct role *role, enum frame_kind kind)
{
	struct frame *frame = frame_new(NULL, kind);

	frame_put_number(frame, role->asked);
	return frame;
}

void role_ready(struct role *role)
{
	answer(role, new_answer(role, FRAME_READY));
}

void role_refuse(struct role *role, const char *why)
{
	struct frame *frame = new_answer(role, FRAME_REFUSED);

	frame_put_text(frame, text_of(why));
	answer(role, frame);
}

void role_stats(struct role *role, const struct metrics *metrics)
{
	struct frame *frame = new_answer(role, FRAME_ANSWER);

	frame_put_number(frame, (int64_t)role->generation);
	metrics_put(frame, metrics);
	answer(role, frame);
}

void role_signal(int fd)
{
	eventfd_write(fd, 1);
}

enum log_kind role_log_kind(const struct config *config)
{
	switch (config->log.to) {
	case CONFIG_LOG_STDERR:
	case CONFIG_LOG_FILE:
		return LOG_STREAM;
	case CONFIG_LOG_SYSLOG:
		return LOG_SYSLOG;
	case CONFIG_LOG_JOURNAL:
		return LOG_JOURNAL;
	}
	return LOG_STREAM;
}

/* Log as the prepared generation says. The descriptor of before is closed when nobody writes to it any more. */
static void use_log(struct role *role)
{
	if (role->prepared_log_fd < 0)
		return;
	log_open_as(role->log_kind, role->prepared_log_fd, role->name, role->log_level, role->log_format);
	base_close(&role->log_fd);
	role->log_fd = base_take(&role->prepared_log_fd);
}

/* Open what master packed; false after refusing it. */
static bool open_generation(
	struct role *role, struct frame *frame, const void *owner, struct role_event *event)
{
	CLEANUP(base_close) int fd = frame_get_fd(frame);
	struct problems *problems = problems_new(frame);
	struct text file;

	base_close(&role->prepared_log_fd);
	role->prepared_log_fd = frame_get_fd(frame);
	event->bundle = fd < 0 ? NULL : bundle_open(owner, fd);
	file = frame_get_text(frame);
	role->parts = (unsigned)frame_get_range(frame, 0, BUNDLE_PARTS);
	if (event->bundle == NULL || frame->failed) {
		role_refuse(role, "the configuration that master sent is malformed");
		return false;
	}
	event->config = config_read(event->bundle, text_copy(frame, file), problems);
	if (event->config == NULL) {
		role_refuse(role, problems->count > 0 ? problems_format(problems, &problems->list[0])
						      : "the configuration cannot be read");
		return false;
	}
	role->prepared = bundle_generation(event->bundle);
	event->extra_fds = frame->fd_count - frame->fd_read;
	role->log_kind = role_log_kind(event->config);
	role->log_level = event->config->log.level;
	role->log_format = event->config->log.format;
	return true;
}

struct role_event role_next(struct role *role, const void *owner)
{
	for (;;) {
		struct role_event event = { .kind = ROLE_GONE, .fd = -1 };

		int r = channel_receive(owner, role->control_fd, -1, IO_FOREVER, &event.frame);
		if (r == -EMFILE) /* who sent it hears nothing and asks again */
			continue;
		if (r < 0)
			return event;

		switch (event.frame->kind) {
		case FRAME_GENERATION:
			event.kind = ROLE_PREPARE;
			role->asked = frame_get_number(event.frame);
			if (!open_generation(role, event.frame, owner, &event))
				continue;
			return event;
		case FRAME_USE:
			event.kind = ROLE_USE;
			role->generation = role->prepared;
			use_log(role);
			return event;
		case FRAME_DROP:
			event.kind = ROLE_DROP;
			base_close(&role->prepared_log_fd);
			return event;
		case FRAME_PEER:
			event.kind = ROLE_PEER;
			event.peer = frame_get_copy(event.frame, owner);
			event.fd = frame_get_fd(event.frame);
			if (event.fd >= 0)
				return event;
			continue;
		case FRAME_STATS:
			event.kind = ROLE_STATS;
			role->asked = frame_get_number(event.frame);
			return event;
		case FRAME_STOP:
			event.kind = ROLE_STOP;
			return event;
		default:
			continue;
		}
	}
}

/* Every return value counts (CVE-2011-0017): a role that keeps root is refused. */
static bool drop_privileges(const char *uid, const char *gid)
{
	uid_t user = (uid_t)strtoul(uid, NULL, 10);
	gid_t group = (gid_t)strtoul(gid, NULL, 10);

	if (strcmp(uid, "-") == 0)
		return true;
	if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0 || setresuid(user, user, user) < 0)
		return false;
	return user == 0 || setuid(0) < 0;
}

static const struct {
	const char *name;
	int (*run)(struct role *role);
} table[] = {
	{ "front", role_front },
	{ "queue", role_queue },
	{ "deliver", role_deliver },
	{ "admin", role_admin },
	{ "resolver", role_resolver },
	{ "keys", role_keys },
	{ "upkeep", role_upkeep },
};

/* Connections, questions and content files have a descriptor each: what the system allows is used, not what it begins with, which is 1,024. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Else jansson opens /dev/urandom for its first object, and takes the time instead where there is none. */
static void seed_json(void)
{
	size_t seed = 0;

	while (getrandom(&seed, sizeof seed, 0) < 0 && errno == EINTR)
		;
	json_object_seed(seed | 1); /* 0 would mean /dev/urandom */
}

int role_main(const char *name, const char *uid, const char *gid, const char *incarnation)
{
	struct role role = { .control_fd = ROLE_CONTROL_FD,
		.log_fd = -1,
		.prepared_log_fd = -1,
		.incarnation = strtoull(incarnation, NULL, 10) };

	for (size_t i = 0; i < COUNT(table); i++)
		if (strcmp(table[i].name, name) == 0)
			role.name = table[i].name;
	if (strcmp(name, "keys") == 0)
		unshare(CLONE_NEWNET); /* only root may: then it has no network at all */
	if (role.name == NULL || !drop_privileges(uid, gid)) {
		fprintf(stderr, "postern: role %s cannot be started as user %s\n", name, uid);
		return EXIT_FAILURE;
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, role.name, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	allow_descriptors();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the whole group: master decides the order of the end */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	mallopt(M_ARENA_MAX, 4);
	tzset();
	seed_json();
	if (strcmp(role.name, "keys") == 0)
		tls_wipe_memory();
	tls_start();
	log_open(STDERR_FILENO, role.name, LOG_INFO, LOG_PLAIN);
	role.drain_fd = eventfd(0, EFD_CLOEXEC);
	role.stop_fd = eventfd(0, EFD_CLOEXEC);
	for (size_t i = 0; i < COUNT(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return table[i].run(&role);
	return EXIT_FAILURE;
}
