/* The reading half of the embedded store, for delivery. store_track.c reads for tracking. */
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/digest.h"
#include "queue/checksum.h"
#include "queue/content.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/store_private.h"

static const char *column_copy(const void *owner, sqlite3_stmt *statement, int column)
{
	return text_copy(owner, database_text(statement, column));
}

/* A NUL would cut an address into another one: such a row is damaged, whatever its checksum says. */
static bool holds_nul(sqlite3_stmt *statement, int column)
{
	struct text value = database_text(statement, column);

	return text_find(value, '\0') < value.len;
}

static int read_recipients(sqlite3 *db, struct lease *lease)
{
	sqlite3_stmt *statement = database_keep(db,
		"SELECT rid, address, attempts, notify, orcpt, sum = " CHECKSUM_OF_RECIPIENT
		", warned FROM recipient WHERE mid = ? AND domain = ? AND state = 0 ORDER BY rid");
	struct envelope *e = &lease->envelope;
	bool whole = true;
	int r;

	database_bind_number(statement, 1, lease->mid);
	database_bind_text(statement, 2, text_of(lease->domain));
	while ((r = database_step(statement)) == 1 && e->recipient_count < ENVELOPE_RECIPIENTS_MAX) {
		e->recipients = text_must(
			talloc_realloc(lease, e->recipients, const char *, (unsigned)e->recipient_count + 1));
		lease->rids = text_must(
			talloc_realloc(lease, lease->rids, int64_t, (unsigned)e->recipient_count + 1));
		e->notify = text_must(
			talloc_realloc(lease, e->notify, unsigned, (unsigned)e->recipient_count + 1));
		e->orcpt = text_must(
			talloc_realloc(lease, e->orcpt, const char *, (unsigned)e->recipient_count + 1));
		e->notify[e->recipient_count] = (unsigned)sqlite3_column_int64(statement, 3);
		e->orcpt[e->recipient_count] = column_copy(lease, statement, 4);
		lease->warned = text_must(
			talloc_realloc(lease, lease->warned, bool, (unsigned)e->recipient_count + 1));
		lease->warned[e->recipient_count] = sqlite3_column_int64(statement, 6) != 0;
		lease->rids[e->recipient_count] = sqlite3_column_int64(statement, 0);
		lease->attempts = (uint32_t)sqlite3_column_int64(statement, 2);
		whole = whole && sqlite3_column_int(statement, 5) != 0 && !holds_nul(statement, 1) &&
			!holds_nul(statement, 4);
		e->recipients[e->recipient_count++] = column_copy(lease, statement, 1);
	}
	database_reset(statement);
	if (r < 0)
		return r;
	if (!whole)
		return -EBADMSG;
	return e->recipient_count == 0 ? -ENOENT : 0;
}

/* Content from its row, or its file. */
static int read_content(struct store *store, sqlite3_stmt *row, struct lease *lease)
{
	struct content *content = &lease->content;
	struct digest digest, found;

	content->size = (uint64_t)sqlite3_column_int64(row, 6);
	if (sqlite3_column_bytes(row, 8) != DIGEST_SIZE)
		return -EBADMSG;
	memcpy(digest.bytes, sqlite3_column_blob(row, 8), DIGEST_SIZE);
	if (sqlite3_column_type(row, 7) != SQLITE_NULL) {
		content->fd = content_read(
			store->content_fd, (const char *)sqlite3_column_text(row, 7), content->size, &digest);
		return MIN(content->fd, 0);
	}

	const struct text bytes = { sqlite3_column_blob(row, 9), (size_t)sqlite3_column_bytes(row, 9) };
	found = digest_of(bytes);
	if (bytes.len != content->size || memcmp(&found, &digest, sizeof found) != 0)
		return -EBADMSG;
	content->bytes = (struct text){ text_copy(lease, bytes), bytes.len };
	return 0;
}

static int lease_destroy(struct lease *lease)
{
	base_close(&lease->content.fd);
	return 0;
}

