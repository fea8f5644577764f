#pragma once
/* Numbers with a unit: sizes in bytes (`10k`, `50MiB`) and durations in milliseconds (`500ms`, `5m`). Private to the room. */

#include <stdint.h>

#include "base/text.h"

/* Read all of `t`; 0, -EINVAL, or -ERANGE when it is too large for any limit. */
int units_read_size(struct text t, uint64_t *ret_number);
int units_read_duration(struct text t, uint64_t *ret_number);

/* The shortest form that reads as `number`; owned by `owner`. */
char *units_show_size(const void *owner, uint64_t number);
char *units_show_duration(const void *owner, uint64_t number);
