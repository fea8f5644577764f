/*
 * Start everything, wire it, watch it, end it in order. One thread, one poll: signals, the control socket, and the moment when a role that
 * died may start again.
 */
#include "master/master.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "ipc/frame.h"
#include "master/master_private.h"
#include "net/socket.h"
#include "net/tls.h"
#include "pki/demo.h"
#include "pki/identity.h"
#include "roles/role.h"

enum { BACK_OFF_FIRST_MS = 100, BACK_OFF_LONGEST_MS = 30000, STABLE_MS = 60000, GRACE_MS = 5000 };

static void print_problems(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "postern: %s\n", problems_format(problems, &problems->list[i]));
}

/* Read and check everything before anything is changed; and once more when there is a state directory for a demo certificate. */
static int read_configuration(struct master *master)
{
	struct problems *problems = problems_new(master);

	config_release(master->config);
	talloc_free(master->bundle);
	master->config = NULL;
	master->bundle = master_gather(master, master, 1, problems, &master->config);
	if (master->bundle != NULL) {
		identity_check(master->config, master->bundle, problems);
		tls_check(master->config, master->bundle, problems);
	}
	print_problems(problems);
	if (problems->count > 0)
		return -EINVAL;
	int r = bundle_put_keys_away(master->bundle);
	if (r < 0)
		fprintf(stderr, "postern: %s: the private keys cannot be kept in memory: %s\n", master->file,
			err_text(r));
	return r;
}

static int bind_sockets(struct master *master)
{
	struct problems *problems = problems_new(master);
	struct bound *bound;
	size_t count;
	int r = master_bind(master, master->config, problems, &bound, &count);

	print_problems(problems);
	if (r == 0)
		master_keep_sockets(master, bound, count);
	return r;
}

static int bind_control(struct master *master)
{
	master->control_fd = socket_listen_local(master->runtime_fd, "control");
	if (master->control_fd >= 0)
		return 0;
	fprintf(stderr, "postern: %s: runtime_dir: the control socket in %s cannot be made: %s\n",
		master->file, master->config->runtime_dir, err_text(master->control_fd));
	return master->control_fd;
}

static void take_signals(struct master *master)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	master->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool master_wants(const struct config *config, size_t index)
{
	return index != CHILD_ADMIN || config->metrics.address.family != 0;
}

struct child_offer master_offer(const struct master *master)
{
	return (struct child_offer){ .bundle = master->bundle,
		.config = master->config,
		.bound = master->bound,
		.log_fd = master->log_fd };
}

static int open_log(struct master *master)
{
	struct problems *problems = problems_new(master);
	int fd = master_open_log(master->config, problems);

	print_problems(problems);
	if (fd >= 0)
		master_use_log(master, fd);
	return MIN(fd, 0);
}

/* In the order of dependence: queue first, so that front has somebody to hand mail to. */
static int start_children(struct master *master)
{
	const struct child_offer offer = master_offer(master);

	for (size_t i = 0; i < CHILD_COUNT; i++) {
		const char *why;

		if (!master_wants(master->config, i))
			continue;
		if (child_start(master, &master->children[i], &offer, master, &why) < 0) {
			fprintf(stderr, "postern: %s: role %s: %s\n", master->file, master->children[i].name,
				why);
			return -EIO;
		}
		child_join(master, &master->children[i]);
	}
	return 0;
}

static void child_died(struct child *child, int status)
{
	int64_t now = clock_mono_ms();

	child->failures = now - child->started > STABLE_MS ? 0 : child->failures + 1;
	child->again_at = now + MIN(BACK_OFF_FIRST_MS << MIN(child->failures, 10u), BACK_OFF_LONGEST_MS);
	log_event(LOG_ERROR, "role_died", log_str("name", child->name), log_num("pid", child->pid),
		log_num("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
		log_num("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
		log_num("again_in_ms", child->again_at - now));
	base_close(&child->control_fd);
	child->pid = 0;
}

static void reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < CHILD_COUNT; i++)
			if (master->children[i].pid == pid)
				child_died(&master->children[i], status);
}

/* Start again what has waited long enough; the time until the next one, or -1. */
static int restart_due(struct master *master)
{
	int64_t next = -1;

	for (size_t i = 0; i < CHILD_COUNT; i++) {
		struct child *child = &master->children[i];
		const char *why;

		if (child->again_at == 0)
			continue;
		int64_t left = child->again_at - clock_mono_ms();
		if (left > 0) {
			next = next < 0 ? left : MIN(next, left);
			continue;
		}
		child->again_at = 0;
		child->restarts++;
		void *scratch = talloc_new(NULL);
		const struct child_offer offer = master_offer(master);
		if (child_start(master, child, &offer, scratch, &why) == 0) {
			child_join(master, child);
		} else {
			log_event(LOG_ERROR, "role_not_started", log_str("name", child->name),
				log_str("reason", why));
			if (child->pid != 0)
				kill(child->pid, SIGKILL); /* reaped like any other death */
		}
		talloc_free(scratch);
	}
	return (int)next;
}

