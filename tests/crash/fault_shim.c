/*
 * The fault shim: preloaded into a gateway, it makes calls on files fail, or take long, while a test says so. The rules
 * stand in the file `faults` beside the shim, which may change at any time (a missing file is no rule); what happened is
 * appended to the file `hits` there, if there is one.
 *
 *   ROLE CALL PATH WHAT [TIMES]     one rule a line; each that fits counts, those that wait first
 *
 *   ROLE   queue, front, ..., master, or * for any
 *   CALL   open write truncate sync link unlink; clock; random (getentropy(), of the file `random`)
 *   PATH   a part of the file's path, or with a $ behind it its end, or *
 *   WHAT   a number of microseconds to wait ("5000us"), or the errno to fail with, as a number; for clock the time of day, in seconds,
 *          at which it stands still
 *   TIMES  how often in each process (always, when it is missing)
 *
 * A hit is one line: ROLE CALL WHAT PATH (none for clock). Seen is what the gateway and SQLite call; not seen are reading, closing and mmap().
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

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

enum { RULES_MAX = 16 };

struct rule {
	char role[16], call[16], path[128], what[16];
	unsigned long left; /* times */
};

static struct {
	pthread_mutex_t lock;
	char role[16];
	char file[PATH_MAX], hits[PATH_MAX];
	struct timespec changed;
	ino_t inode;
	struct rule rules[RULES_MAX];
	size_t count;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The program is `postern ... run` (master) or `postern --role NAME`. */
static void find_role(void)
{
	char line[256] = "";
	int fd = NEXT(openat)(AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);

	if (fd >= 0)
		close(fd);
	snprintf(state.role, sizeof state.role, "master");
	for (const char *at = line; at < line + n; at += strlen(at) + 1)
		if (strcmp(at, "--role") == 0)
			snprintf(state.role, sizeof state.role, "%.15s", at + sizeof "--role");
}

static void find_files(void)
{
	Dl_info self;

	if (dladdr((void *)&state, &self) == 0 || self.dli_fname == NULL)
		abort();
	const char *slash = strrchr(self.dli_fname, '/');
	int len = slash == NULL ? 0 : (int)(slash - self.dli_fname);
	snprintf(state.file, sizeof state.file, "%.*s/faults", len, self.dli_fname);
	snprintf(state.hits, sizeof state.hits, "%.*s/hits", len, self.dli_fname);
}

static void parse(char *text)
{
	state.count = 0;
	for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL && state.count < RULES_MAX;) {
		struct rule *rule = &state.rules[state.count];

		rule->left = ULONG_MAX;
		if (sscanf(line, "%15s %15s %127s %15s %lu", rule->role, rule->call, rule->path, rule->what,
			    &rule->left) >= 4)
			state.count++;
	}
}

