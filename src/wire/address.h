#pragma once
/* A mail address as the envelope carries it: RFC 5321 section 4.1.2 (Path, Mailbox), 4.5.3.1 (limits), RFC 6531
 * section 3.3 (UTF-8). */

#include <stdbool.h>

#include "base/text.h"

struct address {
	struct text whole;  /* what stood between the angle brackets, without a source route */
	struct text local;  /* as written: still quoted when it was quoted */
	struct text domain; /* a name, or an address literal with its brackets; empty in `<postmaster>` */
	bool utf8;	    /* a byte over 0x7f stands in it: valid under SMTPUTF8 only */
};

/* Parse a path at the start of `t`: `<a@b>`, `<@route:a@b>` (the route is dropped), and `<>` when `allow_null`
 * (whole, local and domain empty), and `<postmaster>` (any case) when not `allow_null`. ret_used is the number of
 * bytes up to and including `>`. All results borrow from `t`. 0, or ERR_FORMAT: also for NUL and controls (C1 too),
 * malformed UTF-8, an empty or over 64 octets long local part, a domain over 255 octets, `""` as local part. A domain
 * may have U-labels (up to 63 characters each); they are checked as UTF-8, not as IDNA. */
int address_parse_path(struct text t, bool allow_null, struct address *ret_address, size_t *ret_used);

/* Parse a bare mailbox `a@b` as configuration and commands take it; same rules. */
int address_parse(struct text t, struct address *ret_address);

/* True for a syntactically right domain name of LDH labels (underscore accepted), ASCII only, no trailing dot, at
 * most 255. */
bool address_is_domain(struct text t);

/* True for a right address literal with its brackets: `[192.0.2.1]`, `[IPv6:2001:db8::1]`. */
bool address_is_literal(struct text t);
