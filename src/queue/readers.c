/* Reading connections are few: each costs a page cache. A reader never blocks the writer (WAL). */
#include "queue/readers.h"

#include <pthread.h>

#include <talloc.h>

#include "base/base.h"

enum { READERS = 4 };

struct readers {
	pthread_mutex_t lock;
	pthread_cond_t returned;
	unsigned free;
	sqlite3 *dbs[READERS];
};

static int readers_destroy(struct readers *readers)
{
	while (readers->free > 0)
		database_close(readers->dbs[--readers->free]);
	pthread_cond_destroy(&readers->returned);
	pthread_mutex_destroy(&readers->lock);
	return 0;
}

int readers_open(const void *owner, int directory_fd, enum database_file file, struct readers **ret_readers,
	const char **ret_why)
{
	struct readers *readers = text_must(talloc_zero(owner, struct readers));

	pthread_mutex_init(&readers->lock, NULL);
	pthread_cond_init(&readers->returned, NULL);
	talloc_set_destructor(readers, readers_destroy);
	while (readers->free < READERS) {
		int r = database_open_reader(
			owner, directory_fd, file, &readers->dbs[readers->free], ret_why);

		if (r < 0) {
			talloc_free(readers);
			return r;
		}
		readers->free++;
	}
	*ret_readers = readers;
	return 0;
}

sqlite3 *readers_take(struct readers *readers)
{
	pthread_mutex_lock(&readers->lock);
	while (readers->free == 0)
		pthread_cond_wait(&readers->returned, &readers->lock);
	sqlite3 *db = readers->dbs[--readers->free];
	pthread_mutex_unlock(&readers->lock);
	return db;
}

sqlite3 *readers_try(struct readers *readers)
{
	pthread_mutex_lock(&readers->lock);
	sqlite3 *db = readers->free == 0 ? NULL : readers->dbs[--readers->free];
	pthread_mutex_unlock(&readers->lock);
	return db;
}

void readers_give(struct readers *readers, sqlite3 *db)
{
	pthread_mutex_lock(&readers->lock);
	readers->dbs[readers->free++] = db;
	pthread_cond_signal(&readers->returned);
	pthread_mutex_unlock(&readers->lock);
}
