/*
 * See salvage.h. Each step is durable before the next, and each may be done again, so the power may go at any time:
 *
 *   queue.db.new is made, from what can be read, and synced
 *   queue.db and its log get second names, queue.db.corrupt-TIME: nothing of them is ever lost
 *   queue.db.new becomes queue.db.salvaged: from now on it counts
 *   the old log goes, so that SQLite does not take it for that of the new database
 *   queue.db.salvaged becomes queue.db
 */
#include "queue/salvage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "queue/database.h"
#include "queue/salvage_file.h"
#include "queue/salvage_rows.h"
#include "queue/sound.h"

static int remove_name(int directory_fd, const char *name)
{
	return unlinkat(directory_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int sync_directory(int directory_fd)
{
	return fsync(directory_fd) < 0 ? -errno : 0;
}

static int sync_file(int directory_fd, const char *name)
{
	CLEANUP(base_close) int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int rename_name(int directory_fd, const char *from, const char *to)
{
	return renameat(directory_fd, from, directory_fd, to) < 0 ? -errno : 0;
}

/* The last two steps; nothing to do when no salvage was cut short. content_open() syncs the directory before anything is promised. */
static int finish(int directory_fd)
{
	if (faccessat(directory_fd, "queue.db.salvaged", F_OK, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	int r = remove_name(directory_fd, "queue.db-wal");
	if (r == 0)
		r = remove_name(directory_fd, "queue.db-shm");
	if (r == 0)
		r = sync_directory(directory_fd);
	return r < 0 ? r : rename_name(directory_fd, "queue.db.salvaged", "queue.db");
}

/* Second names for the damaged files. */
static int keep(int directory_fd, const char *name)
{
	char log[SALVAGE_NAME_MAX + 8];

	snprintf(log, sizeof log, "%s-wal", name);
	if (linkat(directory_fd, "queue.db", directory_fd, name, 0) < 0)
		return -errno;
	if (linkat(directory_fd, "queue.db-wal", directory_fd, log, 0) < 0 && errno != ENOENT)
		return -errno;
	return sync_directory(directory_fd);
}

/* Move what no mail of `db` names from one directory to the other; how many, or a negative error. */
static int move_others(sqlite3 *db, int from_fd, int to_fd)
{
	int r = database_exec(db,
		"CREATE TEMP TABLE named (file TEXT PRIMARY KEY);"
		"INSERT OR IGNORE INTO named SELECT file FROM message WHERE file IS NOT NULL");
	DIR *directory = r < 0 ? NULL : fdopendir(openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int moved = 0;

	if (directory == NULL)
		return r < 0 ? r : -errno;
	sqlite3_stmt *named = database_prepare(db, "SELECT 1 FROM named WHERE file = ?");
	for (struct dirent *entry; r >= 0 && (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		database_bind_text(named, 1, text_of(entry->d_name));
		r = database_step(named);
		if (r == 0 && renameat(from_fd, entry->d_name, to_fd, entry->d_name) < 0)
			r = -errno;
		else if (r == 0)
			moved++;
		sqlite3_reset(named);
	}
	sqlite3_finalize(named);
	closedir(directory);
	return r < 0 ? r : moved;
}

/* Content files that no salvaged mail names may belong to a lost one: they are kept, too, where no start removes them. */
static int keep_content(sqlite3 *db, int directory_fd, const char *name)
{
	CLEANUP(base_close)
	int content_fd = openat(directory_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(base_close) int kept_fd = -1;
	char directory[SALVAGE_NAME_MAX + 16];

	if (content_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	snprintf(directory, sizeof directory, "%s.content", name);
	if (mkdirat(directory_fd, directory, 0700) < 0)
		return -errno;
	kept_fd = openat(directory_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int moved = kept_fd < 0 ? -errno : move_others(db, content_fd, kept_fd);
	if (moved == 0)
		return unlinkat(directory_fd, directory, AT_REMOVEDIR) < 0 ? -errno : 0;
	return moved < 0 ? moved : sync_directory(kept_fd);
}

/* Make queue.db.new with what can be read. */
static int make(int directory_fd, const char *kept, struct salvage_counts *ret_counts)
{
	CLEANUP(base_close) int old = openat(directory_fd, "queue.db", O_RDONLY | O_CLOEXEC);
	CLEANUP(base_close) int log = openat(directory_fd, "queue.db-wal", O_RDONLY | O_CLOEXEC);
	struct salvage_file *file = NULL;
	sqlite3 *db = NULL;

	if (old < 0 || (log < 0 && errno != ENOENT))
		return -errno;
	static const char *const left_over[] = { "queue.db.new", "queue.db.new-journal", "queue.db.new-wal" };
	int r = 0;
	for (size_t i = 0; r == 0 && i < COUNT(left_over); i++)
		r = remove_name(directory_fd, left_over[i]);
	if (r == 0)
		r = salvage_file_open(NULL, old, log, &file);
	if (r == 0)
		r = database_open_file(
			directory_fd, "queue.db.new", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
	if (r == 0)
		r = database_make(db, DATABASE_QUEUE);
	if (r == 0)
		r = salvage_rows_copy(db, file, ret_counts);
	if (r == 0)
		r = keep_content(db, directory_fd, kept);
	database_close(db);
	talloc_free(file);
	return r < 0 ? r : sync_file(directory_fd, "queue.db.new");
}

/* FILE.corrupt-TIME */
static void name_corrupt(const char *file, char *ret_name)
{
	char time[CLOCK_TEXT_MAX];

	clock_iso(clock_wall_ms(), time);
	snprintf(ret_name, SALVAGE_NAME_MAX, "%s.corrupt-%.13s%.2s%s", file, time, time + 14,
		time + 17); /* without colons */
}

static int salvage(int directory_fd, const char *damage)
{
	struct salvage_counts counts;
	char name[SALVAGE_NAME_MAX];

	name_corrupt("queue.db", name);
	int r = make(directory_fd, name, &counts);
	if (r == 0)
		r = keep(directory_fd, name);
	if (r == 0)
		r = rename_name(directory_fd, "queue.db.new", "queue.db.salvaged");
	if (r == 0)
		r = sync_directory(directory_fd);
	if (r == 0)
		r = finish(directory_fd);
	if (r == 0)
		log_event(LOG_ERROR, "queue_corrupt", log_str("reason", damage), log_str("kept", name),
			log_num("mails", (int64_t)counts.mails), log_num("damaged", (int64_t)counts.damaged));
	return r;
}

int salvage_before_open(const void *owner, int directory_fd, const char **ret_why)
{
	void *scratch = talloc_new(owner);
	const char *damage = NULL, *what = "queue.db cannot be read";

	int r = finish(directory_fd);
	if (r == 0)
		r = sound_check(scratch, directory_fd, &damage);
	if (r == -EUCLEAN)
		what = "queue.db is damaged, and of an older version that has no checksums: rescue it with \"sqlite3 queue.db .recover\", or move it aside";
	if (r == 0 && damage != NULL) {
		what = "queue.db is damaged and cannot be salvaged; make room for a second queue.db in the state directory";
		r = salvage(directory_fd, damage);
	}
	if (r < 0)
		*ret_why = text_must(talloc_asprintf(owner, "%s: %s", what, err_text(r)));
	talloc_free(scratch);
	return r;
}

int salvage_forget_track(int directory_fd, char ret_name[SALVAGE_NAME_MAX])
{
	char log[SALVAGE_NAME_MAX + 8];

	name_corrupt("track.db", ret_name);
	snprintf(log, sizeof log, "%s-wal", ret_name);
	int r = rename_name(directory_fd, "track.db", ret_name);
	if (r == 0)
		r = rename_name(directory_fd, "track.db-wal", log);
	return r == -ENOENT ? 0 : r;
}

#define DOUBT "track.db.doubtful"

void salvage_doubt_track(int directory_fd)
{
	CLEANUP(base_close)
	int fd = openat(directory_fd, DOUBT, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	(void)fd;
}

bool salvage_track_is_damaged(int directory_fd)
{
	const char *damage = NULL;

	if (faccessat(directory_fd, DOUBT, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	void *scratch = talloc_new(NULL);
	int r = sound_check_track(scratch, directory_fd, &damage);
	talloc_free(scratch);
	if (r == 0)
		remove_name(directory_fd, DOUBT);
	return r == 0 && damage != NULL;
}
