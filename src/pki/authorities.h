#pragma once
/* The lists of authorities, for `postern ca`: what they hold, and changes to what is kept in STATE_DIR/pki/authorities (config/trust_files.h says how).
 * Changes are durable when these functions return. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "config/trust_files.h"

struct authority {
	const char *sha256; /* of the certificate, lower-case hexadecimal */
	const char *name;   /* its common name, or what else it is called */
	const char *subject, *issuer, *serial;
	int64_t starts_ms, ends_ms; /* wall clock; 0 = it cannot be read */
	const char *key;	    /* as in struct certificate */
	const char *signature;	    /* `sha256WithRSAEncryption` */
	struct text pem;
	size_t block;	   /* its number among the blocks of PEM where it was read, from 1 */
	bool is_authority; /* it may issue certificates */
	bool self_signed;  /* and vouches for itself, whether it is an authority or not (B8) */
	bool self_issued;  /* else somebody else vouches for it, too */
	bool expired;
	bool qualified; /* its names are fully qualified: common name and dNSNames */
};

/* A block of PEM that is a certificate or damaged, and cannot be read. */
struct authorities_damage {
	size_t block;
	const char *why; /* static */
};

struct authorities {
	struct authority *all;
	size_t count;
	struct authorities_damage *damaged;
	size_t unreadable; /* how many */
};

/* The certificates in `pem`, owned by `owner`. */
struct authorities *authorities_parse(const void *owner, struct text pem);

/* The one that `wanted` means: 4 or more digits that its fingerprint begins with (colons do not count), or its name. `from` = where to begin; the index,
 * or count. */
size_t authorities_find(const struct authorities *authorities, const char *wanted, size_t from);

/* The kept ones of a state directory. 0, or a negative errno. */
int authorities_kept(const void *owner, const char *state_dir, struct authorities **ret_kept);

/* Why it is not to be kept; NULL when it is. Static. */
const char *authorities_flaw(const struct authority *authority, bool validate_fqdn);

/* Keep it, or no longer. 0, 1 when it was so before, or a negative errno. */
int authorities_keep(const char *state_dir, const struct authority *authority);
int authorities_drop(const char *state_dir, const struct authority *authority);

/* Switch a list on or off. 0, 1 when it was so before, or a negative errno. */
int authorities_switch(const char *state_dir, enum trust_list list, bool on);

/* PEM text with comments, which can be imported again; owned by `owner`. */
char *authorities_export(const void *owner, const struct authorities *authorities);
