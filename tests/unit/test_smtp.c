/* The session as a client hears it: each test is a few rows of what is said and what must be heard. Role `queue` is played by threads
 * that answer as they are told and remember the last mail. */
#include "session/smtp.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "net/tls.h"
#include "queue/queue.h"
#include "report/metrics.h"
#include "report/notes.h"
#include "test_help.h"

#define POLICY(tls)                                                                                          \
	"mail_flow_policies: [{name: open, tls: " tls "}, {name: trusted, action: relay, tls: none},"        \
	" {name: banned, action: reject}]\n"                                                                 \
	"accepted_domains: [good.test]\nroutes: [{domain: good.test, next_hop: '127.0.0.1:25'}]\n"
#define SMALL "limits: {message_size: 64KiB, errors: 3, recipients: 100}\n"

/* Role queue. */
struct fake {
	pthread_mutex_t lock;
	int control_fd, stop_fd;
	pthread_t thread;
	pthread_t channels[8];
	unsigned channel_count;
	int answer; /* to a commit: 1 = a new mid, negative = that error, 0 = none: die */
	int file;   /* to a new file: 0 = one, negative = that error */
	unsigned commits, files;
	char *sender, *recipients, *content,
		*notes; /* of the last mail; all notes; talloc, parent `memory` */
	size_t content_len, recipient_count;
	void *memory;
};

struct channel_thread {
	struct fake *fake;
	int fd;
};

static void remember(struct fake *fake, const struct envelope *envelope, const struct content *content)
{
	fake->commits++;
	fake->sender = text_copy(fake->memory, text_of(envelope->sender));
	fake->recipients = text_copy(fake->memory, TEXT(""));
	fake->recipient_count = envelope->recipient_count;
	for (size_t i = 0; i < envelope->recipient_count; i++)
		fake->recipients = text_must(talloc_asprintf_append_buffer(
			fake->recipients, "%s%s", i == 0 ? "" : " ", envelope->recipients[i]));
	fake->content_len = content->size;
	fake->content = text_must(talloc_zero_size(fake->memory, content->size + 1));
	if (content->fd < 0)
		memcpy(fake->content, content->bytes.at, content->bytes.len);
	else if (pread(content->fd, fake->content, content->size, 0) != (ssize_t)content->size)
		abort();
}

static struct frame *fake_commit(struct fake *fake, struct frame *ask)
{
	struct envelope envelope;
	struct content content;

	if (queue_commit_take(ask, &envelope, &content) < 0)
		abort();
	if (fake->answer > 0)
		remember(fake, &envelope, &content);
	base_close(&content.fd);
	return fake->answer == 0 ? NULL : queue_commit_reply(ask, fake->answer > 0 ? 42 : fake->answer);
}

static struct frame *fake_notes(struct fake *fake, struct frame *ask)
{
	struct frame *answer = frame_new(ask, FRAME_ANSWER);
	int64_t count = frame_get_number(ask);

	for (int64_t i = 0; i < count; i++) {
		frame_get_number(ask);
		for (int t = 0; t < 5; t++)
			frame_get_text(ask);
		char *recipient = frame_get_copy(ask, ask), *reply = frame_get_copy(ask, ask);
		fake->notes =
			text_must(talloc_asprintf_append_buffer(fake->notes, "[%s: %s]", recipient, reply));
	}
	frame_put_number(answer, 0);
	return answer;
}

static struct frame *fake_answer(struct fake *fake, struct frame *ask)
{
	struct frame *answer = NULL;

	pthread_mutex_lock(&fake->lock);
	if (ask->kind == FRAME_COMMIT) {
		answer = fake_commit(fake, ask);
	} else if (ask->kind == FRAME_NOTES) {
		answer = fake_notes(fake, ask);
	} else if (ask->kind == FRAME_NEW_FILE) {
		fake->files++;
		answer = queue_new_file_reply(
			ask, fake->file == 0 ? memfd_create("mail", MFD_CLOEXEC) : fake->file);
	}
	pthread_mutex_unlock(&fake->lock);
	return answer;
}

static void *channel_run(void *argument)
{
	struct channel_thread *channel = argument;
	struct frame *ask;

	while (channel_receive(NULL, channel->fd, channel->fake->stop_fd, IO_FOREVER, &ask) == 0) {
		struct frame *answer = fake_answer(channel->fake, ask);
		int r = answer == NULL ? -1 : channel_send(channel->fd, answer, clock_mono_ms() + 10000);

		talloc_free(ask);
		if (r < 0)
			break;
	}
	close(channel->fd);
	free(channel);
	return NULL;
}

static void *fake_run(void *argument)
{
	struct fake *fake = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(NULL, fake->control_fd, fake->stop_fd, &frame)) > 0) {
		struct channel_thread *channel = text_must(malloc(sizeof *channel));

		assert_true(fake->channel_count < COUNT(fake->channels));
		*channel = (struct channel_thread){ fake, fd };
		pthread_create(&fake->channels[fake->channel_count++], NULL, channel_run, channel);
	}
	return NULL;
}

/* A house with one session and its client. */
struct rig {
	struct fake fake;
	const struct config *config;
	struct smtp_house house;
	struct metrics metrics;
	struct peer *peer;
	struct tls_context *client_tls;
	int drain_fd, stop_fd;
	struct conn *server, *client;
	pthread_t thread;
	char reply[16384]; /* the last one, all its lines */
};

static struct help_identity identity; /* made once */

static void *session_run(void *argument)
{
	struct rig *rig = argument;

	smtp_session_run(rig->server, &rig->house, "1a-1");
	conn_free(rig->server);
	return NULL;
}

static void set_up_house(struct rig *rig, bool with_key)
{
	rig->peer = peer_new(NULL, 4);
	rig->drain_fd = eventfd(0, EFD_CLOEXEC);
	rig->stop_fd = eventfd(0, EFD_CLOEXEC);
	rig->client_tls = tls_context_client(rig);
	rig->house = (struct smtp_house){ .config = rig->config,
		.listener = &rig->config->listeners[0],
		.queue = rig->peer,
		.metrics = &rig->metrics,
		.drain_fd = rig->drain_fd,
		.stop_fd = rig->stop_fd };
	metrics_listener(&rig->metrics, rig->house.listener->name);
	rig->house.notes = notes_start(rig->peer, &rig->metrics);
	if (!with_key)
		return;

	SSL_CTX *native;
	BIO *chain = BIO_new_mem_buf(identity.chain, -1), *key = BIO_new_mem_buf(identity.key, -1);
	X509 *certificate = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *private = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	rig->house.tls = tls_context_server(rig, "in");
	native = tls_context_native(rig->house.tls);
	assert_int_equal(SSL_CTX_use_cert_and_key(native, certificate, private, NULL, 1), 1);
	X509_free(certificate);
	EVP_PKEY_free(private);
	BIO_free(chain);
	BIO_free(key);
}

