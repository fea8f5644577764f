/* Waiting under one absolute deadline, interruptible by a stop descriptor; and whole files. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int create(int directory_fd, const char *name)
{
	int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : fd;
}

int io_replace_file(int directory_fd, const char *name, struct text bytes)
{
	char fresh[NAME_MAX + 1];

	if (snprintf(fresh, sizeof fresh, "%s.new", name) >= (int)sizeof fresh)
		return -ENAMETOOLONG;
	CLEANUP(base_close) int fd = create(directory_fd, fresh);
	if (fd == -EEXIST && unlinkat(directory_fd, fresh, 0) == 0) /* of somebody who died */
		fd = create(directory_fd, fresh);
	int r = fd < 0 ? fd : io_write_all(fd, bytes);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(directory_fd, fresh, directory_fd, name) < 0)
		r = -errno;
	if (r == 0 && fsync(directory_fd) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		unlinkat(directory_fd, fresh, 0);
	return r;
}
