/*
 * Private keys are read here only: by role `keys`, which signs with them; by master and `check`, which see whether they fit; and by the sink, which
 * has no other processes. Everybody else has a handle that names a key of role `keys`. Keys come from a sealed memfd, never from a path.
 */
#include "pki/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "net/tls.h"
#include "pki/expiry.h"
#include "pki/identity_private.h"
#include "pki/key_handle.h"
#include "pki/trust.h"
#include "pki/staples.h"

static int identity_destroy(struct identity *identity)
{
	X509_free(identity->leaf);
	sk_X509_pop_free(identity->chain, X509_free);
	EVP_PKEY_free(identity->key);
	return 0;
}

/* An encrypted key has no one to type its passphrase. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
}

static bool load_chain(struct identity *identity, struct text pem)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	X509 *next;

	identity->leaf = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	identity->chain = text_must(sk_X509_new_null());
	while (identity->leaf != NULL && (next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		sk_X509_push(identity->chain, next);
	BIO_free(bio);
	ERR_clear_error();
	return identity->leaf != NULL;
}

EVP_PKEY *identity_read_key(struct text pem)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

	BIO_free(bio);
	ERR_clear_error();
	return key;
}

struct digest identity_key_id(const EVP_PKEY *key)
{
	unsigned char *encoded = NULL;
	int len = i2d_PUBKEY(key, &encoded);
	struct digest id;

	text_must(len > 0 ? encoded : NULL);
	id = digest_of((struct text){ (const char *)encoded, (size_t)len });
	OPENSSL_free(encoded);
	return id;
}

/* What a handle can stand for. */
static bool is_known(const EVP_PKEY *key)
{
	int type = key == NULL ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key);

	return type == EVP_PKEY_RSA || type == EVP_PKEY_EC;
}

static const struct identity_flaw no_chain = { "chain",
	"no certificate in PEM form in this file; put the server's certificate first, then its issuers" };
static const struct identity_flaw unknown_kind = {
	"chain",
	"the key of the first certificate is neither RSA nor of an elliptic curve such as P-256; have one issued for such a key"
};

static struct identity_flaw flaw_of(struct identity *identity, struct text chain, struct text key)
{
	if (!load_chain(identity, chain))
		return no_chain;
	if (!is_known(X509_get0_pubkey(identity->leaf)))
		return unknown_kind;
	identity->key = identity_read_key(key);
	if (identity->key == NULL)
		return (struct identity_flaw){ "key", "no unencrypted private key in PEM form in this file" };
	if (X509_check_private_key(identity->leaf, identity->key) != 1)
		return (struct identity_flaw){ "key",
			"this private key does not fit the first certificate of the chain; name the key it was issued for",
			true };
	return (struct identity_flaw){ 0 };
}

static struct identity_flaw flaw_of_chain(
	struct identity *identity, struct text chain, struct key_handles *handles, const char *name)
{
	EVP_PKEY *public;

	if (!load_chain(identity, chain))
		return no_chain;
	public = X509_get0_pubkey(identity->leaf);
	identity->key = is_known(public) ? key_handle_new(handles, public, name) : NULL;
	return identity->key == NULL ? unknown_kind : (struct identity_flaw){ 0 };
}

static struct identity *identity_new(const void *owner)
{
	struct identity *identity = text_must(talloc_zero(owner, struct identity));

	talloc_set_destructor(identity, identity_destroy);
	return identity;
}

/* `identity`, or NULL when it has a flaw. */
static struct identity *judged(struct identity *identity, const struct identity_flaw *flaw)
{
	if (flaw->part == NULL)
		return identity;

	ERR_clear_error();
	talloc_free(identity);
	return NULL;
}

struct identity *identity_load(
	const void *owner, struct text chain, struct text key, struct identity_flaw *ret_flaw)
{
	struct identity *identity = identity_new(owner);

	*ret_flaw = flaw_of(identity, chain, key);
	return judged(identity, ret_flaw);
}

struct identity *identity_load_chain(const void *owner, struct text chain, struct key_handles *handles,
	const char *name, struct identity_flaw *ret_flaw)
{
	struct identity *identity = identity_new(owner);

	*ret_flaw = flaw_of_chain(identity, chain, handles, name);
	return judged(identity, ret_flaw);
}

