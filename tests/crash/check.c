/*
 * Checks the guarantees G1 to G6 of docs/queue.md on what a power cut left: opens the store on an image and compares it
 * with the marks that the workload had made before the cut (facts.h). Ends at the first broken promise.
 *
 * Usage: check IMAGE MARKS. Prints one line, either how many mails were in each state of docs/queue.md
 * ("S1=0 S2=1 ..."), or the guarantee that is broken; then the exit status is 1.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "facts.h"
#include "mail.h"
#include "queue/store.h"

enum { FILES_MAX = 1000, LEASE_WAIT_MS = 5000 };

struct files {
	bool missing; /* the directory itself is not there */
	size_t count;
	char *names[FILES_MAX];
};

struct check {
	const char *image;
	struct facts *facts;
	struct store *store;
	sqlite3 *db;
	struct files before, after; /* content/ in the image, and once the store is open */
	size_t live;		    /* recipients that are still queued */
	size_t states[8];	    /* mails in S1 to S7 */
};

static PRINTF(2, 3) void must(bool kept, const char *format, ...)
{
	va_list arguments;

	if (kept)
		return;
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	exit(EXIT_FAILURE);
}

static void list_files(struct check *c, struct files *files)
{
	char *path = text_must(talloc_asprintf(c, "%s/content", c->image));
	DIR *directory = opendir(path);

	files->missing = directory == NULL;
	if (directory == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		must(files->count < FILES_MAX, "check: too many content files");
		files->names[files->count++] = text_must(talloc_strdup(c, entry->d_name));
	}
	closedir(directory);
}

static bool has_file(const struct files *files, const char *name)
{
	for (size_t i = 0; i < files->count; i++)
		if (strcmp(files->names[i], name) == 0)
			return true;
	return false;
}

static sqlite3_stmt *query(struct check *c, const char *sql, int64_t argument)
{
	sqlite3_stmt *statement = NULL;

	must(sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL) == SQLITE_OK, "G4: queue.db: %s",
		sqlite3_errmsg(c->db));
	sqlite3_bind_int64(statement, 1, argument);
	return statement;
}

static bool next(struct check *c, sqlite3_stmt *statement)
{
	int r = sqlite3_step(statement);

	must(r == SQLITE_ROW || r == SQLITE_DONE, "G4: queue.db: %s", sqlite3_errmsg(c->db));
	return r == SQLITE_ROW;
}

static const char *column(sqlite3_stmt *statement, int number)
{
	const char *value = (const char *)sqlite3_column_text(statement, number);

	return value == NULL ? "" : value;
}

static int64_t number_of(struct check *c, const char *sql, int64_t argument)
{
	sqlite3_stmt *statement = query(c, sql, argument);

	must(next(c, statement), "check: no row: %s", sql);
	int64_t number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

/* The state and the attempts of one recipient are as promised, or as the outcome that was under way would make them. */
static void check_recipient(struct check *c, const struct facts_mail *mail, sqlite3_stmt *row, size_t index)
{
	int64_t rid = sqlite3_column_int64(row, 0), state = sqlite3_column_int64(row, 2),
		attempts = sqlite3_column_int64(row, 3);
	const struct facts_recipient *known = facts_find_recipient(c->facts, mail->found, rid);
	unsigned allowed = known == NULL ? 1 << FACTS_QUEUED : known->allowed;

	must(index < mail->recipient_count && rid == (int64_t)index + 1 &&
			strcmp(column(row, 1), mail->recipients[index]) == 0,
		"G1: %s has recipient %s, which is not its recipient %zu", mail->token, column(row, 1), index + 1);
	must(state >= 0 && state <= FACTS_BOUNCED && (allowed & 1u << state) != 0,
		"G5: %s recipient %zu is in state %d, which it cannot be in", mail->token, index + 1, (int)state);
	must(attempts >= (known == NULL ? 0 : known->tries) && attempts <= (known == NULL ? 0 : known->tries_begun),
		"G5: %s recipient %zu has %d attempts", mail->token, index + 1, (int)attempts);
	must(attempts == sqlite3_column_int64(row, 4), "G5: %s recipient %zu lacks rows of its attempts", mail->token,
		index + 1);
}

struct counts {
	size_t live, leased, tried;
};

static struct counts check_recipients(struct check *c, const struct facts_mail *mail)
{
	sqlite3_stmt *row = query(c,
		"SELECT rid, address, state, attempts, (SELECT count(*) FROM attempt WHERE attempt.mid = recipient.mid"
		" AND attempt.rid = recipient.rid) FROM recipient WHERE mid = ? ORDER BY rid",
		mail->found);
	struct counts counts = { 0 };
	size_t index = 0;

	for (; next(c, row); index++) {
		check_recipient(c, mail, row, index);
		const struct facts_recipient *known = facts_find_recipient(c->facts, mail->found, (int64_t)index + 1);
		bool live = sqlite3_column_int64(row, 2) == FACTS_QUEUED;

		counts.live += live;
		counts.leased += live && known != NULL && known->leased != 0;
		counts.tried += sqlite3_column_int64(row, 3) > 0;
	}
	sqlite3_finalize(row);
	must(index == mail->recipient_count, "G1: %s has %zu of its %zu recipients", mail->token, index,
		mail->recipient_count);
	return counts;
}

static void check_bytes(struct check *c, const struct facts_mail *mail, const void *bytes, size_t size)
{
	char *wanted = mail_content(c, mail->token, mail->size);

	must(size == mail->size && memcmp(bytes, wanted, size) == 0, "G2: the content of %s is not what was committed",
		mail->token);
	talloc_free(wanted);
}

static void check_fd(struct check *c, const struct facts_mail *mail, int fd)
{
	char *bytes = text_must(talloc_size(c, mail->size + 1));

	check_bytes(c, mail, bytes, (size_t)MAX(0, pread(fd, bytes, mail->size + 1, 0)));
	talloc_free(bytes);
}

/* A live mail has its content, where its row says. */
static void check_content(struct check *c, const struct facts_mail *mail, sqlite3_stmt *row)
{
	if (sqlite3_column_type(row, 3) == SQLITE_NULL) {
		must(sqlite3_column_type(row, 4) == SQLITE_BLOB, "G2: the live mail %s has no content", mail->token);
		check_bytes(c, mail, sqlite3_column_blob(row, 4), (size_t)sqlite3_column_bytes(row, 4));
		return;
	}
	must(!c->before.missing, "G4: %s is live, and the directory content/ is lost", mail->token);
	must(has_file(&c->after, column(row, 3)), "G3: %s is live, and its content file is lost", mail->token);
	char *path = text_must(talloc_asprintf(c, "%s/content/%s", c->image, column(row, 3)));
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	check_fd(c, mail, fd);
}

/* A removed orphan with this mail's content: its outcome was recorded, its file was still there. */
static bool was_swept(struct check *c, const char *token)
{
	char *wanted = text_must(talloc_asprintf(c, "Subject: %s\r\n", token));

	for (size_t i = 0; i < c->before.count; i++)
		if (strcmp(c->before.names[i], wanted) == 0)
			return true;
	return false;
}

static void classify(struct check *c, const struct facts_mail *mail, struct counts counts)
{
	if (counts.live == 0)
		c->states[was_swept(c, mail->token) ? 6 : 7]++;
	else if (counts.leased > 0)
		c->states[4]++;
	else
		c->states[counts.tried > 0 ? 5 : 3]++;
}
