/* One delivery attempt against a server that follows a script, connection by connection. What the server hears is checked there, what
 * became of the mail here. */
#include "deliver/deliver.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/dsn.h"
#include "deliver/link.h"
#include "net/tls.h"
#include "report/metrics.h"
#include "test_help.h"

/* The server: ">" says a line, "<" must hear a line that starts so, "data" takes content up to the dot, "tls" shakes hands,
 * "close" hangs up. Behind the last row it hears whatever comes and answers RSET. */
typedef const char *const *script;

enum { CONNECTIONS_MAX = 4 };

struct server {
	int listener, stop_fd;
	pthread_t thread;
	const script *connections;
	struct tls_context *tls;
	unsigned accepted;
	bool quit; /* the last connection ended with QUIT */
	char *data;
	char wrong[600]; /* what it heard instead; empty = nothing wrong */
};

struct rig {
	struct server server;
	const struct config *config;
	struct deliver_house house;
	struct metrics metrics;
	struct link *link;
	int stop_fd;
};

static struct help_identity identity;

static bool take_data(struct server *server, struct conn *conn)
{
	struct text line;
	bool bare_lf;

	talloc_free(server->data);
	server->data = text_must(talloc_strdup(NULL, ""));
	while (conn_read_line(conn, 2000, &line, &bare_lf) == 0) {
		if (bare_lf)
			snprintf(server->wrong, sizeof server->wrong, "a bare LF in the data");
		if (text_equal(line, TEXT(".")))
			return true;
		server->data = text_must(
			talloc_asprintf_append_buffer(server->data, TEXT_FMT "\r\n", TEXT_ARG(line)));
	}
	snprintf(server->wrong, sizeof server->wrong, "the data did not end");
	return false;
}

static bool play_row(struct server *server, struct conn *conn, const char *row)
{
	struct text line = TEXT("(closed)");
	bool bare_lf;

	switch (row[0]) {
	case '>':
		conn_write(conn, text_of(row + 1));
		conn_write(conn, TEXT("\r\n"));
		return conn_flush(conn) == 0;
	case '<':
		if (conn_read_line(conn, 2000, &line, &bare_lf) < 0 ||
			!text_starts_nocase(line, text_of(row + 1))) {
			snprintf(server->wrong, sizeof server->wrong, "heard \"" TEXT_FMT "\", not \"%s\"",
				TEXT_ARG(text_first(line, 200)), row + 1);
			return false;
		}
		return true;
	case 'd':
		return take_data(server, conn);
	case 't':
		return conn_tls_accept(conn, server->tls) == 0;
	default:
		return false;
	}
}

static void play(struct server *server, struct conn *conn, script rows)
{
	struct text line;
	bool bare_lf;

	for (; *rows != NULL; rows++)
		if (!play_row(server, conn, *rows))
			return;
	server->quit = false;
	while (conn_read_line(conn, 2000, &line, &bare_lf) == 0) {
		server->quit = server->quit || text_equal(line, TEXT("QUIT"));
		if (text_equal(line, TEXT("RSET")))
			play_row(server, conn, ">250 ok");
	}
}

static void *server_run(void *argument)
{
	struct server *server = argument;
	struct pollfd polled[2] = { { .fd = server->stop_fd, .events = POLLIN },
		{ .fd = server->listener, .events = POLLIN } };

	for (;;) {
		poll(polled, 2, -1);
		if (polled[1].revents == 0)
			return NULL;

		struct conn *conn = conn_new(accept(server->listener, NULL, NULL));
		conn_set_deadline(conn, clock_mono_ms() + 60000);
		if (server->connections[server->accepted] == NULL)
			snprintf(server->wrong, sizeof server->wrong, "one connection too many");
		else
			play(server, conn, server->connections[server->accepted++]);
		conn_free(conn);
		if (server->connections[server->accepted] == NULL && server->wrong[0] != '\0')
			return NULL;
	}
}

static struct tls_context *server_tls(void *owner)
{
	struct tls_context *context = tls_context_server(owner, "mx");
	BIO *chain = BIO_new_mem_buf(identity.chain, -1), *key = BIO_new_mem_buf(identity.key, -1);
	X509 *certificate = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);

	assert_int_equal(
		SSL_CTX_use_cert_and_key(tls_context_native(context), certificate, private, NULL, 1), 1);
	X509_free(certificate);
	EVP_PKEY_free(private);
	BIO_free(chain);
	BIO_free(key);
	return context;
}

static struct rig *rig_new(const char *tls, const script *connections)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	struct sockaddr_in at;
	char *yaml;

	rig->server.listener = help_listen(&at);
	rig->server.stop_fd = eventfd(0, EFD_CLOEXEC);
	rig->server.connections = connections;
	rig->server.tls = server_tls(rig);
	yaml = talloc_asprintf(rig,
		"mail_flow_policies: [{name: open, tls: none}]\ndestinations: [{domain: default, tls: %s}]\n"
		"routes: [{domain: a.test, next_hop: '127.0.0.1:%u'}]\ndelivery: {expire: 2h}\n",
		tls, ntohs(at.sin_port));
	rig->config = help_config(yaml);
	rig->stop_fd = eventfd(0, EFD_CLOEXEC);
	rig->house = (struct deliver_house){ .config = rig->config,
		.tls = tls_context_client(rig),
		.metrics = &rig->metrics,
		.incarnation = 0x1a,
		.stop_fd = rig->stop_fd };
	assert_int_equal(pthread_create(&rig->server.thread, NULL, server_run, &rig->server), 0);
	return rig;
}

/* Close the link and end the server; then its fields may be looked at. */
static void rig_end(struct rig *rig)
{
	link_close(rig->link);
	eventfd_write(rig->server.stop_fd, 1);
	pthread_join(rig->server.thread, NULL);
	if (rig->server.wrong[0] != '\0')
		fail_msg("the server: %s", rig->server.wrong);
}

