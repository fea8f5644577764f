#pragma once
/* Is the server's certificate what the TLSA records of its host say (DANE: RFC 6698, 7671, 7672)? Facts in, verdict out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pki/verify.h"

struct tls_context;
struct tlsa_record;

enum { DANE_RECORDS_MAX = 100 }; /* more usable ones are not verified with, and nothing matches */

struct dane_verify_facts {
	const struct stack_st_X509
		*chain; /* as the server showed it, its own certificate first; NULL = none */
	const struct tlsa_record *records; /* secure ones; unusable ones are passed over */
	size_t count;
	const char *const
		*names; /* for usages 0 to 2: the certificate is to be for one of these (A-labels) */
	size_t name_count;
	const struct trust *trust; /* for usages 0 and 1; NULL = nobody */
	const struct tls_context
		*client;  /* of deliveries (net/tls.h), to save the making of one; NULL = one is made */
	bool pkix_usages; /* enforce usages 0 and 1; else they are unusable */
	int64_t now_ms;	  /* clock_wall_ms() */
};

/* Why nothing can match the record (static), or NULL: it is usable. As tlsa_flaw(), and it sees also whether the data of matching type 0 is a
 * certificate or a key. */
const char *dane_flaw(const struct tlsa_record *record, bool pkix_usages);

/* The records are alternatives, but of those with one usage and selector only the ones with the strongest digest count, beside those without a
 * digest (RFC 7671 section 9). */
void dane_verify(const struct dane_verify_facts *facts, struct verify_verdict *ret_verdict);
