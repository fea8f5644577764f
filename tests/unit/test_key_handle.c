/*
 * TLS with keys that are elsewhere: handshakes over TCP pairs whose signatures come over channels from a thread that plays role `keys` with the
 * real keyring; that it dies and comes back; and that what it does not grant ends the handshake.
 */
#include "pki/key_handle.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "net/conn.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "pki/keyring.h"
#include "pki/sign.h"
#include "test_help.h"

/* What the thread that plays `keys` does with asks. */
enum mode { ANSWERS, REFUSES, HANGS_UP_ONCE, WRONG_FORM, BUSY_ONCE };

struct keys {
	struct keyring *keyring;
	struct peer *peer;
	int control_fd, stop_fd;
	pthread_t thread;
	atomic_int mode;
	atomic_uint asked[KEY_USE_KIND_END];
};

struct fixture {
	struct help_identity ec, rsa, p384;
	struct bundle *bundle;
	const struct config *config;
};

/* Serve one channel at a time: a client of this test has one handshake at a time. False when the whole role dies. */
static bool serve(struct keys *keys, int fd)
{
	struct frame *ask;
	bool lives = true;

	while (lives && channel_receive(NULL, fd, keys->stop_fd, IO_FOREVER, &ask) == 0) {
		struct sign_request request = { 0 };
		char bytes[KEYRING_BYTES_MAX];
		enum mode mode = (enum mode)atomic_load(&keys->mode);
		int len = 0;

		assert_true(sign_read(ask, &request));
		atomic_fetch_add(&keys->asked[request.kind], 1);
		if (mode == ANSWERS)
			len = keyring_use(keyring_find(keys->keyring, &request.key), request.kind,
				request.digest, request.version, request.bytes, bytes);
		struct frame *answer = mode == WRONG_FORM
					       ? frame_new(ask, FRAME_ANSWER)
					       : sign_answer(ask, len > 0 ? KEY_USE_YES : KEY_USE_NO_RIGHT,
							 (struct text){ bytes, (size_t)MAX(len, 0) });

		if (mode == BUSY_ONCE) {
			answer = sign_answer(ask, KEY_USE_TOO_OFTEN, TEXT(""));
			atomic_store(&keys->mode, ANSWERS);
		}
		lives = mode != HANGS_UP_ONCE;
		if (lives)
			channel_send(fd, answer, clock_mono_ms() + 10000);
		talloc_free(ask);
	}
	close(fd);
	return lives;
}

static void connect_keys(struct keys *keys)
{
	int fds[2];

	base_close(&keys->control_fd);
	assert_int_equal(channel_pair(fds), 0);
	keys->control_fd = fds[1];
	peer_connect(keys->peer, fds[0]);
}

static void *keys_run(void *argument)
{
	struct keys *keys = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(NULL, keys->control_fd, keys->stop_fd, &frame)) > 0) {
		if (serve(keys, fd))
			continue;
		atomic_store(&keys->mode, ANSWERS); /* dead; and another one starts */
		connect_keys(keys);
	}
	return NULL;
}

static struct keys *keys_start(const void *owner, const struct fixture *f)
{
	struct keys *keys = talloc_zero(owner, struct keys);
	const char *why = "";

	keys->keyring = keyring_load(keys, f->config, f->bundle, &why);
	if (keys->keyring == NULL)
		fail_msg("%s", why);
	keys->peer = peer_new(keys, 4);
	keys->control_fd = -1;
	keys->stop_fd = eventfd(0, EFD_CLOEXEC);
	connect_keys(keys);
	assert_int_equal(pthread_create(&keys->thread, NULL, keys_run, keys), 0);
	return keys;
}

static void keys_end(struct keys *keys)
{
	eventfd_write(keys->stop_fd, 1);
	pthread_join(keys->thread, NULL);
	base_close(&keys->control_fd);
	base_close(&keys->stop_fd);
}

