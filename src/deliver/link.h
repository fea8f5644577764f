#pragma once
/* An open SMTP connection to a destination, with the protection that was demanded of it: dialled, greeted, in TLS or not. */

#include "base/base.h"
#include "base/digest.h"
#include "config/config.h"
#include "net/conn.h"
#include "policy/tls_decide.h"
#include "wire/smtp_reply.h"

struct account;
struct leg_told;
struct dane_lookup_result;
struct deliver_house;

/* What a server showed in the handshake, whatever came of it afterwards. */
struct link_shown {
	struct stack_st_X509 *chain; /* its own certificate first; pki/peer_chain.h; NULL = no handshake */
	char signature[EVIDENCE_WORD_MAX];
};

/* Where a link leads and what is demanded of it. Mail may use an open one only when all of this is equal (conformance 2.15). */
struct link_target {
	uint64_t generation;	 /* of the configuration, which says whom we trust */
	const char *destination; /* the next hop as configured, or the domain */
	const char *domain;	 /* of the recipients */
	const char *host;	 /* the server by its name */
	bool literal;		 /* which is no name but an address */
	const char *sni;	 /* the name that the handshake asks for; NULL = none */
	struct ip address;	 /* with the port */
	struct ip source;	 /* to connect from; family 0 = the system chooses */
	const char *helo;	 /* what EHLO says */
	bool implicit_tls;	 /* TLS from the first byte */
	struct tls_decision decision;
	const struct dane_lookup_result *dane; /* what it is compared with; NULL = nothing */
	struct digest dane_id;		       /* of all that this comparison depends on; zero = nothing */
	enum dane_finding dane_found;
	const struct config_tls_profile *profile;     /* of the handshake; NULL = none is named */
	const struct config_certificate *certificate; /* shown to servers that ask for one; NULL = none */
	const struct config_authorities
		*authorities;	       /* who may vouch for it, instead of those of all; NULL = those */
	const struct account *account; /* to log in with; NULL = none */
	struct link_shown
		*shown; /* filled while it is opened, for who looks at servers; NULL = nobody does */
};

struct link {
	struct conn *conn;
	struct link_target
		target; /* its texts belong to the link; its account and its records are only for the opening */
	struct digest account_id; /* whom it is logged in as; all zero = nobody */
	char *dcid;
	char address[IP_TEXT_MAX]; /* target.address as text */
	int64_t opened;		   /* clock_mono_ms() */
	int64_t until;		   /* while it is opened: nothing is waited for longer; then 0 */
	struct smtp_reply offers;  /* the last EHLO reply; code 0 = the peer knows HELO only */
	struct config_timeouts timeouts;
	unsigned mails; /* sent over it */
	bool judged;	/* TLS was asked for, or was there first: what came of it is in the next two lines */
	enum tls_outcome outcome;
	unsigned made, passed; /* sets of enum tls_check: those that were looked at, and those that held */
	char why[EVIDENCE_REASON_MAX - 10]; /* ... in words; empty when it was not judged */
	bool may_list;			    /* as in struct failure */
	bool silent;			    /* the same */
	bool broken;			    /* nothing more can be sent */
	bool uncertain;	       /* it broke after a whole message was sent, which may have arrived */
	struct leg_told *told; /* deliver/leg.h: what the mail before said of it; NULL = there was none */
};

/* Why there is no link, or how a mail failed: text for tracking and DSN, and what it means. */
struct failure {
	char reply[SMTP_REPLY_TEXT_MAX + 64]; /* "450 4.4.1 ..." or the peer's own words */
	bool unreachable;		      /* the destination as a whole */
	bool final;			      /* no other address shall be tried now */
	bool connected;			      /* the peer took the connection */
	bool judged;			      /* as in struct link, and the next two lines */
	enum tls_outcome outcome;
	unsigned made, passed;
	bool silent;		  /* nothing was heard in time where TLS should begin */
	bool may_list;		  /* the handshake failed, and the host may go on the temporary list */
	struct evidence evidence; /* of the attempt that failed */
	char dcid[48];
};

/* Connect, greet, and protect the connection as the target's decision demands (table B59), all before `until` (clock_mono_ms()). 0 and the
 * link (a talloc root), or a negative error with the failure filled in. */
int link_open(const struct deliver_house *house, const struct link_target *target, int64_t until,
	struct link **ret_link, struct failure *ret_failure);

/* True when mail for `target` may go over the open `link`. */
bool link_fits(const struct link *link, const struct link_target *target);

/* Send one line and read its reply within `ms`; 0 when a reply came (whatever it says), else negative and the link is broken: also when
 * the peer spoke before it was asked (ERR_FORMAT, nothing was sent). */
int link_ask(struct link *link, int64_t ms, struct smtp_reply *ret_reply, const char *format, ...)
	PRINTF(4, 5);

/* Queue one line without sending it, for pipelining. A line that would be two is refused (ERR_FORMAT). */
int link_put(struct link *link, const char *format, ...) PRINTF(2, 3);

/* Send what is queued and read one reply within `ms`; ERR_FORMAT or ERR_TOO_LONG when what came is none. */
int link_reply(struct link *link, int64_t ms, struct smtp_reply *ret_reply);

/* 0, or ERR_FORMAT (the link is broken) when the peer has said something that nobody asked for. */
int link_expect_silence(struct link *link);

/* How a link that failed with `error` stands in a reply of ours: "4.5.0" when the peer does not speak SMTP, else "4.4.2". Static. */
const char *link_status(int error);

/* Say QUIT (without waiting for the answer) and close; NULL is fine. */
void link_close(struct link *link);
