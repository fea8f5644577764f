/*
 * Several certificates on one listener: which one a real OpenSSL client is shown, by the name that it asks for and what it can verify; and what
 * happens to names that no client of a library would send, in a ClientHello written by hand.
 */
#include "pki/identity_names.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/conn.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "test_help.h"

enum { RSA_A, EC_A, EC_W, RSA_W, EC_X, RSA_Z, COUNT_OF_ALL, FAILED = -1 };

static const struct {
	bool rsa;
	const char *names;
} kinds[] = {
	[RSA_A] = { true, "DNS:a.test,DNS:www.a.test" },
	[EC_A] = { false, "DNS:A.Test,email:x@z.test,IP:127.0.0.1" },
	[EC_W] = { false, "DNS:*.w.test,DNS:w.test" },
	[RSA_W] = { true, "DNS:*.w.test" },
	[EC_X] = { false, "DNS:x.w.test,DNS:y*.p.test" },
	[RSA_Z] = { true, "DNS:z.test,DNS:a.test" },
};

struct fixture {
	X509 *leaves[COUNT_OF_ALL];
	const struct identity *identities[COUNT_OF_ALL];
	struct tls_context *context;
};

static struct identity *identity_new(void *owner, bool rsa, const char *names, X509 **ret_leaf)
{
	EVP_PKEY *key = rsa ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
			    : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	struct help_identity files = help_identity_with(owner, key, names);
	BIO *bio = BIO_new_mem_buf(files.chain, -1);
	struct identity_flaw flaw;

	*ret_leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	BIO_free(bio);
	struct identity *identity = identity_load(owner, text_of(files.chain), text_of(files.key), &flaw);
	assert_non_null(identity);
	return identity;
}

static int number_of(const struct fixture *f, X509 *shown)
{
	for (int i = 0; shown != NULL && i < COUNT_OF_ALL; i++)
		if (X509_cmp(shown, f->leaves[i]) == 0)
			return i;
	return FAILED;
}

struct client {
	const char *name, *signatures, *ciphers;
	int version, fd;
	X509 *shown;
};

static void *client_run(void *argument)
{
	struct client *client = argument;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_min_proto_version(context, client->version);
	SSL_CTX_set_max_proto_version(context, client->version);
	SSL_CTX_set_max_cert_list(context, 1 << 20);
	if (client->signatures != NULL)
		assert_int_equal(SSL_CTX_set1_sigalgs_list(context, client->signatures), 1);
	if (client->ciphers != NULL)
		assert_int_equal(SSL_CTX_set_cipher_list(context, client->ciphers), 1);
	SSL *ssl = SSL_new(context);
	SSL_set_fd(ssl, client->fd);
	if (client->name != NULL)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, client->name), 1);
	if (SSL_connect(ssl) == 1)
		client->shown = SSL_get1_peer_certificate(ssl);
	SSL_free(ssl);
	SSL_CTX_free(context);
	ERR_clear_error();
	return NULL;
}

