#pragma once
/* Passphrases: typed at the terminal, or the first line of a file or of standard input; never an argument, which everybody on the machine can read. */

#include <stdbool.h>

/* The passphrase, owned by `owner` and wiped when it is freed. `file` NULL: ask at the terminal, `twice` when a mistake could not be seen; "-": standard
 * input. CLI_FINE, or another exit status after saying why. */
int cli_passphrase(const void *owner, const char *file, bool twice, char **ret_passphrase);
