/*
 * How every handshake of the house is set up. Explicit, because the library's defaults differ between versions: TLS 1.2 at least,
 * no renegotiation, no compression, server preference, tickets bound to their listener, buffers released when idle.
 * Certificates are checked by policy later; here the peer's certificate is recorded only.
 */
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/digest.h"
#include "net/evidence.h"

struct tls_context {
	SSL_CTX *native;
};

void tls_start(void)
{
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		abort();
}

void tls_thread_end(void)
{
	OPENSSL_thread_stop();
}

static int context_destroy(struct tls_context *context)
{
	SSL_CTX_free(context->native);
	return 0;
}

static struct tls_context *context_new(const void *owner, const SSL_METHOD *method)
{
	struct tls_context *context = text_must(talloc_zero(owner, struct tls_context));

	context->native = text_must(SSL_CTX_new(method));
	talloc_set_destructor(context, context_destroy);
	SSL_CTX_set_min_proto_version(context->native, TLS1_2_VERSION);
	SSL_CTX_set_options(context->native,
		SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(context->native, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
						  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return context;
}

struct tls_context *tls_context_server(const void *owner, const char *name)
{
	struct tls_context *context = context_new(owner, TLS_server_method());
	struct digest id = digest_of(text_of(name));

	SSL_CTX_set_session_id_context(context->native, id.bytes, SSL_MAX_SSL_SESSION_ID_LENGTH);
	SSL_CTX_set_session_cache_mode(context->native, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context->native, 1);
	return context;
}

struct tls_context *tls_context_client(const void *owner)
{
	struct tls_context *context = context_new(owner, TLS_client_method());

	SSL_CTX_set_verify(context->native, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(context->native, SSL_SESS_CACHE_OFF);
	return context;
}

SSL_CTX *tls_context_native(const struct tls_context *context)
{
	return context->native;
}

static void copy_word(char *out, size_t size, const char *word)
{
	snprintf(out, size, "%s", word == NULL ? "" : word);
}

static void observe_names(X509 *certificate, struct evidence *evidence)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && evidence->name_count < EVIDENCE_NAMES_MAX; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS)
			continue;
		snprintf(evidence->names[evidence->name_count++], EVIDENCE_NAME_MAX, "%.*s",
			ASN1_STRING_length(name->d.dNSName),
			(const char *)ASN1_STRING_get0_data(name->d.dNSName));
	}
	GENERAL_NAMES_free(names);
}

void tls_observe(SSL *ssl, struct evidence *evidence)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	struct digest fingerprint;

	evidence->obtained = "encrypted";
	copy_word(evidence->protocol, sizeof evidence->protocol, SSL_get_version(ssl));
	copy_word(evidence->cipher, sizeof evidence->cipher, SSL_get_cipher_name(ssl));
	long group = SSL_get_negotiated_group(ssl);
	copy_word(evidence->group, sizeof evidence->group,
		group > 0 ? SSL_group_to_name(ssl, (int)group) : NULL);
	evidence->name_count = 0;
	evidence->peer_sha256[0] = '\0';
	if (certificate != NULL && X509_digest(certificate, EVP_sha256(), fingerprint.bytes, NULL) == 1) {
		digest_hex(&fingerprint, evidence->peer_sha256);
		observe_names(certificate, evidence);
	}
}

void tls_error_text(char *ret_text, size_t size)
{
	unsigned long error = ERR_peek_last_error();
	const char *reason = error == 0 ? NULL : ERR_reason_error_string(error);

	snprintf(ret_text, size, "%s",
		reason == NULL ? "the peer closed the connection during the handshake" : reason);
	ERR_clear_error();
}