/* Which certificate a client is shown; FAILED = no handshake. */
static int meet(const struct fixture *f, struct client client)
{
	pthread_t thread;
	int fds[2];

	help_tcp_pair(fds);
	client.fd = fds[0];
	struct conn *server = conn_new(fds[1]);
	conn_set_deadline(server, clock_mono_ms() + 30000);
	assert_int_equal(pthread_create(&thread, NULL, client_run, &client), 0);
	conn_tls_accept(server, f->context);
	pthread_join(thread, NULL);
	conn_free(server);
	close(fds[0]);
	int number = number_of(f, client.shown);
	X509_free(client.shown);
	return number;
}

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static void test_8_19_8_20_the_certificate_is_that_of_the_name_and_of_the_clients_ability(void **state)
{
	static const struct {
		const char *name;
		int any, rsa, ecdsa; /* shown to a client that verifies all, RSA only, ECDSA only */
	} cases[] = {
		{ NULL, EC_A, RSA_A, EC_A },
		{ "a.test", EC_A, RSA_A, EC_A },
		{ "A.TEST", EC_A, RSA_A, EC_A },
		{ "www.a.test", RSA_A, RSA_A, EC_A }, /* better than none */
		{ "w.test", EC_W, RSA_A, EC_W },
		{ "x.w.test", EC_X, RSA_W, EC_X },
		{ "y.w.test", EC_W, RSA_W, EC_W },
		{ "Y.W.test", EC_W, RSA_W, EC_W },
		{ "a.b.w.test", EC_A, RSA_A, EC_A }, /* one label only */
		{ "z.test", RSA_Z, RSA_Z, EC_A },
		{ "unknown.test", EC_A, RSA_A, EC_A },
		{ "test", EC_A, RSA_A, EC_A },
		{ ".w.test", EC_A, RSA_A, EC_A },
		{ "w.test.", EC_A, RSA_A, EC_A },
		{ "w.test\\", EC_A, RSA_A, EC_A },
		{ "*.w.test", EC_A, RSA_A, EC_A },
		{ "yes.p.test", EC_A, RSA_A, EC_A }, /* partial wildcards never count */
		{ "y*.p.test", EC_A, RSA_A, EC_A },
		{ "x@z.test", EC_A, RSA_A, EC_A },
		{ "127.0.0.1", EC_A, RSA_A, EC_A },
		{ "[::1]", EC_A, RSA_A, EC_A },
		{ "\xc3\xbc.w.test", EC_A, RSA_A, EC_A },
		{ " ", EC_A, RSA_A, EC_A },
		{ LABEL_63 "." LABEL_63 "." LABEL_63
			   ".aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee.w.test",
			EC_A, RSA_A, EC_A },
		{ LABEL_63 ".w.test", EC_W, RSA_W, EC_W },
	};
	const struct fixture *f = *state;

	for (size_t i = 0; i < COUNT(cases); i++)
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			const char *name = cases[i].name;
			int any = meet(f, (struct client){ .name = name, .version = version }),
			    rsa = meet(f, (struct client){ .name = name,
						  .version = version,
						  .signatures = "RSA+SHA256:rsa_pss_rsae_sha256" }),
			    ecdsa = meet(f,
				    (struct client){
					    .name = name, .version = version, .signatures = "ECDSA+SHA256" });

			if (any != cases[i].any || rsa != cases[i].rsa || ecdsa != cases[i].ecdsa)
				fail_msg("`%s`, TLS 1.%d: %d, RSA %d, ECDSA %d", name, version - TLS1_VERSION,
					any, rsa, ecdsa);
		}
}

/* With TLS 1.2 a client says by its ciphers, too, what it can verify. */
static void test_8_20_ciphers_say_what_a_client_can_verify(void **state)
{
	static const struct {
		const char *name, *ciphers;
		int want;
	} cases[] = {
		{ "a.test", "ECDHE-RSA-AES128-GCM-SHA256", RSA_A },
		{ "a.test", "ECDHE-ECDSA-AES128-GCM-SHA256", EC_A },
		{ "w.test", "ECDHE-RSA-AES128-GCM-SHA256", RSA_A },
		{ "z.test", "ECDHE-ECDSA-AES128-GCM-SHA256", EC_A },
		{ "y.w.test", "ECDHE-RSA-AES128-GCM-SHA256", RSA_W },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int shown = meet(*state, (struct client){ .name = cases[i].name,
						 .version = TLS1_2_VERSION,
						 .ciphers = cases[i].ciphers });

		if (shown != cases[i].want)
			fail_msg("%s with %s: %d", cases[i].name, cases[i].ciphers, shown);
	}
}