static struct rig *rig_new(const char *yaml, bool with_key)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	int fds[2];

	rig->config = help_config(yaml);
	set_up_house(rig, with_key);
	pthread_mutex_init(&rig->fake.lock, NULL);
	rig->fake.memory = talloc_new(NULL);
	rig->fake.notes = text_copy(rig->fake.memory, TEXT(""));
	rig->fake.answer = 1;
	rig->fake.stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(channel_pair(fds), 0);
	peer_connect(rig->peer, fds[0]);
	rig->fake.control_fd = fds[1];
	assert_int_equal(pthread_create(&rig->fake.thread, NULL, fake_run, &rig->fake), 0);

	help_tcp_pair(fds);
	rig->client = conn_new(fds[0]);
	rig->server = conn_new(fds[1]);
	conn_set_deadline(rig->client, clock_mono_ms() + 60000);
	return rig;
}

static void rig_start(struct rig *rig)
{
	assert_int_equal(pthread_create(&rig->thread, NULL, session_run, rig), 0);
}

/* Hang up and wait for the end of the session; then nothing changes any more. */
static void rig_end(struct rig *rig)
{
	conn_free(rig->client);
	pthread_join(rig->thread, NULL);
	notes_stop(rig->house.notes);
	eventfd_write(rig->fake.stop_fd, 1);
	pthread_join(rig->fake.thread, NULL);
	for (unsigned i = 0; i < rig->fake.channel_count; i++)
		pthread_join(rig->fake.channels[i], NULL);
}

static void rig_free(struct rig *rig)
{
	talloc_free(rig->peer);
	talloc_free(rig->fake.memory);
	close(rig->fake.control_fd);
	close(rig->fake.stop_fd);
	close(rig->drain_fd);
	close(rig->stop_fd);
	pthread_mutex_destroy(&rig->fake.lock);
	config_release(rig->config);
	talloc_free(rig);
}

/* One reply into rig->reply; 0, or the error of the connection. */
static int hear(struct rig *rig)
{
	size_t used = 0;
	struct text line;
	bool bare_lf;

	for (;;) {
		int r = conn_read_line(rig->client, 8000, &line, &bare_lf);

		if (r < 0)
			return r;
		assert_false(bare_lf);
		assert_true(line.len >= 3);
		used += (size_t)snprintf(
			rig->reply + used, sizeof rig->reply - used, TEXT_FMT "\n", TEXT_ARG(line));
		if (line.len == 3 || line.at[3] == ' ')
			break;
	}

	/* 1.20: an enhanced code of the same class, but not in greetings (which name the host) and intermediate replies. */
	const char *reply = rig->reply;
	if (reply[0] != '3' && strstr(reply, "gw.good.test") == NULL &&
		(strlen(reply) < 9 || reply[4] != reply[0] || reply[5] != '.'))
		fail_msg("no enhanced code in \"%s\"", reply);
	return 0;
}

static void start_tls(struct rig *rig)
{
	assert_int_equal(
		conn_tls_connect(rig->client, rig->client_tls, &(struct tls_peer){ .name = "mx.good.test" }),
		0);
}

/* Play rows: ">" says a line, "=" says bytes, "<" must hear a reply that starts so, "+" / "-" the last reply has it / has it not,
 * "tls" shakes hands, "closed" the server hangs up without another word, "drain" and "stop" tell the server so. */
static void play(struct rig *rig, const char *name, const char *const *rows)
{
	for (size_t i = 0; rows[i] != NULL; i++) {
		const char *row = rows[i];

		switch (row[0]) {
		case '>':
		case '=':
			conn_write(rig->client, text_of(row + 1));
			if (row[0] == '>')
				conn_write(rig->client, TEXT("\r\n"));
			conn_flush(rig->client);
			break;
		case '<':
			if (hear(rig) < 0)
				fail_msg("%s, row %zu: the server hung up, not \"%s\"", name, i, row + 1);
			const char *last = strrchr(
				text_copy(rig, text_first(text_of(rig->reply), strlen(rig->reply) - 1)),
				'\n');
			last = last == NULL ? rig->reply : last + 1;
			if (strncmp(last, row + 1, strlen(row + 1)) != 0)
				fail_msg("%s, row %zu: \"%s\", not \"%s\"", name, i, rig->reply, row + 1);
			break;
		case '+':
		case '-':
			if ((strstr(rig->reply, row + 1) != NULL) != (row[0] == '+'))
				fail_msg("%s, row %zu: \"%s\" %s", name, i, rig->reply, row);
			break;
		case 't':
			start_tls(rig);
			break;
		case 'd':
			eventfd_write(rig->drain_fd, 1);
			break;
		case 's':
			eventfd_write(rig->stop_fd, 1);
			break;
		case 'c':
			if (hear(rig) == 0)
				fail_msg("%s, row %zu: \"%s\", not closed", name, i, rig->reply);
			break;
		}
	}
}

#define ROWS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define MAIL	  ">MAIL FROM:<s@x.test>", "<250 2.1.0"
#define RCPT	  ">RCPT TO:<r@good.test>", "<250 2.1.5"
#define BEGIN	  "<220 gw.good.test", ">EHLO c", "<250 "

/* A whole session in one row. */
#define HEARS(yaml, key, ...)                                                                                \
	do {                                                                                                 \
		struct rig *hears_rig = rig_new(yaml, key);                                                  \
		rig_start(hears_rig);                                                                        \
		play(hears_rig, __func__, ROWS(__VA_ARGS__));                                                \
		rig_end(hears_rig);                                                                          \
		rig_free(hears_rig);                                                                         \
	} while (0)

/* What came behind our own Received field. */
static const char *body_of(const struct rig *rig)
{
	const char *at = rig->fake.content;

	assert_non_null(at);
	assert_int_equal(strncmp(at, "Received: from ", 15), 0);
	do {
		at = strstr(at, "\r\n");
		assert_non_null(at);
		at += 2;
	} while (*at == ' ' || *at == '\t');
	return at;
}

/* Every verb in every phase. */

static const char *const verbs[] = { "EHLO c", "HELO c", "STARTTLS", "MAIL FROM:<s@x.test>",
	"RCPT TO:<r@good.test>", "DATA", "RSET", "NOOP", "QUIT", "VRFY x", "HELP", "BURL x" };