static void rig_free(struct rig *rig)
{
	close(rig->server.listener);
	close(rig->server.stop_fd);
	close(rig->stop_fd);
	talloc_free(rig->server.data);
	config_release(rig->config);
	talloc_free(rig);
}

static const char mail[] = "Received: from c by gw\r\nSubject: hello\r\n\r\n.dot\r\nbody\r\n";

static struct lease *lease_to(void *owner, size_t count)
{
	struct lease *lease = text_must(talloc_zero(owner, struct lease));

	*lease = (struct lease){ .mid = 5,
		.destination = "mx.a.test",
		.domain = "a.test",
		.content = { .bytes = TEXT(mail), .fd = -1, .size = sizeof mail - 1 } };
	lease->envelope = (struct envelope){ .received_ms = clock_wall_ms(),
		.icid = "1",
		.client = "192.0.2.1",
		.helo = "c",
		.tls = "",
		.sender = "s@x.test",
		.recipient_count = count };
	lease->rids = text_must(talloc_zero_array(lease, int64_t, (unsigned)count));
	lease->envelope.recipients = text_must(talloc_zero_array(lease, const char *, (unsigned)count));
	for (size_t i = 0; i < count; i++) {
		lease->rids[i] = (int64_t)i + 1;
		lease->envelope.recipients[i] = text_must(talloc_asprintf(lease, "r%zu@a.test", i + 1));
	}
	return lease;
}

static int64_t count_at(struct rig *rig, enum metric block, int place)
{
	return atomic_load(&rig->metrics.values[(int)block + place]);
}

static int64_t count_of_block(struct rig *rig, enum metric block, int places)
{
	int64_t sum = 0;

	while (places-- > 0)
		sum += count_at(rig, block, places);
	return sum;
}

static struct outcome *attempt(struct rig *rig, const struct lease *lease)
{
	struct outcome *outcome = deliver_attempt(&rig->house, &rig->link, lease, rig);

	assert_int_equal(outcome->mid, lease->mid);
	assert_int_equal(outcome->attempt, lease->attempts + 1);
	assert_int_equal(outcome->recipient_count, lease->envelope.recipient_count);
	for (size_t i = 0; i < outcome->recipient_count; i++) {
		assert_int_equal(outcome->recipients[i].rid, lease->rids[i]);
		assert_non_null(outcome->recipients[i].reply);
	}
	return outcome;
}

/* What became of each recipient as "state reply"; a reply must start so. */
static void became(const char *name, const struct outcome *outcome, const char *const *want)
{
	for (size_t i = 0; i < outcome->recipient_count; i++) {
		const struct outcome_recipient *r = &outcome->recipients[i];
		char got[700];

		snprintf(got, sizeof got, "%s %s", envelope_state_name(r->state), r->reply);
		if (want[i] == NULL || strncmp(got, want[i], strlen(want[i])) != 0)
			fail_msg("%s: recipient %zu \"%s\", not \"%s\"", name, i + 1, got,
				want[i] == NULL ? "(nothing)" : want[i]);
	}
}

#define ROWS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define EHLO	  ">220 mx.a.test", "<EHLO gw.good.test", ">250 mx.a.test"
#define PIPE	  ">220 mx.a.test", "<EHLO gw.good.test", ">250-mx.a.test", ">250 PIPELINING"
#define FROM	  "<MAIL FROM:<s@x.test>"
#define GOOD	  FROM, ">250 2.1.0 ok", "<RCPT TO:<r1@a.test>", ">250 2.1.5 ok"
#define DATA	  "<DATA", ">354 go", "data"

/* One mail to `count` recipients over one connection, in clear. */
static void one(const char *name, const char *tls, size_t count, script rows, script want)
{
	struct rig *rig = rig_new(tls, (const script[]){ rows, NULL });
	struct outcome *outcome = attempt(rig, lease_to(rig, count));

	became(name, outcome, want);
	assert_false(outcome->unreachable);
	rig_end(rig);
	rig_free(rig);
}

