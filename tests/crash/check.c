/*
 * Checks the guarantees G1 to G10 of docs/queue.md on what a power cut left: opens the store on an image and compares it
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
#include <unistd.h>

#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "check.h"
#include "check_backup.h"
#include "facts.h"
#include "mail.h"
#include "old.h"
#include "queue/store.h"

enum { FILES_MAX = 1000, OUTBOX_MAX = 2000, LEASE_WAIT_MS = 5000 };

/* No stored time is believed to be further away than the longest wait: all mail is due at once. */
#define SOON "[100ms]"

/* The directory content/. */
struct files {
	bool missing; /* it is not there */
	size_t count;
	struct {
		char *name, *token; /* of the mail, by its first line */
	} list[FILES_MAX];
};

struct check {
	const char *image;
	struct facts *facts;
	struct store *store;
	sqlite3 *db;
	struct files before, after; /* content/ in the image, and once the store is open */
	int64_t outbox[OUTBOX_MAX]; /* in the image */
	size_t outbox_count;
	size_t live;	  /* recipients that are still queued */
	size_t states[8]; /* mails in S1 to S7 */
};

void check_must(bool kept, const char *format, ...)
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

static char *read_token(struct check *c, int fd)
{
	char line[100] = "", *token = NULL;

	if (fd >= 0 && pread(fd, line, sizeof line - 1, 0) > 0 &&
		sscanf(line, "Subject: %m[^\r]", &token) == 1) {
		char *copy = text_must(talloc_strdup(c, token));

		free(token);
		return copy;
	}
	return text_must(talloc_strdup(c, ""));
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
		check_must(files->count < FILES_MAX, "check: too many content files");
		CLEANUP(base_close) int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
		files->list[files->count].name = text_must(talloc_strdup(c, entry->d_name));
		files->list[files->count++].token = read_token(c, fd);
	}
	closedir(directory);
}

static bool has_file(const struct files *files, const char *name)
{
	for (size_t i = 0; i < files->count; i++)
		if (strcmp(files->list[i].name, name) == 0)
			return true;
	return false;
}

/* Open a database of the image as c->db, and run `sql` in it. */
static void open_database(struct check *c, const char *name, int flags, const char *sql)
{
	char *path = text_must(talloc_asprintf(c, "%s/%s", c->image, name));
	int r = sqlite3_open_v2(path, &c->db, flags, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
	check_must(r == SQLITE_OK, "G4: %s: %s", name, sqlite3_errmsg(c->db));
}

static void close_database(struct check *c)
{
	sqlite3_close(c->db);
	c->db = NULL;
}

static sqlite3_stmt *query(struct check *c, const char *sql, int64_t argument)
{
	sqlite3_stmt *statement = NULL;

	check_must(sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL) == SQLITE_OK, "G4: %s: %s",
		sqlite3_db_filename(c->db, NULL), sqlite3_errmsg(c->db));
	sqlite3_bind_int64(statement, 1, argument);
	return statement;
}

static bool next(struct check *c, sqlite3_stmt *statement)
{
	int r = sqlite3_step(statement);

	check_must(r == SQLITE_ROW || r == SQLITE_DONE, "G4: %s: %s", sqlite3_db_filename(c->db, NULL),
		sqlite3_errmsg(c->db));
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

	check_must(next(c, statement), "check: no row: %s", sql);
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

	check_must(index < mail->recipient_count && rid == (int64_t)index + 1 &&
			   strcmp(column(row, 1), mail->recipients[index]) == 0,
		"G1: %s has recipient %s, which is not its recipient %zu", mail->token, column(row, 1),
		index + 1);
	check_must(state >= 0 && state <= FACTS_BOUNCED && (allowed & 1u << state) != 0,
		"G5: %s recipient %zu is in state %d, which it cannot be in", mail->token, index + 1,
		(int)state);
	check_must(attempts >= (known == NULL ? 0 : known->tries) &&
			   attempts <= (known == NULL ? 0 : known->tries_begun),
		"G5: %s recipient %zu has %d attempts", mail->token, index + 1, (int)attempts);
	check_must(attempts == sqlite3_column_int64(row, 4),
		"G5: %s recipient %zu lacks rows of its attempts", mail->token, index + 1);
}

struct counts {
	size_t live, leased, tried;
};

