/*
 * The only file in which a session or a delivery waits for the network. Sockets are non-blocking; one poll on the
 * socket and the stop descriptor under one absolute deadline makes the code above it straight-line.
 */
#include "net/conn.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "net/tls.h"
#include "net/tls_sessions.h"

enum { BUFFER = 16384, DRAIN_MS = 1000, DRAIN_MAX = 4 * 1024 * 1024 };

/* Handshake messages behind the handshake (new keys, tickets, wishes to negotiate again): so many are free in a connection, and one more for so
 * many bytes of data. Honest peers change keys after gigabytes. */
enum { MESSAGES_FREE = 32, BYTES_FOR_MESSAGE = 65536 };

struct conn_private {
	int fd, stop_fd;
	int64_t deadline;
	SSL *ssl;
	uint64_t data, messages; /* received in TLS */
	unsigned long alert;	 /* OpenSSL's error for the one that ended TLS; 0 = none */
	bool asked; /* as client: the handshake failed, and the peer had asked for a certificate */
	bool told;  /* it was the last to hear something, so it has hardly answered yet */
	size_t in_start, in_len, out_len;
	char *in, *out; /* BUFFER bytes each, there only while they hold something */
};

static int private_destroy(struct conn_private *p)
{
	if (p->ssl != NULL) {
		SSL_shutdown(p->ssl);
		SSL_free(p->ssl);
		ERR_clear_error();
	}
	base_close(&p->fd);
	return 0;
}

struct conn *conn_new(int fd)
{
	struct conn *conn = text_must(talloc_zero(NULL, struct conn));
	struct conn_private *p = text_must(talloc_zero(conn, struct conn_private));
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof address;

	conn->private = p;
	p->fd = fd;
	p->stop_fd = -1;
	talloc_set_destructor(p, private_destroy);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (getpeername(fd, (struct sockaddr *)&address, &len) == 0)
		conn->peer = ip_from_sockaddr(&address);
	len = sizeof address;
	if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
		conn->local = ip_from_sockaddr(&address);
	conn->evidence.desired = conn->evidence.obtained = "none";
	return conn;
}

void conn_free(struct conn *conn)
{
	talloc_free(conn);
}

void conn_freep(struct conn **conn)
{
	conn_free(*conn);
	*conn = NULL;
}

void conn_set_deadline(struct conn *conn, int64_t deadline)
{
	conn->private->deadline = deadline;
}

void conn_set_stop(struct conn *conn, int stop_fd)
{
	conn->private->stop_fd = stop_fd;
}

static int wait_conn(struct conn_private *p, short events)
{
	return io_wait(p->fd, events, p->stop_fd, p->deadline);
}

int conn_dial(const struct ip *address, const struct ip *source, int stop_fd, int64_t deadline,
	struct conn **ret_conn)
{
	struct sockaddr_storage to;
	socklen_t len = ip_to_sockaddr(address, &to);
	CLEANUP(base_close) int fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (source != NULL && source->family != 0) {
		struct sockaddr_storage from;
		socklen_t from_len = ip_to_sockaddr(source, &from);

		if (bind(fd, (struct sockaddr *)&from, from_len) < 0)
			return -errno;
	}
	if (connect(fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
		return -errno;

	int r = io_wait(fd, POLLOUT, stop_fd, deadline);
	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error }) < 0 || error != 0)
		return error != 0 ? -error : -errno;

	*ret_conn = conn_new(base_take(&fd));
	conn_set_stop(*ret_conn, stop_fd);
	return 0;
}

/* Called by OpenSSL for each message. It would read messages without data for ever inside one SSL_read(), whatever the deadline says: as if the
 * peer had ended TLS it returns. */
