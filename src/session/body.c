/* Small mails never touch a file here; large ones go straight to the file that will hold them. */
#include "session/body.h"

#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "queue/queue.h"

static int body_destroy(struct body *body)
{
	base_close(&body->content.fd);
	return 0;
}

struct body *body_new(const void *owner)
{
	struct body *body = text_must(talloc_zero(owner, struct body));

	body->content.fd = -1;
	talloc_set_destructor(body, body_destroy);
	return body;
}

static void keep(struct body *body, struct text bytes)
{
	if (body->len + bytes.len > body->room) {
		body->room = MAX(body->room * 2, body->len + bytes.len);
		body->room = MAX(body->room, (size_t)8192);
		body->memory = text_must(talloc_realloc_size(body, body->memory, body->room));
	}
	memcpy(body->memory + body->len, bytes.at, bytes.len);
	body->len += bytes.len;
	body->content.size += bytes.len;
}

/* What is in memory goes to the file of `queue`, which is there from the first time on. */
static int write_out(struct body *body, struct peer *queue, int stop_fd)
{
	if (body->content.fd < 0) {
		int fd = queue_new_file(queue, 0, stop_fd);

		if (fd < 0)
			return fd;
		body->content.fd = fd;
	}

	int r = io_write_all(body->content.fd, (struct text){ body->memory, body->len });
	body->len = 0;
	return r;
}

int body_add(struct body *body, struct peer *queue, int stop_fd, struct text bytes)
{
	int r = 0;

	if (bytes.len == 0)
		return 0;
	if (body->len + bytes.len > ENVELOPE_INLINE_MAX)
		r = write_out(body, queue, stop_fd);
	if (r == 0)
		keep(body, bytes);
	return r;
}

int body_end(struct body *body, struct peer *queue, int stop_fd)
{
	if (body->content.fd >= 0)
		return write_out(body, queue, stop_fd);
	body->content.bytes = (struct text){ body->memory, body->len };
	return 0;
}
