#pragma once
/* How many sessions each client network has, and how fast it opens new ones and shakes hands. A client network is a /24 (IPv4) or /56 (IPv6). Any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

struct clients;

enum clients_verdict {
	CLIENTS_WELCOME,  /* counted: clients_leave() when it goes */
	CLIENTS_TOO_MANY, /* sessions at once */
	CLIENTS_TOO_FAST, /* new ones in a minute */
};

/* Nobody there yet. Owned by `owner`. */
struct clients *clients_new(const void *owner);

/* A client comes at `now_ms` (monotonic); `most` sessions at once, `rate` new ones in a minute. */
enum clients_verdict clients_enter(
	struct clients *clients, const struct ip *client, uint64_t most, uint64_t rate, int64_t now_ms);

/* A client begins a TLS handshake at `now_ms`: true when that is at most `rate` in a minute (0 = any number), and counted. */
bool clients_handshake(struct clients *clients, const struct ip *client, uint64_t rate, int64_t now_ms);

/* A client that was welcome goes. */
void clients_leave(struct clients *clients, const struct ip *client);