static struct counts check_recipients(struct check *c, const struct facts_mail *mail)
{
	sqlite3_stmt *row = query(c,
		"SELECT rid, address, state, attempts, (SELECT count(*) FROM attempt WHERE attempt.mid = "
		"recipient.mid"
		" AND attempt.rid = recipient.rid) FROM recipient WHERE mid = ? ORDER BY rid",
		mail->found);
	struct counts counts = { 0 };
	size_t index = 0;

	for (; next(c, row); index++) {
		check_recipient(c, mail, row, index);
		const struct facts_recipient *known =
			facts_find_recipient(c->facts, mail->found, (int64_t)index + 1);
		bool live = sqlite3_column_int64(row, 2) == FACTS_QUEUED;

		counts.live += live;
		counts.leased += live && known != NULL && known->leased != 0;
		counts.tried += sqlite3_column_int64(row, 3) > 0;
	}
	sqlite3_finalize(row);
	check_must(index == mail->recipient_count, "G1: %s has %zu of its %zu recipients", mail->token, index,
		mail->recipient_count);
	return counts;
}

static void check_bytes(struct check *c, const struct facts_mail *mail, const void *bytes, size_t size)
{
	char *wanted = mail_content(c, mail->token, mail->size);

	check_must(size == mail->size && memcmp(bytes, wanted, size) == 0,
		"G2: the content of %s is not what was committed", mail->token);
	talloc_free(wanted);
}

static void check_fd(struct check *c, const struct facts_mail *mail, int fd)
{
	char *bytes = text_must(talloc_size(c, mail->size + 1));

	ssize_t len = pread(fd, bytes, mail->size + 1, 0);
	check_bytes(c, mail, bytes, len < 0 ? 0 : (size_t)len);
	talloc_free(bytes);
}

/* A live mail has its content, where its row says. */
static void check_content(struct check *c, const struct facts_mail *mail, sqlite3_stmt *row)
{
	if (sqlite3_column_type(row, 3) == SQLITE_NULL) {
		check_must(sqlite3_column_type(row, 4) == SQLITE_BLOB, "G2: the live mail %s has no content",
			mail->token);
		check_bytes(c, mail, sqlite3_column_blob(row, 4), (size_t)sqlite3_column_bytes(row, 4));
		return;
	}
	check_must(!c->before.missing, "G4: %s is live, and the directory content/ is lost", mail->token);
	check_must(has_file(&c->after, column(row, 3)), "G3: %s is live, and its content file is lost",
		mail->token);
	char *path = text_must(talloc_asprintf(c, "%s/content/%s", c->image, column(row, 3)));
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	check_fd(c, mail, fd);
}

/* When the power went: the store may have moved it since. */
static bool was_in_outbox(const struct check *c, int64_t mid)
{
	for (size_t i = 0; i < c->outbox_count; i++)
		if (c->outbox[i] == mid)
			return true;
	return false;
}

static void classify(struct check *c, const struct facts_mail *mail, struct counts counts)
{
	if (counts.live == 0)
		c->states[mail->swept || was_in_outbox(c, mail->found) ? 6 : 7]++;
	else if (counts.leased > 0)
		c->states[4]++;
	else
		c->states[counts.tried > 0 ? 5 : 3]++;
}

/* Each row is a mail that was begun, whole, and with its content while it is live. */
static void check_rows(struct check *c)
{
	sqlite3_stmt *row =
		query(c, "SELECT mid, icid, size, file, bytes FROM message LEFT JOIN content USING (mid)", 0);

	while (next(c, row)) {
		struct facts_mail *mail = facts_find_mail(c->facts, column(row, 1));

		check_must(mail != NULL && !mail->gone, "G1: there is a mail %s, which nobody committed",
			column(row, 1));
		check_must(mail->found == 0, "G1: %s is there twice", mail->token);
		mail->found = sqlite3_column_int64(row, 0);
		check_must(mail->mid == 0 || mail->mid == mail->found,
			"G1: %s is not mail %lld, as was promised", mail->token, (long long)mail->mid);
		check_must((uint64_t)sqlite3_column_int64(row, 2) == mail->size, "G2: %s has another size",
			mail->token);

		struct counts counts = check_recipients(c, mail);
		if (counts.live > 0)
			check_content(c, mail, row);
		else
			check_must(sqlite3_column_type(row, 3) == SQLITE_NULL &&
					   sqlite3_column_type(row, 4) == SQLITE_NULL,
				"G6: %s is finished and keeps its content", mail->token);
		c->live += counts.live;
		classify(c, mail, counts);
	}
	sqlite3_finalize(row);
}