static const struct {
	const char *name;
	size_t count;
	const char *rows[24], *want[5];
} mails[] = {
	{ "one recipient", 1, { EHLO, GOOD, DATA, ">250 2.0.0 queued" }, { "delivered 250 2.0.0 queued" } },
	{ "2.31 MAIL and RCPT wait for each other without pipelining", 2,
		{ EHLO, GOOD, "<RCPT TO:<r2@a.test>", ">250 ok", DATA, ">250 ok" },
		{ "delivered 250 ok", "delivered 250 ok" } },
	{ "pipelined they do not", 2,
		{ PIPE, FROM, "<RCPT TO:<r1@a.test>", "<RCPT TO:<r2@a.test>", ">250 ok", ">250 ok", ">250 ok",
			DATA, ">250 ok" },
		{ "delivered 250 ok", "delivered 250 ok" } },
	{ "2.23 mixed replies", 3,
		{ PIPE, FROM, "<RCPT", "<RCPT", "<RCPT", ">250 ok", ">250 ok", ">450 4.2.1 later",
			">550 5.1.1 no such user", DATA, ">250 2.0.0 ok" },
		{ "delivered 250 2.0.0 ok", "deferred 450 4.2.1 later", "bounced 550 5.1.1 no such user" } },
	{ "2.23 mixed replies, and the dot is refused for now", 3,
		{ PIPE, FROM, "<RCPT", "<RCPT", "<RCPT", ">250 ok", ">250 ok", ">450 4.2.1 later",
			">550 5.1.1 no", DATA, ">451 4.3.0 full" },
		{ "deferred 451 4.3.0 full", "deferred 450 4.2.1 later", "bounced 550 5.1.1 no" } },
	{ "the dot is refused for good", 2,
		{ PIPE, FROM, "<RCPT", "<RCPT", ">250 ok", ">250 ok", ">250 ok", DATA, ">554 5.7.1 spam" },
		{ "bounced 554 5.7.1 spam", "bounced 554 5.7.1 spam" } },
	{ "all recipients refused: no DATA", 2,
		{ PIPE, FROM, "<RCPT", "<RCPT", ">250 ok", ">550 5.1.1 no", ">450 4.2.1 later", "<RSET",
			">250 ok", "<QUIT" },
		{ "bounced 550 5.1.1 no", "deferred 450 4.2.1 later" } },
	{ "MAIL refused for good", 2, { EHLO, FROM, ">550 5.7.1 not you", "<RSET", ">250 ok", "<QUIT" },
		{ "bounced 550 5.7.1 not you", "bounced 550 5.7.1 not you" } },
	{ "MAIL refused for now, pipelined", 2,
		{ PIPE, FROM, "<RCPT", "<RCPT", ">451 4.7.1 later", ">503 5.5.1 MAIL first",
			">503 5.5.1 MAIL first", "<RSET", ">250 ok" },
		{ "deferred 451 4.7.1 later", "deferred 451 4.7.1 later" } },
	{ "DATA refused for good", 1, { EHLO, GOOD, "<DATA", ">554 5.5.1 no" }, { "bounced 554 5.5.1 no" } },
	{ "DATA refused for now", 1, { EHLO, GOOD, "<DATA", ">421 4.3.2 bye" },
		{ "deferred 421 4.3.2 bye" } },
	{ "DATA answered with 250 is no DATA", 1, { EHLO, GOOD, "<DATA", ">250 ok" },
		{ "deferred 450 4.5.0" } },
	{ "lost at MAIL", 1, { EHLO, FROM, "close" }, { "deferred 450 4.4.2" } },
	{ "lost at RCPT", 1, { EHLO, FROM, ">250 ok", "<RCPT", "close" }, { "deferred 450 4.4.2" } },
	{ "lost at RCPT, one had been refused", 2,
		{ EHLO, FROM, ">250 ok", "<RCPT", ">550 5.1.1 no", "<RCPT", "close" },
		{ "bounced 550 5.1.1 no", "deferred 450 4.4.2" } },
	{ "lost at DATA", 1, { EHLO, GOOD, "<DATA", "close" }, { "deferred 450 4.4.2" } },
	{ "lost during the data", 1, { EHLO, GOOD, "<DATA", ">354 go", "close" }, { "deferred 450 4.4.2" } },
	{ "2.21 lost after the dot: may come twice, never lost", 2,
		{ PIPE, FROM, "<RCPT", "<RCPT", ">250 ok", ">550 5.1.1 no", ">250 ok", DATA, "close" },
		{ "bounced 550 5.1.1 no", "deferred 450 4.4.2" } },
	{ "2.22 250 to the dot, then the line is cut", 1, { EHLO, GOOD, DATA, ">250 ok", "close" },
		{ "delivered 250 ok" } },
	{ "2.20 a reply that is none", 1, { EHLO, FROM, ">hello" }, { "deferred 450 4.5.0" } },
	{ "2.20 code 999", 1, { EHLO, FROM, ">999 x" }, { "deferred 450 4.5.0" } },
	{ "2.20 codes that differ", 1, { EHLO, FROM, ">250-a", ">550 b" }, { "deferred 450 4.5.0" } },
	{ "2.24 larger than the peer takes", 1, { ">220 mx", "<EHLO", ">250-mx", ">250 SIZE 20", "<QUIT" },
		{ "bounced 552 5.3.4" } },
	{ "SIZE is declared where it is offered", 1,
		{ ">220 mx", "<EHLO", ">250-mx", ">250 SIZE 0", "<MAIL FROM:<s@x.test> SIZE=54", ">250 ok",
			"<RCPT", ">250 ok", DATA, ">250 ok" },
		{ "delivered 250 ok" } },
	{ "2.10 EHLO unknown: HELO", 1,
		{ ">220 mx", "<EHLO", ">502 what", "<HELO gw.good.test", ">250 mx", GOOD, DATA, ">250 ok" },
		{ "delivered 250 ok" } },
};

static void test_replies_become_outcomes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mails); i++)
		one(mails[i].name, "none", mails[i].count, mails[i].rows, mails[i].want);
}

static void test_2_31_content_arrives_as_it_is(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, GOOD, DATA, ">250 ok"), NULL });
	struct lease *lease = lease_to(rig, 1);

	(void)state;
	attempt(rig, lease);
	rig_end(rig);
	assert_string_equal(
		rig->server.data, "Received: from c by gw\r\nSubject: hello\r\n\r\n..dot\r\nbody\r\n");
	assert_true(rig->server.quit);
	rig_free(rig);
}

static void test_content_in_a_file_and_without_a_last_line_end_arrives(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, GOOD, DATA, ">250 ok"), NULL });
	struct lease *lease = lease_to(rig, 1);
	size_t size = 0;
	char line[80];

	(void)state;
	lease->content = (struct content){ .bytes = TEXT(""), .fd = memfd_create("mail", MFD_CLOEXEC) };
	for (int i = 0; i < 5000; i++) {
		int len = snprintf(line, sizeof line, "%sline %d\r\n", i % 7 ? "" : ".", i);

		assert_int_equal(write(lease->content.fd, line, (size_t)len), len);
		size += (size_t)len;
	}
	assert_int_equal(write(lease->content.fd, ".", 1), 1);
	lease->content.size = size + 1;
	became(__func__, attempt(rig, lease), ROWS("delivered"));
	close(lease->content.fd);
	rig_end(rig);
	const char *at = rig->server.data;
	for (int i = 0; i < 5000; i++) {
		int len = snprintf(line, sizeof line, "%sline %d\r\n", i % 7 ? "" : "..", i);

		assert_int_equal(strncmp(at, line, (size_t)len), 0);
		at += len;
	}
	assert_string_equal(at, "..\r\n");
	rig_free(rig);
}

static void test_content_that_is_shorter_than_it_says_is_not_sent(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, "<QUIT"), NULL });
	struct lease *lease = lease_to(rig, 1);

	(void)state;
	lease->content =
		(struct content){ .bytes = TEXT(""), .fd = memfd_create("mail", MFD_CLOEXEC), .size = 100 };
	assert_int_equal(write(lease->content.fd, "Subject: a\r\n", 12), 12);
	became(__func__, attempt(rig, lease), ROWS("deferred 450 4.3.0"));
	close(lease->content.fd);
	rig_end(rig);
	rig_free(rig);
}

