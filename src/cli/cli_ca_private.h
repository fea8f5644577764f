#pragma once
/* What the files of `postern ca` share. */

#include <stdbool.h>

#include "cli/cli_private.h"
#include "config/trust_files.h"
#include "pki/authorities.h"

/* A list as it stands on disk. */
struct cli_ca_list {
	bool on; /* neither the configuration nor `ca disable` switches it off */
	struct authorities *kept,
		*file; /* of the custom list: what `ca` keeps, and what authorities.custom names; the system's is `file` */
	int kept_error;	  /* a negative errno when what is kept cannot be read, which was said */
	const char *path; /* of the file; NULL = none */
};

/* Both lists, owned by `owner`; what cannot be read is said and is empty. */
void cli_ca_read(
	const struct cli_gateway *gateway, const void *owner, struct cli_ca_list ret_lists[TRUST_LIST_COUNT]);

/* `list`, `show` and `export`; the exit status. TRUST_LIST_COUNT = both lists. */
int cli_ca_list(const struct cli_gateway *gateway, enum trust_list list, bool json);
int cli_ca_show(const struct cli_gateway *gateway, const char *wanted, bool json);
int cli_ca_export(const struct cli_gateway *gateway, enum trust_list list, bool json);
