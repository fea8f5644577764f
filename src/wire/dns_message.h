#pragma once
/* The answer section of a DNS message (RFC 1035 section 4) as records of the one type that was asked for. */

#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/text.h"

enum { DNS_RECORDS_MAX = 1000, DNS_NAME_MAX = 253 };

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

struct dns_record {
	struct ip address;   /* A, AAAA; port 0 */
	uint16_t preference; /* MX */
	const char *
		name; /* MX exchange, PTR, CNAME: lower case, without the last dot; empty = the root (null MX, RFC 7505) */
	struct text data; /* TXT: its strings joined; TLSA: the RDATA */
};

struct dns_message {
	unsigned code;	       /* RCODE: 0 = no error, 3 = no such name */
	const char *canonical; /* the name at the end of the CNAMEs, as dns_record.name */
	int64_t ttl_s;	       /* the smallest of what the answer rests on; 0 = none was stated */
	size_t count;	       /* at most DNS_RECORDS_MAX */
	size_t left_out;       /* records of the type that are malformed, or too many */
	struct dns_record *records;
};

/* Read the answer to a question for `type`: follow its CNAMEs (unless `type` is one) and take the records of that type. 0 and the message, owned
 * by `owner`, or ERR_FORMAT. */
int dns_message_parse(
	const void *owner, struct text packet, enum dns_type type, struct dns_message **ret_message);

/* `name` as it is asked for and compared: lower case, without a final dot ("" = the root), of letters, digits, `-`, `_` and `/`; owned by `owner`.
 * NULL when it cannot be a name of the DNS. */
char *dns_message_name(const void *owner, struct text name);
