#pragma once
/* Names as the configuration file may hold them. Private to the room. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* True when `t` may name an entry: at most 64 letters, digits, and `. _ -` within. */
bool names_is_name(struct text t);

/* True when `t` is a host or domain name without final dot, of `labels` labels at least, whose last label is no number. */
bool names_is_domain(struct text t, size_t labels);
