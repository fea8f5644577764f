/*
 * Hands mail to an SMTP server over some connections at once, each with the next mail as soon as the last one is answered, and prints each tenth
 * of a second how many were accepted: "TIME ACCEPTED", TIME as CLOCK_MONOTONIC in seconds. The number of a mail and of the lines of its body
 * (body.h) are in its field X-Bench; it goes to u@dN.bench.test, N = number modulo DOMAINS. MAIL, RCPT and DATA leave in one write: Nagle's
 * algorithm and delayed ACKs would measure themselves.
 *
 *     load [-m MAILS] [-t VERSION] [-l] [-k] ADDRESS PORT CONNECTIONS FIRST COUNT SIZE DOMAINS        COUNT 0 = until SIGTERM
 *
 * -m: QUIT after so many mails, and connect again (0: a session without mail, COUNT sessions).  -t: STARTTLS with TLS 1.2 or 1.3, always a full
 * handshake, the certificate is not checked.  -k: COUNT sessions without mail that stay after EHLO until SIGTERM, with ACCEPTED of them so far;
 * CONNECTIONS are opened at once; it fails when the server ends one.  -l: the field X-Time says when the mail was sent, and the last lines are "accept P50 P99" (the last
 * byte written to the 250) and "session P50 P99" (connect to the 221) in ms.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <openssl/ssl.h>
#include "body.h"
#include "figures.h"

enum { GREETING, HELLO, STARTTLS, HELLO_AGAIN, MAIL, RCPT, DATA, END, QUIT, IDLE, HEAD = 300 };

struct session {
	int fd, step;
	SSL *tls;
	int64_t number, left;
	double started, sent;
	const char *out; /* what is still to be written */
	size_t out_len;
	char in[2048], say[300];
	size_t len;
	char *content;
};

static const int wanted[] = { [GREETING] = 220,
	[HELLO] = 250,
	[STARTTLS] = 220,
	[HELLO_AGAIN] = 250,
	[MAIL] = 250,
	[RCPT] = 250,
	[DATA] = 354,
	[END] = 250,
	[QUIT] = 221 };

static volatile sig_atomic_t stopping;
static struct sockaddr_in server;
static SSL_CTX *tls_context;
static size_t size, domains, lines, head; /* of a mail: all bytes, lines of its body, bytes before it */
static int64_t next_number, end_number, accepted, mails_per_session = INT64_MAX;
static unsigned idle;
static bool timed, keep;
static struct session *sessions, *next_kept;
static int poll_fd;
static struct figures accept_times, session_times;

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

static void fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Bytes moved, 0 when the socket has enough for now. */
static size_t moved(struct session *s, ssize_t n, const char *what)
{
	if (n > 0)
		return (size_t)n;
	if (s->tls != NULL ? SSL_get_error(s->tls, (int)n) == SSL_ERROR_WANT_READ ||
				     SSL_get_error(s->tls, (int)n) == SSL_ERROR_WANT_WRITE
			   : n < 0 && errno == EAGAIN)
		return 0;
	fail(what);
	return 0;
}

static void write_on(struct session *s)
{
	if (s->out_len == 0)
		return;
	while (s->out_len > 0) {
		const size_t n = moved(s,
			s->tls != NULL ? SSL_write(s->tls, s->out, (int)s->out_len)
				       : send(s->fd, s->out, s->out_len, MSG_NOSIGNAL),
			"the server takes no more");

		if (n == 0)
			return;
		s->out += n;
		s->out_len -= n;
	}
	if (s->step == END)
		s->sent = now();
}

static void say(struct session *s, const char *bytes, size_t len)
{
	s->out = bytes;
	s->out_len = len;
	write_on(s);
}

static void connect_session(struct session *s)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s };
	int yes = 1;

	s->started = now();
	s->step = GREETING;
	s->left = mails_per_session;
	s->len = 0;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (s->fd < 0 || setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0 ||
		(connect(s->fd, (const struct sockaddr *)&server, sizeof server) < 0 &&
			errno != EINPROGRESS) ||
		epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
		fail("connect");
}