enum { VERBS = COUNT(verbs) };

static const struct phase {
	const char *name, *yaml;
	bool key;
	const char *const *before;
	const char *want[VERBS];
} phases[] = {
	/* EHLO HELO STARTTLS MAIL RCPT DATA RSET NOOP QUIT VRFY HELP unknown */
	{ "at the start", POLICY("preferred"), true, ROWS("<220"),
		{ "250", "250", "220", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "after EHLO", POLICY("preferred"), true, ROWS(BEGIN),
		{ "250", "250", "220", "250 2.1.0", "503 5.5.1", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "after HELO", POLICY("preferred"), true, ROWS("<220", ">HELO c", "<250 gw.good.test"),
		{ "250", "250", "220", "250 2.1.0", "503 5.5.1", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "after MAIL", POLICY("preferred"), true, ROWS(BEGIN, MAIL),
		{ "250", "250", "220", "503 5.5.1", "250 2.1.5", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "after RCPT", POLICY("preferred"), true, ROWS(BEGIN, MAIL, RCPT),
		{ "250", "250", "220", "503 5.5.1", "250 2.1.5", "354", "250 2", "250 2", "221 2", "252 2",
			"214 2", "500 5.5.2" } },
	{ "after a refused RCPT", POLICY("preferred"), true,
		ROWS(BEGIN, MAIL, ">RCPT TO:<r@evil.test>", "<550 5.7.1"),
		{ "250", "250", "220", "503 5.5.1", "250 2.1.5", "554 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "in TLS, before the new EHLO", POLICY("preferred"), true,
		ROWS(BEGIN, MAIL, RCPT, ">STARTTLS", "<220", "tls"),
		{ "250", "250", "503 5.5.1", "503 5.5.1", "503 5.5.1", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "in TLS, after RCPT", POLICY("required"), true,
		ROWS(BEGIN, ">STARTTLS", "<220", "tls", ">EHLO c", "<250 ", MAIL, RCPT),
		{ "250", "250", "503 5.5.1", "503 5.5.1", "250 2.1.5", "354", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "B25 TLS required, at the start", POLICY("required"), true, ROWS("<220"),
		{ "250", "530 5.7.0", "220", "530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0", "250 2",
			"221 2", "530 5.7.0", "530 5.7.0", "530 5.7.0" } },
	{ "B25 TLS required, after EHLO", POLICY("required"), true, ROWS(BEGIN),
		{ "250", "530 5.7.0", "220", "530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0", "250 2",
			"221 2", "530 5.7.0", "530 5.7.0", "530 5.7.0" } },
	{ "B27 TLS required, no key", POLICY("required"), false, ROWS(BEGIN),
		{ "250", "530 5.7.0", "454 4.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0", "530 5.7.0",
			"250 2", "221 2", "530 5.7.0", "530 5.7.0", "530 5.7.0" } },
	{ "B27 TLS preferred, no key", POLICY("preferred"), false, ROWS(BEGIN),
		{ "250", "250", "454 4.7.0", "250 2.1.0", "503 5.5.1", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
	{ "B23 no TLS", POLICY("none"), true, ROWS(BEGIN),
		{ "250", "250", "502 5.5.1", "250 2.1.0", "503 5.5.1", "503 5.5.1", "250 2", "250 2", "221 2",
			"252 2", "214 2", "500 5.5.2" } },
};

static void test_1_01_1_07_1_09_1_48_1_50_every_verb_in_every_phase(void **state)
{
	(void)state;
	for (size_t p = 0; p < COUNT(phases); p++) {
		for (size_t v = 0; v < VERBS; v++) {
			struct rig *rig = rig_new(phases[p].yaml, phases[p].key);
			char *say = talloc_asprintf(rig, ">%s", verbs[v]),
			     *want = talloc_asprintf(rig, "<%s", phases[p].want[v]),
			     *name = talloc_asprintf(rig, "%s: %s", phases[p].name, verbs[v]);

			rig_start(rig);
			play(rig, name, phases[p].before);
			play(rig, name, ROWS(say, want));
			if (strncmp(verbs[v], "QUIT", 4) == 0)
				play(rig, name, ROWS("closed"));
			else if (want[1] != '3' && strcmp(want, "<220") != 0)
				play(rig, name, ROWS(">NOOP", "<250 2"));
			rig_end(rig);
			rig_free(rig);
		}
	}
}

static const struct {
	const char *name, *say, *heard, *data;
} keepers[] = {
	{ "1.02 EHLO ends the transaction", ">EHLO d", "<250 ", "<503 5.5.1" },
	{ "1.02 HELO ends the transaction", ">HELO d", "<250 ", "<503 5.5.1" },
	{ "RSET ends the transaction", ">RSET", "<250 ", "<503 5.5.1" },
	{ "1.03 a second MAIL does not", ">MAIL FROM:<t@x.test>", "<503 ", "<354" },
	{ "a MAIL that is too large does not", ">MAIL FROM:<t@x.test> SIZE=999999999999", "<503 ", "<354" },
	{ "a bad MAIL does not", ">MAIL FROM:t", "<501 5.1.7", "<354" },
	{ "another RCPT does not", ">RCPT TO:<q@good.test>", "<250 ", "<354" },
	{ "a refused RCPT does not", ">RCPT TO:<q@evil.test>", "<550 ", "<354" },
	{ "a bad RCPT does not", ">RCPT TO:q", "<501 5.1.3", "<354" },
	{ "a bad EHLO does not", ">EHLO (x)", "<501 5.5.4", "<354" },
	{ "1.10 RSET with an argument does not", ">RSET x", "<501 5.5.4", "<354" },
	{ "DATA with an argument does not", ">DATA x", "<501 5.5.4", "<354" },
	{ "1.48 STARTTLS with an argument does not", ">STARTTLS x", "<501 5.5.4", "<354" },
	{ "1.10 NOOP with an argument does not", ">NOOP x", "<250 ", "<354" },
	{ "1.06 VRFY does not", ">VRFY \xc3\xbc@x", "<553 5.6.7", "<354" },
	{ "HELP does not", ">HELP", "<214 ", "<354" },
	{ "an unknown verb does not", ">FOO", "<500 ", "<354" },
	{ "an empty line does not", ">", "<500 ", "<354" },
};

static void test_1_02_1_03_a_refused_command_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(keepers); i++) {
		struct rig *rig = rig_new(POLICY("preferred"), true);

		rig_start(rig);
		play(rig, keepers[i].name,
			ROWS(BEGIN, MAIL, RCPT, keepers[i].say, keepers[i].heard, ">DATA", keepers[i].data));
		if (strcmp(keepers[i].data, "<354") == 0) {
			play(rig, keepers[i].name, ROWS("=x\r\n.\r\n", "<250 2.0.0", ">QUIT", "<221"));
			rig_end(rig);
			assert_string_equal(rig->fake.sender, "s@x.test");
			assert_int_equal(strncmp(rig->fake.recipients, "r@good.test", 11), 0);
		} else {
			rig_end(rig);
			assert_int_equal(rig->fake.commits, 0);
		}
		rig_free(rig);
	}
}

/* DATA. */

static void test_an_accepted_mail_is_what_was_sent_behind_our_trace_field(void **state)
{
	struct rig *rig = rig_new(POLICY("preferred"), true);

	(void)state;
	rig_start(rig);
	play(rig, __func__,
		ROWS(BEGIN, MAIL, RCPT, ">RCPT TO:<q@GOOD.test>", "<250 ", ">DATA", "<354",
			"=Subject: a\r\n\r\n..dot\r\nend\r\n.\r\n", "<250 2.0.0 accepted as 42", ">DATA",
			"<503 5.5.1", ">RCPT TO:<r@good.test>", "<503 5.5.1", ">QUIT", "<221", "closed"));
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 1);
	assert_string_equal(rig->fake.sender, "s@x.test");
	assert_string_equal(rig->fake.recipients, "r@good.test q@GOOD.test");
	assert_string_equal(body_of(rig), "Subject: a\r\n\r\n.dot\r\nend\r\n");
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_ACCEPTED]), 1);
	assert_int_equal(atomic_load(&rig->metrics.listeners[0].sessions[METRICS_CLEAR]), 1);
	rig_free(rig);
}

static void test_two_mails_in_a_session_and_the_null_sender(void **state)
{
	struct rig *rig = rig_new(POLICY("preferred"), true);

	(void)state;
	rig_start(rig);
	play(rig, __func__,
		ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354", "=.\r\n", "<250 2.0.0", ">MAIL FROM:<>", "<250 ",
			">RCPT TO:<Postmaster>", "<250 ", ">DATA", "<354", "=x\r\n.\r\n", "<250 2.0.0"));
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 2);
	assert_string_equal(rig->fake.sender, "");
	assert_string_equal(rig->fake.recipients, "postmaster@good.test");
	assert_string_equal(body_of(rig), "\r\nx\r\n");
	rig_free(rig);
}

static const struct {
	const char *bytes;
	const char *heard; /* behind the real end of the data */
} no_ends[] = {
	{ "=a\n.\nMAIL FROM:<evil@x>\r\n", "<521 5.5.2" },
	{ "=a\n.\r\nMAIL FROM:<evil@x>\r\n", "<521 5.5.2" },
	{ "=a\r\n.\nMAIL FROM:<evil@x>\r\n", "<521 5.5.2" },
	{ "=a\r.\rMAIL FROM:<evil@x>\r\n", "<250 2.0.0" },
	{ "=a\r\n.\rMAIL FROM:<evil@x>\r\n", "<250 2.0.0" },
	{ "=a\r.\r\nMAIL FROM:<evil@x>\r\n", "<250 2.0.0" },
	{ "=a\r\n.\r\r\nMAIL FROM:<evil@x>\r\n", "<250 2.0.0" },
};

static void test_1_22_1_23_nothing_but_crlf_dot_crlf_ends_the_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(no_ends); i++) {
		struct rig *rig = rig_new(POLICY("preferred"), true);
		bool refused = no_ends[i].heard[1] == '5';

		rig_start(rig);
		play(rig, no_ends[i].bytes,
			ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354", no_ends[i].bytes, "=.\r\n",
				no_ends[i].heard));
		play(rig, no_ends[i].bytes, refused ? ROWS("closed") : ROWS(">QUIT", "<221", "closed"));
		rig_end(rig);
		assert_int_equal(rig->fake.commits, !refused);
		if (!refused)
			assert_non_null(strstr(rig->fake.content, "MAIL FROM:<evil@x>"));
		rig_free(rig);
	}
}

