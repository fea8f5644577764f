#pragma once
/*
 * What the operator sees of the queue and orders: lists, and commands for all mail that matches a filter. Everything goes page by page, so
 * that neither side holds more than a page and the writer is never kept for long. Lists work on a store of store_open_reader(), too.
 */

#include "queue/store.h"

/* What a mail for one recipient waits for. */
enum store_admin_state {
	STORE_ADMIN_ANY,
	STORE_ADMIN_QUEUED,    /* for its first try */
	STORE_ADMIN_DEFERRED,  /* for the next try */
	STORE_ADMIN_ACTIVE,    /* for the outcome of the try under way */
	STORE_ADMIN_HELD,      /* for `queue release` */
	STORE_ADMIN_SUSPENDED, /* for `queue resume` of its destination */
	STORE_ADMIN_EXPIRING,  /* to be returned to its sender */
	STORE_ADMIN_CORRUPT,   /* for nothing: it is damaged, and an operator may delete it */
	STORE_ADMIN_STATE_END
};

/* Its word: "queued", "deferred", ...; "any". Static. */
const char *store_admin_state_name(enum store_admin_state state);

/* Which mail: what is NULL or 0 matches all. Addresses and domains are compared without case; an empty sender is the null sender. */
struct store_admin_filter {
	int64_t mid;
	const char *sender, *recipient, *domain, *destination;
	enum store_admin_state state;
	int64_t before_ms; /* received before that (wall clock) */
	bool live_only; /* else a mail that is named by `mid` or by the state is found when it is corrupt, too */
};

/* A destination that could not be reached gets nothing for a while. Wall clock; until_ms 0 = it is not so, in the past = one mail tries it. */
struct store_admin_pause {
	int64_t since_ms, until_ms;
	const char *reason; /* the reply of the last try; may be empty */
};

struct store_admin_recipient {
	int64_t rid;
	const char *address, *domain, *destination;
	const char *next_hop; /* of `queue reroute`; empty = none */
	const char *reply;    /* the last one; empty = not tried yet */
	enum store_admin_state state;
	int64_t attempts, next_try_ms; /* wall clock; 0 = none before it is released or resumed */
	bool held,
		expired; /* `queue hold`, `queue expire` were ordered, whatever the state; known in `queue` only */
	struct store_admin_pause pause; /* of its destination, when it waits for the end of that */
};

/* A mail with those recipients that wait and match, ordered by domain. */
struct store_admin_mail {
	int64_t mid, received_ms;
	uint64_t size;
	const char *sender;
	struct store_admin_recipient *recipients;
	size_t recipient_count;
};

enum { STORE_ADMIN_PAGE = 200 };

struct store_admin_page {
	struct store_admin_mail *mails;
	size_t count;
	int64_t after; /* where the next page begins */
	bool ended;    /* there is no next page */
};

/* The next page after mail `after`: at most `most` mails (STORE_ADMIN_PAGE), oldest first, perhaps none though there are more. Owned by `owner`.
 * 0 or a negative error. */
int store_admin_list(struct store *store, const void *owner, const struct store_admin_filter *filter,
	int64_t after, size_t most, struct store_admin_page *ret_page);

enum store_admin_command {
	STORE_ADMIN_COUNT,   /* nothing */
	STORE_ADMIN_FLUSH,   /* due now, and parked destinations are tried */
	STORE_ADMIN_HOLD,    /* not sent until released */
	STORE_ADMIN_RELEASE, /* ... which it is now */
	STORE_ADMIN_DELETE,  /* gone, and nobody is told */
	STORE_ADMIN_EXPIRE,  /* returned to the sender */
	STORE_ADMIN_REROUTE, /* now, to `next_hop`; empty = where the routes lead */
	STORE_ADMIN_COMMAND_END
};

/* An order of user `uid`. Hold, release, flush and reroute concern all recipients of a mail in the same domain; delete and expire exactly those that
 * match. */
