/* Pages of destinations: what the schedule knows of each, and what is held for it, which is not in the schedule. */
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"
#include "lookup/route.h"
#include "queue/database.h"
#include "queue/readers.h"
#include "queue/schedule.h"
#include "queue/store_admin_private.h"
#include "queue/store_private.h"

struct held {
	const char *destination;
	uint64_t count;
};

static int compare_held(const void *a, const void *b)
{
	return strcmp(((const struct held *)a)->destination, ((const struct held *)b)->destination);
}

/* Sorted, and each destination once. */
static size_t merge(struct held *held, size_t count)
{
	size_t kept = 0;

	if (count > 0)
		qsort(held, count, sizeof held[0], compare_held);
	for (size_t i = 0; i < count; i++) {
		if (kept > 0 && strcmp(held[kept - 1].destination, held[i].destination) == 0)
			held[kept - 1].count += held[i].count;
		else
			held[kept++] = held[i];
	}
	return kept;
}

/* Held mail for destinations behind `after`. */
static int read_held(
	struct store *store, const void *owner, const char *after, struct held **ret_held, size_t *ret_count)
{
	struct held *held = NULL;
	size_t count = 0;
	sqlite3 *db = readers_take(store->readers);
	sqlite3_stmt *rows = database_prepare(db,
		"SELECT domain, next_hop, count(*) FROM directive d WHERE held <> 0 AND EXISTS (SELECT 1 FROM recipient r"
		" WHERE r.mid = d.mid AND r.domain = d.domain AND r.state = 0) GROUP BY domain, next_hop");
	int r;

	pthread_mutex_lock(&store->lock);
	const struct config *config = store->config == NULL ? NULL : config_hold(store->config);
	pthread_mutex_unlock(&store->lock);
	while ((r = database_step(rows)) == 1) {
		const char *domain = text_copy(owner, database_text(rows, 0));
		const char *next_hop = text_copy(owner, database_text(rows, 1));
		const char *destination = next_hop[0] != '\0' ? next_hop
					  : config == NULL    ? domain
							      : route_destination(config, domain);

		if (strcmp(destination, after) <= 0)
			continue;
		held = text_must(talloc_realloc(owner, held, struct held, (unsigned)count + 1));
		held[count++] = (struct held){ text_copy(owner, text_of(destination)),
			(uint64_t)sqlite3_column_int64(rows, 2) };
	}
	sqlite3_finalize(rows);
	readers_give(store->readers, db);
	config_release(config);
	*ret_held = held;
	*ret_count = merge(held, count);
	return r;
}

/* Called with the lock held. */
static void add(struct store *store, const void *owner, const char *name, uint64_t held,
	struct store_admin_destinations *page)
{
	const struct schedule_view view = schedule_view(store->schedule, name);
	struct store_admin_destination *d = &page->list[page->count++];

	*d = (struct store_admin_destination){ .name = text_copy(owner, text_of(name)),
		.queued = view.waiting - view.deferred,
		.deferred = view.deferred,
		.active = view.lent,
		.held = held,
		.suspended = view.suspended,
		.pause = store_admin_pause(&view),
		.idle = view.idle,
		.allowed = view.concurrency,
		.rate = view.rate };
	d->pause.reason = text_copy(owner, text_of(view.why));
}

int store_admin_destinations(struct store *store, const void *owner, const char *after, bool paused,
	struct store_admin_destinations *ret_page)
{
	struct store_admin_destinations page = { 0 };
	void *scratch = talloc_new(NULL);
	struct held *held = NULL;
	size_t held_count = 0, name_count, h = 0, n = 0;
	int r = paused ? 0 : read_held(store, scratch, after, &held, &held_count);

	if (r < 0) {
		talloc_free(scratch);
		return r;
	}
	page.list = text_must(talloc_zero_array(owner, struct store_admin_destination, STORE_ADMIN_PAGE));
	pthread_mutex_lock(&store->lock);
	const char **names = schedule_destinations(
		store->schedule, scratch, after, paused, STORE_ADMIN_PAGE + 1, &name_count);
	while (page.count < STORE_ADMIN_PAGE && (n < name_count || h < held_count)) {
		const int order = n == name_count   ? 1
				  : h == held_count ? -1
						    : strcmp(names[n], held[h].destination);

		add(store, page.list, order <= 0 ? names[n] : held[h].destination,
			order >= 0 ? held[h].count : 0, &page);
		n += order <= 0;
		h += order >= 0;
	}
	pthread_mutex_unlock(&store->lock);
	page.ended = n == name_count && h == held_count;
	talloc_free(scratch);
	*ret_page = page;
	return 0;
}
