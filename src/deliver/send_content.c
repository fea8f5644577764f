/*
 * Content is read in small pieces, once to know what it needs of the peer and how long it is on the wire, once to send it. A link on which
 * only a part was sent is broken: nothing may follow.
 */
#include "deliver/send_content.h"

#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "deliver/link.h"
#include "queue/envelope.h"
#include "wire/header_scan.h"
#include "wire/mail_data.h"

enum { CHUNK = 16384 };

/* A piece of the content, as it is and as it is sent. */
struct pieces {
	char raw[CHUNK], encoded[2 * CHUNK + 8];
};

static struct pieces *pieces_new(void)
{
	return text_must(talloc_size(NULL, sizeof(struct pieces)));
}

static void pieces_free(struct pieces **pieces)
{
	talloc_free(*pieces);
}

/* The piece of the content at `offset`, in memory or in `buffer`; its length, or a negative error. */
static ssize_t piece(const struct content *content, uint64_t offset, char *buffer, struct text *ret_piece)
{
	size_t want = (size_t)MIN(content->size - offset, (uint64_t)CHUNK);

	if (content->fd < 0) {
		*ret_piece = (struct text){ content->bytes.at + offset, want };
		return (ssize_t)want;
	}
	ssize_t n = pread(content->fd, buffer, want, (off_t)offset);
	if (n <= 0)
		return n < 0 ? -errno : -ENODATA;
	*ret_piece = (struct text){ buffer, (size_t)n };
	return n;
}

int send_content_look(const struct content *content, struct send_content_facts *ret_facts)
{
	struct mail_data_out out = mail_data_out_start_counted();
	struct header_scan header = header_scan_start();
	struct send_content_facts facts = { 0 };
	CLEANUP(pieces_free) struct pieces *pieces = pieces_new();
	struct text bytes;
	ssize_t n;

	for (uint64_t done = 0; done < content->size; done += (uint64_t)n) {
		n = piece(content, done, pieces->raw, &bytes);
		if (n < 0)
			return (int)n;
		facts.eight_bit = facts.eight_bit || !text_is_ascii(bytes);
		header_scan_take(&header, bytes);
		facts.size += mail_data_out_take(&out, bytes, pieces->encoded);
	}
	facts.size += mail_data_out_end(&out, pieces->encoded);
	header_scan_end(&header);
	facts.utf8_header = header.eight_bit;
	*ret_facts = facts;
	return 0;
}

static int send_all(struct link *link, const struct content *content, struct mail_data_out *out)
{
	CLEANUP(pieces_free) struct pieces *pieces = pieces_new();
	struct text bytes;
	uint64_t done = 0;
	int r = 0;

	while (r == 0 && done < content->size) {
		ssize_t n = piece(content, done, pieces->raw, &bytes);

		if (n < 0)
			return (int)n;
		conn_set_deadline(link->conn, clock_mono_ms() + link->timeouts.block_ms);
		r = conn_write(link->conn,
			(struct text){ pieces->encoded, mail_data_out_take(out, bytes, pieces->encoded) });
		done += (uint64_t)n;
	}
	if (r == 0)
		r = conn_write(link->conn,
			(struct text){ pieces->encoded, mail_data_out_end(out, pieces->encoded) });
	conn_set_deadline(link->conn, clock_mono_ms() + link->timeouts.block_ms);
	return r == 0 ? conn_flush(link->conn) : r;
}

int send_content_data(struct link *link, const struct content *content)
{
	struct mail_data_out out = mail_data_out_start();
	int r = send_all(link, content, &out);

	link->broken = link->broken || r < 0;
	return r;
}

int send_content_chunk(struct link *link, const struct content *content, uint64_t size)
{
	struct mail_data_out out = mail_data_out_start_counted();
	int r = link_put(link, "BDAT %llu LAST", (unsigned long long)size);

	if (r == 0)
		r = send_all(link, content, &out);
	link->broken = link->broken || r < 0;
	return r;
}