/* A client, and afterwards what it met. */
struct client {
	int version; /* newest */
	const char *ciphers, *signatures;
	int fd;
	bool secured;
	char cipher[64];
};

static void *client_run(void *argument)
{
	struct client *client = argument;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, client->version);
	SSL_CTX_set_max_proto_version(context, client->version);
	if (client->ciphers != NULL)
		assert_int_equal(SSL_CTX_set_cipher_list(context, client->ciphers), 1);
	if (client->signatures != NULL)
		assert_int_equal(SSL_CTX_set1_sigalgs_list(context, client->signatures), 1);
	SSL *ssl = SSL_new(context);
	SSL_set_fd(ssl, client->fd);
	client->secured = SSL_connect(ssl) == 1;
	snprintf(client->cipher, sizeof client->cipher, "%s", SSL_get_cipher_name(ssl));
	char byte;
	if (client->secured)
		client->secured = SSL_read(ssl, &byte, 1) == 1;
	SSL_free(ssl);
	SSL_CTX_free(context);
	ERR_clear_error();
	return NULL;
}

/* One handshake; what conn_tls_accept() said. */
static int meet(struct tls_context *context, struct client *client)
{
	pthread_t thread;
	int fds[2];

	help_tcp_pair(fds);
	client->fd = fds[0];
	struct conn *server = conn_new(fds[1]);
	conn_set_deadline(server, clock_mono_ms() + 60000);
	assert_int_equal(pthread_create(&thread, NULL, client_run, client), 0);
	int r = conn_tls_accept(server, context);
	if (r == 0) {
		assert_int_equal(conn_write(server, TEXT("x")), 0);
		assert_int_equal(conn_flush(server), 0);
	}
	conn_free(server);
	pthread_join(thread, NULL);
	close(fds[0]);
	assert_int_equal(r == 0, client->secured);
	return r;
}

#define PROFILE(min, c)                                                                                      \
	{                                                                                                    \
		.name = "own", .min_version = (min), .max_version = CONFIG_TLS_1_3, .ciphers = (c)           \
	}

static const struct config_tls_profile standard = PROFILE(CONFIG_TLS_1_2, "ECDHE+AESGCM:ECDHE+CHACHA20"),
				       old = PROFILE(CONFIG_TLS_1_0, "ALL");

static struct tls_context *listener_new(const void *owner, const struct config_tls_profile *profile,
	struct key_handles *handles, const struct help_identity *files)
{
	struct tls_context *context = tls_context_server(owner, "in");
	struct identity_flaw flaw;

	assert_int_equal(tls_use_profile(context, profile), 0);
	struct identity *identity = identity_load_chain(owner, text_of(files->chain), handles, "main", &flaw);
	assert_non_null(identity);
	assert_int_equal(identity_use(identity, context), 0);
	assert_int_equal(SSL_CTX_check_private_key(tls_context_native(context)), 1);
	return context;
}

