#include "pki/peer_chain.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include <talloc.h>

#include "base/base.h"
#include "pki/pem.h"

static bool is_pem(struct text bytes)
{
	return memmem(bytes.at, bytes.len, "-----BEGIN ", 11) != NULL;
}

/* False when anything but certificates is there. */
static bool read_der(struct text bytes, STACK_OF(X509) * chain)
{
	const unsigned char *at = (const unsigned char *)bytes.at;
	const unsigned char *end = at + bytes.len;

	while (at < end && sk_X509_num(chain) <= PEER_CHAIN_MAX) {
		const unsigned char *start = at;
		X509 *next = d2i_X509(NULL, &at, end - at);

		if (next == NULL)
			return false;
		sk_X509_push(chain, next);
		if (at - start > PEER_CHAIN_CERTIFICATE_MAX)
			return false;
	}
	return true;
}

STACK_OF(X509) * peer_chain_read(struct text bytes)
{
	STACK_OF(X509) *chain = NULL;
	const char *why;
	bool fine = bytes.len > 0 && bytes.len <= (size_t)PEER_CHAIN_MAX * PEER_CHAIN_CERTIFICATE_MAX;

	if (fine && is_pem(bytes)) {
		fine = pem_certificates(bytes, &chain, &why) == 0;
	} else if (fine) {
		chain = text_must(sk_X509_new_null());
		fine = read_der(bytes, chain);
	}
	ERR_clear_error();
	if (fine && sk_X509_num(chain) > 0 && sk_X509_num(chain) <= PEER_CHAIN_MAX)
		return chain;
	peer_chain_free(chain);
	return NULL;
}

void peer_chain_free(STACK_OF(X509) * chain)
{
	sk_X509_pop_free(chain, X509_free);
}

void peer_chain_freep(STACK_OF(X509) * *chain)
{
	peer_chain_free(*chain);
}

char *peer_chain_subject(const X509 *certificate, char *ret_text)
{
	char *name = pem_name(NULL, X509_get_subject_name(certificate));
	size_t len = 0;

	for (; name[len] != '\0' && len < PEER_CHAIN_SUBJECT_MAX - 1; len++)
		ret_text[len] = name[len] >= ' ' && name[len] < 0x7f ? name[len] : '?';
	ret_text[len] = '\0';
	talloc_free(name);
	return ret_text;
}
