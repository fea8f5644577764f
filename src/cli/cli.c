/* The table of commands, their options, and asking the running gateway. */
#include "cli/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

#define JSON_OPTION "  --json         one JSON object, or one a line\n"

static const struct command {
	const char *name;
	int (*run)(const char *file, int argc, char **argv); /* NULL: main.c knows it */
	const char *arguments, *summary;
	const char *options; /* for --help: what the arguments mean; NULL: it has verbs, and helps itself */
} commands[] = {
	{ "backup", cli_backup, "DIR [--json]",
		"copy all mail and tracking into a new directory, also while the gateway runs",
		"  DIR            missing or empty\n" JSON_OPTION },
	{ "ca", cli_ca, "VERB ... [--json]",
		"list, show, import, export, enable, disable, delete authorities that are trusted: see ca --help",
		NULL },
	{ "cert", cli_cert, "VERB ... [--json]",
		"list, show, create, csr, upload, import, export, activate, delete, tlsa: see cert --help",
		NULL },
	{ "check", cli_check, "[--json]", "read the configuration and report every problem in it",
		JSON_OPTION },
	{ "config", cli_show_config, "show|manual [--json]",
		"print the effective configuration, or the manual of all keys", JSON_OPTION },
	{ "crl", cli_crl, "VERB ... [--json]",
		"list, show, update lists of revoked certificates: see crl --help", NULL },
	{ "dane", cli_dane, "verify DOMAIN [--host HOST[:PORT]] [--json]",
		"whether DANE vouches for the servers of a domain: see dane --help", NULL },
	{ "dns", cli_dns, "NAME [TYPE] [--json]",
		"what the DNS says, as the running gateway sees it, and whether DNSSEC vouches for it",
		"  NAME           a name, or an address, which is asked for its names\n"
		"  TYPE           A (unless said), AAAA, CNAME, MX, PTR, TLSA or TXT\n" JSON_OPTION },
	{ "explain", cli_explain, "DOMAIN [--live] [--json]",
		"where mail to a domain would go, what is demanded of TLS there, and why",
		"  DOMAIN         of the recipients\n"
		"  --live         dial each server, too, and judge its TLS as a delivery would; no mail is sent\n" JSON_OPTION
		"exit 0: mail would be sent as it is demanded; 1: it would not; 75: not known now\n" },
	{ "log", cli_log, "follow [--json]", "the end of the log file, and what is added to it",
		"  --json         the lines as JSON\n" },
	{ "policy", cli_policy, "dry-run --destinations FILE [--since TIME] [--json]",
		"what other entries of `destinations` would have made of past mail: see policy --help",
		NULL },
	{ "queue", cli_queue, "VERB ... [--json]",
		"list, show, destinations, flush, hold, release, delete, expire, reroute, suspend, resume: see queue --help",
		NULL },
	{ "reload", cli_reload, "[--json]", "use the changed configuration without dropping a session",
		JSON_OPTION },
	{ "report", cli_report, "tls [--since TIME] [--json]",
		"how much mail went under TLS, both ways, and what failed: see report --help", NULL },
	{ "restore", cli_restore, "DIR [--json]",
		"put a backup into a new state directory, while no gateway runs",
		"  DIR            what `postern backup` made\n" JSON_OPTION },
	{ "run", NULL, "", "start the gateway in the foreground", "" },
	{ "sink", NULL, "--listen ADDR --certificate PEM --key PEM --dir DIR [--json]",
		"a small receiving test server",
		"  --listen       address and port, on loopback\n"
		"  --certificate  its chain, --key the private key\n"
		"  --dir          where each mail becomes a file\n" JSON_OPTION },
	{ "status", cli_status, "[--json]",
		"roles, listeners, log, certificates, queue and counters of the running gateway",
		JSON_OPTION },
	{ "stop", cli_stop, "[--json]", "finish what is under way and end", JSON_OPTION },
	{ "tls", cli_tls, "VERB ... [--json]",
		"verify the servers of a domain; the temporary list: see tls --help", NULL },
	{ "track", cli_track, "[FILTER]... [--json]",
		"what happened to a mail, and how both legs were protected",
		"A FILTER is one of these; each is taken once, and with several all must match:\n"
		"  --sender A       its sender; '' is the null sender\n"
		"  --recipient A    one of its recipients\n"
		"  --domain D       the domain of one of its recipients\n"
		"  --destination D  a server that it was tried at: a name, an address with port, or a next hop\n"
		"  --state S        of a recipient: queued, deferred, delivered, bounced, deleted, corrupt or refused\n"
		"  --mid N          the number in the reply \"250 2.0.0 accepted as N\"\n"
		"  --since TIME     received then or later: 2026-11-21, 2026-11-21T10:20:30Z, 2026-11-21T12:20+02:00\n"
		"                   (UTC without an offset), or an age such as 90s, 2h30m, 7d\n"
		"  --until TIME     received before\n"
		"  --limit N        stop after N records, the oldest first\n" JSON_OPTION },
};

static const struct command *command_of(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return true;
	return false;
}

static void print_usage(FILE *out, const struct command *command)
{
	fprintf(out, "usage: postern [-c FILE] %s%s%s\n", command->name,
		command->arguments[0] == '\0' ? "" : " ", command->arguments);
}

