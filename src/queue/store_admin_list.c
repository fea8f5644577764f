/* Pages of what is queued. A page is one query of its own, so that a slow reader keeps no old pages of the database alive. */
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "config/config.h"
#include "lookup/route.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/schedule.h"
#include "queue/store_admin_private.h"
#include "queue/store_private.h"

/* Rows that one page looks at, so that it comes soon even when nothing matches. */
enum { ROWS_MAX = 10000 };

static const char *const state_names[STORE_ADMIN_STATE_END] = {
	[STORE_ADMIN_ANY] = "any",
	[STORE_ADMIN_QUEUED] = "queued",
	[STORE_ADMIN_DEFERRED] = "deferred",
	[STORE_ADMIN_ACTIVE] = "active",
	[STORE_ADMIN_HELD] = "held",
	[STORE_ADMIN_SUSPENDED] = "suspended",
	[STORE_ADMIN_EXPIRING] = "expiring",
	[STORE_ADMIN_CORRUPT] = "corrupt",
};

const char *store_admin_state_name(enum store_admin_state state)
{
	return state_names[state];
}

/* What the schedule says of a recipient: destination, state and next try. */
static void describe(struct store *store, const struct config *config, int64_t mid, bool held, bool expired,
	struct store_admin_recipient *recipient)
{
	const bool rerouted = recipient->next_hop[0] != '\0';
	uint64_t owner;
	uint32_t attempt;

	recipient->destination = rerouted	  ? recipient->next_hop
				 : config != NULL ? route_destination(config, recipient->domain)
						  : recipient->domain;
	pthread_mutex_lock(&store->lock);
	const struct schedule_view view = schedule_view(store->schedule, recipient->destination);
	const bool lent = schedule_is_lent(store->schedule, mid, recipient->domain, &owner, &attempt);
	pthread_mutex_unlock(&store->lock);

	recipient->state = lent			     ? STORE_ADMIN_ACTIVE
			   : expired		     ? STORE_ADMIN_EXPIRING
			   : held		     ? STORE_ADMIN_HELD
			   : view.suspended	     ? STORE_ADMIN_SUSPENDED
			   : recipient->attempts > 0 ? STORE_ADMIN_DEFERRED
						     : STORE_ADMIN_QUEUED;
	if (recipient->state == STORE_ADMIN_HELD || recipient->state == STORE_ADMIN_SUSPENDED) {
		recipient->next_try_ms = 0;
	} else if (recipient->state == STORE_ADMIN_QUEUED || recipient->state == STORE_ADMIN_DEFERRED) {
		const struct store_admin_pause pause = store_admin_pause(&view);

		if (pause.until_ms > recipient->next_try_ms) {
			recipient->pause = pause;
			recipient->next_try_ms = pause.until_ms;
		}
	}
}

struct store_admin_pause store_admin_pause(const struct schedule_view *view)
{
	const int64_t offset = clock_wall_ms() - clock_mono_ms();

	if (view->parked_until == 0)
		return (struct store_admin_pause){ .reason = "" };
	return (struct store_admin_pause){
		.since_ms = view->parked_since + offset,
		.until_ms = view->parked_until + offset,
		.reason = "",
	};
}

static const char *pause_reason(struct store *store, const void *owner, const char *destination)
{
	pthread_mutex_lock(&store->lock);
	const char *why = text_copy(owner, text_of(schedule_view(store->schedule, destination).why));
	pthread_mutex_unlock(&store->lock);
	return why;
}

/* Rows of recipients in some states, found by an index of their own or by the number of their mail. */
#define SELECT_ROWS(recipients, states, order)                                                                       \
	"SELECT r.mid, r.rid, r.address, r.domain, r.attempts, r.due, coalesce(m.received, 0), coalesce(m.size, 0)," \
	" coalesce(m.sender, ''), coalesce(d.held, 0), coalesce(d.next_hop, ''),"                                    \
	" EXISTS (SELECT 1 FROM expired e WHERE e.mid = r.mid AND e.rid = r.rid),"                                   \
	" (SELECT reply FROM attempt a WHERE a.mid = r.mid AND a.rid = r.rid ORDER BY number DESC LIMIT 1),"         \
	" r.state = 3 FROM " recipients " ON m.mid = r.mid"                                                          \
	" LEFT JOIN directive d ON d.mid = r.mid AND d.domain = r.domain"                                            \
	" WHERE r.state " states                                                                                     \
	" AND r.mid BETWEEN ?1 AND ?2 AND (?3 IS NULL OR m.sender = ?3 COLLATE NOCASE)"                              \
	" AND (?4 IS NULL OR r.address = ?4 COLLATE NOCASE) AND (?5 IS NULL OR r.domain = ?5 COLLATE NOCASE)"        \
	" AND (?6 = 0 OR m.received < ?6) ORDER BY " order

static const char *const selects[] = {
	[STATE_QUEUED] =
		SELECT_ROWS("recipient r INDEXED BY recipient_live CROSS JOIN message m", "= 0", "r.mid"),
	[STATE_CORRUPT] = SELECT_ROWS(
		"recipient r INDEXED BY recipient_corrupt LEFT JOIN message m", "= 3", "r.mid, r.domain"),
};
static const char select_of_mail[] =
	SELECT_ROWS("recipient r LEFT JOIN message m", "IN (0, 3)", "r.mid, r.domain");

