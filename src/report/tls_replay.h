#pragma once
/*
 * What other entries of `destinations` and other lists would have made of the deliveries that tracking remembers: their recorded facts are decided on again, by the
 * functions that decide on a delivery. What the records do not tell (TLSA records that nobody asked for, a certificate that was not compared with the
 * name) is unknown, and counted so.
 */

#include <jansson.h>

struct config;
struct tls_replay;

/* `then`: the configuration as it is; `now`: with what is tried. Both are kept by the caller. Owned by `owner`. */
struct tls_replay *tls_replay_new(const void *owner, const struct config *then, const struct config *now);

/* Decide again on the deliveries of one record (report/track.h). */
void tls_replay_add(struct tls_replay *replay, json_t *record);

/* {deliveries, sent, lost, gained, unknown, without_facts, domains: [{domain, deliveries, lost, gained, unknown, then: {SENT: n}, now: {SENT: n},
 * reasons: [{sent, reason, count}]}], domains_left_out}. SENT: verified, trusted, encrypted, clear, nothing, unknown. The `most` domains that lose most. The caller's. */
json_t *tls_replay_json(struct tls_replay *replay, size_t most);