/* Every way in which TLS uses a key, each with the ask that it must have led to. */
static void test_11_39_handshakes_of_every_kind_with_keys_elsewhere(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *name;
		const struct help_identity *files;
		const struct config_tls_profile *profile;
		struct client client;
		enum key_use_kind kind;
	} cases[] = {
		{ "P-256, TLS 1.3", &f->ec, &standard, { .version = TLS1_3_VERSION }, KEY_USE_ECDSA },
		{ "P-256, TLS 1.2", &f->ec, &standard, { .version = TLS1_2_VERSION }, KEY_USE_ECDSA },
		{ "P-384, TLS 1.3", &f->p384, &standard, { .version = TLS1_3_VERSION }, KEY_USE_ECDSA },
		{ "P-384, TLS 1.2", &f->p384, &standard, { .version = TLS1_2_VERSION }, KEY_USE_ECDSA },
		{ "RSA, TLS 1.3", &f->rsa, &standard, { .version = TLS1_3_VERSION }, KEY_USE_PSS },
		{ "RSA, TLS 1.3, SHA-384", &f->rsa, &standard,
			{ .version = TLS1_3_VERSION, .signatures = "rsa_pss_rsae_sha384" }, KEY_USE_PSS },
		{ "RSA, TLS 1.3, SHA-512", &f->rsa, &standard,
			{ .version = TLS1_3_VERSION, .signatures = "rsa_pss_rsae_sha512" }, KEY_USE_PSS },
		{ "RSA, TLS 1.2, PSS", &f->rsa, &standard,
			{ .version = TLS1_2_VERSION, .signatures = "rsa_pss_rsae_sha256" }, KEY_USE_PSS },
		{ "RSA, TLS 1.2, PKCS1", &f->rsa, &standard,
			{ .version = TLS1_2_VERSION, .signatures = "RSA+SHA256" }, KEY_USE_PKCS1 },
		{ "RSA, TLS 1.2, SHA-512", &f->rsa, &standard,
			{ .version = TLS1_2_VERSION, .signatures = "RSA+SHA512" }, KEY_USE_PKCS1 },
		{ "RSA, TLS 1.1", &f->rsa, &old,
			{ .version = TLS1_1_VERSION, .ciphers = "kECDHE:@SECLEVEL=0" }, KEY_USE_PKCS1 },
		{ "RSA, TLS 1.0", &f->rsa, &old, { .version = TLS1_VERSION, .ciphers = "kECDHE:@SECLEVEL=0" },
			KEY_USE_PKCS1 },
		{ "P-256, TLS 1.0", &f->ec, &old,
			{ .version = TLS1_VERSION, .ciphers = "kECDHE:@SECLEVEL=0" }, KEY_USE_ECDSA },
		{ "RSA key exchange, TLS 1.2", &f->rsa, &old,
			{ .version = TLS1_2_VERSION, .ciphers = "kRSA" }, KEY_USE_PREMASTER },
		{ "RSA key exchange, TLS 1.0", &f->rsa, &old,
			{ .version = TLS1_VERSION, .ciphers = "kRSA:@SECLEVEL=0" }, KEY_USE_PREMASTER },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		void *owner = talloc_new(NULL);
		struct keys *keys = keys_start(owner, f);
		struct key_handles *handles = key_handle_start(owner, keys->peer, keys->stop_fd);
		void *contexts = talloc_new(NULL);
		struct client client = cases[i].client;
		int r = meet(listener_new(contexts, cases[i].profile, handles, cases[i].files), &client);

		if (r != 0)
			fail_msg("%s: no handshake", cases[i].name);
		for (int kind = 0; kind < KEY_USE_KIND_END; kind++)
			if (atomic_load(&keys->asked[kind]) != (kind == (int)cases[i].kind))
				fail_msg("%s: %u asks of kind %d", cases[i].name,
					atomic_load(&keys->asked[kind]), kind);
		talloc_free(contexts);
		keys_end(keys);
		talloc_free(owner);
	}
}

/* The first ask dies with the role, or comes too often; the handshake goes on with the next one. */
static void test_11_39_a_handshake_survives_the_death_of_keys(void **state)
{
	struct fixture *f = *state;
	void *owner = talloc_new(NULL), *contexts = talloc_new(NULL);
	struct keys *keys = keys_start(owner, f);
	struct key_handles *handles = key_handle_start(owner, keys->peer, keys->stop_fd);
	struct tls_context *context = listener_new(contexts, &standard, handles, &f->ec);

	for (int n = 0; n < 3; n++) {
		struct client client = { .version = TLS1_3_VERSION };

		atomic_store(&keys->mode, n == 2 ? BUSY_ONCE : HANGS_UP_ONCE);
		assert_int_equal(meet(context, &client), 0);
	}
	assert_int_equal(atomic_load(&keys->asked[KEY_USE_ECDSA]), 6);
	talloc_free(contexts);
	keys_end(keys);
	talloc_free(owner);
}

