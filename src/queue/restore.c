/*
 * A file that says "unfinished" is there, durably, from before the first to after the last byte: a gateway does not start on half a queue. It goes
 * when everything else is synced.
 */
#include "queue/restore.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "queue/backup.h"
#include "queue/copy.h"
#include "queue/database.h"
#include "queue/salvage.h"
#include "queue/sound.h"

#define UNFINISHED "restore.unfinished"
#define LOCK	   "lock"

enum { MANIFEST_MAX = 64 * 1024, STARTS_MORE = 1000, MAILS_MORE = 1000000 };

static PRINTF(4, 5) int why(const void *owner, int error, const char **ret_why, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	*ret_why = text_must(talloc_vasprintf(owner, format, arguments));
	va_end(arguments);
	return error;
}

static json_t *read_manifest(int backup_fd)
{
	CLEANUP(base_close) int fd = openat(backup_fd, BACKUP_MANIFEST, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *text = text_must(talloc_zero_size(NULL, MANIFEST_MAX));
	json_t *json = NULL;

	ssize_t n = fd < 0 ? -1 : pread(fd, text, MANIFEST_MAX, 0);
	if (n > 0 && n < MANIFEST_MAX)
		json = json_loadb(text, (size_t)n, 0, NULL);
	talloc_free(text);
	return json;
}

/* All files of one directory, or only count them (`to` -1); how many, or a negative error. */
static int copy_files(int from, int to)
{
	DIR *directory = fdopendir(openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int r = 0, count = 0;

	if (directory == NULL)
		return -errno;
	for (struct dirent *entry; r == 0 && (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		r = to < 0 ? 0 : copy_plain(from, to, entry->d_name);
		count++;
	}
	closedir(directory);
	return r < 0 ? r : count;
}

static int copy_content(int backup_fd, int state_fd)
{
	CLEANUP(base_close) int from = openat(backup_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0 || mkdirat(state_fd, "content", 0700) < 0)
		return -errno;
	CLEANUP(base_close) int to = openat(state_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return to < 0 ? -errno : copy_files(from, to);
}

/* The mails that were accepted after the backup had numbers, too. */
static int raise_mails(sqlite3 *db)
{
	char sql[256];

	snprintf(sql, sizeof sql,
		"INSERT INTO sqlite_sequence (name, seq) SELECT 'message', 0"
		" WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'message');"
		"UPDATE sqlite_sequence SET seq = seq + %d WHERE name = 'message'",
		MAILS_MORE);
	return database_exec(db, sql);
}

/* A damaged queue.db is left as it is; its salvage skips numbers of mails by itself. */
static int judge_queue(const void *owner, int state_fd, struct restore_done *done, const char **ret_why)
{
	sqlite3 *db = NULL;
	int r = sound_check(owner, state_fd, &done->queue_damage);

	if (r == -EUCLEAN)
		return why(owner, r, ret_why,
			"queue.db in the backup is damaged, and of an older version that has no checksums: rescue it with \"sqlite3 queue.db .recover\"");
	if (r < 0)
		return why(owner, r, ret_why, "queue.db in the backup cannot be used: %s", err_text(r));
	if (done->queue_damage != NULL)
		return 0;
	r = database_open_file(state_fd, "queue.db", SQLITE_OPEN_READWRITE, &db);
	if (r == 0)
		r = raise_mails(db);
	if (r < 0)
		why(owner, r, ret_why, "queue.db cannot be written: %s", err_text(r));
	database_close(db);
	return r;
}

static int judge_track(const void *owner, int state_fd, struct restore_done *done, const char **ret_why)
{
	int r = sound_check_track(owner, state_fd, &done->track_damage);

	if (r == 0 && done->track_damage != NULL)
		r = salvage_forget_track(state_fd, done->kept);
	return r < 0 ? why(owner, r, ret_why, "track.db in the backup cannot be used: %s", err_text(r)) : 0;
}

static int raise_start(int state_fd, int64_t start)
{
	CLEANUP(base_close)
	int fd = openat(state_fd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[32];
	int len = snprintf(text, sizeof text, "%lld\n", (long long)start + STARTS_MORE);

	return fd >= 0 && pwrite(fd, text, (size_t)len, 0) == len ? 0 : -errno;
}

static int copy_optional(int backup_fd, int state_fd, const char *name)
{
	int r = copy_plain(backup_fd, state_fd, name);

	return r == -ENOENT ? 0 : r;
}

static int put_back(const void *owner, int backup_fd, int state_fd, json_t *manifest,
	struct restore_done *done, const char **ret_why)
{
	const json_int_t files = json_integer_value(json_object_get(manifest, "files"));
	const bool track_lost = json_is_string(json_object_get(manifest, "track_damage"));
	int count = copy_content(backup_fd, state_fd),
	    r = count < 0 ? count
			  : (track_lost ? copy_optional : copy_plain)(backup_fd, state_fd, "track.db");

	if (r == 0)
		r = copy_plain(backup_fd, state_fd, "queue.db");
	if (r == 0)
		r = copy_optional(backup_fd, state_fd, "queue.db-wal");
	if (r < 0)
		return why(owner, r, ret_why, "the backup cannot be copied: %s", err_text(r));
	if (count != files)
		return why(owner, -EBADMSG, ret_why,
			"the backup is damaged: it has %d content files, and " BACKUP_MANIFEST " says %lld",
			count, (long long)files);
	r = judge_track(owner, state_fd, done, ret_why);
	if (r == 0)
		r = judge_queue(owner, state_fd, done, ret_why);
	if (r < 0)
		return r;
	r = raise_start(state_fd, json_integer_value(json_object_get(manifest, "start")));
	return r < 0 ? why(owner, r, ret_why, "the start counter cannot be written: %s", err_text(r)) : 0;
}

/* Everything is durable before the mark goes; syncing the whole file system is as good as each file, and simpler. */
static int finish(const void *owner, int state_fd, const char **ret_why)
{
	int r = syncfs(state_fd) < 0 ? -errno : 0;

	if (r == 0 && (unlinkat(state_fd, UNFINISHED, 0) < 0 || fsync(state_fd) < 0))
		r = -errno;
	return r < 0 ? why(owner, r, ret_why, "the state directory cannot be synced: %s", err_text(r)) : 0;
}

/* All files of a directory, but for these two. */
static int remove_files(int directory_fd, const char *kept, const char *last)
{
	DIR *directory = fdopendir(openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int r = directory == NULL ? -errno : 0;

	for (struct dirent *entry; r == 0 && (entry = readdir(directory)) != NULL;)
		if (entry->d_type == DT_REG && strcmp(entry->d_name, kept) != 0 &&
			strcmp(entry->d_name, last) != 0 && unlinkat(directory_fd, entry->d_name, 0) < 0)
			r = -errno;
	if (directory != NULL)
		closedir(directory);
	return r;
}

/* Nothing was there before but perhaps the lock, which stays. The mark goes last: where it is, it stays until all else is gone. */
static void undo(int state_fd, bool had_lock)
{
	CLEANUP(base_close) int content = openat(state_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = content < 0 ? 0 : remove_files(content, "", "");

	if (r == 0 && content >= 0)
		r = unlinkat(state_fd, "content", AT_REMOVEDIR);
	if (r == 0)
		r = remove_files(state_fd, had_lock ? LOCK : "", UNFINISHED);
	if (r == 0)
		unlinkat(state_fd, UNFINISHED, 0);
}

int restore_run(
	const void *owner, int backup_fd, int state_fd, struct restore_done *ret_done, const char **ret_why)
{
	const bool had_lock = faccessat(state_fd, LOCK, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	json_t *manifest = read_manifest(backup_fd);
	int r = 0;

	if (manifest == NULL || json_integer_value(json_object_get(manifest, "version")) != BACKUP_VERSION) {
		json_decref(manifest);
		return why(owner, -ENOENT, ret_why,
			manifest == NULL
				? "there is no complete backup: it has no readable " BACKUP_MANIFEST
				: "the backup was made by another version of postern, which can restore it");
	}
	CLEANUP(base_close) int mark = openat(state_fd, UNFINISHED, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (mark < 0 || fsync(state_fd) < 0)
		r = why(owner, -errno, ret_why, "the state directory cannot be written: %s",
			err_text(-errno));
	*ret_done = (struct restore_done){ .mails = json_integer_value(json_object_get(manifest, "mails")),
		.files = json_integer_value(json_object_get(manifest, "files")) };
	if (r == 0)
		r = put_back(owner, backup_fd, state_fd, manifest, ret_done, ret_why);
	if (r == 0)
		r = finish(owner, state_fd, ret_why);
	if (r < 0) {
		undo(state_fd, had_lock);
	} else {
		const char *time = json_string_value(json_object_get(manifest, "time"));
		snprintf(ret_done->time, sizeof ret_done->time, "%s", time == NULL ? "" : time);
	}
	json_decref(manifest);
	return r;
}

bool restore_is_unfinished(int state_fd)
{
	return faccessat(state_fd, UNFINISHED, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