static void test_the_data_may_come_in_any_pieces(void **state)
{
	static const char bytes[] = "Subject: a\r\n\r\n..\r\n.x\r\n.\r\n";

	(void)state;
	for (size_t cut = 1; cut + 1 < sizeof bytes; cut++) {
		struct rig *rig = rig_new(POLICY("none"), false);

		rig_start(rig);
		play(rig, __func__, ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354"));
		conn_write(rig->client, (struct text){ bytes, cut });
		conn_flush(rig->client);
		conn_write(rig->client, (struct text){ bytes + cut, sizeof bytes - 1 - cut });
		conn_flush(rig->client);
		play(rig, __func__, ROWS("<250 2.0.0"));
		rig_end(rig);
		assert_string_equal(body_of(rig), "Subject: a\r\n\r\n.\r\nx\r\n");
		rig_free(rig);
	}
}

static const struct {
	const char *name;
	int answer;
	const char *heard;
} failures[] = {
	{ "no space", -ENOSPC, "<452 4.3.1" },
	{ "over quota", -EDQUOT, "<452 4.3.1" },
	{ "a mail the store cannot take", -EINVAL, "<451 4.3.0" },
	{ "an input or output error", -EIO, "<451 4.3.0" },
	{ "the queue dies before it answers", 0, "<451 4.3.0" },
};

static void test_S1_without_a_durable_commit_there_is_no_250(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(failures); i++) {
		struct rig *rig = rig_new(POLICY("preferred"), true);

		rig->fake.answer = failures[i].answer;
		rig_start(rig);
		play(rig, failures[i].name,
			ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354", "=x\r\n.\r\n", failures[i].heard,
				">RCPT TO:<r@good.test>", "<503 5.5.1", MAIL, RCPT, ">QUIT", "<221"));
		rig_end(rig);
		assert_int_equal(atomic_load(&rig->metrics.values[METRIC_ACCEPTED]), 0);
		assert_int_equal(atomic_load(&rig->metrics.values[METRIC_NOT_ACCEPTED]), 1);
		rig_free(rig);
	}
}

static void test_a_queue_that_is_not_there_is_451_and_the_session_lives_on(void **state)
{
	struct rig *rig = rig_new(POLICY("preferred"), true);

	(void)state;
	peer_connect(rig->peer, -1);
	rig_start(rig);
	play(rig, __func__,
		ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354", "=x\r\n.\r\n", "<451 4.3.0", MAIL, RCPT, ">QUIT",
			"<221"));
	rig_end(rig);
	rig_free(rig);
}

