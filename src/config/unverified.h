#pragma once
/* Settings that judge the certificate of a peer, where no peer is verified. */

#include <stdbool.h>

struct config;
struct marks;

/* True when no server is verified: no route logs in, no destination has a verifying level. */
bool unverified_are_all(const struct config *config);

/* Warn of `ocsp` in the profiles of destinations and listeners where it has no effect. */
void unverified_warn(const struct config *config, struct marks *marks);
