/* A connection read and written as if blocking: lines cut at every byte, limits, deadlines, stop, and TLS both ways. */
#include "net/conn.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/tls.h"
#include "test_help.h"

struct pair {
	int raw; /* the client's socket until it becomes a conn */
	int fd;	 /* the server's, which belongs to its conn */
	struct conn *client, *server;
	int stop_fd;
};

static struct help_identity identity;
static struct tls_context *server_context, *client_context;

static struct pair pair_new(void)
{
	struct pair pair = { .stop_fd = eventfd(0, EFD_CLOEXEC) };
	int fds[2];

	help_tcp_pair(fds);
	pair.raw = fds[0];
	pair.fd = fds[1];
	pair.server = conn_new(fds[1]);
	conn_set_deadline(pair.server, clock_mono_ms() + 30000);
	return pair;
}

static void pair_free(struct pair *pair)
{
	conn_free(pair->client);
	conn_free(pair->server);
	if (pair->client == NULL)
		base_close(&pair->raw);
	close(pair->stop_fd);
}

static void say(struct pair *pair, const char *bytes, size_t len)
{
	assert_int_equal(send(pair->raw, bytes, len, MSG_NOSIGNAL), len);
}

static void hears(struct pair *pair, const char *want, bool want_bare)
{
	struct text line;
	bool bare_lf = !want_bare;

	assert_int_equal(conn_read_line(pair->server, 100, &line, &bare_lf), 0);
	assert_true(text_equal(line, text_of(want)));
	assert_int_equal(bare_lf, want_bare);
}

static void test_both_ends_know_their_addresses(void **state)
{
	struct pair pair = pair_new();
	char text[IP_TEXT_MAX];

	(void)state;
	assert_string_equal(ip_format(&pair.server->peer, text), "127.0.0.1");
	assert_string_equal(ip_format(&pair.server->local, text), "127.0.0.1");
	assert_int_not_equal(pair.server->peer.port, 0);
	assert_string_equal(pair.server->evidence.obtained, "none");
	pair_free(&pair);
}

static void test_lines_are_the_same_however_they_are_cut(void **state)
{
	static const char bytes[] = "one\r\n\r\ntwo\nthr\ree\r\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof bytes; cut++) {
		struct pair pair = pair_new();

		say(&pair, bytes, cut);
		if (cut >= 5)
			hears(&pair, "one", false);
		say(&pair, bytes + cut, sizeof bytes - 1 - cut);
		if (cut < 5)
			hears(&pair, "one", false);
		hears(&pair, "", false);
		hears(&pair, "two", true);
		hears(&pair, "thr\ree", false);
		assert_false(conn_has_input(pair.server));
		pair_free(&pair);
	}
}

static void test_a_line_over_its_limit_is_refused_and_not_taken(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		const char *end;
		int want;
	} cases[] = {
		{ "at the limit", 100, "\r\n", 0 },
		{ "one over", 101, "\r\n", ERR_TOO_LONG },
		{ "at the limit, bare LF", 100, "\n", 0 },
		{ "one over, bare LF", 101, "\n", ERR_TOO_LONG },
		{ "without an end", 102, "", ERR_TOO_LONG },
		{ "far over", 16000, "", ERR_TOO_LONG },
	};
	static char bytes[20000];

	(void)state;
	memset(bytes, 'x', sizeof bytes);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct pair pair = pair_new();
		struct text line;
		bool bare_lf;

		say(&pair, bytes, cases[i].len);
		say(&pair, cases[i].end, strlen(cases[i].end));
		if (conn_read_line(pair.server, 100, &line, &bare_lf) != cases[i].want)
			fail_msg("%s", cases[i].name);
		if (cases[i].want == 0)
			assert_int_equal(line.len, 100);
		else
			assert_true(conn_has_input(pair.server));
		pair_free(&pair);
	}
}