/* Say DATA with `size` bytes of content in lines, and hear `heard`. */
static void send_data(struct rig *rig, size_t size, const char *heard)
{
	static const char line[] = "0123456789012345678901234567890123456789012345678901234567890\r\n";
	size_t left = size - 2;

	play(rig, __func__, ROWS(MAIL, RCPT, ">DATA", "<354", "=\r\n"));
	for (; left > sizeof line + 1; left -= sizeof line - 1)
		assert_int_equal(conn_write(rig->client, (struct text){ line, sizeof line - 1 }), 0);
	for (; left > 2; left--)
		conn_write(rig->client, TEXT("x"));
	conn_write(rig->client, TEXT("\r\n.\r\n"));
	conn_flush(rig->client);
	play(rig, __func__, ROWS(heard));
}

static void test_content_over_128_KiB_goes_to_a_file_of_the_queue(void **state)
{
	static const size_t sizes[] = { 1000, 130000, 131072, 131073, 1000000 };

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct rig *rig = rig_new(POLICY("none"), false);

		rig_start(rig);
		play(rig, __func__, ROWS(BEGIN));
		send_data(rig, sizes[i], "<250 2.0.0");
		rig_end(rig);
		assert_int_equal(rig->fake.files, sizes[i] > 130900);
		assert_int_equal(strlen(body_of(rig)), sizes[i]);
		rig_free(rig);
	}
}

/* The first bytes of the content, and whether an empty line must part it from our field. */
static const struct {
	const char *first;
	bool parted;
} beginnings[] = {
	{ "A: b\r\n\r\n", false },
	{ "\r\n", false },
	{ " by evil\r\n", true },
	{ "\tby evil\r\n", true },
	{ "From a@b\r\n", true },
	{ "X\r\n", true },
	{ ".\r\n", true },
};

static void say_bytes(struct rig *rig, struct text bytes)
{
	assert_int_equal(conn_write(rig->client, bytes), 0);
	assert_int_equal(conn_flush(rig->client), 0);
}

/* Byte by byte with DATA; in chunks of one byte with BDAT. Then `more` bytes at once. */
static void send_content(struct rig *rig, bool chunks, const char *first, size_t more)
{
	char *rest = text_must(talloc_asprintf(rig, "%0*d\r\n", (int)more - 2, 0));

	play(rig, first, ROWS(BEGIN, MAIL, RCPT));
	if (!chunks)
		play(rig, first, ROWS(">DATA", "<354"));
	if (!chunks && first[0] == '.')
		say_bytes(rig, TEXT("."));
	for (const char *at = first; *at != '\0'; at++) {
		if (chunks)
			say_bytes(rig, TEXT("BDAT 1\r\n"));
		say_bytes(rig, (struct text){ at, 1 });
		if (chunks)
			play(rig, first, ROWS("<250 2.0.0"));
	}
	if (chunks)
		say_bytes(rig, text_of(talloc_asprintf(rig, "BDAT %zu LAST\r\n", more)));
	say_bytes(rig, text_of(rest));
	if (!chunks)
		say_bytes(rig, TEXT(".\r\n"));
	play(rig, first, ROWS("<250 2.0.0 accepted"));
}

static void test_1_27_the_content_cannot_merge_with_our_field(void **state)
{
	static const size_t sizes[] = { 10, 200000 }; /* in memory, in a file */

	(void)state;
	for (size_t i = 0; i < COUNT(beginnings) * COUNT(sizes) * 2; i++) {
		const char *first = beginnings[i % COUNT(beginnings)].first;
		size_t more = sizes[i / COUNT(beginnings) % COUNT(sizes)];
		struct rig *rig = rig_new(POLICY("none"), false);

		rig_start(rig);
		send_content(rig, i / COUNT(beginnings) >= COUNT(sizes), first, more);
		rig_end(rig);
		assert_int_equal(rig->fake.files, more > 100000);
		const char *last = strstr(rig->fake.content, "+0000");
		assert_non_null(last);
		char *want = talloc_asprintf(
			rig, "\r\n%s%s000", beginnings[i % COUNT(beginnings)].parted ? "\r\n" : "", first);
		if (!text_starts_nocase(text_from(text_of(last), 5), text_of(want)))
			fail_msg("%s: %.200s", first, rig->fake.content);
		assert_int_equal(strlen(last), 5 + strlen(want) - 3 + more);
		rig_free(rig);
	}
}

static void test_no_room_for_a_large_mail_is_452_after_all_of_it_was_read(void **state)
{
	struct rig *rig = rig_new(POLICY("none"), false);

	(void)state;
	rig->fake.file = -ENOSPC;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN));
	send_data(rig, 500000, "<452 4.3.1");
	play(rig, __func__, ROWS(">QUIT", "<221"));
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 0);
	assert_int_equal(rig->fake.files, 1);
	rig_free(rig);
}

static void test_1_31_size_limits(void **state)
{
	struct rig *rig = rig_new(POLICY("none") SMALL, false);

	(void)state;
	rig_start(rig);
	play(rig, __func__,
		ROWS(BEGIN, "+250 SIZE 65536", ">MAIL FROM:<s@x.test> SIZE=65537", "<552 5.3.4",
			">RCPT TO:<r@good.test>", "<503 5.5.1", ">MAIL FROM:<s@x.test> SIZE=65536", "<250 ",
			">RSET", "<250 "));
	send_data(rig, 64 * 1024 - 1000, "<250 2.0.0");
	send_data(rig, 64 * 1024 + 1, "<552 5.3.4");
	play(rig, __func__, ROWS(">RCPT TO:<r@good.test>", "<421"));
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 1);
	rig_free(rig);
}

/* What EHLO and MAIL promise must hold: our own trace field is not the client's. */
static void test_1_31_a_mail_of_exactly_the_advertised_size_is_taken(void **state)
{
	struct rig *rig = rig_new(POLICY("none") SMALL, false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN));
	send_data(rig, 64 * 1024, "<250 2.0.0");
	rig_end(rig);
	rig_free(rig);
}

static void test_1_31_bad_sizes(void **state)
{
	(void)state;
	HEARS(POLICY("none"), false, BEGIN, ">MAIL FROM:<s@x.test> SIZE=abc", "<501 5.5.4",
		">MAIL FROM:<s@x.test> SIZE=123456789012345678901", "<501 5.5.4",
		">MAIL FROM:<s@x.test> BODY=BINARYMIME", "<501 5.5.4", ">MAIL FROM:<s@x.test> FOO=1",
		"<555 5.5.4", ">MAIL FROM:<s@x.test> BODY=8BITMIME", "<250 ",
		">RCPT TO:<r@good.test> NOTIFY=NEVER,SUCCESS", "<501 5.5.4",
		">RCPT TO:<r@good.test> NOTIFY=NEVER", "<250 ");
}