static void test_11_39_what_is_not_granted_ends_the_handshake(void **state)
{
	static const enum mode modes[] = { REFUSES, WRONG_FORM };
	struct fixture *f = *state;

	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	for (size_t i = 0; i < COUNT(modes); i++) {
		void *owner = talloc_new(NULL), *contexts = talloc_new(NULL);
		struct keys *keys = keys_start(owner, f);
		struct key_handles *handles = key_handle_start(owner, keys->peer, keys->stop_fd);
		struct tls_context *context = listener_new(contexts, &standard, handles, &f->rsa);
		struct client client = { .version = TLS1_3_VERSION };

		atomic_store(&keys->mode, modes[i]);
		assert_int_equal(meet(context, &client), ERR_TLS);
		atomic_store(&keys->mode, ANSWERS);
		assert_int_equal(meet(context, &client), 0); /* and the next one is fine */
		talloc_free(contexts);
		keys_end(keys);
		talloc_free(owner);
	}
}

/* Whoever stops the role does not wait for a signature that never comes. */
static void test_a_stop_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	void *owner = talloc_new(NULL), *contexts = talloc_new(NULL);
	struct peer *nobody = peer_new(owner, 1);
	int stop_fd = eventfd(1, EFD_CLOEXEC);
	struct key_handles *handles = key_handle_start(owner, nobody, stop_fd);
	struct client client = { .version = TLS1_3_VERSION };
	int64_t before = clock_mono_ms();

	assert_true(meet(listener_new(contexts, &standard, handles, &f->ec), &client) < 0);
	assert_true(clock_mono_ms() - before < KEY_HANDLE_WAIT_MS);
	talloc_free(contexts);
	talloc_free(owner);
	close(stop_fd);
}

/* A handle has a public half and nothing else. */
static void test_11_39_a_handle_gives_no_private_half_away(void **state)
{
	static const char *const private[] = { "priv", "d", "rsa-factor1", "rsa-factor2", "rsa-exponent1",
		"rsa-coefficient1" };
	struct fixture *f = *state;
	const struct help_identity *const all[] = { &f->ec, &f->rsa };
	void *owner = talloc_new(NULL);
	struct key_handles *handles = key_handle_start(owner, peer_new(owner, 1), -1);

	for (size_t i = 0; i < COUNT(all); i++) {
		BIO *bio = BIO_new_mem_buf(all[i]->chain, -1);
		X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		EVP_PKEY *real = identity_read_key(text_of(all[i]->key));
		EVP_PKEY *handle = key_handle_new(handles, X509_get0_pubkey(certificate), "main");
		OSSL_PARAM *parameters = NULL;
		BIGNUM *number = NULL;

		assert_non_null(handle);
		assert_int_equal(EVP_PKEY_eq(real, handle), 1);
		assert_int_equal(EVP_PKEY_get_size(real), EVP_PKEY_get_size(handle));
		assert_int_equal(EVP_PKEY_get_bits(real), EVP_PKEY_get_bits(handle));
		assert_int_equal(EVP_PKEY_todata(handle, EVP_PKEY_KEYPAIR, &parameters), 0);
		for (size_t n = 0; n < COUNT(private); n++)
			assert_int_not_equal(EVP_PKEY_get_bn_param(handle, private[n], &number), 1);
		EVP_PKEY_free(handle);
		EVP_PKEY_free(real);
		X509_free(certificate);
		BIO_free(bio);
	}
	ERR_clear_error();
	talloc_free(owner);
}

