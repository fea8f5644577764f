#pragma once
/* What only the whole file tells about outbound TLS. Private to the room. */

struct config;
struct marks;

/* Refuse what contradicts itself. */
void outbound_check(const struct config *config, struct marks *marks);

/* For `postern check`: warn of what never counts, and of what keeps all mail of a destination from being delivered. */
void outbound_warn(const struct config *config, struct marks *marks);
