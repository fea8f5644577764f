/* What a client that delivers mail says in its handshake (net/tls.c), and what it verifies when a session is resumed. */
#include "net/tls.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"
#include "certificates.h"
#include "config/config.h"
#include "net/conn.h"
#include "net/tls_sessions.h"
#include "pki/dane.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "test_help.h"
#include "wire/tlsa.h"

static struct certificates made;
static const struct certificate *root, *middle, *leaf;

/* What the server saw of the client. */
struct hello {
	bool anonymous, raw_keys;
	char name[300]; /* that it asked for; empty = none */
};

struct server {
	struct conn *conn;
	struct tls_context *context;
};

/* RFC 7250 */
enum { EXTENSION_CLIENT_CERTIFICATE_TYPE = 19, EXTENSION_SERVER_CERTIFICATE_TYPE = 20 };

static bool has_extension(SSL *ssl, int wanted)
{
	int *present;
	size_t count;
	bool found = false;

	assert_int_equal(SSL_client_hello_get1_extensions_present(ssl, &present, &count), 1);
	for (size_t i = 0; i < count; i++)
		found |= present[i] == wanted;
	OPENSSL_free(present);
	return found;
}

/* A list of names, which has one. */
static void read_name(SSL *ssl, struct hello *hello)
{
	const unsigned char *at;
	size_t len;

	hello->name[0] = '\0';
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &len) != 1)
		return;
	assert_true(len > 5);
	memcpy(hello->name, at + 5, len - 5);
	hello->name[len - 5] = '\0';
}

static int look(SSL *ssl, int *alert, void *argument)
{
	struct hello *hello = argument;
	const unsigned char *suites;
	size_t size = SSL_client_hello_get0_ciphers(ssl, &suites);

	(void)alert;
	assert_true(size > 0);
	hello->anonymous = false;
	for (size_t i = 0; i + 1 < size; i += 2) {
		const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suites + i);

		hello->anonymous |= cipher != NULL && SSL_CIPHER_get_auth_nid(cipher) == NID_auth_null;
	}
	hello->raw_keys = has_extension(ssl, EXTENSION_CLIENT_CERTIFICATE_TYPE) ||
			  has_extension(ssl, EXTENSION_SERVER_CERTIFICATE_TYPE);
	read_name(ssl, hello);
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* A server that takes anything, with a chain of three. */
static struct tls_context *server_new(const void *owner, struct hello *hello)
{
	struct tls_context *context = tls_context_server(owner, "mx");
	SSL_CTX *native = tls_context_native(context);
	STACK_OF(X509) *chain = sk_X509_new_null();

	sk_X509_push(chain, middle->x509);
	sk_X509_push(chain, root->x509);
	assert_int_equal(SSL_CTX_use_cert_and_key(native, leaf->x509, leaf->key, chain, 1), 1);
	sk_X509_free(chain);
	SSL_CTX_set_client_hello_cb(native, look, hello);
	SSL_CTX_set_security_level(native, 0);
	SSL_CTX_set_min_proto_version(native, TLS1_VERSION);
	return context;
}

/* Shake hands, and say a line, behind which the tickets have come. */
static void *serve(void *argument)
{
	struct server *server = argument;

	if (conn_tls_accept(server->conn, server->context) == 0) {
		conn_write(server->conn, TEXT("hello\r\n"));
		conn_flush(server->conn);
	}
	return NULL;
}

/* One connection, freed by the caller; what came of its handshake. As in a delivery nothing is read before the certificate was looked at. */
static int meet(struct tls_context *context, struct tls_context *client, const struct tls_peer *peer,
	struct conn **ret_conn, struct dane_verify_facts *facts, struct verify_verdict *ret_verdict)
{
	struct server server = { .context = context };
	pthread_t thread;
	struct text line;
	bool bare_lf;
	int fds[2];

	help_tcp_pair(fds);
	server.conn = conn_new(fds[1]);
	struct conn *conn = conn_new(fds[0]);
	conn_set_deadline(server.conn, clock_mono_ms() + 30000);
	conn_set_deadline(conn, clock_mono_ms() + 30000);
	assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
	int r = conn_tls_connect(conn, client, peer);
	if (r == 0 && facts != NULL) {
		facts->chain = conn_tls_chain(conn);
		dane_verify(facts, ret_verdict);
		if (ret_verdict->result == VERIFY_FINE)
			conn_tls_approve(conn);
	}
	if (r == 0)
		assert_int_equal(conn_read_line(conn, 100, &line, &bare_lf), 0);
	*ret_conn = conn;
	pthread_join(thread, NULL);
	conn_free(server.conn);
	return r;
}

