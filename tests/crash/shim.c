/*
 * The power-cut shim: preloaded into a program, it appends to a trace (trace.h) every change that the program makes below
 * one directory, in the order in which the changes happened. image.py makes from the trace what a disk may hold after
 * the power failed at any moment.
 *
 *   POSTERN_CRASH_DIR           the directory; it exists and is empty when the first program starts
 *   POSTERN_CRASH_TRACE         the file to append to
 *   POSTERN_CRASH_SLOW_SYNC_US  make each sync take this much longer, so that groups of commits form
 *   POSTERN_CRASH_DIE_IN_SYNC   end the process, as if it crashed, in its sync of this number (from 1)
 *
 * Not seen, because nothing here depends on it: sync_file_range (promises nothing), close and dup (a descriptor is
 * looked up each time), writes through a mapping (SQLite's -shm file, which no power cut survives). What would make the
 * images wrong without being seen ends the program: O_SYNC, copying in the kernel, holes, exchanging names.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "trace.h"

void crash_mark(const char *text);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);

/* The function that this one stands in front of. */
#define NEXT(function)                                                                                       \
	({                                                                                                   \
		static typeof(function) *next;                                                               \
		if (next == NULL)                                                                            \
			next = (typeof(function) *)dlsym(RTLD_NEXT, #function);                              \
		next;                                                                                        \
	})

/* Large-file names are the same functions on 64-bit machines. */
#define SAME(function, name) extern typeof(function) name __attribute__((alias(#function)))

static uint64_t ours(int fd)
{
	return trace_wanted() ? trace_inode(fd) : 0;
}

static void put_name(enum trace_kind kind, uint64_t inode, uint64_t directory, const char *name)
{
	trace_put((struct trace_record){ .kind = kind,
			  .inode = inode,
			  .other = directory,
			  .name_len = (uint32_t)strlen(name) },
		name, NULL);
}

static void put_number(enum trace_kind kind, uint64_t inode, uint64_t number)
{
	trace_put((struct trace_record){ .kind = kind, .inode = inode, .number = number }, NULL, NULL);
}

/* A note in the trace; the program finds this with dlsym(). */
void crash_mark(const char *text)
{
	if (!trace_wanted())
		return;
	trace_lock();
	put_name(TRACE_MARK, 0, 0, text);
	trace_unlock();
}

/* No thread may die between a change and its record. (After kill -9 the last record may be missing.) */
void _exit(int status)
{
	if (trace_wanted())
		trace_lock();
	NEXT(_exit)(status);
	__builtin_unreachable();
}

/* Opening */

static void put_create(uint64_t inode, int at, const char *path)
{
	const char *name;
	uint64_t directory = trace_parent(at, path, &name);

	put_name(TRACE_CREATE, inode, directory, name);
}

static int record_open(int at, const char *path, int flags, mode_t mode)
{
	trace_lock();
	bool existed = trace_child(at, path) != 0;
	int fd = NEXT(openat)(at, path, flags, mode);
	uint64_t inode = fd < 0 ? 0 : trace_inode(fd);
	if (inode != 0 && (flags & (O_DSYNC | O_SYNC)) != 0)
		trace_refuse("opened a file with O_SYNC or O_DSYNC");
	if (inode != 0 && (flags & O_TMPFILE) == O_TMPFILE)
		put_number(TRACE_UNNAMED, inode, 0);
	else if (inode != 0 && !existed)
		put_create(inode, at, path);
	else if (inode != 0 && (flags & O_TRUNC) != 0)
		put_number(TRACE_SIZE, inode, 0);
	trace_unlock();
	return fd;
}

int openat(int at, const char *path, int flags, ...)
{
	mode_t mode = 0;

	if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
		va_list rest;

		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		va_end(rest);
	}
	if ((flags & (O_CREAT | O_TRUNC | O_DSYNC | __O_TMPFILE)) == 0 || !trace_wanted())
		return NEXT(openat)(at, path, flags, mode);
	return record_open(at, path, flags, mode);
}

SAME(openat, openat64);

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
		va_list rest;

		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		va_end(rest);
	}
	return openat(AT_FDCWD, path, flags, mode);
}

SAME(open, open64);

