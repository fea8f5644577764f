#pragma once
/* An open SMTP connection to a destination, with the protection that was demanded of it: dialled, greeted, in TLS or not. */

#include "base/base.h"
#include "net/conn.h"
#include "policy/tls_decide.h"
#include "wire/smtp_reply.h"

struct deliver_house;

struct link {
	struct conn *conn;
	char *destination; /* what it is shared by */
	char *dcid;
	char address[IP_TEXT_MAX]; /* of the peer, with port */
	enum tls_demand demand;	   /* it was opened for; only mail with the same demand may reuse it */
	struct smtp_reply offers;  /* the last EHLO reply */
	unsigned mails;		   /* sent over it */
	bool broken;		   /* nothing more can be sent */
};

/* Why there is no link, or how a mail failed: text for tracking and DSN, and what it means. */
struct failure {
	char reply[SMTP_REPLY_TEXT_MAX + 64]; /* "450 4.4.1 ..." or the peer's own words */
	bool unreachable;		      /* the destination as a whole */
	bool permanent;
	bool connected;		  /* the peer took the connection */
	struct evidence evidence; /* of the attempt that failed */
};

/* Connect to `address`, greet, and protect the connection as `decision` demands (table B59). 0 and the link (a talloc root), or a
 * negative error with the failure filled in. */
int link_open(const struct deliver_house *house, const struct ip *address, const char *destination,
	const struct tls_decision *decision, struct link **ret_link, struct failure *ret_failure);

/* Send one line and read its reply within `seconds`; 0 when a reply came (whatever it says), else negative and the link is broken. */
int link_ask(struct link *link, unsigned seconds, struct smtp_reply *ret_reply, const char *format, ...)
	PRINTF(4, 5);

/* Queue one line without sending it, for pipelining. */
int link_put(struct link *link, const char *format, ...) PRINTF(2, 3);

/* Send what is queued and read one reply within `seconds`. */
int link_reply(struct link *link, unsigned seconds, struct smtp_reply *ret_reply);

/* Say QUIT (without waiting for the answer) and close; NULL is fine. */
void link_close(struct link *link);
