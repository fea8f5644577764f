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
	SMTP_VRFY,
	SMTP_HELP,
	SMTP_UNKNOWN,
};

/* Why a known verb's argument was refused; the session has one reply for each. */
enum smtp_flaw {
	SMTP_FINE,
	SMTP_BAD_SYNTAX,	/* 501 5.5.4: argument missing, unexpected or malformed */
	SMTP_BAD_ADDRESS,	/* 501 5.1.7 (MAIL) or 5.1.3 (RCPT) */
	SMTP_UNKNOWN_PARAMETER, /* 555 5.5.4 */
};

struct smtp_command {
	enum smtp_verb verb;
	enum smtp_flaw flaw;
	struct text argument;	/* everything behind the verb, trimmed; for EHLO/HELO the client's name */
	struct address address; /* MAIL, RCPT */
	uint64_t size;		/* MAIL: SIZE=, 0 when absent */
};

/* Parse `line` (without its CRLF). Never fails: an unknown verb is SMTP_UNKNOWN, a bad argument sets `flaw`.
 * Verbs match whole words, in any case; blanks after `FROM:`/`TO:` are tolerated. All results borrow from `line`. */
struct smtp_command smtp_command_parse(struct text line);