static void test_waits_end_by_deadline_stop_and_close(void **state)
{
	struct pair pair = pair_new();
	struct text line;
	bool bare_lf;

	(void)state;
	say(&pair, "par", 3);
	conn_set_deadline(pair.server, clock_mono_ms() + 20);
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), -ETIMEDOUT);
	conn_set_deadline(pair.server, clock_mono_ms() + 30000);
	conn_set_stop(pair.server, pair.stop_fd);
	eventfd_write(pair.stop_fd, 1);
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), ERR_STOPPED);
	conn_set_stop(pair.server, -1);
	say(&pair, "t\r\n", 3);
	hears(&pair, "part", false);
	base_close(&pair.raw);
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), ERR_CLOSED);
	assert_int_equal(conn_peek(pair.server, &line), ERR_CLOSED);
	pair_free(&pair);
}

static void test_a_peer_that_does_not_read_ends_by_deadline(void **state)
{
	static char bytes[1 << 20];
	struct pair pair = pair_new();
	int r = 0;

	(void)state;
	conn_set_deadline(pair.server, clock_mono_ms() + 100);
	for (int i = 0; r == 0 && i < 100; i++)
		r = conn_write(pair.server, (struct text){ bytes, sizeof bytes });
	assert_int_equal(r, -ETIMEDOUT);
	pair_free(&pair);
}

static void test_peek_shows_and_take_takes(void **state)
{
	struct pair pair = pair_new();
	struct text bytes;

	(void)state;
	say(&pair, "abc\r\n", 5);
	assert_int_equal(conn_peek(pair.server, &bytes), 0);
	assert_true(bytes.len >= 1);
	conn_take(pair.server, 1);
	hears(&pair, "bc", false);
	pair_free(&pair);
}

static void test_what_is_written_arrives_when_it_is_flushed(void **state)
{
	struct pair pair = pair_new();
	char got[10];

	(void)state;
	conn_write(pair.server, TEXT("220 "));
	conn_write(pair.server, TEXT("hi\r\n"));
	assert_int_equal(recv(pair.raw, got, sizeof got, MSG_DONTWAIT), -1);
	assert_int_equal(conn_flush(pair.server), 0);
	assert_int_equal(recv(pair.raw, got, 8, MSG_WAITALL), 8);
	assert_memory_equal(got, "220 hi\r\n", 8);
	pair_free(&pair);
}

static void *accept_tls(void *argument)
{
	struct conn *conn = argument;

	return (void *)(intptr_t)conn_tls_accept(conn, server_context);
}

static void secure(struct pair *pair)
{
	pthread_t thread;
	void *result;

	pair->client = conn_new(pair->raw);
	conn_set_deadline(pair->client, clock_mono_ms() + 30000);
	pthread_create(&thread, NULL, accept_tls, pair->server);
	assert_int_equal(
		conn_tls_connect(pair->client, client_context, &(struct tls_peer){ .name = "mx.good.test" }),
		0);
	pthread_join(thread, &result);
	assert_int_equal((intptr_t)result, 0);
}

static void test_tls_carries_lines_both_ways_and_leaves_its_evidence(void **state)
{
	struct pair pair = pair_new();
	struct text line;
	bool bare_lf;

	(void)state;
	secure(&pair);
	conn_write(pair.client, TEXT("hello\r\n"));
	conn_flush(pair.client);
	hears(&pair, "hello", false);
	conn_write(pair.server, TEXT("welcome\r\n"));
	conn_flush(pair.server);
	assert_int_equal(conn_read_line(pair.client, 100, &line, &bare_lf), 0);
	assert_true(text_equal(line, TEXT("welcome")));

	const struct evidence *e = &pair.client->evidence;
	assert_true(pair.client->secured && pair.server->secured);
	assert_string_equal(e->obtained, "encrypted");
	assert_string_equal(e->protocol, "TLSv1.3");
	assert_string_equal(e->cipher, "TLS_AES_256_GCM_SHA384");
	assert_true(e->group[0] != '\0');
	assert_int_equal(strlen(e->peer_sha256), 64);
	assert_int_equal(e->name_count, 2);
	assert_string_equal(e->names[0], "mx.good.test");
	assert_string_equal(pair.server->evidence.peer_sha256, "");

	char *json = evidence_json(NULL, e);
	json_t *read = json_loads(json, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(read, "obtained")), "encrypted");
	assert_int_equal(json_array_size(json_object_get(json_object_get(read, "peer"), "names")), 2);
	assert_true(json_is_null(json_object_get(read, "verification")));
	json_decref(read);
	talloc_free(json);

	struct evidence verified = *e;
	verified.verification = (struct evidence_verification){ .result = "certificate-expired",
		.reason = "too old\n",
		.checked = "chain",
		.unchecked = "dates names" };
	json = evidence_json(NULL, &verified);
	assert_non_null(strstr(json,
		"\"verification\":{\"check\":null,\"result\":\"certificate-expired\",\"reason\":\"too old?\",\"matched\":null,"
		"\"authority\":null,\"checked\":[\"chain\"],\"unchecked\":[\"dates\",\"names\"]}"));
	talloc_free(json);
	pair_free(&pair);
}

