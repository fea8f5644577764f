#pragma once
/* What an OCSP responder's answer means for one certificate (table E41). Pure: facts in, decision and reason out. */

#include <stdbool.h>

/* How much OCSP counts: nobody is asked; only `revoked` counts; only `good` passes. */
enum ocsp_mode { OCSP_OFF, OCSP_LENIENT, OCSP_STRICT, OCSP_MODE_COUNT };

/* What is known of a certificate; where several hold, the first counts. */
enum ocsp_finding {
	OCSP_REVOKED,
	OCSP_UNKNOWN,	   /* the responder does not know it */
	OCSP_NO_ANSWER,	   /* none came, or none that may be believed */
	OCSP_NO_RESPONDER, /* it names nobody who could be asked */
	OCSP_GOOD,
	OCSP_NOT_NEEDED, /* its issuer says that it never revokes it (noRevAvail, RFC 9608) */
	OCSP_FINDING_COUNT
};

struct ocsp_decision {
	bool refused;
	bool checked;	    /* the finding says something about the certificate */
	bool warn;	    /* the operator shall hear of it */
	const char *reason; /* static */
};

struct ocsp_decision ocsp_decide(enum ocsp_finding finding, enum ocsp_mode mode);

/* `no-answer`. Static. */
const char *ocsp_word(enum ocsp_finding finding);