int identity_use(const struct identity *identity, struct tls_context *context)
{
	if (SSL_CTX_use_cert_and_key(
		    tls_context_native(context), identity->leaf, identity->key, identity->chain, 1) == 1)
		return 0;
	ERR_clear_error();
	return ERR_TLS;
}

/* Its end, and that of its issuers, is told before it comes, too: a certificate that no peer will take can still be loaded. */
static void warn_of_dates(const struct config *config, const struct config_certificate *certificate,
	const struct identity *identity, struct text chain, struct problems *problems)
{
	const int64_t now_ms = clock_wall_ms();
	char *key = text_must(talloc_asprintf(NULL, "certificates[%s].chain", certificate->name));
	char when[CLOCK_TEXT_MAX];
	time_t now = (time_t)(now_ms / 1000);
	struct expiry expiry;

	if (X509_cmp_time(X509_get0_notBefore(identity->leaf), &now) > 0)
		problems_warn(problems, config->file, certificate->line, key,
			"%s is not valid yet, so that no peer will believe it: look at the clock of this machine, or wait",
			certificate->chain);
	else if (expiry_of_chain(chain, now_ms, &expiry) == 0 && expiry_step(&expiry) != EXPIRY_FINE)
		problems_warn(problems, config->file, certificate->line, key,
			"%s %s on %.10s: get a new one from the CA (`postern cert csr`, `postern cert upload`, or replace the files and reload)",
			certificate->chain, expiry.left_s < 0 ? "expired" : "expires",
			clock_iso(now_ms + expiry.left_s * 1000, when));
	talloc_free(key);
}

/* Authorities issue fewer and fewer certificates for both sides of a handshake. */
static void warn_of_purpose(const struct config *config, const struct config_certificate *certificate,
	const struct identity *identity, struct problems *problems)
{
	char *key = text_must(talloc_asprintf(NULL, "certificates[%s].chain", certificate->name));

	if (config_delivery_shows(config, certificate) &&
		X509_check_purpose(identity->leaf, X509_PURPOSE_SSL_CLIENT, 0) != 1)
		problems_warn(problems, config->file, certificate->line, key,
			"%s is shown to servers, and is not for that (extendedKeyUsage without clientAuth), so that those which ask for a certificate may refuse it: have one issued for clients",
			certificate->chain);
	talloc_free(key);
}

/* One that clients refuse without an answer of its issuer's responder, which we cannot get. */
static void warn_of_staple(const struct config *config, const struct config_certificate *certificate,
	struct text chain, struct problems *problems)
{
	const char *flaw = staples_flaw(chain, config->tls.stapling);
	char *key = text_must(talloc_asprintf(NULL, "certificates[%s].chain", certificate->name));

	if (flaw != NULL)
		problems_warn(problems, config->file, certificate->line, key,
			"%s must be shown with an answer of OCSP (must-staple), and will be refused without one: %s",
			certificate->chain, flaw);
	talloc_free(key);
}

static void check_certificate(const struct config *config, const struct config_certificate *certificate,
	const struct bundle *bundle, struct problems *problems)
{
	struct identity_flaw flaw;

	if (bundle_find(bundle, certificate->chain).at == NULL)
		return; /* the demo certificate, before the first start */
	struct identity *identity = identity_load(NULL, bundle_find(bundle, certificate->chain),
		bundle_find_key(bundle, certificate->key), &flaw);

	if (identity == NULL) {
		char *key = talloc_asprintf(NULL, "certificates[%s].%s", certificate->name, flaw.part);

		problems_add(problems, config->file, certificate->line, key, "%s: %s",
			strcmp(flaw.part, "key") == 0 ? certificate->key : certificate->chain, flaw.text);
		problems->list[problems->count - 1].is_half = flaw.apart;
		talloc_free(key);
	} else {
		const struct text chain = bundle_find(bundle, certificate->chain);

		warn_of_dates(config, certificate, identity, chain, problems);
		warn_of_staple(config, certificate, chain, problems);
		warn_of_purpose(config, certificate, identity, problems);
	}
	talloc_free(identity);
}

void identity_check_certificates(
	const struct config *config, const struct bundle *bundle, struct problems *problems)
{
	for (size_t i = 0; i < config->certificate_count; i++)
		check_certificate(config, &config->certificates[i], bundle, problems);
}

void identity_check(const struct config *config, const struct bundle *bundle, struct problems *problems)
{
	identity_check_certificates(config, bundle, problems);
	trust_check(config, bundle, problems);
}