static void test_250_recipients_go_in_batches(void **state)
{
	enum { MANY = 250 };
	const char **rows = text_must(talloc_zero_array(NULL, const char *, 20 + 3 * MANY));
	size_t used = 0;
	struct rig *rig;

	(void)state;
	for (script at = ROWS(PIPE, FROM); *at != NULL; at++)
		rows[used++] = *at;
	for (int i = 0; i < 99; i++)
		rows[used++] = "<RCPT";
	for (int i = 0; i < 100; i++)
		rows[used++] = ">250 ok";
	for (int batch = 0; batch < 2; batch++) {
		int count = batch == 0 ? 100 : MANY - 199;

		for (int i = 0; i < count; i++)
			rows[used++] = "<RCPT";
		for (int i = 0; i < count; i++)
			rows[used++] = i % 2 ? ">250 ok" : ">550 5.1.1 no";
	}
	for (script at = ROWS(DATA, ">250 ok"); *at != NULL; at++)
		rows[used++] = *at;

	rig = rig_new("none", (const script[]){ rows, NULL });
	struct outcome *outcome = attempt(rig, lease_to(rig, MANY));
	for (size_t i = 0; i < MANY; i++) {
		bool refused = i >= 99 && (i < 199 ? (i - 99) % 2 == 0 : (i - 199) % 2 == 0);

		assert_int_equal(outcome->recipients[i].state, refused ? OUTCOME_BOUNCED : OUTCOME_DELIVERED);
	}
	rig_end(rig);
	rig_free(rig);
	talloc_free(rows);
}

/* Reuse. */

static void test_a_second_mail_goes_over_the_same_connection(void **state)
{
	struct rig *rig = rig_new(
		"none", (const script[]){ ROWS(EHLO, GOOD, DATA, ">250 one", GOOD, DATA, ">250 two"), NULL });

	(void)state;
	struct outcome *first = attempt(rig, lease_to(rig, 1)), *second = attempt(rig, lease_to(rig, 1));
	became(__func__, first, ROWS("delivered 250 one"));
	became(__func__, second, ROWS("delivered 250 two"));
	assert_string_equal(first->dcid, second->dcid);
	rig_end(rig);
	assert_int_equal(rig->server.accepted, 1);
	rig_free(rig);
}

static void test_a_connection_that_went_stale_is_replaced_unseen(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, GOOD, DATA, ">250 one", "close"),
						  ROWS(EHLO, GOOD, DATA, ">250 two"), NULL });

	(void)state;
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("delivered 250 one"));
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("delivered 250 two"));
	rig_end(rig);
	assert_int_equal(rig->server.accepted, 2);
	rig_free(rig);
}

static void test_2_32_a_malformed_recipient_opens_no_connection(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ NULL });
	struct lease *lease = lease_to(rig, 1);

	(void)state;
	lease->envelope.recipients[0] = "r1@a.test>\r\nDATA";
	became(__func__, attempt(rig, lease), ROWS("bounced 553 5.1.3"));
	rig_end(rig);
	rig_free(rig);
}

static void test_2_32_a_malformed_recipient_stays_refused_when_the_connection_is_replaced(void **state)
{
	struct rig *rig = rig_new("none",
		(const script[]){ ROWS(EHLO, GOOD, DATA, ">250 one", "close"),
			ROWS(EHLO, FROM, ">250 ok", "<RCPT TO:<r2@a.test>", ">250 ok", DATA, ">250 two"),
			NULL });
	struct lease *lease = lease_to(rig, 2);

	(void)state;
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("delivered 250 one"));
	lease->envelope.recipients[0] = "r1@a.test>\r\nDATA";
	became(__func__, attempt(rig, lease), ROWS("bounced 553 5.1.3", "delivered 250 two"));
	rig_end(rig);
	rig_free(rig);
}

/* The connection is as stale when its first mail was settled before MAIL was said. */
static void test_a_connection_that_carried_nothing_and_went_stale_is_replaced_too(void **state)
{
	struct rig *rig = rig_new(
		"none", (const script[]){ ROWS(">220 mx", "<EHLO", ">250-mx", ">250 SIZE 100", "close"),
				ROWS(EHLO, GOOD, DATA, ">250 two"), NULL });
	struct lease *large = lease_to(rig, 1);

	(void)state;
	char bytes[200];
	memset(bytes, 'x', sizeof bytes);
	large->content.bytes = (struct text){ bytes, sizeof bytes };
	large->content.size = sizeof bytes;
	became(__func__, attempt(rig, large), ROWS("bounced 552 5.3.4"));
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("delivered 250 two"));
	rig_end(rig);
	rig_free(rig);
}

static void test_a_fresh_connection_is_not_tried_twice(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, FROM, "close"), NULL });

	(void)state;
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("deferred 450 4.4.2"));
	rig_end(rig);
	assert_int_equal(rig->server.accepted, 1);
	rig_free(rig);
}

static void test_after_a_refused_mail_the_connection_is_reset_and_used_again(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, FROM, ">550 5.7.1 no", "<RSET",
								    ">250 ok", GOOD, DATA, ">250 two"),
						  NULL });

	(void)state;
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("bounced 550"));
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("delivered 250 two"));
	rig_end(rig);
	rig_free(rig);
}

static void test_2_17_mail_for_another_destination_gets_its_own_connection(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, GOOD, DATA, ">250 one"),
						  ROWS(EHLO, GOOD, DATA, ">250 two"), NULL });
	struct lease *other = lease_to(rig, 1);

	(void)state;
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("delivered 250 one"));
	other->destination = "mx.b.test";
	became(__func__, attempt(rig, other), ROWS("delivered 250 two"));
	rig_end(rig);
	rig_free(rig);
}

/* TLS. */

