/*
 * How every handshake of the house is set up. Explicit, because the library's defaults differ between versions: TLS 1.2 at least,
 * security level 2, no renegotiation, no compression, server preference, tickets bound to their listener, buffers released when idle.
 * A profile (E38-E43) changes versions, ciphers, groups and forward secrecy of one context. Its `compliance` changes nothing: OpenSSL
 * ends a handshake that does not follow the protocol, and after STARTTLS there is nobody else to whom such bytes could be passed.
 * No handshake verifies a certificate: who asked for it does, by pki/verify, before anything is sent.
 */
#include "net/tls.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/ip.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "net/evidence.h"
#include "net/tls_sessions.h"
#include "net/tls_tickets.h"

enum { SECURITY_LEVEL = 2 };

struct tls_context {
	SSL_CTX *native;
};

void tls_start(void)
{
	if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		abort();
	if (RAND_status() == 1)
		return;
	fprintf(stderr, "postern: the system gives no random numbers (getrandom() and /dev/urandom fail): "
			"without them no key is secret, so nothing is done\n");
	exit(EXIT_FAILURE);
}

static void wipe_and_free(void *memory, const char *file, int line)
{
	(void)file, (void)line;
	if (memory != NULL)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

static void *plain_malloc(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return malloc(size);
}

/* realloc() may leave the old bytes behind. */
static void *move_and_wipe(void *memory, size_t size, const char *file, int line)
{
	void *moved = size == 0 ? NULL : malloc(size);

	if (moved == NULL && size > 0)
		return NULL;
	if (memory != NULL && moved != NULL)
		memcpy(moved, memory, MIN(size, malloc_usable_size(memory)));
	wipe_and_free(memory, file, line);
	return moved;
}

void tls_wipe_memory(void)
{
	if (CRYPTO_set_mem_functions(plain_malloc, move_and_wipe, wipe_and_free) != 1)
		abort();
}

void tls_thread_end(void)
{
	OPENSSL_thread_stop();
}

static int no_passphrase(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
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
	SSL_CTX_set_read_ahead(context->native, 1); /* a record takes one read, not two */
	return context;
}

struct tls_context *tls_context_server(const void *owner, const char *name)
{
	struct tls_context *context = context_new(owner, TLS_server_method());
	struct digest id = digest_of(text_of(name));

	SSL_CTX_set_session_id_context(context->native, id.bytes, SSL_MAX_SSL_SESSION_ID_LENGTH);
	SSL_CTX_set_session_cache_mode(context->native, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context->native, 1);
	tls_tickets_attach(context, context->native);
	SSL_CTX_set_security_level(context->native, SECURITY_LEVEL);
	return context;
}

struct tls_context *tls_context_client(const void *owner)
{
	struct tls_context *context = context_new(owner, TLS_client_method());

	SSL_CTX_set_verify(context->native, SSL_VERIFY_NONE, NULL);
	if (SSL_CTX_dane_enable(context->native) != 1)
		abort();
	tls_sessions_attach(context->native);
	return context;
}

/* Ask for a host by its name; addresses have none (RFC 6066 section 3). */
static bool ask_for(SSL *ssl, const char *host)
{
	struct text name = text_of(host);
	struct ip ip;

	if (name.len > 0 && name.at[name.len - 1] == '.')
		name.len--;
	if (name.len == 0 || ip_parse(name, &ip) == 0)
		return true;
	char *copy = text_copy(NULL, name);
	bool asked = SSL_set_tlsext_host_name(ssl, copy) == 1;
	talloc_free(copy);
	return asked;
}

/* Whatever the profile allows: who is to prove something does it with keys and a protocol that can (RFC 7672 section 8.2). */
static bool be_strict(SSL *ssl)
{
	SSL_set_security_level(ssl, SECURITY_LEVEL);
	return SSL_get_min_proto_version(ssl) >= TLS1_2_VERSION ||
	       SSL_set_min_proto_version(ssl, TLS1_2_VERSION) == 1;
}

int tls_expect(SSL *ssl, const void *owner, const struct tls_peer *peer)
{
	if (peer->name != NULL && !ask_for(ssl, peer->name))
		return ERR_TLS;
	if (peer->verify && !be_strict(ssl))
		return ERR_TLS;
	if (peer->sessions != NULL)
		tls_sessions_offer(ssl, owner, peer);
	return 0;
}

/* Profiles */

static const int protocols[] = { [CONFIG_TLS_1_0] = TLS1_VERSION,
	[CONFIG_TLS_1_1] = TLS1_1_VERSION,
	[CONFIG_TLS_1_2] = TLS1_2_VERSION,
	[CONFIG_TLS_1_3] = TLS1_3_VERSION };

/* What is taken away from a profile's ciphers, whatever they are. */
static const char never[] = ":!aNULL:!eNULL:!PSK:!SRP";
static const char *const unwanted[] = { [CONFIG_PFS_ALLOWED] = "",
	[CONFIG_PFS_REQUIRED] = ":!kRSA:!kGOST",
	[CONFIG_PFS_NONE] = ":!kECDHE:!kDHE" };

static bool use_ciphers(SSL_CTX *native, const struct config_tls_profile *profile)
{
	char *list = text_must(talloc_asprintf(NULL, "%s%s%s",
		profile->ciphers == NULL ? "DEFAULT" : profile->ciphers, never, unwanted[profile->pfs]));
	bool used = SSL_CTX_set_cipher_list(native, list) == 1;

	talloc_free(list);
	SSL_CTX_set_dh_auto(native, profile->ciphers != NULL);
	return used;
}

/* After use_ciphers(), because a cipher list may hold @SECLEVEL. OpenSSL 3 refuses the signatures of TLS 1.0 and 1.1 (MD5 with SHA-1)
 * at level 1 and above, so a profile that allows these versions has level 0: for all its handshakes, the newer ones too. */
static void use_level(SSL_CTX *native, const struct config_tls_profile *profile)
{
	SSL_CTX_set_security_level(native, profile->min_version < CONFIG_TLS_1_2 ? 0 : SECURITY_LEVEL);
}

/* TLS 1.3 always has forward secrecy. */
static enum config_version newest(const struct config_tls_profile *profile)
{
	return profile->pfs == CONFIG_PFS_NONE ? MIN(profile->max_version, CONFIG_TLS_1_2)
					       : profile->max_version;
}

int tls_use_profile(struct tls_context *context, const struct config_tls_profile *profile)
{
	SSL_CTX *native = context->native;
	bool used = SSL_CTX_set_min_proto_version(native, protocols[profile->min_version]) == 1 &&
		    SSL_CTX_set_max_proto_version(native, protocols[newest(profile)]) == 1 &&
		    use_ciphers(native, profile) &&
		    (profile->groups == NULL || SSL_CTX_set1_groups_list(native, profile->groups) == 1);

	use_level(native, profile);
	ERR_clear_error();
	return used ? 0 : ERR_TLS;
}

bool tls_takes_rsa_exchange(const struct config_tls_profile *profile)
{
	struct tls_context *context = context_new(NULL, TLS_server_method());
	const STACK_OF(SSL_CIPHER) * ciphers;
	bool takes = false;

	tls_use_profile(context, profile);
	ciphers = SSL_CTX_get_ciphers(context->native);
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
		takes = takes || SSL_CIPHER_get_kx_nid(sk_SSL_CIPHER_value(ciphers, i)) == NID_kx_rsa;
	talloc_free(context);
	return takes && profile->min_version <= CONFIG_TLS_1_2;
}

/* Checking them */

struct check {
	const struct config *config;
	struct problems *problems;
	SSL_CTX *native;
};

#define PROFILE_PROBLEM(check, profile, key, ...)                                                            \
	do {                                                                                                 \
		char *key_ = text_must(talloc_asprintf(NULL, "tls_profiles[%s]." key, (profile)->name));     \
		problems_add((check)->problems, (check)->config->file, (profile)->line, key_, __VA_ARGS__);  \
		talloc_free(key_);                                                                           \
	} while (0)

/* OpenSSL passes over words of a cipher list that it does not know. A word that takes ciphers away may name what this OpenSSL was
 * built without, as `!RC4` often does. */
static bool is_cipher_word(SSL_CTX *native, const char *word)
{
	if (word[0] == '!' || word[0] == '-' || word[0] == '@')
		return true;
	return SSL_CTX_set_cipher_list(native, word[0] == '+' ? word + 1 : word) == 1;
}

static bool is_group(SSL_CTX *native, const char *word)
{
	return SSL_CTX_set1_groups_list(native, word) == 1;
}

/* The first word of `list` that `is_known` does not know, owned by `owner`; NULL when it knows all. */
static char *unknown_word(const void *owner, SSL_CTX *native, const char *list, const char *dividers,
	bool (*is_known)(SSL_CTX *native, const char *word))
{
	for (;;) {
		size_t len = strcspn(list, dividers);
		char *word = text_copy(owner, (struct text){ list, len });

		if (!is_known(native, word))
			return word;
		talloc_free(word);
		if (list[len] == '\0')
			return NULL;
		list += len + 1;
	}
}

static void check_ciphers(const struct check *check, const struct config_tls_profile *profile)
{
	char *word = profile->ciphers == NULL
			     ? NULL
			     : unknown_word(NULL, check->native, profile->ciphers, ":, ", is_cipher_word);

	if (word != NULL)
		PROFILE_PROBLEM(check, profile, "ciphers",
			"`%s` names no cipher of TLS 1.2 or below that this OpenSSL has: expected words such as "
			"ECDHE+AESGCM divided by `:` (`openssl ciphers -v` shows what there is)",
			word);
	else if (!use_ciphers(check->native, profile) && profile->pfs == CONFIG_PFS_ALLOWED)
		PROFILE_PROBLEM(check, profile, "ciphers",
			"no cipher is left that encrypts and proves who the server is: expected a list such as "
			"ECDHE+AESGCM:ECDHE+CHACHA20");
	else if (!use_ciphers(check->native, profile))
		PROFILE_PROBLEM(check, profile, "ciphers",
			"no cipher is left of this list with `pfs: %s`: name ciphers with %s, or write `pfs: "
			"allowed`",
			profile->pfs == CONFIG_PFS_NONE ? "none" : "required",
			profile->pfs == CONFIG_PFS_NONE ? "RSA key exchange such as AES256-GCM-SHA384"
							: "forward secrecy such as ECDHE+AESGCM");
	talloc_free(word);
}

static void check_groups(const struct check *check, const struct config_tls_profile *profile)
{
	if (profile->groups == NULL)
		return;

	char *word = unknown_word(NULL, check->native, profile->groups, ":", is_group);
	if (word != NULL)
		PROFILE_PROBLEM(check, profile, "groups",
			"`%s` is no group that this OpenSSL has: expected names such as X25519 and P-256 "
			"divided by `:`",
			word);
	else if (SSL_CTX_set1_groups_list(check->native, profile->groups) != 1)
		PROFILE_PROBLEM(check, profile, "groups", "a group stands twice: remove one");
	talloc_free(word);
}

/* False when the first certificate of `chain` holds another key; one that cannot be read is identity_check()'s problem. */
static bool is_rsa(struct text chain)
{
	if (chain.at == NULL) /* the demo certificate, before the first start */
		return true;
	BIO *bio = text_must(BIO_new_mem_buf(chain.at, (int)chain.len));
	X509 *leaf = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	bool other = leaf != NULL && EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)) != EVP_PKEY_RSA;

	X509_free(leaf);
	BIO_free(bio);
	return !other;
}

