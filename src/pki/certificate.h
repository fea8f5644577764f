#pragma once
/* What stands in a certificate, for operators. Text that came from others is printable ASCII here, whatever they wrote. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/text.h"

struct certificate {
	const char *subject, *issuer;	     /* as in RFC 2253, the most specific part first */
	const char **alt_names;		     /* dNSNames and addresses */
	size_t alt_count;		     /* others are left out */
	int64_t not_before_ms, not_after_ms; /* wall clock */
	const char *key;		     /* as MAKE_KEYS, or OpenSSL's name of its kind */
	char fingerprint_sha256[DIGEST_HEX_MAX], spki_sha256[DIGEST_HEX_MAX];
	bool self_signed;
};

/* Every certificate of a PEM chain in its order. 0, or a negative error with one sentence in ret_why; all owned by `owner`. */
int certificate_list(const void *owner, struct text pem, struct certificate **ret_list, size_t *ret_count,
	const char **ret_why);

/* FQDN validation (B12, B16): the common names and the dNSNames of the first certificate in `pem` are fully qualified. As certificate_list(). */
int certificate_check_names(const void *owner, struct text pem, const char **ret_why);
