/*
 * A destination that cannot be reached is probed by one mail at a time, so most of its mail is not tried for days. Its senders are to be
 * told in time all the same: what is older than delivery.expire, or late and not reported, is lent without waiting for the probe, and
 * `deliver` settles it without trying (2.26). Looked for each minute, a piece of the queue at a time.
 */
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/store_private.h"

enum { LOOK_MS = 60 * 1000, ROWS_MAX = 10000, FOUND_MAX = 500 };

/* Every queued recipient that is due, oldest mail first, and whether somebody wants to hear that it is late. The index says what is due. By a wall
 * clock that was set back since, what is due seems to be due later than any try is made. */
static const char query[] =
	"SELECT mid, domain, queued, warned = 0 AND sender <> '' AND (notify = 0 OR notify & 8)"
	" FROM recipient INDEXED BY recipient_live CROSS JOIN message USING (mid)"
	" WHERE state = 0 AND mid > ?1 AND (due <= ?3 OR due > ?3 + ?4) ORDER BY mid, domain LIMIT ?2";

/* Where and for what to look. */
struct search {
	int64_t cursor, expired_before, late_before, longest_wait_ms;
};

/* What was found: each mail and domain once. */
struct overdue {
	struct schedule_key *keys;
	size_t count;
	int64_t next; /* the cursor to go on from; 0 = from the start */
};

static bool is_last(const struct overdue *found, int64_t mid, const char *domain)
{
	const struct schedule_key *last = found->count == 0 ? NULL : &found->keys[found->count - 1];

	return last != NULL && last->mid == mid && strcmp(last->domain, domain) == 0;
}

/* 0, or a negative error: then what was found is right, and the cursor stays. */
static int read_rows(sqlite3_stmt *row, const struct search *search, struct overdue *found)
{
	int64_t mid = search->cursor, rows = 0;
	int r = 0;

	while (found->count < FOUND_MAX && (r = database_step(row)) == 1) {
		const int64_t queued = sqlite3_column_int64(row, 2);
		const char *domain = (const char *)sqlite3_column_text(row, 1);

		if (queued > MAX(search->expired_before, search->late_before))
			return 0; /* all that follows is younger */
		mid = sqlite3_column_int64(row, 0);
		rows++;
		if ((queued > search->expired_before && sqlite3_column_int(row, 3) == 0) ||
			is_last(found, mid, domain))
			continue;
		found->keys = text_must(
			talloc_realloc(found, found->keys, struct schedule_key, (unsigned)found->count + 1));
		found->keys[found->count++] =
			(struct schedule_key){ .mid = mid, .domain = text_copy(found, text_of(domain)) };
	}
	if (r < 0)
		found->next = search->cursor;
	else if (rows == ROWS_MAX || found->count == FOUND_MAX)
		found->next = mid;
	return MIN(r, 0);
}

/* To be freed. */
static struct overdue *look(struct store *store, const struct search *search)
{
	struct overdue *found = text_must(talloc_zero(NULL, struct overdue));
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *row = database_prepare(db, query);

	database_bind_number(row, 1, search->cursor);
	database_bind_number(row, 2, ROWS_MAX);
	database_bind_number(row, 3, clock_wall_ms());
	database_bind_number(row, 4, search->longest_wait_ms);
	int r = read_rows(row, search, found);
	if (r == -EUCLEAN)
		database_fail(db);
	if (r < 0)
		log_event(LOG_ERROR, "overdue_unreadable", log_str("reason", err_text(r)));
	sqlite3_finalize(row);
	readers_give(store->readers, db);
	return found;
}

static int64_t look_again_ms(const struct config_delivery *delivery)
{
	const int64_t soonest = delivery->delay_warning_ms == 0
					? delivery->expire_ms
					: MIN(delivery->expire_ms, delivery->delay_warning_ms);

	return MIN(soonest, (int64_t)LOOK_MS);
}

void store_overdue_look(struct store *store)
{
	const int64_t now = clock_mono_ms();

	pthread_mutex_lock(&store->lock);
	const bool due = now >= store->overdue_next;
	const int64_t age = store->clock.now_ms;
	const struct config_delivery delivery = store->config->delivery;
	const struct search search = { .cursor = store->overdue_cursor,
		.expired_before = age - delivery.expire_ms,
		.late_before = delivery.delay_warning_ms == 0 ? INT64_MIN : age - delivery.delay_warning_ms,
		.longest_wait_ms = store_longest_wait_ms(store) };
	const bool parked = due && schedule_has_parked(store->schedule);
	if (due)
		store->overdue_next = now + look_again_ms(&delivery);
	pthread_mutex_unlock(&store->lock);
	if (!parked)
		return;

	struct overdue *found = look(store, &search);
	pthread_mutex_lock(&store->lock);
	schedule_set_overdue(store->schedule, found->keys, found->count);
	store->overdue_cursor = found->next;
	pthread_mutex_unlock(&store->lock);
	talloc_free(found);
}

bool store_overdue_lend(struct store *store, uint64_t owner, struct schedule_item *ret_item)
{
	return store->lessee == owner &&
	       schedule_lend_overdue(store->schedule, clock_mono_ms(), owner, ret_item);
}

int store_overdue_mark(struct store *store, struct lease *lease)
{
	const size_t count = lease->envelope.recipient_count;
	int r = 0;

	lease->untried = true;
	if (lease->expired) /* they are known */
		return 0;

	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *row = database_prepare(
		db, "SELECT reply FROM attempt WHERE mid = ? AND rid = ? ORDER BY number DESC LIMIT 1");
	lease->replies = text_must(talloc_zero_array(lease, const char *, (unsigned)count + 1));
	for (size_t i = 0; r >= 0 && i < count; i++) {
		database_bind_number(row, 1, lease->mid);
		database_bind_number(row, 2, lease->rids[i]);
		r = database_step(row);
		lease->replies[i] = text_copy(lease, r == 1 ? database_text(row, 0) : TEXT(""));
		sqlite3_reset(row);
	}
	sqlite3_finalize(row);
	readers_give(store->readers, db);
	return MIN(r, 0);
}
