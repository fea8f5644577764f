#pragma once
/* What verify.c and dane.c share. */

#include "pki/verify.h"

typedef struct x509_st X509;
typedef struct x509_store_ctx_st X509_STORE_CTX;

/* Purpose, clock and strength of a verification that is about to be made by OpenSSL. */
void verify_prepare(X509_STORE_CTX *context, enum verify_purpose purpose, int64_t now_ms, bool weak);

/* It failed, as `context` says: refuse with its error and certificate. */
void verify_refuse_error(struct verify_verdict *verdict, X509_STORE_CTX *context);

/* The result, and why; with the certificate at `depth` when `whose` is not NULL. */
void verify_refuse(struct verify_verdict *verdict, enum verify_result result, const char *why, int depth,
	const X509 *whose);

/* These were looked at and found in order. */
void verify_pass(struct verify_verdict *verdict, unsigned checks);

/* False after refusing a key by which anybody can sign. */
bool verify_strength(const struct stack_st_X509 *path, struct verify_verdict *verdict);
