/*
 * What role `keys` holds. A key is found by the SHA-256 of its public half, so an ask of a session that began under the configuration of before
 * can never be answered with the key of another certificate that has the same name now.
 */
#include "pki/keyring.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "net/tls.h"
#include "pki/identity.h"

/* A context that was made ready to sign in one way: that costs a fifth of what signing with P-256 does. It is used by one thread at a time. */
struct ready {
	EVP_PKEY_CTX *context;
	enum key_use_kind kind;
	enum key_use_digest digest;
};

enum { READY_MAX = 16 };

/* Those that nobody uses now. */
struct spare {
	pthread_mutex_t lock;
	size_t count;
	struct ready all[READY_MAX];
};

struct keyring_key {
	UT_hash_handle hh;
	struct digest id;
	const char *name;
	EVP_PKEY *native;
	enum key_use_type type;
	unsigned uses;
	struct spare *spare;
};

struct keyring {
	struct keyring_key *all;
};

static int keyring_destroy(struct keyring *keyring)
{
	struct keyring_key *key, *next;

	HASH_ITER (hh, keyring->all, key, next) {
		HASH_DEL(keyring->all, key);
		while (key->spare->count > 0)
			EVP_PKEY_CTX_free(key->spare->all[--key->spare->count].context);
		pthread_mutex_destroy(&key->spare->lock);
		EVP_PKEY_free(key->native);
	}
	return 0;
}

/* What listeners and deliveries make of a certificate. */
static unsigned uses_of(const struct config *config, const struct config_certificate *certificate)
{
	unsigned uses = config_delivery_shows(config, certificate) ? KEY_USE_DELIVERY : 0;

	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];

		if (!config_listener_presents(listener, certificate))
			continue;
		uses |= KEY_USE_LISTENER;
		if (tls_takes_rsa_exchange(listener->tls_profile))
			uses |= KEY_USE_RSA_EXCHANGE;
	}
	return uses;
}

/* Two certificates may have one key: it serves for both. `native` is given. */
static void add(struct keyring *keyring, EVP_PKEY *native, const char *name, unsigned uses)
{
	const struct digest id = identity_key_id(native);
	struct keyring_key *key = (struct keyring_key *)keyring_find(keyring, &id);

	if (key != NULL) {
		key->uses |= uses;
		EVP_PKEY_free(native);
		return;
	}
	key = text_must(talloc_zero(keyring, struct keyring_key));
	*key = (struct keyring_key){ .id = id,
		.name = text_copy(key, text_of(name)),
		.native = native,
		.type = EVP_PKEY_get_base_id(native) == EVP_PKEY_RSA ? KEY_USE_RSA : KEY_USE_EC,
		.uses = uses,
		.spare = text_must(talloc_zero(key, struct spare)) };
	pthread_mutex_init(&key->spare->lock, NULL);
	HASH_ADD(hh, keyring->all, id, sizeof key->id, key);
}

struct keyring *keyring_load(
	const void *owner, const struct config *config, const struct bundle *bundle, const char **ret_why)
{
	struct keyring *keyring = text_must(talloc_zero(owner, struct keyring));

	talloc_set_destructor(keyring, keyring_destroy);
	for (size_t i = 0; i < config->certificate_count; i++) {
		const struct config_certificate *certificate = &config->certificates[i];
		EVP_PKEY *native = identity_read_key(bundle_find_key(bundle, certificate->key));

		if (native == NULL) {
			*ret_why = "a private key cannot be read";
			talloc_free(keyring);
			return NULL;
		}
		add(keyring, native, certificate->name, uses_of(config, certificate));
	}
	return keyring;
}

const struct keyring_key *keyring_find(const struct keyring *keyring, const struct digest *id)
{
	struct keyring_key *key;

	HASH_FIND(hh, keyring->all, id, sizeof *id, key);
	return key;
}

void keyring_describe(const struct keyring_key *key, struct key_use_facts *facts)
{
	facts->known = true;
	facts->uses = key->uses;
	facts->type = key->type;
	facts->size = (size_t)EVP_PKEY_get_size(key->native);
}

const char *keyring_name(const struct keyring_key *key)
{
	return key->name;
}

