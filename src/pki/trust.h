#pragma once
/* Whom we trust: certificate authorities from PEM text in memory. Immutable once it is in use, then safe from any thread. */

#include <stddef.h>

#include "base/text.h"

struct bundle;
struct config;
struct config_authorities;
struct problems;
struct trust;
typedef struct x509_store_st X509_STORE;

/* Nobody is trusted; owned by `owner`. */
struct trust *trust_new(const void *owner);

/* Trust each certificate in `pem`, as an anchor, whoever issued it; how many it held. */
size_t trust_add(struct trust *trust, struct text pem);

/* How many were added, copies counted. */
size_t trust_count(const struct trust *trust);

/* The authorities of a generation: the system's and the custom ones, as far as they are on and in `bundle`; owned by `owner`. */
struct trust *trust_of(const void *owner, const struct config *config, const struct bundle *bundle);

/* Those of a destination that says `own`, and of nobody else. */
struct trust *trust_of_own(
	const void *owner, const struct config_authorities *own, const struct bundle *bundle);

/* The authorities of a generation as PEM, one behind another, owned by `owner`. */
struct text trust_pem_of(const void *owner, const struct config *config, const struct bundle *bundle);

/* For `postern check`: a file that is named to hold authorities holds one. Problems are added. */
void trust_check(const struct config *config, const struct bundle *bundle, struct problems *problems);

/* For pki/verify. */
X509_STORE *trust_native(const struct trust *trust);
