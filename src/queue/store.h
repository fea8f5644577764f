#pragma once
/*
 * The durable queue behind one interface: commit, lease, record, track. store_sqlite.c is the embedded one. Every function may be
 * called from any thread; what changes the store returns after its group's commit is synced. docs/queue.md has the states.
 */

#include <stdbool.h>
#include <stdint.h>

#include "queue/envelope.h"

struct config;
struct store;

/* Open or make the store in directory `dir_fd` (kept by the caller while the store lives) and index what is queued. The
 * configuration names destinations and retry times; the store keeps a reference. 0, or a negative error with one sentence
 * for the operator in ret_why (owned by `owner`): a newer schema, a file that is not ours, no space. Owned by `owner`. */
int store_open(const void *owner, int dir_fd, const struct config *config, struct store **ret_store,
	const char **ret_why);

/* Use another configuration: destinations are worked out anew. */
void store_configure(struct store *store, const struct config *config);

/* Make a mail durable: S3 of docs/queue.md when it returns 0. Content in a file must come from store_new_file(). Else -ENOSPC, -EDQUOT,
 * ERR_QUOTA (limits.queue_quota of the client's network): temporary, nothing was stored; or ERR_STOPPED. Content fd stays the caller's. */
int store_commit(struct store *store, const struct envelope *envelope, const struct content *content,
	int64_t *ret_mid);

/* Whether `size` more bytes fit above limits.min_free_space and min_free_inodes: 0 or -ENOSPC. Once it was not so, a tenth more must be free
 * before it is again. */
int store_room(struct store *store, uint64_t size);

/* An unnamed file on the store's file system for `size` bytes of content (0 = unknown); the descriptor, or -ENOSPC and the like. */
int store_new_file(struct store *store, uint64_t size);

/* `owner` (one incarnation of `deliver`, not 0) has announced what it holds: from now on it, and nobody else, may lease. */
void store_admit(struct store *store, uint64_t owner);

/* Lend the next mail that is due to `owner`, which has been admitted: of destination `prefer` only, or of any (NULL). Waits up to
 * `wait_ms`. 0 and the lease (owned by `parent`), or NULL when nothing was due. */
int store_lease(struct store *store, const void *parent, uint64_t owner, const char *prefer, int64_t wait_ms,
	struct lease **ret_lease);

/* A lease whose answer never reached `owner` is free again, if that still holds it. */
void store_unlease(struct store *store, uint64_t owner, int64_t mid, const char *domain);

/* `owner` holds this already (from before a restart of `queue`). */
void store_claim(struct store *store, uint64_t owner, int64_t mid, const char *domain);

/* Everything lent to `owner` is free at once, and it may lease no more: it died. */
void store_free_owner(struct store *store, uint64_t owner);

/* End every wait in store_lease(), now and later: the role stops. */
void store_stop(struct store *store);

/* Record an outcome in one transaction: recipient states, attempts, the DSN as a mail of its own, the next try. Repeating it
 * changes nothing. 0, or as store_commit(). */
int store_record(struct store *store, const struct outcome *outcome);

/* A refused connection or recipient, for tracking; not promised. */
struct store_refusal {
	int64_t time_ms;
	const char *icid, *client, *helo, *tls, *sender, *recipient, *reply;
};

/* Store notes in one transaction; 0 or a negative error. */
int store_note(struct store *store, const struct store_refusal *refusals, size_t count);

/* What `postern track` asks for; NULL and 0 = any. Addresses are compared without case. */
struct store_query {
	const char *sender, *recipient;
	int64_t mid;
	int64_t since_ms,
		until_ms;   /* received (or refused) then or later, and before; until_ms 0 = any time */
	const char *domain; /* of a recipient */
	const char *
		state; /* of a recipient: "queued", "deferred", "delivered", "bounced", "deleted", "corrupt", "refused" */
	const char *host; /* an attempt was made to that server, as tracking names it */
};

/* Whether tracking has such a state. */
bool store_is_state(const char *word);

/* Where a page ended; starts zeroed. */
struct store_cursor {
	int64_t mid, refusal;
	bool ended;
};

struct store_attempt {
	int64_t time_ms;
	const char *dcid, *host, *address, *reply, *tls;
};

struct store_tracked_recipient {
	const char *address;
	const char *state; /* queued, delivered, deferred, bounced, deleted, corrupt, refused */
	struct store_attempt *attempts;
	size_t attempt_count;
};

/* A mail with everything that happened to it; or a refusal: mid 0 and one recipient whose only attempt holds the reply. */
struct store_tracked {
	int64_t mid, time_ms;
	uint64_t size;
	const char *sender, *icid, *client, *helo, *tls;
	struct store_tracked_recipient *recipients;
	size_t recipient_count;
	int64_t *
		reports; /* mails that told its sender of it; looked for only when store_query.mid is given */
	size_t report_count;
};

/* The next page of what matches (at most 20 records), oldest first, refusals after mails; owned by `owner`. Sets cursor->ended with
 * the last page. 0 or a negative error. */
int store_track(struct store *store, const void *owner, const struct store_query *query,
	struct store_cursor *cursor, struct store_tracked **ret_records, size_t *ret_count);

/* Mails with a recipient that is still queued, once for each recipient domain. */
uint64_t store_queued(struct store *store);

/* From now on no content file of a finished mail is removed, until as many calls of store_release_files(): a backup copies them. */
void store_hold_files(struct store *store);
void store_release_files(struct store *store);

/* The same by state, and the age of the oldest. Waits for nobody and costs the same however many there are. */
struct store_gauges {
	uint64_t ready, deferred, leased;
	uint64_t corrupt;  /* mails with a recipient that is not served because something is damaged */
	int64_t oldest_ms; /* since it was received; 0 = nothing is queued */
};
struct store_gauges store_gauges(struct store *store);

/* From now on `observe` hears how long each group's commit, which is its sync, took; `context` is kept. It is called by the writer's
 * thread. To be called before anything is stored. */
void store_watch_syncs(
	struct store *store, void (*observe)(void *context, int64_t microseconds), void *context);

/* For the command line when no gateway runs: open `path` read-only for store_track() only. As store_open(). */
int store_open_reader(
	const void *owner, const char *directory, struct store **ret_store, const char **ret_why);
