#pragma once
/* A chain as servers present it, from what an operator has: some certificates in some order, and the key. */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum chain_time { CHAIN_VALID, CHAIN_EXPIRED, CHAIN_NOT_YET };

struct chain {
	char *pem;	      /* the certificate of the key, then the issuer of each; without the root */
	enum chain_time time; /* of the first certificate */
	const char **notes;   /* what was mended and what is missing, one sentence each */
	size_t note_count;
};

/* As pem_pkcs7_hint(). */
const char *chain_hint(struct text bytes);

/* Whether `pem` holds certificates, all of them whole: 0, or a negative error with one sentence in ret_why (static). */
int chain_check(struct text pem, const char **ret_why);

/* Build the chain of the certificate that belongs to `key` from those in `pem` at the time `now_ms` (clock_wall_ms()), everything owned by `owner`. 0, or a
 * negative error with one sentence in ret_why (-EKEYREJECTED: none of them belongs to the key). */
int chain_build(const void *owner, struct text pem, struct text key, int64_t now_ms, struct chain *ret_chain,
	const char **ret_why);

/* The private key in `pem`, by itself and in the form of PKCS#8, owned by `owner` and wiped when it is freed. As chain_build(). */
int chain_key(const void *owner, struct text pem, char **ret_key, const char **ret_why);