static void end_session(struct session *s)
{
	figures_add(&session_times, now() - s->started);
	SSL_free(s->tls);
	s->tls = NULL;
	close(s->fd);
	s->fd = -1;
	if (mails_per_session == 0)
		accepted++;
	if (!stopping && next_number < end_number) {
		next_number += mails_per_session == 0;
		connect_session(s);
	} else {
		s->step = IDLE;
		idle++;
	}
}

/* The session stays; the next one is opened in its place. */
static void keep_session(struct session *s)
{
	s->step = IDLE;
	accepted++;
	if (!stopping && next_number < end_number) {
		next_number++;
		connect_session(next_kept++);
	}
}

static void begin(struct session *s)
{
	if (keep) {
		keep_session(s);
		return;
	}
	if (stopping || (mails_per_session > 0 && next_number >= end_number) || s->left == 0) {
		s->step = QUIT;
		say(s, "QUIT\r\n", 6);
		return;
	}
	s->left--;
	s->number = next_number++;
	s->step = MAIL;
	snprintf(s->say, sizeof s->say,
		"MAIL FROM:<load@sender.test>\r\nRCPT TO:<u@d%zu.bench.test>\r\nDATA\r\n",
		(size_t)s->number % domains);
	say(s, s->say, strlen(s->say));
}

static void send_content(struct session *s)
{
	int len = snprintf(s->content, HEAD,
		"X-Bench: %012lld %zu\r\nFrom: <load@sender.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%lld@sender.test>\r\n",
		(long long)s->number, lines, (long long)s->number);

	if (timed)
		len += snprintf(s->content + len, (size_t)(HEAD - len), "X-Time: %.6f\r\n", now());
	len += snprintf(s->content + len, (size_t)(HEAD - len), "X-Pad: ");
	memset(s->content + len, 'x', head - 4 - (size_t)len);
	memcpy(s->content + head - 4, "\r\n\r\n", 4);
	for (size_t i = 0; i < lines; i++)
		memcpy(s->content + head + i * BODY_LINE, body_line((uint64_t)s->number, i), BODY_TEXT);
	say(s, s->content, size);
}

static void start_tls(struct session *s)
{
	s->tls = SSL_new(tls_context);
	if (s->tls == NULL || SSL_set_fd(s->tls, s->fd) != 1)
		fail("TLS");
	SSL_set_connect_state(s->tls);
	s->len = 0;
	say(s, "EHLO load.test\r\n", 16);
}

/* One whole reply. */
static void take(struct session *s, const char *line)
{
	if (s->step == IDLE || atoi(line) != wanted[s->step]) {
		fprintf(stderr, "load: step %d: %s\n", s->step, line);
		exit(1);
	}
	switch (s->step++) {
	case GREETING:
		say(s, "EHLO load.test\r\n", 16);
		break;
	case HELLO:
		if (tls_context == NULL)
			begin(s);
		else
			say(s, "STARTTLS\r\n", 10);
		break;
	case STARTTLS:
		start_tls(s);
		break;
	case HELLO_AGAIN:
		begin(s);
		break;
	case DATA:
		send_content(s);
		break;
	case END:
		figures_add(&accept_times, now() - s->sent);
		accepted++;
		begin(s);
		break;
	case QUIT:
		end_session(s);
		break;
	default:
		break;
	}
}

/* False when there is no more for now. */
static bool read_on(struct session *s)
{
	const double started = s->started;
	const size_t n = moved(s,
		s->tls != NULL ? SSL_read(s->tls, s->in + s->len, (int)(sizeof s->in - 1 - s->len))
			       : recv(s->fd, s->in + s->len, sizeof s->in - 1 - s->len, 0),
		"the server closed a connection");
	char *at = s->in, *end;

	if (n == 0)
		return false;
	s->len += n;
	s->in[s->len] = '\0';
	while ((end = strchr(at, '\n')) != NULL) {
		const SSL *layer = s->tls;

		if (end - at > 3 && at[3] == ' ')
			take(s, at);
		if (s->step == IDLE || s->started != started)
			return false; /* the session is over */
		if (s->tls != layer)
			return true;
		at = end + 1;
	}
	s->len -= (size_t)(at - s->in);
	memmove(s->in, at, s->len);
	return true;
}

