/*
 * Hands mail to an SMTP server over some connections at once, each with the next mail as soon as the last one is answered, and prints each tenth
 * of a second how many were accepted: "TIME ACCEPTED", TIME as CLOCK_MONOTONIC in seconds. The number of a mail is in its field X-Bench; it goes
 * to u@dN.bench.test, N = number modulo DOMAINS. MAIL, RCPT and DATA leave in one write: Nagle's algorithm and delayed ACKs would measure
 * themselves.
 *
 *     load ADDRESS PORT CONNECTIONS FIRST COUNT SIZE DOMAINS        COUNT 0 = until SIGTERM
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GREETING, HELLO, MAIL, RCPT, DATA, END, IDLE };

struct session {
	int fd, step;
	int64_t number;
	char in[2048];
	size_t len;
};

static const int wanted[] = {
	[GREETING] = 220, [HELLO] = 250, [MAIL] = 250, [RCPT] = 250, [DATA] = 354, [END] = 250
};

static volatile sig_atomic_t stopping;
static char *content;
static size_t size, domains;
static int64_t next_number, end_number, accepted;
static unsigned idle;

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const struct session *s, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(s->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0)
			fail("send");
		bytes += n;
		len -= (size_t)n;
	}
}

static void begin(struct session *s)
{
	char text[200];

	if (stopping || next_number >= end_number) {
		s->step = IDLE;
		idle++;
		return;
	}
	s->number = next_number++;
	s->step = MAIL;
	snprintf(text, sizeof text, "MAIL FROM:<load@sender.test>\r\nRCPT TO:<u@d%zu.bench.test>\r\nDATA\r\n",
		(size_t)s->number % domains);
	say(s, text, strlen(text));
}

static void send_content(const struct session *s)
{
	char head[300];

	snprintf(head, sizeof head,
		"X-Bench: %012lld\r\nFrom: <load@sender.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%lld@sender.test>\r\n\r\n",
		(long long)s->number, (long long)s->number);
	memcpy(content, head, strlen(head));
	memset(content + strlen(head), 'x', sizeof head - strlen(head));
	say(s, content, size);
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
		begin(s);
		break;
	case DATA:
		send_content(s);
		break;
	case END:
		accepted++;
		begin(s);
		break;
	default:
		break;
	}
}

static void on_input(struct session *s)
{
	ssize_t n = recv(s->fd, s->in + s->len, sizeof s->in - 1 - s->len, 0);
	char *at = s->in, *end;

	if (n <= 0)
		fail("the server closed a connection");
	s->len += (size_t)n;
	s->in[s->len] = '\0';
	while ((end = strchr(at, '\n')) != NULL) {
		if (end - at > 3 && at[3] == ' ')
			take(s, at);
		at = end + 1;
	}
	s->len -= (size_t)(at - s->in);
	memmove(s->in, at, s->len);
}

/* Some header, then lines of 78 characters, then the dot: `size` bytes in all. */
static void make_content(void)
{
	content = malloc(size + 1);
	if (content == NULL || size < 400)
		fail("SIZE is below 400, or there is no memory");
	memset(content, 'x', size);
	for (size_t i = 300; i + 82 < size; i += 80)
		memcpy(content + i, "\r\n", 2);
	memcpy(content + size - 5, "\r\n.\r\n", 5);
}

static void open_session(struct session *s, const struct sockaddr_in *server, int poll)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };

	s->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)server, sizeof *server) < 0 ||
		epoll_ctl(poll, EPOLL_CTL_ADD, s->fd, &event) < 0)
		fail("connect");
}

int main(int argc, char **argv)
{
	struct sockaddr_in server = { .sin_family = AF_INET };
	struct epoll_event events[64];
	double said = now();

	if (argc != 8 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
		fprintf(stderr, "usage: load ADDRESS PORT CONNECTIONS FIRST COUNT SIZE DOMAINS\n");
		return 2;
	}
	server.sin_port = htons((uint16_t)atoi(argv[2]));
	unsigned connections = (unsigned)atoi(argv[3]);
	next_number = atoll(argv[4]);
	end_number = atoll(argv[5]) == 0 ? INT64_MAX : next_number + atoll(argv[5]);
	size = (size_t)atoll(argv[6]);
	domains = (size_t)atoll(argv[7]);
	make_content();
	signal(SIGTERM, stop);
	setvbuf(stdout, NULL, _IOLBF, 0);

	int poll = epoll_create1(0);
	struct session *sessions = calloc(connections, sizeof *sessions);
	for (unsigned i = 0; i < connections; i++)
		open_session(&sessions[i], &server, poll);
	while (idle < connections) {
		int count = epoll_wait(poll, events, 64, 100);

		for (int i = 0; i < count; i++)
			on_input(events[i].data.ptr);
		if (now() - said >= 0.1) {
			said = now();
			printf("%.6f %lld\n", said, (long long)accepted);
		}
	}
	printf("%.6f %lld\n", now(), (long long)accepted);
	return 0;
}
