/* `check`, `config show`, `config manual`: what the configuration says, before anything runs. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "cli/cli_private.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "net/tls.h"
#include "pki/identity.h"

static void print_plain(const char *file, struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "postern: %s\n", problems_format(problems, &problems->list[i]));
	for (size_t i = 0; i < problems->warning_count; i++)
		fprintf(stderr, "postern: warning: %s\n", problems_format(problems, &problems->warnings[i]));
	if (problems->count == 0)
		printf("%s is fine%s\n", file, problems->warning_count > 0 ? ", but see the warnings" : "");
}

int cli_check(const char *file, int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = { { .name = "json", .flag = &json } };

	if (!cli_options("check", argc, argv, options, COUNT(options)))
		return CLI_USAGE;

	struct problems *problems = problems_new(NULL);
	const struct config *config = NULL;
	struct bundle *bundle = config_gather(problems, file, 0, problems, &config);
	tls_start();
	if (bundle != NULL) {
		identity_check(config, bundle, problems);
		tls_check(config, bundle, problems);
	}
	if (json)
		printf("%s\n", problems_json(problems, problems));
	else
		print_plain(file, problems);

	int status = problems->count == 0 ? CLI_FINE : CLI_FAILED;
	config_release(config);
	talloc_free(problems);
	return status;
}

int cli_show_config(const char *file, int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = { { .name = "json", .flag = &json } };
	const char *what = argc > 0 ? argv[0] : "";

	if (strcmp(what, "show") != 0 && strcmp(what, "manual") != 0) {
		fprintf(stderr, "usage: postern [-c FILE] config show|manual [--json]\n");
		return CLI_USAGE;
	}
	if (!cli_options("config", argc - 1, argv + 1, options, COUNT(options)))
		return CLI_USAGE;

	void *scratch = talloc_new(NULL);
	const struct config *config = NULL;
	if (strcmp(what, "manual") == 0)
		printf("%s", config_manual(scratch));
	else if ((config = cli_config(file, scratch)) != NULL)
		printf("%s", config_show(scratch, config, json));
	int status = strcmp(what, "manual") == 0 || config != NULL ? CLI_FINE : CLI_FAILED;
	config_release(config);
	talloc_free(scratch);
	return status;
}
