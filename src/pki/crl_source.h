#pragma once
/* One source of a list of revoked certificates: fetching it, and proving what came before it is kept. */

#include <stdint.h>

#include "base/text.h"
#include "pki/crl_file.h"
#include "policy/revocation.h"

struct bundle;
struct config;
struct config_crl_source;
struct crl_set;
struct fetch_means;
struct trust;

enum crl_renewal {
	CRL_RENEWED, /* another list is kept now */
	CRL_SAME,    /* the one that is held was sent again */
	CRL_FAILED   /* what is held stays */
};

struct crl_source_means {
	struct fetch_means *fetch;
	const struct trust *trust; /* whose signatures count */
	int directory_fd;	   /* crl_file_make() */
	size_t most;		   /* bytes of a list */
	int64_t within_ms;	   /* for each of its URLs */
};

/* Fetch it from the primary URL, and from the secondary one when that gives no list that can be used; keep what can, and note in `note` (which the caller writes) what
 * came of it. */
enum crl_renewal crl_source_renew(
	const struct crl_source_means *means, const struct config_crl_source *source, struct crl_note *note);

/* A wall clock at which a list that was kept is not from the future: what was proved once is not unproved by a clock that is set back. */
int64_t crl_source_now(struct text list, int64_t now_ms);

/* A list of a generation that can be relied on no longer. */
struct crl_source_flaw {
	const char *source, *why;
};

/* The lists of a generation that `trust` vouches for, owned by `owner`; and those it does not, owned by it, too. */
struct crl_set *crl_source_load(const void *owner, const struct config *config, const struct bundle *bundle,
	const struct trust *trust, struct crl_source_flaw **ret_flaws, size_t *ret_count);

/* How much revocation counts where it is checked (`check`). */
enum revocation_mode crl_source_mode(const struct config *config, bool check);
