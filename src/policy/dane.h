#pragma once
/* What DANE (RFC 7672) finds out about one host, from what the DNS said. Pure; what follows from it is in policy/tls_demand.h. */

#include <stdbool.h>

/* What DNSSEC says of an answer; unknown = it is bogus, or there is none. */
enum dane_trust { DANE_TRUST_INSECURE, DANE_TRUST_SECURE, DANE_TRUST_UNKNOWN };

enum dane_lookup {
	DANE_LOOKUP_NOT_ASKED,
	DANE_LOOKUP_FAILED,   /* no answer that may be believed */
	DANE_LOOKUP_ABSENT,   /* a proven lack */
	DANE_LOOKUP_INSECURE, /* an answer of any kind that is not signed */
	DANE_LOOKUP_FOUND,    /* records, secure */
	DANE_LOOKUP_COUNT
};

struct dane_facts {
	enum dane_trust mx;   /* of the MX records; of a next hop that is configured: secure */
	enum dane_trust host; /* of the very address, and of the aliases that lead to it */
	enum dane_lookup tlsa;
	bool usable; /* one of the records found can be used (RFC 7672 section 3.1) */
};

enum dane_finding {
	DANE_NOT_LOOKED,  /* nobody asked, or there is no name to ask for */
	DANE_INSECURE_MX, /* and the host has no TLSA records that count either */
	DANE_INSECURE_HOST,
	DANE_ABSENT,
	DANE_INSECURE_RECORDS,
	DANE_UNUSABLE, /* there are records, and none can be used */
	DANE_USABLE,
	DANE_USABLE_INSECURE_MX, /* the next three: the host by itself, but that it is the right one is not proven */
	DANE_UNUSABLE_INSECURE_MX,
	DANE_UNKNOWN_INSECURE_MX,
	DANE_MX_UNKNOWN, /* lookups that failed */
	DANE_HOST_UNKNOWN,
	DANE_UNKNOWN,
	DANE_FINDING_COUNT
};

/* Who must not ask for TLSA records (host not secure, MX not known) leaves them DANE_LOOKUP_NOT_ASKED. */
enum dane_finding dane_find(const struct dane_facts *facts);

/* `usable-insecure-mx`, for evidence and metrics; and a sentence without a full stop. Static. */
const char *dane_word(enum dane_finding finding);
const char *dane_explain(enum dane_finding finding);

/* How a finding counts in docs/metrics.md. */
enum dane_result {
	DANE_RESULT_OK,
	DANE_RESULT_UNUSABLE,
	DANE_RESULT_NOT_APPLICABLE, /* the host has no records */
	DANE_RESULT_INSECURE,	    /* some part of the chain is not signed */
	DANE_RESULT_TEMPFAIL,
	DANE_RESULT_FAILED, /* usable records, and the host did not match them, or did not do TLS */
	DANE_RESULT_COUNT
};

/* `passed`: with usable records, the host proved itself by one of them. Not for DANE_NOT_LOOKED. */
enum dane_result dane_result(enum dane_finding finding, bool passed);

/* `not_applicable`. Static. */
const char *dane_result_word(enum dane_result result);
