#pragma once
/* A whole SMTP session on the bench: the real session/, with stand-ins for net/conn, queue/queue, report/notes and session/call_ahead. A model of the client listens in: what it was promised, and what it therefore expects, is checked against what happened. */

#include <stddef.h>
#include <stdint.h>

enum session_house { HOUSE_OPEN, HOUSE_TLS_REQUIRED, HOUSE_TLS_PREFERRED, HOUSE_TINY, HOUSE_COUNT };

struct session_script {
	enum session_house house;
	int commit_answer;   /* 0 = stored; else the negative error */
	int early;	     /* the first turn is sent before the greeting */
	int broken_tls;	     /* the handshake fails */
	const char *prelude; /* turns before `bytes`, one a line; "" = none */
	const uint8_t *
		bytes; /* what the client says: a byte 0xff ends a turn, that is, the client waits for the answer first */
	size_t len;
};

/* Play one session to its end; aborts when a promise is broken. */
void session_play(const struct session_script *script);
