#pragma once
/* Errors are negative: -Exxx from errno.h, or one of these. */

enum {
	ERR_CLOSED = -2001,   /* the peer ended the connection or the role behind a channel died */
	ERR_STOPPED = -2002,  /* this role was told to stop */
	ERR_TOO_LONG = -2003, /* a line or frame is longer than its limit */
	ERR_TLS = -2004, /* a TLS handshake or record failed; the cause is in the connection's TLS evidence */
	ERR_FORMAT = -2005, /* bytes that do not follow their grammar */
	ERR_QUOTA = -2006,  /* limits.queue_quota of the client's network is reached */
	ERR_FLOOD = -2007,  /* the peer sends TLS messages that carry no data, without end */
};

/* One lower-case English phrase for `error` (negative); static. Never for a peer: it may name internals. */
const char *err_text(int error);
