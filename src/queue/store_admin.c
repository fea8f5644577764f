/*
 * Orders of the operator. What they change stands in the tables of directive.h; the schedule follows: those mails are taken out of it and put
 * back as the store says. What is lent meanwhile is marked, so that who takes it back does the same.
 */
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "lookup/route.h"
#include "queue/content.h"
#include "queue/database.h"
#include "queue/directive.h"
#include "queue/quota.h"
#include "queue/readers.h"
#include "queue/schedule.h"
#include "queue/store_admin_private.h"
#include "queue/store_private.h"
#include "queue/writer.h"

/* The destination of mail that is only returned to its sender: none can be called that. */
#define EXPIRED "(expired)"

/* A mail for one domain that an order is about. */
struct item {
	struct schedule_key key;
	bool absent; /* it is not in the schedule because of an order; else it is put back only when it was there */
	struct directive_view view;
};

static struct schedule_key *keys_of(const void *owner, const struct item *items, size_t count)
{
	struct schedule_key *keys =
		text_must(talloc_zero_array(owner, struct schedule_key, (unsigned)count + 1));

	for (size_t i = 0; i < count; i++)
		keys[i] = items[i].key;
	return keys;
}

/* Called with the lock held. `due_now`: whatever the store says. */
static void put(struct store *store, const struct item *item, bool due_now)
{
	const int64_t left = due_now || item->view.expired ? 0 : item->view.due - clock_wall_ms();
	const int64_t longest = store_longest_wait_ms(store);

	schedule_put(
		store->schedule, &(struct schedule_entry){ .mid = item->key.mid,
					 .domain = item->key.domain,
					 .destination = route_destination(store->config, item->key.domain),
					 .via = item->view.expired		 ? EXPIRED
						: item->view.next_hop[0] != '\0' ? item->view.next_hop
										 : NULL,
					 .due = clock_mono_ms() + MAX(0, MIN(left, longest)),
					 .deferred = item->view.attempts > 0 });
}

static int read_views(struct store *store, const void *owner, struct item *items, size_t count)
{
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *statement = directive_prepare(db);
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = directive_read(statement, owner, items[i].key.mid, items[i].key.domain, &items[i].view);
	sqlite3_finalize(statement);
	readers_give(store->readers, db);
	return r;
}

static void set_directed(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	store->directed = true;
	pthread_mutex_unlock(&store->lock);
}

/* Make the schedule of `items` (ascending by mid) what the store says. */
static int reschedule(struct store *store, struct item *items, size_t count, bool due_now)
{
	void *scratch = talloc_new(NULL);
	int r = read_views(store, scratch, items, count);
	struct schedule_key *keys = keys_of(scratch, items, count);

	pthread_mutex_lock(&store->lock);
	if (r == 0)
		schedule_remove(store->schedule, keys, count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct directive_view *view = &items[i].view;

		if (schedule_mark(store->schedule, keys[i].mid, keys[i].domain)) {
			if (due_now)
				schedule_hurry(store->schedule, keys[i].mid, keys[i].domain);
			continue;
		}
		if (view->live && (view->expired || !view->held) && (keys[i].waited || items[i].absent))
			put(store, &items[i], due_now);
	}
	schedule_tidy(store->schedule);
	waiters_call_all(&store->waiters);
	pthread_mutex_unlock(&store->lock);
	talloc_free(scratch);
	return r;
}

void store_admin_reschedule(struct store *store, int64_t mid, const char *domain, bool due_now)
{
	struct item item = { .key = { .mid = mid, .domain = domain }, .absent = true };
	int r = reschedule(store, &item, 1, due_now);

	if (r < 0)
		log_event(LOG_ERROR, "store_unreadable", log_num("mid", mid), log_str("reason", err_text(r)));
}

int store_admin_direct(struct store *store, struct lease *lease)
{
	struct directive_view view;

	pthread_mutex_lock(&store->lock);
	const bool directed = store->directed;
	pthread_mutex_unlock(&store->lock);
	lease->next_hop = "";
	if (!directed)
		return 0;

	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *statement = directive_prepare(db);
	int r = directive_read(statement, lease, lease->mid, lease->domain, &view);

	sqlite3_finalize(statement);
	if (r == 0) {
		lease->next_hop = view.next_hop;
		if (view.expired)
			r = directive_select_expired(db, lease);
		else if (view.held || !view.live)
			r = -ENOENT;
	}
	readers_give(store->readers, db);
	if (r == 0 && lease->expired) {
		pthread_mutex_lock(&store->lock);
		schedule_mark(store->schedule, lease->mid, lease->domain); /* for those who are left */
		pthread_mutex_unlock(&store->lock);
	}
	return r;
}