/* A key is found by its public half only, and knows what it is for. */
static void test_11_39_keys_know_their_uses(void **state)
{
	static const struct {
		const char *name;
		unsigned uses;
		enum key_use_type type;
	} wants[] = {
		{ "main", KEY_USE_LISTENER, KEY_USE_EC },
		{ "rsa", KEY_USE_LISTENER | KEY_USE_DELIVERY, KEY_USE_RSA },
		{ "p384", KEY_USE_DELIVERY, KEY_USE_EC },
		{ "old", KEY_USE_LISTENER | KEY_USE_RSA_EXCHANGE, KEY_USE_RSA },
	};
	struct fixture *f = *state;
	const char *why = "";
	struct keyring *keyring = keyring_load(NULL, f->config, f->bundle, &why);
	struct digest nothing = { 0 };

	assert_non_null(keyring);
	assert_null(keyring_find(keyring, &nothing));
	for (size_t i = 0; i < COUNT(wants); i++) {
		char *path = talloc_asprintf(keyring, "%s.key", wants[i].name);
		EVP_PKEY *real = identity_read_key(bundle_find_key(f->bundle, path));
		const struct digest id = identity_key_id(real);
		const struct keyring_key *key = keyring_find(keyring, &id);
		struct key_use_facts facts = { 0 };

		assert_non_null(key);
		keyring_describe(key, &facts);
		assert_string_equal(keyring_name(key), wants[i].name);
		if (!facts.known || facts.uses != wants[i].uses || facts.type != wants[i].type ||
			facts.size != (size_t)EVP_PKEY_get_size(real))
			fail_msg("%s: uses %u type %d", wants[i].name, facts.uses, facts.type);
		EVP_PKEY_free(real);
	}
	talloc_free(keyring);
}

/* Whether `signature` is one of `digest` in exactly this way. */
static bool verifies(EVP_PKEY *public, enum key_use_kind kind, const EVP_MD *algorithm, struct text digest,
	struct text signature)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, public, NULL);

	assert_int_equal(EVP_PKEY_verify_init(context), 1);
	assert_int_equal(EVP_PKEY_CTX_set_signature_md(context, algorithm), 1);
	if (kind != KEY_USE_ECDSA)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(context,
					 kind == KEY_USE_PSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING),
			1);
	if (kind == KEY_USE_PSS)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST), 1);
	const bool fine = EVP_PKEY_verify(context, (const unsigned char *)signature.at, signature.len,
				  (const unsigned char *)digest.at, digest.len) == 1;
	EVP_PKEY_CTX_free(context);
	return fine;
}

struct rounds {
	struct fixture *f;
	struct keyring *keyring;
};

/* Contexts are used again: never for another way, and by one thread at a time. */
static void *sign_in_every_way(void *argument)
{
	static const struct {
		const char *file;
		enum key_use_kind kind;
		enum key_use_digest digest;
		const char *algorithm;
	} ways[] = {
		{ "main.key", KEY_USE_ECDSA, KEY_USE_SHA256, "SHA256" },
		{ "main.key", KEY_USE_ECDSA, KEY_USE_SHA384, "SHA384" },
		{ "rsa.key", KEY_USE_PKCS1, KEY_USE_SHA256, "SHA256" },
		{ "rsa.key", KEY_USE_PSS, KEY_USE_SHA256, "SHA256" },
		{ "rsa.key", KEY_USE_PSS, KEY_USE_SHA512, "SHA512" },
		{ "rsa.key", KEY_USE_PKCS1, KEY_USE_SHA512, "SHA512" },
		{ "rsa.key", KEY_USE_PKCS1, KEY_USE_MD5_SHA1, "MD5-SHA1" },
		{ "p384.key", KEY_USE_ECDSA, KEY_USE_SHA384, "SHA384" },
	};
	const struct rounds *rounds = argument;

	for (size_t n = 0; n < 10 * COUNT(ways); n++) {
		const size_t i = n % COUNT(ways);
		EVP_PKEY *real = identity_read_key(bundle_find_key(rounds->f->bundle, ways[i].file));
		const struct digest id = identity_key_id(real);
		const struct keyring_key *key = keyring_find(rounds->keyring, &id);
		char digest[64], bytes[KEYRING_BYTES_MAX];
		const struct text in = { digest, key_use_digest_size(ways[i].digest) };

		memset(digest, (int)n, sizeof digest);
		const int len = keyring_use(key, ways[i].kind, ways[i].digest, 0, in, bytes);
		if (len <= 0 || !verifies(real, ways[i].kind, EVP_get_digestbyname(ways[i].algorithm), in,
					(struct text){ bytes, (size_t)MAX(len, 0) }))
			fail_msg("way %zu: %d bytes", i, len);
		/* and what cannot be done spoils nothing */
		if (ways[i].kind == KEY_USE_PSS)
			assert_true(keyring_use(key, KEY_USE_PSS, ways[i].digest, 0, text_first(in, 3),
					    bytes) < 0);
		EVP_PKEY_free(real);
	}
	OPENSSL_thread_stop();
	return NULL;
}

