/* Starting a role: the same binary again with an empty environment; and the few words master has for it. */
#include "master/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "master/master_private.h"
#include "report/metrics.h"
#include "roles/role.h"

enum { READY_MS = 60000, TELL_MS = 5000, HEAR_MAX = 64 };

/* Test builds pass sanitizer options and a preload shim on; a real build passes nothing. */
static void fill_environment(char **environment, size_t size)
{
	size_t count = 0;

#ifdef POSTERN_SANITIZED
	static const char *const passed[] = {
		"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=", "LD_PRELOAD="
	};

	for (char **entry = environ; *entry != NULL; entry++)
		for (size_t i = 0; i < COUNT(passed); i++)
			if (strncmp(*entry, passed[i], strlen(passed[i])) == 0 && count + 1 < size)
				environment[count++] = *entry;
#endif
	(void)size;
	environment[count] = NULL;
}

/* In the new process: only standard descriptors and the control socket stay open. */
static void become(const struct master *master, const struct child *child, size_t index, int control_fd)
{
	char uid[24] = "-", gid[24] = "-", incarnation[24];
	char *environment[8];
	sigset_t none;

	if (master->changes_user) {
		snprintf(uid, sizeof uid, "%u", (unsigned)master->users[index].uid);
		snprintf(gid, sizeof gid, "%u", (unsigned)master->users[index].gid);
	}
	snprintf(incarnation, sizeof incarnation, "%llu", (unsigned long long)child->incarnation);
	fill_environment(environment, COUNT(environment));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (control_fd == ROLE_CONTROL_FD)
		fcntl(control_fd, F_SETFD, 0);
	else if (dup2(control_fd, ROLE_CONTROL_FD) < 0)
		_exit(EXIT_FAILURE);
	close_range(ROLE_CONTROL_FD + 1, ~0u, 0);
	execve(master->program,
		(char *[]){ (char *)"postern", (char *)"--role", (char *)child->name, uid, gid, incarnation,
			NULL },
		environment);
	_exit(EXIT_FAILURE);
}

