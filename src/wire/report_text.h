#pragma once
/* Text of peers and senders as it may stand in a delivery status notification (RFC 3464, RFC 6533): on one line, printable, no HTML. */

#include "base/text.h"

/* What may be written beyond ASCII. */
enum report_text_form {
	REPORT_TEXT_ASCII,   /* nothing: `?` for each byte */
	REPORT_TEXT_ESCAPED, /* in addresses `\x{E4}` for a character (RFC 6533 section 3), else nothing */
	REPORT_TEXT_UTF8,    /* well-formed UTF-8 as it is */
};

enum { REPORT_TEXT_ADDRESS_MAX = 6 * 1024 };

/* `t` on one line: a control, a line separator, and what `form` does not allow becomes `?`. `<` and `>` stay around a mail address and become
 * `(` and `)` elsewhere. `out` has room for t.len bytes; returns how many are used. */
size_t report_text_line(struct text t, enum report_text_form form, char *out);

/* The same for a line of a header that is given back in a part of its own, which no reader takes for HTML: tabs and brackets stay. */
size_t report_text_header(struct text t, enum report_text_form form, char *out);

/* The value of a Final-Recipient field: `rfc822; a@b`, or `utf-8; ...` when the address has characters beyond ASCII and `form` allows them.
 * An address over 512 bytes is cut. `out` has REPORT_TEXT_ADDRESS_MAX bytes; returns how many are used. */
size_t report_text_recipient(struct text address, enum report_text_form form, char *out);

/* The value of Original-Recipient for ORCPT= as it was written, `type;xtext`: decoded and made safe again. As above; 0 when it does
 * not decode. */
size_t report_text_orcpt(struct text orcpt, enum report_text_form form, char *out);

/* ENVID= decoded and made safe again. `out` has room for t.len bytes; returns how many are used, 0 when it does not decode. */
size_t report_text_envid(struct text envid, char *out);