void cli_usage(FILE *out)
{
	fprintf(out, "usage: postern [-c FILE] COMMAND\n");
	for (size_t i = 0; i < COUNT(commands); i++)
		fprintf(out, "  %s %s\n%*s%s\n", commands[i].name, commands[i].arguments, 53, "",
			commands[i].summary);
	fprintf(out,
		"FILE is /etc/postern/postern.yaml unless given. COMMAND --help says more. Exit codes: 0 fine, "
		"1 no or failed, 2 usage, 75 try later.\n");
}

int cli_help(int argc, char **argv)
{
	const struct command *command = command_of(argv[0]);

	if (command == NULL || command->options == NULL || !asks_for_help(argc, argv))
		return -1;
	print_usage(stdout, command);
	printf("%s\n%s", command->summary, command->options);
	return CLI_FINE;
}

int cli_surplus(const char *command, const char *argument)
{
	fprintf(stderr, "postern %s: unknown argument %s\n", command, argument);
	print_usage(stderr, command_of(command));
	return CLI_USAGE;
}

int cli_run(const char *file, int argc, char **argv)
{
	const struct command *command = command_of(argv[0]);

	return command == NULL || command->run == NULL ? -1 : command->run(file, argc - 1, argv + 1);
}

/* What follows `--name=`; NULL when it is not that. */
static const char *after_equals(const char *argument, const char *name)
{
	const size_t len = strlen(name);

	return strncmp(argument + 2, name, len) == 0 && argument[2 + len] == '=' ? argument + 3 + len : NULL;
}

static bool is_option(const char *argument, const struct cli_option *option)
{
	if (strncmp(argument, "--", 2) != 0 || option->name == NULL)
		return strncmp(argument, "--", 2) != 0 && option->name == NULL;
	return strcmp(argument + 2, option->name) == 0 ||
	       (option->flag != NULL && option->value != NULL &&
		       after_equals(argument, option->name) != NULL);
}

/* Which option an argument is; `count` when it is none. */
static size_t find(const char *argument, const struct cli_option *options, size_t count)
{
	size_t i = 0;

	while (i < count && !is_option(argument, &options[i]))
		i++;
	return i;
}

static bool wrong(const char *command, const char *what, const char *argument)
{
	if (strcmp(argument, "-c") == 0)
		fprintf(stderr, "postern %s: -c FILE stands before the command\n", command);
	fprintf(stderr, "postern %s: %s %s\n", command, what, argument);
	if (command_of(command) != NULL)
		print_usage(stderr, command_of(command));
	return false;
}

bool cli_options(const char *command, int argc, char **argv, const struct cli_option *options, size_t count)
{
	uint64_t seen = 0;

	for (int i = 0; i < argc; i++) {
		const size_t at = find(argv[i], options, count);

		if (at == count)
			return wrong(command, "unknown argument", argv[i]);
		if (seen & UINT64_C(1) << at)
			return wrong(command,
				options[at].name == NULL ? "only one can be named, not also"
							 : "an option is taken once, not twice:",
				argv[i]);
		seen |= UINT64_C(1) << at;
		if (options[at].name == NULL) {
			*options[at].value = argv[i];
		} else if (options[at].flag != NULL) {
			*options[at].flag = true;
			if (options[at].value != NULL)
				*options[at].value = after_equals(argv[i], options[at].name);
		} else {
			if (++i == argc)
				return wrong(command, "a value must follow", argv[i - 1]);
			*options[at].value = argv[i];
		}
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

void cli_print_json(json_t *json)
{
	char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));

	printf("%s\n", text == NULL ? "{}" : text);
	free(text);
	json_decref(json);
}

bool cli_find(const char *file, const void *owner, struct cli_gateway *ret_gateway)
{
	ret_gateway->file = file;
	if (config_places(
		    owner, file, &ret_gateway->state_dir, &ret_gateway->runtime_dir, &ret_gateway->user) == 0)
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

int cli_send(const struct cli_gateway *gateway, const struct frame *ask, int64_t within_ms, const void *owner,
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
	if (ask->kind == FRAME_CONTROL_QUEUE && !is_its_own(gateway)) {
		fprintf(stderr,
			"postern: the gateway that runs here (runtime_dir is %s) has its queue elsewhere, not in state_dir %s; use the configuration"
			" it was started with, or stop it and start it again with this one\n",
			gateway->runtime_dir, gateway->state_dir);
		return CLI_FAILED;
	}
	r = channel_send(fd, ask, clock_mono_ms() + within_ms);
	if (r == 0)
		r = channel_receive(owner, fd, -1, clock_mono_ms() + within_ms, ret_answer);
	if (r == 0)
		return CLI_FINE;
	fprintf(stderr, "postern: the gateway did not answer: %s\n", err_text(r));
	return r == ERR_CLOSED ? CLI_FAILED : CLI_TEMPORARY;
}

int cli_ask(const struct cli_gateway *gateway, enum frame_kind kind, int64_t within_ms, const void *owner,
	struct frame **ret_answer)
{
	struct frame *ask = frame_new(NULL, kind);
	const int status = cli_send(gateway, ask, within_ms, owner, ret_answer);

	talloc_free(ask);
	return status;
}
