#pragma once
/* The Received field (RFC 5321 section 4.4, `with` values of RFC 3848 and RFC 6531, `tls` clause of RFC 8314 section 4.3). */

#include "base/text.h"

struct received {
	struct text
		helo; /* as the client said it; written only if it is a domain or literal, else "unknown" */
	struct text client;   /* address literal with brackets, ours */
	struct text hostname; /* ours */
	bool esmtp;	      /* EHLO, not HELO: HELO gives plain SMTP even in TLS */
	bool utf8;	      /* an SMTPUTF8 transaction; only then a `rcpt` with UTF-8 is written */
	bool authenticated;   /* AUTH succeeded in this session */
	struct text protocol; /* "TLSv1.3"; empty in clear */
	struct text cipher;   /* "TLS_AES_256_GCM_SHA384"; empty in clear */
	struct text group;    /* "x25519"; may be empty */
	struct text certificate_subject,
		certificate_issuer; /* of the client's certificate; empty without one */
	struct text id;		    /* our id for the session and message */
	struct text rcpt;	    /* the only recipient, or empty when there are several */
	struct text date;	    /* RFC 5322 date */
};

/* The field as folded lines ending in CRLF, NUL-terminated, owned by `owner`. Text from the peer is comment-quoted:
 * parentheses, backslashes, controls and 8-bit bytes cannot break the field (conformance 1.65). */
char *received_format(const void *owner, const struct received *received);
