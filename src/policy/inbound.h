#pragma once
/* What a listener's TLS setting means for one command of a client: tables B.3 (B22-B27, B35) of the catalogue, RFC 3207. Pure. */

#include <stdbool.h>

enum inbound_tls { INBOUND_TLS_NONE, INBOUND_TLS_PREFERRED, INBOUND_TLS_REQUIRED };

enum inbound_command {
	INBOUND_STARTTLS,
	INBOUND_HARMLESS, /* EHLO, NOOP, QUIT: answered on every listener, in clear too */
	INBOUND_OTHER,	  /* everything else, HELO and RSET included */
};

struct inbound_facts {
	enum inbound_tls tls; /* of the client's policy on this listener */
	enum inbound_command command;
	bool secured; /* TLS is up */
	bool usable;  /* the listener has a certificate that works */
	bool tls_off; /* tls.enabled is false */
};

enum inbound_verdict {
	INBOUND_GO_ON,	     /* run the command */
	INBOUND_NEED_TLS,    /* 530 5.7.0 Must issue a STARTTLS command first */
	INBOUND_NOT_OFFERED, /* 502 5.5.1: STARTTLS where it is not offered */
	INBOUND_SECOND_TLS,  /* 503 5.5.1: STARTTLS in TLS */
	INBOUND_UNAVAILABLE, /* 454 4.7.0: offered by the policy, but there is no usable key */
};

/* What to do with the command. */
enum inbound_verdict inbound_decide(const struct inbound_facts *facts);

/* True when EHLO lists STARTTLS. */
bool inbound_offers_starttls(const struct inbound_facts *facts);