static int spawn(struct master *master, struct child *child)
{
	int fds[2];
	int r = channel_pair(fds);

	if (r < 0)
		return r;
	child->incarnation = (master->start << 16) + ++master->spawned;
	child->pid = fork();
	if (child->pid < 0) {
		r = -errno;
		child->pid = 0;
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (child->pid == 0)
		become(master, child, (size_t)(child - master->children), fds[1]);
	close(fds[1]);
	child->control_fd = fds[0];
	child->started = clock_mono_ms();
	child->again_at = 0;
	child->metrics = (struct metrics){ 0 };
	child->silence = (struct silence){ 0 };
	return 0;
}

static void put_copy(struct frame *frame, int fd)
{
	frame_put_fd(frame, fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/* The descriptors that belong to a generation for this role: the state directory and its lock, listening sockets, the
 * directory of trust anchors. */
static void put_extras(const struct master *master, const struct child *child,
	const struct child_offer *offer, struct frame *frame)
{
	size_t listeners = offer->config->listener_count;

	switch (child - master->children) {
	case CHILD_QUEUE:
		put_copy(frame, master->state_fd);
		put_copy(frame, master->lock_fd);
		break;
	case CHILD_FRONT:
		for (size_t i = 0; i < listeners; i++)
			put_copy(frame, offer->bound[i].fd);
		break;
	case CHILD_RESOLVER:
		put_copy(frame, master->anchors_fd);
		break;
	case CHILD_UPKEEP:
		put_copy(frame, master->fetched_fd);
		break;
	case CHILD_ADMIN:
		put_copy(frame, offer->bound[listeners].fd);
		break;
	}
}

/* Wait for the answer to the last ask, owned by `owner`; 0 or a negative error. */
static int wait_answer(struct child *child, const void *owner, int64_t deadline, struct frame **ret_answer)
{
	int r = child->pid == 0 ? ERR_CLOSED : 0;

	while (r == 0) {
		r = channel_receive(owner, child->control_fd, -1, deadline, ret_answer);
		if (r < 0)
			break;
		silence_heard(&child->silence);
		if (frame_get_number(*ret_answer) == child->asks)
			break;
	}
	return r;
}

/* Send `ask`, which starts with the number of the ask, and wait for its answer, owned by `ask`; 0 or a negative error. */
static int ask_child(struct child *child, struct frame *ask, int64_t within_ms, struct frame **ret_answer)
{
	const int64_t deadline = clock_mono_ms() + within_ms;
	int r = child->pid == 0 ? ERR_CLOSED : channel_send(child->control_fd, ask, deadline);

	return r < 0 ? r : wait_answer(child, ask, deadline, ret_answer);
}

static struct frame *new_ask(struct child *child, enum frame_kind kind)
{
	struct frame *ask = frame_new(NULL, kind);

	frame_put_number(ask, ++child->asks);
	return ask;
}

/* child_prepare(), which `fails` names when there is no answer. */
static int hand_over(struct master *master, struct child *child, const struct child_offer *offer,
	const char *fails, const void *owner, const char **ret_why)
{
	struct frame *ask = new_ask(child, FRAME_GENERATION), *answer;
	int fd = bundle_seal(offer->bundle, child->bundle_reader);
	int r = MIN(fd, 0);

	if (r == 0) {
		frame_put_fd(ask, fd);
		put_copy(ask, offer->log_fd);
		frame_put_text(ask, text_of(offer->config->file));
		frame_put_number(ask, offer->parts);
		put_extras(master, child, offer, ask);
		r = ask_child(child, ask, READY_MS, &answer);
	}
	if (r < 0)
		*ret_why = text_must(talloc_asprintf(owner, "%s: %s", fails, err_text(r)));
	if (r == 0 && answer->kind != FRAME_READY) {
		*ret_why = frame_get_copy(answer, owner);
		r = -EINVAL;
	}
	talloc_free(ask);
	return r;
}

int child_prepare(struct master *master, struct child *child, const struct child_offer *offer,
	const void *owner, const char **ret_why)
{
	return hand_over(master, child, offer, "does not answer", owner, ret_why);
}

int child_start(struct master *master, struct child *child, const struct child_offer *offer,
	const void *owner, const char **ret_why)
{
	int r = spawn(master, child);

	if (r < 0) {
		*ret_why = text_must(talloc_asprintf(owner, "cannot be started: %s", err_text(r)));
		return r;
	}
	return hand_over(master, child, offer, "did not start", owner, ret_why);
}

void child_tell(struct child *child, int kind)
{
	struct frame *frame;

	if (child->pid == 0)
		return;
	frame = frame_new(NULL, (enum frame_kind)kind);
	channel_send(child->control_fd, frame, clock_mono_ms() + TELL_MS);
	talloc_free(frame);
}

static void send_peer(struct child *to, const char *peer, int fd)
{
	struct frame *frame = frame_new(NULL, FRAME_PEER);

	frame_put_text(frame, text_of(peer));
	frame_put_fd(frame, fd);
	channel_send(to->control_fd, frame, clock_mono_ms() + TELL_MS);
	talloc_free(frame);
}

/* Connect the two roles by a new pair of control sockets, if both run. */
static void wire(struct child *asker, struct child *server)
{
	int fds[2];

	if (asker->pid == 0 || server->pid == 0 || channel_pair(fds) < 0)
		return;
	send_peer(server, asker->name, fds[1]);
	send_peer(asker, server->name, fds[0]);
}

/* Who asks whom: the whole wiring of the house. */
static const struct {
	size_t asker, server;
} wires[] = {
	{ CHILD_FRONT, CHILD_QUEUE },
	{ CHILD_DELIVER, CHILD_QUEUE },
	{ CHILD_FRONT, CHILD_DELIVER }, /* call-ahead */
	{ CHILD_DELIVER, CHILD_RESOLVER },
	{ CHILD_FRONT, CHILD_RESOLVER },
	{ CHILD_FRONT, CHILD_KEYS },
	{ CHILD_DELIVER, CHILD_KEYS }, /* client certificates */
	{ CHILD_FRONT, CHILD_UPKEEP },
	{ CHILD_DELIVER, CHILD_UPKEEP },
	{ CHILD_UPKEEP, CHILD_RESOLVER },
};

/* Role `admin` asks master itself, for the status; `upkeep` tells it what changed. */
static void wire_master(struct child *child, int *fd)
{
	int fds[2];

	base_close(fd);
	if (child->pid == 0 || channel_pair(fds) < 0)
		return;
	*fd = fds[0];
	send_peer(child, "master", fds[1]);
}

void child_join(struct master *master, struct child *child)
{
	child_tell(child, FRAME_USE);
	log_event(LOG_INFO, "role_started", log_str("name", child->name), log_num("pid", child->pid),
		log_num("generation", (int64_t)master->generation));
	for (size_t i = 0; i < COUNT(wires); i++) {
		struct child *asker = &master->children[wires[i].asker],
			     *server = &master->children[wires[i].server];

		if (child == asker || child == server)
			wire(asker, server);
	}
	if (child == &master->children[CHILD_ADMIN])
		wire_master(child, &master->admin_fd);
	if (child == &master->children[CHILD_UPKEEP])
		wire_master(child, &master->upkeep_fd);
}

/* The answer to FRAME_STATS, after its number; the generation that the role uses. */
static int64_t take_stats(struct child *child, struct frame *answer)
{
	const int64_t generation = frame_get_range(answer, 0, INT64_MAX);

	child->metrics = (struct metrics){ 0 };
	metrics_add(answer, &child->metrics);
	return generation;
}

void child_ask(struct child *child)
{
	struct frame *ask = new_ask(child, FRAME_STATS);

	if (child->pid != 0)
		channel_send(child->control_fd, ask, clock_mono_ms());
	talloc_free(ask);
}

void child_hear(struct child *child)
{
	const int64_t now = clock_mono_ms();
	struct frame *frame;

	for (int i = 0; i < HEAR_MAX && channel_receive(NULL, child->control_fd, -1, now, &frame) == 0; i++) {
		silence_heard(&child->silence);
		if (frame_get_number(frame) == child->asks && frame->kind == FRAME_ANSWER)
			take_stats(child, frame);
		talloc_free(frame);
	}
}

int64_t child_stats(struct child *child, int64_t deadline)
{
	void *scratch = talloc_new(NULL);
	struct frame *answer;
	int64_t generation = wait_answer(child, scratch, deadline, &answer);

	if (generation == 0)
		generation = take_stats(child, answer);
	talloc_free(scratch);
	return generation;
}

void child_finish(struct child *child, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	struct frame *frame;
	int status;

	if (child->pid == 0)
		return;
	/* The control socket closes when the role has ended. */
	while (channel_receive(NULL, child->control_fd, -1, until, &frame) == 0)
		talloc_free(frame);
	if (clock_mono_ms() >= until) {
		log_event(LOG_ERROR, "role_killed", log_str("name", child->name), log_num("pid", child->pid),
			log_str("reason", "it did not end in time"));
		kill(child->pid, SIGKILL);
	}
	waitpid(child->pid, &status, 0);
	base_close(&child->control_fd);
	child->pid = 0;
}
