/* The client's side of a handshake: whom it accepts, and when it resumes. */
#include "net/tls_sessions.h"

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
#include "net/conn.h"
#include "net/tls.h"
#include "pki/trust.h"
#include "pki/verify.h"
#include "test_help.h"

static struct help_identity identity; /* for mx.good.test and good.test, signed by itself */

static void give_identity(struct tls_context *context)
{
	BIO *chain = BIO_new_mem_buf(identity.chain, -1), *key = BIO_new_mem_buf(identity.key, -1);
	X509 *certificate = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	assert_int_equal(
		SSL_CTX_use_cert_and_key(tls_context_native(context), certificate, private, NULL, 1), 1);
	X509_free(certificate);
	EVP_PKEY_free(private);
	BIO_free(chain);
	BIO_free(key);
}

struct server {
	struct conn *conn;
	struct tls_context *context;
};

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

/* As a delivery does it: right after the handshake. NULL `trusted` = nobody is. */
static int verify_server(struct conn *conn, const struct tls_peer *peer, const char *address, bool trusted)
{
	struct trust *trust = trust_new(NULL);
	struct verify_facts facts = { .chain = conn_tls_chain(conn),
		.trust = trust,
		.hosts = &peer->name,
		.host_count = peer->name != NULL,
		.now_ms = clock_wall_ms() };
	struct verify_verdict verdict;

	trust_add(trust, text_of(trusted ? identity.chain : ""));
	if (address != NULL)
		assert_int_equal(ip_parse(text_of(address), &facts.address), 0);
	verify_peer(&facts, &verdict);
	talloc_free(trust);
	if (verdict.result == VERIFY_FINE) {
		conn_tls_approve(conn);
		return 0;
	}
	evidence_explain(&conn->evidence, verdict.reason);
	return ERR_TLS;
}

/* Whom the next connection wants, when it is no name, and whether its authority is trusted. */
static struct {
	const char *address;
	bool untrusted;
} next;

/* One connection; 0 and its evidence, or the error of the handshake. The connection is freed unless ret_conn takes it. */
static int connect_once(struct tls_context *client, struct tls_context *context, const struct tls_peer *peer,
	struct evidence *ret_evidence, struct conn **ret_conn)
{
	struct server server = { .context = context };
	struct text line;
	pthread_t thread;
	bool bare_lf;
	int fds[2];

	help_tcp_pair(fds);
	server.conn = conn_new(fds[1]);
	struct conn *conn = conn_new(fds[0]);
	conn_set_deadline(server.conn, clock_mono_ms() + 30000);
	conn_set_deadline(conn, clock_mono_ms() + 30000);
	assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
	int r = conn_tls_connect(conn, client, peer);
	if (r == 0 && peer->verify)
		r = verify_server(conn, peer, next.address, !next.untrusted);
	if (r == 0)
		assert_int_equal(conn_read_line(conn, 100, &line, &bare_lf), 0);
	*ret_evidence = conn->evidence;
	if (ret_conn != NULL)
		*ret_conn = conn;
	else
		conn_free(conn);
	pthread_join(thread, NULL);
	conn_free(server.conn);
	return r;
}

static struct tls_context *server_new(const void *owner)
{
	struct tls_context *context = tls_context_server(owner, "mx");

	give_identity(context);
	return context;
}

static const struct {
	const char *name, *address; /* whom the client wants */
	bool trusted, verify, accepted;
	const char *reason;
} peers[] = {
	{ "mx.good.test", NULL, true, true, true, "" },
	{ "MX.Good.Test", NULL, true, true, true, "" },
	{ "good.test", NULL, true, true, true, "" },
	{ "x.good.test", NULL, true, true, false,
		"hostname mismatch: the certificate is for mx.good.test, good.test" },
	{ "mx.good.test.evil.test", NULL, true, true, false, "hostname mismatch" },
	{ NULL, "127.0.0.1", true, true, false, "IP address mismatch: the certificate is not for 127.0.0.1" },
	{ NULL, "::1", true, true, false, "IP address mismatch" },
	{ "mx.good.test", NULL, false, true, false, "self-signed certificate" },
	{ "x.good.test", NULL, false, false, true, "" },
	{ NULL, "127.0.0.1", false, false, true, "" },
};