/* Read the rules again when their file is another one; called with the lock held. */
static void refresh(void)
{
	char text[4096] = "";
	struct stat st;

	if (state.role[0] == '\0') {
		find_role();
		find_files();
	}
	if (stat(state.file, &st) < 0) {
		state.count = 0;
		state.inode = 0;
		return;
	}
	if (st.st_ino == state.inode && memcmp(&st.st_mtim, &state.changed, sizeof st.st_mtim) == 0)
		return;
	state.inode = st.st_ino;
	state.changed = st.st_mtim;
	int fd = NEXT(openat)(AT_FDCWD, state.file, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
		abort();
	close(fd);
	parse(text);
}

static void note(const char *call, const char *what, const char *path)
{
	char line[PATH_MAX + 64];
	int fd = NEXT(openat)(AT_FDCWD, state.hits, O_WRONLY | O_APPEND | O_CLOEXEC, 0);

	if (fd < 0)
		return;
	int len = snprintf(line, sizeof line, "%s %s %s %s\n", state.role, call, what, path);
	if (NEXT(write)(fd, line, (size_t)len) < 0)
		abort();
	close(fd);
}

static bool fits(const char *wanted, const char *is)
{
	return strcmp(wanted, "*") == 0 || strcmp(wanted, is) == 0;
}

static bool fits_path(const char *wanted, const char *path)
{
	size_t len = strlen(wanted), path_len = strlen(path);

	if (len > 0 && wanted[len - 1] == '$')
		return path_len >= len - 1 && strncmp(path + path_len - (len - 1), wanted, len - 1) == 0;
	return strcmp(wanted, "*") == 0 || strstr(path, wanted) != NULL;
}

/* What the rules make of the time of day, in seconds; 0 = nothing. */
static time_t fixed_time(void)
{
	int before = errno;
	time_t time = 0;

	pthread_mutex_lock(&state.lock);
	refresh();
	for (size_t i = 0; i < state.count; i++)
		if (strcmp(state.rules[i].call, "clock") == 0 && fits(state.rules[i].role, state.role))
			time = atol(state.rules[i].what);
	pthread_mutex_unlock(&state.lock);
	errno = before;
	return time;
}

/* What the rules say to this call: waits, and gives the errno to fail with, or 0. */
static int fault(const char *call, const char *path)
{
	long wait_us = 0;
	int before = errno, error = 0;

	pthread_mutex_lock(&state.lock);
	refresh();
	for (size_t i = 0; i < state.count; i++) {
		struct rule *rule = &state.rules[i];

		if (rule->left == 0 || !fits(rule->role, state.role) || !fits(rule->call, call) ||
			!fits_path(rule->path, path))
			continue;
		if (strstr(rule->what, "us") != NULL)
			wait_us += atol(rule->what);
		else if (error == 0)
			error = atoi(rule->what);
		else
			continue;
		rule->left -= rule->left == ULONG_MAX ? 0 : 1;
		note(call, rule->what, path);
	}
	pthread_mutex_unlock(&state.lock);
	if (wait_us > 0)
		nanosleep(&(struct timespec){ wait_us / 1000000, wait_us % 1000000 * 1000 }, NULL);
	errno = before;
	return error;
}

static int fault_fd(const char *call, int fd)
{
	char link[64], path[PATH_MAX] = "";
	int before = errno;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	errno = before;
	return n < 0 ? 0 : fault(call, path);
}

static int fault_at(const char *call, int at, const char *name)
{
	char link[64], path[2 * PATH_MAX] = "";
	int before = errno;

	snprintf(link, sizeof link, "/proc/self/fd/%d", at);
	ssize_t n = at == AT_FDCWD || name[0] == '/' ? 0 : readlink(link, path, PATH_MAX);
	n = n < 0 ? 0 : n;
	snprintf(path + n, sizeof path - (size_t)n, "%s%s", n == 0 ? "" : "/", name);
	errno = before;
	return fault(call, path);
}

/* Fail as the rules say, else go on. */
#define OR_FAIL(call, error)                                                                                 \
	({                                                                                                   \
		int fails = (error);                                                                         \
		if (fails != 0)                                                                              \
			errno = fails;                                                                       \
		fails != 0 ? -1 : (call);                                                                    \
	})

int openat(int at, const char *path, int flags, ...)
{
	mode_t mode = 0;

	if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {
		va_list rest;

		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		va_end(rest);
	}
	return OR_FAIL(NEXT(openat)(at, path, flags, mode), fault_at("open", at, path));
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

ssize_t write(int fd, const void *bytes, size_t len)
{
	return OR_FAIL(NEXT(write)(fd, bytes, len), fault_fd("write", fd));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	return OR_FAIL(NEXT(writev)(fd, parts, count), fault_fd("write", fd));
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	return OR_FAIL(NEXT(pwrite)(fd, bytes, len, offset), fault_fd("write", fd));
}

SAME(pwrite, pwrite64);

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	return OR_FAIL(NEXT(pwritev)(fd, parts, count, offset), fault_fd("write", fd));
}

SAME(pwritev, pwritev64);

int ftruncate(int fd, off_t size)
{
	return OR_FAIL(NEXT(ftruncate)(fd, size), fault_fd("truncate", fd));
}

SAME(ftruncate, ftruncate64);

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return OR_FAIL(NEXT(fallocate)(fd, mode, offset, len), fault_fd("write", fd));
}

SAME(fallocate, fallocate64);

int posix_fallocate(int fd, off_t offset, off_t len)
{
	int error = fault_fd("write", fd);

	return error != 0 ? error : NEXT(posix_fallocate)(fd, offset, len);
}

SAME(posix_fallocate, posix_fallocate64);

int fsync(int fd)
{
	return OR_FAIL(NEXT(fsync)(fd), fault_fd("sync", fd));
}

int fdatasync(int fd)
{
	return OR_FAIL(NEXT(fdatasync)(fd), fault_fd("sync", fd));
}

int syncfs(int fd)
{
	return OR_FAIL(NEXT(syncfs)(fd), fault_fd("sync", fd));
}

int linkat(int from, const char *path, int to, const char *new_path, int flags)
{
	return OR_FAIL(NEXT(linkat)(from, path, to, new_path, flags), fault_at("link", to, new_path));
}

int unlinkat(int at, const char *path, int flags)
{
	return OR_FAIL(NEXT(unlinkat)(at, path, flags), fault_at("unlink", at, path));
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int clock_gettime(clockid_t id, struct timespec *time)
{
	time_t fixed = id == CLOCK_REALTIME ? fixed_time() : 0;

	if (fixed == 0)
		return NEXT(clock_gettime)(id, time);
	*time = (struct timespec){ .tv_sec = fixed };
	return 0;
}

int getentropy(void *bytes, size_t len)
{
	return OR_FAIL(NEXT(getentropy)(bytes, len), fault("random", "random"));
}