#define OFFER ">220 mx", "<EHLO", ">250-mx", ">250-STARTTLS", ">250 PIPELINING"
#define SENT  "<MAIL FROM:<s@x.test>", "<RCPT", ">250 ok", ">250 ok", DATA, ">250 ok"

static const struct {
	const char *name, *tls;
	const char *rows[24], *want;
	const char *obtained; /* in the evidence */
} legs[] = {
	{ "B40 none: STARTTLS is never sent", "none", { OFFER, SENT }, "delivered", "none" },
	{ "B41 preferred, offered", "preferred",
		{ OFFER, "<STARTTLS", ">220 go", "tls", "<EHLO", ">250-mx", ">250 PIPELINING", SENT },
		"delivered", "encrypted" },
	{ "B41 preferred, not offered", "preferred", { EHLO, GOOD, DATA, ">250 ok" }, "delivered", "none" },
	{ "B41 preferred, refused before the 220", "preferred", { OFFER, "<STARTTLS", ">454 4.7.0 no", SENT },
		"delivered", "none" },
	{ "B41 preferred, no ESMTP", "preferred",
		{ ">220 mx", "<EHLO", ">500 what", "<HELO", ">250 mx", GOOD, DATA, ">250 ok" }, "delivered",
		"none" },
	{ "B41 preferred, the handshake fails: nothing in clear", "preferred",
		{ OFFER, "<STARTTLS", ">220 go", ">rubbish", "close" }, "deferred 450 4.7.5", "none" },
	{ "2.11 bytes behind the 220 are an attack", "preferred",
		{ OFFER, "<STARTTLS", ">220 go\r\n250 injected" }, "deferred 450 4.7.5", "none" },
	{ "B42 required, offered", "required",
		{ OFFER, "<STARTTLS", ">220 go", "tls", "<EHLO", ">250-mx", ">250 PIPELINING", SENT },
		"delivered", "encrypted" },
	{ "B42 required, not offered", "required", { EHLO }, "deferred 450 4.7.5", "none" },
	{ "B42 required, refused", "required", { OFFER, "<STARTTLS", ">454 4.7.0 no" }, "deferred 450 4.7.5",
		"none" },
	{ "2.10 B42 required, no ESMTP: HELO is not even tried", "required",
		{ ">220 mx", "<EHLO", ">500 what" }, "deferred 450 4.7.5", "none" },
	{ "B42 required, the handshake fails", "required",
		{ OFFER, "<STARTTLS", ">220 go", ">rubbish", "close" }, "deferred 450 4.7.5", "none" },
};

static void test_B59_each_level_on_the_wire(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(legs); i++) {
		struct rig *rig = rig_new(legs[i].tls, (const script[]){ legs[i].rows, NULL });
		struct outcome *outcome = attempt(rig, lease_to(rig, 1));
		json_t *tls = json_loads(outcome->tls, 0, NULL);

		became(legs[i].name, outcome, ROWS(legs[i].want));
		assert_non_null(tls);
		if (strcmp(json_string_value(json_object_get(tls, "desired")), legs[i].tls) != 0 ||
			strcmp(json_string_value(json_object_get(tls, "obtained")), legs[i].obtained) != 0 ||
			!json_is_string(json_object_get(tls, "reason")))
			fail_msg("%s: %s", legs[i].name, outcome->tls);
		if (strcmp(legs[i].obtained, "encrypted") == 0) {
			json_t *names = json_object_get(json_object_get(tls, "peer"), "names");

			assert_int_equal(json_array_size(names), 2);
			assert_string_equal(json_string_value(json_array_get(names, 0)), "mx.good.test");
			assert_string_equal(json_string_value(json_object_get(tls, "protocol")), "TLSv1.3");
		}
		json_decref(tls);
		rig_end(rig);

		/* counted at its level, and as what the policy made of it */
		bool sent = strcmp(legs[i].want, "delivered") == 0,
		     encrypted = strcmp(legs[i].obtained, "encrypted") == 0;
		int level = strcmp(legs[i].tls, "none") == 0	    ? TLS_LEVEL_NONE
			    : strcmp(legs[i].tls, "preferred") == 0 ? TLS_LEVEL_PREFERRED
								    : TLS_LEVEL_REQUIRED;
		enum metric policy = !sent	 ? METRIC_POLICY_REFUSED
				     : encrypted ? METRIC_POLICY_ENCRYPTED
						 : METRIC_POLICY_CLEAR;
		if (count_at(rig, sent ? METRIC_DELIVERED : METRIC_DEFERRED, level) != 1 ||
			count_at(rig, policy, 0) != 1 ||
			count_of_block(rig, METRIC_DELIVERED, 3 * METRICS_LEVELS) != 1 ||
			count_of_block(rig, METRIC_POLICY_CLEAR, 3) != 1 ||
			count_of_block(rig, METRIC_TLS_OUT, METRICS_VERSIONS * METRICS_GROUPS) != encrypted ||
			count_of_block(rig, METRIC_DELIVERY_TIME, METRICS_BUCKETS + 1) != sent)
			fail_msg("%s: counted otherwise", legs[i].name);
		rig_free(rig);
	}
}

static void test_the_time_of_a_delivery_is_counted_from_the_acceptance(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS(EHLO, GOOD, DATA, ">250 ok"), NULL });
	struct lease *lease = lease_to(rig, 1);
	const enum metric sum = METRIC_DELIVERY_TIME + METRICS_BUCKETS + 1;
	enum metric bucket = METRIC_DELIVERY_TIME;

	(void)state;
	lease->age_ms = 20 * 60 * 1000;
	became(__func__, attempt(rig, lease), ROWS("delivered"));
	while (metrics_row(bucket)->bound < INT64_C(20) * 60 * 1000000)
		bucket++;
	assert_int_equal(count_at(rig, bucket, 0), 1);
	assert_in_range(atomic_load(&rig->metrics.values[sum]), 1200000000, 1300000000);
	rig_end(rig);
	rig_free(rig);
}

/* Destinations that are not there. */

