/*
 * A large mail is written into a file without a name, synced, named, and the name synced, all before its row is queued:
 * whatever the power does, a row never lacks its content. The reverse, a file without a row, is swept at start.
 */
#include "queue/content.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/base.h"

enum { RESERVE = 16 * 1024 * 1024 }; /* bytes that stay free for the database */

int content_open(int directory_fd)
{
	if (mkdirat(directory_fd, "content", 0700) < 0 && errno != EEXIST)
		return -errno;

	CLEANUP(base_close) int fd = openat(directory_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(directory_fd) < 0)
		return -errno;
	return base_take(&fd);
}

int content_room(int content_fd, uint64_t space, uint64_t inodes)
{
	struct statvfs have;

	if (fstatvfs(content_fd, &have) < 0)
		return -errno;
	/* Some file systems have no fixed number of inodes and say 0 of 0. */
	bool enough =
		have.f_bavail * have.f_frsize >= space && (have.f_files == 0 || have.f_favail >= inodes);
	return enough ? 0 : -ENOSPC;
}

int content_new(int content_fd, uint64_t size)
{
	int r = content_room(content_fd, size + RESERVE, 1);

	if (r < 0)
		return r;
	int fd = openat(content_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* Give the file a name nobody has. */
static int link_file(int content_fd, int fd, uint64_t seed, char *ret_name)
{
	static atomic_uint_fast64_t counter;
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	for (;;) {
		snprintf(ret_name, CONTENT_NAME_MAX, "%llx-%llx", (unsigned long long)seed,
			(unsigned long long)atomic_fetch_add(&counter, 1));
		if (linkat(AT_FDCWD, path, content_fd, ret_name, AT_SYMLINK_FOLLOW) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

int content_keep(
	int content_fd, int fd, uint64_t size, uint64_t seed, char *ret_name, struct digest *ret_digest)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (status.st_size != (off_t)size)
		return -EINVAL;

	int r = digest_of_file(fd, size, ret_digest);
	if (r < 0)
		return r;
	if (fsync(fd) < 0)
		return -errno;
	r = link_file(content_fd, fd, seed, ret_name);
	if (r < 0)
		return r;
	if (fsync(content_fd) == 0)
		return 0;
	r = -errno;
	unlinkat(content_fd, ret_name, 0);
	return r;
}

int content_read(int content_fd, const char *name, uint64_t size, const struct digest *digest)
{
	CLEANUP(base_close) int fd = openat(content_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct digest found;

	if (fd < 0)
		return errno == ENOENT ? -EBADMSG : -errno;
	int r = digest_of_file(fd, size, &found);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	if (memcmp(&found, digest, sizeof found) != 0)
		return -EBADMSG;
	return base_take(&fd);
}

void content_drop(int content_fd, const char *name)
{
	unlinkat(content_fd, name, 0);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

unsigned content_sweep(int content_fd, const char *const *names, size_t count)
{
	DIR *directory = fdopendir(openat(content_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	unsigned removed = 0;

	if (directory == NULL)
		return 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		const char *name = entry->d_name;

		if (name[0] == '.' ||
			(count > 0 && bsearch(&name, names, count, sizeof names[0], compare_names) != NULL))
			continue;
		unlinkat(content_fd, name, 0);
		removed++;
	}
	closedir(directory);
	return removed;
}
