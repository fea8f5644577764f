#pragma once
/* What the DNS says of one place by DANE (RFC 7672 section 2.2): which TLSA records hold there, and which names a certificate may have. */

#include "base/digest.h"
#include "policy/dane.h"
#include "wire/tlsa.h"

struct route;
struct route_means;
struct route_stop;

enum { DANE_NAMES_MAX = 3, DANE_LOOKUP_RECORDS_MAX = 100 };

struct dane_lookup_result {
	struct dane_facts facts;
	enum dane_finding
		finding; /* dane_find() of them; of an address that the route names: DANE_NOT_LOOKED */
	const char *
		base; /* TLSA base domain, which is the name for SNI, too; NULL unless facts.tlsa is DANE_LOOKUP_FOUND */
	const char *names
		[DANE_NAMES_MAX]; /* of which a certificate has one when usage 2 counts; the first is base */
	size_t name_count;
	struct tlsa_record *records; /* those that can be used, in an order that does not depend on the DNS */
	size_t count;
	size_t left_out;      /* records that cannot be used, or are too many */
	const char *flaw;     /* of one that cannot be used (static); empty when none was left out */
	struct digest digest; /* of all that a verification depends on */
	const char *why;      /* of what is not known: one sentence for logs; else empty */
	int64_t ttl_s;	      /* the shortest of what was asked here; 0 when nothing was */
};

enum dane_option {
	DANE_OPTION_PKIX_USAGES = 1, /* usages 0 and 1 can be used, too */
	DANE_OPTION_INSECURE_MX =
		2, /* a host counts by itself when the MX records that name it are not signed (conformance 3.08) */
};

/* Ask for what DANE says of `stop` on `route`: its TLSA records, only when DNSSEC vouches for its address or at least for its alias (else some
 * name servers fail). `options`: a set of enum dane_option. Names and records are owned by `owner` or borrowed from the route. */
struct dane_lookup_result dane_look_up(const void *owner, const struct route_means *means,
	const struct route *route, const struct route_stop *stop, unsigned options);
