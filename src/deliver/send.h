#pragma once
/* One mail over an open link: MAIL, RCPT, DATA or BDAT, pipelined when the peer offers it (RFC 5321 section 4.1.1, RFC 2920, RFC 3030). */

#include "queue/envelope.h"

struct link;

/* Settle as bounced what could not be said to any peer: addresses and parameters that are none (conformance 2.32). True when a recipient
 * is left to send to. */
bool send_check(const struct lease *lease, struct outcome *outcome);

/* Send `lease` to the recipients that have no reply yet in `outcome`, in as many transactions as the peer wants; each has a state and a
 * reply when this returns. 0 when the link can be used again, negative when it is broken. `ret_untouched`: it broke before the peer
 * answered anything, so that nothing was done for this mail. */
int send_mail(struct link *link, const struct lease *lease, struct outcome *outcome, bool *ret_untouched);
