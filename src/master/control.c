/* The command line's socket: status, reload, stop, lists into use, and a channel to `queue`, `resolver`, `upkeep` or `deliver`. One client at a time, each within a deadline. */
#include <stdlib.h>
#include <sys/socket.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/trust_files.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "master/master_private.h"
#include "net/socket.h"
#include "report/metrics.h"

enum { CLIENT_MS = 2000, STATS_MS = 2000 };

/* A number of an object, made or added to. "tls_in.TLSv1.3" becomes {"tls_in": {"TLSv1.3": n}}. */
static void add_number(json_t *json, const char *name, int64_t value)
{
	size_t dot = text_find(text_of(name), '.');
	json_t *object = json;

	if (name[dot] == '.') {
		char *group = text_copy(NULL, text_first(text_of(name), dot));

		object = json_object_get(json, group);
		if (object == NULL) {
			object = json_object();
			json_object_set_new(json, group, object);
		}
		talloc_free(group);
		name += dot + 1;
	}
	json_object_set_new(
		object, name, json_integer(json_integer_value(json_object_get(object, name)) + value));
}

/* "connections", and the same by listener and TLS. */
static void add_sessions(json_t *json, const struct metrics *sum)
{
	json_t *listeners = json_object();

	add_number(json, "connections", 0);
	for (unsigned i = 0; i < sum->listener_count; i++) {
		json_t *by_tls = json_object();

		for (int tls = 0; tls < METRICS_TLS_COUNT; tls++) {
			int64_t value = atomic_load(&sum->listeners[i].sessions[tls]);

			add_number(by_tls, metrics_tls_name((enum metrics_tls)tls), value);
			add_number(json, "connections", value);
		}
		json_object_set_new(listeners, sum->listeners[i].name, by_tls);
	}
	json_object_set_new(json, "connections_by", listeners);
}

static json_t *counters_json(const struct metrics *sum)
{
	json_t *json = json_object();

	add_sessions(json, sum);
	for (int i = 0; i < METRIC_COUNT; i++) {
		const struct metrics_row *row = metrics_row((enum metric)i);
		int64_t value = atomic_load(&sum->values[i]);

		if (row->sum != NULL)
			add_number(json, row->sum, value);
		add_number(json, row->name, value);
	}
	return json;
}

static json_t *role_json(const char *name, pid_t pid, bool up, int64_t generation, uint64_t restarts)
{
	return json_pack("{s:s, s:o, s:b, s:o, s:I}", "name", name, "pid",
		pid == 0 ? json_null() : json_integer(pid), "up", up, "generation",
		up ? json_integer(generation) : json_null(), "restarts", (json_int_t)restarts);
}

/* All are asked at once: those that do not answer cost their time together. Their counters are those of the last answer then: if they vanished for a
 * moment, it would look like a restart. */
static json_t *roles_json(struct master *master, struct metrics *sum)
{
	const int64_t deadline = clock_mono_ms() + STATS_MS;
	json_t *roles = json_array();

	for (size_t i = 0; i < CHILD_COUNT; i++)
		child_ask(&master->children[i]);
	json_array_append_new(roles, role_json("master", getpid(), true, (int64_t)master->generation, 0));
	for (size_t i = 0; i < CHILD_COUNT; i++) {
		struct child *child = &master->children[i];

		if (!master_wants(master->config, i))
			continue;
		const int64_t generation = child_stats(child, deadline);
		if (child->pid != 0)
			metrics_join(&child->metrics, sum);
		json_array_append_new(roles,
			role_json(child->name, child->pid, generation >= 0, generation, child->restarts));
	}
	return roles;
}

static json_t *address_json(const struct bound *bound)
{
	struct ip address = socket_address(bound->fd);
	char text[IP_TEXT_MAX];

	return json_string(ip_format_port(&address, text));
}

static json_t *listeners_json(const struct master *master)
{
	json_t *listeners = json_array();

	for (size_t i = 0; i < master->config->listener_count; i++)
		json_array_append_new(
			listeners, json_pack("{s:s, s:o, s:o}", "name", master->bound[i].name, "address",
					   address_json(&master->bound[i]), "certificates",
					   master_presented_json(master, &master->config->listeners[i])));
	return listeners;
}