static void test_who_is_accepted(void **state)
{
	struct tls_context *server = server_new(*state);

	for (size_t i = 0; i < COUNT(peers); i++) {
		struct tls_context *client = tls_context_client(*state);
		struct tls_peer peer = { .name = peers[i].name, .verify = peers[i].verify };
		struct evidence evidence;

		next.address = peers[i].address;
		next.untrusted = !peers[i].trusted;
		int r = connect_once(client, server, &peer, &evidence, NULL);
		if ((r == 0) != peers[i].accepted || strstr(evidence.reason, peers[i].reason) == NULL)
			fail_msg("peer %zu: %d, %s", i, r, evidence.reason);
		if (r == 0)
			assert_string_equal(evidence.obtained, peers[i].verify ? "verified" : "encrypted");
		talloc_free(client);
	}
	next.address = NULL;
	next.untrusted = false;
}

static void test_what_is_no_certificate_is_not_trusted(void **state)
{
	struct trust *trust = trust_new(*state);
	char *twice = talloc_asprintf(*state, "%sgarbage\n%s", identity.chain, identity.chain);

	assert_int_equal(trust_add(trust, TEXT("")), 0);
	assert_int_equal(trust_add(trust, (struct text){ NULL, 0 }), 0);
	assert_int_equal(trust_add(trust, TEXT("no PEM")), 0);
	assert_int_equal(trust_add(trust, (struct text){ identity.key, identity.key_len }), 0);
	assert_int_equal(trust_add(trust, text_of(twice)), 2);
	assert_int_equal(trust_count(trust), 2);
}

/* Resumption */

struct rig {
	struct tls_context *server, *client;
	struct tls_sessions *sessions;
};

static struct rig rig_new(void *owner)
{
	return (struct rig){ server_new(owner), tls_context_client(owner), tls_sessions_new() };
}

static bool resumes(const struct rig *rig, const char *name, bool verify, const char *key)
{
	const struct tls_peer peer = {
		.name = name, .verify = verify, .sessions = rig->sessions, .key = key
	};
	struct evidence evidence;

	assert_int_equal(connect_once(rig->client, rig->server, &peer, &evidence, NULL), 0);
	assert_string_equal(evidence.obtained, verify ? "verified" : "encrypted");
	assert_string_equal(evidence.names[0], "mx.good.test");
	return evidence.resumed;
}

static void test_2_16_a_session_is_found_under_its_key_only(void **state)
{
	struct rig rig = rig_new(*state);

	assert_false(resumes(&rig, "mx.good.test", true, "a"));
	assert_true(resumes(&rig, "mx.good.test", true, "a"));
	assert_true(resumes(&rig, "mx.good.test", true, "a"));
	assert_false(resumes(&rig, "mx.good.test", true, "b"));
	assert_false(resumes(&rig, "mx.good.test", true, ""));
	assert_true(resumes(&rig, "mx.good.test", true, "b"));
	tls_sessions_release(rig.sessions);
}