static void *write_much(void *argument)
{
	static char bytes[3000000];

	memset(bytes, 'x', sizeof bytes);
	int r = conn_write(argument, (struct text){ bytes, sizeof bytes });
	return (void *)(intptr_t)(r < 0 ? r : conn_flush(argument));
}

static void test_three_megabytes_go_through_tls(void **state)
{
	struct pair pair = pair_new();
	struct text bytes;
	pthread_t thread;
	void *result;
	size_t got = 0;

	(void)state;
	secure(&pair);
	pthread_create(&thread, NULL, write_much, pair.client);
	while (got < 3000000 && conn_peek(pair.server, &bytes) == 0) {
		got += bytes.len;
		conn_take(pair.server, bytes.len);
	}
	pthread_join(thread, &result);
	assert_int_equal((intptr_t)result, 0);
	assert_int_equal(got, 3000000);
	pair_free(&pair);
}

/* The records of what the client writes from now on go to `ret_records`, and what is written to the returned socket comes to the server. */
static int intercept(struct pair *pair, int *ret_records)
{
	const int server = dup(pair->raw);
	int fds[2];

	assert_true(server >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(dup2(fds[0], pair->raw), pair->raw);
	close(fds[0]);
	*ret_records = fds[1];
	return server;
}

static ssize_t record_of(struct pair *pair, int records, const char *line, char *ret_bytes, size_t size)
{
	conn_write(pair->client, text_of(line));
	assert_int_equal(conn_flush(pair->client), 0);
	return recv(records, ret_bytes, size, 0);
}

static void test_a_part_of_a_record_is_no_input_and_two_at_once_are_two(void **state)
{
	struct pair pair = pair_new();
	char bytes[400];
	struct text line;
	bool bare_lf;
	int records;

	(void)state;
	secure(&pair);
	int server = intercept(&pair, &records);
	ssize_t len = record_of(&pair, records, "one\r\n", bytes, 100);
	assert_in_range(len, 10, 99);
	assert_int_equal(send(server, bytes, 7, 0), 7);
	conn_set_deadline(pair.server, clock_mono_ms() + 20);
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), -ETIMEDOUT);
	assert_false(conn_has_input(pair.server));
	assert_false(conn_is_readable(pair.server));

	len += record_of(&pair, records, "two\r\n", bytes + len, 100);
	len += record_of(&pair, records, "three\r\n", bytes + len, 100);
	assert_int_equal(send(server, bytes + 7, (size_t)len - 7, 0), len - 7);
	conn_set_deadline(pair.server, clock_mono_ms() + 30000);
	hears(&pair, "one", false);
	assert_true(conn_is_readable(pair.server));
	hears(&pair, "two", false);
	assert_true(conn_has_input(pair.server)); /* it came with the last one */
	assert_true(conn_is_readable(pair.server));
	hears(&pair, "three", false);
	assert_false(conn_has_input(pair.server));
	close(server);
	close(records);
	pair_free(&pair);
}

static void test_1_46_bytes_that_came_before_the_handshake_refuse_it(void **state)
{
	struct pair pair = pair_new();

	(void)state;
	say(&pair, "STARTTLS\r\nNOOP\r\n", 16);
	hears(&pair, "STARTTLS", false);
	assert_true(conn_has_input(pair.server));
	assert_int_equal(conn_tls_accept(pair.server, server_context), ERR_FORMAT);
	assert_false(pair.server->secured);
	pair_free(&pair);
}

