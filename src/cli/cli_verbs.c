#include "cli/cli_verbs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static const struct cli_verb *find(const struct cli_verbs *command, const char *name)
{
	for (size_t i = 0; i < command->count; i++)
		if (strcmp(command->verbs[i].name, name) == 0)
			return &command->verbs[i];
	return NULL;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return true;
	return false;
}

static void print_notes(FILE *out, const struct cli_verbs *command, unsigned takes)
{
	for (size_t i = 0; i < command->note_count; i++)
		if (command->notes[i].takes == 0 || command->notes[i].takes & takes)
			fprintf(out, "%s", command->notes[i].text);
}

/* Of the whole command. */
static int help(FILE *out, const struct cli_verbs *command, int status)
{
	fprintf(out, "usage: postern [-c FILE] %s VERB ... [--json]\n", command->command);
	for (size_t i = 0; i < command->count; i++)
		fprintf(out, "  %s%s%s\n          %s\n", command->verbs[i].name,
			command->verbs[i].arguments[0] == '\0' ? "" : " ", command->verbs[i].arguments,
			command->verbs[i].summary);
	print_notes(out, command, ~0u);
	return status;
}

static void print_usage(FILE *out, const struct cli_verbs *command, const struct cli_verb *verb)
{
	fprintf(out, "usage: postern [-c FILE] %s %s%s%s [--json]\n", command->command, verb->name,
		verb->arguments[0] == '\0' ? "" : " ", verb->arguments);
}

static int help_of(const struct cli_verbs *command, const struct cli_verb *verb)
{
	print_usage(stdout, command, verb);
	printf("  %s\n", verb->summary);
	print_notes(stdout, command, verb->takes);
	return CLI_FINE;
}

int cli_verbs_wrong(
	const struct cli_verbs *command, const struct cli_verb *verb, const char *what, const char *value)
{
	fprintf(stderr, "postern %s %s: %s%s\n", command->command, verb->name, what, value);
	print_usage(stderr, command, verb);
	return CLI_USAGE;
}

static bool read_options(const struct cli_verbs *command, const struct cli_verb *verb, int argc, char **argv,
	const struct cli_verbs_option *options, size_t count)
{
	struct cli_option mine[CLI_VERBS_OPTIONS_MAX];
	size_t mine_count = 0;

	for (size_t i = 0; i < count; i++)
		if (options[i].takes == 0 || options[i].takes & verb->takes)
			mine[mine_count++] = options[i].option;
	if (cli_options(command->command, argc, argv, mine, mine_count))
		return true;
	fprintf(stderr, "  %s%s%s; see postern %s %s --help\n", verb->name,
		verb->arguments[0] == '\0' ? "" : " ", verb->arguments, command->command, verb->name);
	return false;
}

const struct cli_verb *cli_verbs_read(const struct cli_verbs *command, int argc, char **argv,
	const struct cli_verbs_option *options, size_t count, int *ret_status)
{
	const struct cli_verb *verb = argc == 0 ? NULL : find(command, argv[0]);

	*ret_status = CLI_USAGE;
	if (asks_for_help(argc, argv))
		*ret_status = verb == NULL ? help(stdout, command, CLI_FINE) : help_of(command, verb);
	else if (verb == NULL && argc > 0)
		fprintf(stderr, "postern %s: unknown verb: %s\n", command->command, argv[0]);
	if (verb == NULL && *ret_status == CLI_USAGE)
		help(stderr, command, CLI_USAGE);
	return *ret_status == CLI_USAGE && verb != NULL &&
			       read_options(command, verb, argc - 1, argv + 1, options, count)
		       ? verb
		       : NULL;
}

bool cli_verbs_confirm(bool yes, const char *what, int *ret_status)
{
	char answer[16] = "";

	if (yes)
		return true;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		fprintf(stderr, "postern: nothing was done; add --yes to %s\n", what);
		*ret_status = CLI_USAGE;
		return false;
	}
	fprintf(stderr, "%s? [y/N] ", what);
	if (fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	fprintf(stderr, "postern: nothing was done\n");
	*ret_status = CLI_FAILED;
	return false;
}
