#pragma once
/* One list of revoked certificates: its form, and what it says of itself. Nothing here says that it may be believed (pki/crl_set.h). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

typedef struct X509_crl_st X509_CRL;

enum { CRL_LIST_MAX = 64 << 20, CRL_LIST_NUMBER_MAX = 64 };

struct crl_facts {
	const char *issuer;		  /* as in RFC 2253, printable */
	char number[CRL_LIST_NUMBER_MAX]; /* cRLNumber in hexadecimal; empty = none */
	int64_t this_ms, next_ms;	  /* wall clock; 0 = it cannot be read, or is not said */
	size_t entries;
};

/* Parse `bytes`, one list, PEM or DER; the caller frees it by X509_CRL_free(). NULL when it is none, or larger than CRL_LIST_MAX. */
X509_CRL *crl_list_read(struct text bytes);

/* NULL when `bytes` have the form of one list in PEM (`pem`) or DER; else what they are instead. Static. */
const char *crl_list_flaw(struct text bytes, bool pem);

/* What it says of itself, strings owned by `owner`; false when it is no list. */
bool crl_list_describe(const void *owner, struct text bytes, struct crl_facts *ret_facts);
