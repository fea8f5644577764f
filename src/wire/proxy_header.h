#pragma once
/* The PROXY protocol header, versions 1 and 2, in front of a connection (HAProxy's proxy-protocol.txt). */

#include "base/ip.h"

enum { PROXY_HEADER_MAX = 16 + 65535, PROXY_HEADER_LOCAL = 1, PROXY_HEADER_PROXIED = 2 };

/* Look for a whole header at the start of `bytes`. PROXY_HEADER_PROXIED: ret_client is the client's address and port; PROXY_HEADER_LOCAL: the
 * proxy speaks for itself (LOCAL, UNKNOWN, UNSPEC, UNIX), keep the real address; both with ret_used = its length. 0: more bytes are needed. ERR_FORMAT: this
 * can never become a valid header (v1 over 107 octets, unknown version, command or family, lengths that lie, TLVs that overrun). */
int proxy_header_parse(struct text bytes, struct ip *ret_client, size_t *ret_used);