static void test_a_handshake_that_fails_says_why(void **state)
{
	struct pair pair = pair_new();

	(void)state;
	say(&pair, "this is not TLS at all\r\n", 24);
	assert_int_equal(conn_tls_accept(pair.server, server_context), ERR_TLS);
	assert_true(pair.server->evidence.reason[0] != '\0');
	assert_false(pair.server->secured);
	pair_free(&pair);

	pair = pair_new();
	base_close(&pair.raw);
	assert_int_equal(conn_tls_accept(pair.server, server_context), ERR_TLS);
	assert_true(pair.server->evidence.reason[0] != '\0');
	pair_free(&pair);

	pair = pair_new();
	conn_set_deadline(pair.server, clock_mono_ms() + 10);
	assert_int_equal(conn_tls_accept(pair.server, server_context), -ETIMEDOUT);
	assert_true(pair.server->evidence.reason[0] != '\0');
	pair_free(&pair);
}

static void test_a_peer_that_closes_without_saying_so_is_closed_not_broken(void **state)
{
	struct pair pair = pair_new();
	struct text line;
	bool bare_lf;

	(void)state;
	secure(&pair);
	shutdown(pair.raw, SHUT_RDWR);
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), ERR_CLOSED);
	pair_free(&pair);
}

static void test_clear_bytes_in_tls_are_a_broken_record(void **state)
{
	struct pair pair = pair_new();
	struct text line;
	bool bare_lf;

	(void)state;
	secure(&pair);
	say(&pair, "MAIL FROM:<evil@x>\r\n", 20);
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), ERR_TLS);
	pair_free(&pair);
}

/* The other end is OpenSSL itself. */

static void *accept_raw(void *argument)
{
	return (void *)(intptr_t)SSL_accept(argument);
}

/* TLS 1.3 between a new SSL on pair->raw and a conn on the other end, which is the server or the client. */
static SSL *secure_raw(struct pair *pair, bool server)
{
	SSL *raw = SSL_new(tls_context_native(server ? client_context : server_context));
	pthread_t thread;
	void *result;

	SSL_set_fd(raw, pair->raw);
	pthread_create(&thread, NULL, server ? accept_tls : accept_raw, server ? (void *)pair->server : raw);
	if (server)
		assert_int_equal(SSL_connect(raw), 1);
	else
		assert_int_equal(conn_tls_connect(pair->server, client_context, &(struct tls_peer){ 0 }), 0);
	pthread_join(thread, &result);
	assert_int_equal((intptr_t)result, server ? 0 : 1);
	return raw;
}

static void update_keys(SSL *raw, int kind, int times)
{
	for (int i = 0; i < times; i++) {
		assert_int_equal(SSL_key_update(raw, kind), 1);
		assert_int_equal(SSL_do_handshake(raw), 1);
	}
}

static void say_raw(SSL *raw, const char *bytes, size_t len)
{
	assert_int_equal(SSL_write(raw, bytes, (int)len), len);
}

static void end_raw(SSL *raw, struct pair *pair)
{
	SSL_free(raw);
	pair_free(pair);
}

static void test_8_16_new_keys_are_taken_as_data_comes(void **state)
{
	static char line[16384]; /* a record */
	struct pair pair = pair_new();
	SSL *raw = secure_raw(&pair, true);
	struct text got;
	bool bare_lf;

	(void)state;
	update_keys(raw, SSL_KEY_UPDATE_NOT_REQUESTED, 16);
	say_raw(raw, "one\r\n", 5);
	hears(&pair, "one", false);
	update_keys(raw, SSL_KEY_UPDATE_REQUESTED, 16);
	say_raw(raw, "two\r\n", 5);
	hears(&pair, "two", false);

	memset(line, 'x', sizeof line);
	for (int i = 0; i < 4; i++)
		say_raw(raw, line, sizeof line);
	for (size_t left = 4 * sizeof line; left > 0; left -= got.len) {
		assert_int_equal(conn_peek(pair.server, &got), 0);
		conn_take(pair.server, got.len);
	}
	update_keys(raw, SSL_KEY_UPDATE_NOT_REQUESTED, 1);
	say_raw(raw, "three\r\n", 7);
	hears(&pair, "three", false);
	assert_false(pair.server->flooded);
	update_keys(raw, SSL_KEY_UPDATE_NOT_REQUESTED, 1);
	say_raw(raw, "four\r\n", 6);
	assert_int_equal(conn_read_line(pair.server, 100, &got, &bare_lf), ERR_FLOOD);
	assert_true(pair.server->flooded);
	end_raw(raw, &pair);
}

