/* The command line's socket: status, reload, stop, and a channel to `queue`. One client at a time, each within a deadline. */
#include <stdlib.h>
#include <sys/socket.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "master/master_private.h"
#include "net/socket.h"
#include "report/metrics.h"

enum { CLIENT_MS = 2000 };

/* "tls_in.TLSv1.3" becomes {"tls_in": {"TLSv1.3": n}}. */
static json_t *counters_json(const struct metrics *sum)
{
	json_t *json = json_object();

	for (int i = 0; i < METRIC_COUNT; i++) {
		struct text name = text_of(metrics_name((enum metric)i));
		size_t dot = text_find(name, '.');
		json_t *value = json_integer(atomic_load(&sum->values[i]));

		if (dot == name.len) {
			json_object_set_new(json, name.at, value);
			continue;
		}
		char *group = text_copy(NULL, text_first(name, dot));
		if (json_object_get(json, group) == NULL)
			json_object_set_new(json, group, json_object());
		json_object_set_new(json_object_get(json, group), name.at + dot + 1, value);
		talloc_free(group);
	}
	return json;
}

static json_t *role_json(const char *name, pid_t pid, bool up, int64_t generation, uint64_t restarts)
{
	return json_pack("{s:s, s:o, s:b, s:o, s:I}", "name", name, "pid",
		pid == 0 ? json_null() : json_integer(pid), "up", up, "generation",
		up ? json_integer(generation) : json_null(), "restarts", (json_int_t)restarts);
}

static json_t *roles_json(struct master *master, struct metrics *sum)
{
	json_t *roles = json_array();

	json_array_append_new(roles, role_json("master", getpid(), true, (int64_t)master->generation, 0));
	for (size_t i = 0; i < CHILD_COUNT; i++) {
		struct child *child = &master->children[i];
		int64_t generation = child_stats(child, sum);

		json_array_append_new(roles,
			role_json(child->name, child->pid, generation >= 0, generation, child->restarts));
	}
	return roles;
}

static json_t *listeners_json(const struct master *master)
{
	json_t *listeners = json_array();

	for (size_t i = 0; i < master->bound_count; i++) {
		struct ip address = socket_address(master->bound[i].fd);
		char text[IP_TEXT_MAX];

		json_array_append_new(listeners, json_pack("{s:s, s:s}", "name", master->bound[i].name,
							 "address", ip_format_port(&address, text)));
	}
	return listeners;
}

static void put_status(struct master *master, struct frame *answer)
{
	struct metrics sum = { 0 };
	json_t *roles = roles_json(master, &sum);
	json_t *json = json_pack("{s:s, s:s, s:I, s:o, s:o, s:o}", "version", POSTERN_VERSION, "hostname",
		master->config->hostname, "generation", (json_int_t)master->generation, "roles", roles,
		"listeners", listeners_json(master), "counters", counters_json(&sum));
	char *text = text_must(json_dumps(json, JSON_COMPACT));

	frame_put_bool(answer, true);
	frame_put_text(answer, text_of(text));
	free(text);
	json_decref(json);
}

/* One end of a new channel goes to `queue`, the other to the client. */
static void put_queue(struct master *master, struct frame *answer)
{
	struct child *queue = &master->children[CHILD_QUEUE];
	int fds[2];
	bool there = queue->pid != 0 && channel_pair(fds) == 0;

	frame_put_bool(answer, there);
	frame_put_text(answer, there ? TEXT("") : TEXT("role queue is being restarted; try again"));
	if (!there)
		return;

	struct frame *peer = frame_new(answer, FRAME_PEER);
	frame_put_text(peer, TEXT("cli"));
	frame_put_fd(peer, fds[1]);
	channel_send(queue->control_fd, peer, clock_mono_ms() + CLIENT_MS);
	frame_put_fd(answer, fds[0]);
}

static void put_reload(struct master *master, struct frame *answer)
{
	char *text;

	frame_put_bool(answer, master_reload(master, answer, &text));
	frame_put_text(answer, text_of(text));
}

/* Root and the user who started the gateway may command it; the socket's mode keeps others out already. */
static bool may_command(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid());
}

void master_serve_control(struct master *master)
{
	CLEANUP(base_close) int fd = accept4(master->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct frame *ask;

	if (fd < 0 || !may_command(fd) ||
		channel_receive(NULL, fd, -1, clock_mono_ms() + CLIENT_MS, &ask) < 0)
		return;

	struct frame *answer = frame_new(ask, FRAME_ANSWER);
	switch (ask->kind) {
	case FRAME_CONTROL_STATUS:
		put_status(master, answer);
		break;
	case FRAME_CONTROL_RELOAD:
		put_reload(master, answer);
		break;
	case FRAME_CONTROL_STOP:
		master->stopping = true;
		frame_put_bool(answer, true);
		frame_put_text(answer, TEXT("stopping\n"));
		break;
	case FRAME_CONTROL_QUEUE:
		put_queue(master, answer);
		break;
	default:
		frame_put_bool(answer, false);
		frame_put_text(answer,
			TEXT("this gateway does not know that command; use the same version of postern"));
	}
	channel_send(fd, answer, clock_mono_ms() + CLIENT_MS);
	talloc_free(ask);
}
