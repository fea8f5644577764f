/* See check_backup.h. Where a manifest is, everything is: also in a backup that nobody was told of. */
#include "check_backup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "check.h"
#include "facts.h"
#include "mail.h"
#include "queue/backup.h"
#include "queue/restore.h"

/* queue.db of the directory with its track.db; nothing of it is changed. */
static sqlite3 *open_databases(const void *owner, const char *path)
{
	char *queue = text_must(talloc_asprintf(owner, "file:%s/queue.db?immutable=1", path)),
	     *attach = text_must(
		     talloc_asprintf(owner, "ATTACH 'file:%s/track.db?immutable=1' AS track", path));
	sqlite3 *db = NULL;
	int r = sqlite3_open_v2(queue, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_exec(db, attach, NULL, NULL, NULL);
	check_must(r == SQLITE_OK, "G9: %s: %s", path, sqlite3_errmsg(db));
	return db;
}

static sqlite3_stmt *query(sqlite3 *db, const char *path, const char *sql)
{
	sqlite3_stmt *row = NULL;

	int r = sqlite3_prepare_v2(db, sql, -1, &row, NULL);

	check_must(r == SQLITE_OK, "G9: %s: %s", path, sqlite3_errmsg(db));
	return row;
}

static void check_integrity(sqlite3 *db, const char *path, const char *sql)
{
	sqlite3_stmt *row = query(db, path, sql);

	check_must(sqlite3_step(row) == SQLITE_ROW &&
			   strcmp((const char *)sqlite3_column_text(row, 0), "ok") == 0,
		"G9: a database in %s is damaged", path);
	sqlite3_finalize(row);
}

/* Every mail that was promised before it began is in it. */
static void check_mails(
	sqlite3 *db, const struct facts *facts, const struct facts_backup *backup, const char *path)
{
	sqlite3_stmt *row = query(db, path,
		"SELECT 1 FROM main.message WHERE mid = ?1 UNION ALL SELECT 1 FROM track.message WHERE mid = ?1");

	for (struct facts_mail *mail = facts->mails; mail != NULL; mail = mail->hh.next) {
		if (mail->mid == 0 || mail->committed > backup->begun)
			continue;
		sqlite3_bind_int64(row, 1, mail->mid);
		check_must(sqlite3_step(row) == SQLITE_ROW,
			"G9: %s was committed before the backup, and is not in %s", mail->token, path);
		sqlite3_reset(row);
	}
	sqlite3_finalize(row);
}

/* Every content file that a live mail names is there, with its bytes. */
static void check_files(const void *owner, sqlite3 *db, const struct facts *facts, const char *path)
{
	sqlite3_stmt *row = query(db, path,
		"SELECT icid, file FROM message WHERE file IS NOT NULL AND mid NOT IN (SELECT mid FROM outbox)");

	while (sqlite3_step(row) == SQLITE_ROW) {
		const struct facts_mail *mail =
			facts_find_mail(facts, (const char *)sqlite3_column_text(row, 0));
		check_must(mail != NULL, "G9: %s has a mail that nobody committed", path);
		char *name = text_must(talloc_asprintf(
			owner, "%s/content/%s", path, (const char *)sqlite3_column_text(row, 1)));
		CLEANUP(base_close) int fd = open(name, O_RDONLY | O_CLOEXEC);
		char *bytes = text_must(talloc_size(owner, mail->size + 1));
		const bool whole =
			fd >= 0 && pread(fd, bytes, mail->size + 1, 0) == (ssize_t)mail->size &&
			memcmp(bytes, mail_content(bytes, mail->token, mail->size), mail->size) == 0;

		check_must(whole, "G9: the content of %s is not in %s", mail->token, path);
		talloc_free(bytes);
	}
	sqlite3_finalize(row);
}

static void check_directory(
	const void *owner, const struct facts *facts, const struct facts_backup *backup, const char *path)
{
	sqlite3 *db = open_databases(owner, path);

	check_integrity(db, path, "PRAGMA main.integrity_check");
	check_integrity(db, path, "PRAGMA track.integrity_check");
	check_mails(db, facts, backup, path);
	check_files(owner, db, facts, path);
	sqlite3_close(db);
}

/* Where it is, it is whole: it got its name last. */
static bool has_manifest(const char *path)
{
	char text[1000] = "";
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	check_must(pread(fd, text, sizeof text - 1, 0) > 0 && text[0] == '{' && text[strlen(text) - 1] == '}',
		"G9: %s is not whole", path);
	return true;
}

static bool is_empty(int fd)
{
	DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	bool empty = true;

	check_must(directory != NULL, "reading what is restored");
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		empty = empty && entry->d_name[0] == '.';
	closedir(directory);
	return empty;
}

void check_backups(const void *owner, const struct facts *facts, const char *image)
{
	for (const struct facts_backup *backup = facts->backups; backup != NULL; backup = backup->next) {
		char *path = text_must(talloc_asprintf(owner, "%s/%s", image, backup->name)),
		     *manifest = text_must(talloc_asprintf(owner, "%s/" BACKUP_MANIFEST, path)),
		     *restored = text_must(talloc_asprintf(owner, "%s/restored-%s", image, backup->name));
		const bool complete = has_manifest(manifest);

		check_must(complete || !backup->done,
			"G9: %s was complete, and its " BACKUP_MANIFEST " is lost", backup->name);
		if (complete)
			check_directory(owner, facts, backup, path);
		if (!backup->restoring)
			continue;
		CLEANUP(base_close) int fd = open(restored, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		check_must(fd >= 0 && (!backup->restored || !restore_is_unfinished(fd)),
			"G10: %s was restored, and is not", backup->name);
		/* Without the mark a gateway starts there: on nothing, or on all of it. */
		if (!restore_is_unfinished(fd) && (backup->restored || !is_empty(fd)))
			check_directory(owner, facts, backup, restored);
	}
}