static void test_8_16_a_flood_of_new_keys_ends_the_connection(void **state)
{
	static const int kinds[] = { SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED };

	(void)state;
	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct pair pair = pair_new();
		SSL *raw = secure_raw(&pair, true);
		struct text line;
		bool bare_lf;
		int unread;

		update_keys(raw, kinds[i], 5000);
		assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), ERR_FLOOD);
		assert_int_equal(ioctl(pair.fd, FIONREAD, &unread), 0);
		assert_true(unread > 50000); /* of 5000 times 27 */
		assert_int_equal(conn_peek(pair.server, &line), ERR_FLOOD);
		assert_false(conn_has_input(pair.server));
		conn_write(pair.server, TEXT("421 goodbye\r\n"));
		assert_int_equal(conn_flush(pair.server), 0);
		end_raw(raw, &pair);
	}
}

static void test_8_16_a_flood_of_tickets_ends_the_connection(void **state)
{
	struct pair pair = pair_new();
	SSL *raw = secure_raw(&pair, false);
	struct text line;
	bool bare_lf;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(SSL_new_session_ticket(raw), 1);
		assert_int_equal(SSL_do_handshake(raw), 1);
	}
	assert_int_equal(conn_read_line(pair.server, 100, &line, &bare_lf), ERR_FLOOD);
	end_raw(raw, &pair);
}

/* What failed on one connection leaves errors in the thread's queue; they are not those of the next one that it serves. */
static void test_8_22_what_failed_before_is_no_reason_of_another_connection(void **state)
{
	struct pair broken = pair_new(), good = pair_new(), closed = pair_new();
	struct text line;
	bool bare_lf;

	(void)state;
	secure(&good);
	secure(&broken);
	say(&broken, "MAIL FROM:<evil@x>\r\n", 20);
	assert_int_equal(conn_read_line(broken.server, 100, &line, &bare_lf), ERR_TLS);
	assert_int_not_equal(ERR_peek_error(), 0);
	conn_set_deadline(good.server, clock_mono_ms() + 20);
	assert_int_equal(conn_read_line(good.server, 100, &line, &bare_lf), -ETIMEDOUT);

	conn_free(broken.server);
	broken.server = NULL;
	ERR_raise(ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER);
	conn_set_deadline(closed.server, clock_mono_ms() + 20);
	assert_int_equal(conn_tls_accept(closed.server, server_context), -ETIMEDOUT);
	assert_null(strstr(closed.server->evidence.reason, "version"));
	pair_free(&broken);
	pair_free(&good);
	pair_free(&closed);
}

/* The server wants a certificate, and says so only when the client believes to be done; then it hangs up. What the client does first: hear, or speak until that
 * fails. */
