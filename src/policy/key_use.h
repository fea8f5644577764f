#pragma once
/* Whether role `keys` uses a private key for another role. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_use_role { KEY_USE_FRONT, KEY_USE_DELIVER, KEY_USE_OTHER, KEY_USE_ROLE_END };

/* What a key is for, by the configuration; a set. */
enum {
	KEY_USE_LISTENER = 1 << 0, /* a listener names its certificate */
	KEY_USE_DELIVERY = 1 << 1, /* deliveries present its certificate */
	KEY_USE_RSA_EXCHANGE =
		1 << 2, /* such a listener's TLS profile takes key exchange without forward secrecy */
	KEY_USE_END = 1 << 3,
};

enum key_use_type { KEY_USE_EC, KEY_USE_RSA, KEY_USE_TYPE_END };

/* What shall be done with it. */
enum key_use_kind {
	KEY_USE_ECDSA, /* sign */
	KEY_USE_PKCS1, /* sign */
	KEY_USE_PSS,   /* sign; the salt is as long as the digest */
	KEY_USE_PREMASTER, /* open the secret of a TLS key exchange; what does not have its form becomes a random one */
	KEY_USE_KIND_END,
};

enum key_use_digest {
	KEY_USE_SHA1,	  /* TLS 1.0 and 1.1 */
	KEY_USE_MD5_SHA1, /* the same, PKCS1 only */
	KEY_USE_SHA224,
	KEY_USE_SHA256,
	KEY_USE_SHA384,
	KEY_USE_SHA512,
	KEY_USE_DIGEST_END,
};

struct key_use_facts {
	enum key_use_role role; /* who asks */
	bool known;		/* there is such a key; else `uses`, `type` and `size` say nothing */
	unsigned uses;
	enum key_use_type type;
	size_t size; /* of its signatures, in bytes; of RSA: of its modulus */
	enum key_use_kind kind;
	enum key_use_digest digest; /* of KEY_USE_PREMASTER nothing */
	size_t len;		    /* bytes to sign or open */
	bool often;		    /* the role asks more often than it may */
};

enum key_use {
	KEY_USE_YES,
	KEY_USE_TOO_OFTEN,
	KEY_USE_NO_KEY,
	KEY_USE_NO_RIGHT,
	KEY_USE_NO_FIT,
	KEY_USE_VERDICT_END
};

enum key_use key_use_decide(const struct key_use_facts *facts);

/* What a role may ask in a second, and what it has asked; all zero = nothing. */
enum { KEY_USE_ASKS_A_SECOND = 10000 };

struct key_use_rate {
	int64_t second;
	unsigned asks; /* in it */
};

/* Count an ask at `now_ms`; true when there have been more than enough in this second. */
bool key_use_often(struct key_use_rate *rate, int64_t now_ms);

/* The length of a digest in bytes. */
size_t key_use_digest_size(enum key_use_digest digest);

/* Why not, in words for logs. Static. */
const char *key_use_reason(enum key_use verdict);
