#pragma once
/* What the files of the embedded store share. */

#include <pthread.h>

#include "policy/steady.h"
#include "queue/schedule.h"
#include "queue/storage_fault.h"
#include "queue/store.h"
#include "queue/waiters.h"

struct store {
	int content_fd;
	int reader_fd;			  /* of a reader: the state directory; else -1 */
	int state_fd;			  /* the state directory, the caller's; of a reader -1 */
	uint64_t start;			  /* wall clock of the opening; part of file names */
	struct writer *writer;		  /* NULL in a reader */
	struct mover *mover;		  /* the same */
	struct checkpoint *checkpoint;	  /* the same */
	struct readers *readers, *tracks; /* of queue.db, of track.db */
	pthread_mutex_t orders;		  /* of the operator: one at a time; taken before the next */
	pthread_mutex_t lock;		  /* guards what follows */
	struct waiters waiters;		  /* for something to become due */
	struct schedule *schedule;
	struct quota *quota; /* queued mails by client network */
	bool directed;	     /* something may be ordered about a mail (directive.h) */
	bool low;	     /* there was too little room when last looked */
	unsigned holds;	     /* backups that copy content files */
	char **kept;	     /* names of files that go when nobody copies any more */
	size_t kept_count;
	struct storage_fault fault;
	uint64_t lessee;     /* who may lease; 0 = nobody */
	int64_t oldest;	     /* when the oldest queued mail was queued, as store_gauges() last saw it */
	uint64_t corrupt;    /* and how many are corrupt */
	struct steady clock; /* what ages are counted by */
	int64_t clock_saved; /* what it said when it was saved last */
	const struct config *config;
	int64_t overdue_next, overdue_cursor; /* when to look again (monotonic), and behind which mail */
};

/* To be called at least each minute: looks, when it is time, for mail whose sender is to be told although its destination is parked. */
void store_overdue_look(struct store *store);

/* Lend one such item to `owner`; false when there is none. To be called with the lock held. */
bool store_overdue_lend(struct store *store, uint64_t owner, struct schedule_item *ret_item);

/* Mark the lease of such an item, and read the last reply of each of its recipients. 0, or a negative error. */
int store_overdue_mark(struct store *store, struct lease *lease);

/* What a checksum says was damaged. */
enum store_damage { DAMAGE_RECIPIENT, DAMAGE_MESSAGE, DAMAGE_CONTENT };

/* Read a mail with its recipients of `domain` that are still queued; 0, -ENOENT when none is, -EBADMSG when any of it was damaged
 * (ret_damage says what), or another negative error. */
int store_load_lease(struct store *store, const void *parent, int64_t mid, const char *domain,
	const char *destination, struct lease **ret_lease, enum store_damage *ret_damage);

/* The same without recipients, whoever they are and whatever became of them. */
int store_load_content(struct store *store, const void *parent, int64_t mid, struct lease **ret_lease);

/* The longest wait until a next try. */
int64_t store_longest_wait_ms(const struct store *store);

/* Limit the destinations that are new in the schedule as the configuration says; under the store's lock. */
void store_limit_destinations(struct store *store);

/* What follows a recorded outcome outside of the schedule: the mail it finished counts no more, and its file goes. */
struct writer_outcome;
void store_finish(struct store *store, const struct writer_outcome *job);

/* Resume the clock; after the schedule was loaded. 0 or a negative error. */
int store_clock_open(struct store *store);

/* What the clock says now, after looking at it. */
int64_t store_clock(struct store *store);

/* To be called at least each minute: looks at the clock, and saves it when it is time. */
void store_clock_keep(struct store *store);

/* When the oldest mail was queued that still has a recipient to serve (0: there is none), and how many have a corrupt one. 0, -EAGAIN when all
 * readers are lent, or another negative error. */
int store_find_oldest(struct store *store, int64_t *ret_queued_ms, int64_t *ret_corrupt);
