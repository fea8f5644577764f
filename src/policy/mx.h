#pragma once
/*
 * Which servers take the mail of a domain, in which order (RFC 5321 section 5.1, RFC 7505), and what it means that there is none. Pure:
 * what the DNS said comes as facts, and chance as a seed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MX_HOSTS_MAX = 8 }; /* tried in one attempt: the next attempt begins anew */

/* What the DNS said about the domain's MX records. */
enum mx_lookup { MX_LOOKUP_FOUND, MX_LOOKUP_NO_DATA, MX_LOOKUP_NO_NAME, MX_LOOKUP_FAILED };

struct mx_record {
	const char *name; /* as dns_record.name: empty = the root */
	uint16_t preference;
};

struct mx_facts {
	const char *domain;
	enum mx_lookup lookup;
	const struct mx_record *records;
	size_t count;
	const char *own_name; /* under which we may stand in the list ourselves */
	uint64_t seed;
};

/* Why there is nobody to give the mail to. */
enum mx_end {
	MX_GO,		   /* there is */
	MX_END_UNKNOWN,	   /* a lookup failed */
	MX_END_NO_NAME,	   /* the domain does not exist */
	MX_END_NULL,	   /* it says that it takes no mail */
	MX_END_LOOP,	   /* we are its best server */
	MX_END_NO_SERVER,  /* no record names a host */
	MX_END_NO_ADDRESS, /* no host has an address */
	MX_END_COUNT,
};

struct mx_host {
	const char *name; /* borrowed from the facts */
	uint16_t preference;
};

struct mx_plan {
	enum mx_end end;
	size_t count; /* > 0 exactly with MX_GO */
	struct mx_host hosts[MX_HOSTS_MAX];
};

/* The hosts to try, best first, those of equal preference in an order that the seed shuffles. No MX record at all: the domain itself. Hosts that
 * are not better than ourselves are left out, so are records whose name is an address or no host name. */
struct mx_plan mx_decide(const struct mx_facts *facts);

/* An address of a host with `preference` turned out to be ours: drop it and what is not better. */
void mx_cut(struct mx_plan *plan, uint16_t preference);

/* What became of the hosts of a plan when the mail found no server at all. */
struct mx_tally {
	bool loop;    /* mx_cut() dropped some */
	bool unknown; /* an address could not be looked up */
};

/* Why none could be tried. */
enum mx_end mx_decide_end(const struct mx_tally *tally);

struct mx_word {
	bool permanent;
	const char *reply; /* static; code, status and text, without a full stop */
};

/* What is said about a mail that ends so. `configured`: the domain was named by a route, not by the recipient's address; then the operator can
 * mend it, and nothing is permanent. Not for MX_GO. */
struct mx_word mx_explain(enum mx_end end, bool configured);
