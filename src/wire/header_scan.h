#pragma once
/* The header of a message, looked at while it passes: how long it is, what it counts (RFC 5322 section 2.2). */

#include "base/text.h"

/* Lines end as mail_data_out_take() ends them: at CRLF, a bare CR or a bare LF. The header ends before the first empty line or the first
 * line that is no field and continues none, so it ends at the same place for everybody (conformance 1.30). */
struct header_scan {
	unsigned state; /* private */
	size_t name;	/* private: bytes of `received` that agree so far, or more */
	size_t open;	/* private: bytes of the open line while it may turn out to be no field */

	uint64_t header_bytes; /* so far, with line ends, without the empty line; final once `ended` */
	unsigned received;     /* Received fields (conformance 1.66) */
	bool eight_bit;	       /* a byte over 0x7f */
	bool ended;
	bool malformed; /* ended by a line that is no field (a blank at the very start is none): no empty line is there */
};

/* What the content begins with. */
enum header_scan_beginning {
	HEADER_SCAN_UNKNOWN, /* an open line that may still become a field */
	HEADER_SCAN_HEADER, /* a field, or the empty line behind a header without fields, or nothing at all */
	HEADER_SCAN_BODY, /* a line that is no field: whoever puts a field in front puts an empty line between */
};

/* A scanner at the start of the content. */
struct header_scan header_scan_start(void);

/* Look at the next bytes; nothing after the end of the header is looked at. */
void header_scan_take(struct header_scan *scan, struct text content);

/* There is no more content: an open line without a colon is no field, and the header ends here at the latest. */
void header_scan_end(struct header_scan *scan);

/* What the content begins with, as far as it has been looked at (conformance 1.27). */
enum header_scan_beginning header_scan_beginning(const struct header_scan *scan);
