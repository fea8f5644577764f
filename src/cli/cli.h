#pragma once
/* The commands of `postern` that talk to a running gateway or only read. Exit codes: 0 fine, 1 no or failed, 2 usage, 75 temporary. */

#include <stdbool.h>
#include <stdio.h>

enum { CLI_FINE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_TEMPORARY = 75 };

/* Run the command in argv[0], with configuration `file`; its exit status, or -1 when there is no such command here. */
int cli_run(const char *file, int argc, char **argv);

/* Print the usage of the command in argv[0] when --help is among the others; CLI_FINE, or -1 when it is not. */
int cli_help(int argc, char **argv);

/* Say that `argument` is one too many for `command`; CLI_USAGE. */
int cli_surplus(const char *command, const char *argument);

/* Print every command with its arguments to `out`. */
void cli_usage(FILE *out);
