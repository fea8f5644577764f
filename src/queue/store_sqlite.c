/*
 * The embedded store: SQLite rows, content files, and the schedule in memory, put together. Called by role `queue` only (and by the
 * command line for reading). Order matters everywhere: first durable, then scheduled, then answered.
 */
#include "queue/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/config.h"
#include "lookup/route.h"
#include "policy/retry.h"
#include "queue/content.h"
#include "queue/database.h"
#include "queue/quota.h"
#include "queue/readers.h"
#include "queue/schedule.h"
#include "queue/store_private.h"
#include "queue/writer.h"

enum { DAMAGED_RETRY_MS = 60 * 60 * 1000 };

static int store_destroy(struct store *store)
{
	if (store->writer != NULL)
		writer_stop(store->writer);
	base_close(&store->content_fd);
	config_release(store->config);
	pthread_cond_destroy(&store->changed);
	pthread_mutex_destroy(&store->lock);
	return 0;
}

static struct store *store_new(const void *owner)
{
	struct store *store = text_must(talloc_zero(owner, struct store));

	store->content_fd = -1;
	pthread_mutex_init(&store->lock, NULL);
	thread_condition(&store->changed);
	talloc_set_destructor(store, store_destroy);
	return store;
}

static int why(const void *owner, int error, const char *what, const char **ret_why)
{
	*ret_why = text_must(talloc_asprintf(owner, "%s: %s", what, err_text(error)));
	return error;
}

/* Stored times are wall clock, timers are not: a jump of the clock neither storms nor stalls the queue. */
static int64_t mono_due(const struct config *config, int64_t due_wall)
{
	int64_t longest =
		retry_wait_ms(config->delivery.retry_ms, config->delivery.retry_count, UINT32_MAX, 999);

	return clock_mono_ms() + MAX(0, MIN(due_wall - clock_wall_ms(), longest));
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
				store->schedule, destination, domain, mid, mono_due(store->config, due));
		else
			schedule_add(store->schedule, destination, domain, mid, mono_due(store->config, due));
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
	sqlite3_stmt *statement = database_prepare(db, "SELECT file FROM message WHERE file IS NOT NULL");
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

int store_open(const void *owner, int dir_fd, const struct config *config, struct store **ret_store,
	const char **ret_why)
{
	struct store *store = store_new(owner);
	sqlite3 *db;
	int r;

	store->config = config_hold(config);
	store->start = (uint64_t)clock_wall_ms();
	store->schedule = schedule_new(store);
	schedule_set_retry(store->schedule, config->delivery.retry_ms, config->delivery.retry_count);
	schedule_set_concurrency(store->schedule, (unsigned)config->delivery.concurrency);
	r = database_open_writer(owner, dir_fd, &db, ret_why);
	if (r < 0)
		goto failed;
	store->writer = writer_start(NULL, db);
	r = readers_open(store, dir_fd, &store->readers, ret_why);
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
		r = load_quota(store);
	if (r == 0)
		r = sweep(store);
	if (r < 0) {
		why(owner, r, "queue.db cannot be read", ret_why);
		goto failed;
	}
	*ret_store = store;
	return 0;

failed:
	talloc_free(store);
	return r;
}

int store_open_reader(
	const void *owner, const char *directory, struct store **ret_store, const char **ret_why)
{
	struct store *store = store_new(owner);
	int r;

	store->content_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->content_fd < 0) {
		r = -errno;
		*ret_why = text_must(talloc_asprintf(owner, "%s: %s", directory, err_text(r)));
	} else {
		r = readers_open(store, store->content_fd, &store->readers, ret_why);
	}
	if (r < 0)
		talloc_free(store);
	else
		*ret_store = store;
	return r;
}

void store_configure(struct store *store, const struct config *config)
{
	const struct config *before = store->config;
	size_t count;

	pthread_mutex_lock(&store->lock);
	store->config = config_hold(config);
	schedule_set_retry(store->schedule, config->delivery.retry_ms, config->delivery.retry_count);
	schedule_set_concurrency(store->schedule, (unsigned)config->delivery.concurrency);
	const char **domains = schedule_domains(store->schedule, NULL, &count);
	for (size_t i = 0; i < count; i++)
		schedule_route(store->schedule, domains[i], route_destination(config, domains[i]));
	schedule_rehome(store->schedule);
	talloc_free(domains);
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
	config_release(before);
}

/* Schedule a mail that has become durable: once for each recipient domain. */
static void schedule_mail(struct store *store, int64_t mid, const struct envelope *envelope)
{
	char **domains = text_must(talloc_array(NULL, char *, (unsigned)envelope->recipient_count));
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < envelope->recipient_count; i++)
		domains[i] = text_copy_lower(domains, envelope_domain(envelope->recipients[i]));
	qsort(domains, envelope->recipient_count, sizeof domains[0], compare_names);

	pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < envelope->recipient_count; i++)
		if (i == 0 || strcmp(domains[i], domains[i - 1]) != 0)
			schedule_add(store->schedule, route_destination(store->config, domains[i]),
				domains[i], mid, now);
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
	talloc_free(domains);
}

