#pragma once
/* The accounts under which routes log in to their servers. Their passwords are wiped when the configuration goes. */

#include "base/digest.h"
#include "base/text.h"

struct bundle;
struct config;
struct config_route;

struct account {
	const char *username;
	struct text password;
	struct digest id; /* of both: what a connection was opened with */
};

/* The accounts of all routes, whose passwords are in `bundle`; owned by `owner`, to be freed before `config`. NULL when one is missing. */
struct accounts *account_load(const void *owner, const struct config *config, const struct bundle *bundle);

/* The account of `route`, borrowed; NULL when it logs in to nobody, or there is no route. NULL accounts are fine. */
const struct account *account_of(const struct accounts *accounts, const struct config_route *route);
