/*
 * An OpenSSL provider inside the program. It has two kinds of keys, EC and RSA, which know their public half and where to ask for the private
 * one; OpenSSL computes digests here, and signatures of them are asked for. So that nothing else ever fetches an algorithm from it, it lives in
 * a library context of its own, and what it computes itself goes to the default one.
 *
 * libssl compares a key with its certificate, asks for sizes and curves (forwarded to the public half), signs, and for key exchange without
 * forward secrecy opens the client's secret. A key that shall be exported with its private half says no: then OpenSSL comes here to sign.
 * See provider-keymgmt(7), provider-signature(7), provider-asym_cipher(7).
 */
#include "pki/key_handle.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "ipc/peer.h"
#include "pki/identity.h"
#include "pki/sign.h"

#define PROVIDER "postern-keys"
/* The parameter by which key_handle_new() hands over what a handle is made of. */
#define PARAM_ORIGIN "postern-origin"

enum { NAME_MAX_LEN = 64, GROUP_MAX_LEN = 49, PREMASTER_SIZE = 48 };

static const struct {
	const char *name;
	enum key_use_digest digest;
} digests[] = {
	{ "SHA256", KEY_USE_SHA256 },
	{ "SHA384", KEY_USE_SHA384 },
	{ "SHA512", KEY_USE_SHA512 },
	{ "SHA224", KEY_USE_SHA224 },
	{ "SHA1", KEY_USE_SHA1 },
	{ "MD5-SHA1", KEY_USE_MD5_SHA1 },
};

struct key_handles {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *provider;
	EVP_MD *algorithms[COUNT(digests)]; /* fetched once, for the digests of the table */
	struct peer *keys;
	int stop_fd;
};

struct origin {
	struct key_handles *handles;
	EVP_PKEY *public;
	const char *name;
};

/* A key of OpenSSL: made by key_handle_new(), or by OpenSSL itself from a certificate, to compare; that one has no handles. */
struct handle {
	const char *type; /* "EC", "RSA" */
	struct key_handles *handles;
	EVP_PKEY *public;
	struct digest id;
	char name[NAME_MAX_LEN + 1];
	char group[GROUP_MAX_LEN +
		   1]; /* of EC: libssl asks in each handshake, and OpenSSL derives it from the curve each time; empty = unknown */
};

/* Keys */

static void *new_of(const char *type)
{
	struct handle *handle = text_must(calloc(1, sizeof *handle));

	handle->type = type;
	return handle;
}

static void *new_ec(void *provider)
{
	(void)provider;
	return new_of("EC");
}

static void *new_rsa(void *provider)
{
	(void)provider;
	return new_of("RSA");
}

static void free_key(void *key)
{
	struct handle *handle = key;

	if (handle != NULL)
		EVP_PKEY_free(handle->public);
	free(handle);
}

static int has(const void *key, int selection)
{
	const struct handle *handle = key;

	if (handle->public == NULL)
		return 0;
	return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || handle->handles != NULL;
}

static int match(const void *one, const void *other, int selection)
{
	const struct handle *a = one, *b = other;

	(void)selection;
	return a->public != NULL && b->public != NULL && EVP_PKEY_eq(a->public, b->public) == 1;
}

static void take_origin(struct handle *handle, const struct origin *origin)
{
	EVP_PKEY_up_ref(origin->public);
	handle->public = origin->public;
	handle->handles = origin->handles;
	handle->id = identity_key_id(origin->public);
	memcpy(handle->name, origin->name, MIN(strlen(origin->name), (size_t)NAME_MAX_LEN));
	if (EVP_PKEY_get_group_name(origin->public, handle->group, sizeof handle->group, NULL) != 1)
		handle->group[0] = '\0';
}

static int import(void *key, int selection, const OSSL_PARAM parameters[])
{
	const OSSL_PARAM *given = OSSL_PARAM_locate_const(parameters, PARAM_ORIGIN);
	struct handle *handle = key;
	EVP_PKEY_CTX *context;
	const void *origin;
	size_t size;

	(void)selection;
	if (handle->public != NULL)
		return 0;
	if (given != NULL) {
		if (OSSL_PARAM_get_octet_ptr(given, &origin, &size) != 1)
			return 0;
		take_origin(handle, origin);
		return 1;
	}
	context = text_must(EVP_PKEY_CTX_new_from_name(NULL, handle->type, NULL));
	int r = EVP_PKEY_fromdata_init(context) == 1 &&
		EVP_PKEY_fromdata(context, &handle->public, EVP_PKEY_PUBLIC_KEY,
			(OSSL_PARAM *)(uintptr_t)parameters) == 1;
	EVP_PKEY_CTX_free(context);
	return r;
}

