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

/* The handshake is done: may the server be believed? The set of enum tls_check that held. `name`: what it was asked for, NULL = nothing. With the reason in `detail` (`size`
 * bytes) when one did not. */
unsigned link_verify(
	const struct deliver_house *house, struct link *link, const char *name, char *detail, size_t size);