static int greet(struct tls_context *context, struct tls_context *client, const char *name, bool verify,
	struct evidence *ret_evidence)
{
	const struct tls_peer peer = { .name = name, .verify = verify };
	struct conn *conn;
	int r = meet(context, client, &peer, &conn, NULL, NULL);

	if (ret_evidence != NULL)
		*ret_evidence = conn->evidence;
	conn_free(conn);
	return r;
}

static void test_2_18_a_host_is_asked_for_by_its_name_and_never_by_an_address(void **state)
{
	static const struct {
		const char *name, *asked;
	} rows[] = {
		{ "mx.good.test", "mx.good.test" },
		{ "mx.good.test.", "mx.good.test" },
		{ "_mx.good.test", "_mx.good.test" },
		{ "192.0.2.1", "" },
		{ "192.0.2.1.", "" },
		{ "2001:db8::1", "" },
		{ ".", "" },
		{ "", "" },
		{ NULL, "" },
	};
	struct hello hello;
	struct tls_context *server = server_new(*state, &hello), *client = tls_context_client(*state);

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(greet(server, client, rows[i].name, i % 2, NULL), 0);
		assert_string_equal(hello.name, rows[i].asked);
	}
}

static struct tls_context *client_of(void *owner, enum config_version min, const char *ciphers)
{
	const struct config_tls_profile profile = { .name = "own",
		.min_version = min,
		.max_version = CONFIG_TLS_1_3,
		.pfs = CONFIG_PFS_ALLOWED,
		.ciphers = ciphers };
	struct tls_context *client = tls_context_client(owner);

	assert_int_equal(tls_use_profile(client, &profile), 0);
	return client;
}

static void test_3_32_3_35_neither_raw_keys_nor_anonymous_suites_are_offered(void **state)
{
	struct hello hello;
	struct tls_context *server = server_new(*state, &hello);
	struct tls_context *clients[] = { tls_context_client(*state),
		client_of(*state, CONFIG_TLS_1_0, "ALL:aNULL:@SECLEVEL=0"),
		client_of(*state, CONFIG_TLS_1_2, "aNULL:ECDHE+AESGCM") };

	for (size_t i = 0; i < COUNT(clients); i++)
		for (int verify = 0; verify < 2; verify++) {
			hello = (struct hello){ true, true, "" };
			assert_int_equal(greet(server, clients[i], "mx.good.test", verify, NULL), 0);
			assert_false(hello.anonymous);
			assert_false(hello.raw_keys);
		}
}

/* That the test above could see them. */
static void test_an_anonymous_offer_is_seen(void **state)
{
	struct hello hello = { 0 };
	struct tls_context *server = server_new(*state, &hello), *client = tls_context_client(*state);

	SSL_CTX_set_security_level(tls_context_native(client), 0);
	assert_int_equal(SSL_CTX_set_cipher_list(tls_context_native(client), "ALL:aNULL"), 1);
	assert_int_equal(greet(server, client, NULL, false, NULL), 0);
	assert_true(hello.anonymous);
}

