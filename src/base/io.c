/* Waiting under one absolute deadline, interruptible by a stop descriptor. */
#include "base/io.h"

#include <poll.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"

int io_wait(int fd, short events, int stop_fd, int64_t deadline)
{
	struct pollfd polled[2] = { { .fd = fd, .events = events }, { .fd = stop_fd, .events = POLLIN } };

	for (;;) {
		int64_t left = deadline == IO_FOREVER ? -1 : MAX(deadline - clock_mono_ms(), (int64_t)0);
		int n = poll(polled, 2, (int)MIN(left, (int64_t)1000000));

		if (n > 0 && polled[1].revents != 0)
			return ERR_STOPPED;
		if (n > 0)
			return 0;
		if (n == 0 && left == 0)
			return -ETIMEDOUT;
	}
}

int io_write_all(int fd, struct text bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.at, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes = text_from(bytes, (size_t)n);
	}
	return 0;
}