static const EVP_MD *digest_of_kind(enum key_use_digest digest)
{
	switch (digest) {
	case KEY_USE_SHA1:
		return EVP_sha1();
	case KEY_USE_MD5_SHA1:
		return EVP_md5_sha1();
	case KEY_USE_SHA224:
		return EVP_sha224();
	case KEY_USE_SHA384:
		return EVP_sha384();
	case KEY_USE_SHA512:
		return EVP_sha512();
	case KEY_USE_SHA256:
	case KEY_USE_DIGEST_END:
		break;
	}
	return EVP_sha256();
}

static bool prepare_signature(EVP_PKEY_CTX *context, enum key_use_kind kind, enum key_use_digest digest)
{
	if (EVP_PKEY_sign_init(context) != 1 ||
		EVP_PKEY_CTX_set_signature_md(context, digest_of_kind(digest)) != 1)
		return false;
	switch (kind) {
	case KEY_USE_PKCS1:
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
	case KEY_USE_PSS:
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
	case KEY_USE_ECDSA:
		return true;
	case KEY_USE_PREMASTER:
	case KEY_USE_KIND_END:
		break;
	}
	return false;
}

/* What is no secret of this form opens to a random one, in the same time: whoever asks learns nothing about it (RFC 5246 section 7.4.7.1). */
static bool prepare_opening(EVP_PKEY_CTX *context, unsigned version)
{
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
		OSSL_PARAM_construct_end(),
	};

	return EVP_PKEY_decrypt_init(context) == 1 &&
	       EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_WITH_TLS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_params(context, parameters) == 1;
}

static int open_secret(
	const struct keyring_key *key, unsigned version, struct text bytes, unsigned char *ret_bytes)
{
	EVP_PKEY_CTX *context = text_must(EVP_PKEY_CTX_new_from_pkey(NULL, key->native, NULL));
	size_t len = KEYRING_BYTES_MAX;
	const bool done =
		prepare_opening(context, version) &&
		EVP_PKEY_decrypt(context, ret_bytes, &len, (const unsigned char *)bytes.at, bytes.len) == 1;

	EVP_PKEY_CTX_free(context);
	return done ? (int)len : ERR_TLS;
}

/* A spare context, or a new one; NULL when the key cannot do that. */
static EVP_PKEY_CTX *take_ready(
	const struct keyring_key *key, enum key_use_kind kind, enum key_use_digest digest)
{
	struct spare *spare = key->spare;
	EVP_PKEY_CTX *context = NULL;

	pthread_mutex_lock(&spare->lock);
	for (size_t i = spare->count; i > 0 && context == NULL; i--) {
		struct ready *ready = &spare->all[i - 1];

		if (ready->kind != kind || ready->digest != digest)
			continue;
		context = ready->context;
		*ready = spare->all[--spare->count];
	}
	pthread_mutex_unlock(&spare->lock);
	if (context != NULL)
		return context;
	context = text_must(EVP_PKEY_CTX_new_from_pkey(NULL, key->native, NULL));
	if (prepare_signature(context, kind, digest))
		return context;
	EVP_PKEY_CTX_free(context);
	return NULL;
}

static void give_ready(const struct keyring_key *key, struct ready ready)
{
	struct spare *spare = key->spare;

	pthread_mutex_lock(&spare->lock);
	const bool kept = spare->count < READY_MAX;
	if (kept)
		spare->all[spare->count++] = ready;
	pthread_mutex_unlock(&spare->lock);
	if (!kept)
		EVP_PKEY_CTX_free(ready.context);
}

static int sign(const struct keyring_key *key, enum key_use_kind kind, enum key_use_digest digest,
	struct text bytes, unsigned char *ret_bytes)
{
	EVP_PKEY_CTX *context = take_ready(key, kind, digest);
	size_t len = KEYRING_BYTES_MAX;

	if (context == NULL)
		return ERR_TLS;
	if (EVP_PKEY_sign(context, ret_bytes, &len, (const unsigned char *)bytes.at, bytes.len) != 1) {
		EVP_PKEY_CTX_free(context);
		return ERR_TLS;
	}
	give_ready(key, (struct ready){ .context = context, .kind = kind, .digest = digest });
	return (int)len;
}

int keyring_use(const struct keyring_key *key, enum key_use_kind kind, enum key_use_digest digest,
	unsigned version, struct text bytes, char *ret_bytes)
{
	unsigned char *out = (unsigned char *)ret_bytes;
	const int len = kind == KEY_USE_PREMASTER ? open_secret(key, version, bytes, out)
						  : sign(key, kind, digest, bytes, out);

	if (len < 0)
		ERR_clear_error();
	return len;
}