/* A ClientHello of TLS 1.2 with these bytes as its server_name extension, in `out`; its length. */
static size_t write_hello(struct text extension, unsigned char *out)
{
	static const unsigned char rest[] = { 0, 10, 0, 4, 0, 2, 0, 23, /* groups: P-256 */
		0, 13, 0, 6, 0, 4, 4, 3, 4, 1, /* signatures: ECDSA and RSA with SHA-256 */
		0, 11, 0, 2, 1, 0 };
	static const unsigned char body[] = { 3, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
		17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f,
		1, 0 };
	size_t extensions = 4 + extension.len + sizeof rest, len = sizeof body + 2 + extensions, at = 9;

	const unsigned char head[] = { 22, 3, 1, (unsigned char)((len + 4) >> 8), (unsigned char)(len + 4), 1,
		0, (unsigned char)(len >> 8), (unsigned char)len };
	memcpy(out, head, sizeof head);
	memcpy(out + at, body, sizeof body);
	at += sizeof body;
	const unsigned char tail[] = { (unsigned char)(extensions >> 8), (unsigned char)extensions, 0, 0,
		(unsigned char)(extension.len >> 8), (unsigned char)extension.len };
	memcpy(out + at, tail, sizeof tail);
	at += sizeof tail;
	memcpy(out + at, extension.at, extension.len);
	memcpy(out + at + extension.len, rest, sizeof rest);
	return at + extension.len + sizeof rest;
}

/* What a client gets that sends this extension: the number of the certificate in the answer, or FAILED: an alert. */
static int answer(const struct fixture *f, struct text extension)
{
	static unsigned char hello[70000];
	char bytes[16384];
	size_t len = write_hello(extension, hello), got = 0;
	int fds[2], number = FAILED;
	ssize_t n;

	help_tcp_pair(fds);
	struct conn *server = conn_new(fds[1]);
	conn_set_deadline(server, clock_mono_ms() + 30000);
	assert_int_equal(send(fds[0], hello, len, MSG_NOSIGNAL), (ssize_t)len);
	shutdown(fds[0], SHUT_WR);
	assert_int_equal(conn_tls_accept(server, f->context), ERR_TLS); /* nobody finishes this handshake */
	conn_free(server);
	while ((n = recv(fds[0], bytes + got, sizeof bytes - got, 0)) > 0)
		got += (size_t)n;
	close(fds[0]);
	for (int i = 0; i < COUNT_OF_ALL; i++) {
		unsigned char *der = NULL;
		int der_len = i2d_X509(f->leaves[i], &der);

		if (memmem(bytes, got, der, (size_t)der_len) != NULL)
			number = i;
		OPENSSL_free(der);
	}
	if (number == FAILED)
		assert_true(got >= 7 && bytes[0] == 21); /* one alert, and not silence */
	return number;
}

/* The extension as a client writes it, with one name of `len` bytes. */
static int ask(const struct fixture *f, const char *name, size_t len)
{
	static char bytes[70000];

	bytes[0] = (char)((len + 3) >> 8);
	bytes[1] = (char)(len + 3);
	bytes[2] = 0;
	bytes[3] = (char)(len >> 8);
	bytes[4] = (char)len;
	memcpy(bytes + 5, name, len);
	return answer(f, (struct text){ bytes, len + 5 });
}

static void test_8_19_names_that_no_library_sends(void **state)
{
	const struct fixture *f = *state;
	char long_name[1000];

	memset(long_name, 'a', sizeof long_name);
	memcpy(long_name + 255 - 7, ".w.test", 7);
	assert_int_equal(ask(f, "x.w.test", 8), EC_X); /* the hand can write a good one */
	assert_int_equal(ask(f, "a.test\\", 7), EC_A);
	assert_int_equal(ask(f, "\xff\xfe\x80", 3), EC_A);
	assert_int_equal(ask(f, "a\r\nb", 4), EC_A);
	assert_int_equal(ask(f, "%s%n", 4), EC_A);
	assert_int_equal(ask(f, "x.w.test\n", 9), EC_A);
	assert_int_equal(ask(f, "", 0), EC_A);
	assert_int_equal(
		ask(f, long_name, 255), EC_W); /* its first label is too long for the DNS, and harms nobody */
	/* These OpenSSL refuses by itself, with an alert, before anybody looks: */
	assert_int_equal(ask(f, long_name, 256), FAILED);
	assert_int_equal(ask(f, long_name, 1000), FAILED);
	assert_int_equal(ask(f, "a.test\0b", 8), FAILED);
	assert_int_equal(answer(f, TEXT("")), FAILED);
	assert_int_equal(answer(f, TEXT("\xff\xff\0\0\1a")), FAILED);
	assert_int_equal(ask(f, "x.w.test", 8), EC_X); /* and the next one is served */
}

