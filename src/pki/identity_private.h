#pragma once
/* What the files of identity share. */

#include <openssl/x509.h>

struct identity {
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf */
	EVP_PKEY *key;		/* or its handle */
};