/* Some header, then whole lines, then the dot: `size` bytes in all. What is the same in each mail is written once. */
static char *make_content(void)
{
	char *content = malloc(size);

	if (content == NULL)
		fail("memory");
	for (size_t i = 0; i < lines; i++)
		memcpy(content + head + i * BODY_LINE + BODY_TEXT, "\r\n", 2);
	memcpy(content + size - 3, ".\r\n", 3);
	return content;
}

static void make_tls(const char *version)
{
	const int number = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

	tls_context = SSL_CTX_new(TLS_client_method());
	if (tls_context == NULL || SSL_CTX_set_min_proto_version(tls_context, number) != 1 ||
		SSL_CTX_set_max_proto_version(tls_context, number) != 1)
		fail("TLS");
	SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: load [-m MAILS] [-t VERSION] [-l] [-k] ADDRESS PORT CONNECTIONS FIRST COUNT SIZE DOMAINS\n");
	return 2;
}

static void run(unsigned connections)
{
	struct epoll_event events[64];
	double said = now();

	sessions = calloc(keep ? (size_t)(end_number - next_number) : connections, sizeof *sessions);
	if (sessions == NULL)
		fail("memory");
	next_kept = sessions + connections;
	printf("%.6f 0\n", said);
	for (unsigned i = 0; i < connections; i++) {
		if (!keep)
			sessions[i].content = make_content();
		next_number += mails_per_session == 0;
		connect_session(&sessions[i]);
	}
	while (keep ? !stopping : idle < connections) {
		int count = epoll_wait(poll_fd, events, 64, 100);

		for (int i = 0; i < count; i++) {
			struct session *s = events[i].data.ptr;

			write_on(s);
			while (read_on(s))
				;
			write_on(s);
		}
		if (now() - said >= 0.1) {
			said = now();
			printf("%.6f %lld\n", said, (long long)accepted);
		}
	}
}

int main(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "m:t:lk")) != -1) {
		if (option == 'm')
			mails_per_session = atoll(optarg);
		else if (option == 't')
			make_tls(optarg);
		else if (option == 'l')
			timed = true;
		else if (option == 'k')
			keep = true;
		else
			return usage();
	}
	argv += optind - 1;
	if (argc - optind != 7 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		return usage();
	server.sin_family = AF_INET;
	server.sin_port = htons((uint16_t)atoi(argv[2]));
	next_number = atoll(argv[4]);
	end_number = atoll(argv[5]) == 0 ? INT64_MAX : next_number + atoll(argv[5]);
	size = (size_t)atoll(argv[6]);
	domains = (size_t)atoll(argv[7]);
	if (size < 400)
		fail("SIZE is below 400");
	if (keep) {
		mails_per_session = 0;
		if (atoll(argv[3]) > atoll(argv[5]))
			fail("-k needs COUNT, and at least CONNECTIONS of them");
		if (tls_context != NULL)
			SSL_CTX_set_mode(tls_context, SSL_MODE_RELEASE_BUFFERS);
	}
	lines = (size - HEAD) / BODY_LINE;
	head = size - 3 - lines * BODY_LINE;
	body_make_table();
	signal(SIGTERM, stop);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* who started it may be killed before it can end it */
	setvbuf(stdout, NULL, _IOLBF, 0);
	poll_fd = epoll_create1(0);
	run((unsigned)atoi(argv[3]));
	printf("%.6f %lld\n", now(), (long long)accepted);
	if (timed) {
		figures_say("accept", &accept_times);
		figures_say("session", &session_times);
	}
	return 0;
}