/* Ten thousand names, and random ones asked for: what is known stays as it was. */
static void test_8_19_many_names(void **state)
{
	const struct fixture *f = *state;
	void *owner = talloc_new(NULL);
	struct tls_context *context = tls_context_server(owner, "many");
	char *names = talloc_strdup(owner, "DNS:first.many.test");
	const struct identity *identities[2];
	struct fixture many = { .context = context };

	for (int i = 0; i < 10000; i++)
		names = talloc_asprintf_append_buffer(names, ",DNS:n%d.many.test", i);
	identities[0] = identity_new(owner, false, "DNS:a.test", &many.leaves[0]);
	identities[1] = identity_new(owner, false, names, &many.leaves[1]);
	for (int i = 2; i < COUNT_OF_ALL; i++)
		many.leaves[i] = f->leaves[i];
	assert_int_equal(identity_names_use(identities, 2, context), 0);
	size_t before = talloc_total_blocks(owner);
	assert_int_equal(
		meet(&many, (struct client){ .name = "n0.many.test", .version = TLS1_3_VERSION }), 1);
	assert_int_equal(
		meet(&many, (struct client){ .name = "n9999.many.test", .version = TLS1_3_VERSION }), 1);
	assert_int_equal(
		meet(&many, (struct client){ .name = "n10000.many.test", .version = TLS1_3_VERSION }), 0);
	for (int i = 0; i < 50; i++) {
		char *name = talloc_asprintf(NULL, "r%d.random.test", i);

		assert_int_equal(meet(&many, (struct client){ .name = name, .version = TLS1_3_VERSION }), 0);
		talloc_free(name);
	}
	assert_int_equal(talloc_total_blocks(owner), before);
	X509_free(many.leaves[0]);
	X509_free(many.leaves[1]);
	talloc_free(owner);
}

/* One certificate is shown whatever is asked for. */
static void test_8_19_one_certificate_is_for_all_names(void **state)
{
	static const char *const asked[] = { NULL, "z.test", "unknown.test", "127.0.0.1" };
	struct fixture one = *(struct fixture *)*state;
	void *owner = talloc_new(NULL);

	one.context = tls_context_server(owner, "one");
	assert_int_equal(identity_names_use(&one.identities[RSA_Z], 1, one.context), 0);
	for (size_t i = 0; i < COUNT(asked); i++)
		assert_int_equal(
			meet(&one, (struct client){ .name = asked[i], .version = TLS1_3_VERSION }), RSA_Z);
	talloc_free(owner);
}

static int set_up(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);

	signal(SIGPIPE, SIG_IGN);
	tls_start();
	for (int i = 0; i < COUNT_OF_ALL; i++)
		f->identities[i] = identity_new(f, kinds[i].rsa, kinds[i].names, &f->leaves[i]);
	f->context = tls_context_server(f, "in");
	assert_int_equal(identity_names_use(f->identities, COUNT_OF_ALL, f->context), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < COUNT_OF_ALL; i++)
		X509_free(f->leaves[i]);
	talloc_free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_8_19_8_20_the_certificate_is_that_of_the_name_and_of_the_clients_ability),
		cmocka_unit_test(test_8_20_ciphers_say_what_a_client_can_verify),
		cmocka_unit_test(test_8_19_names_that_no_library_sends),
		cmocka_unit_test(test_8_19_many_names),
		cmocka_unit_test(test_8_19_one_certificate_is_for_all_names),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