/* The mails of a page by recipient domain. */
static struct item *items_of(const void *owner, const struct store_admin_page *page, size_t *ret_count)
{
	struct item *items = NULL;
	size_t count = 0;

	for (size_t m = 0; m < page->count; m++) {
		const struct store_admin_mail *mail = &page->mails[m];

		for (size_t i = 0; i < mail->recipient_count; i++) {
			const struct store_admin_recipient *recipient = &mail->recipients[i];

			/* They come ordered by domain. */
			if (i > 0 && strcmp(recipient->domain, mail->recipients[i - 1].domain) == 0)
				continue;
			items = text_must(talloc_realloc(owner, items, struct item, (unsigned)count + 1));
			items[count++] =
				(struct item){ .key = { .mid = mail->mid, .domain = recipient->domain },
					.absent = recipient->state == STORE_ADMIN_HELD };
		}
	}
	*ret_count = count;
	return items;
}

static int flush(struct store *store, const struct store_admin_page *page, struct item *items, size_t count)
{
	int r = reschedule(store, items, count, true);

	pthread_mutex_lock(&store->lock);
	for (size_t m = 0; m < page->count; m++)
		for (size_t i = 0; i < page->mails[m].recipient_count; i++)
			schedule_unpark(store->schedule, page->mails[m].recipients[i].destination);
	waiters_call_all(&store->waiters);
	pthread_mutex_unlock(&store->lock);
	return r;
}

/* Write what was ordered about each mail, or for expire about each recipient. */
static int direct(struct store *store, const struct store_admin_order *order,
	const struct store_admin_page *page, struct item *items, size_t count)
{
	static const enum directive_kind kinds[] = { [STORE_ADMIN_HOLD] = DIRECTIVE_HOLD,
		[STORE_ADMIN_RELEASE] = DIRECTIVE_RELEASE,
		[STORE_ADMIN_REROUTE] = DIRECTIVE_REROUTE,
		[STORE_ADMIN_EXPIRE] = DIRECTIVE_EXPIRE };
	struct directive *list = text_must(talloc_zero_array(NULL, struct directive, 1));
	size_t length = 0;

	for (size_t i = 0; order->command != STORE_ADMIN_EXPIRE && i < count; i++) {
		list = text_must(talloc_realloc(NULL, list, struct directive, (unsigned)length + 1));
		list[length++] = (struct directive){ .kind = kinds[order->command],
			.mid = items[i].key.mid,
			.domain = items[i].key.domain,
			.text = order->next_hop };
	}
	for (size_t m = 0; order->command == STORE_ADMIN_EXPIRE && m < page->count; m++)
		for (size_t i = 0; i < page->mails[m].recipient_count; i++) {
			list = text_must(talloc_realloc(NULL, list, struct directive, (unsigned)length + 1));
			list[length++] = (struct directive){ .kind = DIRECTIVE_EXPIRE,
				.mid = page->mails[m].mid,
				.rid = page->mails[m].recipients[i].rid };
		}
	set_directed(store);
	int r = writer_directives(store->writer, list, length);
	talloc_free(list);
	return r < 0 ? r : reschedule(store, items, count, order->command == STORE_ADMIN_REROUTE);
}

/* Take what waits out of the schedule, so that nobody borrows it while it is deleted; what is lent stays. Ascending by mid. */
static void withdraw(struct store *store, struct item *items, size_t count)
{
	struct schedule_key *keys = keys_of(NULL, items, count);
	uint64_t owner;
	uint32_t attempt;

	pthread_mutex_lock(&store->lock);
	schedule_remove(store->schedule, keys, count);
	for (size_t i = 0; i < count; i++)
		items[i].absent =
			!schedule_is_lent(store->schedule, keys[i].mid, keys[i].domain, &owner, &attempt);
	pthread_mutex_unlock(&store->lock);
	talloc_free(keys);
}

