/* The functions of SQL that checksum.h describes. What is summed is a few hundred bytes; it is put together first and digested at once. */
#include "queue/checksum.h"

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/digest.h"

enum { PREFIX = 1 + sizeof(uint64_t), USUAL = 2048 };

static size_t bytes_of(sqlite3_value *value)
{
	int type = sqlite3_value_type(value);

	return type == SQLITE_TEXT || type == SQLITE_BLOB ? (size_t)sqlite3_value_bytes(value) : 0;
}

static char *put(char *at, char kind, uint64_t number)
{
	const uint64_t big = htobe64(number);

	*at++ = kind;
	memcpy(at, &big, sizeof big);
	return at + sizeof big;
}

static char *put_value(char *at, sqlite3_value *value)
{
	const size_t len = bytes_of(value);

	switch (sqlite3_value_type(value)) {
	case SQLITE_INTEGER:
		return put(at, 'i', (uint64_t)sqlite3_value_int64(value));
	case SQLITE_TEXT:
	case SQLITE_BLOB:
		at = put(at, sqlite3_value_type(value) == SQLITE_TEXT ? 't' : 'b', len);
		if (len > 0)
			memcpy(at, sqlite3_value_blob(value), len);
		return at + len;
	default: /* NULL; the tables are STRICT and have no other type */
		*at = 'n';
		return at + 1;
	}
}

static void row_sum(sqlite3_context *context, int count, sqlite3_value **values)
{
	char usual[USUAL], *bytes = usual, *end;
	size_t room = 0;
	uint64_t sum;

	for (int i = 0; i < count; i++)
		room += PREFIX + bytes_of(values[i]);
	if (room > sizeof usual)
		bytes = text_must(malloc(room));
	end = bytes;
	for (int i = 0; i < count; i++)
		end = put_value(end, values[i]);

	const struct digest digest = digest_of((struct text){ bytes, (size_t)(end - bytes) });
	memcpy(&sum, digest.bytes, sizeof sum);
	sqlite3_result_int64(context, (int64_t)be64toh(sum));
	if (bytes != usual)
		free(bytes);
}

static void row_digest(sqlite3_context *context, int count, sqlite3_value **values)
{
	const struct text bytes = { sqlite3_value_blob(values[0]), bytes_of(values[0]) };
	const struct digest digest = digest_of(bytes);

	(void)count;
	sqlite3_result_blob(context, digest.bytes, DIGEST_SIZE, SQLITE_TRANSIENT);
}

void checksum_register(sqlite3 *db)
{
	const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;

	if (sqlite3_create_function(db, "row_sum", -1, flags, NULL, row_sum, NULL, NULL) != SQLITE_OK ||
		sqlite3_create_function(db, "row_digest", 1, flags, NULL, row_digest, NULL, NULL) !=
			SQLITE_OK)
		abort();
}