static void check_listener(
	const struct check *check, const struct config_listener *listener, const struct bundle *bundle)
{
	const struct config_certificate *certificate;

	if (listener->certificate == NULL || listener->tls_profile->pfs != CONFIG_PFS_NONE)
		return;
	for (size_t i = 0; (certificate = config_listener_certificate(listener, i)) != NULL; i++)
		if (is_rsa(bundle_find(bundle, certificate->chain)))
			return;
	certificate = listener->certificate;

	char *key = text_must(talloc_asprintf(NULL, "listeners[%s].certificate", listener->name));
	problems_add(check->problems, check->config->file, listener->line, key,
		"profile `%s` says `pfs: none`, which needs an RSA key, and certificate `%s` holds another: name "
		"an RSA certificate, or a profile with forward secrecy",
		listener->tls_profile->name, certificate->name);
	talloc_free(key);
}

void tls_check(const struct config *config, const struct bundle *bundle, struct problems *problems)
{
	const struct check check = {
		.config = config, .problems = problems, .native = text_must(SSL_CTX_new(TLS_server_method()))
	};

	for (size_t i = 0; i < config->tls_profile_count; i++) {
		check_ciphers(&check, &config->tls_profiles[i]);
		check_groups(&check, &config->tls_profiles[i]);
	}
	for (size_t i = 0; i < config->listener_count; i++)
		check_listener(&check, &config->listeners[i], bundle);
	SSL_CTX_free(check.native);
	ERR_clear_error();
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
	evidence->resumed = SSL_session_reused(ssl) == 1;
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

void tls_signature(SSL *ssl, char *ret_text, size_t size)
{
	int type, hash;

	ret_text[0] = '\0';
	if (SSL_get_peer_signature_type_nid(ssl, &type) != 1)
		return;
	const char *name = type == EVP_PKEY_EC	      ? "ECDSA"
			   : type == EVP_PKEY_RSA_PSS ? "RSA-PSS"
			   : type == EVP_PKEY_RSA     ? "RSA"
						      : OBJ_nid2sn(type);
	const bool has_hash = SSL_get_peer_signature_nid(ssl, &hash) == 1 && hash != NID_undef;

	snprintf(ret_text, size, "%s%s%s", name, has_hash ? " " : "", has_hash ? OBJ_nid2sn(hash) : "");
}

void tls_error_text(char *ret_text, size_t size)
{
	unsigned long error = ERR_peek_last_error();
	const char *reason = error == 0 ? NULL : ERR_reason_error_string(error);

	snprintf(ret_text, size, "%s",
		reason == NULL ? "the peer closed the connection during the handshake" : reason);
	ERR_clear_error();
}
