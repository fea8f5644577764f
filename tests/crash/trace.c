/*
 * The recording half of the power-cut shim. Everything here goes to the kernel by syscall(), past the shim's own
 * functions. Whether a descriptor is ours is asked from the kernel each time (/proc/self/fd/N and fstat), so close, dup,
 * fork and descriptors from other processes need no bookkeeping.
 */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
	pthread_once_t once;
	pthread_mutex_t lock;
	int fd; /* -1 = no trace is wanted */
	char directory[PATH_MAX];
	size_t directory_len;
} trace = { .once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

static void start(void)
{
	const char *directory = getenv("POSTERN_CRASH_DIR"), *file = getenv("POSTERN_CRASH_TRACE");

	if (directory == NULL || file == NULL)
		return;
	if (realpath(directory, trace.directory) == NULL)
		trace_refuse("named a POSTERN_CRASH_DIR that is not there");

	trace.directory_len = strlen(trace.directory);
	trace.fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace.fd < 0)
		trace_refuse("named a POSTERN_CRASH_TRACE that cannot be opened");
}

bool trace_wanted(void)
{
	int before = errno;

	pthread_once(&trace.once, start);
	errno = before;
	return trace.fd >= 0;
}

void trace_refuse(const char *what)
{
	char line[256];
	int len = snprintf(line, sizeof line, "crash shim: the program %s (%s)\n", what, strerror(errno));

	syscall(SYS_write, 2, line, len);
	abort();
}

void trace_lock(void)
{
	int before = errno;

	pthread_mutex_lock(&trace.lock);
	while (flock(trace.fd, LOCK_EX) < 0)
		if (errno != EINTR)
			trace_refuse("cannot lock its trace");
	errno = before;
}

void trace_unlock(void)
{
	int before = errno;

	flock(trace.fd, LOCK_UN);
	pthread_mutex_unlock(&trace.lock);
	errno = before;
}

void trace_put(struct trace_record record, const char *names, const void *data)
{
	int before = errno;
	const struct iovec parts[] = { { &record, sizeof record }, { (void *)names, record.name_len },
		{ (void *)data, record.data_len } };
	size_t size = sizeof record + record.name_len + record.data_len;

	if (syscall(SYS_writev, trace.fd, parts, 3) != (ssize_t)size)
		trace_refuse("cannot write its trace");
	errno = before;
}

uint64_t trace_inode(int fd)
{
	int before = errno;
	char link[32], path[PATH_MAX];
	uint64_t inode = 0;
	struct stat st;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, path, sizeof path - 1);
	if (len >= (ssize_t)trace.directory_len && memcmp(path, trace.directory, trace.directory_len) == 0 &&
		((size_t)len == trace.directory_len || path[trace.directory_len] == '/') &&
		fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		inode = st.st_ino;
	errno = before;
	return inode;
}

uint64_t trace_parent(int at, const char *path, const char **ret_name)
{
	int before = errno;
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX] = ".";

	if (slash != NULL)
		snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	*ret_name = slash == NULL ? path : slash + 1;

	int fd = (int)syscall(SYS_openat, at, parent, O_PATH | O_CLOEXEC);
	uint64_t inode = fd < 0 ? 0 : trace_inode(fd);
	if (fd >= 0)
		syscall(SYS_close, fd);
	if (inode != 0 && **ret_name == '\0')
		trace_refuse("ended a path with a slash");
	errno = before;
	return inode;
}

uint64_t trace_child(int at, const char *path)
{
	int before = errno;
	struct stat st;
	uint64_t inode = fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;

	errno = before;
	return inode;
}