static void test_3_35_who_has_to_prove_something_does_it_in_tls_1_2_at_least(void **state)
{
	static const char *const protocols[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
	static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_context *client = client_of(*state, CONFIG_TLS_1_0, NULL);
	struct hello hello;

	for (size_t i = 0; i < COUNT(versions); i++)
		for (int verify = 0; verify < 2; verify++) {
			struct tls_context *server = server_new(*state, &hello);
			struct evidence evidence;

			SSL_CTX_set_max_proto_version(tls_context_native(server), versions[i]);
			int r = greet(server, client, "mx.good.test", verify, &evidence);
			assert_int_equal(r, verify && versions[i] < TLS1_2_VERSION ? ERR_TLS : 0);
			if (r == 0)
				assert_string_equal(evidence.protocol, protocols[i]);
			else
				assert_string_not_equal(evidence.reason, "");
			talloc_free(server);
		}
}

static void test_3_35_a_profile_that_asks_for_more_keeps_it(void **state)
{
	struct tls_context *client = client_of(*state, CONFIG_TLS_1_3, NULL);
	struct hello hello;
	struct tls_context *server = server_new(*state, &hello);

	SSL_CTX_set_max_proto_version(tls_context_native(server), TLS1_2_VERSION);
	assert_int_equal(greet(server, client, "mx.good.test", true, NULL), ERR_TLS);
}

/* The security level would see to it as well; levels change their meaning between versions of OpenSSL. */
static void test_3_35_the_version_is_demanded_by_itself(void **state)
{
	struct tls_context *client = client_of(*state, CONFIG_TLS_1_0, NULL);

	for (int verify = 0; verify < 2; verify++) {
		const struct tls_peer peer = { .name = "mx.good.test", .verify = verify };
		SSL *ssl = SSL_new(tls_context_native(client));

		assert_int_equal(tls_expect(ssl, *state, &peer), 0);
		assert_int_equal(SSL_get_min_proto_version(ssl), verify ? TLS1_2_VERSION : TLS1_VERSION);
		assert_int_equal(SSL_get_security_level(ssl), verify ? 2 : 0);
		SSL_free(ssl);
	}
}

/* Resumption */

static struct tlsa_record key_of(const struct certificate *of, unsigned usage)
{
	unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
	int len = i2d_PUBKEY(X509_get0_pubkey(of->x509), &der);
	unsigned digest_len;

	assert_int_equal(EVP_Digest(der, (size_t)len, digest, &digest_len, EVP_sha256(), NULL), 1);
	OPENSSL_free(der);
	return (struct tlsa_record){ (uint8_t)usage, TLSA_KEY, TLSA_SHA256,
		{ talloc_memdup(made.scratch, digest, digest_len), digest_len } };
}

static void test_2_16_a_resumed_session_is_verified_anew(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static const char *const name = "mx.good.test";
	const struct tlsa_record records[] = { key_of(root, TLSA_DANE_TA), key_of(middle, TLSA_DANE_EE) };
	const int64_t now_ms = (int64_t)CERTIFICATES_NOW * 1000;
	const struct {
		struct dane_verify_facts facts;
		bool resumed;
		enum verify_result result;
	} steps[] = {
		{ { .records = &records[0], .now_ms = now_ms }, false, VERIFY_FINE },
		{ { .records = &records[0], .now_ms = now_ms }, true, VERIFY_FINE },
		/* a record of yesterday */
		{ { .records = &records[1], .now_ms = now_ms }, true, VERIFY_NOT_TRUSTED },
		{ { .records = &records[0], .now_ms = now_ms }, false, VERIFY_FINE },
		/* a certificate that has ended since */
		{ { .records = &records[0], .now_ms = now_ms + INT64_C(86400000) * 31 }, true,
			VERIFY_EXPIRED },
	};

	for (size_t i = 0; i < COUNT(versions); i++) {
		struct hello hello;
		struct tls_context *server = server_new(*state, &hello), *client = tls_context_client(*state);
		struct tls_sessions *sessions = tls_sessions_new();
		const struct tls_peer peer = {
			.name = name, .verify = true, .sessions = sessions, .key = "k"
		};

		SSL_CTX_set_max_proto_version(tls_context_native(server), versions[i]);
		for (size_t step = 0; step < COUNT(steps); step++) {
			struct dane_verify_facts facts = steps[step].facts;
			struct verify_verdict verdict;
			struct conn *conn;

			facts.count = 1;
			facts.names = &name;
			facts.name_count = 1;
			facts.client = step % 2 ? client : NULL;
			assert_int_equal(meet(server, client, &peer, &conn, &facts, &verdict), 0);
			if (versions[i] == TLS1_3_VERSION) /* a ticket is used once */
				assert_int_equal(conn->evidence.resumed, steps[step].resumed);
			assert_int_equal(sk_X509_num(conn_tls_chain(conn)), 3);
			if (verdict.result != steps[step].result)
				fail_msg("step %zu: %s", step, verdict.reason);
			conn_free(conn);
		}
		tls_sessions_release(sessions);
	}
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	tls_start();
	*state = talloc_new(NULL);
	made.scratch = talloc_new(NULL);
	root = certificates_authority(&made, "root", NULL);
	middle = certificates_authority(&made, "middle", root);
	leaf = certificates_make(
		&made, (struct certificate_plan){ .san = "DNS:mx.good.test", .issuer = middle });
	return 0;
}

static int tear_down(void **state)
{
	talloc_free(*state);
	certificates_free(&made);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_18_a_host_is_asked_for_by_its_name_and_never_by_an_address),
		cmocka_unit_test(test_3_32_3_35_neither_raw_keys_nor_anonymous_suites_are_offered),
		cmocka_unit_test(test_an_anonymous_offer_is_seen),
		cmocka_unit_test(test_3_35_who_has_to_prove_something_does_it_in_tls_1_2_at_least),
		cmocka_unit_test(test_3_35_the_version_is_demanded_by_itself),
		cmocka_unit_test(test_3_35_a_profile_that_asks_for_more_keeps_it),
		cmocka_unit_test(test_2_16_a_resumed_session_is_verified_anew),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