static const struct {
	const char *name;
	const char *rows[8], *want;
} doors[] = {
	{ "2.09 554 at the door is no verdict on the mail", { ">554 5.7.1 go away" }, "deferred 450 4.3.2" },
	{ "421 at the door", { ">421 4.3.2 busy" }, "deferred 450 4.3.2" },
	{ "no greeting", { "close" }, "deferred 450 4.4.2" },
	{ "2.20 a greeting that is none", { ">hi" }, "deferred 450 4.5.0" },
	{ "2.10 EHLO answered with 421", { ">220 mx", "<EHLO", ">421 4.3.2 bye" }, "deferred 450 4.3.2" },
	{ "2.09 EHLO answered with 554 is no verdict on the mail", { ">220 mx", "<EHLO", ">554 5.7.1 no" },
		"deferred 450 4.3.2" },
	{ "2.10 EHLO unknown and HELO refused", { ">220 mx", "<EHLO", ">500 what", "<HELO", ">550 no" },
		"deferred 450 4.3.2" },
	{ "lost at EHLO", { ">220 mx", "<EHLO", "close" }, "deferred 450 4.4.2" },
};

static void test_a_destination_that_cannot_be_reached_is_named_so(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(doors); i++) {
		struct rig *rig = rig_new("none", (const script[]){ doors[i].rows, NULL });
		struct outcome *outcome = attempt(rig, lease_to(rig, 2));

		became(doors[i].name, outcome, ROWS(doors[i].want, doors[i].want));
		if (!outcome->unreachable)
			fail_msg("%s: not unreachable", doors[i].name);
		assert_null(rig->link);
		rig_end(rig);
		rig_free(rig);
	}
}

static void test_a_closed_port_and_a_missing_route(void **state)
{
	struct rig *rig = rig_new("required", (const script[]){ NULL });
	struct lease *lost = lease_to(rig, 1);

	(void)state;
	eventfd_write(rig->server.stop_fd, 1);
	pthread_join(rig->server.thread, NULL);
	close(rig->server.listener);
	struct outcome *outcome = attempt(rig, lease_to(rig, 1));
	became(__func__, outcome, ROWS("deferred 450 4.4.1"));
	assert_true(outcome->unreachable);
	assert_int_equal(count_at(rig, METRIC_DEFERRED, TLS_LEVEL_NONE), 1);
	assert_int_equal(count_of_block(rig, METRIC_POLICY_CLEAR, 3), 0);

	lost->domain = "b.test";
	outcome = attempt(rig, lost);
	became(__func__, outcome, ROWS("deferred 451 4.4.3"));
	assert_int_equal(count_at(rig, METRIC_DEFERRED, TLS_LEVEL_NONE), 2);
	assert_null(rig->link);
	close(rig->server.stop_fd);
	close(rig->stop_fd);
	config_release(rig->config);
	talloc_free(rig);
}

static void test_stopping_ends_an_attempt(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ ROWS("<nothing is said"), NULL });

	(void)state;
	eventfd_write(rig->stop_fd, 1);
	became(__func__, attempt(rig, lease_to(rig, 1)), ROWS("deferred 450"));
	eventfd_write(rig->server.stop_fd, 1);
	pthread_join(rig->server.thread, NULL);
	rig_free(rig);
}

/* Reports. */

/* The report for one recipient that got `reply`. */
static char *report_on(struct rig **ret_rig, const char *reply, bool old)
{
	char *row = talloc_asprintf(NULL, ">%s", reply);
	struct rig *rig = rig_new("none",
		(const script[]){ ROWS(EHLO, FROM, ">250 ok", "<RCPT", row, "<RSET", ">250 ok"), NULL });
	struct lease *lease = lease_to(rig, 1);

	if (old)
		lease->age_ms = INT64_C(3) * 3600 * 1000;
	struct outcome *outcome = attempt(rig, lease);
	became(__func__, outcome, ROWS("bounced"));
	assert_non_null(outcome->dsn);
	assert_string_equal(outcome->dsn->sender, "");
	assert_int_equal(outcome->dsn->recipient_count, 1);
	assert_string_equal(outcome->dsn->recipients[0], "s@x.test");
	rig_end(rig);
	*ret_rig = rig;
	char *content = text_copy(rig, outcome->dsn_content);
	talloc_free(row);
	return content;
}

static unsigned count_of(const char *text, const char *word)
{
	unsigned count = 0;

	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		count++;
	return count;
}

static void has(const char *report, const char *word)
{
	if (report == NULL || strstr(report, word) == NULL)
		fail_msg("no \"%s\" in:\n%s", word, report == NULL ? "" : report);
}

static void test_2_27_a_bounce_comes_with_a_report(void **state)
{
	struct rig *rig;
	char *report = report_on(&rig, "550 5.1.1 no such user", false);

	(void)state;
	has(report, "From: Mail Delivery System <MAILER-DAEMON@gw.good.test>\r\n");
	has(report, "To: <s@x.test>\r\n");
	has(report, "Auto-Submitted: auto-replied\r\n");
	has(report, "Content-Type: multipart/report; report-type=delivery-status;");
	has(report, "Content-Type: message/delivery-status\r\n");
	has(report, "\r\nReporting-MTA: dns; gw.good.test\r\n");
	has(report, "\r\nFinal-Recipient: rfc822; r1@a.test\r\n");
	has(report, "\r\nAction: failed\r\n");
	has(report, "\r\nStatus: 5.1.1\r\n");
	has(report, "\r\nRemote-MTA: dns; [127.0.0.1]\r\n");
	has(report, "\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n");
	has(report, "\r\nLast-Attempt-Date: ");
	has(report, "Content-Type: text/rfc822-headers\r\n");
	has(report, "\r\nSubject: hello\r\n");
	assert_null(strstr(report, "body"));
	for (const char *at = report; *at != '\0'; at++) {
		assert_true(*at != '\n' || at[-1] == '\r');
		assert_true(*at == '\r' || *at == '\n' || *at == '\t' || (*at >= ' ' && *at < 0x7f));
	}
	rig_free(rig);
}

