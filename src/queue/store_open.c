/*
 * Opening and closing the embedded store: the database, the readers, the directory content/, and from them what lives in memory only.
 * store_sqlite.c works with what is opened here.
 */
#include "queue/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "lookup/route.h"
#include "policy/retry.h"
#include "queue/checkpoint.h"
#include "queue/checksum.h"
#include "queue/content.h"
#include "queue/database.h"
#include "queue/mover.h"
#include "queue/quota.h"
#include "queue/readers.h"
#include "queue/restore.h"
#include "queue/salvage.h"
#include "queue/schedule.h"
#include "queue/store_admin_private.h"
#include "queue/store_private.h"
#include "queue/writer.h"

/* 8 MiB and 64 MiB: docs/queue.md. */
static const struct checkpoint_limits log_limits = { .copied = 1024, .bounded = 8192 };

static int store_destroy(struct store *store)
{
	/* Whoever closes a database last empties its log, and must be able to write. */
	TALLOC_FREE(store->tracks);
	TALLOC_FREE(store->readers);
	if (store->mover != NULL)
		mover_stop(store->mover); /* before the writer, which it waits for */
	if (store->writer != NULL)
		writer_stop(store->writer);
	if (store->checkpoint != NULL)
		checkpoint_stop(store->checkpoint);
	base_close(&store->content_fd);
	base_close(&store->reader_fd);
	config_release(store->config);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->orders);
	return 0;
}

static struct store *store_new(const void *owner)
{
	struct store *store = text_must(talloc_zero(owner, struct store));

	store->content_fd = store->reader_fd = store->state_fd = -1;
	pthread_mutex_init(&store->orders, NULL);
	pthread_mutex_init(&store->lock, NULL);
	waiters_init(&store->waiters);
	talloc_set_destructor(store, store_destroy);
	return store;
}

static int why(const void *owner, int error, const char *what, const char **ret_why)
{
	*ret_why = text_must(talloc_asprintf(owner, "%s: %s", what, err_text(error)));
	return error;
}

/* Stored times are wall clock, timers are not: a jump of the clock neither storms nor stalls the queue. */
int64_t store_longest_wait_ms(const struct store *store)
{
	const struct config_delivery *delivery = &store->config->delivery;

	return retry_wait_ms(delivery->retry_ms, delivery->retry_count, UINT32_MAX, 999);
}

static int64_t mono_due(const struct store *store, int64_t due_wall)
{
	return clock_mono_ms() + MAX(0, MIN(due_wall - clock_wall_ms(), store_longest_wait_ms(store)));
}

/* New destinations get their limits before anything is lent from them. */
void store_limit_destinations(struct store *store)
{
	const char *name;

	while ((name = schedule_new_destination(store->schedule)) != NULL) {
		struct config_pace pace = config_pace_of(store->config, name);

		schedule_limit(store->schedule, name, (unsigned)pace.concurrency, pace.rate);
	}
}

static void set_pace(struct schedule *schedule, const struct config_delivery *delivery)
{
	schedule_renew(schedule);
	schedule_set_retry(schedule, delivery->retry_ms, delivery->retry_count);
	schedule_set_concurrency(schedule, (unsigned)delivery->concurrency);
	schedule_set_connections(schedule, (unsigned)delivery->connections);
	schedule_set_rate(schedule, delivery->rate);
}

/* What was damaged may have been mended: its recipients are queued again when their own rows, their message and content that lies in a row are whole.
 * A content file is looked at when it is lent. */
static int requeue_corrupt(sqlite3 *db)
{
	return database_exec(db,
		"UPDATE recipient SET state = 0,"
		" sum = row_sum('recipient', mid, rid, address, domain, 0, attempts, due, notify, orcpt, warned)"
		" WHERE state = 3 AND sum = " CHECKSUM_OF_RECIPIENT
		" AND EXISTS (SELECT 1 FROM message WHERE message.mid = recipient.mid AND sum = " CHECKSUM_OF_MESSAGE
		" AND (file IS NOT NULL OR EXISTS (SELECT 1 FROM content"
		" WHERE content.mid = message.mid AND row_digest(bytes) = digest)))");
}

