#pragma once
/* A configuration in which some sections are those of another file: what an operator wants to try before it counts. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* `base` without its sections `keys` (as far as `over` has them), and those of `over` in front, at the lines where they stand there; all else in `over` is left out.
 * A section begins with its key at the beginning of a line. Owned by `owner`; *ret_found is how many sections `over` has. */
char *overlay_text(const void *owner, struct text base, struct text over, const char *const *keys,
	size_t count, size_t *ret_found);

/* Whether `t` is YAML by itself: what is open at its end would swallow what stands behind it. */
bool overlay_is_yaml(struct text t);
