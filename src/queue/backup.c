/*
 * The parts in their order, a step at a time. The snapshot of queue.db is given up as soon as it is copied and the names of its content files are
 * known, so that its log may be reset. The manifest comes last, after everything else is synced: where it is, the backup is whole (G9).
 */
#include "queue/backup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/io.h"
#include "queue/content.h"
#include "queue/copy.h"
#include "queue/database.h"
#include "queue/restore.h"
#include "queue/sound.h"

enum { BLOCK = 8 * 1024 };

enum phase { PHASE_QUEUE, PHASE_FILES, PHASE_TRACK, PHASE_MANIFEST };

static const char *const parts[] = { [PHASE_QUEUE] = "queue.db",
	[PHASE_FILES] = "content",
	[PHASE_TRACK] = "track.db",
	[PHASE_MANIFEST] = BACKUP_MANIFEST };

struct file {
	char *name;
	bool checked; /* against what follows; else as it is */
	uint64_t size;
	struct digest digest;
};

struct backup {
	int state_fd, target_fd;
	int from_fd, to_fd; /* content/ there and here */
	sqlite3 *db;	    /* what is being copied */
	struct copy *copy;
	enum phase phase;
	bool alone;
	struct file *files;
	size_t file_count, next_file;
	int64_t schema, start;
	struct backup_done done;
};

static int backup_destroy(struct backup *b)
{
	TALLOC_FREE(b->copy);
	database_close(b->db);
	base_close(&b->from_fd);
	base_close(&b->to_fd);
	return 0;
}

static int why(const void *owner, int error, const char *part, const char *detail, const char **ret_why)
{
	*ret_why = text_must(talloc_asprintf(owner, "%s cannot be copied: %s", part, detail));
	return error;
}

static int start_database(struct backup *b, enum database_file file, const char **ret_why)
{
	int r = database_open_reader(b, b->state_fd, file, &b->db, ret_why);

	if (r < 0)
		return r;
	r = copy_start(b, b->db, b->target_fd, parts[b->phase], &b->copy);
	return r < 0 ? why(b, r, parts[b->phase], err_text(r), ret_why) : 0;
}

/* queue.db, judged first when nobody writes it. */
static int start_queue(struct backup *b, const char **ret_why)
{
	int r = b->alone ? sound_check(b, b->state_fd, &b->done.queue_damage) : 0;

	if (r == 0 && b->done.queue_damage == NULL)
		r = start_database(b, DATABASE_QUEUE, ret_why);
	else if (r < 0)
		why(b, r, parts[b->phase], err_text(r), ret_why);
	if (r == -EUCLEAN)
		*ret_why = text_must(talloc_asprintf(b,
			"queue.db is damaged, and cannot be copied; restart the gateway, which salvages what is whole, and back up again (%s)",
			*ret_why));
	return r;
}

/* A track.db that cannot be read is left out. */
static int start_track(struct backup *b, const char **ret_why)
{
	int r = start_database(b, DATABASE_TRACK, ret_why);

	if (r != -EUCLEAN)
		return r;
	b->done.track_damage = *ret_why;
	return 0;
}