int creat(const char *path, mode_t mode)
{
	return openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

SAME(creat, creat64);

/* What <fcntl.h> makes of open() without a mode under _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags)
{
	return openat(AT_FDCWD, path, flags);
}

int __open64_2(const char *path, int flags)
{
	return openat(AT_FDCWD, path, flags);
}

int __openat_2(int at, const char *path, int flags)
{
	return openat(at, path, flags);
}

int __openat64_2(int at, const char *path, int flags)
{
	return openat(at, path, flags);
}

/* Writing */

static void put_data(uint64_t inode, uint64_t offset, const void *bytes, size_t len)
{
	trace_put(
		(struct trace_record){
			.kind = TRACE_WRITE, .inode = inode, .number = offset, .data_len = len },
		NULL, bytes);
}

static void put_parts(uint64_t inode, uint64_t offset, const struct iovec *parts, size_t left)
{
	for (; left > 0; parts++) {
		size_t len = parts->iov_len < left ? parts->iov_len : left;

		put_data(inode, offset, parts->iov_base, len);
		offset += len;
		left -= len;
	}
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(write)(fd, bytes, len);
	trace_lock();
	ssize_t n = NEXT(write)(fd, bytes, len);
	if (n > 0)
		put_data(inode, (uint64_t)(lseek(fd, 0, SEEK_CUR) - n), bytes, (size_t)n);
	trace_unlock();
	return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(writev)(fd, parts, count);
	trace_lock();
	ssize_t n = NEXT(writev)(fd, parts, count);
	if (n > 0)
		put_parts(inode, (uint64_t)(lseek(fd, 0, SEEK_CUR) - n), parts, (size_t)n);
	trace_unlock();
	return n;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(pwrite)(fd, bytes, len, offset);
	trace_lock();
	ssize_t n = NEXT(pwrite)(fd, bytes, len, offset);
	if (n > 0)
		put_data(inode, (uint64_t)offset, bytes, (size_t)n);
	trace_unlock();
	return n;
}

SAME(pwrite, pwrite64);

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(pwritev2)(fd, parts, count, offset, flags);
	if (offset < 0 || flags != 0)
		trace_refuse("called pwritev2() with flags or without an offset");
	trace_lock();
	ssize_t n = NEXT(pwritev2)(fd, parts, count, offset, flags);
	if (n > 0)
		put_parts(inode, (uint64_t)offset, parts, (size_t)n);
	trace_unlock();
	return n;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	return ours(fd) == 0 ? NEXT(pwritev)(fd, parts, count, offset)
			     : pwritev2(fd, parts, count, offset, 0);
}

SAME(pwritev2, pwritev64v2);
SAME(pwritev, pwritev64);

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t len, unsigned flags)
{
	if (ours(out) != 0)
		trace_refuse("called copy_file_range()");
	return NEXT(copy_file_range)(in, from, out, to, len, flags);
}

ssize_t sendfile(int out, int in, off_t *from, size_t len)
{
	if (ours(out) != 0)
		trace_refuse("called sendfile()");
	return NEXT(sendfile)(out, in, from, len);
}

SAME(sendfile, sendfile64);

/* Sizes */

int ftruncate(int fd, off_t size)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(ftruncate)(fd, size);
	trace_lock();
	int r = NEXT(ftruncate)(fd, size);
	if (r == 0)
		put_number(TRACE_SIZE, inode, (uint64_t)size);
	trace_unlock();
	return r;
}

SAME(ftruncate, ftruncate64);

int truncate(const char *path, off_t size)
{
	int fd = openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	int r = ftruncate(fd, size), error = errno;
	close(fd);
	errno = error;
	return r;
}

SAME(truncate, truncate64);

/* Record the size when it grew from `before`. */
static void put_growth(int fd, uint64_t inode, off_t before)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_size != before)
		put_number(TRACE_SIZE, inode, (uint64_t)st.st_size);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	uint64_t inode = ours(fd);
	struct stat st;

	if (inode == 0)
		return NEXT(fallocate)(fd, mode, offset, len);
	if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0)
		trace_refuse("made a hole with fallocate()");
	trace_lock();
	int r = fstat(fd, &st) < 0 ? -1 : NEXT(fallocate)(fd, mode, offset, len);
	if (r == 0)
		put_growth(fd, inode, st.st_size);
	trace_unlock();
	return r;
}

SAME(fallocate, fallocate64);

int posix_fallocate(int fd, off_t offset, off_t len)
{
	return ours(fd) == 0			    ? NEXT(posix_fallocate)(fd, offset, len)
	       : fallocate(fd, 0, offset, len) == 0 ? 0
						    : errno;
}

SAME(posix_fallocate, posix_fallocate64);

/* Names */

