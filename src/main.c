/* argv -> one command. `run` becomes master, which re-executes this program once per role. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "master/master.h"
#include "roles/role.h"
#include "roles/sink.h"

int main(int argc, char **argv)
{
	const char *file = "/etc/postern/postern.yaml";

	if (argc == 6 && strcmp(argv[1], "--role") == 0)
		return role_main(argv[2], argv[3], argv[4], argv[5]);

	if (argc > 2 && strcmp(argv[1], "-c") == 0) {
		file = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("postern " POSTERN_VERSION "\n");
		return EXIT_SUCCESS;
	}
	if (argc < 2 || strcmp(argv[1], "--help") == 0) {
		cli_usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? CLI_USAGE : CLI_FINE;
	}
	if (cli_help(argc - 1, argv + 1) == CLI_FINE)
		return CLI_FINE;
	if (strcmp(argv[1], "run") == 0)
		return argc == 2 ? master_run(file) : cli_surplus("run", argv[2]);
	if (strcmp(argv[1], "sink") == 0)
		return sink_run(argc - 1, argv + 1);

	int status = cli_run(file, argc - 1, argv + 1);
	if (status >= 0)
		return status;
	fprintf(stderr, "postern: there is no command \"%s\"\n", argv[1]);
	cli_usage(stderr);
	return CLI_USAGE;
}
