#pragma once
/* One SMTP command line into a struct: RFC 5321 section 4.1.1, RFC 1870 (SIZE), RFC 3207 (STARTTLS). */

#include <stdint.h>

#include "wire/address.h"

enum smtp_verb {
	SMTP_EHLO,
	SMTP_HELO,
	SMTP_STARTTLS,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_QUIT,
	SMTP_BDAT,
	SMTP_VRFY,
	SMTP_EXPN,
	SMTP_HELP,
	SMTP_XCLIENT,
	SMTP_UNKNOWN,
};

/* Why a known verb's argument was refused; the session has one reply for each. */
enum smtp_flaw {
	SMTP_FINE,
	SMTP_BAD_SYNTAX,	/* 501 5.5.4: argument missing, unexpected or malformed */
	SMTP_BAD_ADDRESS,	/* 501 5.1.7 (MAIL) or 5.1.3 (RCPT) */
	SMTP_UNKNOWN_PARAMETER, /* 555 5.5.4 */
	SMTP_NEEDS_UTF8,	/* 553 5.6.7: an address with UTF-8 without the SMTPUTF8 parameter */
	SMTP_BAD_UTF8,		/* 500 5.5.2: bytes over 0x7f that are no UTF-8 */
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BIT };

/* RET= of MAIL and NOTIFY= of RCPT (RFC 3461); a set for NOTIFY. */
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };
enum smtp_notify {
	SMTP_NOTIFY_NEVER = 1 << 0,
	SMTP_NOTIFY_SUCCESS = 1 << 1,
	SMTP_NOTIFY_FAILURE = 1 << 2,
	SMTP_NOTIFY_DELAY = 1 << 3
};

struct smtp_command {
	enum smtp_verb verb;
	enum smtp_flaw flaw;
	struct text argument;	/* everything behind the verb, trimmed; for EHLO/HELO the client's name */
	struct address address; /* MAIL, RCPT */
	uint64_t size;		/* MAIL: SIZE=, 0 when absent; BDAT: the chunk's bytes */
	enum smtp_body body;	/* MAIL: BODY= */
	bool smtputf8;		/* MAIL, VRFY, EXPN: SMTPUTF8 */
	bool utf8_address;	/* MAIL, RCPT: the address or ORCPT holds UTF-8; for RCPT that is no flaw */
	enum smtp_ret ret;	/* MAIL: RET= */
	struct text envid;	/* MAIL: ENVID=, still xtext; empty when absent */
	unsigned notify;	/* RCPT: NOTIFY=, 0 when absent */
	struct text orcpt;	/* RCPT: ORCPT= as written, `type;xtext`; empty when absent */
	bool last;		/* BDAT: LAST */
};

/* Parse `line` (without its CRLF). Never fails: an unknown verb is SMTP_UNKNOWN, a bad argument sets `flaw`.
 * Verbs match whole words, in any case; blanks after `FROM:`/`TO:` are tolerated. All results borrow from `line`. */
struct smtp_command smtp_command_parse(struct text line);
