/* From a trusted proxy the header must come, whole and right, before anything else is read: nothing of it ever reaches the SMTP parser. */
#include "listen/proxy_protocol.h"

#include "base/clock.h"
#include "base/err.h"
#include "net/conn.h"
#include "wire/proxy_header.h"

enum { HEADER_MS = 5000 };

int proxy_protocol_read(struct conn *conn)
{
	struct ip client;
	struct text bytes;
	size_t used, seen = 0;

	conn_set_deadline(conn, clock_mono_ms() + HEADER_MS);
	for (;;) {
		int r = conn_peek_more(conn, seen, &bytes);

		if (r < 0)
			return r;
		seen = bytes.len;
		r = proxy_header_parse(bytes, &client, &used);
		if (r < 0)
			return ERR_FORMAT;
		if (r == 0)
			continue;
		conn_take(conn, used);
		if (r == PROXY_HEADER_PROXIED)
			conn->peer = client;
		return 0;
	}
}
