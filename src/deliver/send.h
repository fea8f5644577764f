#pragma once
/* One mail over an open link: MAIL, RCPT, DATA, pipelined when the peer offers it (RFC 5321 section 4.1.1, RFC 2920). */

#include "queue/envelope.h"

struct link;

/* Send `lease` and fill `outcome->recipients`, which come as deferred with an empty reply: every one has a state and a reply when this
 * returns. 0 when the link can be used again, negative when it is broken. `ret_untouched`: it broke before the peer answered anything, so
 * that nothing was done for this mail. */
int send_mail(struct link *link, const struct lease *lease, struct outcome *outcome, bool *ret_untouched);