struct store_admin_order {
	enum store_admin_command command;
	struct store_admin_filter filter;
	const char *next_hop;
	int64_t uid;
};

/* Why an order leaves a recipient as it is. */
enum store_admin_left {
	STORE_ADMIN_LEFT_NONE,	       /* it does not */
	STORE_ADMIN_LEFT_BUSY,	       /* it is being delivered to */
	STORE_ADMIN_LEFT_NOT_HELD,     /* release */
	STORE_ADMIN_LEFT_HELD_ALREADY, /* hold */
	STORE_ADMIN_LEFT_HELD,	       /* flush: only `queue release` has it sent */
	STORE_ADMIN_LEFT_SUSPENDED,    /* flush: only `queue resume` has */
	STORE_ADMIN_LEFT_EXPIRING,     /* it is given up already */
	STORE_ADMIN_LEFT_END
};

struct store_admin_done {
	uint64_t matched;		     /* mails */
	uint64_t mails, recipients, bytes;   /* of those, what was changed */
	uint64_t left[STORE_ADMIN_LEFT_END]; /* recipients that match and were left, by why */
	bool unknown_hop;		     /* next_hop is none that a route or queued mail has */
	int64_t after;
	bool ended;
};

/* Carry out the order for the next page of what matches, as store_admin_list(); durable when this returns 0. */
int store_admin_apply(struct store *store, const struct store_admin_order *order, int64_t after, size_t most,
	struct store_admin_done *ret_done);

/* Nothing is sent to `destination` from now on (what is under way is finished), or again. Durable. 0 or a negative error. */
struct store_admin_suspension {
	bool changed; /* it was not so before */
	bool unknown; /* no route and no queued mail has a destination called so */
};
int store_admin_suspend(struct store *store, const char *destination, bool suspend, int64_t uid,
	struct store_admin_suspension *ret_done);

/* How a destination stands: mails are counted once for each recipient domain. */
struct store_admin_destination {
	const char *name; /* a next hop, or the domain when no route names one */
	uint64_t queued, deferred, active, held;
	bool suspended; /* then what is queued or deferred waits for `queue resume` */
	struct store_admin_pause pause;
	unsigned idle;	  /* open connections that wait for mail, beside those of active mail */
	unsigned allowed; /* connections at once that it is trusted with now */
	uint64_t rate;	  /* mails a minute; 0 = any number */
};

struct store_admin_destinations {
	struct store_admin_destination *list;
	size_t count;
	bool ended;
};

/* The next page of destinations with mail, or suspended or paused ones (of these only, if `paused`), behind the one called `after` ("" = from the
 * start), by name. Owned by `owner`. 0 or a negative error. */
int store_admin_destinations(struct store *store, const void *owner, const char *after, bool paused,
	struct store_admin_destinations *ret_page);

struct store_admin_suspended {
	const char *destination;
	int64_t since_ms, uid;
	uint64_t waiting;
};

struct store_admin_status {
	uint64_t queued, deferred, active, held,
		waiting_suspended; /* mails by state, once for each recipient domain */
	uint64_t corrupt;	   /* mails */
	int64_t oldest_ms;	   /* age; 0 = nothing is queued */
	struct store_admin_suspended *suspended;
	size_t suspended_count;
};

/* Owned by `owner`; 0 or a negative error. */
int store_admin_status(struct store *store, const void *owner, struct store_admin_status *ret_status);

/* The content of a mail that waits or is corrupt, checked (-EBADMSG: it or its message is damaged); owned by `owner`, its descriptor the caller's. 0, -ENOENT, or another negative error. */
int store_admin_content(struct store *store, const void *owner, int64_t mid, struct content *ret_content);

/* For a store of store_open_reader(): destinations are worked out from `config` (kept; NULL = the domain stands for it). 0, or a negative error. */
int store_admin_prepare_reader(struct store *store, const struct config *config);