/* The counter that master keeps in the lock file; 0 when there was never a start. */
static int64_t read_start(int state_fd)
{
	CLEANUP(base_close) int fd = openat(state_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[32] = "";

	return fd >= 0 && pread(fd, text, sizeof text - 1, 0) > 0 ? strtoll(text, NULL, 10) : 0;
}

int backup_start(const void *owner, int state_fd, int target_fd, bool alone, struct backup **ret_backup,
	const char **ret_why)
{
	struct backup *b = text_must(talloc_zero(owner, struct backup));
	int r = 0;

	*b = (struct backup){
		.state_fd = state_fd, .target_fd = target_fd, .from_fd = -1, .to_fd = -1, .alone = alone
	};
	talloc_set_destructor(b, backup_destroy);
	if (restore_is_unfinished(state_fd)) {
		*ret_why =
			"a restore into this state directory was interrupted: what is in it is no queue; empty the directory and restore again";
		talloc_free(b);
		return -EBUSY;
	}
	b->start = read_start(state_fd);
	b->from_fd = openat(state_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->from_fd >= 0 && mkdirat(target_fd, "content", 0700) == 0)
		b->to_fd = openat(target_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->to_fd < 0)
		r = why(owner, -errno, "content", err_text(-errno), ret_why);
	if (r == 0) {
		r = start_queue(b, ret_why);
		if (r < 0)
			talloc_steal(owner, *ret_why);
	}
	if (r < 0)
		talloc_free(b);
	else
		*ret_backup = b;
	return r;
}

/* The names of the content files, and some numbers, in the same moment as the copy. */
static int read_names(struct backup *b)
{
	sqlite3_stmt *row = database_prepare(b->db,
		"SELECT file, size, digest FROM message WHERE file IS NOT NULL AND mid NOT IN (SELECT mid FROM outbox)");
	int r;

	while ((r = database_step(row)) == 1) {
		b->files = text_must(talloc_realloc(b, b->files, struct file, (unsigned)b->file_count + 1));
		struct file *file = &b->files[b->file_count++];

		*file = (struct file){ .name = text_copy(b->files, database_text(row, 0)),
			.checked = true,
			.size = (uint64_t)sqlite3_column_int64(row, 1) };
		if (sqlite3_column_bytes(row, 2) == DIGEST_SIZE)
			memcpy(file->digest.bytes, sqlite3_column_blob(row, 2), DIGEST_SIZE);
	}
	sqlite3_finalize(row);
	return r;
}

static int read_snapshot(struct backup *b)
{
	int64_t mails = 0;
	int r = read_names(b);

	if (r == 0)
		r = database_number(
			b->db, "SELECT count(DISTINCT mid) FROM recipient WHERE state = 0", &mails);
	if (r == 0)
		r = database_number(b->db, "PRAGMA user_version", &b->schema);
	b->done.mails = (uint64_t)mails;
	return r;
}

/* Everything in content/: the database does not say what of it is needed. */
static int list_content(struct backup *b)
{
	DIR *directory = fdopendir(openat(b->from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (directory == NULL)
		return -errno;
	b->file_count = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		b->files = text_must(talloc_realloc(b, b->files, struct file, (unsigned)b->file_count + 1));
		b->files[b->file_count++] =
			(struct file){ .name = text_copy(b->files, text_of(entry->d_name)) };
	}
	closedir(directory);
	return 0;
}

/* queue.db is copied: is the copy sound, and what belongs to it? */
static int judge_queue(struct backup *b)
{
	int r = sound_check(b, b->target_fd, &b->done.queue_damage);

	unlinkat(b->target_fd, "queue.db-wal", 0); /* empty */
	unlinkat(b->target_fd, "queue.db-shm", 0);
	if (r < 0)
		return r;
	r = read_snapshot(b);
	return b->done.queue_damage == NULL ? r : list_content(b);
}

/* A step of queue.db or track.db; 100 when it is copied, judged and closed. */
static int step_database(struct backup *b)
{
	int r = copy_step(b->copy);

	if (r == 100) {
		int failed = b->phase == PHASE_QUEUE
				     ? judge_queue(b)
				     : sound_check_track(b, b->target_fd, &b->done.track_damage);

		r = failed < 0 ? failed : r;
	}
	if (r == 100) {
		TALLOC_FREE(b->copy);
		database_close(b->db);
		b->db = NULL;
	}
	return r;
}

/* A damaged queue.db and its log, as they are: SQLite would leave out what it cannot read. */
static int copy_damaged(struct backup *b)
{
	int r = copy_plain(b->state_fd, b->target_fd, "queue.db");

	if (r == 0)
		r = copy_plain(b->state_fd, b->target_fd, "queue.db-wal");
	if (r == 0 || r == -ENOENT)
		r = list_content(b);
	return r < 0 ? r : 100;
}

static int copy_bytes(int from, int to, uint64_t size)
{
	char block[BLOCK];

	for (uint64_t done = 0; done < size;) {
		ssize_t n = pread(from, block, (size_t)MIN(size - done, (uint64_t)BLOCK), (off_t)done);

		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		int r = io_write_all(to, (struct text){ block, (size_t)n });
		if (r < 0)
			return r;
		done += (uint64_t)n;
	}
	return 0;
}

static int copy_unchecked(struct backup *b, const struct file *file)
{
	struct stat status;
	int r = copy_plain(b->from_fd, b->to_fd, file->name);

	if (r == 0 && fstatat(b->to_fd, file->name, &status, 0) < 0)
		r = -errno;
	if (r == 0) {
		b->done.files++;
		b->done.bytes += (uint64_t)status.st_size;
	}
	return r < 0 && r != -ENOENT ? r : (int)(99 * b->next_file / b->file_count);
}

/* One content file; 100 after the last one. */
static int step_file(struct backup *b)
{
	if (b->next_file == b->file_count)
		return 100;

	const struct file *file = &b->files[b->next_file++];
	if (!file->checked)
		return copy_unchecked(b, file);
	CLEANUP(base_close) int from = content_read(b->from_fd, file->name, file->size, &file->digest);
	if (from == -EBADMSG) {
		b->done.damaged++;
		return (int)(99 * b->next_file / b->file_count);
	}
	if (from < 0)
		return from;
	CLEANUP(base_close)
	int to = openat(b->to_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = to < 0 ? -errno : copy_bytes(from, to, file->size);
	if (r < 0)
		return r;
	b->done.files++;
	b->done.bytes += file->size;
	return (int)(99 * b->next_file / b->file_count);
}

/* Everything is there: make it durable, then say so in a file that is never there by half. */
static int write_manifest(struct backup *b)
{
	char now[CLOCK_TEXT_MAX];
	json_t *json = json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?}", "version",
		BACKUP_VERSION, "time", clock_iso(clock_wall_ms(), now), "start", (json_int_t)b->start,
		"schema", (json_int_t)b->schema, "mails", (json_int_t)b->done.mails, "files",
		(json_int_t)b->done.files, "bytes", (json_int_t)b->done.bytes, "damaged",
		(json_int_t)b->done.damaged, "queue_damage", b->done.queue_damage, "track_damage",
		b->done.track_damage);
	char *text = text_must(json_dumps(json, JSON_INDENT(1)));
	int r = syncfs(b->target_fd) < 0 ? -errno : 0;
	CLEANUP(base_close)
	int fd = openat(b->target_fd, BACKUP_MANIFEST ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	json_decref(json);
	if (r == 0)
		r = fd < 0 ? -errno : io_write_all(fd, text_of(text));
	free(text);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(b->target_fd, BACKUP_MANIFEST ".new", b->target_fd, BACKUP_MANIFEST) < 0)
		r = -errno;
	if (r == 0 && fsync(b->target_fd) < 0)
		r = -errno;
	return r < 0 ? r : 100;
}

static int step_phase(struct backup *b)
{
	switch (b->phase) {
	case PHASE_QUEUE:
		return b->copy == NULL ? copy_damaged(b) : step_database(b);
	case PHASE_TRACK:
		return b->copy == NULL ? 100 : step_database(b);
	case PHASE_FILES:
		return step_file(b);
	case PHASE_MANIFEST:
		return write_manifest(b);
	}
	return -EINVAL;
}

int backup_step(struct backup *b, struct backup_done *ret_done, const char **ret_why)
{
	int r = step_phase(b);

	if (r < 0)
		return why(b, r, parts[b->phase], err_text(r), ret_why);
	b->done.part = parts[b->phase];
	b->done.percent = r;
	*ret_done = b->done;
	if (r < 100)
		return 1;
	if (b->phase == PHASE_MANIFEST)
		return 0;
	b->phase++;
	if (b->phase != PHASE_TRACK)
		return 1;
	r = start_track(b, ret_why);
	return r < 0 ? r : 1;
}
