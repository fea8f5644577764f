#pragma once
/* What the command files share. */

#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "ipc/frame.h"

struct config;

/* One option of a command: `--name VALUE` (value set) or `--name` (flag set). */
struct cli_option {
	const char *name;
	const char **value;
	bool *flag;
};

/* Read options; everything else is a usage error that is printed. True when all is well. */
bool cli_options(const char *command, int argc, char **argv, const struct cli_option *options, size_t count);

/* Read and check the configuration; NULL after printing every problem. With one reference. */
const struct config *cli_config(const char *file, const void *owner);

/* Ask the running gateway; 0 and the answer (owned by `owner`), CLI_TEMPORARY after saying that none is running, or CLI_FAILED. */
int cli_ask(const struct config *config, enum frame_kind kind, int64_t within_ms, const void *owner,
	struct frame **ret_answer);

/* True when a gateway answers on the control socket. */
bool cli_is_running(const struct config *config);

/* One function per command. */
int cli_check(const char *file, int argc, char **argv);
int cli_show_config(const char *file, int argc, char **argv);
int cli_status(const char *file, int argc, char **argv);
int cli_reload(const char *file, int argc, char **argv);
int cli_stop(const char *file, int argc, char **argv);
int cli_track(const char *file, int argc, char **argv);
