/*
 * Private keys live here until role `keys` exists; then the handle will name a key in that role and nobody else
 * changes. Keys come from a sealed memfd, never from a path: front has no files.
 */
#include "pki/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "net/tls.h"
#include "pki/trust.h"

struct identity {
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf */
	EVP_PKEY *key;
};

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

static bool load_key(struct identity *identity, struct text pem)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));

	identity->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	return identity->key != NULL;
}

static struct identity_flaw flaw_of(struct identity *identity, struct text chain, struct text key)
{
	if (!load_chain(identity, chain))
		return (struct identity_flaw){
			"chain",
			"no certificate in PEM form in this file; put the server's certificate first, then its issuers"
		};
	if (!load_key(identity, key))
		return (struct identity_flaw){ "key", "no unencrypted private key in PEM form in this file" };
	if (X509_check_private_key(identity->leaf, identity->key) != 1)
		return (struct identity_flaw){
			"key",
			"this private key does not fit the first certificate of the chain; name the key it was issued for"
		};
	return (struct identity_flaw){ 0 };
}

struct identity *identity_load(
	const void *owner, struct text chain, struct text key, struct identity_flaw *ret_flaw)
{
	struct identity *identity = text_must(talloc_zero(owner, struct identity));

	talloc_set_destructor(identity, identity_destroy);
	*ret_flaw = flaw_of(identity, chain, key);
	if (ret_flaw->part == NULL)
		return identity;

	ERR_clear_error();
	talloc_free(identity);
	return NULL;
}

int identity_use(const struct identity *identity, struct tls_context *context)
{
	if (SSL_CTX_use_cert_and_key(
		    tls_context_native(context), identity->leaf, identity->key, identity->chain, 1) == 1)
		return 0;
	ERR_clear_error();
	return ERR_TLS;
}

static void check_certificate(const struct config *config, const struct config_certificate *certificate,
	const struct bundle *bundle, struct problems *problems)
{
	struct identity_flaw flaw;

	if (bundle_find(bundle, certificate->chain).at == NULL)
		return; /* the demo certificate, before the first start */
	struct identity *identity = identity_load(
		NULL, bundle_find(bundle, certificate->chain), bundle_find(bundle, certificate->key), &flaw);

	if (identity == NULL) {
		char *key = talloc_asprintf(NULL, "certificates[%s].%s", certificate->name, flaw.part);

		problems_add(problems, config->file, certificate->line, key, "%s: %s",
			strcmp(flaw.part, "key") == 0 ? certificate->key : certificate->chain, flaw.text);
		talloc_free(key);
	}
	talloc_free(identity);
}

void identity_check(const struct config *config, const struct bundle *bundle, struct problems *problems)
{
	for (size_t i = 0; i < config->certificate_count; i++)
		check_certificate(config, &config->certificates[i], bundle, problems);
	trust_check(config, bundle, problems);
}