/* Whether each list of authorities is trusted. */
static json_t *authorities_json(const struct master *master)
{
	json_t *json = json_object();

	for (int list = 0; list < TRUST_LIST_COUNT; list++)
		json_object_set_new(json, trust_files_word((enum trust_list)list),
			json_pack("{s:b}", "on",
				(int)trust_files_is_on(
					master->config, master->bundle, (enum trust_list)list)));
	return json;
}

/* Where to look for events: `postern log follow` asks. */
static json_t *log_json(const struct config *config)
{
	static const char *const names[] = { [CONFIG_LOG_STDERR] = "stderr",
		[CONFIG_LOG_FILE] = "file",
		[CONFIG_LOG_SYSLOG] = "syslog",
		[CONFIG_LOG_JOURNAL] = "journal" };
	char *path = config->log.to == CONFIG_LOG_FILE ? realpath(config->log.file, NULL) : NULL;
	json_t *json = json_pack(
		"{s:s, s:s?}", "to", names[config->log.to], "file", path != NULL ? path : config->log.file);

	free(path);
	return json;
}

static void put_status(struct master *master, struct frame *answer)
{
	struct metrics sum = { 0 };

	for (size_t i = 0; i < master->config->listener_count; i++)
		metrics_listener(&sum, master->config->listeners[i].name); /* there from the start, as zero */
	json_t *roles = roles_json(master, &sum);
	json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "version",
		POSTERN_VERSION, "hostname", master->config->hostname, "generation",
		(json_int_t)master->generation, "reloads_refused", (json_int_t)master->reloads_refused,
		"roles", roles, "listeners", listeners_json(master), "certificates",
		master_certificates_json(master), "authorities", authorities_json(master), "log",
		log_json(master->config), "counters", counters_json(&sum));
	json_object_set_new(json, "tls", json_pack("{s:b}", "enabled", (int)master->config->tls.enabled));
	json_object_set_new(json, "refused", master_refusals_json(master));
	json_object_set_new(json, "refreshes_refused", json_integer((json_int_t)master->refreshes_refused));
	json_object_set_new(json, "custom_authorities", master_custom_authorities_json(master));
	if (master_wants(master->config, CHILD_ADMIN))
		json_object_set_new(
			json, "metrics", address_json(&master->bound[master->config->listener_count]));
	char *text = text_must(json_dumps(json, JSON_COMPACT));

	frame_put_bool(answer, true);
	frame_put_text(answer, text_of(text));
	free(text);
	json_decref(json);
}

/* One end of a new channel goes to the role, with the word who asks, the other to the client. */
static void put_channel(const struct child *role, uid_t uid, struct frame *answer)
{
	int fds[2];
	bool there = role->pid != 0 && channel_pair(fds) == 0;
	char *why = there ? text_copy(answer, TEXT(""))
			  : text_must(talloc_asprintf(
				    answer, "role %s is being restarted; try again", role->name));

	frame_put_bool(answer, there);
	frame_put_text(answer, text_of(why));
	if (!there)
		return;

	struct frame *peer = frame_new(answer, FRAME_PEER);
	frame_put_text(peer, TEXT("cli"));
	frame_put_fd(peer, fds[1]);
	frame_put_number(peer, uid);
	channel_send(role->control_fd, peer, clock_mono_ms() + CLIENT_MS);
	frame_put_fd(answer, fds[0]);
}

static void put_reload(struct master *master, struct frame *answer)
{
	const struct problems *problems;
	char *text;

	frame_put_bool(answer, master_reload(master, answer, &text, &problems));
	frame_put_text(answer, text_of(text));
	frame_put_text(answer, text_of(problems_json(answer, problems)));
}

/* True when what was fetched is in use; else why not. */
static void put_lists(struct master *master, struct frame *answer)
{
	char *why;

	frame_put_bool(answer, master_refresh_now(master, BUNDLE_REVOCATION, answer, &why));
	frame_put_text(answer, text_of(why));
}

