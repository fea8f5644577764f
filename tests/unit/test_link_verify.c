/* The look at a server's certificate after a handshake (deliver/link_verify.c): what is only recorded may be remembered, what counts is verified. */
#include "deliver/link_private.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <talloc.h>

#include "base/clock.h"
#include "deliver/deliver.h"
#include "lookup/dane.h"
#include "net/tls.h"
#include "pki/trust.h"
#include "pki/verify_memo.h"
#include "report/metrics.h"
#include "test_help.h"

static struct help_identity identity; /* for mx.good.test and good.test, signed by itself */
static struct metrics metrics;

struct server {
	struct conn *conn;
	struct tls_context *context;
};

static void *serve(void *argument)
{
	struct server *server = argument;

	conn_tls_accept(server->conn, server->context);
	return NULL;
}

static struct tls_context *server_new(const void *owner)
{
	struct tls_context *context = tls_context_server(owner, "mx");
	SSL_CTX *native = tls_context_native(context);
	BIO *chain = BIO_new_mem_buf(identity.chain, -1), *key = BIO_new_mem_buf(identity.key, -1);
	X509 *certificate = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	assert_int_equal(SSL_CTX_use_cert_and_key(native, certificate, private, NULL, 1), 1);
	X509_free(certificate);
	EVP_PKEY_free(private);
	BIO_free(chain);
	BIO_free(key);
	return context;
}

/* What is looked at in one connection, and what is known of whom it is to. */
struct scene {
	struct deliver_house house;
	struct link *link; /* the last one */
	char detail[400];
};

static void look(struct scene *scene, const char *domain, unsigned checks, unsigned recorded)
{
	void *scratch = talloc_new(NULL);
	struct server server = { .context = server_new(scratch) };
	const struct tls_peer peer = { .name = "mx.good.test" };
	pthread_t thread;
	int fds[2];

	TALLOC_FREE(scene->link);
	scene->link = talloc_zero(NULL, struct link);
	*scene->link = (struct link){
		.target = { .destination = "good.test", .domain = domain, .host = "mx.good.test" },
		.dcid = "1"
	};
	scene->link->target.decision.checks = checks;
	scene->link->target.decision.recorded = recorded;
	scene->detail[0] = '\0';
	help_tcp_pair(fds);
	server.conn = conn_new(fds[1]);
	scene->link->conn = conn_new(fds[0]);
	conn_set_deadline(server.conn, clock_mono_ms() + 30000);
	conn_set_deadline(scene->link->conn, clock_mono_ms() + 30000);
	assert_int_equal(pthread_create(&thread, NULL, serve, &server), 0);
	assert_int_equal(conn_tls_connect(scene->link->conn, tls_context_client(scratch), &peer), 0);
	pthread_join(thread, NULL);
	link_verify(&scene->house, scene->link, scene->detail, sizeof scene->detail);
	conn_free(scene->link->conn);
	conn_free(server.conn);
	scene->link->conn = NULL;
	talloc_free(scratch);
}

enum { BOTH = TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED };

static void test_what_is_only_recorded_is_remembered_and_what_counts_is_verified(void **state)
{
	struct trust *trust = trust_new(*state);
	struct scene scene = { .house = { .config = talloc_zero(*state, struct config),
				       .trust = trust,
				       .metrics = &metrics,
				       .memo = verify_memo_new(*state) } };

	look(&scene, "good.test", 0, BOTH);
	assert_int_equal(scene.link->made, BOTH);
	assert_int_equal(scene.link->passed, 0);
	assert_string_equal(scene.detail, "");
	/* no generation does this to its own: here it shows what was remembered */
	trust_add(trust, text_of(identity.chain));
	look(&scene, "good.test", 0, BOTH);
	assert_int_equal(scene.link->passed, 0);
	look(&scene, "www.good.test", 0, BOTH); /* another question */
	assert_int_equal(scene.link->passed, TLS_CHECK_HOSTED);
	look(&scene, "good.test", TLS_CHECK_DOMAIN, TLS_CHECK_HOSTED);
	assert_int_equal(scene.link->made, BOTH);
	assert_true(scene.link->passed & TLS_CHECK_DOMAIN);
	assert_string_equal(scene.detail, "");
	look(&scene, "other.test", TLS_CHECK_DOMAIN, 0);
	assert_int_equal(scene.link->passed, 0);
	assert_string_equal(
		scene.detail, "hostname mismatch: the certificate is for mx.good.test, good.test");
	scene.house.memo = NULL;
	look(&scene, "good.test", 0, BOTH);
	assert_int_equal(scene.link->passed, BOTH);
	talloc_free(scene.link);
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
		cmocka_unit_test(test_what_is_only_recorded_is_remembered_and_what_counts_is_verified),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