static const OSSL_PARAM *import_types(int selection)
{
	static const OSSL_PARAM types[] = { OSSL_PARAM_octet_ptr(PARAM_ORIGIN, NULL, 0), OSSL_PARAM_END };

	(void)selection;
	return types;
}

static int export(void *key, int selection, OSSL_CALLBACK *callback, void *argument)
{
	const struct handle *handle = key;
	OSSL_PARAM *parameters = NULL;

	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 || handle->public == NULL ||
		EVP_PKEY_todata(handle->public, EVP_PKEY_PUBLIC_KEY, &parameters) != 1)
		return 0;
	int r = callback(parameters, argument);
	OSSL_PARAM_free(parameters);
	return r;
}

static const OSSL_PARAM *export_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_END,
	};

	return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? NULL : types;
}

static int get_params(void *key, OSSL_PARAM parameters[])
{
	const struct handle *handle = key;

	if (handle->group[0] != '\0' && parameters[0].key != NULL && parameters[1].key == NULL &&
		strcmp(parameters[0].key, OSSL_PKEY_PARAM_GROUP_NAME) == 0)
		return OSSL_PARAM_set_utf8_string(parameters, handle->group);
	return handle->public == NULL || EVP_PKEY_get_params(handle->public, parameters) == 1;
}

static const OSSL_PARAM *gettable_params(void *provider)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provider;
	return types;
}

static const char *operation_name_ec(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

static const char *operation_name_rsa(int operation)
{
	return operation == OSSL_OP_SIGNATURE || operation == OSSL_OP_ASYM_CIPHER ? "RSA" : NULL;
}

/* Signatures, and opening secrets */

/* One use of a key. */
struct use {
	const struct handle *handle; /* OpenSSL keeps it as long as this */
	enum key_use_kind kind;
	unsigned version;
	enum key_use_digest digest;
	const EVP_MD *algorithm;
};

static void *new_use(void *provider, const char *properties)
{
	(void)provider, (void)properties;
	return text_must(calloc(1, sizeof(struct use)));
}

static void *new_cipher(void *provider)
{
	return new_use(provider, NULL);
}

static void free_use(void *use)
{
	free(use);
}

static void *duplicate_use(void *use)
{
	return memcpy(new_use(NULL, NULL), use, sizeof(struct use));
}

static bool take_digest(struct use *use, const char *name)
{
	EVP_MD *const *algorithms = use->handle->handles->algorithms;

	for (size_t i = 0; i < COUNT(digests); i++) {
		if (!EVP_MD_is_a(algorithms[i], name == NULL ? "SHA256" : name))
			continue;
		use->digest = digests[i].digest;
		use->algorithm = algorithms[i];
		return true;
	}
	return false;
}

/* A number or a word, as OpenSSL has it at hand. */
static bool read_padding(const OSSL_PARAM *parameter, int *ret_padding)
{
	const char *word;

	if (parameter->data_type != OSSL_PARAM_UTF8_STRING)
		return OSSL_PARAM_get_int(parameter, ret_padding) == 1;
	if (OSSL_PARAM_get_utf8_string_ptr(parameter, &word) != 1)
		return false;
	if (strcmp(word, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0)
		*ret_padding = RSA_PKCS1_PADDING;
	else if (strcmp(word, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0)
		*ret_padding = RSA_PKCS1_PSS_PADDING;
	else
		return false;
	return true;
}

static int set_signature(void *context, const OSSL_PARAM parameters[])
{
	const OSSL_PARAM *padding =
		parameters == NULL ? NULL
				   : OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_PAD_MODE);
	struct use *use = context;
	int mode;

	if (padding == NULL)
		return 1;
	if (use->kind == KEY_USE_ECDSA || !read_padding(padding, &mode))
		return 0;
	use->kind = mode == RSA_PKCS1_PSS_PADDING ? KEY_USE_PSS : KEY_USE_PKCS1;
	return mode == RSA_PKCS1_PSS_PADDING || mode == RSA_PKCS1_PADDING;
}

static const OSSL_PARAM *settable_signature(void *context, void *provider)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)context, (void)provider;
	return types;
}

