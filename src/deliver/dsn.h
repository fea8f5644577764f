#pragma once
/* Delivery status notifications: telling a sender what became of a mail (RFC 3461, 3464, 6522, 6533). */

#include <stdint.h>

#include "queue/envelope.h"

struct config;

/* Add to `outcome` the one report that its recipients ask for (policy/notify.h): an envelope from the null sender and its content; mark
 * those it calls late. age_ms: how long the mail waits. Nothing is added when nobody is to be told. Mail without a sender that fails is
 * logged. */
void dsn_add(const struct config *config, const struct lease *lease, int64_t age_ms, struct outcome *outcome);
