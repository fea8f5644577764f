/*
 * The names of all certificates become one table, in which each name leads to at most two certificates: the first RSA and the first ECDSA one of
 * the list that has it. A handshake looks up the name as it came, then with its first label replaced by `*`; anything that is no such name (an
 * address, other bytes, a name nobody has) is just not found, and then the first certificate counts: mail servers do not check, and whoever
 * checks sees the name (RFC 7672 section 8.1). A client that can verify neither of a name's certificates gets one that it can. Nothing is
 * remembered of names that clients ask for.
 *
 * The common name does not count. (A name with a NUL or of more than 255 bytes never gets here: OpenSSL ends that handshake.)
 */
#include "pki/identity_names.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/err.h"
#include "base/text.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "pki/identity_private.h"

enum { NAME_LEN_MAX = 255 };
enum type { EC, RSA_KEY, TYPES };

/* What may be presented: one of each type, NULL = none. */
struct group {
	const struct identity *of[TYPES];
};

struct name {
	UT_hash_handle hh;
	const char *name; /* lower case; "*.example.com" as in the certificate */
	struct group group;
};

struct identity_names {
	struct name *all;
	struct group
		first; /* the first certificate, and the one of the other type that shares a name with it */
	struct group any; /* the first of each type */
};

static enum type type_of(const struct identity *identity)
{
	return EVP_PKEY_get_base_id(X509_get0_pubkey(identity->leaf)) == EVP_PKEY_RSA ? RSA_KEY : EC;
}

static void offer(struct group *group, const struct identity *identity)
{
	enum type type = type_of(identity);

	if (group->of[type] == NULL)
		group->of[type] = identity;
}

static struct name *find(const struct identity_names *names, const char *name)
{
	struct name *found;

	HASH_FIND_STR(names->all, name, found);
	return found;
}

static void add_name(struct identity_names *names, struct text given, const struct identity *identity)
{
	struct name *name;
	char *lower;

	if (given.len == 0 || given.len > NAME_LEN_MAX || memchr(given.at, '\0', given.len) != NULL)
		return;
	lower = text_copy_lower(names, given);
	name = find(names, lower);
	if (name != NULL) {
		talloc_free(lower);
	} else {
		name = text_must(talloc_zero(names, struct name));
		name->name = lower;
		HASH_ADD_KEYPTR(hh, names->all, name->name, strlen(name->name), name);
	}
	offer(&name->group, identity);
}

static void add(struct identity_names *names, const struct identity *identity)
{
	GENERAL_NAMES *given = X509_get_ext_d2i(identity->leaf, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(given); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(given, i);

		if (name->type != GEN_DNS)
			continue;
		add_name(names,
			(struct text){ (const char *)ASN1_STRING_get0_data(name->d.dNSName),
				(size_t)ASN1_STRING_length(name->d.dNSName) },
			identity);
	}
	GENERAL_NAMES_free(given);
	offer(&names->any, identity);
}

/* The name with `*` for its first label, in `ret_wild` (NAME_LEN_MAX + 1); false when it has one label only. */
static bool make_wild(const char *name, char *ret_wild)
{
	const char *dot = strchr(name, '.');

	if (dot == NULL || dot == name || dot[1] == '\0' || strlen(dot) > NAME_LEN_MAX - 1)
		return false;
	ret_wild[0] = '*';
	memcpy(ret_wild + 1, dot, strlen(dot) + 1);
	return true;
}

static const struct group *wild_group(const struct identity_names *names, const char *name)
{
	char wild[NAME_LEN_MAX + 1];
	const struct name *found = make_wild(name, wild) ? find(names, wild) : NULL;

	return found == NULL ? NULL : &found->group;
}

