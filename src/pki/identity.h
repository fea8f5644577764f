#pragma once
/* Certificates with their private keys. The one place that loads a private key; it hands out handles, never keys. */

#include "base/digest.h"
#include "base/text.h"

struct config;
struct identity;
struct key_handles;
struct problems;
struct tls_context;
typedef struct evp_pkey_st EVP_PKEY;

/* Why a certificate cannot be used; both texts are static. */
struct identity_flaw {
	const char *part; /* "chain" or "key" */
	const char *text; /* what is wrong and the cure */
	bool apart;	  /* both are fine, but not a pair */
};

/* Load a PEM chain (leaf first) and the PEM key that belongs to it; owned by `owner`. NULL and the flaw when they are unusable. */
struct identity *identity_load(
	const void *owner, struct text chain, struct text key, struct identity_flaw *ret_flaw);

/* The same without the key, which role `keys` has: `handles` asks it. `name` is the certificate's in logs. */
struct identity *identity_load_chain(const void *owner, struct text chain, struct key_handles *handles,
	const char *name, struct identity_flaw *ret_flaw);

/* Let `context` prove itself with this identity; 0, or ERR_TLS. */
int identity_use(const struct identity *identity, struct tls_context *context);

/* For role `keys`: the private key in `pem`, to be freed; NULL when there is none without a passphrase. */
EVP_PKEY *identity_read_key(struct text pem);

/* By what role `keys` knows a key: the digest of its public half (SubjectPublicKeyInfo). */
struct digest identity_key_id(const EVP_PKEY *key);

/* For `postern check`: every certificate in the configuration loads and fits its key; CA files hold certificates.
 * `bundle` holds the files. Problems are added. */
struct bundle;
void identity_check(const struct config *config, const struct bundle *bundle, struct problems *problems);

/* The same without CA files, for which there is trust_check(). */
void identity_check_certificates(
	const struct config *config, const struct bundle *bundle, struct problems *problems);
