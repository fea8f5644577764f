/*
 * Takes all mail on many loopback addresses at once, 127.1.0.0 on, in one thread, and prints each tenth of a second how much came: "TIME MAILS
 * UNIQUE CONNECTIONS DAMAGED", TIME as CLOCK_MONOTONIC in seconds; UNIQUE counts different numbers in the field X-Bench, so that lost and repeated
 * mail shows, and DAMAGED the mails whose body is not, line by line, what load writes under that number (body.h). The very first mail makes a line of
 * its own. Addresses of places named by "dead" are not listened on; those of "silent" accept and say nothing;
 * those of "deaf" do not even answer a SYN, because their queue of connections is full. Nothing is stored. All replies to pipelined commands leave in one write.
 *
 *     sink [-c PEM] PORT COUNT [dead|silent|deaf PLACE]...        PLACE i = 127.1.(i / 256).(i mod 256)
 *
 * -c: offer STARTTLS with the certificate and key in this file.  At the end it says "sessions ALL TLS", and when the sender put its time into
 * mails (field X-Time) "relay P50 P99" in ms and "last TIME", when the last of those mails came.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <openssl/ssl.h>
#include "body.h"
#include "figures.h"

enum { IN = 65536, OUT = 8192, NUMBERS = 1 << 24 };

struct peer {
	int fd;
	bool listens, silent, in_data, in_body;
	bool damaged; /* the mail that comes */
	uint64_t number, lines, line;
	SSL *tls;
	double sent; /* of the mail that comes */
	size_t len, out_len;
	char *in, *out;
};

static volatile sig_atomic_t stopping;
static uint8_t seen[NUMBERS / 8];
static uint64_t mails, unique, connections, damaged, tls_sessions;
static double last;
static struct figures relay_times;
static SSL_CTX *tls_context;
static int poll_fd;

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

static void report(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("%lld.%06ld %llu %llu %llu %llu\n", (long long)t.tv_sec, t.tv_nsec / 1000,
		(unsigned long long)mails, (unsigned long long)unique, (unsigned long long)connections,
		(unsigned long long)damaged);
}

static void fail(const char *what)
{
	fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(struct peer *peer)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };

	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, peer->fd, &event) < 0)
		fail("epoll");
}

static void reply(struct peer *peer, const char *text)
{
	size_t len = strlen(text);

	if (peer->out_len + len > OUT)
		fail("too many commands at once");
	memcpy(peer->out + peer->out_len, text, len);
	peer->out_len += len;
}

static void flush(struct peer *peer)
{
	if (peer->out_len > 0 && peer->tls != NULL)
		(void)!SSL_write(peer->tls, peer->out, (int)peer->out_len);
	else if (peer->out_len > 0)
		(void)!send(peer->fd, peer->out, peer->out_len, MSG_NOSIGNAL);
	peer->out_len = 0;
}

static void end_mail(struct peer *peer)
{
	peer->in_data = false;
	damaged += peer->damaged || peer->line != peer->lines;
	reply(peer, "250 2.0.0 taken\r\n");
	if (++mails == 1)
		report();
	if (peer->sent > 0) {
		last = now();
		figures_add(&relay_times, last - peer->sent);
	}
}

static void take_header(struct peer *peer, const char *line, size_t len)
{
	char *end;

	if (len == 2) {
		peer->in_body = true;
	} else if (len > 9 && memcmp(line, "X-Bench: ", 9) == 0) {
		peer->number = strtoull(line + 9, &end, 10);
		peer->lines = strtoull(end, NULL, 10);

		const uint64_t number = peer->number % NUMBERS;

		unique += (seen[number / 8] >> number % 8 & 1) == 0;
		seen[number / 8] |= (uint8_t)(1 << number % 8);
	} else if (len > 8 && memcmp(line, "X-Time: ", 8) == 0) {
		peer->sent = atof(line + 8);
	}
}

/* A mail without a number is not looked at. */
static void take_data(struct peer *peer, const char *line, size_t len)
{
	if (len == 3 && line[0] == '.') {
		end_mail(peer);
	} else if (!peer->in_body) {
		take_header(peer, line, len);
	} else if (peer->lines > 0) {
		peer->damaged |= len != BODY_LINE || line[BODY_TEXT] != '\r' ||
				 memcmp(line, body_line(peer->number, peer->line), BODY_TEXT) != 0;
		peer->line++;
	}
}

/* Here the 220 leaves, and the handshake begins with what comes next. */
static void start_tls(struct peer *peer)
{
	flush(peer);
	tls_sessions++;
	peer->tls = SSL_new(tls_context);
	if (peer->tls == NULL || SSL_set_fd(peer->tls, peer->fd) != 1)
		fail("TLS");
	SSL_set_accept_state(peer->tls);
}

/* False when the peer is done. */
static bool take_command(struct peer *peer, const char *line)
{
	if (strncasecmp(line, "EHLO", 4) == 0) {
		reply(peer, "250-sink.test\r\n250-PIPELINING\r\n");
		if (tls_context != NULL && peer->tls == NULL)
			reply(peer, "250-STARTTLS\r\n");
		reply(peer, "250 8BITMIME\r\n");
	} else if (strncasecmp(line, "STARTTLS", 8) == 0 && tls_context != NULL) {
		reply(peer, "220 2.0.0 go on\r\n");
		start_tls(peer);
	} else if (strncasecmp(line, "DATA", 4) == 0) {
		peer->in_data = true;
		peer->in_body = peer->damaged = false;
		peer->number = peer->lines = peer->line = 0;
		peer->sent = 0;
		reply(peer, "354 go on\r\n");
	} else if (strncasecmp(line, "QUIT", 4) == 0) {
		reply(peer, "221 2.0.0 bye\r\n");
		return false;
	} else {
		reply(peer, "250 2.0.0 fine\r\n");
	}
	return true;
}