static void count_message(
	int sent, int version, int type, const void *bytes, size_t len, SSL *ssl, void *argument)
{
	struct conn *conn = argument;
	struct conn_private *p = conn->private;

	(void)version, (void)bytes, (void)len;
	if (sent || type != SSL3_RT_HANDSHAKE || ++p->messages <= MESSAGES_FREE + p->data / BYTES_FOR_MESSAGE)
		return;
	conn->flooded = true;
	SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

/* OpenSSL's reason for an alert is its number and an offset. */
static void note_alert(struct conn_private *p)
{
	const unsigned long error = ERR_peek_last_error();

	if (ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET)
		p->alert = error;
}

/* What an unfinished SSL call is waiting for; 0 when it may be tried again. */
static int tls_wait(struct conn *conn, int result)
{
	struct conn_private *p = conn->private;

	if (conn->flooded)
		return ERR_FLOOD;
	switch (SSL_get_error(p->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return wait_conn(p, POLLIN);
	case SSL_ERROR_WANT_WRITE:
		return wait_conn(p, POLLOUT);
	case SSL_ERROR_ZERO_RETURN:
	case SSL_ERROR_SYSCALL:
		return ERR_CLOSED;
	default:
		note_alert(p);
		/* A peer that closes without close_notify is a closed connection, anything else a broken record. */
		return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? ERR_CLOSED
											      : ERR_TLS;
	}
}

/* Receive once into the free part of the input buffer. */
static int fill(struct conn *conn)
{
	struct conn_private *p = conn->private;

	if (p->in == NULL)
		p->in = text_must(talloc_size(p, BUFFER));
	if (p->in_start > 0) {
		memmove(p->in, p->in + p->in_start, p->in_len);
		p->in_start = 0;
	}

	for (;;) {
		char *at = p->in + p->in_len;
		size_t room = BUFFER - p->in_len;
		ssize_t n;
		int r = p->told && (p->ssl == NULL || !SSL_has_pending(p->ssl)) ? wait_conn(p, POLLIN) : 0;

		if (r < 0)
			return r;
		p->told = false;
		if (p->ssl != NULL) {
			ERR_clear_error();
			n = SSL_read(p->ssl, at, (int)room);
			r = n > 0 ? 0 : tls_wait(conn, (int)n);
			p->data += n > 0 ? (uint64_t)n : 0;
		} else {
			n = recv(p->fd, at, room, 0);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				return ERR_CLOSED;
			r = n > 0 ? 0 : wait_conn(p, POLLIN);
		}
		if (r < 0)
			return r;
		if (n > 0) {
			p->in_len += (size_t)n;
			return 0;
		}
	}
}

void conn_take(struct conn *conn, size_t len)
{
	struct conn_private *p = conn->private;

	p->in_start += len;
	p->in_len -= len;
}

/* An idle connection keeps no buffer. */
static void release_input(struct conn_private *p)
{
	if (p->in_len == 0 && p->in != NULL && p->ssl != NULL && SSL_has_pending(p->ssl) == 0) {
		TALLOC_FREE(p->in);
		p->in_start = 0;
	}
}

/* Take a whole line out of the buffer; 1, 0 when more bytes are needed, or ERR_TOO_LONG. */
static int take_line(struct conn *conn, size_t max, struct text *ret_line, bool *ret_bare_lf)
{
	struct conn_private *p = conn->private;

	if (p->in_len == 0)
		return 0;

	struct text have = { p->in + p->in_start, p->in_len };
	size_t end = text_find(have, '\n');
	bool crlf = end > 0 && end < have.len && have.at[end - 1] == '\r';
	if ((crlf ? end - 1 : end) > max + (end == have.len))
		return ERR_TOO_LONG;
	if (end == have.len)
		return 0;

	*ret_line = text_first(have, crlf ? end - 1 : end);
	*ret_bare_lf = !crlf;
	conn_take(conn, end + 1);
	return 1;
}

int conn_read_line(struct conn *conn, size_t max, struct text *ret_line, bool *ret_bare_lf)
{
	struct conn_private *p = conn->private;

	if (p->in_len == 0)
		release_input(p);
	for (;;) {
		int r = take_line(conn, max, ret_line, ret_bare_lf);

		if (r == 0)
			r = fill(conn);
		else if (r > 0)
			return 0;
		if (r < 0)
			return r;
	}
}

int conn_peek_more(struct conn *conn, size_t seen, struct text *ret_bytes)
{
	struct conn_private *p = conn->private;

	if (p->in_len <= seen) {
		int r = p->in_len == BUFFER ? ERR_TOO_LONG : fill(conn);

		if (r < 0)
			return r;
	}
	*ret_bytes = (struct text){ p->in + p->in_start, p->in_len };
	return 0;
}

int conn_peek(struct conn *conn, struct text *ret_bytes)
{
	return conn_peek_more(conn, 0, ret_bytes);
}

/* Received bytes wait in the TLS layer: they may be a ticket, or a part of a record, which are no input yet. */
static bool take_received(struct conn_private *p)
{
	if (p->in == NULL)
		p->in = text_must(talloc_size(p, BUFFER));
	p->in_start = 0;
	ERR_clear_error();
	const int n = SSL_read(p->ssl, p->in, BUFFER);
	if (n <= 0)
		note_alert(p);
	p->in_len = n > 0 ? (size_t)n : 0;
	p->data += p->in_len;
	return p->in_len > 0;
}

bool conn_has_input(struct conn *conn)
{
	struct conn_private *p = conn->private;

	return p->in_len > 0 || (p->ssl != NULL && SSL_has_pending(p->ssl) && take_received(p));
}

bool conn_is_readable(struct conn *conn)
{
	struct pollfd polled = { .fd = conn->private->fd, .events = POLLIN };

	return conn_has_input(conn) || poll(&polled, 1, 0) > 0;
}

bool conn_has_line(struct conn *conn)
{
	const struct conn_private *p = conn->private;

	return p->in_len > 0 && memchr(p->in + p->in_start, '\n', p->in_len) != NULL;
}

/* It may be behind what nobody has read, when it was sending that failed. */
bool conn_tls_alert(struct conn *conn, char *ret_text, size_t size)
{
	struct conn_private *p = conn->private;
	char unread[1024];
	size_t left = p->ssl == NULL ? 0 : BUFFER;

	while (p->alert == 0 && left >= sizeof unread) {
		ERR_clear_error();
		const int n = SSL_read(p->ssl, unread, sizeof unread);
		left = n > 0 ? left - sizeof unread : 0;
		note_alert(p);
	}
	if (p->alert != 0)
		snprintf(ret_text, size, "%s", ERR_reason_error_string(p->alert));
	ERR_clear_error();
	return p->alert != 0;
}

/* As client: a CertificateRequest has come. From TLS 1.2 on it names the signatures that are taken. */
static bool was_asked(SSL *ssl)
{
	return SSL_get_sigalgs(ssl, -1, NULL, NULL, NULL, NULL, NULL) > 0 ||
	       SSL_get0_peer_CA_list(ssl) != NULL;
}

bool conn_tls_blames_us(const struct conn *conn)
{
	const struct conn_private *p = conn->private;

	if (p->asked || (p->ssl != NULL && was_asked(p->ssl)))
		return true;
	switch (p->alert == 0 ? 0 : ERR_GET_REASON(p->alert) - SSL_AD_REASON_OFFSET) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case SSL_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

/* Send all of `bytes` now. */
static int send_all(struct conn *conn, struct text bytes)
{
	struct conn_private *p = conn->private;

	p->told = true;
	while (bytes.len > 0) {
		ssize_t n;
		int r;

		if (p->ssl != NULL) {
			ERR_clear_error();
			n = SSL_write(p->ssl, bytes.at, (int)bytes.len);
			r = n > 0 ? 0 : tls_wait(conn, (int)n);
		} else {
			n = send(p->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return ERR_CLOSED;
			r = n > 0 ? 0 : wait_conn(p, POLLOUT);
		}
		if (r < 0)
			return r;
		if (n > 0)
			bytes = text_from(bytes, (size_t)n);
	}
	return 0;
}

int conn_flush(struct conn *conn)
{
	struct conn_private *p = conn->private;

	if (p->out_len == 0)
		return 0;

	int r = send_all(conn, (struct text){ p->out, p->out_len });
	explicit_bzero(p->out, p->out_len); /* it may have been a password */
	p->out_len = 0;
	TALLOC_FREE(p->out);
	return r;
}

int conn_write(struct conn *conn, struct text bytes)
{
	struct conn_private *p = conn->private;

	while (bytes.len > 0) {
		if (p->out == NULL)
			p->out = text_must(talloc_size(p, BUFFER));

		size_t n = MIN(bytes.len, BUFFER - p->out_len);
		memcpy(p->out + p->out_len, bytes.at, n);
		p->out_len += n;
		bytes = text_from(bytes, n);
		if (p->out_len == BUFFER) {
			int r = conn_flush(conn);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

void conn_drain(struct conn *conn)
{
	struct conn_private *p = conn->private;
	int64_t deadline = clock_mono_ms() + DRAIN_MS;
	size_t left = DRAIN_MAX;
	char waste[4096];
	ssize_t n;

	if (!conn_is_readable(conn))
		return;
	shutdown(p->fd, SHUT_WR);
	do {
		n = recv(p->fd, waste, sizeof waste, 0);
		if (n < 0 && (errno != EAGAIN || io_wait(p->fd, POLLIN, p->stop_fd, deadline) < 0))
			break;
		left -= n > 0 ? MIN(left, (size_t)n) : 0;
	} while (n != 0 && left > 0);
}

static int handshake(
	struct conn *conn, struct tls_context *context, int (*step)(SSL *), const struct tls_peer *peer)
{
	struct conn_private *p = conn->private;
	int r = 0;

	if (conn_has_input(conn) || p->out_len > 0)
		return ERR_FORMAT;

	TALLOC_FREE(p->in);
	p->ssl = text_must(SSL_new(tls_context_native(context)));
	if (SSL_set_fd(p->ssl, p->fd) != 1 || (peer != NULL && tls_expect(p->ssl, p, peer) < 0))
		return ERR_TLS;

	if (peer == NULL)
		r = wait_conn(p, POLLIN); /* the client begins */
	while (r == 0) {
		ERR_clear_error();
		int n = step(p->ssl);

		if (n == 1)
			break;
		r = tls_wait(conn, n);
	}
	p->asked = r < 0 && !SSL_is_server(p->ssl) && was_asked(p->ssl);
	if (r == ERR_TLS || r == ERR_CLOSED) {
		tls_error_text(conn->evidence.reason, sizeof conn->evidence.reason);
		SSL_free(p->ssl);
		p->ssl = NULL;
		return ERR_TLS;
	}
	if (r < 0) {
		evidence_explain(&conn->evidence,
			r == -ETIMEDOUT ? "the TLS handshake timed out" : "stopped during the TLS handshake");
		SSL_free(p->ssl);
		p->ssl = NULL;
		return r;
	}
	conn->secured = true;
	SSL_set_msg_callback(p->ssl, count_message);
	SSL_set_msg_callback_arg(p->ssl, conn);
	tls_observe(p->ssl, &conn->evidence);
	return 0;
}

int conn_tls_accept(struct conn *conn, struct tls_context *context)
{
	return handshake(conn, context, SSL_accept, NULL);
}

int conn_tls_connect(struct conn *conn, struct tls_context *context, const struct tls_peer *peer)
{
	return handshake(conn, context, SSL_connect, peer);
}

const STACK_OF(X509) * conn_tls_chain(const struct conn *conn)
{
	return conn->private->ssl == NULL ? NULL : SSL_get_peer_cert_chain(conn->private->ssl);
}

void conn_tls_signature(const struct conn *conn, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	if (conn->private->ssl != NULL)
		tls_signature(conn->private->ssl, ret_text, size);
}

void conn_tls_approve(struct conn *conn)
{
	conn->evidence.obtained = "verified";
	tls_sessions_approve(conn->private->ssl);
}
