#pragma once
/* The RDATA of a TLSA record (RFC 6698 section 2.1), and whether it can say anything about a mail server (RFC 7672 section 3.1). */

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { TLSA_PKIX_TA = 0, TLSA_PKIX_EE = 1, TLSA_DANE_TA = 2, TLSA_DANE_EE = 3 }; /* usage */
enum { TLSA_CERTIFICATE = 0, TLSA_KEY = 1 };					 /* selector */
enum { TLSA_FULL = 0, TLSA_SHA256 = 1, TLSA_SHA512 = 2, TLSA_PRIVATE = 255 };	 /* matching type */

struct tlsa_record {
	uint8_t usage, selector, matching;
	struct text data; /* never empty */
};

/* Read the three numbers and the data, which is borrowed from `rdata`. 0, or ERR_FORMAT when a part of them is missing. */
int tlsa_parse(struct text rdata, struct tlsa_record *ret_record);

/* Why nothing can match the record (static), or NULL: it is usable. Usages 0 and 1 are only with `pkix_usages`. Whether the data of matching
 * type 0 is a certificate or key at all is not seen here: pki/dane finds out. */
const char *tlsa_flaw(const struct tlsa_record *record, bool pkix_usages);

/* `3 1 1 0123...`, as zone files have it, with the first `bytes` bytes of the data and `...` for the others; owned by `owner`. */
char *tlsa_text(const void *owner, const struct tlsa_record *record, size_t bytes);
