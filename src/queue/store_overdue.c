/*
 * A destination that cannot be reached is probed by one mail at a time, so most of its mail is not tried for days. Its senders are to be
 * told in time all the same: what is older than delivery.expire, or late and not reported, is lent without waiting for the probe, and
 * `deliver` settles it without trying (2.26). Looked for each minute, a piece of the queue at a time.
 */
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "config/config.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/store_private.h"

enum { LOOK_MS = 60 * 1000, ROWS_MAX = 10000, FOUND_MAX = 500 };

/* Every queued recipient, oldest mail first, and whether somebody wants to hear that it is late. */
static const char query[] =
	"SELECT mid, domain, queued, warned = 0 AND sender <> '' AND (notify = 0 OR notify & 8)"
	" FROM recipient JOIN message USING (mid) WHERE state = 0 AND mid > ? ORDER BY mid LIMIT ?";

/* One item for each mail and domain behind `cursor` that is overdue. ret_next: the cursor to go on from; 0 = from the start. */
static struct store_overdue *look(
	struct store *store, int64_t cursor, int64_t expired_before, int64_t late_before, int64_t *ret_next)
{
	struct store_overdue *list = text_must(talloc_zero(NULL, struct store_overdue));
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *row = database_prepare(db, query);
	int64_t mid = 0, rows = 0;

	database_bind_number(row, 1, cursor);
	database_bind_number(row, 2, ROWS_MAX);
	while (list->count < FOUND_MAX && database_step(row) == 1) {
		const int64_t queued = sqlite3_column_int64(row, 2);
		const char *domain = (const char *)sqlite3_column_text(row, 1);
		const struct store_overdue_item *last =
			list->count == 0 ? NULL : &list->items[list->count - 1];

		mid = sqlite3_column_int64(row, 0);
		rows++;
		if (queued > MAX(expired_before, late_before)) {
			rows = 0; /* all that follows is younger */
			break;
		}
		if ((queued > expired_before && sqlite3_column_int(row, 3) == 0) ||
			(last != NULL && last->mid == mid && strcmp(last->domain, domain) == 0))
			continue;
		list->items = text_must(talloc_realloc(
			list, list->items, struct store_overdue_item, (unsigned)list->count + 1));
		list->items[list->count++] =
			(struct store_overdue_item){ mid, text_copy(list, text_of(domain)) };
	}
	*ret_next = rows == ROWS_MAX || list->count == FOUND_MAX ? mid : 0;
	sqlite3_finalize(row);
	readers_give(store->readers, db);
	return list;
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
	const int64_t cursor = store->overdue_cursor, age = store->clock.now_ms;
	const struct config_delivery delivery = store->config->delivery;
	const bool parked = due && schedule_has_parked(store->schedule);
	if (due)
		store->overdue_next = now + look_again_ms(&delivery);
	pthread_mutex_unlock(&store->lock);
	if (!parked)
		return;

	int64_t next;
	struct store_overdue *found = look(store, cursor, age - delivery.expire_ms,
		delivery.delay_warning_ms == 0 ? INT64_MIN : age - delivery.delay_warning_ms, &next);
	pthread_mutex_lock(&store->lock);
	talloc_free(store->overdue);
	store->overdue = talloc_steal(store, found);
	store->overdue_cursor = next;
	pthread_mutex_unlock(&store->lock);
}

bool store_overdue_lend(struct store *store, uint64_t owner, struct schedule_item *ret_item)
{
	struct store_overdue *list = store->overdue;

	while (list != NULL && list->used < list->count && store->lessee == owner) {
		const struct store_overdue_item *item = &list->items[list->used++];

		if (schedule_claim_parked(
			    store->schedule, item->mid, item->domain, clock_mono_ms(), owner, ret_item))
			return true;
	}
	return false;
}
