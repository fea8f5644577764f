/* The table of commands, their options, and asking the running gateway. */
#include "cli/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "config/config.h"
#include "config/bundle.h"
#include "config/problems.h"
#include "ipc/channel.h"
#include "net/socket.h"
#include "net/tls.h"
#include "pki/identity.h"

static const struct {
	const char *name;
	int (*run)(const char *file, int argc, char **argv);
	const char *arguments, *summary;
} commands[] = {
	{ "backup", cli_backup, "DIR [--json]",
		"copy all mail and tracking into a new directory, also while the gateway runs" },
	{ "check", cli_check, "[--json]", "read the configuration and report every problem in it" },
	{ "config", cli_show_config, "show|manual [--json]",
		"print the effective configuration, or the manual of all keys" },
	{ "dns", cli_dns, "NAME [TYPE] [--json]",
		"what the DNS says, as the gateway sees it, and whether DNSSEC vouches for it" },
	{ "log", cli_log, "follow [--json]", "the end of the log file, and what is added to it" },
	{ "queue", cli_queue, "VERB ... [--json]",
		"list, show, flush, hold, release, delete, expire, reroute, suspend, resume: see queue --help" },
	{ "reload", cli_reload, "[--json]", "use the changed configuration without dropping a session" },
	{ "restore", cli_restore, "DIR [--json]",
		"put a backup into a new state directory, while no gateway runs" },
	{ "status", cli_status, "[--json]",
		"roles, listeners, log, certificates and counters of the running gateway" },
	{ "stop", cli_stop, "[--json]", "finish what is under way and end" },
	{ "track", cli_track, "[--sender A] [--recipient A] [--mid N] [--since TIME] [--json]",
		"what happened to a mail, and how both legs were protected" },
};

void cli_usage(FILE *out)
{
	fprintf(out,
		"usage: postern [-c FILE] COMMAND\n"
		"  run                                                start the gateway in the foreground\n"
		"  sink --listen ADDR --certificate PEM --key PEM --dir DIR [--json]\n"
		"                                                     a small receiving test server\n");
	for (size_t i = 0; i < COUNT(commands); i++)
		fprintf(out, "  %s %s\n%*s%s\n", commands[i].name, commands[i].arguments, 53, "",
			commands[i].summary);
	fprintf(out, "FILE is /etc/postern/postern.yaml unless given. Exit codes: 0 fine, 1 failed, 2 "
		     "usage, 75 try later.\n");
}

int cli_run(const char *file, int argc, char **argv)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(argv[0], commands[i].name) == 0)
			return commands[i].run(file, argc - 1, argv + 1);
	return -1;
}

static const struct cli_option *find(const char *argument, const struct cli_option *options, size_t count)
{
	for (size_t i = 0; strncmp(argument, "--", 2) == 0 && i < count; i++)
		if (strcmp(argument + 2, options[i].name) == 0)
			return &options[i];
	return NULL;
}

bool cli_options(const char *command, int argc, char **argv, const struct cli_option *options, size_t count)
{
	for (int i = 0; i < argc; i++) {
		const struct cli_option *option = find(argv[i], options, count);

		if (option == NULL || (option->value != NULL && i + 1 == argc)) {
			if (strcmp(argv[i], "-c") == 0)
				fprintf(stderr, "postern %s: -c FILE stands before the command\n", command);
			fprintf(stderr, "postern %s: %s %s\n", command,
				option == NULL ? "unknown argument" : "a value must follow", argv[i]);
			for (size_t c = 0; c < COUNT(commands); c++)
				if (strcmp(commands[c].name, command) == 0)
					fprintf(stderr, "usage: postern [-c FILE] %s %s\n", command,
						commands[c].arguments);
			return false;
		}
		if (option->value != NULL)
			*option->value = argv[++i];
		else
			*option->flag = true;
	}
	return true;
}

const struct config *cli_config(const char *file, const void *owner)
{
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL;
	struct bundle *bundle = config_gather(problems, file, 0, problems, &config);

	if (bundle != NULL) {
		tls_start();
		identity_check(config, bundle, problems);
		tls_check(config, bundle, problems);
	}
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "postern: %s\n", problems_format(problems, &problems->list[i]));
	if (problems->count > 0) {
		config_release(config);
		config = NULL;
	}
	talloc_free(problems);
	return config;
}

bool cli_find(const char *file, const void *owner, struct cli_gateway *ret_gateway)
{
	ret_gateway->file = file;
	if (config_places(owner, file, &ret_gateway->state_dir, &ret_gateway->runtime_dir) == 0)
		return true;
	config_release(cli_config(file, owner)); /* says what is wrong */
	return false;
}

static int dial(const struct cli_gateway *gateway)
{
	CLEANUP(base_close) int directory = open(gateway->runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return directory < 0 ? -errno : socket_dial_local(directory, "control");
}

bool cli_is_running(const struct cli_gateway *gateway)
{
	CLEANUP(base_close) int fd = dial(gateway);

	return fd != -ENOENT && fd != -ECONNREFUSED;
}

/* Whether the gateway that runs may be that of the state directory: somebody has its lock, or it cannot be looked at. */
static bool is_its_own(const struct cli_gateway *gateway)
{
	char *path = text_must(talloc_asprintf(NULL, "%s/lock", gateway->state_dir));
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const bool missing = fd < 0 && (errno == ENOENT || errno == ENOTDIR);

	talloc_free(path);
	return fd < 0 ? !missing : flock(fd, LOCK_SH | LOCK_NB) < 0;
}

int cli_ask(const struct cli_gateway *gateway, enum frame_kind kind, int64_t within_ms, const void *owner,
	struct frame **ret_answer)
{
	CLEANUP(base_close) int fd = dial(gateway);
	int r;

	if (fd == -ENOENT || fd == -ECONNREFUSED) {
		fprintf(stderr,
			"postern: no gateway is running here (runtime_dir is %s); start it with: postern -c %s run\n",
			gateway->runtime_dir, gateway->file);
		return CLI_TEMPORARY;
	}
	if (fd < 0) {
		fprintf(stderr, "postern: the gateway's control socket in %s cannot be used: %s\n",
			gateway->runtime_dir, err_text(fd));
		return CLI_FAILED;
	}
	if (kind == FRAME_CONTROL_QUEUE && !is_its_own(gateway)) {
		fprintf(stderr,
			"postern: the gateway that runs here (runtime_dir is %s) has its queue elsewhere, not in state_dir %s; use the configuration"
			" it was started with, or stop it and start it again with this one\n",
			gateway->runtime_dir, gateway->state_dir);
		return CLI_FAILED;
	}
	struct frame *ask = frame_new(NULL, kind);
	r = channel_send(fd, ask, clock_mono_ms() + within_ms);
	if (r == 0)
		r = channel_receive(owner, fd, -1, clock_mono_ms() + within_ms, ret_answer);
	talloc_free(ask);
	if (r == 0)
		return CLI_FINE;
	fprintf(stderr, "postern: the gateway did not answer: %s\n", err_text(r));
	return r == ERR_CLOSED ? CLI_FAILED : CLI_TEMPORARY;
}