static void test_a_client_that_goes_in_the_middle_of_the_data_leaves_no_mail(void **state)
{
	struct rig *rig = rig_new(POLICY("none"), false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354", "=Subject: a\r\n\r\nx\r\n."));
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 0);
	rig_free(rig);
}

/* STARTTLS. */

static void test_B26_1_47_tls_forgets_everything_and_is_offered_no_more(void **state)
{
	(void)state;
	HEARS(POLICY("preferred"), true, BEGIN, "+250-STARTTLS", MAIL, RCPT, ">STARTTLS", "<220 2.0.0", "tls",
		">DATA", "<503 5.5.1", ">EHLO c", "<250 ", "-STARTTLS", ">DATA", "<503 5.5.1", MAIL, RCPT,
		">DATA", "<354", "=x\r\n.\r\n", "<250 2.0.0", ">QUIT", "<221", "closed");
}

static void test_B23_B27_starttls_is_listed_only_where_it_works(void **state)
{
	(void)state;
	HEARS(POLICY("none"), true, BEGIN, "-STARTTLS");
	HEARS(POLICY("preferred"), false, BEGIN, "-STARTTLS");
	HEARS(POLICY("preferred"), true, BEGIN, "+250-STARTTLS", "+250-PIPELINING",
		"+250-ENHANCEDSTATUSCODES");
	HEARS(POLICY("required"), true, BEGIN, "+250-STARTTLS");
}

static void test_the_received_field_tells_how_it_came(void **state)
{
	const struct {
		const char *const *rows;
		const char *word;
	} cases[] = {
		{ ROWS(BEGIN), "with ESMTP" },
		{ ROWS("<220", ">HELO c", "<250 "), "with SMTP" },
		{ ROWS(BEGIN, ">STARTTLS", "<220", "tls", ">EHLO c", "<250 "), "with ESMTPS" },
		{ ROWS(BEGIN, ">STARTTLS", "<220", "tls", ">EHLO c", "<250 "), "TLS_AES_256_GCM_SHA384" },
		{ ROWS(BEGIN), "[127.0.0.1]" },
		{ ROWS(BEGIN), "by gw.good.test" },
		{ ROWS(BEGIN), "id 1a-1-1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rig *rig = rig_new(POLICY("preferred"), true);

		rig_start(rig);
		play(rig, cases[i].word, cases[i].rows);
		play(rig, cases[i].word, ROWS(MAIL, RCPT, ">DATA", "<354", "=x\r\n.\r\n", "<250 2.0.0"));
		rig_end(rig);
		assert_string_equal(body_of(rig), "\r\nx\r\n");
		if (strstr(rig->fake.content, cases[i].word) == NULL)
			fail_msg("\"%s\" is not in %s", cases[i].word, rig->fake.content);
		rig_free(rig);
	}
}

static void test_1_46_bytes_behind_starttls_end_the_session(void **state)
{
	(void)state;
	HEARS(POLICY("preferred"), true, BEGIN, "=STARTTLS\r\nMAIL FROM:<evil@x>\r\n", "closed");
	HEARS(POLICY("preferred"), true, BEGIN, "=STARTTLS\r\nx", "closed");
	HEARS(POLICY("required"), true, "<220", "=STARTTLS\r\n\r\n", "closed");
	HEARS(POLICY("preferred"), true, "<220", "=EHLO c\r\nSTARTTLS\r\nNOOP\r\n", "<554 5.5.0", "closed");
}

/* Counts who asks; the second handshake is one too many. */
struct asked {
	unsigned count;
	struct ip client;
};

static bool first_only(void *context, const struct ip *client)
{
	struct asked *asked = context;

	asked->client = *client;
	return ++asked->count == 1;
}

static void test_1_53_one_handshake_too_many_is_454(void **state)
{
	struct asked asked = { 0 };

	(void)state;
	for (unsigned i = 1; i <= 2; i++) {
		struct rig *rig = rig_new(POLICY("preferred"), true);
		struct ip client = rig->server->peer;

		rig->house.may_handshake = first_only;
		rig->house.context = &asked;
		rig_start(rig);
		play(rig, __func__, ROWS(BEGIN, ">STARTTLS x", "<501 5.5.4"));
		if (i == 1)
			play(rig, __func__, ROWS(">STARTTLS", "<220", "tls", ">STARTTLS", "<503 5.5.1"));
		else
			play(rig, __func__, ROWS(">STARTTLS", "<454 4.7.0", MAIL, RCPT));
		rig_end(rig);
		assert_int_equal(asked.count, i);
		assert_memory_equal(&asked.client, &client, sizeof client);
		assert_int_equal(atomic_load(&rig->metrics.values[METRIC_REJECTED_LIMIT]), i - 1);
		rig_free(rig);
	}
}

static void test_1_49_a_failed_handshake_ends_the_session(void **state)
{
	struct rig *rig = rig_new(POLICY("preferred"), true);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN, ">STARTTLS", "<220", ">MAIL FROM:<evil@x>"));
	struct text bytes;
	bool bare_lf;
	/* An alert may come, an SMTP reply may not. */
	while (conn_read_line(rig->client, 100, &bytes, &bare_lf) == 0)
		assert_false(bytes.len >= 3 && bytes.at[0] >= '2' && bytes.at[0] <= '5');
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 0);
	rig_free(rig);
}

static void test_tls_handshakes_are_counted(void **state)
{
	struct rig *rig = rig_new(POLICY("preferred"), true);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN, ">STARTTLS", "<220", "tls", ">QUIT", "<221"));
	rig_end(rig);
	int64_t by_version[METRICS_VERSIONS] = { 0 };
	for (int i = 0; i < METRICS_VERSIONS * METRICS_GROUPS; i++)
		by_version[i / METRICS_GROUPS] += atomic_load(&rig->metrics.values[METRIC_TLS_IN + i]);
	assert_memory_equal(by_version, ((const int64_t[]){ 0, 0, 0, 1 }), sizeof by_version);
	assert_int_equal(atomic_load(&rig->metrics.listeners[0].sessions[METRICS_CLEAR]), 0);
	assert_int_equal(atomic_load(&rig->metrics.listeners[0].sessions[METRICS_STARTTLS]), 1);
	rig_free(rig);
}

/* Pipelining, lines, limits. */

