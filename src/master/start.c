/* Before any role runs: who they run as, where the state lives, and that nobody else uses it. */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/text.h"
#include "config/config.h"
#include "master/master_private.h"

int master_prepare_users(struct master *master)
{
	const char *user = master->config->user;

	master->changes_user = geteuid() == 0;
	for (size_t i = 0; master->changes_user && i < CHILD_COUNT; i++) {
		char name[128];
		struct passwd *entry;

		snprintf(name, sizeof name, "%s-%s", user, master->children[i].name);
		entry = getpwnam(name);
		if (entry == NULL)
			entry = getpwnam(user);
		if (entry == NULL) {
			fprintf(stderr,
				"postern: %s: user: there is no account \"%s\" to run as; make it with\n"
				"  useradd --system --no-create-home --shell /usr/sbin/nologin %s\n",
				master->file, user, user);
			return -ENOENT;
		}
		master->users[i].uid = entry->pw_uid;
		master->users[i].gid = entry->pw_gid;
	}
	return 0;
}

/* Open a directory (relative to `at`), made for the role's user when it is missing. */
static int open_directory(const struct master *master, const char *key, int at, const char *path, mode_t mode,
	size_t role, int *ret_fd)
{
	bool made = mkdirat(at, path, mode) == 0;
	int r = made || errno == EEXIST ? 0 : -errno;

	if (r == 0) {
		*ret_fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = *ret_fd < 0 ? -errno : 0;
	}
	if (r == 0 && made && master->changes_user &&
		fchown(*ret_fd, master->users[role].uid, master->users[role].gid) < 0)
		r = -errno;
	if (r < 0)
		fprintf(stderr,
			"postern: %s: %s: the directory %s cannot be used: %s; make it, or name another one\n",
			master->file, key, path, err_text(r));
	return r;
}

/* One gateway per state directory. The lock is shared with role `queue`, so it lasts as long as anybody writes. */
static int take_lock(struct master *master)
{
	master->lock_fd = openat(master->state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (master->lock_fd < 0) {
		fprintf(stderr, "postern: %s: state_dir: the lock in %s cannot be opened: %s\n", master->file,
			master->config->state_dir, err_text(-errno));
		return -EIO;
	}
	if (flock(master->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	fprintf(stderr,
		"postern: %s: state_dir: another gateway is running on %s; stop it first (postern stop), or name another state_dir\n",
		master->file, master->config->state_dir);
	return -EBUSY;
}

/* The start counter lives in the lock file; with it every id is unique, whatever the clock does. */
static int count_start(struct master *master)
{
	char text[32] = "";
	unsigned long long before = 0;

	if (pread(master->lock_fd, text, sizeof text - 1, 0) > 0)
		sscanf(text, "%llu", &before);
	master->start = before + 1;

	int len = snprintf(text, sizeof text, "%llu\n", (unsigned long long)master->start);
	if (pwrite(master->lock_fd, text, (size_t)len, 0) == len && fdatasync(master->lock_fd) == 0)
		return 0;
	fprintf(stderr, "postern: %s: state_dir: %s cannot be written: %s\n", master->file,
		master->config->state_dir, err_text(-errno));
	return -EIO;
}

int master_prepare_directories(struct master *master)
{
	const struct config *config = master->config;
	int r = open_directory(
		master, "state_dir", AT_FDCWD, config->state_dir, 0700, CHILD_QUEUE, &master->state_fd);

	if (r == 0)
		r = open_directory(master, "runtime_dir", AT_FDCWD, config->runtime_dir, 0755, CHILD_QUEUE,
			&master->runtime_fd);
	if (r == 0)
		r = open_directory(master, "state_dir", master->state_fd, "resolver", 0700, CHILD_RESOLVER,
			&master->anchors_fd);
	if (r == 0)
		r = open_directory(master, "state_dir", master->state_fd, "upkeep", 0700, CHILD_UPKEEP,
			&master->fetched_fd);
	if (r == 0)
		r = take_lock(master);
	if (r == 0)
		r = count_start(master);
	return r;
}
