#pragma once
/* PEM to OpenSSL's structs and back, for the files of this room. */

#include <stdbool.h>

#include <openssl/x509.h>

#include "base/text.h"

enum { PEM_MAX = 1 << 20, PEM_CERTIFICATES_MAX = 100 };

/* Every certificate in `pem`, in its order, whatever stands between them; the caller frees the stack with its certificates. 0, or ERR_FORMAT or -EFBIG with
 * one sentence in ret_why (static). */
int pem_certificates(struct text pem, STACK_OF(X509) * *ret_certificates, const char **ret_why);

/* What `bytes` are and how PEM is made of them when they are PKCS#7 with certificates; NULL when they are not. Static. */
const char *pem_pkcs7_hint(struct text bytes);

/* After OpenSSL read no further block: true when there is none, false when one is damaged. */
bool pem_is_end(void);

/* The first private key in `pem`, which must be written in clear; the caller frees it. As pem_certificates(). */
int pem_key(struct text pem, EVP_PKEY **ret_key, const char **ret_why);

/* A certificate; a private key (wiped when it is freed); a request. Owned by `owner`. */
char *pem_of_certificate(const void *owner, X509 *certificate);
char *pem_of_key(const void *owner, EVP_PKEY *key);
char *pem_of_request(const void *owner, X509_REQ *request);

/* A name as in RFC 2253, the most specific part first, in printable ASCII; owned by `owner`. */
char *pem_name(const void *owner, const X509_NAME *name);

/* The digest to sign with: what the key prescribes, SHA-384 for P-384, else SHA-256; NULL when it needs none. */
const EVP_MD *pem_digest_for(EVP_PKEY *key);
