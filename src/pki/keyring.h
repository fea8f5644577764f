#pragma once
/* The private keys of role `keys`, found by their public half. Immutable after load; safe from any thread. */

#include "base/digest.h"
#include "base/text.h"
#include "policy/key_use.h"

struct bundle;
struct config;
struct keyring;

/* The largest signature, and the largest encrypted secret: RSA with 16,384 bits. */
enum { KEYRING_BYTES_MAX = 2048 };

struct keyring_key; /* one of them; lives as long as the keyring */

/* Load every key of the configuration from its bundle, owned by `owner`; NULL and why (static) when one cannot be used. */
struct keyring *keyring_load(
	const void *owner, const struct config *config, const struct bundle *bundle, const char **ret_why);

/* The key whose public half has this digest (identity_key_id()), or NULL. */
const struct keyring_key *keyring_find(const struct keyring *keyring, const struct digest *id);

/* Name, uses, type and size as the facts of a decision; the rest of the facts is left as it is. */
void keyring_describe(const struct keyring_key *key, struct key_use_facts *facts);

/* The name of the certificate in the configuration. Borrowed. */
const char *keyring_name(const struct keyring_key *key);

/* Do what was granted: sign the digest in `bytes`, or open the secret in it for a client that offered protocol `version` as the TLS record has
 * it (0x0303). How many bytes it wrote into `ret_bytes` (KEYRING_BYTES_MAX), or ERR_TLS. */
int keyring_use(const struct keyring_key *key, enum key_use_kind kind, enum key_use_digest digest,
	unsigned version, struct text bytes, char *ret_bytes);
