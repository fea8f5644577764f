#pragma once
/* A few connections that only read, borrowed for one query each. */

#include <sqlite3.h>

#include "queue/database.h"

struct readers;

/* Open them on `file` in `directory_fd`; 0, or a negative error with one sentence in ret_why (owned by `owner`). Owned by `owner`. */
int readers_open(const void *owner, int directory_fd, enum database_file file, struct readers **ret_readers,
	const char **ret_why);

/* Borrow one (waits; or NULL at once when all are lent), give it back. */
sqlite3 *readers_take(struct readers *readers);
sqlite3 *readers_try(struct readers *readers);
void readers_give(struct readers *readers, sqlite3 *db);
