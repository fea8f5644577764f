/*
 * The original comes back as message/rfc822 or as text/rfc822-headers (RFC 6522 section 4), or under their names of RFC 6533. A header that
 * nobody can vouch for stands in a part of its own and is made printable; a whole message is what its sender wrote, and goes to nobody
 * else, so its bytes stay.
 */
#include "deliver/original.h"

#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "wire/header_scan.h"
#include "wire/report_text.h"

enum { HEADER_MAX = 32 * 1024 };

/* The first `size` bytes of the content; fewer when it cannot be read. */
static struct text read_first(const void *owner, const struct content *content, size_t size)
{
	char *bytes = text_must(talloc_size(owner, size + 1));
	size_t used = 0;

	if (content->fd < 0) {
		used = MIN(size, content->bytes.len);
		memcpy(bytes, content->bytes.at, used);
		return (struct text){ bytes, used };
	}
	while (used < size) {
		ssize_t n = pread(content->fd, bytes + used, size - used, (off_t)used);

		if (n <= 0)
			break;
		used += (size_t)n;
	}
	return (struct text){ bytes, used };
}

/* The bytes up to the next line end, a CRLF, CR or LF; ret_rest is what follows it. */
static struct text next_line(struct text t, struct text *ret_rest)
{
	size_t len = 0;

	while (len < t.len && t.at[len] != '\r' && t.at[len] != '\n')
		len++;
	size_t end = len + (len < t.len);
	if (len + 1 < t.len && t.at[len] == '\r' && t.at[len + 1] == '\n')
		end++;
	*ret_rest = text_from(t, end);
	return text_first(t, len);
}

/* Each line with CRLF behind it; printable when `form` says how. At most twice as long, and two. */
static struct text with_line_ends(const void *owner, struct text t, const enum report_text_form *form)
{
	char *out = text_must(talloc_size(owner, 2 * t.len + 2));
	size_t used = 0;

	while (t.len > 0) {
		struct text line = next_line(t, &t);

		if (form == NULL) {
			memcpy(out + used, line.at, line.len);
			used += line.len;
		} else {
			used += report_text_header(line, *form, out + used);
		}
		out[used++] = '\r';
		out[used++] = '\n';
	}
	return (struct text){ out, used };
}

/* The header without the line that ends it; whole lines of it when it is too long. */
static struct text header_of(const void *owner, const struct content *content)
{
	struct header_scan scan = header_scan_start();
	struct text t = read_first(owner, content, (size_t)MIN(content->size, (uint64_t)HEADER_MAX));

	header_scan_take(&scan, t);
	if (content->size <= HEADER_MAX)
		header_scan_end(&scan);
	if (scan.ended)
		return text_first(t, (size_t)scan.header_bytes);

	size_t end = text_find_last(t, '\n');
	return text_first(t, end < t.len ? end + 1 : 0);
}

struct original original_of(const void *owner, const struct content *content, bool whole, bool global)
{
	if (whole) {
		struct text all = read_first(owner, content, (size_t)content->size);

		/* A NUL has no place in any encoding but binary; and a report has to pass servers of seven bits. */
		if (all.len == content->size && text_find(all, '\0') == all.len &&
			(global || text_is_ascii(all)))
			return (struct original){ .type = global ? "message/global" : "message/rfc822",
				.bytes = with_line_ends(owner, all, NULL),
				.eight_bit = !text_is_ascii(all) };
	}

	enum report_text_form form = global ? REPORT_TEXT_UTF8 : REPORT_TEXT_ASCII;
	struct text header = with_line_ends(owner, header_of(owner, content), &form);
	return (struct original){ .type = global ? "message/global-headers" : "text/rfc822-headers",
		.bytes = header,
		.eight_bit = !text_is_ascii(header) };
}
