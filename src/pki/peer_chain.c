#include "pki/peer_chain.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/base.h"

static int no_passphrase(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
}

static bool is_pem(struct text bytes)
{
	return memmem(bytes.at, bytes.len, "-----BEGIN ", 11) != NULL;
}

static void read_pem(struct text bytes, STACK_OF(X509) * chain)
{
	BIO *bio = text_must(BIO_new_mem_buf(bytes.at, (int)bytes.len));
	X509 *next;

	while (sk_X509_num(chain) < PEER_CHAIN_MAX &&
		(next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		sk_X509_push(chain, next);
	BIO_free(bio);
}

/* False when anything but certificates is there. */
static bool read_der(struct text bytes, STACK_OF(X509) * chain)
{
	const unsigned char *at = (const unsigned char *)bytes.at;
	const unsigned char *end = at + bytes.len;

	while (at < end && sk_X509_num(chain) < PEER_CHAIN_MAX) {
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
	STACK_OF(X509) *chain = text_must(sk_X509_new_null());
	bool fine = bytes.len > 0 && bytes.len <= (size_t)PEER_CHAIN_MAX * PEER_CHAIN_CERTIFICATE_MAX;

	if (fine && is_pem(bytes))
		read_pem(bytes, chain);
	else if (fine)
		fine = read_der(bytes, chain);
	ERR_clear_error();
	if (fine && sk_X509_num(chain) > 0)
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
	BIO *bio = text_must(BIO_new(BIO_s_mem()));
	char *at;

	X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
		XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_DN_REV | XN_FLAG_FN_SN | ASN1_STRFLGS_RFC2253);
	long len = BIO_get_mem_data(bio, &at);
	size_t kept = MIN((size_t)MAX(len, 0), (size_t)PEER_CHAIN_SUBJECT_MAX - 1);
	for (size_t i = 0; i < kept; i++)
		ret_text[i] = at[i] >= ' ' && at[i] < 0x7f ? at[i] : '?';
	ret_text[kept] = '\0';
	BIO_free(bio);
	ERR_clear_error();
	return ret_text;
}