int store_room(struct store *store, uint64_t size)
{
	pthread_mutex_lock(&store->lock);
	const struct config_limits *limits = &store->config->limits;
	uint64_t space = limits->min_free_space, inodes = limits->min_free_inodes;
	if (store->low) {
		space += space / 10;
		inodes += inodes / 10;
	}
	int r = content_room(store->content_fd, space + size, inodes);
	if (r < 0 && !store->low)
		log_event(LOG_ERROR, "storage_low", log_num("min_free_space", (int64_t)space),
			log_num("min_free_inodes", (int64_t)inodes));
	if (r == 0 && store->low)
		log_event(LOG_INFO, "storage_recovered", log_num("min_free_space", (int64_t)space),
			log_num("min_free_inodes", (int64_t)inodes));
	store->low = r < 0;
	pthread_mutex_unlock(&store->lock);
	return r;
}

/* Count a mail of `client` against limits.queue_quota before it is stored; false when it would be one too many. */
static bool enter_quota(struct store *store, const char *client)
{
	pthread_mutex_lock(&store->lock);
	uint64_t quota = store->config->limits.queue_quota;
	bool allowed = quota == 0 || quota_count(store->quota, client) < quota;
	if (allowed)
		quota_add(store->quota, client);
	pthread_mutex_unlock(&store->lock);
	return allowed;
}

static void leave_quota(struct store *store, const char *client)
{
	pthread_mutex_lock(&store->lock);
	quota_drop(store->quota, client);
	pthread_mutex_unlock(&store->lock);
}

int store_new_file(struct store *store, uint64_t size)
{
	return content_new(store->content_fd, size);
}

int store_commit(
	struct store *store, const struct envelope *envelope, const struct content *content, int64_t *ret_mid)
{
	struct writer_mail mail = { .envelope = envelope,
		.bytes = content->bytes,
		.size = content->size,
		.due_ms = clock_wall_ms() };
	char name[CONTENT_NAME_MAX];
	struct digest digest;
	int r = 0;

	if (envelope->recipient_count == 0)
		return -EINVAL;
	if (!enter_quota(store, envelope->client))
		return ERR_QUOTA;
	if (content->fd >= 0) {
		r = content_keep(store->content_fd, content->fd, content->size, store->start, name, &digest);
		mail.file = name;
		mail.digest = &digest;
	}
	if (r == 0) {
		r = writer_mail(store->writer, &mail);
		if (r < 0 && mail.file != NULL)
			content_drop(store->content_fd, name);
	}
	if (r < 0) {
		leave_quota(store, envelope->client);
		return r;
	}
	schedule_mail(store, mail.mid, envelope);
	*ret_mid = mail.mid;
	return 0;
}

/* Wait for something that is due; false when the time is over. */
static bool lend(struct store *store, const char *prefer, uint64_t owner, int64_t until,
	struct schedule_item *ret_item)
{
	for (;;) {
		int64_t now = clock_mono_ms();

		if (store->lessee != owner)
			return false;
		if (schedule_lend(store->schedule, prefer, now, owner, ret_item))
			return true;
		if (now >= until)
			return false;

		thread_wait(
			&store->changed, &store->lock, MIN(until, schedule_next(store->schedule, prefer)));
	}
}

int store_lease(struct store *store, const void *parent, uint64_t owner, const char *prefer, int64_t wait_ms,
	struct lease **ret_lease)
{
	int64_t until = clock_mono_ms() + wait_ms;

	*ret_lease = NULL;
	for (;;) {
		struct schedule_item item;
		char *domain, *destination;

		pthread_mutex_lock(&store->lock);
		if (prefer != NULL)
			schedule_reserve(store->schedule, prefer, true);
		bool found = lend(store, prefer, owner, until, &item);
		if (prefer != NULL) {
			schedule_reserve(store->schedule, prefer, false);
			pthread_cond_broadcast(&store->changed); /* what was kept for it is anybody's now */
		}
		if (found) {
			domain = text_copy(NULL, text_of(item.domain));
			destination = text_copy(domain, text_of(item.destination));
		}
		pthread_mutex_unlock(&store->lock);
		if (!found)
			return 0;

		int r = store_load_lease(store, parent, item.mid, domain, destination, ret_lease);
		if (r < 0) {
			log_event(LOG_ERROR, "content_unreadable", log_num("mid", item.mid),
				log_str("reason", err_text(r)));
			pthread_mutex_lock(&store->lock);
			if (r == -ENOENT)
				schedule_finish(store->schedule, item.mid, domain);
			else
				schedule_again(store->schedule, item.mid, domain,
					clock_mono_ms() + DAMAGED_RETRY_MS);
			pthread_mutex_unlock(&store->lock);
		} else {
			pthread_mutex_lock(&store->lock);
			schedule_set_attempt(store->schedule, item.mid, domain, (*ret_lease)->attempts + 1);
			pthread_mutex_unlock(&store->lock);
		}
		talloc_free(domain);
		if (r == 0)
			return 0;
	}
}

