#pragma once
/* Routes of the configuration file: what a next hop may be, and what the entries must say together. Private to the room. */

#include "base/text.h"

struct bundle;
struct config;
struct marks;

#define ROUTES_HOP_EXPECTED                                                                                   \
	"an address such as 192.0.2.1:25 or [2001:db8::1]:25, a host name such as mail.example.com:25, or a " \
	"domain whose MX records count, such as mx:example.com"

/* The row check of next_hop: fills what it means into the route `entry`. NULL, or what was expected, owned by `owner`. */
char *routes_read_hop(const void *owner, struct text value, void *entry);

/* Fill the ports that no route wrote down. */
void routes_finish(struct config *config);

/* Note what contradicts itself: sources, credentials, TLS. */
void routes_check(const struct config *config, struct marks *marks);

/* For `postern check` and master, where files can be read: warn of sources that this machine does not have, and read the passwords into
 * `bundle`, for role deliver only. */
void routes_gather(struct bundle *bundle, const struct config *config, struct marks *marks);