static void test_2_16_of_a_connection_one_ticket_is_kept_and_used_once(void **state)
{
	struct rig rig = rig_new(*state);
	const struct tls_peer peer = { .name = "mx.good.test", .sessions = rig.sessions, .key = "a" };
	struct conn *open[3];
	struct evidence evidence[3];

	SSL_CTX_set_num_tickets(tls_context_native(rig.server), 4);
	assert_false(resumes(&rig, "mx.good.test", false, "a"));
	/* a client that does not read gets no new ticket: there is one for the first of these only */
	for (int i = 0; i < 3; i++) {
		struct server server = { .context = rig.server };
		pthread_t thread;
		int fds[2];

		help_tcp_pair(fds);
		server.conn = conn_new(fds[1]);
		open[i] = conn_new(fds[0]);
		conn_set_deadline(server.conn, clock_mono_ms() + 30000);
		conn_set_deadline(open[i], clock_mono_ms() + 30000);
		pthread_create(&thread, NULL, serve, &server);
		assert_int_equal(conn_tls_connect(open[i], rig.client, &peer), 0);
		pthread_join(thread, NULL);
		evidence[i] = open[i]->evidence;
		conn_free(server.conn);
	}
	assert_true(evidence[0].resumed);
	assert_false(evidence[1].resumed);
	assert_false(evidence[2].resumed);
	for (int i = 0; i < 3; i++)
		conn_free(open[i]);
	tls_sessions_release(rig.sessions);
}

static void test_a_session_of_tls_1_2_may_be_used_again(void **state)
{
	struct rig rig = rig_new(*state);

	SSL_CTX_set_max_proto_version(tls_context_native(rig.server), TLS1_2_VERSION);
	assert_false(resumes(&rig, "mx.good.test", true, "a"));
	for (int i = 0; i < 3; i++)
		assert_true(resumes(&rig, "mx.good.test", true, "a"));
	tls_sessions_release(rig.sessions);
}

static void test_2_16_what_was_not_verified_is_not_kept(void **state)
{
	struct rig rig = rig_new(*state);
	const struct tls_peer wrong = {
		.name = "x.good.test", .verify = true, .sessions = rig.sessions, .key = "a"
	};
	struct evidence evidence;

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_CTX_set_max_proto_version(tls_context_native(rig.server), version);
		assert_int_equal(connect_once(rig.client, rig.server, &wrong, &evidence, NULL), ERR_TLS);
		assert_false(resumes(&rig, "mx.good.test", true, version == TLS1_2_VERSION ? "a" : "b"));
	}
	tls_sessions_release(rig.sessions);
}

static void test_of_many_sessions_the_oldest_go(void **state)
{
	struct rig rig = rig_new(*state);
	char key[16];

	assert_false(resumes(&rig, "mx.good.test", false, "first"));
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof key, "%d", i);
		assert_false(resumes(&rig, "mx.good.test", false, key));
	}
	assert_true(resumes(&rig, "mx.good.test", false, "499"));
	assert_true(resumes(&rig, "mx.good.test", false, "1"));
	assert_false(resumes(&rig, "mx.good.test", false, "first"));
	tls_sessions_release(rig.sessions);
}

/* A connection may outlive the configuration under which it was opened. */
static void test_sessions_last_as_long_as_a_connection_may_add_to_them(void **state)
{
	struct rig rig = rig_new(*state);
	const struct tls_peer peer = { .name = "mx.good.test", .sessions = rig.sessions, .key = "a" };
	struct evidence evidence;
	struct conn *conn;

	assert_int_equal(connect_once(rig.client, rig.server, &peer, &evidence, &conn), 0);
	tls_sessions_release(rig.sessions);
	conn_free(conn); /* ASan: nothing was freed before, nothing stays */
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	tls_start();
	*state = talloc_new(NULL);
	identity = help_identity(*state);
	return 0;
}

static int tear_down(void **state)
{
	talloc_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_accepted),
		cmocka_unit_test(test_what_is_no_certificate_is_not_trusted),
		cmocka_unit_test(test_2_16_a_session_is_found_under_its_key_only),
		cmocka_unit_test(test_2_16_of_a_connection_one_ticket_is_kept_and_used_once),
		cmocka_unit_test(test_a_session_of_tls_1_2_may_be_used_again),
		cmocka_unit_test(test_2_16_what_was_not_verified_is_not_kept),
		cmocka_unit_test(test_of_many_sessions_the_oldest_go),
		cmocka_unit_test(test_sessions_last_as_long_as_a_connection_may_add_to_them),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
