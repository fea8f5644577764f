#pragma once
/* Asking role `resolver`: records with what DNSSEC says of them. Nobody else in the house asks the DNS. */

#include <stdbool.h>
#include <stdint.h>

#include "wire/dns_message.h"

struct frame;
struct peer;

enum dns_result {
	DNS_FOUND,
	DNS_NO_DATA, /* the name exists, without this type */
	DNS_NO_NAME, /* NXDOMAIN */
	DNS_FAILED,  /* not known: SERVFAIL, bogus, no answer in time, no resolver; try later */
};

enum dns_security { DNS_INSECURE, DNS_SECURE, DNS_BOGUS };

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

/* Whether `name` is `zone` or below it; letters in any case, neither with a final dot. */
bool dns_is_below(const char *name, const char *zone);

/* The name under which `ip` is asked for its names (PTR): `1.2.0.192.in-addr.arpa`; owned by `owner`. */
char *dns_reverse_name(const void *owner, const struct ip *ip);

/* Words for logs and `postern dns`: "MX"; "found", "no_data", "no_name", "failed"; "insecure", "secure", "bogus". Static. */
const char *dns_type_word(enum dns_type type);
const char *dns_result_word(enum dns_result result);
const char *dns_security_word(enum dns_security security);

/* The type that `word` names in any case; false when it is none of ours. */
bool dns_type_find(const char *word, enum dns_type *ret_type);

/* The pieces of dns_ask(), for who has a channel and no peer: the ask, owned by `owner`; and what came back (NULL = malformed). */
struct frame *dns_ask_frame(const void *owner, const char *name, enum dns_type type);
struct dns_answer *dns_answer_read(const void *owner, struct frame *answer);

/* The serving side: what is asked, its name as dns_message_name() makes it, owned by `owner`; false for a malformed ask. The name is NULL
 * when no such name can be. */
bool dns_ask_read(const void *owner, struct frame *ask, const char **ret_name, enum dns_type *ret_type);

/* The answer frame, owned by `owner`. */
struct frame *dns_answer_frame(const void *owner, const struct dns_answer *answer);

/* An answer that is DNS_FAILED, for the reason `why` (static), owned by `owner`. */
struct dns_answer *dns_failed(const void *owner, const char *why);

/* What a packet says that a resolver answered to a question for `type`, with what it says of its security; `why` (copied) of a bogus one.
 * Never NULL, owned by `owner`. */
struct dns_answer *dns_answer_parse(const void *owner, struct text packet, enum dns_type type,
	enum dns_security security, const char *why);
