/*
 * Packing and unpacking. Numbers are eight bytes in host order (both ends are the same binary), texts a four-byte
 * length and the bytes. The reader trusts nothing: a role may have been taken over by what it parses.
 */
#include "ipc/frame.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

static int frame_destroy(struct frame *frame)
{
	for (unsigned i = frame->fd_read; i < frame->fd_count; i++)
		base_close(&frame->fds[i]);
	if (frame->mapped > 0)
		munmap(frame->at, frame->mapped);
	return 0;
}

struct frame *frame_new(const void *owner, enum frame_kind kind)
{
	struct frame *frame = text_must(talloc_zero(owner, struct frame));

	frame->kind = (uint16_t)kind;
	talloc_set_destructor(frame, frame_destroy);
	return frame;
}

static void put(struct frame *frame, const void *bytes, size_t len)
{
	if (frame->failed || len > FRAME_BODY_MAX - frame->len) {
		frame->failed = true;
		return;
	}
	if (frame->len + len > frame->room) {
		frame->room = MAX(frame->len + len, frame->room * 2);
		frame->room = MAX(frame->room, (size_t)512);
		frame->at = text_must(talloc_realloc_size(frame, frame->at, frame->room));
	}
	if (len > 0)
		memcpy(frame->at + frame->len, bytes, len);
	frame->len += len;
}

void frame_put_bool(struct frame *frame, bool value)
{
	put(frame, &(uint8_t){ value }, 1);
}

void frame_put_number(struct frame *frame, int64_t value)
{
	put(frame, &value, sizeof value);
}

void frame_put_text(struct frame *frame, struct text value)
{
	if (value.len > FRAME_BODY_MAX) {
		frame->failed = true;
		return;
	}
	put(frame, &(uint32_t){ (uint32_t)value.len }, sizeof(uint32_t));
	put(frame, value.at, value.len);
}

void frame_put_optional(struct frame *frame, const char *text)
{
	frame_put_bool(frame, text != NULL);
	frame_put_text(frame, text_of(text));
}

void frame_put_fd(struct frame *frame, int fd)
{
	if (frame->fd_count == FRAME_FDS_MAX || fd < 0) {
		base_close(&fd);
		frame->failed = true;
		return;
	}
	frame->fds[frame->fd_count++] = fd;
}

/* The next `len` bytes of the body, or NULL after marking the frame as failed. */
static const uint8_t *get(struct frame *frame, size_t len)
{
	if (frame->failed || len > frame->len - frame->read) {
		frame->failed = true;
		return NULL;
	}
	frame->read += len;
	return frame->at + frame->read - len;
}

bool frame_get_bool(struct frame *frame)
{
	const uint8_t *at = get(frame, 1);

	if (at != NULL && *at > 1)
		frame->failed = true;
	return at != NULL && *at == 1;
}

int64_t frame_get_number(struct frame *frame)
{
	const uint8_t *at = get(frame, sizeof(int64_t));
	int64_t value = 0;

	if (at != NULL)
		memcpy(&value, at, sizeof value);
	return value;
}

int64_t frame_get_range(struct frame *frame, int64_t min, int64_t max)
{
	int64_t value = frame_get_number(frame);

	if (value >= min && value <= max)
		return value;
	frame->failed = true;
	return min;
}

struct text frame_get_text(struct frame *frame)
{
	const uint8_t *at = get(frame, sizeof(uint32_t));
	uint32_t len = 0;

	if (at != NULL)
		memcpy(&len, at, sizeof len);
	at = get(frame, len);
	return at == NULL ? TEXT("") : (struct text){ (const char *)at, len };
}

char *frame_get_copy(struct frame *frame, const void *owner)
{
	return text_copy(owner, frame_get_text(frame));
}

const char *frame_get_optional(struct frame *frame)
{
	bool given = frame_get_bool(frame);
	const char *text = frame_get_copy(frame, frame);

	return given ? text : NULL;
}

int frame_get_fd(struct frame *frame)
{
	if (frame->failed || frame->fd_read == frame->fd_count) {
		frame->failed = true;
		return -1;
	}
	return base_take(&frame->fds[frame->fd_read++]);
}

int frame_done(const struct frame *frame)
{
	return frame->failed || frame->read != frame->len || frame->fd_read != frame->fd_count ? ERR_FORMAT
											       : 0;
}