static const struct {
	const char *name, *reply, *status;
} statuses[] = {
	{ "an enhanced code", "550 5.1.1 no", "5.1.1" },
	{ "none", "550 no", "5.0.0" },
	{ "a code alone", "550", "5.0.0" },
	{ "three digits", "550 5.123.456 no", "5.123.456" },
	{ "an address is no code", "550 8.8.8.8 is on a list", "5.0.0" },
	{ "an address that looks like a code", "550 5.6.7.8 is on a list", "5.0.0" },
	{ "a code of another class", "550 4.1.1 no", "5.0.0" },
	{ "success", "550 2.0.0 no", "5.0.0" },
};

static void test_2_27_the_status_is_one_of_rfc_3463(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(statuses); i++) {
		struct rig *rig;
		char *report = report_on(&rig, statuses[i].reply, false);
		char *want = talloc_asprintf(rig, "\r\nStatus: %s\r\n", statuses[i].status);

		if (strstr(report, want) == NULL) {
			print_error("%s is not %s\n", statuses[i].name, statuses[i].status);
			wrong++;
		}
		rig_free(rig);
	}
	assert_int_equal(wrong, 0);
}

static void test_2_28_text_from_the_peer_opens_no_field_and_no_part(void **state)
{
	static const char *const replies[] = { "550 a\rAction: delivered", "550 a\tb\x01\x7f\xff",
		"550 a\x0b\x0cX: y", "550 --=_0000000000000000", "550 <b>html</b> %s%n" };

	(void)state;
	for (size_t i = 0; i < COUNT(replies); i++) {
		struct rig *rig;
		char *report = report_on(&rig, replies[i], false);

		assert_int_equal(count_of(report, "\nAction: "), 1);
		assert_int_equal(count_of(report, "\r"), count_of(report, "\r\n"));
		assert_int_equal(count_of(report, "\nFinal-Recipient: "), 1);
		for (const char *at = report; *at != '\0'; at++)
			assert_true(*at == '\r' || *at == '\n' || (*at >= ' ' && *at < 0x7f));
		rig_free(rig);
	}
}

/* The same without the reader of replies in front, which makes them printable too. */
static void test_2_28_the_report_itself_lets_nothing_through(void **state)
{
	void *owner = talloc_new(NULL);
	const struct config *config = help_config("mail_flow_policies: [{name: open, tls: none}]\n");
	struct lease *lease = lease_to(owner, 1);
	struct outcome_recipient recipient = { 1, OUTCOME_BOUNCED,
		"550 5.1.1 a\r\nAction: delivered\r\n\r\n--x\xff" };
	struct outcome *outcome = text_must(talloc_zero(owner, struct outcome));

	(void)state;
	*outcome = (struct outcome){ .mid = 5,
		.domain = "a.test",
		.attempt = 1,
		.time_ms = lease->envelope.received_ms,
		.dcid = "",
		.host = "",
		.address = "x\r\nAction: delivered",
		.tls = "",
		.recipients = &recipient,
		.recipient_count = 1 };
	lease->envelope.recipients[0] = "a\r\nAction: delivered@a.test";
	dsn_add(config, lease, 0, outcome);
	assert_non_null(outcome->dsn);
	char *report = text_copy(owner, outcome->dsn_content);
	assert_int_equal(count_of(report, "\nAction: "), 1);
	assert_int_equal(count_of(report, "\r"), count_of(report, "\r\n"));
	assert_int_equal(count_of(report, "\n--x"), 0);
	config_release(config);
	talloc_free(owner);
}

static void test_what_is_too_old_is_returned_with_the_last_answer(void **state)
{
	struct rig *rig;
	char *report = report_on(&rig, "450 4.2.2 mailbox full", true);

	(void)state;
	has(report, "Status: 5.4.7\r\n");
	has(report, "450 4.2.2 mailbox full");
	rig_free(rig);
}

static void test_2_26_what_is_lent_untried_is_settled_without_a_connection(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ NULL });
	struct lease *lease = lease_to(rig, 2);

	(void)state;
	lease->untried = true;
	struct outcome *outcome = attempt(rig, lease);
	became(__func__, outcome, ROWS("deferred 450 4.4.1", "deferred 450 4.4.1"));
	assert_true(outcome->untried && !outcome->unreachable);
	assert_null(outcome->dsn);
	lease->age_ms = INT64_C(2) * 3600 * 1000;
	outcome = attempt(rig, lease);
	became(__func__, outcome, ROWS("bounced 550 5.4.7", "bounced 550 5.4.7"));
	assert_non_null(outcome->dsn);
	rig_end(rig);
	assert_int_equal(rig->server.accepted, 0);
	rig_free(rig);
}

static void test_2_26_what_is_lent_untried_is_settled_with_its_last_reply(void **state)
{
	struct rig *rig = rig_new("none", (const script[]){ NULL });
	struct lease *lease = lease_to(rig, 3);
	const char *replies[] = { "450 4.2.2 mailbox full", "", "451 4.7.1 greylisted" };

	(void)state;
	lease->untried = true;
	lease->replies = replies;
	struct outcome *outcome = attempt(rig, lease);
	became(__func__, outcome,
		ROWS("deferred 450 4.2.2 mailbox full", "deferred 450 4.4.1",
			"deferred 451 4.7.1 greylisted"));
	lease->age_ms = INT64_C(2) * 3600 * 1000;
	outcome = attempt(rig, lease);
	became(__func__, outcome,
		ROWS("bounced 550 5.4.7 not delivered in time; the last answer was: 450 4.2.2 mailbox full",
			"bounced 550 5.4.7",
			"bounced 550 5.4.7 not delivered in time; the last answer was: 451 4.7.1 greylisted"));
	has(text_copy(outcome, outcome->dsn_content), "450 4.2.2 mailbox full");
	rig_end(rig);
	rig_free(rig);
}

