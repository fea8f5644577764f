#pragma once
/* What a list of revoked certificates means for one certificate (table A67). Pure: facts in, decision and reason out. */

#include <stdbool.h>

/* How much revocation counts: not at all; what is known counts and what is not passes; only what is known to be good passes. */
enum revocation_mode { REVOCATION_OFF, REVOCATION_SOFT, REVOCATION_STRICT, REVOCATION_MODE_COUNT };

/* What the lists say about a certificate; of two the first counts. */
enum revocation_finding {
	REVOCATION_LISTED,     /* revoked or on hold, by a list of its issuer, however old that is */
	REVOCATION_CLEAN,      /* its issuer's list is current and does not name it */
	REVOCATION_STALE,      /* its issuer's list does not name it, and is past its time */
	REVOCATION_NO_LIST,    /* there is no list of its issuer */
	REVOCATION_NOT_NEEDED, /* its issuer says that it never revokes it (noRevAvail, RFC 9608) */
	REVOCATION_FINDING_COUNT
};

struct revocation_decision {
	bool refused;
	bool checked;	    /* the finding says something about the certificate */
	bool warn;	    /* the operator shall hear of it */
	const char *reason; /* static */
};

struct revocation_decision revocation_decide(enum revocation_finding finding, enum revocation_mode mode);
