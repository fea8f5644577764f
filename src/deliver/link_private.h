#pragma once
/* What the files link*.c share. */

#include "deliver/link.h"

/* Fill in how `link` failed: the status, what happened, and the detail (empty = none); with the evidence, once there is a connection. */
void link_fail(struct failure *failure, const struct link *link, const char *status, const char *what,
	const char *detail);

/* When a wait of `ms` ends: not later than the opening of the link. */
int64_t link_deadline(const struct link *link, int64_t ms);

/* Bring up TLS by STARTTLS on a link that was greeted, as its decision demands; `esmtp`: EHLO was understood. 0 to go on (in TLS when the connection is secured; then EHLO
 * has to be said again), or a negative error with the failure. */
int link_protect(const struct deliver_house *house, struct link *link, bool esmtp, struct failure *failure);

/* The same before the greeting. */
int link_protect_first(const struct deliver_house *house, struct link *link, struct failure *failure);

/* Nothing could be said or heard in TLS: when the peer has ended TLS by an alert, that is a handshake that failed, and `failure` says so. */
void link_refused_late(const struct deliver_house *house, struct link *link, struct failure *failure);

/* The handshake is done: look at the certificate for all that is demanded and recorded. `made` and `passed` of the link and the evidence say what came of it; with the reason
 * in `detail` (`size` bytes; else untouched) if something that counts did not hold. */
void link_verify(const struct deliver_house *house, struct link *link, char *detail, size_t size);
