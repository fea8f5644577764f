#pragma once
/* What stands in a certificate, for operators. Text that came from others is printable ASCII here, whatever they wrote. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/text.h"

typedef struct x509_st X509;

struct certificate {
	const char *subject, *issuer;	     /* as in RFC 2253, the most specific part first */
	const char **alt_names;		     /* dNSNames and addresses */
	size_t alt_count;		     /* others are left out */
	int64_t not_before_ms, not_after_ms; /* wall clock; 0 = it cannot be read */
	const char *key;		     /* as MAKE_KEYS, or OpenSSL's name of its kind */
	char fingerprint_sha256[DIGEST_HEX_MAX], spki_sha256[DIGEST_HEX_MAX];
	bool self_signed;
};

/* What stands in `x509`; what ret_certificate points to is owned by `owner`. */
void certificate_describe(const void *owner, X509 *x509, struct certificate *ret_certificate);

/* Every certificate of a PEM chain in its order. 0, or a negative error with one sentence in ret_why; all owned by `owner`. */
int certificate_list(const void *owner, struct text pem, struct certificate **ret_list, size_t *ret_count,
	const char **ret_why);

/* Which names. */
enum { CERTIFICATE_COMMON_NAMES = 1 << 0, CERTIFICATE_ALT_NAMES = 1 << 1 };

/* FQDN validation (B12, B16): the common names, the dNSNames, or both, of the first certificate in `pem` are fully qualified. As certificate_list(). */
int certificate_check_names(const void *owner, struct text pem, unsigned which, const char **ret_why);
