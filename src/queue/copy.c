/*
 * The source stays in one read transaction, so what is written meanwhile changes nothing and the copy never begins anew; its log cannot
 * be reset that long, and grows. The copy needs no journal: it has its name only when it is whole.
 */
#include "queue/copy.h"

#include <fcntl.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "base/text.h"
#include "queue/database.h"

enum { PAGES = 256 /* of a step: 2 MiB */, BLOCK = 8 * 1024 };

struct copy {
	sqlite3 *from, *to;
	sqlite3_backup *backup;
	int directory_fd;
	char *name, *unfinished; /* NULL when it has its name */
};

static int copy_destroy(struct copy *copy)
{
	sqlite3_backup_finish(copy->backup);
	database_close(copy->to);
	if (!sqlite3_get_autocommit(copy->from))
		database_exec(copy->from, "COMMIT");
	if (copy->unfinished != NULL)
		unlinkat(copy->directory_fd, copy->unfinished, 0);
	return 0;
}

int copy_start(const void *owner, sqlite3 *from, int directory_fd, const char *name, struct copy **ret_copy)
{
	struct copy *copy = text_must(talloc_zero(owner, struct copy));

	copy->from = from;
	copy->directory_fd = directory_fd;
	copy->name = text_copy(copy, text_of(name));
	copy->unfinished = text_must(talloc_asprintf(copy, "%s.new", name));
	talloc_set_destructor(copy, copy_destroy);
	unlinkat(directory_fd, copy->unfinished, 0);
	int r = database_open_file(
		directory_fd, copy->unfinished, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &copy->to);
	if (r == 0)
		r = database_exec(copy->to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
	if (r == 0)
		r = database_exec(from, "BEGIN; SELECT 1 FROM sqlite_schema");
	if (r == 0) {
		copy->backup = sqlite3_backup_init(copy->to, "main", from, "main");
		r = copy->backup == NULL ? database_error(copy->to) : 0;
	}
	if (r < 0)
		talloc_free(copy);
	else
		*ret_copy = copy;
	return r;
}

/* All pages are written: make them durable, and then the name. */
static int finish(struct copy *copy)
{
	sqlite3_backup_finish(copy->backup);
	copy->backup = NULL;
	database_close(copy->to);
	copy->to = NULL;

	CLEANUP(base_close) int fd = openat(copy->directory_fd, copy->unfinished, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	if (renameat(copy->directory_fd, copy->unfinished, copy->directory_fd, copy->name) < 0)
		return -errno;
	TALLOC_FREE(copy->unfinished);
	return fsync(copy->directory_fd) < 0 ? -errno : 100;
}

int copy_step(struct copy *copy)
{
	int r = sqlite3_backup_step(copy->backup, PAGES);

	if (r == SQLITE_DONE)
		return finish(copy);
	if (r == SQLITE_FULL)
		return -ENOSPC;
	if (r != SQLITE_OK)
		return r == SQLITE_IOERR_WRITE && database_errno(copy->to) != 0 ? -database_errno(copy->to)
										: -EIO;

	const int total = sqlite3_backup_pagecount(copy->backup);
	return total == 0 ? 0 : 99 - (int)(99 * (int64_t)sqlite3_backup_remaining(copy->backup) / total);
}

int copy_plain(int from_directory, int to_directory, const char *name)
{
	CLEANUP(base_close) int from = openat(from_directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (from < 0)
		return -errno;
	CLEANUP(base_close)
	int to = openat(to_directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char block[BLOCK];
	ssize_t n;
	int r = to < 0 ? -errno : 0;

	for (off_t done = 0; r == 0 && (n = pread(from, block, BLOCK, done)) != 0; done += n)
		r = n < 0 ? -errno : io_write_all(to, (struct text){ block, (size_t)n });
	return r;
}