/* What is corrupt is listed when it is asked for, by its state or its number. */
static const char *select_for(const struct store_admin_filter *filter)
{
	if (filter->live_only)
		return selects[STATE_QUEUED];
	if (filter->state == STORE_ADMIN_CORRUPT)
		return selects[STATE_CORRUPT];
	return filter->mid != 0 ? select_of_mail : selects[STATE_QUEUED];
}

static void bind_filter(sqlite3_stmt *rows, const struct store_admin_filter *filter, int64_t after)
{
	database_bind_number(rows, 1, MAX(after + 1, filter->mid));
	database_bind_number(rows, 2, filter->mid == 0 ? INT64_MAX : filter->mid);
	sqlite3_bind_text(rows, 3, filter->sender, -1, SQLITE_STATIC);
	sqlite3_bind_text(rows, 4, filter->recipient, -1, SQLITE_STATIC);
	sqlite3_bind_text(rows, 5, filter->domain, -1, SQLITE_STATIC);
	database_bind_number(rows, 6, filter->before_ms);
}

static const char *copy(const void *owner, sqlite3_stmt *rows, int column)
{
	return text_copy(owner, database_text(rows, column));
}

static bool matches(const struct store_admin_filter *filter, const struct store_admin_recipient *recipient)
{
	if (filter->state != STORE_ADMIN_ANY && filter->state != recipient->state)
		return false;
	return filter->destination == NULL || strcasecmp(filter->destination, recipient->destination) == 0;
}

static struct store_admin_mail *mail_of(
	struct store_admin_page *page, sqlite3_stmt *rows, int64_t mid, const void *owner)
{
	struct store_admin_mail *mail = page->count == 0 ? NULL : &page->mails[page->count - 1];

	if (mail != NULL && mail->mid == mid)
		return mail;
	mail = &page->mails[page->count++];
	*mail = (struct store_admin_mail){ .mid = mid,
		.received_ms = sqlite3_column_int64(rows, 6),
		.size = (uint64_t)sqlite3_column_int64(rows, 7),
		.sender = copy(owner, rows, 8) };
	return mail;
}

static void add_row(struct store *store, const struct config *config, const struct store_admin_filter *filter,
	sqlite3_stmt *rows, const void *owner, struct store_admin_page *page)
{
	const int64_t mid = sqlite3_column_int64(rows, 0);
	struct store_admin_recipient recipient = { .rid = sqlite3_column_int64(rows, 1),
		.domain = copy(owner, rows, 3),
		.attempts = sqlite3_column_int64(rows, 4),
		.next_try_ms = sqlite3_column_int64(rows, 5),
		.next_hop = copy(owner, rows, 10) };

	recipient.held = sqlite3_column_int(rows, 9) != 0;
	recipient.expired = sqlite3_column_int(rows, 11) != 0;
	describe(store, config, mid, recipient.held, recipient.expired, &recipient);
	if (sqlite3_column_int(rows, 13) != 0) {
		recipient.state = STORE_ADMIN_CORRUPT;
		recipient.next_try_ms = 0;
		recipient.pause = (struct store_admin_pause){ 0 };
	}
	if (!matches(filter, &recipient))
		return;

	recipient.destination = text_copy(owner, text_of(recipient.destination));
	recipient.address = copy(owner, rows, 2);
	recipient.reply = copy(owner, rows, 12);
	recipient.pause.reason =
		recipient.pause.until_ms == 0 ? "" : pause_reason(store, owner, recipient.destination);
	struct store_admin_mail *mail = mail_of(page, rows, mid, owner);
	mail->recipients = text_must(talloc_realloc(
		owner, mail->recipients, struct store_admin_recipient, (unsigned)mail->recipient_count + 1));
	mail->recipients[mail->recipient_count++] = recipient;
}

/* The rows of whole mails, until the page is full. */
static int read_page(struct store *store, const struct config *config,
	const struct store_admin_filter *filter, sqlite3_stmt *rows, size_t most,
	struct store_admin_page *page)
{
	size_t seen = 0;
	int r;

	while ((r = database_step(rows)) == 1) {
		const int64_t mid = sqlite3_column_int64(rows, 0);
		const bool next = mid != page->after;

		if (next && seen > 0 && (page->count == most || seen >= ROWS_MAX))
			return 0;
		add_row(store, config, filter, rows, page->mails, page);
		page->after = mid;
		seen++;
	}
	page->ended = r == 0;
	return r;
}

int store_admin_list(struct store *store, const void *owner, const struct store_admin_filter *filter,
	int64_t after, size_t most, struct store_admin_page *ret_page)
{
	struct store_admin_page page = { .after = after };
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *rows = database_prepare(db, select_for(filter));

	pthread_mutex_lock(&store->lock);
	const struct config *config = store->config == NULL ? NULL : config_hold(store->config);
	pthread_mutex_unlock(&store->lock);
	most = MAX(MIN(most, (size_t)STORE_ADMIN_PAGE), (size_t)1);
	page.mails = text_must(talloc_zero_array(owner, struct store_admin_mail, (unsigned)most));
	bind_filter(rows, filter, after);
	int r = read_page(store, config, filter, rows, most, &page);
	sqlite3_finalize(rows);
	readers_give(store->readers, db);
	config_release(config);
	if (r < 0)
		talloc_free(page.mails);
	else
		*ret_page = page;
	return r;
}
