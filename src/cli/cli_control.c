/* `status`, `reload`, `stop`: a word with the running gateway. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "cli/cli_private.h"
#include "config/config.h"

enum { STATUS_MS = 15000, RELOAD_MS = 200000, STOP_MS = 120000 };

static void print_counters(const char *prefix, json_t *counters)
{
	const char *name;
	json_t *value;

	json_object_foreach(counters, name, value)
	{
		if (json_is_object(value)) {
			print_counters(name, value);
			continue;
		}
		printf("  %s%s%s %lld\n", prefix, prefix[0] == '\0' ? "" : " ", name,
			(long long)json_integer_value(value));
	}
}

static void print_status(const char *text)
{
	json_t *json = json_loads(text, 0, NULL), *item;
	size_t i;

	printf("postern %s on %s, generation %lld\n", json_string_value(json_object_get(json, "version")),
		json_string_value(json_object_get(json, "hostname")),
		(long long)json_integer_value(json_object_get(json, "generation")));
	printf("roles:\n");
	json_array_foreach(json_object_get(json, "roles"), i, item) printf(
		"  %-8s pid %-7lld %s, restarts %lld\n", json_string_value(json_object_get(item, "name")),
		(long long)json_integer_value(json_object_get(item, "pid")),
		json_is_true(json_object_get(item, "up")) ? "up" : "down",
		(long long)json_integer_value(json_object_get(item, "restarts")));
	printf("listeners:\n");
	json_array_foreach(json_object_get(json, "listeners"), i, item)
		printf("  %-12s %s\n", json_string_value(json_object_get(item, "name")),
			json_string_value(json_object_get(item, "address")));
	printf("counters:\n");
	print_counters("", json_object_get(json, "counters"));
	json_decref(json);
}

/* {"ok": bool, "text": "..."} */
static void print_answer(bool json, bool ok, struct text text)
{
	if (!json) {
		fprintf(ok ? stdout : stderr, TEXT_FMT, TEXT_ARG(text));
		return;
	}
	json_t *object = json_pack("{s:b, s:s%}", "ok", ok, "text", text.at, text.len);
	char *dumped = json_dumps(object, JSON_COMPACT);

	printf("%s\n", dumped == NULL ? "{}" : dumped);
	free(dumped);
	json_decref(object);
}

/* Read --json and the configuration; CLI_FINE, or the exit status. */
static int begin(const char *command, const char *file, int argc, char **argv, void *scratch, bool *ret_json,
	const struct config **ret_config)
{
	const struct cli_option options[] = { { .name = "json", .flag = ret_json } };

	if (!cli_options(command, argc, argv, options, COUNT(options)))
		return CLI_USAGE;
	*ret_config = cli_config(file, scratch);
	return *ret_config == NULL ? CLI_FAILED : CLI_FINE;
}

int cli_status(const char *file, int argc, char **argv)
{
	void *scratch = talloc_new(NULL);
	const struct config *config = NULL;
	struct frame *answer;
	bool json = false;
	int status = begin("status", file, argc, argv, scratch, &json, &config);

	if (status == CLI_FINE)
		status = cli_ask(config, FRAME_CONTROL_STATUS, STATUS_MS, scratch, &answer);
	if (status == CLI_FINE) {
		bool ok = frame_get_bool(answer);
		const char *text = frame_get_copy(answer, scratch);

		if (json)
			printf("%s\n", text);
		else
			print_status(text);
		status = ok && frame_done(answer) == 0 ? CLI_FINE : CLI_FAILED;
	}
	config_release(config);
	talloc_free(scratch);
	return status;
}

int cli_reload(const char *file, int argc, char **argv)
{
	void *scratch = talloc_new(NULL);
	const struct config *config = NULL;
	struct frame *answer;
	bool json = false;
	int status = begin("reload", file, argc, argv, scratch, &json, &config);

	if (status == CLI_FINE)
		status = cli_ask(config, FRAME_CONTROL_RELOAD, RELOAD_MS, scratch, &answer);
	if (status == CLI_FINE) {
		bool ok = frame_get_bool(answer);

		print_answer(json, ok, frame_get_text(answer));
		status = ok ? CLI_FINE : CLI_FAILED;
	}
	config_release(config);
	talloc_free(scratch);
	return status;
}

/* The gateway holds the lock of its state directory until its last role has ended; waiting for it is waiting for the end. */
static bool wait_for_end(const struct config *config)
{
	char *path = text_must(talloc_asprintf(NULL, "%s/lock", config->state_dir));
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int64_t until = clock_mono_ms() + STOP_MS;
	bool ended = fd < 0;

	talloc_free(path);
	while (!ended && clock_mono_ms() < until) {
		ended = flock(fd, LOCK_SH | LOCK_NB) == 0;
		if (!ended)
			poll(NULL, 0, 20);
	}
	return ended;
}

int cli_stop(const char *file, int argc, char **argv)
{
	void *scratch = talloc_new(NULL);
	const struct config *config = NULL;
	struct frame *answer;
	bool json = false;
	int status = begin("stop", file, argc, argv, scratch, &json, &config);

	if (status == CLI_FINE)
		status = cli_ask(config, FRAME_CONTROL_STOP, STATUS_MS, scratch, &answer);
	if (status == CLI_FINE) {
		bool ended = wait_for_end(config);

		print_answer(
			json, ended, ended ? TEXT("stopped\n") : TEXT("the gateway is still stopping\n"));
		status = ended ? CLI_FINE : CLI_TEMPORARY;
	}
	config_release(config);
	talloc_free(scratch);
	return status;
}