void store_admit(struct store *store, uint64_t owner)
{
	pthread_mutex_lock(&store->lock);
	store->lessee = owner;
	pthread_mutex_unlock(&store->lock);
}

void store_stop(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->lessee = 0;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

void store_unlease(struct store *store, uint64_t owner, int64_t mid, const char *domain)
{
	uint64_t holder;
	uint32_t attempt;

	pthread_mutex_lock(&store->lock);
	if (schedule_is_lent(store->schedule, mid, domain, &holder, &attempt) && holder == owner)
		schedule_return(store->schedule, mid, domain, clock_mono_ms());
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

void store_claim(struct store *store, uint64_t owner, int64_t mid, const char *domain)
{
	pthread_mutex_lock(&store->lock);
	schedule_claim(store->schedule, mid, domain, owner);
	pthread_mutex_unlock(&store->lock);
}

void store_free_owner(struct store *store, uint64_t owner)
{
	pthread_mutex_lock(&store->lock);
	schedule_free_owner(store->schedule, owner, clock_mono_ms());
	if (store->lessee == owner)
		store->lessee = 0;
	pthread_cond_broadcast(&store->changed);
	pthread_mutex_unlock(&store->lock);
}

static int64_t next_try_ms(struct store *store, const struct outcome *outcome)
{
	unsigned dice = 0;

	(void)!getrandom(&dice, sizeof dice, GRND_NONBLOCK);
	pthread_mutex_lock(&store->lock);
	const struct config_delivery *delivery = &store->config->delivery;
	int64_t wait = retry_wait_ms(delivery->retry_ms, delivery->retry_count, outcome->attempt, dice);
	pthread_mutex_unlock(&store->lock);
	return wait;
}

/* What the schedule makes of a recorded outcome. One that had been recorded before must not end the lease of the next attempt. */
static void give_back(
	struct store *store, const struct outcome *outcome, const struct writer_outcome *job, int64_t wait)
{
	uint64_t owner;
	uint32_t attempt = 0;

	pthread_mutex_lock(&store->lock);
	schedule_is_lent(store->schedule, outcome->mid, outcome->domain, &owner, &attempt);
	if (!job->repeated || attempt == 0 || attempt == outcome->attempt) {
		schedule_reached(store->schedule, outcome->mid, outcome->domain, !outcome->unreachable,
			clock_mono_ms());
		if (job->waiting)
			schedule_again(
				store->schedule, outcome->mid, outcome->domain, clock_mono_ms() + wait);
		else
			schedule_finish(store->schedule, outcome->mid, outcome->domain);
		pthread_cond_broadcast(&store->changed);
	}
	pthread_mutex_unlock(&store->lock);
}

int store_record(struct store *store, const struct outcome *outcome)
{
	int64_t wait = next_try_ms(store, outcome);
	struct writer_mail dsn = { .envelope = outcome->dsn,
		.bytes = outcome->dsn_content,
		.size = outcome->dsn_content.len,
		.due_ms = clock_wall_ms() };
	struct writer_outcome job = { .outcome = outcome,
		.due_ms = clock_wall_ms() + wait,
		.dsn = outcome->dsn == NULL ? NULL : &dsn };
	int r = writer_outcome(store->writer, &job);

	if (r == -EINVAL) {
		/* It can never be recorded as it is: the mail is tried again, as if the attempt had not been. */
		pthread_mutex_lock(&store->lock);
		schedule_again(store->schedule, outcome->mid, outcome->domain, clock_mono_ms() + wait);
		pthread_mutex_unlock(&store->lock);
	}
	if (r < 0)
		return r;

	give_back(store, outcome, &job, wait);
	if (job.client[0] != '\0' && !job.repeated)
		leave_quota(store, job.client);
	if (job.dsn != NULL && !job.repeated)
		schedule_mail(store, dsn.mid, outcome->dsn);
	if (job.file[0] != '\0')
		content_drop(store->content_fd, job.file);
	return 0;
}

int store_note(struct store *store, const struct store_refusal *refusals, size_t count)
{
	return writer_notes(store->writer, refusals, count);
}

uint64_t store_queued(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	uint64_t count = schedule_count(store->schedule);
	pthread_mutex_unlock(&store->lock);
	return count;
}

struct store_gauges store_gauges(struct store *store)
{
	int64_t found = 0;
	int r = store_find_oldest(store, &found);

	pthread_mutex_lock(&store->lock);
	if (r == 0 || r == -ENOENT)
		store->oldest = found;
	const struct schedule_counts counts = schedule_counts(store->schedule);
	const struct store_gauges gauges = { .ready = counts.ready,
		.deferred = counts.deferred,
		.leased = counts.lent,
		.oldest_ms = store->oldest == 0 ? 0 : MAX(0, clock_wall_ms() - store->oldest) };
	pthread_mutex_unlock(&store->lock);
	return gauges;
}

void store_watch_syncs(
	struct store *store, void (*observe)(void *context, int64_t microseconds), void *context)
{
	writer_watch(store->writer, observe, context);
}
