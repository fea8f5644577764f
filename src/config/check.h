#pragma once
/* What only the whole configuration can tell. Private to the room. */

struct config;
struct marks;

/* Point every reference at the entry it names, and note names that do not exist. */
void check_references(struct config *config, struct marks *marks);

/* Note labels, addresses and domains that stand twice, open relays, missing certificates, routes and
 * loops. */
void check_whole(const struct config *config, struct marks *marks);
