#pragma once
/* The facts on which tls_decide() decides; lookups (TLSA, MTA-STS) join later. */

#include "policy/tls_decide.h"

struct config;

/* What is demanded for mail to `domain`. */
struct tls_facts tls_facts_gather(const struct config *config, const char *domain);
