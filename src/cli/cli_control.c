/* `status`, `reload`, `stop`: a word with the running gateway. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"

enum { STATUS_MS = 15000, RELOAD_MS = 200000, STOP_MS = 120000 };

/* Totals always, their parts when there is something to say. */
static void print_counters(const char *prefix, json_t *counters)
{
	const char *name;
	json_t *value;

	json_object_foreach(counters, name, value)
	{
		char *path = talloc_asprintf(NULL, "%s%s%s", prefix, prefix[0] == '\0' ? "" : " ", name);

		if (json_is_object(value))
			print_counters(path, value);
		else if (prefix[0] == '\0' || json_integer_value(value) != 0)
			printf("  %s %lld\n", path, (long long)json_integer_value(value));
		talloc_free(path);
	}
}

/* Whether a list of authorities is trusted. */
static bool is_on(json_t *authorities, const char *list)
{
	return json_is_true(json_object_get(json_object_get(authorities, list), "on"));
}

static void warn_of_end(const char *what, json_t *json, const char *cure)
{
	const char *name = json_string_value(json_object_get(json, "name")),
		   *state = json_string_value(json_object_get(json, "state"));

	if (strcmp(state, "expired") == 0)
		fprintf(stderr, "postern: warning: %s `%s` has expired: %s\n", what, name, cure);
	else if (strcmp(state, "fine") != 0)
		fprintf(stderr, "postern: warning: %s `%s` expires in %lld days: %s\n", what, name,
			(long long)json_integer_value(json_object_get(json, "seconds_left")) / 86400, cure);
}

/* With a warning when its end is near or past. */
static void print_certificate(json_t *json)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	const bool expired = strcmp(json_string_value(json_object_get(json, "state")), "expired") == 0;

	printf("  %-12s %s %s%s%s\n", name, expired ? "expired" : "expires",
		json_string_value(json_object_get(json, "expires")),
		json_is_true(json_object_get(json, "delivery")) ? ", shown to servers that ask for one" : "",
		json_is_true(json_object_get(json, "demo"))
			? ", the demo certificate: no peer can know this gateway by it"
			: "");
	warn_of_end("certificate", json, "renew it");
}

/* And what it presents. */
static void print_listener(json_t *json)
{
	json_t *item;
	size_t i;

	printf("  %-12s %s\n", json_string_value(json_object_get(json, "name")),
		json_string_value(json_object_get(json, "address")));
	json_array_foreach(json_object_get(json, "certificates"), i, item)
		printf("    presents %s: %s, SHA-256 %s, until %.10s\n",
			json_string_value(json_object_get(item, "name")),
			json_string_value(json_object_get(item, "subject")),
			json_string_value(json_object_get(item, "fingerprint_sha256")),
			json_string_value(json_object_get(item, "expires")));
}

/* What an operator looks for: the page, the log, and when certificates end. */
static void print_places(json_t *json)
{
	json_t *log = json_object_get(json, "log"), *metrics = json_object_get(json, "metrics"), *item;
	const char *file = json_string_value(json_object_get(log, "file"));
	size_t i;

	if (metrics != NULL)
		printf("metrics: %s\n", json_string_value(metrics));
	printf("log: %s\n", file != NULL ? file : json_string_value(json_object_get(log, "to")));
	printf("certificates:\n");
	json_array_foreach(json_object_get(json, "certificates"), i, item) print_certificate(item);
	json_array_foreach(json_object_get(json, "refused"), i, item) fprintf(stderr,
		"postern: warning: files on the disk (%s) are refused since %s, and what was read before stays in use: %s\n",
		json_string_value(json_object_get(item, "part")),
		json_string_value(json_object_get(item, "since")),
		json_string_value(json_object_get(item, "reason")));
	item = json_object_get(json, "authorities");
	const bool system = is_on(item, "system"), custom = is_on(item, "custom");
	printf("authorities: system %s, custom %s%s\n", system ? "on" : "off", custom ? "on" : "off",
		system || custom ? "" : ": no certificate of another server can be verified");
	json_array_foreach(json_object_get(json, "custom_authorities"), i, item)
		warn_of_end("authority", item, "import its successor, and delete it");
}

static bool is_up(json_t *status, const char *name)
{
	json_t *roles = json_object_get(status, "roles");

	for (size_t i = 0; i < json_array_size(roles); i++) {
		json_t *role = json_array_get(roles, i);

		if (strcmp(json_string_value(json_object_get(role, "name")), name) == 0)
			return json_is_true(json_object_get(role, "up"));
	}
	return false;
}

/* What role `queue` says of itself; NULL when it cannot be asked now. */
static json_t *ask_queue(const struct cli_gateway *gateway, json_t *status, const void *owner)
{
	struct frame *answer;

	if (!is_up(status, "queue") ||
		cli_ask(gateway, FRAME_CONTROL_QUEUE, STATUS_MS, owner, &answer) != CLI_FINE ||
		!frame_get_bool(answer))
		return NULL;
	frame_get_text(answer);
	CLEANUP(base_close) int channel = frame_get_fd(answer);
	return cli_queue_status(channel);
}

static const char *role_word(json_t *role)
{
	if (json_is_true(json_object_get(role, "up")))
		return "up";
	return json_is_null(json_object_get(role, "pid"))
		       ? "down, will be started again"
		       : "does not answer, will be started again if it stays so";
}