/* Every promised mail has its row. */
static void check_mails(struct check *c)
{
	int64_t rows = number_of(c, "SELECT count(*) FROM message", 0);

	for (struct facts_mail *mail = c->facts->mails; mail != NULL; mail = mail->hh.next)
		check_must(mail->mid == 0 || mail->found != 0, "%s: %s was committed and is lost%s",
			rows == 0 ? "G4" : "G1 or G8", mail->token, rows == 0 ? ", as all others" : "");
}

/* An outcome is recorded as a whole: all its recipients and its DSN, or nothing; a promised one is recorded. */
static void check_outcomes(struct check *c)
{
	sqlite3_stmt *row = query(c, "SELECT dcid FROM attempt", 0);

	while (next(c, row)) {
		struct facts_outcome *outcome = facts_find_outcome(c->facts, column(row, 0));

		check_must(
			outcome != NULL, "G5: there is an outcome %s, which nobody recorded", column(row, 0));
		outcome->found++;
	}
	sqlite3_finalize(row);
	for (struct facts_outcome *o = c->facts->outcomes; o != NULL; o = o->hh.next) {
		check_must(o->found == (o->promised ? o->count : 0) || (!o->promised && o->found == o->count),
			"G5: outcome %s was %s and %zu of its %zu recipients have it", o->id,
			o->promised ? "recorded" : "begun", o->found, o->count);
		if (o->dsn == NULL)
			continue;
		check_must((o->dsn->found != 0) == (o->found > 0),
			"G5: outcome %s is %srecorded and its DSN %s is %sthere", o->id,
			o->found > 0 ? "" : "not ", o->dsn->token, o->dsn->found != 0 ? "" : "not ");
	}
}

static bool is_named(struct check *c, const char *name)
{
	sqlite3_stmt *row = query(c,
		"SELECT 1 FROM message WHERE file = ?1 AND EXISTS"
		" (SELECT 1 FROM recipient WHERE recipient.mid = message.mid AND state = 0)",
		0);

	sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC);
	bool named = next(c, row);
	sqlite3_finalize(row);
	return named;
}

/* After the start no file is left that no live mail names. */
static void check_orphans(struct check *c)
{
	for (size_t i = 0; i < c->after.count; i++)
		check_must(is_named(c, c->after.list[i].name),
			"G6: no live mail names content file %s, and it was not removed",
			c->after.list[i].name);
	for (size_t i = 0; i < c->before.count; i++) {
		struct facts_mail *mail = facts_find_mail(c->facts, c->before.list[i].token);

		if (mail != NULL && !has_file(&c->after, c->before.list[i].name))
			mail->swept = true;
	}
}

/* It was delivered, so that its destination has room for the next one. */
static void deliver(struct check *c, const struct lease *lease)
{
	struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.dcid = "check",
		.host = "",
		.address = "",
		.tls = "",
		.recipient_count = lease->envelope.recipient_count };

	outcome.recipients = text_must(
		talloc_zero_array(lease, struct outcome_recipient, (unsigned)outcome.recipient_count));
	for (size_t i = 0; i < outcome.recipient_count; i++)
		outcome.recipients[i] = (struct outcome_recipient){
			.rid = lease->rids[i], .state = OUTCOME_DELIVERED, .reply = "250 2.0.0"
		};
	check_must(store_record(c->store, &outcome) == 0, "G1: the store cannot record");
}

/* The store lends every live recipient once, with the content of its mail. */
static void check_leases(struct check *c)
{
	size_t given = 0;

	store_admit(c->store, 1);
	for (;;) {
		struct lease *lease = NULL;

		check_must(
			store_lease(c->store, c, 1, NULL, given < c->live ? LEASE_WAIT_MS : 0, &lease) == 0,
			"G1: the store cannot lend");
		if (lease == NULL)
			break;
		struct facts_mail *mail = facts_find_mail(c->facts, lease->envelope.icid);
		check_must(mail != NULL && mail->found == lease->mid,
			"G1: the store lends an unknown mail %s", lease->envelope.icid);
		if (lease->content.fd >= 0)
			check_fd(c, mail, lease->content.fd);
		else
			check_bytes(c, mail, lease->content.bytes.at, lease->content.bytes.len);
		given += lease->envelope.recipient_count;
		deliver(c, lease);
		talloc_free(lease);
	}
	check_must(given == c->live, "G1: %zu recipients are queued, and the store lends %zu of them",
		c->live, given);
}