static int sign_init(void *context, const char *digest, void *key, const OSSL_PARAM parameters[])
{
	const struct handle *handle = key;
	struct use *use = context;

	if (handle == NULL || handle->handles == NULL)
		return 0;
	use->handle = handle;
	if (!take_digest(use, digest))
		return 0;
	use->kind = strcmp(handle->type, "EC") == 0 ? KEY_USE_ECDSA : KEY_USE_PKCS1;
	return set_signature(use, parameters);
}

/* How many bytes were written, at most `room`; 0 when there is no answer or it was no. */
static size_t ask(const struct use *use, struct text bytes, unsigned char *out, size_t room)
{
	const struct handle *handle = use->handle;
	const struct sign_request request = { .key = handle->id,
		.kind = use->kind,
		.digest = use->digest,
		.version = use->version,
		.bytes = bytes };
	char answer[SIGN_BYTES_MAX];
	enum key_use verdict = KEY_USE_YES;
	int len = sign_ask(handle->handles->keys, &request, handle->handles->stop_fd,
		clock_mono_ms() + KEY_HANDLE_WAIT_MS, answer, &verdict);

	if (len <= 0 || (size_t)len > room) {
		log_event(LOG_ERROR, "key_not_used", log_str("certificate", handle->name),
			log_str("reason", len < 0 ? err_text(len) : key_use_reason(verdict)));
		return 0;
	}
	memcpy(out, answer, (size_t)len);
	explicit_bzero(answer, sizeof answer);
	return (size_t)len;
}

static int sign(
	void *context, unsigned char *out, size_t *len, size_t room, const unsigned char *in, size_t in_len)
{
	const struct use *use = context;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len;

	if (out == NULL) {
		*len = (size_t)EVP_PKEY_get_size(use->handle->public);
		return 1;
	}
	if (EVP_Digest(in, in_len, digest, &digest_len, use->algorithm, NULL) != 1)
		return 0;
	*len = ask(use, (struct text){ (const char *)digest, digest_len }, out, room);
	return *len > 0;
}

static int open_init(void *context, void *key, const OSSL_PARAM parameters[])
{
	const struct handle *handle = key;
	struct use *use = context;

	(void)parameters;
	if (handle == NULL || handle->handles == NULL)
		return 0;
	use->handle = handle;
	use->kind = KEY_USE_PREMASTER;
	return 1;
}

static int set_cipher(void *context, const OSSL_PARAM parameters[])
{
	const OSSL_PARAM *padding = OSSL_PARAM_locate_const(parameters, OSSL_ASYM_CIPHER_PARAM_PAD_MODE),
			 *version = OSSL_PARAM_locate_const(
				 parameters, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION);
	struct use *use = context;
	int mode;

	if (padding != NULL && (!read_padding(padding, &mode) || mode != RSA_PKCS1_WITH_TLS_PADDING))
		return 0;
	return version == NULL || OSSL_PARAM_get_uint(version, &use->version) == 1;
}

static const OSSL_PARAM *settable_cipher(void *context, void *provider)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL),
		OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
		OSSL_PARAM_END,
	};

	(void)context, (void)provider;
	return types;
}

static int open_secret(
	void *context, unsigned char *out, size_t *len, size_t room, const unsigned char *in, size_t in_len)
{
	if (out == NULL) {
		*len = PREMASTER_SIZE;
		return 1;
	}
	*len = ask(context, (struct text){ (const char *)in, in_len }, out, room);
	return *len > 0;
}

/* The provider */

#define FUNCTION(id, f)                                                                                      \
	{                                                                                                    \
		id, (void (*)(void))(f)                                                                      \
	}