/* A name's missing type comes from the wildcard that covers it; a certificate that shares a name with the first one stands in for it. */
static void complete(struct identity_names *names, const struct identity *first)
{
	struct name *name, *next;

	offer(&names->first, first);
	HASH_ITER (hh, names->all, name, next) {
		const struct group *wild = wild_group(names, name->name);

		for (int type = 0; wild != NULL && type < TYPES; type++)
			if (name->group.of[type] == NULL)
				name->group.of[type] = wild->of[type];
	}
	HASH_ITER (hh, names->all, name, next) {
		if (name->group.of[type_of(first)] != first)
			continue;
		for (int type = 0; type < TYPES; type++)
			if (name->group.of[type] != NULL)
				offer(&names->first, name->group.of[type]);
	}
}

/* What a client asked for, or NULL. */
static const struct group *group_for(const struct identity_names *names, const char *asked)
{
	static const char usual[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	char lower[NAME_LEN_MAX + 1];
	size_t len = asked == NULL ? 0 : strlen(asked);
	const struct name *found;

	if (len == 0 || len > NAME_LEN_MAX || strspn(asked, usual) != len)
		return NULL;
	for (size_t i = 0; i <= len; i++)
		lower[i] = text_lower(asked[i]);
	found = find(names, lower);
	return found != NULL ? &found->group : wild_group(names, lower);
}

/* Whether its ClientHello says that it can verify a signature of this type. */
static bool knows_signature(SSL *ssl, enum type type)
{
	const int count = SSL_get_sigalgs(ssl, 0, NULL, NULL, NULL, NULL, NULL);

	for (int i = 0; i < count; i++) {
		int sign = NID_undef;

		SSL_get_sigalgs(ssl, i, &sign, NULL, NULL, NULL, NULL);
		if (type == EC ? sign == EVP_PKEY_EC : sign == EVP_PKEY_RSA || sign == EVP_PKEY_RSA_PSS)
			return true;
	}
	return count <= 0; /* it did not say */
}

/* With TLS 1.2 and below the cipher says it, too. */
static bool knows_cipher(SSL *ssl, enum type type)
{
	STACK_OF(SSL_CIPHER) *ciphers = SSL_get_client_ciphers(ssl);

	if (SSL_version(ssl) >= TLS1_3_VERSION || ciphers == NULL)
		return true;
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
		if (SSL_CIPHER_get_auth_nid(sk_SSL_CIPHER_value(ciphers, i)) ==
			(type == EC ? NID_auth_ecdsa : NID_auth_rsa))
			return true;
	return false;
}

static bool can_verify(SSL *ssl, const struct group *group)
{
	for (int type = 0; type < TYPES; type++)
		if (group->of[type] != NULL && knows_signature(ssl, (enum type)type) &&
			knows_cipher(ssl, (enum type)type))
			return true;
	return false;
}

/* In the middle of a handshake: 1 = go on. */
static int choose(SSL *ssl, void *argument)
{
	const struct identity_names *names = argument;
	const struct group *group = group_for(names, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));

	if (group == NULL)
		group = &names->first;
	if (!can_verify(ssl, group))
		group = &names->any;
	SSL_certs_clear(ssl);
	for (int type = 0; type < TYPES; type++) {
		const struct identity *identity = group->of[type];

		if (identity != NULL &&
			SSL_use_cert_and_key(ssl, identity->leaf, identity->key, identity->chain, 1) != 1)
			return 0;
	}
	return 1;
}

static int names_destroy(struct identity_names *names)
{
	HASH_CLEAR(hh, names->all);
	return 0;
}

int identity_names_use(const struct identity *const *identities, size_t count, struct tls_context *context)
{
	struct identity_names *names;

	/* also those that are chosen later must please the context's security level */
	for (size_t i = count; i-- > 0;)
		if (identity_use(identities[i], context) < 0)
			return ERR_TLS;
	if (count == 1)
		return 0;
	names = text_must(talloc_zero(context, struct identity_names));
	talloc_set_destructor(names, names_destroy);
	for (size_t i = 0; i < count; i++)
		add(names, identities[i]);
	complete(names, identities[0]);
	SSL_CTX_set_cert_cb(tls_context_native(context), choose, names);
	return 0;
}
