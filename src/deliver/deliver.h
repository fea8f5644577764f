#pragma once
/* Stages 5 and 6 of a mail's life: take a leased mail to its next hop and say what became of it. */

#include "queue/envelope.h"

struct accounts;
struct clear_hosts;
struct config;
struct contexts;
struct crl_set;
struct crl_told;
struct dns_cache;
struct link;
struct metrics;
struct peer;
struct tls_context;
struct tls_sessions;
struct trust;
struct verify_memo;

/* What deliveries need of the house; borrowed while they run. */
struct deliver_house {
	const struct config *config;
	struct peer *resolver;		 /* for lookup/dns.h */
	struct dns_cache *dns_cache;	 /* of its answers */
	struct peer *upkeep;		 /* for pki/ocsp_ask.h */
	struct tls_context *tls;	 /* where no profile is named */
	const struct contexts *contexts; /* for each profile and certificate; NULL = `tls` serves for all */
	struct tls_sessions *sessions;	 /* NULL = none are kept */
	const struct trust *trust;	 /* who vouches for servers that are verified; NULL = none is */
	struct verify_memo *memo;	 /* of what is only recorded; NULL = nothing is remembered */
	const struct crl_set *crls;	 /* NULL = revocation is not checked */
	struct crl_told *told; /* of issuers without a list, and of demands that exclude each other */
	struct clear_hosts *clear_hosts; /* the temporary list; of the role, over generations */
	const struct accounts *accounts; /* NULL = no route logs in */
	struct metrics *metrics;
	uint64_t incarnation;
	int stop_fd; /* readable: end now */
};

/* Deliver `lease` over *link when that fits, else over a new one (which replaces it; NULL = none is open). The outcome is owned by `owner`
 * and complete: every recipient has a state, and bounces come with their DSN. */
struct outcome *deliver_attempt(
	const struct deliver_house *house, struct link **link, const struct lease *lease, const void *owner);

/* The id of the next outbound connection, owned by `owner`. */
char *deliver_next_dcid(const struct deliver_house *house, const void *owner);