static void print_status(json_t *json)
{
	json_t *item;
	size_t i;

	printf("postern %s on %s, generation %lld\n", json_string_value(json_object_get(json, "version")),
		json_string_value(json_object_get(json, "hostname")),
		(long long)json_integer_value(json_object_get(json, "generation")));
	if (json_is_false(json_object_get(json_object_get(json, "tls"), "enabled")))
		printf("TLS IS SWITCHED OFF (tls.enabled): all mail comes and goes in clear, and what demands TLS is refused or waits\n");
	printf("roles:\n");
	json_array_foreach(json_object_get(json, "roles"), i, item) printf(
		"  %-8s pid %-7lld %s, restarts %lld\n", json_string_value(json_object_get(item, "name")),
		(long long)json_integer_value(json_object_get(item, "pid")), role_word(item),
		(long long)json_integer_value(json_object_get(item, "restarts")));
	printf("listeners:\n");
	json_array_foreach(json_object_get(json, "listeners"), i, item) print_listener(item);
	print_places(json);
	cli_queue_print_status(json_object_get(json, "queue"));
	printf("counters, since each role started:\n");
	print_counters("", json_object_get(json, "counters"));
}

/* {"ok": bool, "text": "..."} and the keys of the object `more`, if there is one. */
static void print_answer(bool json, bool ok, struct text text, struct text more)
{
	if (!json) {
		fprintf(ok ? stdout : stderr, TEXT_FMT, TEXT_ARG(text));
		return;
	}
	json_t *object = json_pack("{s:b, s:s%}", "ok", ok, "text", text.at, text.len);
	json_t *keys = json_loadb(more.at, more.len, 0, NULL);
	if (keys != NULL)
		json_object_update(object, keys);
	json_decref(keys);
	cli_print_json(object);
}

/* Read --json, find the gateway, ask it; CLI_FINE and the answer, or the exit status. */
static int ask(const char *command, const char *file, int argc, char **argv, enum frame_kind kind,
	int64_t within_ms, void *scratch, bool *ret_json, struct cli_gateway *ret_gateway,
	struct frame **ret_answer)
{
	const struct cli_option options[] = { { .name = "json", .flag = ret_json } };

	*ret_json = false;
	if (!cli_options(command, argc, argv, options, COUNT(options)))
		return CLI_USAGE;
	if (!cli_find(file, scratch, ret_gateway))
		return CLI_FAILED;
	return cli_ask(ret_gateway, kind, within_ms, scratch, ret_answer);
}

int cli_status(const char *file, int argc, char **argv)
{
	void *scratch = talloc_new(NULL);
	struct cli_gateway gateway;
	struct frame *answer;
	bool json;
	int status = ask("status", file, argc, argv, FRAME_CONTROL_STATUS, STATUS_MS, scratch, &json,
		&gateway, &answer);

	if (status == CLI_FINE) {
		bool ok = frame_get_bool(answer);
		json_t *object = json_loads(frame_get_copy(answer, scratch), 0, NULL);

		json_object_set_new(object, "queue", ask_queue(&gateway, object, scratch));
		if (json)
			cli_print_json(json_incref(object));
		else
			print_status(object);
		json_decref(object);
		status = ok && frame_done(answer) == 0 ? CLI_FINE : CLI_FAILED;
	}
	talloc_free(scratch);
	return status;
}

int cli_reload(const char *file, int argc, char **argv)
{
	void *scratch = talloc_new(NULL);
	struct cli_gateway gateway;
	struct frame *answer;
	bool json;
	int status = ask("reload", file, argc, argv, FRAME_CONTROL_RELOAD, RELOAD_MS, scratch, &json,
		&gateway, &answer);

	if (status == CLI_FINE) {
		bool ok = frame_get_bool(answer);

		struct text text = frame_get_text(answer);

		print_answer(json, ok, text, frame_get_text(answer));
		status = ok ? CLI_FINE : CLI_FAILED;
	}
	talloc_free(scratch);
	return status;
}

/* The gateway holds the lock of its state directory until its last role has ended; waiting for it is waiting for the end. */
static bool wait_for_end(const struct cli_gateway *gateway)
{
	char *path = text_must(talloc_asprintf(NULL, "%s/lock", gateway->state_dir));
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int64_t until = clock_mono_ms() + STOP_MS;
	bool ended = false;

	talloc_free(path);
	while (!ended && clock_mono_ms() < until) {
		ended = fd >= 0 ? flock(fd, LOCK_SH | LOCK_NB) == 0 : !cli_is_running(gateway);
		if (!ended)
			poll(NULL, 0, 20);
	}
	return ended;
}

int cli_stop(const char *file, int argc, char **argv)
{
	void *scratch = talloc_new(NULL);
	struct cli_gateway gateway;
	struct frame *answer;
	bool json;
	int status = ask(
		"stop", file, argc, argv, FRAME_CONTROL_STOP, STATUS_MS, scratch, &json, &gateway, &answer);

	if (status == CLI_FINE) {
		bool ended = wait_for_end(&gateway);

		print_answer(json, ended, ended ? TEXT("stopped\n") : TEXT("the gateway is still stopping\n"),
			TEXT(""));
		status = ended ? CLI_FINE : CLI_TEMPORARY;
	}
	talloc_free(scratch);
	return status;
}
