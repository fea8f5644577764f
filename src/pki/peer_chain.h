#pragma once
/* Certificates as a peer or a file gives them, in OpenSSL's form. */

#include <stdbool.h>

#include "base/text.h"

typedef struct x509_st X509;
struct stack_st_X509;

enum {
	PEER_CHAIN_MAX = 20,		      /* certificates in one */
	PEER_CHAIN_CERTIFICATE_MAX = 1 << 16, /* bytes of one */
	PEER_CHAIN_SUBJECT_MAX = 160
};

/* The certificates in `bytes`, PEM or the DER of one behind another; NULL when there is none, one is damaged, there are more than PEER_CHAIN_MAX, or
 * anything else stands between or behind DER. The caller frees it by peer_chain_free(). */
struct stack_st_X509 *peer_chain_read(struct text bytes);

/* Another hold on all of `chain`, for peer_chain_free(); NULL stays NULL. */
struct stack_st_X509 *peer_chain_hold(const struct stack_st_X509 *chain);

/* Free it with its certificates; NULL is fine. For CLEANUP(peer_chain_freep). */
void peer_chain_free(struct stack_st_X509 *chain);
void peer_chain_freep(struct stack_st_X509 **chain);

/* The one at `index`, borrowed; NULL behind the last. A NULL chain has none. */
X509 *peer_chain_at(const struct stack_st_X509 *chain, int index);

/* The subject for a person, most specific part first (`CN=a,O=b`), printable ASCII, cut to PEER_CHAIN_SUBJECT_MAX bytes; returns ret_text. */
char *peer_chain_subject(const X509 *certificate, char *ret_text);

/* Does its issuer say that it never revokes it (RFC 9608)? It does not count for an authority, nor where a list or a responder is named. */
bool peer_chain_never_revoked(const X509 *certificate);
