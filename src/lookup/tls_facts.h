#pragma once
/* The facts on which tls_decide() decides; lookups (TLSA, MTA-STS) join later. */

#include "policy/tls_decide.h"

struct config;

/* What is demanded for mail to `domain`. `rerouted`: it does not go where its route says, so the route demands nothing. */
struct tls_facts tls_facts_gather(const struct config *config, const char *domain, bool rerouted);