static void test_1_18_pipelined_commands_are_answered_in_their_order(void **state)
{
	(void)state;
	HEARS(POLICY("none"), false, BEGIN,
		"=MAIL FROM:<s@x.test>\r\nRCPT TO:<r@evil.test>\r\nRCPT TO:<r@good.test>\r\nNOOP\r\nDATA\r\n",
		"<250 2.1.0", "<550 5.7.1", "<250 2.1.5", "<250 2.0.0", "<354",
		"=x\r\n.\r\nMAIL FROM:<s@x.test>\r\nQUIT\r\n", "<250 2.0.0 accepted", "<250 2.1.0",
		"<221 2.0.0", "closed");
}

static void test_a_command_may_come_byte_by_byte(void **state)
{
	(void)state;
	HEARS(POLICY("none"), false, "<220", "=E", "=H", "=LO", "= c", "=\r", "=\n", "<250 ", "=NO", "=OP\r",
		"=\n", "<250 2.0.0");
}

/* RFC 2920 section 3.2: what was answered is sent as soon as the server has to wait for more. */
static void test_1_18_a_part_of_the_next_command_does_not_hold_replies_back(void **state)
{
	struct rig *rig = rig_new(POLICY("none"), false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS("<220"));
	conn_set_deadline(rig->client, clock_mono_ms() + 5000);
	play(rig, __func__, ROWS("=NOOP\r\nNO", "<250 2.0.0", "=OP\r\n", "<250 2.0.0"));
	rig_end(rig);
	rig_free(rig);
}

static void test_1_24_bare_lf_in_a_command_ends_the_session(void **state)
{
	(void)state;
	HEARS(POLICY("none"), false, BEGIN, "=NOOP\nMAIL FROM:<s@x.test>\r\n", "<521 5.5.2", "closed");
	HEARS(POLICY("preferred"), true, BEGIN, ">STARTTLS", "<220", "tls", "=NOOP\n", "<521 5.5.2",
		"closed");
}

static void test_1_11_a_line_over_2048_bytes_is_refused(void **state)
{
	char line[2060];

	(void)state;
	memset(line, 'x', sizeof line);
	memcpy(line, "=NOOP ", 6);
	strcpy(line + 2049, "\r\n"); /* 2048 bytes and the line end */
	HEARS(POLICY("none"), false, BEGIN, line, "<250 2.0.0");
	memcpy(line + 2049, "xxxx", 4);
	strcpy(line + 2053, "\r\n");
	HEARS(POLICY("none"), false, BEGIN, line, "<500 5.5.2", ">NOOP", "<250 2.0.0");
}

static void test_1_13_too_many_errors_are_421(void **state)
{
	(void)state;
	HEARS(POLICY("none") SMALL, false, "<220", ">MAIL FROM:<s@x.test>", "<503 5.5.1", ">FOO",
		"<500 5.5.2", ">EHLO", "<501 5.5.4", ">NOOP", "<250 ", ">FOO", "<421 4.7.0", "closed");
	HEARS(POLICY("required") SMALL, true, "<220", ">RSET", "<530", ">RSET", "<530", ">RSET", "<530",
		">RSET", "<421 4.7.0", "closed");
}

/* 3 errors are allowed here, so 30 refused recipients. */
static void refuse_recipients(struct rig *rig, int count)
{
	for (int i = 0; i < count; i++)
		play(rig, __func__, ROWS(">RCPT TO:<a@evil.test>", "<550 5.7.1"));
}

static void test_1_13_refused_recipients_are_no_errors_but_they_end(void **state)
{
	struct rig *rig = rig_new(POLICY("none") SMALL, false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN, ">FOO", "<500", ">FOO", "<500", ">FOO", "<500", MAIL));
	refuse_recipients(rig, 30);
	play(rig, __func__, ROWS(RCPT, ">DATA", "<354", "=x\r\n.\r\n", "<250 2.0.0", MAIL));
	refuse_recipients(rig, 20);
	play(rig, __func__, ROWS(">RSET", "<250", MAIL));
	refuse_recipients(rig, 10);
	play(rig, __func__,
		ROWS(RCPT, ">RCPT TO:<a@evil.test>", "<421 4.7.0 too many refused recipients", "closed"));
	rig_end(rig);
	assert_int_equal(rig->fake.commits, 1);
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_REJECTED_RELAY]), 61);
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_REJECTED_PROTOCOL]), 1);
	assert_non_null(strstr(rig->fake.notes, "[a@evil.test: 421 4.7.0 too many refused recipients]"));
	rig_free(rig);
}

static void test_too_many_commands_are_not_called_errors(void **state)
{
	(void)state;
	HEARS(POLICY("none") "limits: {commands: 2}\n", false, "<220", ">NOOP", "<250", ">NOOP", "<250",
		">NOOP", "<421 4.7.0 too many commands without a mail", "closed");
}

static void test_refused_mails_and_recipients_leave_a_trace(void **state)
{
	struct rig *rig = rig_new(POLICY("none") SMALL, false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN, ">MAIL FROM:<s@x.test> SIZE=65537", "<552 5.3.4", MAIL));
	for (int i = 0; i < 100; i++)
		play(rig, __func__, ROWS(RCPT));
	play(rig, __func__, ROWS(">RCPT TO:<q@good.test>", "<452 4.5.3"));
	rig_end(rig);
	assert_string_equal(rig->fake.notes,
		"[: 552 5.3.4 message too large][q@good.test: 452 4.5.3 too many recipients]");
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_REJECTED_LIMIT]), 2);
	rig_free(rig);
}

static void test_the_queue_quota_is_called_by_its_name(void **state)
{
	struct rig *rig = rig_new(POLICY("none"), false);

	(void)state;
	rig->fake.answer = ERR_QUOTA;
	rig_start(rig);
	play(rig, __func__,
		ROWS(BEGIN, MAIL, RCPT, ">DATA", "<354", "=x\r\n.\r\n",
			"<452 4.7.0 the queue holds as many mails from your network as it may"));
	rig_end(rig);
	assert_non_null(strstr(rig->fake.notes, "[r@good.test: 452 4.7.0 the queue holds"));
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_REJECTED_LIMIT]), 1);
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_NOT_ACCEPTED]), 0);
	rig_free(rig);
}

static void test_1_14_one_recipient_too_many_is_452_and_the_others_stay(void **state)
{
	struct rig *rig = rig_new(POLICY("none") SMALL, false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS(BEGIN, MAIL));
	for (int i = 0; i < 100; i++)
		play(rig, __func__, ROWS(RCPT));
	for (int i = 0; i < 10; i++)
		play(rig, __func__, ROWS(">RCPT TO:<r@good.test>", "<452 4.5.3"));
	play(rig, __func__, ROWS(">DATA", "<354", "=x\r\n.\r\n", "<250 2.0.0"));
	rig_end(rig);
	assert_int_equal(rig->fake.recipient_count, 100);
	rig_free(rig);
}

