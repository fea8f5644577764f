#pragma once
/*
 * A checksum for each row that a mail is made of. Two functions of SQL, known on every connection of database.h:
 *
 *   row_sum(value, ...)   the first eight bytes, most significant first, as a signed number, of the SHA-256 of its values, one after the
 *                         other: 'n' for NULL; 'i' and eight bytes for an integer; 't' or 'b', the length in eight bytes, and the bytes
 *                         for a text or a blob (numbers with the most significant byte first)
 *   row_digest(bytes)     SHA-256, as a blob
 *
 * The column `sum` of `message` and `recipient` holds row_sum() of all other columns, `message.digest` the SHA-256 of the content, in a
 * row or in a file. Who changes a column writes the sum in the same statement. A row whose sum is wrong was damaged: it is not delivered.
 */

#include <sqlite3.h>

/* All columns but the sum, in the order of their place in it. A new column goes to the end. */
#define CHECKSUM_MESSAGE                                                                                     \
	"mid, received, icid, client, helo, tls, sender, size, file, digest, eight_bit, utf8, ret, envid, queued, recipients"
#define CHECKSUM_RECIPIENT "mid, rid, address, domain, state, attempts, due, notify, orcpt, warned"

/* What `sum` of a row must be. */
#define CHECKSUM_OF_MESSAGE   "row_sum('message', " CHECKSUM_MESSAGE ")"
#define CHECKSUM_OF_RECIPIENT "row_sum('recipient', " CHECKSUM_RECIPIENT ")"

/* Make both functions known on `db`; ends the process when there is no memory. */
void checksum_register(sqlite3 *db);
