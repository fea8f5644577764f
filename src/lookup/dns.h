#pragma once
/* Asking role `resolver`: records with what DNSSEC says of them. Nobody else in the house asks the DNS. */

#include <stdint.h>

#include "base/ip.h"
#include "base/text.h"

struct peer;

/* Types that are asked for (RFC 1035 section 3.2.2, RFC 3596, RFC 6698). */
enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_PTR = 12,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_TLSA = 52,
};

enum dns_result {
	DNS_FOUND,
	DNS_NO_DATA, /* the name exists, without this type */
	DNS_NO_NAME, /* NXDOMAIN */
	DNS_FAILED,  /* not known: SERVFAIL, bogus, no answer in time, no resolver; try later */
};

enum dns_security { DNS_INSECURE, DNS_SECURE, DNS_BOGUS };

struct dns_record {
	struct ip address;   /* A, AAAA; port 0 */
	uint16_t preference; /* MX */
	const char *name;    /* MX exchange, PTR, CNAME: lower case, without the last dot; empty = the root (null MX, RFC 7505) */
	struct text data;    /* TXT: its strings joined; TLSA: the RDATA */
};

struct dns_answer {
	enum dns_result result;
	enum dns_security security;
	const char *why;       /* of DNS_FAILED and DNS_BOGUS: one sentence for logs; else empty */
	const char *canonical; /* the name at the end of the CNAMEs, as dns_record.name */
	int64_t ttl_s;
	size_t count; /* > 0 exactly when DNS_FOUND; malformed records are left out */
	struct dns_record *records;
};

/* Ask for `type` of `name` (a final dot is fine). Never NULL, owned by `owner`; waits until `deadline` (clock_mono_ms()) or until stop_fd is
 * readable: then it is DNS_FAILED. A NULL peer is DNS_FAILED, too. */
struct dns_answer *dns_ask(struct peer *resolver, const void *owner, const char *name, enum dns_type type,
	int stop_fd, int64_t deadline);