static void test_what_is_not_too_old_is_not_reported(void **state)
{
	struct rig *rig = rig_new("none",
		(const script[]){
			ROWS(EHLO, FROM, ">250 ok", "<RCPT", ">450 4.2.2 full", "<RSET", ">250 ok"), NULL });
	struct outcome *outcome = attempt(rig, lease_to(rig, 1));

	(void)state;
	assert_null(outcome->dsn);
	rig_end(rig);
	rig_free(rig);
}

static void test_2_30_a_report_is_never_reported(void **state)
{
	struct rig *rig = rig_new("none",
		(const script[]){ ROWS(EHLO, "<MAIL FROM:<>", ">550 5.7.1 no", "<RSET", ">250 ok"), NULL });
	struct lease *lease = lease_to(rig, 1);

	(void)state;
	lease->envelope.sender = "";
	struct outcome *outcome = attempt(rig, lease);
	became(__func__, outcome, ROWS("bounced 550"));
	assert_null(outcome->dsn);
	rig_end(rig);
	rig_free(rig);
}

static void test_one_report_names_all_that_bounced_and_nobody_else(void **state)
{
	struct rig *rig = rig_new("none",
		(const script[]){ ROWS(PIPE, FROM, "<RCPT", "<RCPT", "<RCPT", ">250 ok", ">550 5.1.1 no",
					  ">250 ok", ">551 5.1.6 moved", DATA, ">250 ok"),
			NULL });
	struct outcome *outcome = attempt(rig, lease_to(rig, 3));
	char *report = text_copy(rig, outcome->dsn_content);

	(void)state;
	assert_int_equal(count_of(report, "\nFinal-Recipient: "), 2);
	has(report, "r1@a.test");
	has(report, "r3@a.test");
	assert_null(strstr(report, "r2@a.test"));
	assert_int_equal(count_at(rig, METRIC_DELIVERED, TLS_LEVEL_NONE), 1);
	assert_int_equal(count_at(rig, METRIC_BOUNCED, TLS_LEVEL_NONE), 2);
	rig_end(rig);
	rig_free(rig);
}

static const struct {
	const char *name;
	struct text content;
} originals[] = {
	{ "no content", TEXT("") },
	{ "a line end alone", TEXT("\n") },
	{ "an empty header", TEXT("\r\n\r\nbody") },
	{ "a header without an end", TEXT("Subject: a") },
	{ "a NUL in the header", TEXT("Subject: a\0b\r\n\r\nbody") },
	{ "bytes of eight bits", TEXT("Subject: \xff\xfe\r\n\r\nbody") },
};

static void test_any_original_can_be_returned(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(originals); i++) {
		struct rig *rig =
			rig_new("none", (const script[]){ ROWS(">220 mx", "<EHLO", ">250-mx", ">250 8BITMIME",
								  FROM, ">550 5.7.1 no", "<RSET", ">250 ok"),
						NULL });
		struct lease *lease = lease_to(rig, 1);

		lease->content = (struct content){
			.bytes = originals[i].content, .fd = -1, .size = originals[i].content.len
		};
		struct outcome *outcome = attempt(rig, lease);
		assert_non_null(outcome->dsn);
		assert_null(memmem(outcome->dsn_content.at, outcome->dsn_content.len, "body", 4));
		for (size_t n = 0; n < outcome->dsn_content.len; n++)
			if (outcome->dsn_content.at[n] == '\n' && outcome->dsn_content.at[n - 1] != '\r')
				fail_msg("%s: a bare LF in the report", originals[i].name);
		rig_end(rig);
		rig_free(rig);
	}
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	tls_start();
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
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
		cmocka_unit_test(test_replies_become_outcomes),
		cmocka_unit_test(test_2_31_content_arrives_as_it_is),
		cmocka_unit_test(test_content_in_a_file_and_without_a_last_line_end_arrives),
		cmocka_unit_test(test_content_that_is_shorter_than_it_says_is_not_sent),
		cmocka_unit_test(test_250_recipients_go_in_batches),
		cmocka_unit_test(test_a_second_mail_goes_over_the_same_connection),
		cmocka_unit_test(test_a_connection_that_went_stale_is_replaced_unseen),
		cmocka_unit_test(test_2_32_a_malformed_recipient_opens_no_connection),
		cmocka_unit_test(
			test_2_32_a_malformed_recipient_stays_refused_when_the_connection_is_replaced),
		cmocka_unit_test(test_a_connection_that_carried_nothing_and_went_stale_is_replaced_too),
		cmocka_unit_test(test_a_fresh_connection_is_not_tried_twice),
		cmocka_unit_test(test_after_a_refused_mail_the_connection_is_reset_and_used_again),
		cmocka_unit_test(test_2_17_mail_for_another_destination_gets_its_own_connection),
		cmocka_unit_test(test_B59_each_level_on_the_wire),
		cmocka_unit_test(test_the_time_of_a_delivery_is_counted_from_the_acceptance),
		cmocka_unit_test(test_a_destination_that_cannot_be_reached_is_named_so),
		cmocka_unit_test(test_a_closed_port_and_a_missing_route),
		cmocka_unit_test(test_stopping_ends_an_attempt),
		cmocka_unit_test(test_2_27_a_bounce_comes_with_a_report),
		cmocka_unit_test(test_2_27_the_status_is_one_of_rfc_3463),
		cmocka_unit_test(test_2_28_text_from_the_peer_opens_no_field_and_no_part),
		cmocka_unit_test(test_2_28_the_report_itself_lets_nothing_through),
		cmocka_unit_test(test_what_is_too_old_is_returned_with_the_last_answer),
		cmocka_unit_test(test_2_26_what_is_lent_untried_is_settled_without_a_connection),
		cmocka_unit_test(test_2_26_what_is_lent_untried_is_settled_with_its_last_reply),
		cmocka_unit_test(test_what_is_not_too_old_is_not_reported),
		cmocka_unit_test(test_2_30_a_report_is_never_reported),
		cmocka_unit_test(test_one_report_names_all_that_bounced_and_nobody_else),
		cmocka_unit_test(test_any_original_can_be_returned),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