static void handle_signals(struct master *master)
{
	struct signalfd_siginfo info;

	while (read(master->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		void *scratch = talloc_new(NULL);
		const struct problems *problems;
		char *text;

		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(master);
			break;
		case SIGHUP:
			master_reload(master, scratch, &text, &problems);
			break;
		default:
			master->stopping = true;
		}
		talloc_free(scratch);
	}
}

static void watch(struct master *master)
{
	struct pollfd polled[5] = { { .fd = master->signal_fd, .events = POLLIN },
		{ .fd = master->control_fd, .events = POLLIN }, { .events = POLLIN }, { .events = POLLIN },
		{ .events = POLLIN } };

	while (!master->stopping) {
		int timeout = restart_due(master);
		const int watched = master_watch_due(master), refresh = master_refresh_due(master),
			  look = MIN(master_tell_expiry(master), master_end_silent(master));

		timeout = timeout < 0 ? look : MIN(timeout, look);
		timeout = refresh < 0 ? timeout : MIN(timeout, refresh);
		timeout = watched < 0 ? timeout : MIN(timeout, watched);
		polled[2].fd = master->admin_fd;
		polled[3].fd = master->upkeep_fd;
		polled[4].fd = master_watch_fd(master);
		poll(polled, COUNT(polled), timeout);
		if (polled[1].revents != 0)
			master_serve_control(master);
		/* a reload may have changed or closed it */
		if (polled[2].revents != 0 && polled[2].fd == master->admin_fd)
			master_serve_admin(master);
		if (polled[3].revents != 0 && polled[3].fd == master->upkeep_fd)
			master_serve_upkeep(master);
		if (polled[4].revents != 0 && polled[4].fd == master_watch_fd(master))
			master_serve_watch(master);
		handle_signals(master);
	}
}

/* The reverse of the mail's way: no new mail, then no delivery, then the store; the page first, because nobody answers it any more. */
static void stop_children(struct master *master)
{
	static const size_t order[] = { CHILD_ADMIN, CHILD_FRONT, CHILD_DELIVER, CHILD_UPKEEP, CHILD_KEYS,
		CHILD_RESOLVER, CHILD_QUEUE };

	_Static_assert(COUNT(order) == CHILD_COUNT, "every role ends");
	for (size_t i = 0; i < COUNT(order); i++) {
		child_tell(&master->children[order[i]], FRAME_STOP);
		child_finish(&master->children[order[i]], ROLE_DRAIN_MS + GRACE_MS);
	}
}

int master_run(const char *file)
{
	struct master *master = text_must(talloc_zero(NULL, struct master));
	int r;

	*master = (struct master){ .file = file,
		.generation = 1,
		.state_fd = -1,
		.runtime_fd = -1,
		.lock_fd = -1,
		.control_fd = -1,
		.signal_fd = -1,
		.anchors_fd = -1,
		.fetched_fd = -1,
		.admin_fd = -1,
		.upkeep_fd = -1,
		.log_fd = -1 };
	master->children[CHILD_QUEUE] =
		(struct child){ .name = "queue", .bundle_reader = BUNDLE_QUEUE, .control_fd = -1 };
	master->children[CHILD_RESOLVER] =
		(struct child){ .name = "resolver", .bundle_reader = BUNDLE_RESOLVER, .control_fd = -1 };
	master->children[CHILD_KEYS] =
		(struct child){ .name = "keys", .bundle_reader = BUNDLE_KEYS, .control_fd = -1 };
	master->children[CHILD_FRONT] =
		(struct child){ .name = "front", .bundle_reader = BUNDLE_FRONT, .control_fd = -1 };
	master->children[CHILD_DELIVER] =
		(struct child){ .name = "deliver", .bundle_reader = BUNDLE_DELIVER, .control_fd = -1 };
	master->children[CHILD_UPKEEP] =
		(struct child){ .name = "upkeep", .bundle_reader = BUNDLE_UPKEEP, .control_fd = -1 };
	master->children[CHILD_ADMIN] =
		(struct child){ .name = "admin", .bundle_reader = MASTER_READS_ALL_ONLY, .control_fd = -1 };
	master->program = text_must(talloc_strdup(master, "/proc/self/exe"));
	tls_wipe_memory();
	tls_start();
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* private keys pass through here */
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });

	r = read_configuration(master);
	if (r == 0)
		r = master_prepare_users(master);
	if (r == 0)
		r = bind_sockets(master);
	if (r == 0)
		r = master_prepare_directories(master);
	if (r == 0 && demo_is_wanted(master->config, master->bundle))
		r = read_configuration(master);
	if (r == 0)
		r = bind_control(master);
	if (r == 0)
		r = open_log(master);
	if (r == 0) {
		take_signals(master);
		r = start_children(master);
	}
	if (r == 0) {
		log_event(LOG_INFO, "started", log_str("version", POSTERN_VERSION), log_num("pid", getpid()),
			log_num("start", (int64_t)master->start));
		master_tell_demo(master);
		master_warn_of_trust(master);
		master_tell_tls_off(master);
		watch(master);
		log_event(LOG_INFO, "stopping", log_num("pid", getpid()));
	}
	stop_children(master);
	if (master->control_fd >= 0)
		unlinkat(master->runtime_fd, "control", 0);
	if (r == 0)
		log_event(LOG_INFO, "stopped", log_num("pid", getpid()));
	config_release(master->config);
	talloc_free(master);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
