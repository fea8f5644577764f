#pragma once
/* For pki/verify: whose certificate is it? */

#include <stdbool.h>
#include <stddef.h>

#include "pki/verify.h"

typedef struct x509_st X509;

/* A name to look for: lower case, without a final dot, owned by `owner`; NULL when it cannot be a host's name: leading dot, wildcard, other than
 * ASCII letters, digits, `-`, `_` and `.`, an address. */
char *verify_names_reference(const void *owner, const char *host);

/* Does `reference` name anybody? */
bool verify_names_asked(const struct verify_reference *reference);

/* True when the first certificate of the verified `chain` is for one of `reference`; what it is for is written to the verdict. Else the reason is. */
bool verify_names_match(bool cn_fallback, const struct verify_reference *reference,
	const struct stack_st_X509 *chain, struct verify_verdict *verdict);

/* Does the common name of the first certificate count (decision 3 of the architecture)? */
bool verify_names_common_counts(bool cn_fallback, const struct stack_st_X509 *chain);

/* False, with the reason, when a name of the certificate, of those that count, is not fully qualified. */
bool verify_names_qualified(
	bool cn_fallback, const struct stack_st_X509 *chain, struct verify_verdict *verdict);

/* True when all host names of a certificate are fully qualified, the common name included. */
bool verify_names_are_qualified(const X509 *certificate);

/* False, with the reason, when a wildcard among the certificate's names takes in names that an authority above it is not to vouch for, and nobody
 * said which name counts. */
bool verify_names_permitted(const struct verify_reference *reference, const struct stack_st_X509 *chain,
	struct verify_verdict *verdict);
