#pragma once
/* Entries found by domain, at the same cost however many there are. */

#include <stddef.h>

#include "base/text.h"

struct domains;

/* An empty index owned by `owner`. */
struct domains *domains_new(const void *owner);

/* Add an entry under its name (copied): a domain, `.parent`, or `default`. NULL is left out, and of two that are the same the first counts. */
void domains_add(struct domains *domains, const char *name, const void *entry);

/* The entry of that very name in any case, or NULL. */
const void *domains_find(const struct domains *domains, struct text name);

/* The entry that fits `domain` best: the exact name, else the longest `.parent`, else `default`, else NULL. */
const void *domains_fit(const struct domains *domains, struct text domain);
