#pragma once
/*
 * How a mail must be protected on its way out. tls_decide() joins what is demanded (today: the destination's level; DANE,
 * MTA-STS, REQUIRETLS and the lists join later); tls_decide_step() says what to do as the connection goes (table B59). Pure.
 */

#include <stdbool.h>

enum tls_level { TLS_LEVEL_NONE, TLS_LEVEL_PREFERRED, TLS_LEVEL_REQUIRED };

/* Who said it: nobody, the entry `default` of `destinations`, or one for the domain. */
enum tls_source { TLS_SOURCE_NOBODY, TLS_SOURCE_DEFAULT, TLS_SOURCE_DESTINATION };

/* Never = STARTTLS is not sent; may = used when offered; must = nothing is sent without it. */
enum tls_demand { TLS_NEVER, TLS_MAY, TLS_MUST };

struct tls_facts {
	enum tls_level level; /* of the destination */
	enum tls_source level_from;
	bool implicit;	  /* the route uses TLS from the first byte */
	bool credentials; /* the route logs in to the server */
};

struct tls_decision {
	enum tls_demand tls;
	const char *level;  /* static: none, preferred, required, required-verify */
	const char *reason; /* static; shown with every delivery */
	bool verify; /* nothing is sent before the certificate was verified: by an authority we trust, and for the host */
	bool conflict; /* the demands exclude each other, so nothing can be delivered */
};

/* What is demanded of the leg. */
struct tls_decision tls_decide(const struct tls_facts *facts);

/* What happened on the connection. */
enum tls_outcome {
	TLS_OUTCOME_NO_ESMTP,	      /* EHLO refused */
	TLS_OUTCOME_NOT_OFFERED,      /* STARTTLS not in the EHLO reply */
	TLS_OUTCOME_REFUSED,	      /* STARTTLS answered other than 220 */
	TLS_OUTCOME_HANDSHAKE_FAILED, /* 220, then no TLS */
	TLS_OUTCOME_NOT_VERIFIED,     /* the certificate was to be verified, and was not accepted */
	TLS_OUTCOME_UP,		      /* the certificate was not checked */
	TLS_OUTCOME_VERIFIED,
};

enum tls_step {
	TLS_STEP_CLEAR, /* go on in clear on the same connection */
	TLS_STEP_SEND,	/* go on in TLS */
	TLS_STEP_DROP,	/* send nothing: drop the connection, next host or defer */
};

/* What to do, and why (static). */
enum tls_step tls_decide_step(
	const struct tls_decision *decision, enum tls_outcome outcome, const char **ret_reason);

/* What TLSRPT calls it (RFC 8460 section 4.3) when TLS could not be had; NULL when it could, or only the certificate says why not. Static. */
const char *tls_decide_word(enum tls_outcome outcome);
