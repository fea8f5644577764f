#pragma once
/* What the configuration file says about next hops. Private to the room. */

struct config;
struct marks;

/* Call once after the file is read: an entry with `tls: none` that says nothing of DANE says none. */
void destinations_finish(struct config *config);

/* For `postern check`: warn of a concurrency or rate that never counts, because mail for its domain goes to another next hop. */
void destinations_warn(const struct config *config, struct marks *marks);