static void test_2_14_an_alert_behind_the_handshake_is_found(void **state)
{
	SSL_CTX *native = tls_context_native(server_context);
	char text[64];

	(void)state;
	for (int speaks = 0; speaks < 2; speaks++) {
		struct pair pair = pair_new();
		pthread_t thread;
		struct text line;
		void *result;
		bool bare_lf;

		SSL_CTX_set_verify(native, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		pair.client = conn_new(pair.raw);
		conn_set_deadline(pair.client, clock_mono_ms() + 30000);
		pthread_create(&thread, NULL, accept_tls, pair.server);
		assert_int_equal(conn_tls_connect(pair.client, client_context, &(struct tls_peer){ 0 }), 0);
		pthread_join(thread, &result);
		assert_int_equal((intptr_t)result, ERR_TLS);
		SSL_CTX_set_verify(native, SSL_VERIFY_NONE, NULL);
		conn_free(pair.server);
		pair.server = NULL;

		int r = 0;
		for (int i = 0; speaks && i < 100 && r == 0; i++) {
			conn_write(pair.client, TEXT("EHLO gw.good.test\r\n"));
			r = conn_flush(pair.client);
		}
		if (speaks)
			assert_int_equal(r, ERR_CLOSED);
		else
			assert_int_equal(conn_read_line(pair.client, 100, &line, &bare_lf), ERR_TLS);
		assert_true(conn_tls_alert(pair.client, text, sizeof text));
		assert_non_null(strstr(text, "alert certificate required"));
		pair_free(&pair);
	}

	struct pair fine = pair_new(), clear = pair_new();
	struct text line;
	bool bare_lf;

	secure(&fine);
	conn_free(fine.server);
	fine.server = NULL;
	assert_int_equal(conn_read_line(fine.client, 100, &line, &bare_lf), ERR_CLOSED);
	assert_false(conn_tls_alert(fine.client, text, sizeof text));
	assert_false(conn_tls_alert(clear.server, text, sizeof text));
	pair_free(&fine);
	pair_free(&clear);
}

static void test_dialling(void **state)
{
	struct sockaddr_in at;
	int listener = help_listen(&at);
	struct ip address = { .family = AF_INET, .bytes = { 127, 0, 0, 1 }, .port = ntohs(at.sin_port) };
	struct conn *conn = NULL;

	(void)state;
	assert_int_equal(conn_dial(&address, NULL, -1, clock_mono_ms() + 10000, &conn), 0);
	assert_int_equal(conn->peer.port, address.port);
	conn_freep(&conn);
	assert_null(conn);
	close(listener);
	assert_int_equal(conn_dial(&address, NULL, -1, clock_mono_ms() + 10000, &conn), -ECONNREFUSED);
}

static int set_up(void **state)
{
	BIO *chain, *key;

	signal(SIGPIPE, SIG_IGN);
	tls_start();
	*state = talloc_new(NULL);
	identity = help_identity(*state);
	server_context = tls_context_server(*state, "in");
	client_context = tls_context_client(*state);
	chain = BIO_new_mem_buf(identity.chain, -1);
	key = BIO_new_mem_buf(identity.key, -1);
	X509 *certificate = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	SSL_CTX_use_cert_and_key(tls_context_native(server_context), certificate, private, NULL, 1);
	X509_free(certificate);
	EVP_PKEY_free(private);
	BIO_free(chain);
	BIO_free(key);
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
		cmocka_unit_test(test_both_ends_know_their_addresses),
		cmocka_unit_test(test_lines_are_the_same_however_they_are_cut),
		cmocka_unit_test(test_a_line_over_its_limit_is_refused_and_not_taken),
		cmocka_unit_test(test_waits_end_by_deadline_stop_and_close),
		cmocka_unit_test(test_a_peer_that_does_not_read_ends_by_deadline),
		cmocka_unit_test(test_peek_shows_and_take_takes),
		cmocka_unit_test(test_what_is_written_arrives_when_it_is_flushed),
		cmocka_unit_test(test_tls_carries_lines_both_ways_and_leaves_its_evidence),
		cmocka_unit_test(test_three_megabytes_go_through_tls),
		cmocka_unit_test(test_a_part_of_a_record_is_no_input_and_two_at_once_are_two),
		cmocka_unit_test(test_1_46_bytes_that_came_before_the_handshake_refuse_it),
		cmocka_unit_test(test_a_handshake_that_fails_says_why),
		cmocka_unit_test(test_a_peer_that_closes_without_saying_so_is_closed_not_broken),
		cmocka_unit_test(test_clear_bytes_in_tls_are_a_broken_record),
		cmocka_unit_test(test_8_16_new_keys_are_taken_as_data_comes),
		cmocka_unit_test(test_8_16_a_flood_of_new_keys_ends_the_connection),
		cmocka_unit_test(test_8_16_a_flood_of_tickets_ends_the_connection),
		cmocka_unit_test(test_8_22_what_failed_before_is_no_reason_of_another_connection),
		cmocka_unit_test(test_2_14_an_alert_behind_the_handshake_is_found),
		cmocka_unit_test(test_dialling),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
