#pragma once
/* What the command files share. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "cli/cli.h"
#include "ipc/frame.h"

struct change;
struct config;

/* One option of a command: `--name VALUE` (value set), `--name` (flag set), or `--name[=VALUE]` (both set; without a VALUE it is NULL); or what stands for itself
 * (name NULL, value set). */
struct cli_option {
	const char *name;
	const char **value;
	bool *flag;
};

/* Read options, each once at most; everything else is a usage error that is printed. True when all is well. */
bool cli_options(const char *command, int argc, char **argv, const struct cli_option *options, size_t count);

/* Read and check the configuration; NULL after printing every problem. With one reference. */
const struct config *cli_config(const char *file, const void *owner);

/* Where the gateway of a configuration file lives. */
struct cli_gateway {
	const char *file;
	char *state_dir, *runtime_dir, *user;
};

/* Find it (owned by `owner`), even when other keys of the file are wrong; false after printing every problem. */
bool cli_find(const char *file, const void *owner, struct cli_gateway *ret_gateway);

/* Ask the running gateway; 0 and the answer (owned by `owner`), CLI_TEMPORARY after saying that none is running, or CLI_FAILED. About the queue
 * (FRAME_CONTROL_QUEUE) one is not asked that has another state directory. */
int cli_ask(const struct cli_gateway *gateway, enum frame_kind kind, int64_t within_ms, const void *owner,
	struct frame **ret_answer);

/* The same with an ask of the caller's. */
int cli_send(const struct cli_gateway *gateway, const struct frame *ask, int64_t within_ms, const void *owner,
	struct frame **ret_answer);

/* Before a change of the store of certificates or of a list of authorities: write down who makes it. CLI_FINE, or CLI_FAILED after saying why it must not
 * be made. */
int cli_change_begin(const struct cli_gateway *gateway, const struct change *change);

/* After it (`result` 0, or a negative errno): tell the running gateway, or write down that it failed. No lock of the store may be held. */
void cli_change_end(const struct cli_gateway *gateway, const struct change *change, int result);

/* False when no gateway is there; true also when it cannot be asked, which cli_ask() then explains. */
bool cli_is_running(const struct cli_gateway *gateway);

/* Whose the state directory is: the account that role `queue` runs as, or the caller when that is not root. CLI_FINE, or CLI_FAILED after saying why. */
int cli_owner(const struct cli_gateway *gateway, uid_t *ret_uid, gid_t *ret_gid);

/* Make the state directory when it is missing, as `run` would; as cli_owner(). */
int cli_make_state_dir(const struct cli_gateway *gateway);

/* Print one line of JSON (`{}` for NULL), and forget it. */
void cli_print_json(json_t *json);

/* Print a tracking record for a person. */
void cli_track_print(json_t *record);

/* One function per command. */
int cli_backup(const char *file, int argc, char **argv);
int cli_ca(const char *file, int argc, char **argv);
int cli_cert(const char *file, int argc, char **argv);
int cli_crl(const char *file, int argc, char **argv);
int cli_check(const char *file, int argc, char **argv);
int cli_show_config(const char *file, int argc, char **argv);
int cli_policy(const char *file, int argc, char **argv);
int cli_report(const char *file, int argc, char **argv);
int cli_explain(const char *file, int argc, char **argv);
int cli_restore(const char *file, int argc, char **argv);
int cli_status(const char *file, int argc, char **argv);
int cli_queue(const char *file, int argc, char **argv);
int cli_reload(const char *file, int argc, char **argv);
int cli_dns(const char *file, int argc, char **argv);
int cli_log(const char *file, int argc, char **argv);
int cli_stop(const char *file, int argc, char **argv);
int cli_tls(const char *file, int argc, char **argv);
int cli_dane(const char *file, int argc, char **argv);
int cli_track(const char *file, int argc, char **argv);