static void drop(struct peer *peer)
{
	SSL_free(peer->tls);
	close(peer->fd);
	free(peer->in);
	free(peer->out);
	free(peer);
}

/* True while there may be more: nothing is waited for. */
static bool read_on(struct peer *peer, bool *open)
{
	const size_t room = IN - 1 - peer->len;
	const ssize_t n = peer->tls != NULL ? SSL_read(peer->tls, peer->in + peer->len, (int)room)
					    : recv(peer->fd, peer->in + peer->len, room, 0);

	if (n > 0) {
		peer->len += (size_t)n;
		return peer->tls != NULL;
	}
	*open = peer->tls != NULL ? SSL_get_error(peer->tls, (int)n) == SSL_ERROR_WANT_READ
				  : n < 0 && errno == EAGAIN;
	return false;
}

static void on_input(struct peer *peer)
{
	bool more = true, again;

	do {
		char *at = peer->in, *end;
		const SSL *layer = peer->tls;

		again = read_on(peer, &more);
		while (more && !peer->silent && layer == peer->tls &&
			(end = memchr(at, '\n', peer->len - (size_t)(at - peer->in))) != NULL) {
			*end = '\0';
			if (peer->in_data)
				take_data(peer, at, (size_t)(end + 1 - at));
			else
				more = take_command(peer, at);
			at = end + 1;
		}
		peer->len -= (size_t)(at - peer->in);
		memmove(peer->in, at, peer->len);
	} while (again && more && peer->len < IN - 1);
	flush(peer);
	if (!more || peer->len == IN - 1)
		drop(peer);
}

static void on_connection(const struct peer *listener)
{
	struct peer *peer = calloc(1, sizeof *peer);
	int yes = 1;

	if (peer == NULL || (peer->in = malloc(IN)) == NULL || (peer->out = malloc(OUT)) == NULL)
		fail("memory");
	peer->fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
	if (peer->fd < 0 || setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
		fail("accept");
	peer->silent = listener->silent;
	connections++;
	if (!peer->silent)
		reply(peer, "220 sink.test ESMTP\r\n");
	flush(peer);
	watch(peer);
}

static bool named(char **argv, const char *what, int place)
{
	for (; argv[0] != NULL && argv[1] != NULL; argv += 2)
		if (strcmp(argv[0], what) == 0 && atoi(argv[1]) == place)
			return true;
	return false;
}

/* The kernel drops what would make the queue of a listener longer. */
static void fill(const struct sockaddr_in *address)
{
	for (int i = 0; i < 4; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
			errno != EINPROGRESS)
			fail("connect");
	}
}

static void start_listener(int place, int port, bool silent, bool deaf)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct peer *listener = calloc(1, sizeof *listener);
	int yes = 1;

	address.sin_addr.s_addr = htonl(0x7f010000u + (uint32_t)place);
	if (listener == NULL)
		fail("memory");
	*listener = (struct peer){ .fd = socket(AF_INET, SOCK_STREAM, 0), .listens = true, .silent = silent };
	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(listener->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
		listen(listener->fd, deaf ? 0 : 512) < 0)
		fail("listen");
	if (deaf)
		fill(&address);
	else
		watch(listener);
}

static void make_tls(const char *file)
{
	tls_context = SSL_CTX_new(TLS_server_method());
	if (tls_context == NULL || SSL_CTX_use_certificate_chain_file(tls_context, file) != 1 ||
		SSL_CTX_use_PrivateKey_file(tls_context, file, SSL_FILETYPE_PEM) != 1)
		fail(file);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 20000, 20000 };
	struct epoll_event events[256];
	struct timespec said = { 0 }, t;
	uint64_t said_mails = 0;

	if (argc > 2 && strcmp(argv[1], "-c") == 0) {
		make_tls(argv[2]);
		argv += 2;
		argc -= 2;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: sink [-c PEM] PORT COUNT [dead|silent|deaf PLACE]...\n");
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTERM, stop);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* who started it may be killed before it can end it */
	body_make_table();
	poll_fd = epoll_create1(0);
	for (int place = 0; place < atoi(argv[2]); place++)
		if (!named(argv + 3, "dead", place))
			start_listener(place, atoi(argv[1]), named(argv + 3, "silent", place),
				named(argv + 3, "deaf", place));
	printf("listening\n");
	while (!stopping) {
		int count = epoll_wait(poll_fd, events, 256, 100);

		for (int i = 0; i < count; i++) {
			struct peer *peer = events[i].data.ptr;

			if (peer->listens)
				on_connection(peer);
			else
				on_input(peer);
		}
		clock_gettime(CLOCK_MONOTONIC, &t);
		if (mails > said_mails &&
			(t.tv_sec - said.tv_sec) * 1000 + (t.tv_nsec - said.tv_nsec) / 1000000 >= 100) {
			report();
			said = t;
			said_mails = mails;
		}
	}
	report();
	if (relay_times.count > 0 || tls_context != NULL)
		printf("sessions %llu %llu\n", (unsigned long long)connections,
			(unsigned long long)tls_sessions);
	figures_say("relay", &relay_times);
	if (relay_times.count > 0)
		printf("last %.6f\n", last);
	return 0;
}