int mkdirat(int at, const char *path, mode_t mode)
{
	const char *name;
	uint64_t directory = trace_wanted() ? trace_parent(at, path, &name) : 0;

	if (directory == 0)
		return NEXT(mkdirat)(at, path, mode);
	trace_lock();
	int r = NEXT(mkdirat)(at, path, mode);
	if (r == 0)
		put_name(TRACE_MKDIR, trace_child(at, path), directory, name);
	trace_unlock();
	return r;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

int unlinkat(int at, const char *path, int flags)
{
	const char *name;
	uint64_t directory = trace_wanted() ? trace_parent(at, path, &name) : 0;

	if (directory == 0)
		return NEXT(unlinkat)(at, path, flags);
	trace_lock();
	int r = NEXT(unlinkat)(at, path, flags);
	if (r == 0)
		put_name(TRACE_UNLINK, 0, directory, name);
	trace_unlock();
	return r;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path)
{
	int r = unlink(path);

	return r < 0 && errno == EISDIR ? rmdir(path) : r;
}

int linkat(int from, const char *path, int to, const char *new_path, int flags)
{
	const char *name;
	uint64_t directory = trace_wanted() ? trace_parent(to, new_path, &name) : 0;

	if (directory == 0)
		return NEXT(linkat)(from, path, to, new_path, flags);
	trace_lock();
	int r = NEXT(linkat)(from, path, to, new_path, flags);
	if (r == 0)
		put_name(TRACE_LINK, trace_child(to, new_path), directory, name);
	trace_unlock();
	return r;
}

int link(const char *path, const char *new_path)
{
	return linkat(AT_FDCWD, path, AT_FDCWD, new_path, 0);
}

static void put_rename(uint64_t inode, uint64_t from, const char *name, uint64_t to, const char *new_name)
{
	char names[2 * (NAME_MAX + 1)];
	int len = snprintf(names, sizeof names, "%s%c%s", name, '\0', new_name);

	trace_put((struct trace_record){ .kind = TRACE_RENAME,
			  .inode = inode,
			  .other = from,
			  .number = to,
			  .name_len = (uint32_t)len },
		names, NULL);
}

int renameat2(int from, const char *path, int to, const char *new_path, unsigned flags)
{
	const char *name, *new_name;

	if (!trace_wanted())
		return NEXT(renameat2)(from, path, to, new_path, flags);

	uint64_t old_directory = trace_parent(from, path, &name),
		 new_directory = trace_parent(to, new_path, &new_name);
	if ((old_directory == 0) != (new_directory == 0))
		trace_refuse("moved a file into or out of the traced directory");
	if (old_directory == 0)
		return NEXT(renameat2)(from, path, to, new_path, flags);
	if ((flags & RENAME_EXCHANGE) != 0)
		trace_refuse("exchanged two names");

	trace_lock();
	int r = NEXT(renameat2)(from, path, to, new_path, flags);
	if (r == 0)
		put_rename(trace_child(to, new_path), old_directory, name, new_directory, new_name);
	trace_unlock();
	return r;
}

int renameat(int from, const char *path, int to, const char *new_path)
{
	return renameat2(from, path, to, new_path, 0);
}

int rename(const char *path, const char *new_path)
{
	return renameat2(AT_FDCWD, path, AT_FDCWD, new_path, 0);
}

/* Syncing: the only calls that run outside the lock, because others write meanwhile. */

static uint64_t sync_begin(uint64_t inode)
{
	static uint32_t count;
	const char *die = getenv("POSTERN_CRASH_DIE_IN_SYNC");

	trace_lock();
	uint64_t id = (uint64_t)getpid() << 32 | ++count;
	put_number(TRACE_SYNC_BEGIN, inode, id);
	if (die != NULL && count == strtoul(die, NULL, 10))
		NEXT(_exit)(0);
	trace_unlock();
	return id;
}

static int sync_end(uint64_t inode, uint64_t id, int result)
{
	int before = errno;
	const char *slow = getenv("POSTERN_CRASH_SLOW_SYNC_US");

	if (slow != NULL)
		nanosleep(&(struct timespec){ .tv_nsec = atol(slow) * 1000 }, NULL);
	if (result == 0) {
		trace_lock();
		put_number(TRACE_SYNC_END, inode, id);
		trace_unlock();
	}
	errno = before;
	return result;
}

int fsync(int fd)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(fsync)(fd);
	uint64_t id = sync_begin(inode);
	return sync_end(inode, id, NEXT(fsync)(fd));
}

/* The data and the size, which is all that an image has of a file. */
int fdatasync(int fd)
{
	uint64_t inode = ours(fd);

	if (inode == 0)
		return NEXT(fdatasync)(fd);
	uint64_t id = sync_begin(inode);
	return sync_end(inode, id, NEXT(fdatasync)(fd));
}

int syncfs(int fd)
{
	if (ours(fd) == 0)
		return NEXT(syncfs)(fd);
	uint64_t id = sync_begin(0);
	return sync_end(0, id, NEXT(syncfs)(fd));
}

void sync(void)
{
	if (!trace_wanted()) {
		NEXT(sync)();
		return;
	}
	uint64_t id = sync_begin(0);
	NEXT(sync)();
	sync_end(0, id, 0);
}