static void test_11_39_a_key_signs_in_every_way_again_and_again(void **state)
{
	const char *why = "";
	struct rounds rounds = { *state, NULL };
	pthread_t threads[4];

	rounds.keyring = keyring_load(NULL, rounds.f->config, rounds.f->bundle, &why);
	assert_non_null(rounds.keyring);
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sign_in_every_way, &rounds), 0);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	talloc_free(rounds.keyring);
}

/* What is no encrypted secret opens to 48 random bytes: whoever asks learns nothing of the padding. */
static void test_11_39_a_wrong_secret_opens_to_a_random_one(void **state)
{
	struct fixture *f = *state;
	const char *why = "";
	struct keyring *keyring = keyring_load(NULL, f->config, f->bundle, &why);
	EVP_PKEY *real = identity_read_key(bundle_find_key(f->bundle, "old.key"));
	const struct digest id = identity_key_id(real);
	const struct keyring_key *key = keyring_find(keyring, &id);
	char wrong[256] = { 1, 2, 3 }, first[KEYRING_BYTES_MAX], second[KEYRING_BYTES_MAX];

	assert_int_equal(
		keyring_use(key, KEY_USE_PREMASTER, 0, 0x0303, (struct text){ wrong, 256 }, first), 48);
	assert_int_equal(
		keyring_use(key, KEY_USE_PREMASTER, 0, 0x0303, (struct text){ wrong, 256 }, second), 48);
	assert_memory_not_equal(first, second, 48);
	EVP_PKEY_free(real);
	talloc_free(keyring);
}

/* The ask and its answer over a channel: what is malformed is refused, never half read. */
static void test_a_malformed_ask_is_refused(void **state)
{
	static const struct {
		const char *name;
		size_t key_len, len;
		int64_t kind, digest, version;
		int frame, extra;
		bool fine;
	} cases[] = {
		{ "a good one", 32, 32, KEY_USE_ECDSA, KEY_USE_SHA256, 0, FRAME_SIGN, 0, true },
		{ "the largest", 32, SIGN_BYTES_MAX, KEY_USE_PREMASTER, 0, 0x0303, FRAME_SIGN, 0, true },
		{ "nothing to sign", 32, 0, KEY_USE_PSS, 0, 0, FRAME_SIGN, 0, true }, /* refused by policy */
		{ "a byte too many", 32, SIGN_BYTES_MAX + 1, 0, 0, 0, FRAME_SIGN, 0, false },
		{ "a short key", 31, 32, 0, 0, 0, FRAME_SIGN, 0, false },
		{ "a long key", 33, 32, 0, 0, 0, FRAME_SIGN, 0, false },
		{ "another kind", 32, 32, KEY_USE_KIND_END, 0, 0, FRAME_SIGN, 0, false },
		{ "a negative kind", 32, 32, -1, 0, 0, FRAME_SIGN, 0, false },
		{ "another digest", 32, 32, 0, KEY_USE_DIGEST_END, 0, FRAME_SIGN, 0, false },
		{ "another version", 32, 32, 0, 0, 65536, FRAME_SIGN, 0, false },
		{ "another ask", 32, 32, 0, 0, 0, FRAME_DNS, 0, false },
		{ "more behind", 32, 32, 0, 0, 0, FRAME_SIGN, 1, false },
	};
	static const char zeros[SIGN_BYTES_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct frame *ask = frame_new(NULL, (enum frame_kind)cases[i].frame);
		struct sign_request request;

		frame_put_text(ask, (struct text){ zeros, cases[i].key_len });
		frame_put_number(ask, cases[i].kind);
		frame_put_number(ask, cases[i].digest);
		frame_put_number(ask, cases[i].version);
		frame_put_text(ask, (struct text){ zeros, cases[i].len });
		if (cases[i].extra)
			frame_put_bool(ask, true);
		if (sign_read(ask, &request) != cases[i].fine)
			fail_msg("%s", cases[i].name);
		talloc_free(ask);
	}
}

