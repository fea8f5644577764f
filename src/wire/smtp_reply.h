#pragma once
/* Replies of an SMTP server, line by line (RFC 5321 section 4.2), and what an EHLO reply offers (section 4.1.1.1). */

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { SMTP_REPLY_TEXT_MAX = 512, SMTP_REPLY_LINES_MAX = 100 };

struct smtp_reply {
	unsigned code; /* 200..599 */
	/* Code, a blank, and the words of all lines with a blank between them (an enhanced code stands once); printable ASCII only, cut. */
	char text[SMTP_REPLY_TEXT_MAX];
	unsigned lines;
	bool complete;
	/* Extensions seen in the lines after the first; meaningful after EHLO only. */
	bool has_starttls, has_pipelining, has_size, has_8bitmime, has_smtputf8, has_chunking, has_dsn,
		has_requiretls, has_auth_plain, has_auth_login;
	uint64_t size;	   /* SIZE argument; 0 = no limit stated */
	uint64_t rcpt_max; /* LIMITS RCPTMAX= (RFC 9422); 0 = no limit stated */
};

/* Take one line (without CRLF) into `reply`, which starts zeroed. complete is set by the last line.
 * 0, or ERR_FORMAT: not a reply line, code out of range or changing between lines, too many lines. */
int smtp_reply_line(struct smtp_reply *reply, struct text line);

/* True when a reply to RCPT says that the transaction has too many recipients, and nothing about this one (RFC 5321 section 4.5.3.1.10):
 * X.5.3, or 452 and 552 without an enhanced code. */
bool smtp_reply_too_many(const struct smtp_reply *reply);

/* First digit of the code: 2, 3, 4 or 5. */
static inline unsigned smtp_reply_class(const struct smtp_reply *reply)
{
	return reply->code / 100;
}
