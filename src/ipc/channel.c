/*
 * Moving frames. One frame is one datagram of at most 64 KiB: a small header, then the body; a larger body lies in a
 * sealed memfd that is the first descriptor. The receiver checks the seals: a mapped body cannot change under it.
 */
#include "ipc/channel.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/io.h"
#include "ipc/frame.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

struct header {
	uint16_t kind;
	uint16_t in_memfd;
	uint32_t len;
};

union ancillary {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * (FRAME_FDS_MAX + 1))];
};

int channel_pair(int ret_fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0 ? -errno
												  : 0;
}

/* The body in a new sealed memfd, or a negative errno. */
static int body_memfd(const struct frame *frame)
{
	CLEANUP(base_close) int fd = memfd_create("frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;

	int r = io_write_all(fd, (struct text){ (const char *)frame->at, frame->len });
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return base_take(&fd);
}

static void attach_fds(struct msghdr *message, union ancillary *ancillary, const int *fds, unsigned count)
{
	if (count == 0)
		return;

	message->msg_control = ancillary->bytes;
	message->msg_controllen = CMSG_SPACE(sizeof(int) * count);
	struct cmsghdr *head = CMSG_FIRSTHDR(message);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(head), fds, sizeof(int) * count);
}

int channel_send(int fd, const struct frame *frame, int64_t deadline)
{
	struct header header = {
		.kind = frame->kind, .in_memfd = frame->len > FRAME_INLINE_MAX, .len = (uint32_t)frame->len
	};
	CLEANUP(base_close) int memfd = -1;
	int fds[FRAME_FDS_MAX + 1];
	unsigned count = 0;
	union ancillary ancillary = { 0 };
	struct iovec parts[2] = { { &header, sizeof header },
		{ frame->at, header.in_memfd ? 0 : frame->len } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	if (frame->failed)
		return ERR_FORMAT;
	if (header.in_memfd) {
		memfd = body_memfd(frame);
		if (memfd < 0)
			return memfd;
		fds[count++] = memfd;
	}
	for (unsigned i = 0; i < frame->fd_count; i++)
		fds[count++] = frame->fds[i];
	attach_fds(&message, &ancillary, fds, count);

	while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
		if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN || errno == EBADF)
			return ERR_CLOSED;
		if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
			return -errno;

		int r = io_wait(fd, POLLOUT, -1, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Give the descriptors of `message` to `frame`; a body memfd is the first. */
static void take_fds(struct msghdr *message, struct frame *frame, int *ret_memfd, bool in_memfd)
{
	int fds[FRAME_FDS_MAX + 1];

	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL; head = CMSG_NXTHDR(message, head)) {
		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;

		size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(head), count * sizeof(int));
		for (size_t i = 0; i < count; i++) {
			if (in_memfd && *ret_memfd < 0)
				*ret_memfd = fds[i];
			else
				frame_put_fd(frame, fds[i]);
		}
	}
}

static int map_body(struct frame *frame, int memfd, size_t len)
{
	struct stat status;

	if (memfd < 0 || len == 0 || len > FRAME_BODY_MAX)
		return ERR_FORMAT;
	int seals = fcntl(memfd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(memfd, &status) < 0 ||
		status.st_size != (off_t)len)
		return ERR_FORMAT;

	void *at = mmap(NULL, len, PROT_READ, MAP_PRIVATE, memfd, 0);
	if (at == MAP_FAILED)
		return -errno;
	frame->at = at;
	frame->len = frame->mapped = len;
	return 0;
}

/* Room for the body of the next frame, at least 1: what waits may be more than one frame. */
static size_t body_room(int fd)
{
	int waits = 0;

	if (ioctl(fd, SIOCINQ, &waits) < 0 || waits <= (int)sizeof(struct header))
		return 1;
	return MIN((size_t)waits - sizeof(struct header), (size_t)FRAME_INLINE_MAX);
}

int channel_receive(const void *owner, int fd, int stop_fd, int64_t deadline, struct frame **ret_frame)
{
	struct frame *frame = frame_new(owner, FRAME_ANSWER);
	uint8_t *body = NULL;
	struct header header = { 0 };
	union ancillary ancillary = { 0 };
	CLEANUP(base_close) int memfd = -1;
	struct iovec parts[2] = { { &header, sizeof header } };
	struct msghdr message;
	size_t room;
	ssize_t n;
	int r = 0;

	do {
		r = io_wait(fd, POLLIN, stop_fd, deadline);
		if (r < 0)
			goto failed;
		room = body_room(fd);
		body = text_must(talloc_realloc_size(frame, body, room));
		parts[1] = (struct iovec){ body, room };
		message = (struct msghdr){ .msg_iov = parts,
			.msg_iovlen = 2,
			.msg_control = ancillary.bytes,
			.msg_controllen = sizeof ancillary.bytes };
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));

	r = ERR_CLOSED;
	if (n < 0)
		goto failed;
	take_fds(&message, frame, &memfd, header.in_memfd == 1); /* an empty datagram may carry some, too */
	if (n == 0)
		goto failed;
	r = -EMFILE; /* there was no room for its descriptors: the frame is lost, the channel is fine */
	if ((message.msg_flags & MSG_CTRUNC) != 0)
		goto failed;
	r = ERR_FORMAT;
	if ((size_t)n < sizeof header || (message.msg_flags & MSG_TRUNC) != 0 || frame->failed ||
		header.kind == 0 || header.kind >= FRAME_KIND_END || header.in_memfd > 1)
		goto failed;

	frame->kind = header.kind;
	if (header.in_memfd) {
		talloc_free(body);
		r = map_body(frame, memfd, header.len);
		if (r < 0)
			goto failed;
	} else {
		if (header.len != (size_t)n - sizeof header)
			goto failed;
		frame->at = body;
		frame->len = header.len;
	}
	*ret_frame = frame;
	return 0;

failed:
	talloc_free(frame);
	return r;
}
