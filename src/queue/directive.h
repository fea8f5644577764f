#pragma once
/*
 * What the operator ordered, durably: mails that are held or rerouted (a mail for one recipient domain), recipients that are given up, and
 * destinations that are suspended. Tables of their own, so that the rows of a mail change only with what happens to it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct lease;

enum directive_kind {
	DIRECTIVE_HOLD,
	DIRECTIVE_RELEASE,
	DIRECTIVE_REROUTE, /* to `text`; empty = where the routes lead */
	DIRECTIVE_EXPIRE,  /* recipient `rid` */
	DIRECTIVE_SUSPEND, /* destination `text`, by user `rid` at `time_ms` */
	DIRECTIVE_RESUME,
	DIRECTIVE_CLEAN_MAILS, /* forget what was ordered about mails that are finished */
	DIRECTIVE_CLEAN_RECIPIENTS,
};

struct directive {
	enum directive_kind kind;
	int64_t mid, rid, time_ms;
	const char *domain, *text;
};

/* Carry out `directives` on the writing connection, within its transaction. 0 or a negative error. */
int directive_run(sqlite3 *db, const struct directive *directives, size_t count);

/* How a mail for one domain stands: when it is due, and what was ordered about it. */
struct directive_view {
	bool live; /* it has a recipient that is still queued; else nothing more is said */
	int64_t due, attempts;
	bool held;
	bool expired;	/* at least one of its recipients is given up */
	char *next_hop; /* empty = where the routes lead */
};

/* Read that with a statement of directive_prepare(), which the caller finalizes; next_hop is owned by `owner`. 0 or a negative error. */
sqlite3_stmt *directive_prepare(sqlite3 *db);
int directive_read(sqlite3_stmt *statement, const void *owner, int64_t mid, const char *domain,
	struct directive_view *ret_view);

/* Leave in `lease` those recipients that are given up, if any is, with their last replies. 0 or a negative error. */
int directive_select_expired(sqlite3 *db, struct lease *lease);
