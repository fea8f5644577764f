#pragma once
/*
 * One generation of the configuration as master hands it to a role: the configuration file and every file it names
 * (certificates, keys, CA lists), packed into a sealed memfd. A role gets only the secrets it may see.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct bundle;

/* Which roles may see an entry; a set. */
enum {
	BUNDLE_FRONT = 1 << 0,
	BUNDLE_QUEUE = 1 << 1,
	BUNDLE_DELIVER = 1 << 2,
	BUNDLE_RESOLVER = 1 << 3,
	BUNDLE_KEYS = 1 << 4,
	BUNDLE_UPKEEP = 1 << 5,
	BUNDLE_ALL = 0xff
};

/* What an entry is a part of, said together with its readers; one that belongs to none is the configuration's own. Each part may be read anew alone
 * (bundle_renew()). */
enum {
	BUNDLE_CERTIFICATES = 1 << 8, /* and keys */
	BUNDLE_REVOCATION = 1 << 9,   /* lists of revoked certificates */
	BUNDLE_STAPLES = 1 << 10,     /* answers of OCSP responders about our own certificates */
	BUNDLE_AUTHORITIES = 1 << 11, /* whom we trust */
	BUNDLE_PARTS = BUNDLE_CERTIFICATES | BUNDLE_REVOCATION | BUNDLE_STAPLES | BUNDLE_AUTHORITIES
};

/* An empty bundle owned by `owner`, for generation number `generation`. */
struct bundle *bundle_new(const void *owner, uint64_t generation);

/* A copy of `bundle` as generation number `generation`, without the entries that belong only to what `parts` names; keys that were put away are so
 * in the copy, unless they are left out. NULL when there is no memory for them. */
struct bundle *bundle_renew(
	const void *owner, uint64_t generation, const struct bundle *bundle, unsigned parts);

/* `parts`, and those that share an entry with them: a file may be a certificate and an authority at once, and is read anew for both or for none. */
unsigned bundle_parts_with(const struct bundle *bundle, unsigned parts);

/* True when both hold the same entries of `parts`; keys must be put away in both, or in none. */
bool bundle_is_same(const struct bundle *bundle, const struct bundle *other, unsigned parts);

uint64_t bundle_generation(const struct bundle *bundle);

/* Add (or, for the same path, widen the readers of) an entry. `path` and `bytes` are copied. */
void bundle_add(struct bundle *bundle, const char *path, struct text bytes, unsigned readers);

/* Add an entry, or replace that of the same path, its readers too. `path` and `bytes` are copied. */
void bundle_put(struct bundle *bundle, const char *path, struct text bytes, unsigned readers);

/* Read a file of at most 1 MiB from disk and add it; 0, or a negative errno (-EFBIG: larger). */
int bundle_add_file(struct bundle *bundle, const char *path, unsigned readers);

/* As bundle_add_file(), and only the certificates in the PEM file are kept, whatever else is in it. */
int bundle_add_chain(struct bundle *bundle, const char *path, unsigned readers);

/* As bundle_add_file(), for role `keys` alone: an entry of its own, whatever else is known under this path. */
int bundle_add_key(struct bundle *bundle, const char *path);
void bundle_add_key_bytes(struct bundle *bundle, const char *path, struct text bytes);

/* As bundle_add_file(), of at most 64 MiB. */
int bundle_add_list(struct bundle *bundle, const char *path, unsigned readers);

/* As bundle_add_list(), as entry `path`, from file `name` of a directory that belongs to somebody who is not trusted: no link is followed. */
int bundle_add_kept(
	struct bundle *bundle, int directory_fd, const char *name, const char *path, unsigned readers);

/* The bytes of entry `path`, borrowed while the bundle lives; NULL `at` when there is none. */
struct text bundle_find(const struct bundle *bundle, const char *path);

/* The same of what bundle_add_key() added. */
struct text bundle_find_key(const struct bundle *bundle, const char *path);

/* Seal what role `keys` may see for every later bundle_seal(), and wipe from this process what only that role may see; 0, or a negative
 * errno. */
int bundle_put_keys_away(struct bundle *bundle);

/* A sealed memfd with the entries that `reader` (one bit) may see; the caller owns the descriptor. Or a negative errno. */
int bundle_seal(const struct bundle *bundle, unsigned reader);

/* Map a sealed memfd; fd stays the caller's. Refuses a memfd that is not sealed against writing and shrinking.
 * The mapping is wiped from the process (unmapped) when the bundle is freed. NULL when it is malformed. */
struct bundle *bundle_open(const void *owner, int fd);