/* The end of those recipients of a mail that are `item`'s. */
static struct outcome *deletion(
	const void *owner, const struct store_admin_mail *mail, const struct item *item, int64_t uid)
{
	struct outcome *outcome = text_must(talloc_zero(owner, struct outcome));

	*outcome = (struct outcome){ .mid = mail->mid,
		.domain = item->key.domain,
		.time_ms = clock_wall_ms(),
		.dcid = "",
		.host = "",
		.address = "",
		.tls = "" };
	outcome->recipients = text_must(
		talloc_zero_array(outcome, struct outcome_recipient, (unsigned)mail->recipient_count));
	for (size_t i = 0; i < mail->recipient_count; i++) {
		const struct store_admin_recipient *recipient = &mail->recipients[i];

		if (strcmp(recipient->domain, item->key.domain) != 0)
			continue;
		if (recipient->state != STORE_ADMIN_CORRUPT || outcome->attempt == 0)
			outcome->attempt = (uint32_t)recipient->attempts + 1;
		outcome->recipients[outcome->recipient_count++] = (struct outcome_recipient){
			.rid = recipient->rid,
			.state = OUTCOME_DELETED,
			.reply = text_must(talloc_asprintf(
				outcome, "deleted by the operator (uid %lld)", (long long)uid)),
		};
		log_event(LOG_INFO, "deleted", log_num("mid", mail->mid), log_num("rid", recipient->rid),
			log_str("recipient", recipient->address), log_num("uid", uid));
	}
	return outcome;
}

static int delete_page(struct store *store, const struct store_admin_order *order,
	struct store_admin_page *page, struct item *items, size_t count)
{
	struct writer_outcome *jobs =
		text_must(talloc_zero_array(NULL, struct writer_outcome, (unsigned)count + 1));
	size_t mail = 0, length = 0;
	int r = 0;

	withdraw(store, items, count);
	for (size_t i = 0; i < count; i++) {
		while (page->mails[mail].mid != items[i].key.mid)
			mail++;
		if (items[i].absent)
			jobs[length++].outcome = deletion(jobs, &page->mails[mail], &items[i], order->uid);
		/* It may have been lent or given back since the page was read. */
		for (size_t n = 0; n < page->mails[mail].recipient_count; n++)
			if (strcmp(page->mails[mail].recipients[n].domain, items[i].key.domain) == 0)
				page->mails[mail].recipients[n].state =
					items[i].absent ? STORE_ADMIN_QUEUED : STORE_ADMIN_ACTIVE;
	}
	writer_outcomes(store->writer, jobs, length);
	for (size_t i = 0; i < length; i++) {
		if (jobs[i].result == 0)
			store_finish(store, &jobs[i]);
		r = MIN(r, jobs[i].result);
	}
	talloc_free(jobs);
	int again = reschedule(store, items, count, false);
	return r < 0 ? r : again;
}

/* Why the order changes nothing for a recipient that matches. */
static enum store_admin_left left_of(
	enum store_admin_command command, const struct store_admin_recipient *recipient)
{
	static const enum store_admin_left flushed[STORE_ADMIN_STATE_END] = {
		[STORE_ADMIN_ACTIVE] = STORE_ADMIN_LEFT_BUSY,
		[STORE_ADMIN_HELD] = STORE_ADMIN_LEFT_HELD,
		[STORE_ADMIN_SUSPENDED] = STORE_ADMIN_LEFT_SUSPENDED,
		[STORE_ADMIN_EXPIRING] = STORE_ADMIN_LEFT_EXPIRING,
	};

	switch (command) {
	case STORE_ADMIN_FLUSH:
		return flushed[recipient->state];
	case STORE_ADMIN_HOLD:
		return recipient->held ? STORE_ADMIN_LEFT_HELD_ALREADY : STORE_ADMIN_LEFT_NONE;
	case STORE_ADMIN_RELEASE:
		return recipient->held ? STORE_ADMIN_LEFT_NONE : STORE_ADMIN_LEFT_NOT_HELD;
	case STORE_ADMIN_DELETE:
		return recipient->state == STORE_ADMIN_ACTIVE ? STORE_ADMIN_LEFT_BUSY : STORE_ADMIN_LEFT_NONE;
	case STORE_ADMIN_EXPIRE:
		return recipient->expired ? STORE_ADMIN_LEFT_EXPIRING : STORE_ADMIN_LEFT_NONE;
	case STORE_ADMIN_COUNT:
	case STORE_ADMIN_REROUTE:
	case STORE_ADMIN_COMMAND_END:
		break;
	}
	return STORE_ADMIN_LEFT_NONE;
}

static void count_mail(
	enum store_admin_command command, const struct store_admin_mail *mail, struct store_admin_done *done)
{
	uint64_t changed = 0;