#define KEY_FUNCTIONS(new, operation_name)                                                                   \
	FUNCTION(OSSL_FUNC_KEYMGMT_NEW, new), FUNCTION(OSSL_FUNC_KEYMGMT_FREE, free_key),                    \
		FUNCTION(OSSL_FUNC_KEYMGMT_HAS, has), FUNCTION(OSSL_FUNC_KEYMGMT_MATCH, match),              \
		FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, import),                                                  \
		FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, import_types),                                      \
		FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT, export),                                                  \
		FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, export_types),                                      \
		FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, get_params),                                          \
		FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, gettable_params),                                \
		FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, operation_name)
#define END                                                                                                  \
	{                                                                                                    \
		0, NULL                                                                                      \
	}

static const OSSL_DISPATCH ec_keys[] = { KEY_FUNCTIONS(new_ec, operation_name_ec), END };
static const OSSL_DISPATCH rsa_keys[] = { KEY_FUNCTIONS(new_rsa, operation_name_rsa), END };

static const OSSL_DISPATCH signature[] = {
	FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, new_use),
	FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, free_use),
	FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, duplicate_use),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, sign_init),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, sign),
	FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, set_signature),
	FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, settable_signature),
	END,
};

static const OSSL_DISPATCH cipher[] = {
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_NEWCTX, new_cipher),
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_FREECTX, free_use),
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_DUPCTX, duplicate_use),
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, open_init),
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_DECRYPT, open_secret),
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, set_cipher),
	FUNCTION(OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, settable_cipher),
	END,
};

static const OSSL_ALGORITHM all_keys[] = {
	{ "EC:id-ecPublicKey", "provider=" PROVIDER, ec_keys, NULL },
	{ "RSA:rsaEncryption", "provider=" PROVIDER, rsa_keys, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM all_signatures[] = {
	{ "ECDSA", "provider=" PROVIDER, signature, NULL },
	{ "RSA:rsaEncryption", "provider=" PROVIDER, signature, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM all_ciphers[] = {
	{ "RSA:rsaEncryption", "provider=" PROVIDER, cipher, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	(void)provider;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KEYMGMT:
		return all_keys;
	case OSSL_OP_SIGNATURE:
		return all_signatures;
	case OSSL_OP_ASYM_CIPHER:
		return all_ciphers;
	default:
		return NULL;
	}
}

static int provider_init(
	const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ret_context)
{
	static const OSSL_DISPATCH functions[] = { FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), END };

	(void)in;
	*out = functions;
	*ret_context = (void *)(uintptr_t)core;
	return 1;
}

static int handles_destroy(struct key_handles *handles)
{
	for (size_t i = 0; i < COUNT(digests); i++)
		EVP_MD_free(handles->algorithms[i]);
	OSSL_PROVIDER_unload(handles->provider);
	OSSL_LIB_CTX_free(handles->library);
	return 0;
}

struct key_handles *key_handle_start(const void *owner, struct peer *keys, int stop_fd)
{
	struct key_handles *handles = text_must(talloc_zero(owner, struct key_handles));

	handles->keys = keys;
	handles->stop_fd = stop_fd;
	handles->library = text_must(OSSL_LIB_CTX_new());
	if (OSSL_PROVIDER_add_builtin(handles->library, PROVIDER, provider_init) != 1)
		abort();
	handles->provider = text_must(OSSL_PROVIDER_load(handles->library, PROVIDER));
	for (size_t i = 0; i < COUNT(digests); i++)
		handles->algorithms[i] = text_must(EVP_MD_fetch(NULL, digests[i].name, NULL));
	talloc_set_destructor(handles, handles_destroy);
	return handles;
}

EVP_PKEY *key_handle_new(struct key_handles *handles, EVP_PKEY *public, const char *name)
{
	struct origin origin = { .handles = handles, .public = public, .name = name };
	void *pointer = &origin;
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_ptr(PARAM_ORIGIN, &pointer, sizeof origin),
		OSSL_PARAM_construct_end(),
	};
	const char *type = EVP_PKEY_get_base_id(public) == EVP_PKEY_RSA ? "RSA" : "EC";
	EVP_PKEY_CTX *context = text_must(EVP_PKEY_CTX_new_from_name(handles->library, type, NULL));
	EVP_PKEY *key = NULL;

	if (EVP_PKEY_fromdata_init(context) == 1)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, parameters);
	EVP_PKEY_CTX_free(context);
	return key;
}
