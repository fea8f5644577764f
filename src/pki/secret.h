#pragma once
/* Text that must not stay in memory: private keys and passphrases. */

#include "base/text.h"

/* A NUL-terminated copy of `t`, owned by `owner`, that is wiped when it is freed. */
char *secret_copy(const void *owner, struct text t);

/* Room for `len` bytes and a NUL, zeroed, wiped when it is freed. */
char *secret_room(const void *owner, size_t len);
