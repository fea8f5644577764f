#pragma once
/*
 * One TCP connection, in clear or in TLS, read and written as if blocking: every wait ends at the connection's deadline or
 * when its stop descriptor becomes readable. Owned by one thread; a talloc root, so that it can be handed over.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "net/evidence.h"

struct stack_st_X509;
struct tls_context;
struct tls_peer;

struct conn {
	struct ip peer, local;
	struct evidence
		evidence; /* of this leg; `desired` and `reason` are set by the user of the connection */
	bool secured;	  /* TLS is up */
	bool flooded;	  /* it sent more TLS messages without data than it may: ERR_FLOOD from then on */
	struct conn_private *private;
};

/* Take over the connected socket `fd` (closed with the connection). Never NULL. */
struct conn *conn_new(int fd);

/* Connect to `address` (from `source` unless its family is 0) before `deadline`; 0 and the connection, or a negative error. */
int conn_dial(const struct ip *address, const struct ip *source, int stop_fd, int64_t deadline,
	struct conn **ret_conn);

/* Close and free; NULL is fine. For CLEANUP(conn_freep). */
void conn_free(struct conn *conn);
void conn_freep(struct conn **conn);

/* Waits end at `deadline` (clock_mono_ms(), absolute). */
void conn_set_deadline(struct conn *conn, int64_t deadline);

/* Waits end with ERR_STOPPED once `stop_fd` is readable; -1 = never. */
void conn_set_stop(struct conn *conn, int stop_fd);

/* Read one line of at most `max` bytes, without its line end; borrowed until the next read. ret_bare_lf: it ended in LF without CR.
 * 0, or -ETIMEDOUT, ERR_STOPPED, ERR_CLOSED, ERR_TLS, ERR_TOO_LONG (nothing was taken). */
int conn_read_line(struct conn *conn, size_t max, struct text *ret_line, bool *ret_bare_lf);

/* After a call failed in TLS: the words of the alert by which the peer has ended it, in `ret_text`; false when it sent none. Nothing is waited for. */
bool conn_tls_alert(struct conn *conn, char *ret_text, size_t size);

/* As client, after TLS failed: it may be for our certificate, or for its absence: the peer had asked for one, or has said so by an alert. */
bool conn_tls_blames_us(const struct conn *conn);

/* Wait until at least one byte is there and show what is (at most 16 KiB), without taking it; borrowed until the next read. */
int conn_peek(struct conn *conn, struct text *ret_bytes);

/* As conn_peek(), but wait until more than `seen` bytes are there; ERR_TOO_LONG when the buffer holds no more. */
int conn_peek_more(struct conn *conn, size_t seen, struct text *ret_bytes);

/* Take the first `len` bytes that conn_peek() showed. */
void conn_take(struct conn *conn, size_t len);

/* True when bytes have been received and not taken: the peer did not wait for our answer. */
bool conn_has_input(struct conn *conn);

/* True when a whole line has been received and not taken: the next conn_read_line() will not wait. */
bool conn_has_line(struct conn *conn);

/* True when bytes (or the end) wait in the kernel or here: for a peer that must not have spoken yet. */
bool conn_is_readable(struct conn *conn);

/* Queue bytes for sending; sent by conn_flush(), or on the way when the buffer is full. 0 or a negative error. */
int conn_write(struct conn *conn, struct text bytes);

/* Send everything queued. */
int conn_flush(struct conn *conn);

/* The last word was said: what the peer is still sending is read and thrown away for a moment, so that closing does not reset the
 * connection before the peer has heard it. */
void conn_drain(struct conn *conn);

/* Do the TLS handshake as server, or as client that expects `peer` (NULL: anybody, and no name is asked for). Unread clear bytes must be none: else ERR_FORMAT.
 * On success `secured` and the evidence are set; ERR_TLS leaves the reason in the evidence; then only conn_free() is left to do. */
int conn_tls_accept(struct conn *conn, struct tls_context *context);
int conn_tls_connect(struct conn *conn, struct tls_context *context, const struct tls_peer *peer);

/* As client, in TLS: the certificates that the server showed, its own first, or those of the handshake that is resumed; NULL = none. Borrowed while the
 * connection lives. */
const struct stack_st_X509 *conn_tls_chain(const struct conn *conn);

/* As client, in TLS: how the server signed the handshake, as tls_signature(). */
void conn_tls_signature(const struct conn *conn, char *ret_text, size_t size);

/* Its certificate was verified: the evidence says so, and its sessions may be kept. */
void conn_tls_approve(struct conn *conn);