	for (size_t i = 0; i < mail->recipient_count; i++) {
		const enum store_admin_left left = left_of(command, &mail->recipients[i]);

		changed += left == STORE_ADMIN_LEFT_NONE;
		done->left[left] += left != STORE_ADMIN_LEFT_NONE;
	}
	done->matched++;
	done->recipients += changed;
	done->mails += changed > 0;
	done->bytes += changed > 0 ? mail->size : 0;
}

/* Whether a route leads there, or queued mail goes there. */
static bool knows(struct store *store, const char *destination)
{
	pthread_mutex_lock(&store->lock);
	const struct schedule_view view = schedule_view(store->schedule, destination);
	bool known = view.waiting > 0 || view.lent > 0;
	for (size_t i = 0; !known && i < store->config->route_count; i++)
		known = strcmp(store->config->routes[i].next_hop, destination) == 0;
	pthread_mutex_unlock(&store->lock);
	return known;
}

static int carry_out(
	struct store *store, const struct store_admin_order *order, struct store_admin_page *page)
{
	size_t count;
	struct item *items = items_of(page->mails, page, &count);
	int r = 0;

	if (count == 0)
		return 0;
	switch (order->command) {
	case STORE_ADMIN_FLUSH:
		r = flush(store, page, items, count);
		break;
	case STORE_ADMIN_HOLD:
	case STORE_ADMIN_RELEASE:
	case STORE_ADMIN_REROUTE:
	case STORE_ADMIN_EXPIRE:
		r = direct(store, order, page, items, count);
		break;
	case STORE_ADMIN_DELETE:
		r = delete_page(store, order, page, items, count);
		break;
	case STORE_ADMIN_COUNT:
	case STORE_ADMIN_COMMAND_END:
		break;
	}
	return r;
}

int store_admin_apply(struct store *store, const struct store_admin_order *order, int64_t after, size_t most,
	struct store_admin_done *ret_done)
{
	struct store_admin_done done = { 0 };
	struct store_admin_filter filter = order->filter;
	struct store_admin_page page;
	void *scratch = talloc_new(NULL);

	filter.live_only = order->command != STORE_ADMIN_COUNT && order->command != STORE_ADMIN_DELETE;
	pthread_mutex_lock(&store->orders);
	int r = store_admin_list(store, scratch, &filter, after, most, &page);
	if (r == 0)
		r = carry_out(store, order, &page);
	pthread_mutex_unlock(&store->orders);
	for (size_t m = 0; r == 0 && m < page.count; m++)
		count_mail(order->command, &page.mails[m], &done);
	if (r == 0) {
		done.unknown_hop = text_of(order->next_hop).len > 0 && !knows(store, order->next_hop);
		done.after = page.after;
		done.ended = page.ended;
		*ret_done = done;
	}
	talloc_free(scratch);
	return r;
}

int store_admin_suspend(struct store *store, const char *destination, bool suspend, int64_t uid,
	struct store_admin_suspension *ret_done)
{
	const struct directive directive = { .kind = suspend ? DIRECTIVE_SUSPEND : DIRECTIVE_RESUME,
		.text = destination,
		.rid = uid,
		.time_ms = clock_wall_ms() };

	pthread_mutex_lock(&store->orders);
	ret_done->unknown = !knows(store, destination);
	int r = writer_directives(store->writer, &directive, 1);
	if (r == 0) {
		pthread_mutex_lock(&store->lock);
		ret_done->changed = schedule_view(store->schedule, destination).suspended != suspend;
		schedule_suspend(store->schedule, destination, suspend);
		waiters_call_all(&store->waiters);
		pthread_mutex_unlock(&store->lock);
	}
	pthread_mutex_unlock(&store->orders);
	return r;
}

static int read_suspended(struct store *store, const void *owner, struct store_admin_status *status)
{
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *rows =
		database_prepare(db, "SELECT destination, since, uid FROM suspended ORDER BY destination");
	int r;

	while ((r = database_step(rows)) == 1) {
		status->suspended = text_must(talloc_realloc(owner, status->suspended,
			struct store_admin_suspended, (unsigned)status->suspended_count + 1));
		status->suspended[status->suspended_count++] = (struct store_admin_suspended){
			.destination = text_copy(owner, database_text(rows, 0)),
			.since_ms = sqlite3_column_int64(rows, 1),
			.uid = sqlite3_column_int64(rows, 2),
		};
	}
	sqlite3_finalize(rows);
	readers_give(store->readers, db);
	return r;
}

