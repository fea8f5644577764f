#include "pki/peer_chain.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

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

STACK_OF(X509) * peer_chain_hold(const STACK_OF(X509) * chain)
{
	return chain == NULL ? NULL : text_must(X509_chain_up_ref((STACK_OF(X509) *)(uintptr_t)chain));
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

static bool names_responder(const X509 *certificate)
{
	AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access); i++)
		found |= OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(access, i)->method) == NID_ad_OCSP;
	AUTHORITY_INFO_ACCESS_free(access);
	return found;
}

bool peer_chain_never_revoked(const X509 *certificate)
{
	ASN1_OBJECT *id = text_must(OBJ_txt2obj("2.5.29.56", 1));
	bool promised = X509_get_ext_by_OBJ(certificate, id, -1) >= 0;

	ASN1_OBJECT_free(id);
	return promised && X509_get_ext_by_NID(certificate, NID_crl_distribution_points, -1) < 0 &&
	       !names_responder(certificate) && X509_check_ca((X509 *)(uintptr_t)certificate) == 0;
}

X509 *peer_chain_at(const struct stack_st_X509 *chain, int index)
{
	return sk_X509_value(chain, index); /* which looks whether there is one */
}
