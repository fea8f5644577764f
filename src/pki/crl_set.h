#pragma once
/* Lists of revoked certificates. Of each issuer there is one, and only after it proved to be one that can be relied on. Immutable once it is in use,
 * then safe from any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "policy/revocation.h"

struct crl_set;
struct trust;
struct stack_st_X509;

enum { CRL_SET_ISSUERS_MAX = 1000 };

enum crl_taken {
	CRL_TAKEN,  /* it is the list of its issuer now */
	CRL_OLDER,  /* a newer one of its issuer is held, and stays */
	CRL_REFUSED /* it says nothing */
};

/* What a list is, and where it comes from. */
struct crl_offer {
	struct text bytes;		     /* one list, PEM or DER */
	const struct trust *trust;	     /* where its issuer is looked for, and ... */
	const struct stack_st_X509 *issuers; /* ... among these; NULL = nowhere else */
	int64_t now_ms;			     /* clock_wall_ms() */
};

/* Without lists; owned by `owner`. */
struct crl_set *crl_set_new(const void *owner);

/* Take a list that may be older or newer than what is held: the higher cRLNumber counts, then the later thisUpdate, in whatever order they come.
 * With why it was not taken (static, else empty). */
enum crl_taken crl_set_add(struct crl_set *set, const struct crl_offer *offer, const char **ret_why);

/* Take a list that was just published: one that is older in either respect than what is held is refused, because somebody wants us to
 * forget. */
enum crl_taken crl_set_renew(struct crl_set *set, const struct crl_offer *offer, const char **ret_why);

/* How many issuers have a list. */
size_t crl_set_count(const struct crl_set *set);

/* What the lists say about the certificate at `depth` of a verified path (the peer's first): that of its issuer, by any key under which the path knows it.
 * NULL `set` = there are no lists. */
enum revocation_finding crl_set_find(
	const struct crl_set *set, const struct stack_st_X509 *path, int depth, int64_t now_ms);
