#pragma once
/* Private keys, self-signed certificates and signing requests. Everything is PEM. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum { MAKE_DAYS_MAX = 36500 };

/* Kinds of keys, for messages. */
#define MAKE_KEYS "rsa:2048, rsa:3072, rsa:4096, p256 or p384"

/* What a certificate says of its owner; NULL = nothing. Names beyond ASCII become A-labels. */
struct make_subject {
	const char *common_name, *organization, *unit, *city, *state, *country;
	const char *const *alt; /* names and addresses beside the common name */
	size_t alt_count;
	uint64_t days; /* from 1 to MAKE_DAYS_MAX */
};

/* True when `kind` is one of MAKE_KEYS; with `legacy` also rsa:1024. */
bool make_knows_key(const char *kind, bool legacy);

/* A new key of a kind that is known, owned by `owner`, wiped when it is freed. */
char *make_key(const void *owner, const char *kind);

/* A certificate for servers and clients that is its own issuer: valid from now on, with a random serial number, and with the common name among its
 * alternative names (C48). 0 and the PEM, or ERR_FORMAT with one sentence in ret_why. Both owned by `owner`. */
int make_certificate(const void *owner, struct text key, const struct make_subject *subject, char **ret_pem,
	const char **ret_why);

/* A request for a certificate with the subject and the alternative names of the first one in `chain`, signed with `key`, which must belong to it. As
 * make_certificate(). */
int make_request(const void *owner, struct text key, struct text chain, char **ret_pem, const char **ret_why);