/* Mails that are held, once for each recipient domain. */
static int count_held(struct store *store, uint64_t *ret_count)
{
	sqlite3 *db = readers_take(store->readers);
	int64_t count = 0;
	int r = database_number(db,
		"SELECT count(*) FROM directive d WHERE held <> 0 AND EXISTS (SELECT 1 FROM recipient r"
		" WHERE r.mid = d.mid AND r.domain = d.domain AND r.state = 0)",
		&count);

	readers_give(store->readers, db);
	*ret_count = (uint64_t)count;
	return r;
}

int store_admin_status(struct store *store, const void *owner, struct store_admin_status *ret_status)
{
	const struct store_gauges gauges = store_gauges(store);
	struct store_admin_status status = { .queued = gauges.ready,
		.deferred = gauges.deferred,
		.active = gauges.leased,
		.corrupt = gauges.corrupt,
		.oldest_ms = gauges.oldest_ms };
	int r = count_held(store, &status.held);

	if (r == 0)
		r = read_suspended(store, owner, &status);
	if (r < 0)
		return r;
	pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < status.suspended_count; i++) {
		const struct schedule_view view =
			schedule_view(store->schedule, status.suspended[i].destination);
		const uint64_t untried = view.waiting - view.deferred;

		status.suspended[i].waiting = view.waiting;
		status.waiting_suspended += view.waiting;
		status.deferred -= MIN(view.deferred, status.deferred);
		status.queued -= MIN(untried, status.queued); /* the gauges are a moment older */
	}
	pthread_mutex_unlock(&store->lock);
	*ret_status = status;
	return 0;
}

int store_admin_content(struct store *store, const void *owner, int64_t mid, struct content *ret_content)
{
	const struct store_admin_filter filter = { .mid = mid };
	struct store_admin_page page;
	struct lease *lease;
	int r = store_admin_list(store, owner, &filter, 0, 1, &page);

	if (r < 0)
		return r;
	if (page.count == 0)
		return -ENOENT;
	r = store_load_content(store, owner, mid, &lease);
	if (r < 0)
		return r;
	*ret_content = lease->content;
	lease->content.fd = -1;
	return 0;
}

static int suspend_all(struct store *store)
{
	struct store_admin_status status = { 0 };
	void *scratch = talloc_new(NULL);
	int r = read_suspended(store, scratch, &status);

	pthread_mutex_lock(&store->lock);
	for (size_t i = 0; i < status.suspended_count; i++)
		schedule_suspend(store->schedule, status.suspended[i].destination, true);
	pthread_mutex_unlock(&store->lock);
	talloc_free(scratch);
	return r;
}

/* A page of mails that something was ordered about. */
static int load_page(struct store *store, int64_t *after, bool *ret_ended)
{
	void *scratch = talloc_new(NULL);
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *rows = database_prepare(db,
		"SELECT mid, domain FROM directive WHERE mid > ?1 UNION SELECT e.mid, r.domain FROM expired e"
		" JOIN recipient r ON r.mid = e.mid AND r.rid = e.rid WHERE e.mid > ?1 AND r.state = 0 ORDER BY 1");
	struct item *items = NULL;
	size_t count = 0;
	int r;

	database_bind_number(rows, 1, *after);
	while ((r = database_step(rows)) == 1) {
		const int64_t mid = sqlite3_column_int64(rows, 0);

		if (count >= STORE_ADMIN_PAGE * 5 && mid != *after)
			break;
		items = text_must(talloc_realloc(scratch, items, struct item, (unsigned)count + 1));
		items[count++] = (struct item){
			.key = { .mid = mid, .domain = text_copy(scratch, database_text(rows, 1)) }
		};
		*after = mid;
	}
	sqlite3_finalize(rows);
	readers_give(store->readers, db);
	*ret_ended = r == 0;
	if (count > 0)
		set_directed(store);
	if (r >= 0 && count > 0)
		r = reschedule(store, items, count, false);
	talloc_free(scratch);
	return MIN(r, 0);
}

int store_admin_load(struct store *store)
{
	static const struct directive clean[] = { { .kind = DIRECTIVE_CLEAN_MAILS },
		{ .kind = DIRECTIVE_CLEAN_RECIPIENTS } };
	int64_t after = 0;
	bool ended = false;
	int r = writer_directives(store->writer, clean, COUNT(clean));

	while (r == 0 && !ended)
		r = load_page(store, &after, &ended);
	return r < 0 ? r : suspend_all(store);
}

int store_admin_prepare_reader(struct store *store, const struct config *config)
{
	if (config != NULL)
		store->config = config_hold(config);
	store->schedule = schedule_new(store);
	return suspend_all(store);
}
