/*
 * The embedded store: SQLite rows, content files, and the schedule in memory, put together. Called by role `queue` only (and by the
 * command line for reading). Order matters everywhere: first durable, then scheduled, then answered.
 */
#include "queue/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "lookup/route.h"
#include "policy/retry.h"
#include "queue/content.h"
#include "queue/mover.h"
#include "queue/quota.h"
#include "queue/schedule.h"
#include "queue/store_admin_private.h"
#include "queue/store_private.h"
#include "queue/writer.h"

enum {
	UNREAD_RETRY_MS = 60 * 60 * 1000,
	BUSY_RETRY_MS = 5000,
	ROW_MAX = 1000000000 /* bytes that SQLite takes */
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_domain(struct store *store, const char *domain, int64_t mid, int64_t due)
{
	const char *destination = route_destination(store->config, domain);

	schedule_add(store->schedule, destination, domain, mid, due);
	store_limit_destinations(store);
	waiters_call(&store->waiters, store->schedule, destination);
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
			add_domain(store, domains[i], mid, now);
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

/* What no row can hold is refused by the database before anybody reads a byte of it. */
static struct digest digest_row(struct text bytes)
{
	return digest_of(bytes.len <= ROW_MAX ? bytes : TEXT(""));
}

static void tell_fault(struct store *store, enum storage_part part, int error)
{
	pthread_mutex_lock(&store->lock);
	storage_fault_tell(&store->fault, part, error);
	pthread_mutex_unlock(&store->lock);
}

int store_new_file(struct store *store, uint64_t size)
{
	int r = content_new(store->content_fd, size);

	if (r < 0)
		tell_fault(store, STORAGE_CONTENT, r);
	return r;
}

int store_commit(
	struct store *store, const struct envelope *envelope, const struct content *content, int64_t *ret_mid)
{
	struct writer_mail mail = { .envelope = envelope,
		.bytes = content->bytes,
		.size = content->size,
		.due_ms = clock_wall_ms(),
		.queued_ms = store_clock(store) };
	char name[CONTENT_NAME_MAX];
	struct digest digest;
	int r = 0;

	if (envelope->recipient_count == 0)
		return -EINVAL;
	if (!enter_quota(store, envelope->client))
		return ERR_QUOTA;
	mail.digest = &digest;
	if (content->fd < 0) {
		digest = digest_row(content->bytes);
	} else {
		r = content_keep(store->content_fd, content->fd, content->size, store->start, name, &digest);
		tell_fault(store, STORAGE_CONTENT, r);
		mail.file = name;
	}
	if (r == 0) {
		r = writer_mail(store->writer, &mail);
		tell_fault(store, STORAGE_DATABASE, r);
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

/* Wait for something that is due; false when the time is over, or others are to be served before more comes for `prefer`. */
static bool lend(struct store *store, const char *prefer, uint64_t owner, int64_t until,
	struct schedule_item *ret_item)
{
	for (;;) {
		int64_t now = clock_mono_ms();

		if (store->lessee != owner)
			return false;
		store_limit_destinations(store);
		if (schedule_lend(store->schedule, prefer, now, owner, ret_item))
			return true;
		if (now >= until)
			return false;
		if (prefer != NULL && waiters_give_way(&store->waiters, store->schedule, now))
			return false;

		waiters_wait(&store->waiters, &store->lock, store->schedule, prefer, until);
	}
}

static void lent(struct store *store, int64_t mid, const char *domain, uint32_t attempt)
{
	pthread_mutex_lock(&store->lock);
	storage_fault_tell(&store->fault, STORAGE_READING, 0);
	schedule_set_attempt(store->schedule, mid, domain, attempt);
	pthread_mutex_unlock(&store->lock);
}

/* It cannot be read now, or (-ENOENT) nobody of this domain is queued any more, or (-EUCLEAN) SQLite finds the file damaged: the role ends,
 * and the next start salvages it. Want of descriptors passes soon and is not the mail's fault. */
static void unread(struct store *store, int64_t mid, const char *domain, int error)
{
	bool busy = error == -EMFILE || error == -ENFILE;

	if (error == -EUCLEAN) {
		log_event(LOG_ERROR, "store_failed", log_str("reason", err_text(error)), log_str("error", ""),
			log_str("cure", storage_fault_cure(error)));
		_exit(EXIT_FAILURE);
	}
	if (error != -ENOENT && !busy)
		log_event(LOG_ERROR, "content_unreadable", log_num("mid", mid),
			log_str("reason", err_text(error)));
	pthread_mutex_lock(&store->lock);
	const bool marked = schedule_is_marked(store->schedule, mid, domain);
	const bool hurried = schedule_is_hurried(store->schedule, mid, domain);
	if (busy)
		storage_fault_tell(&store->fault, STORAGE_READING, error);
	if (error == -ENOENT)
		schedule_finish(store->schedule, mid, domain);
	else
		schedule_again(store->schedule, mid, domain,
			clock_mono_ms() + (busy ? BUSY_RETRY_MS : UNREAD_RETRY_MS));
	waiters_call_each(&store->waiters, store->schedule);
	pthread_mutex_unlock(&store->lock);
	if (marked && error == -ENOENT)
		store_admin_reschedule(store, mid, domain, hurried);
}

/* Never deliver what was damaged: those whom it was for leave the queue, into a state that says so; the others go on. */
static void set_corrupt(struct store *store, int64_t mid, const char *domain, enum store_damage damage)
{
	static const char *const parts[] = {
		[DAMAGE_RECIPIENT] = "recipient", [DAMAGE_MESSAGE] = "message", [DAMAGE_CONTENT] = "content"
	};
	struct writer_damage job = { .mid = mid, .domain = damage == DAMAGE_RECIPIENT ? domain : NULL };
	int r = writer_damage(store->writer, &job);

	if (r < 0 || job.marked == 0) {
		unread(store, mid, domain, r < 0 ? r : -EBADMSG);
		return;
	}
	log_event(LOG_ERROR, "mail_corrupt", log_num("mid", mid), log_str("part", parts[damage]),
		log_num("recipients", (int64_t)job.marked));
	pthread_mutex_lock(&store->lock);
	if (job.waiting)
		schedule_return(store->schedule, mid, domain, clock_mono_ms());
	else
		schedule_finish(store->schedule, mid, domain);
	if (job.client[0] != '\0')
		quota_drop(store->quota, job.client);
	waiters_call_each(&store->waiters, store->schedule);
	pthread_mutex_unlock(&store->lock);
}

int store_lease(struct store *store, const void *parent, uint64_t owner, const char *prefer, int64_t wait_ms,
	struct lease **ret_lease)
{
	int64_t until = clock_mono_ms() + wait_ms;

	*ret_lease = NULL;
	pthread_mutex_lock(&store->lock);
	waiters_come(&store->waiters, prefer);
	pthread_mutex_unlock(&store->lock);
	for (;;) {
		struct schedule_item item;
		char *domain, *destination;

		store_clock_keep(store);
		store_overdue_look(store);
		pthread_mutex_lock(&store->lock);
		if (prefer != NULL)
			schedule_reserve(store->schedule, prefer, true);
		const bool untried = prefer == NULL && store_overdue_lend(store, owner, &item);
		bool found = untried || lend(store, prefer, owner, until, &item);
		if (prefer != NULL) /* what was kept for it is anybody's now */
			schedule_reserve(store->schedule, prefer, false);
		waiters_call(&store->waiters, store->schedule, found ? item.destination : prefer);
		if (found) {
			domain = text_copy(NULL, text_of(item.domain));
			destination = text_copy(domain, text_of(item.destination));
		}
		pthread_mutex_unlock(&store->lock);
		if (!found)
			return 0;

		enum store_damage damage;
		int r = store_load_lease(store, parent, item.mid, domain, destination, ret_lease, &damage);
		if (r == 0) {
			r = store_admin_direct(store, *ret_lease);
			if (r == 0 && untried)
				r = store_overdue_mark(store, *ret_lease);
			if (r < 0)
				TALLOC_FREE(*ret_lease);
		}
		if (r == -EBADMSG)
			set_corrupt(store, item.mid, domain, damage);
		else if (r < 0)
			unread(store, item.mid, domain, r);
		else
			lent(store, item.mid, domain, (*ret_lease)->attempts + 1);
		talloc_free(domain);
		if (r == 0)
			return 0;
	}
}

void store_admit(struct store *store, uint64_t owner)
{
	pthread_mutex_lock(&store->lock);
	store->lessee = owner;
	store->waiters.leaving = 0; /* who gave way before was of another `deliver` */
	pthread_mutex_unlock(&store->lock);
}

void store_stop(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->lessee = 0;
	waiters_call_all(&store->waiters);
	pthread_mutex_unlock(&store->lock);
}

void store_unlease(struct store *store, uint64_t owner, int64_t mid, const char *domain)
{
	uint64_t holder;
	uint32_t attempt;

	pthread_mutex_lock(&store->lock);
	if (schedule_is_lent(store->schedule, mid, domain, &holder, &attempt) && holder == owner)
		schedule_return(store->schedule, mid, domain, clock_mono_ms());
	waiters_call_all(&store->waiters);
	pthread_mutex_unlock(&store->lock);
}

void store_claim(struct store *store, uint64_t owner, int64_t mid, const char *domain)
{
	pthread_mutex_lock(&store->lock);
	schedule_claim(store->schedule, mid, domain, clock_mono_ms(), owner);
	pthread_mutex_unlock(&store->lock);
}

void store_free_owner(struct store *store, uint64_t owner)
{
	pthread_mutex_lock(&store->lock);
	schedule_free_owner(store->schedule, owner, clock_mono_ms());
	if (store->lessee == owner)
		store->lessee = 0;
	waiters_call_all(&store->waiters);
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
	bool marked = false, hurried = false;

	pthread_mutex_lock(&store->lock);
	schedule_is_lent(store->schedule, outcome->mid, outcome->domain, &owner, &attempt);
	if (!job->repeated || attempt == 0 || attempt == outcome->attempt) {
		if (outcome->unreachable && outcome->recipient_count > 0)
			schedule_explain(
				store->schedule, outcome->mid, outcome->domain, outcome->recipients[0].reply);
		if (!outcome->untried)
			schedule_reached(store->schedule, outcome->mid, outcome->domain,
				!outcome->unreachable, clock_mono_ms());
		marked = schedule_is_marked(store->schedule, outcome->mid, outcome->domain);
		hurried = schedule_is_hurried(store->schedule, outcome->mid, outcome->domain);
		if (job->waiting && !marked)
			schedule_again(
				store->schedule, outcome->mid, outcome->domain, clock_mono_ms() + wait);
		else
			schedule_finish(store->schedule, outcome->mid, outcome->domain);
		waiters_call_each(&store->waiters, store->schedule);
	}
	pthread_mutex_unlock(&store->lock);
	if (marked && job->waiting)
		store_admin_reschedule(store, outcome->mid, outcome->domain, hurried);
}

/* A backup may have read its name before: then it goes when that is done. */
static void drop_file(struct store *store, const char *name)
{
	pthread_mutex_lock(&store->lock);
	const bool kept = store->holds > 0;
	if (kept) {
		store->kept = text_must(
			talloc_realloc(store, store->kept, char *, (unsigned)store->kept_count + 1));
		store->kept[store->kept_count++] = text_copy(store->kept, text_of(name));
	}
	pthread_mutex_unlock(&store->lock);
	if (!kept)
		content_drop(store->content_fd, name);
}

void store_finish(struct store *store, const struct writer_outcome *job)
{
	if (job->client[0] != '\0' && !job->repeated)
		leave_quota(store, job->client);
	if (job->outgoing && !job->repeated)
		mover_wake(store->mover);
	if (job->file[0] != '\0')
		drop_file(store, job->file);
}

void store_hold_files(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->holds++;
	pthread_mutex_unlock(&store->lock);
}

void store_release_files(struct store *store)
{
	char **names = NULL;
	size_t count = 0;

	pthread_mutex_lock(&store->lock);
	if (--store->holds == 0) {
		names = talloc_steal(NULL, store->kept);
		count = store->kept_count;
		store->kept = NULL;
		store->kept_count = 0;
	}
	pthread_mutex_unlock(&store->lock);
	/* A slow file system stops nobody else. A backup that begins now does not need them: their mail was finished before. */
	for (size_t i = 0; i < count; i++)
		content_drop(store->content_fd, names[i]);
	talloc_free(names);
}

int store_record(struct store *store, const struct outcome *outcome)
{
	int64_t wait = next_try_ms(store, outcome);
	const struct digest digest = digest_row(outcome->dsn_content);
	struct writer_mail dsn = { .envelope = outcome->dsn,
		.bytes = outcome->dsn_content,
		.digest = &digest,
		.size = outcome->dsn_content.len,
		.due_ms = clock_wall_ms(),
		.queued_ms = store_clock(store) };
	struct writer_outcome job = { .outcome = outcome,
		.due_ms = clock_wall_ms() + wait,
		.dsn = outcome->dsn == NULL ? NULL : &dsn };
	int r = writer_outcome(store->writer, &job);
	tell_fault(store, STORAGE_DATABASE, r);

	if (r == -EINVAL) {
		/* It can never be recorded as it is: the mail is tried again, as if the attempt had not been. */
		pthread_mutex_lock(&store->lock);
		schedule_again(store->schedule, outcome->mid, outcome->domain, clock_mono_ms() + wait);
		waiters_call_each(&store->waiters, store->schedule);
		pthread_mutex_unlock(&store->lock);
	}
	if (r < 0)
		return r;

	give_back(store, outcome, &job, wait);
	store_finish(store, &job);
	if (job.dsn != NULL && !job.repeated)
		schedule_mail(store, dsn.mid, outcome->dsn);
	return 0;
}

int store_note(struct store *store, const struct store_refusal *refusals, size_t count)
{
	int r = writer_notes(store->writer, refusals, count);

	mover_wake(store->mover);
	return r;
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
	int64_t found = 0, corrupt = 0, now = store_clock(store);
	int r = store_find_oldest(store, &found, &corrupt);

	pthread_mutex_lock(&store->lock);
	if (r == 0) {
		store->oldest = found;
		store->corrupt = (uint64_t)corrupt;
	}
	const struct schedule_counts counts = schedule_counts(store->schedule);
	const struct store_gauges gauges = { .ready = counts.ready,
		.deferred = counts.deferred,
		.leased = counts.lent,
		.corrupt = store->corrupt,
		.oldest_ms = store->oldest == 0 ? 0 : MAX(0, now - store->oldest) };
	pthread_mutex_unlock(&store->lock);
	return gauges;
}

void store_watch_syncs(
	struct store *store, void (*observe)(void *context, int64_t microseconds), void *context)
{
	writer_watch(store->writer, observe, context);
}
