#pragma once
/* PKCS#12 files (RFC 7292): a private key with its certificates under a passphrase. */

#include "base/text.h"

enum {
	PKCS12_SIZE_MAX = 1 << 20,
	PKCS12_ITERATIONS_MAX =
		10 * 1000 * 1000,	/* of all key derivations of a file that is imported, together */
	PKCS12_ITERATIONS = 100 * 1000, /* of each in a file that is exported */
};

/* Why a file cannot be imported. */
enum pkcs12_flaw {
	PKCS12_FLAW_NONE,
	PKCS12_FLAW_TOO_LARGE,
	PKCS12_FLAW_DAMAGED,
	PKCS12_FLAW_ITERATIONS,
	PKCS12_FLAW_UNKNOWN, /* an encryption or a sum that we do not take */
	PKCS12_FLAW_PASSPHRASE,
	PKCS12_FLAW_NO_KEY,
	PKCS12_FLAW_NO_CERTIFICATE,
	PKCS12_FLAW_MISMATCH,
};

/* One sentence with its cure; static. */
const char *pkcs12_flaw_text(enum pkcs12_flaw flaw);

/* Take the key and all certificates out of `file`, as PEM owned by `owner`; the key is wiped when it is freed. `passphrase` is UTF-8. Modern and old
 * encryption (RC2, 3DES) are read. Nothing is computed for a file whose derivations would take too long. */
enum pkcs12_flaw pkcs12_import(
	const void *owner, struct text file, const char *passphrase, char **ret_certificates, char **ret_key);

/* The first private key in `pem`, which is encrypted under `passphrase` (PKCS#8, or OpenSSL's older form), as PEM in clear owned by `owner`, wiped when it is
 * freed. The same limits. */
enum pkcs12_flaw pkcs12_open_key(const void *owner, struct text pem, const char *passphrase, char **ret_key);

/* A file with the key and the chain (leaf first), called `name`, under `passphrase` (AES-256, SHA-256), owned by `owner`. 0, or ERR_FORMAT with one
 * sentence in ret_why. */
int pkcs12_export(const void *owner, struct text chain, struct text key, const char *name,
	const char *passphrase, struct text *ret_file, const char **ret_why);
