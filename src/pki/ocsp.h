#pragma once
/* The status of one certificate, asked of a responder of its issuer (RFC 6960). Nothing is sent or fetched here: bytes in, bytes and findings out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "policy/ocsp.h"

typedef struct x509_st X509;

enum {
	OCSP_URLS_MAX = 4,
	OCSP_NONCE_LEN = 32,	     /* RFC 9654 */
	OCSP_RESPONSE_MAX = 1 << 16, /* bytes that are looked at */
	OCSP_REASON_MAX = 200
};

/* Which certificate, and who issued it; both borrowed. */
struct ocsp_question {
	X509 *certificate, *issuer;
	struct text nonce; /* OCSP_NONCE_LEN bytes that nobody could guess; empty = without */
};

struct ocsp_answer {
	enum ocsp_finding finding; /* OCSP_GOOD, OCSP_REVOKED, OCSP_UNKNOWN, or OCSP_NO_ANSWER */
	int64_t this_update_ms;	   /* wall clock; 0 with OCSP_NO_ANSWER, as the next two */
	int64_t next_update_ms;	   /* 0 = it does not say */
	int64_t until_ms;	   /* it may be used until then */
	char reason
		[OCSP_REASON_MAX]; /* since when and why it is revoked, or why the answer does not count; printable, may be empty */
};

/* Where to ask: the http and https URLs that the certificate names, in its order, OCSP_URLS_MAX at most, owned by `owner`; how many. */
size_t ocsp_urls(const void *owner, const X509 *certificate, const char *ret_urls[OCSP_URLS_MAX]);

/* What to send, in DER, owned by `owner`. */
struct text ocsp_request(const void *owner, const struct ocsp_question *question);

/* What `response` says about this certificate, if it says anything and may be believed. */
void ocsp_judge(const struct ocsp_question *question, struct text response, int64_t now_ms,
	struct ocsp_answer *ret_answer);