/* Who may send what to whom. */

static void test_relaying_is_for_those_whose_policy_says_so(void **state)
{
	struct rig *rig = rig_new(POLICY("none"), false);

	(void)state;
	rig_start(rig);
	play(rig, __func__,
		ROWS(BEGIN, MAIL, ">RCPT TO:<r@evil.test>", "<550 5.7.1", ">RCPT TO:<r@sub.good.test>",
			"<550 5.7.1", ">RCPT TO:<r%evil.test@good.test>", "<250 ", ">RCPT TO:<postmaster>",
			"<250 "));
	rig_end(rig);
	assert_string_equal(rig->fake.notes,
		"[r@evil.test: 550 5.7.1 relaying denied][r@sub.good.test: 550 5.7.1 relaying denied]");
	assert_int_equal(atomic_load(&rig->metrics.values[METRIC_REJECTED_RELAY]), 2);
	rig_free(rig);

	HEARS(POLICY("required") "sender_groups: [{name: us, networks: [127.0.0.0/8], policy: trusted}]\n",
		false, BEGIN, MAIL, ">RCPT TO:<r@evil.test>", "<250 2.1.5");
	HEARS(POLICY("none") "sender_groups: [{name: others, networks: [192.0.2.0/24], policy: trusted}]\n",
		false, BEGIN, MAIL, ">RCPT TO:<r@evil.test>", "<550 5.7.1");
}

static void test_a_banned_client_hears_554_instead_of_a_greeting(void **state)
{
	struct rig *rig =
		rig_new(POLICY("none") "sender_groups: [{name: bad, networks: [127.0.0.1], policy: banned},"
				       " {name: us, networks: [127.0.0.0/8], policy: trusted}]\n",
			false);

	(void)state;
	rig_start(rig);
	play(rig, __func__, ROWS("<554 5.7.1", "closed"));
	rig_end(rig);
	assert_string_equal(rig->fake.notes, "[: 554 5.7.1 mail from your address is not accepted here]");
	rig_free(rig);
}

/* Ends. */

static void test_silence_is_answered(void **state)
{
	(void)state;
	HEARS(POLICY("none") "limits: {idle_time: 1s}\n", false, "<220", "<421 4.4.2 you were silent",
		"closed");
	HEARS(POLICY("none") "limits: {session_time: 1s}\n", false, "<220", "<421 4.4.2 this session",
		"closed");
	HEARS(POLICY("none") "limits: {idle_time: 1s}\n", false, BEGIN, MAIL, RCPT, ">DATA", "<354", "=x\r\n",
		"closed");
}

static void test_1_70_a_server_that_ends_says_so_at_a_command_boundary(void **state)
{
	(void)state;
	HEARS(POLICY("none"), false, "<220", "drain", "<421 4.3.2", "closed");
	HEARS(POLICY("none"), false, BEGIN, MAIL, RCPT, ">DATA", "<354", "drain", "=x\r\n.\r\n", "<250 2.0.0",
		"<421 4.3.2", "closed");
	HEARS(POLICY("none"), false, BEGIN, MAIL, RCPT, ">DATA", "<354", "=x\r\n", "stop", "closed");
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
		cmocka_unit_test(test_1_01_1_07_1_09_1_48_1_50_every_verb_in_every_phase),
		cmocka_unit_test(test_1_02_1_03_a_refused_command_changes_nothing),
		cmocka_unit_test(test_an_accepted_mail_is_what_was_sent_behind_our_trace_field),
		cmocka_unit_test(test_two_mails_in_a_session_and_the_null_sender),
		cmocka_unit_test(test_1_22_1_23_nothing_but_crlf_dot_crlf_ends_the_data),
		cmocka_unit_test(test_the_data_may_come_in_any_pieces),
		cmocka_unit_test(test_S1_without_a_durable_commit_there_is_no_250),
		cmocka_unit_test(test_a_queue_that_is_not_there_is_451_and_the_session_lives_on),
		cmocka_unit_test(test_content_over_128_KiB_goes_to_a_file_of_the_queue),
		cmocka_unit_test(test_1_27_the_content_cannot_merge_with_our_field),
		cmocka_unit_test(test_no_room_for_a_large_mail_is_452_after_all_of_it_was_read),
		cmocka_unit_test(test_1_31_size_limits),
		cmocka_unit_test(test_1_31_a_mail_of_exactly_the_advertised_size_is_taken),
		cmocka_unit_test(test_1_31_bad_sizes),
		cmocka_unit_test(test_a_client_that_goes_in_the_middle_of_the_data_leaves_no_mail),
		cmocka_unit_test(test_B26_1_47_tls_forgets_everything_and_is_offered_no_more),
		cmocka_unit_test(test_B23_B27_starttls_is_listed_only_where_it_works),
		cmocka_unit_test(test_the_received_field_tells_how_it_came),
		cmocka_unit_test(test_1_46_bytes_behind_starttls_end_the_session),
		cmocka_unit_test(test_1_53_one_handshake_too_many_is_454),
		cmocka_unit_test(test_1_49_a_failed_handshake_ends_the_session),
		cmocka_unit_test(test_tls_handshakes_are_counted),
		cmocka_unit_test(test_1_18_pipelined_commands_are_answered_in_their_order),
		cmocka_unit_test(test_a_command_may_come_byte_by_byte),
		cmocka_unit_test(test_1_18_a_part_of_the_next_command_does_not_hold_replies_back),
		cmocka_unit_test(test_1_24_bare_lf_in_a_command_ends_the_session),
		cmocka_unit_test(test_1_11_a_line_over_2048_bytes_is_refused),
		cmocka_unit_test(test_1_13_too_many_errors_are_421),
		cmocka_unit_test(test_1_13_refused_recipients_are_no_errors_but_they_end),
		cmocka_unit_test(test_too_many_commands_are_not_called_errors),
		cmocka_unit_test(test_refused_mails_and_recipients_leave_a_trace),
		cmocka_unit_test(test_the_queue_quota_is_called_by_its_name),
		cmocka_unit_test(test_1_14_one_recipient_too_many_is_452_and_the_others_stay),
		cmocka_unit_test(test_relaying_is_for_those_whose_policy_says_so),
		cmocka_unit_test(test_a_banned_client_hears_554_instead_of_a_greeting),
		cmocka_unit_test(test_silence_is_answered),
		cmocka_unit_test(test_1_70_a_server_that_ends_says_so_at_a_command_boundary),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
