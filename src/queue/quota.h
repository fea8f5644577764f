#pragma once
/* How much queued mail came from each client network: its /24 (IPv4) or /56 (IPv6). Not thread-safe: queue/store guards it. */

#include <stdint.h>

struct quota;

/* An empty count owned by `owner`. */
struct quota *quota_new(const void *owner);

/* One mail more, or less, from `client` (an address as text; anything else is not counted). */
void quota_add(struct quota *quota, const char *client);
void quota_drop(struct quota *quota, const char *client);

/* Queued mails from the network of `client`. */
uint64_t quota_count(const struct quota *quota, const char *client);