/* What stands in both databases, each once: these names hide those of queue.db. The store moves what is finished while we look, so queue.db is
 * looked into first; what is being moved is whole in track.db, and perhaps no more in queue.db. */
static const char both[] =
	"CREATE TEMP VIEW message AS SELECT mid, icid, size, NULL AS file FROM track.message"
	" UNION ALL SELECT mid, icid, size, CASE WHEN mid IN (SELECT mid FROM main.outbox) THEN NULL ELSE file END"
	" FROM main.message WHERE mid NOT IN (SELECT mid FROM track.message);"
	"CREATE TEMP VIEW recipient AS SELECT mid, rid, address, state, attempts FROM track.recipient"
	" UNION SELECT mid, rid, address, state, attempts FROM main.recipient;"
	"CREATE TEMP VIEW attempt AS SELECT mid, rid, number, dcid FROM track.attempt"
	" UNION SELECT mid, rid, number, dcid FROM main.attempt;"
	"BEGIN; SELECT count(*) FROM main.message; SELECT count(*) FROM track.message;";

static void check_integrity(struct check *c, const char *sql, const char *name)
{
	sqlite3_stmt *row = query(c, sql, 0);

	check_must(next(c, row) && strcmp(column(row, 0), "ok") == 0, "G4: %s is damaged: %s", name,
		column(row, 0));
	sqlite3_finalize(row);
}

static void check_database(struct check *c)
{
	char *sql = text_must(talloc_asprintf(c, "ATTACH '%s/track.db' AS track; %s", c->image, both));

	open_database(c, "queue.db", SQLITE_OPEN_READONLY, sql);
	check_integrity(c, "PRAGMA main.integrity_check", "queue.db");
	check_integrity(c, "PRAGMA track.integrity_check", "track.db");
	check_orphans(c);
	check_rows(c);
	check_mails(c);
	check_outcomes(c);
	close_database(c);
}

/* An older database is changed only after it was copied. It is what the image holds that counts: opening the store would copy it anew. */
static void check_copy(struct check *c)
{
	open_database(c, "queue.db.schema2", SQLITE_OPEN_READONLY, "");
	check_must(number_of(c, "SELECT count(*) FROM message", 0) == OLD_MAILS,
		"G7: queue.db was upgraded and its copy is not whole");
	check_integrity(c, "PRAGMA integrity_check", "queue.db.schema2");
	close_database(c);
}

/* What the image holds before the store is opened and changes it. */
static void look_before(struct check *c)
{
	char *path = text_must(talloc_asprintf(c, "%s/queue.db", c->image));

	if (access(path, F_OK) < 0)
		return;
	open_database(c, "queue.db", SQLITE_OPEN_READWRITE, "");
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* recovery is for the store */
	const bool current = number_of(c, "PRAGMA user_version", 0) > 2;
	if (current) {
		sqlite3_stmt *row = query(c, "SELECT mid FROM outbox", 0);

		while (c->outbox_count < OUTBOX_MAX && next(c, row))
			c->outbox[c->outbox_count++] = sqlite3_column_int64(row, 0);
		sqlite3_finalize(row);
	}
	close_database(c);
	if (current && c->facts->old)
		check_copy(c);
}

static void print_states(struct check *c)
{
	for (struct facts_mail *mail = c->facts->mails; mail != NULL; mail = mail->hh.next)
		if (mail->found == 0 && (mail->swept || mail->in_hand))
			c->states[mail->swept ? 2 : 1]++;
	for (size_t i = 1; i < COUNT(c->states); i++)
		printf("S%zu=%zu%s", i, c->states[i], i + 1 < COUNT(c->states) ? " " : "\n");
}

int main(int argc, char **argv)
{
	struct check *c = text_must(talloc_zero(NULL, struct check));

	check_must(argc == 3, "usage: check IMAGE MARKS");
	c->image = argv[1];
	c->facts = facts_read(c, argv[2]);
	list_files(c, &c->before);
	look_before(c);
	c->store = mail_open_store(c, c->image, SOON, "G4: the store cannot be opened: ");
	list_files(c, &c->after);
	check_database(c);
	check_backups(c, c->facts, c->image);
	check_leases(c);
	print_states(c);
	talloc_free(c->store);
	talloc_free(c);
	return EXIT_SUCCESS;
}
