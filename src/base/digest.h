#pragma once
/* SHA-256, by OpenSSL. */

#include <stdint.h>

#include "base/text.h"

enum { DIGEST_SIZE = 32, DIGEST_HEX_MAX = 65 };

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

/* The digest of `t`. */
struct digest digest_of(struct text t);

/* The digest of the first `size` bytes of file `fd`, read by position; 0, or a negative errno (-ENODATA: shorter). */
int digest_of_file(int fd, uint64_t size, struct digest *ret_digest);

/* Lower-case hexadecimal into `ret_text` (DIGEST_HEX_MAX bytes); returns ret_text. */
char *digest_hex(const struct digest *digest, char *ret_text);
