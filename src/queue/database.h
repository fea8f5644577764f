#pragma once
/* SQLite as the store uses it: opening with the right pragmas, the schema, and errors as numbers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/text.h"

enum { DATABASE_SCHEMA = 3, DATABASE_APPLICATION = 0x506f7374 }; /* "Post" */

/* What `recipient.state` means. Queued ones are in the index recipient_live. A mail is finished when all its recipients are in a final state. */
enum database_state { STATE_QUEUED, STATE_DELIVERED, STATE_BOUNCED, STATE_CORRUPT, STATE_DELETED };
#define DATABASE_FINAL "(1, 2, 4)"

/* A plain connection to `directory_fd`/name, with the functions of checksum.h and a busy timeout of ten seconds. 0, or a negative error; the
 * connection is the caller's in any case, unless it is NULL. */
int database_open_file(int directory_fd, const char *name, int flags, sqlite3 **ret_db);

enum database_file { DATABASE_QUEUE, DATABASE_TRACK }; /* queue.db, track.db */

/* Make the file in the empty database `db`: tables, version and mark in one transaction, so that a power cut leaves all or nothing of it. 0, or
 * a negative error. */
int database_make(sqlite3 *db, enum database_file file);

/* Asks a database for every table with its columns, in one text. */
#define DATABASE_COLUMNS                                                                                      \
	"SELECT group_concat(words, ' ') FROM (SELECT t.name || '.' || c.name AS words FROM sqlite_schema t," \
	" pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid)"

/* What an intact file of ours answers to that, owned by `owner`. 0, or a negative error. */
int database_our_columns(const void *owner, enum database_file file, const char **ret_columns);

/* -EUCLEAN with one sentence in ret_why (owned by `owner`) when its tables or columns are not those of `file`: then no statement of ours can
 * be prepared. 0, or another negative error. */
int database_check_columns(const void *owner, sqlite3 *db, enum database_file file, const char **ret_why);

/* Open the file in `directory_fd`, and make it first when it is missing; whatever recovery found in its log is durable when this returns. An
 * older schema is brought to ours, after a copy named queue.db.schemaN is durable. A connection whose commits are synced. 0, or a negative
 * error (-EUCLEAN: the file is damaged, perhaps in what it says its columns are) with one sentence in ret_why (owned by `owner`). */
int database_open_writer(
	const void *owner, int directory_fd, enum database_file file, sqlite3 **ret_db, const char **ret_why);

/* A connection that only reads, to a database that exists; as above. */
int database_open_reader(
	const void *owner, int directory_fd, enum database_file file, sqlite3 **ret_db, const char **ret_why);

/* Close, with the statements that are left; NULL is fine. */
void database_close(sqlite3 *db);

/* Run one statement without results; 0, or a negative error (database_error()). */
int database_exec(sqlite3 *db, const char *sql);

/* The first number that a query finds; 0 when it finds none, or NULL. 0, or a negative error (database_error()), which a query that cannot be
 * prepared is, too. */
int database_number(sqlite3 *db, const char *sql, int64_t *ret_number);

/* Prepare a statement that is kept; a mistake in it ends the process. */
sqlite3_stmt *database_prepare(sqlite3 *db, const char *sql);

/* The same for what is asked again and again: the statement stays with the connection and is found by its text. To be given back with
 * database_reset(), not finalized. */
sqlite3_stmt *database_keep(sqlite3 *db, const char *sql);
void database_reset(sqlite3_stmt *statement);

/* What the last failure of `db` means: -ENOSPC, -EDQUOT (nothing happened, try later), -EINVAL (this statement is wrong), -EUCLEAN (the
 * file is damaged), -EIO (anything else). After the last two the store must be reopened. */
int database_error(sqlite3 *db);

/* The errno of the last call on the files of `db` that failed; 0 = none has. */
int database_errno(sqlite3 *db);

/* The database cannot be written or synced, and nobody knows what is on the disk: say so and end the process. */
_Noreturn void database_fail(sqlite3 *db);

/* Bind and read by position (bind from 1, columns from 0); texts are copied by SQLite or borrowed until the next step. */
void database_bind_text(sqlite3_stmt *statement, int place, struct text value);
void database_bind_number(sqlite3_stmt *statement, int place, int64_t value);
struct text database_text(sqlite3_stmt *statement, int column);

/* Step once: 1 = a row, 0 = done, negative = failed. After anything but a row the statement is reset. */
int database_step(sqlite3_stmt *statement);
