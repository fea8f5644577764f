#pragma once
/*
 * The store of certificates: state_dir/pki, a directory for each certificate with its chain and its private key. A certificate is replaced as a whole:
 * whoever reads finds one chain and the key that belongs to it, whenever a writer or the machine stops. One writer at a time.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct pki_store;

enum { PKI_STORE_FILE_MAX = 1 << 20 }; /* bytes of a chain, of a key */

/* PEM; the key is wiped when it is freed. */
struct pki_store_pair {
	char *chain, *key;
};

/* Open for reading; a store that does not exist is empty. 0, or a negative errno. Owned by `owner`. */
int pki_store_open(const void *owner, const char *state_dir, struct pki_store **ret_store);

/* Open for writing: made when it is missing (state_dir is not), what a writer that died left behind is removed, other writers wait. -EPERM: it belongs to
 * another user. */
int pki_store_open_writer(const void *owner, const char *state_dir, struct pki_store **ret_store);

/* Names in alphabetical order, owned by `owner`. 0, or a negative errno. */
int pki_store_list(const struct pki_store *store, const void *owner, char ***ret_names, size_t *ret_count);

bool pki_store_has(const struct pki_store *store, const char *name);

/* A chain and its key, owned by `owner`. 0, -ENOENT when there is no such certificate, -EFBIG, or another negative errno. */
int pki_store_read(
	const struct pki_store *store, const void *owner, const char *name, struct pki_store_pair *ret_pair);

/* Only for writers, and durable when they return 0; else a negative errno (-EINVAL: no name for a certificate). */

/* Store a new certificate, or put it in the place of the one that has this name. */
int pki_store_write(struct pki_store *store, const char *name, struct text chain, struct text key);

/* -ENOENT: there is none; -EBUSY: it is the active one. */
int pki_store_delete(struct pki_store *store, const char *name);

/* Let listeners that name no certificate use this one. */
int pki_store_activate(struct pki_store *store, const char *name);

/* The name of the active certificate, owned by `owner`; NULL when there is none. */
char *pki_store_active(const struct pki_store *store, const void *owner);
