#pragma once
/* Delivery status notifications: telling a sender that a mail could not be delivered (RFC 3461, 3464, 6522). */

#include "queue/envelope.h"

struct config;

/* Add to `outcome` the report for its bounced recipients: an envelope from the null sender to the sender, and its content. Nothing is added
 * when none bounced or the sender is null (a report is never reported). */
void dsn_add(const struct config *config, const struct lease *lease, struct outcome *outcome);