static void put_trust(struct master *master, struct frame *answer)
{
	char *why;
	const bool fine = master_refresh_now(master, BUNDLE_AUTHORITIES, answer, &why);

	frame_put_bool(answer, fine);
	frame_put_text(
		answer, text_of(fine ? text_must(talloc_asprintf(answer, "in force, with generation %llu\n",
					       (unsigned long long)master->generation))
				     : text_must(talloc_asprintf(answer, "%s\n", why))));
}

/* The kernel says who it was; what was done they say. */
static void take_change(struct frame *ask, uid_t uid, struct frame *answer)
{
	const char *what = frame_get_copy(ask, ask), *name = frame_get_optional(ask),
		   *before = frame_get_optional(ask), *after = frame_get_optional(ask),
		   *user = frame_get_optional(ask);
	const bool ok = frame_done(ask) == 0;

	if (ok)
		log_event(LOG_INFO, "pki_changed", log_str("what", what), log_str("name", name),
			log_str("before", before), log_str("after", after), log_num("uid", uid),
			log_str("user", user));
	frame_put_bool(answer, ok);
	frame_put_text(answer, TEXT(""));
}

/* Root and the user who started the gateway may command it; the socket's mode keeps others out already. */
static bool may_command(int fd, struct ucred *ret_peer)
{
	socklen_t len = sizeof *ret_peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &len) == 0 &&
	       (ret_peer->uid == 0 || ret_peer->uid == geteuid() || ret_peer->gid == getegid());
}

void master_serve_control(struct master *master)
{
	CLEANUP(base_close) int fd = accept4(master->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	struct frame *ask;

	if (fd < 0 || !may_command(fd, &peer) ||
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
	case FRAME_CONTROL_TRUST:
		put_trust(master, answer);
		break;
	case FRAME_CONTROL_CHANGED:
		take_change(ask, peer.uid, answer);
		break;
	case FRAME_CONTROL_STOP:
		master->stopping = true;
		frame_put_bool(answer, true);
		frame_put_text(answer, TEXT("stopping\n"));
		break;
	case FRAME_CONTROL_QUEUE:
		put_channel(&master->children[CHILD_QUEUE], peer.uid, answer);
		break;
	case FRAME_CONTROL_RESOLVER:
		put_channel(&master->children[CHILD_RESOLVER], peer.uid, answer);
		break;
	case FRAME_CONTROL_UPKEEP:
		put_channel(&master->children[CHILD_UPKEEP], peer.uid, answer);
		break;
	case FRAME_CONTROL_DELIVER:
		put_channel(&master->children[CHILD_DELIVER], peer.uid, answer);
		break;
	case FRAME_CONTROL_LISTS:
		put_lists(master, answer);
		break;
	default:
		frame_put_bool(answer, false);
		frame_put_text(answer,
			TEXT("this gateway does not know that command; use the same version of postern"));
	}
	channel_send(fd, answer, clock_mono_ms() + CLIENT_MS);
	talloc_free(ask);
}

/* `admin` talks to browsers and monitors, so it hears the status and nothing else. */
void master_serve_admin(struct master *master)
{
	struct frame *ask;

	if (channel_receive(NULL, master->admin_fd, -1, clock_mono_ms() + CLIENT_MS, &ask) < 0) {
		base_close(&master->admin_fd); /* it died */
		return;
	}

	struct frame *answer = frame_new(ask, FRAME_ANSWER);
	frame_put_number(answer, frame_get_number(ask));
	if (ask->kind == FRAME_CONTROL_STATUS && frame_done(ask) == 0) {
		put_status(master, answer);
		channel_send(master->admin_fd, answer, clock_mono_ms() + CLIENT_MS);
	} else {
		log_event(LOG_WARN, "ask_refused", log_num("kind", ask->kind), log_str("peer", "admin"));
		base_close(&master->admin_fd);
	}
	talloc_free(ask);
}
