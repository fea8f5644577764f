#pragma once
/* The demo certificate (B14): for trying out, so that a listener can offer TLS before anybody has made a certificate. */

#include <stdbool.h>

struct bundle;
struct config;

/* True when it is among the certificates of the configuration and `bundle` lacks it. */
bool demo_is_wanted(const struct config *config, const struct bundle *bundle);

/* Make it in the store, for `hostname`, when it is wanted. 1: made, so the configuration must be gathered again; 0: nothing
 * to do; or a negative errno. Called by master. */
int demo_make(const struct config *config, const struct bundle *bundle);
