#pragma once
/* The temporary list (setting tls.retry_without_tls): hosts whose handshake failed, to which mail goes in clear for the rest of the hour, as far as nothing demands TLS. All of
 * it is forgotten every hour, so an entry lives for up to an hour. Safe from any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

struct clear_hosts;

/* An empty list, switched on, whose hours begin at `now_ms` (clock_mono_ms(), as everywhere here); owned by `owner`. */
struct clear_hosts *clear_hosts_new(const void *owner, int64_t now_ms);

/* Whether hosts are put on it. Switched off it is emptied; how many were forgotten. */
size_t clear_hosts_switch(struct clear_hosts *hosts, bool on, int64_t now_ms);

bool clear_hosts_is_on(struct clear_hosts *hosts);

/* Add `address`, whatever its port. False when there is no room, or the list is switched off: then TLS is tried there, as before. */
bool clear_hosts_add(struct clear_hosts *hosts, const struct ip *address, int64_t now_ms);

bool clear_hosts_have(struct clear_hosts *hosts, const struct ip *address, int64_t now_ms);

/* How many there are. */
size_t clear_hosts_count(struct clear_hosts *hosts, int64_t now_ms);

/* Forget all; how many there were. */
size_t clear_hosts_empty(struct clear_hosts *hosts, int64_t now_ms);

/* The addresses (port 0), in the order in which they came, owned by `owner`; and how long until all are forgotten. */
struct ip *clear_hosts_list(struct clear_hosts *hosts, const void *owner, int64_t now_ms, size_t *ret_count,
	int64_t *ret_left_ms);