/* Index everything that is still queued. */
static int load_schedule(struct store *store)
{
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *statement = database_prepare(
		db, "SELECT mid, domain, min(due) FROM recipient WHERE state = 0 GROUP BY mid, domain");
	const int64_t now = clock_wall_ms();
	int r;

	while ((r = database_step(statement)) == 1) {
		const char *domain = (const char *)sqlite3_column_text(statement, 1),
			   *destination = route_destination(store->config, domain);
		int64_t mid = sqlite3_column_int64(statement, 0), due = sqlite3_column_int64(statement, 2);

		/* What was never tried is due since it came. */
		if (due > now)
			schedule_add_deferred(
				store->schedule, destination, domain, mid, mono_due(store, due));
		else
			schedule_add(store->schedule, destination, domain, mid, mono_due(store, due));
	}
	sqlite3_finalize(statement);
	readers_give(store->readers, db);
	return r;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Count what every client network has in the queue. */
static int load_quota(struct store *store)
{
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *statement = database_prepare(
		db, "SELECT client FROM message WHERE mid IN (SELECT mid FROM recipient WHERE state = 0)");
	int r;

	while ((r = database_step(statement)) == 1)
		quota_add(store->quota, (const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	readers_give(store->readers, db);
	return r;
}

/* G6: files of mails that were finished, or never committed, when the power went. */
static int sweep(struct store *store)
{
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *statement = database_prepare(db,
		"SELECT file FROM message WHERE file IS NOT NULL AND mid NOT IN (SELECT mid FROM outbox)");
	const char **names = text_must(talloc_array(NULL, const char *, 0));
	size_t count = 0;
	int r;

	while ((r = database_step(statement)) == 1) {
		names = text_must(talloc_realloc(NULL, names, const char *, (unsigned)count + 1));
		names[count++] = text_copy(names, database_text(statement, 0));
	}
	sqlite3_finalize(statement);
	readers_give(store->readers, db);
	qsort(names, count, sizeof names[0], compare_names);
	if (r == 0) {
		unsigned removed = content_sweep(store->content_fd, names, count);

		if (removed > 0)
			log_event(LOG_INFO, "orphans_removed", log_num("files", removed));
	}
	talloc_free(names);
	return r;
}

/* The highest that were ever given. They are given by the writer, because that of a mail is part of its sum. */
struct numbers {
	int64_t mid, refusal;
};

static int raise_number(int64_t *number, sqlite3 *db, const char *sql)
{
	int64_t found;
	int r = database_number(db, sql, &found);

	if (r == 0)
		*number = MAX(*number, found);
	return r;
}

static int forget_track(int dir_fd)
{
	char name[SALVAGE_NAME_MAX];
	int r = salvage_forget_track(dir_fd, name);

	if (r == 0)
		log_event(LOG_ERROR, "tracking_corrupt", log_str("kept", name));
	return r;
}

static int try_track(
	const void *owner, int dir_fd, sqlite3 **ret_track, struct numbers *numbers, const char **ret_why)
{
	sqlite3 *track = NULL;
	int r = salvage_track_is_damaged(dir_fd)
			? -EUCLEAN
			: database_open_writer(owner, dir_fd, DATABASE_TRACK, &track, ret_why);

	if (r < 0)
		return r;
	r = raise_number(&numbers->mid, track, "SELECT max(mid) FROM message");
	if (r == 0)
		r = raise_number(&numbers->refusal, track, "SELECT max(id) FROM refusal");
	if (r < 0) {
		database_close(track);
		return why(owner, r, "track.db cannot be read", ret_why);
	}
	*ret_track = track;
	return 0;
}

static int open_track(
	const void *owner, int dir_fd, sqlite3 **ret_track, struct numbers *numbers, const char **ret_why)
{
	void *scratch = talloc_new(owner);
	int r = try_track(scratch, dir_fd, ret_track, numbers, ret_why);

	if (r == -EUCLEAN) {
		r = forget_track(dir_fd);
		if (r < 0)
			why(scratch, r, "track.db is damaged, and cannot be set aside", ret_why);
		else
			r = try_track(scratch, dir_fd, ret_track, numbers, ret_why);
	}
	if (r < 0)
		talloc_steal(owner, *ret_why);
	talloc_free(scratch);
	return r;
}

static int open_queue(
	const void *owner, int dir_fd, sqlite3 **ret_queue, struct numbers *numbers, const char **ret_why)
{
	sqlite3 *queue = NULL;
	int r = database_open_writer(owner, dir_fd, DATABASE_QUEUE, &queue, ret_why);

	if (r < 0)
		return r;
	r = requeue_corrupt(queue);
	if (r < 0) {
		why(owner, r, "queue.db cannot be written", ret_why);
	} else {
		r = raise_number(
			&numbers->mid, queue, "SELECT seq FROM sqlite_sequence WHERE name = 'message'");
		if (r == 0)
			r = raise_number(&numbers->refusal, queue, "SELECT max(id) FROM refusal");
		if (r < 0)
			why(owner, r, "queue.db cannot be read", ret_why);
	}
	if (r < 0)
		database_close(queue);
	else
		*ret_queue = queue;
	return r;
}

/* Both databases with their readers, and the writer; ret_track is the connection for the mover. */
static int open_databases(
	struct store *store, const void *owner, int dir_fd, sqlite3 **ret_track, const char **ret_why)
{
	sqlite3 *queue = NULL, *track = NULL, *log = NULL;
	struct numbers last = { 0, 0 };
	int r = salvage_before_open(owner, dir_fd, ret_why);

	if (r == 0)
		r = open_queue(owner, dir_fd, &queue, &last, ret_why);
	if (r == 0)
		r = open_track(owner, dir_fd, &track, &last, ret_why);
	if (r == 0)
		r = database_open_writer(owner, dir_fd, DATABASE_QUEUE, &log, ret_why);
	if (r < 0) {
		database_close(queue);
		database_close(track);
		return r;
	}
	*ret_track = track;
	store->checkpoint = checkpoint_start(NULL, log, log_limits);
	store->writer = writer_start(NULL, queue, store->checkpoint, last.mid, last.refusal);
	r = readers_open(store, dir_fd, DATABASE_QUEUE, &store->readers, ret_why);
	if (r == 0)
		r = readers_open(store, dir_fd, DATABASE_TRACK, &store->tracks, ret_why);
	return r;
}

int store_open(const void *owner, int dir_fd, const struct config *config, struct store **ret_store,
	const char **ret_why)
{
	struct store *store = store_new(owner);
	sqlite3 *track = NULL;
	int r;

	if (restore_is_unfinished(dir_fd)) {
		*ret_why =
			"a restore into this state directory was interrupted; empty the directory and restore again";
		talloc_free(store);
		return -EBUSY;
	}
	store->config = config_hold(config);
	store->start = (uint64_t)clock_wall_ms();
	store->state_fd = dir_fd;
	store->schedule = schedule_new(store);
	set_pace(store->schedule, &config->delivery);
	r = open_databases(store, owner, dir_fd, &track, ret_why);
	if (r < 0)
		goto failed;
	store->content_fd = content_open(dir_fd);
	if (store->content_fd < 0) {
		r = why(owner, store->content_fd,
			"the directory content/ in the state directory cannot be used", ret_why);
		goto failed;
	}
	store->quota = quota_new(store);
	r = load_schedule(store);
	if (r == 0)
		r = store_admin_load(store);
	if (r == 0)
		r = store_clock_open(store);
	if (r == 0)
		r = load_quota(store);
	if (r == 0)
		r = sweep(store);
	if (r < 0) {
		why(owner, r, "queue.db cannot be read", ret_why);
		goto failed;
	}
	store->mover = mover_start(NULL, track, dir_fd, store->writer, config->tracking.keep_ms);
	if (store->mover == NULL) {
		r = why(owner, -EIO, "queue.db cannot be attached to track.db", ret_why);
		track = NULL;
		goto failed;
	}
	*ret_store = store;
	return 0;

failed:
	database_close(track);
	talloc_steal(owner, *ret_why); /* it may be the store's */
	talloc_free(store);
	return r;
}

/* Nobody judged the file at a start. */
static int open_unjudged(
	struct store *store, enum database_file file, struct readers **ret_readers, const char **ret_why)
{
	int r = readers_open(store, store->reader_fd, file, ret_readers, ret_why);

	if (r == 0) {
		sqlite3 *db = readers_take(*ret_readers);

		r = database_check_columns(store, db, file, ret_why);
		readers_give(*ret_readers, db);
	}
	return r;
}

int store_open_reader(
	const void *owner, const char *directory, struct store **ret_store, const char **ret_why)
{
	struct store *store = store_new(owner);
	int r;

	store->reader_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->reader_fd < 0) {
		r = -errno;
		*ret_why = text_must(talloc_asprintf(owner, "%s: %s", directory, err_text(r)));
	} else {
		const int64_t now = clock_wall_ms();
		int64_t jump;
		store->clock = steady_resume(now, now, now, clock_mono_ms(), &jump);
		store->content_fd = openat(store->reader_fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = open_unjudged(store, DATABASE_QUEUE, &store->readers, ret_why);
		if (r == 0)
			r = open_unjudged(store, DATABASE_TRACK, &store->tracks, ret_why);
	}
	if (r < 0) {
		talloc_steal(owner, *ret_why);
		talloc_free(store);
	} else {
		*ret_store = store;
	}
	return r;
}

void store_configure(struct store *store, const struct config *config)
{
	const struct config *before = store->config;
	size_t count;

	pthread_mutex_lock(&store->lock);
	store->config = config_hold(config);
	set_pace(store->schedule, &config->delivery);
	const char **domains = schedule_domains(store->schedule, NULL, &count);
	for (size_t i = 0; i < count; i++)
		schedule_route(store->schedule, domains[i], route_destination(config, domains[i]));
	schedule_rehome(store->schedule);
	talloc_free(domains);
	mover_keep(store->mover, config->tracking.keep_ms);
	waiters_call_all(&store->waiters);
	pthread_mutex_unlock(&store->lock);
	config_release(before);
}
