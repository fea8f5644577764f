#pragma once
/* Commands that have verbs, such as `postern queue list`: one table for each command says what a verb takes; command line, usage and help are read from it. */

#include <stddef.h>

#include "cli/cli_private.h"

struct cli_verb {
	const char *name;
	unsigned takes; /* bits of the command's own; options and notes with one of them are for this verb */
	int number;	/* the command's own */
	const char *arguments, *summary;
};

/* A piece of the help; `takes` 0 = for every verb. */
struct cli_verbs_note {
	unsigned takes;
	const char *text;
};

/* An option; `takes` 0 = for every verb. */
struct cli_verbs_option {
	unsigned takes;
	struct cli_option option;
};

struct cli_verbs {
	const char *command;
	const struct cli_verb *verbs;
	size_t count;
	const struct cli_verbs_note *notes;
	size_t note_count;
};

enum { CLI_VERBS_OPTIONS_MAX = 64 };

/* Read a command line: the verb, and its options into their places. NULL when there is nothing more to do, because the help was printed or something is
 * wrong and was said: then the exit status is in ret_status. At most CLI_VERBS_OPTIONS_MAX options. */
const struct cli_verb *cli_verbs_read(const struct cli_verbs *command, int argc, char **argv,
	const struct cli_verbs_option *options, size_t count, int *ret_status);

/* Say that the command line is wrong (`what`, then `value`), and how the verb is used; CLI_USAGE. */
int cli_verbs_wrong(
	const struct cli_verbs *command, const struct cli_verb *verb, const char *what, const char *value);

/* True when the operator means it: by --yes (`yes`), or at the terminal, where `what` ("delete certificate `web`") becomes a question. Else *ret_status says
 * how it ends, after saying that nothing was done. */
bool cli_verbs_confirm(bool yes, const char *what, int *ret_status);
