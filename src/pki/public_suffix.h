#pragma once
/* Names below which anybody may have a domain: `co.uk`. */

#include <stdbool.h>

/* Is `name` (ASCII, lower case, two labels at least) such a name, of those that registries run? Without the library libpsl, which knows them, no name
 * is. */
bool public_suffix_is(const char *name);