static int read_mail(struct store *store, sqlite3 *db, struct lease *lease, enum store_damage *ret_damage)
{
	sqlite3_stmt *row = database_keep(db,
		"SELECT received, icid, client, helo, tls, sender, size, file, digest, bytes, eight_bit, utf8, ret, envid,"
		" sum = " CHECKSUM_OF_MESSAGE
		", queued FROM message LEFT JOIN content USING (mid) WHERE mid = ?");
	struct envelope *e = &lease->envelope;

	database_bind_number(row, 1, lease->mid);
	int r = database_step(row);
	if (r == 0) { /* it has recipients, so it was there */
		*ret_damage = DAMAGE_MESSAGE;
		r = -EBADMSG;
	}
	if (r == 1) {
		e->received_ms = sqlite3_column_int64(row, 0);
		e->icid = column_copy(lease, row, 1);
		e->client = column_copy(lease, row, 2);
		e->helo = column_copy(lease, row, 3);
		e->tls = column_copy(lease, row, 4);
		e->sender = column_copy(lease, row, 5);
		e->eight_bit = sqlite3_column_int64(row, 10) != 0;
		e->utf8 = sqlite3_column_int64(row, 11) != 0;
		e->ret = (int)sqlite3_column_int64(row, 12);
		e->envid = column_copy(lease, row, 13);
		const bool whole =
			sqlite3_column_int(row, 14) != 0 && !holds_nul(row, 5) && !holds_nul(row, 13);
		lease->age_ms = MAX(0, store_clock(store) - sqlite3_column_int64(row, 15));
		*ret_damage = whole ? DAMAGE_CONTENT : DAMAGE_MESSAGE;
		r = whole ? read_content(store, row, lease) : -EBADMSG;
	}
	database_reset(row);
	return r;
}

int store_load_lease(struct store *store, const void *parent, int64_t mid, const char *domain,
	const char *destination, struct lease **ret_lease, enum store_damage *ret_damage)
{
	struct lease *lease = text_must(talloc_zero(parent, struct lease));
	sqlite3 *db = readers_take(store->readers);

	lease->mid = mid;
	lease->content.fd = -1;
	talloc_set_destructor(lease, lease_destroy);
	lease->domain = text_copy(lease, text_of(domain));
	lease->destination = text_copy(lease, text_of(destination));
	*ret_damage = DAMAGE_RECIPIENT;
	int r = read_recipients(db, lease);
	if (r == 0)
		r = read_mail(store, db, lease, ret_damage);
	readers_give(store->readers, db);
	if (r < 0)
		talloc_free(lease);
	else
		*ret_lease = lease;
	return r;
}

int store_load_content(struct store *store, const void *parent, int64_t mid, struct lease **ret_lease)
{
	struct lease *lease = text_must(talloc_zero(parent, struct lease));
	sqlite3 *db = readers_take(store->readers);
	enum store_damage damage;

	lease->mid = mid;
	lease->content.fd = -1;
	talloc_set_destructor(lease, lease_destroy);
	int r = read_mail(store, db, lease, &damage);
	readers_give(store->readers, db);
	if (r < 0)
		talloc_free(lease);
	else
		*ret_lease = lease;
	return r;
}

/* Numbers of mails grow, so the oldest has the smallest, and the index of live recipients begins with it. Corrupt ones are few, and have an index. */
int store_find_oldest(struct store *store, int64_t *ret_queued_ms, int64_t *ret_corrupt)
{
	sqlite3 *db = readers_try(store->readers);

	if (db == NULL)
		return -EAGAIN;

	sqlite3_stmt *row = database_keep(db,
		"SELECT (SELECT queued FROM message WHERE mid = (SELECT min(mid) FROM recipient WHERE state = 0)),"
		" (SELECT count(DISTINCT mid) FROM recipient INDEXED BY recipient_corrupt WHERE state = 3)");
	int r = database_step(row);
	if (r == 1) {
		*ret_queued_ms = sqlite3_column_int64(row, 0);
		*ret_corrupt = sqlite3_column_int64(row, 1);
	}
	database_reset(row);
	readers_give(store->readers, db);
	return MIN(r, 0);
}