static char *pem_of(const void *owner, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	EVP_PKEY_free(key);
	return help_bio_text(owner, bio);
}

/* bundle_add_key() takes files, so the keys become some. */
static void add_key(struct bundle *bundle, const char *directory, const char *name, const char *pem)
{
	char *path = talloc_asprintf(bundle, "%s/%s.key", directory, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(pem, file) >= 0);
	fclose(file);
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(bundle_add_key(bundle, path + strlen(directory) + 1), 0);
}

static int set_up(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);
	char directory[64];

	signal(SIGPIPE, SIG_IGN);
	tls_start();
	help_directory(directory);
	f->ec = help_identity(f);
	f->rsa = help_rsa_identity(f);
	f->p384 = help_identity_with(f, EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"), "DNS:p384.test");
	f->bundle = bundle_new(f, 1);
	bundle_add(f->bundle, "test.yaml",
		TEXT("hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
		     "certificates: [{name: main, chain: main.pem, key: main.key},"
		     " {name: rsa, chain: rsa.pem, key: rsa.key},"
		     " {name: p384, chain: p384.pem, key: p384.key}, {name: old, chain: old.pem, key: old.key}]\n"
		     "tls_profiles: [{name: bare, pfs: none}]\n"
		     "mail_flow_policies: [{name: open}]\n"
		     "listeners: [{name: a, type: public, address: '127.0.0.1:0', certificate: main, policy: open},"
		     " {name: b, type: public, address: '127.0.0.1:0', certificate: rsa, policy: open},"
		     " {name: c, type: public, address: '127.0.0.1:0', certificate: old, policy: open,"
		     " tls_profile: bare}]\n"
		     "destinations: [{domain: a.test, certificate: rsa}]\ndestination_settings: {certificate: p384}\n"),
		BUNDLE_ALL);
	add_key(f->bundle, directory, "main", f->ec.key);
	add_key(f->bundle, directory, "rsa", f->rsa.key);
	add_key(f->bundle, directory, "p384", f->p384.key);
	add_key(f->bundle, directory, "old", pem_of(f, EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)));
	assert_int_equal(chdir("/"), 0);
	help_remove(directory);

	struct problems *problems = problems_new(f);
	f->config = config_read(f->bundle, "test.yaml", problems);
	assert_non_null(f->config);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	config_release(f->config);
	talloc_free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_39_handshakes_of_every_kind_with_keys_elsewhere),
		cmocka_unit_test(test_11_39_a_handshake_survives_the_death_of_keys),
		cmocka_unit_test(test_11_39_what_is_not_granted_ends_the_handshake),
		cmocka_unit_test(test_a_stop_ends_the_wait),
		cmocka_unit_test(test_11_39_a_handle_gives_no_private_half_away),
		cmocka_unit_test(test_11_39_keys_know_their_uses),
		cmocka_unit_test(test_11_39_a_key_signs_in_every_way_again_and_again),
		cmocka_unit_test(test_11_39_a_wrong_secret_opens_to_a_random_one),
		cmocka_unit_test(test_a_malformed_ask_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
