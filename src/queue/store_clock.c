/*
 * The clock that ages of mail are counted by: policy/steady.c looked at often, saved each minute while mail waits, resumed when the store
 * is opened. A jump of the wall clock makes mail neither old nor young; it is an event, because nothing else may notice it.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/schedule.h"
#include "queue/store_private.h"
#include "queue/writer.h"

enum { SAVE_MS = 60 * 1000 };

static void say(int64_t jump_ms, const char *reason)
{
	log_event(LOG_ERROR, "clock_jumped", log_num("seconds", jump_ms / 1000), log_str("reason", reason));
}

/* Called with the lock held. */
static void tick(struct store *store)
{
	int64_t jump = steady_tick(&store->clock, clock_wall_ms(), clock_mono_ms());

	if (jump != 0)
		say(jump,
			"the system's clock was set, or the machine slept; ages of queued mail do not change");
}

int store_clock_open(struct store *store)
{
	sqlite3 *db = readers_take(store->readers);
	/* A store that was never open for a minute goes on from its newest mail. */
	sqlite3_stmt *row = database_prepare(
		db, "SELECT now, wall FROM clock UNION ALL SELECT max(queued), max(queued) FROM message");
	int64_t now = clock_wall_ms(), saved = now, saved_wall = now, jump;

	int r = database_step(row);
	if (r == 1 && sqlite3_column_type(row, 0) != SQLITE_NULL) {
		saved = sqlite3_column_int64(row, 0);
		saved_wall = sqlite3_column_int64(row, 1);
	}
	sqlite3_finalize(row);
	readers_give(store->readers, db);
	store->clock = steady_resume(saved, saved_wall, now, clock_mono_ms(), &jump);
	store->clock_saved = saved;
	if (jump != 0 && schedule_count(store->schedule) > 0)
		say(jump, "the gateway was off for so long, or the system's clock was set meanwhile; "
			  "the time does not count for the ages of queued mail");
	return MIN(r, 0);
}

int64_t store_clock(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	tick(store);
	int64_t now = store->clock.now_ms;
	pthread_mutex_unlock(&store->lock);
	return now;
}

void store_clock_keep(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	tick(store);
	const struct steady clock = store->clock;
	bool due = schedule_count(store->schedule) > 0 && clock.now_ms - store->clock_saved >= SAVE_MS;
	if (due)
		store->clock_saved = clock.now_ms;
	pthread_mutex_unlock(&store->lock);
	if (due)
		writer_clock(store->writer, &clock); /* without room it is tried again in a minute */
}
