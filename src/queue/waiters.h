#pragma once
/*
 * Threads that wait for mail to lend, and who of them is woken when some becomes due: one, never all; it calls the next when there is more. A
 * thread with an open connection waits for mail of one destination only, but gives way when others wait and nobody is free for them. Guarded by
 * the lock of the store, which they sleep on.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct schedule;

struct waiter {
	TAILQ_ENTRY(waiter) next;
	pthread_cond_t condition;
	const char *prefer; /* NULL = waits for any mail */
	int64_t until;	    /* when it looks again (monotonic) */
	bool called;
};

struct waiters {
	TAILQ_HEAD(, waiter) list;
	unsigned leaving; /* gave way, and did not come to ask for any mail yet */
};

void waiters_init(struct waiters *waiters);

/* Somebody asks for mail of `prefer` (NULL = any). To be called once for each ask, before the first look. */
void waiters_come(struct waiters *waiters, const char *prefer);

/* Sleep until called, or there may be something to lend, or until `until`. */
void waiters_wait(struct waiters *waiters, pthread_mutex_t *lock, struct schedule *schedule,
	const char *prefer, int64_t until);

/* True when who has an open connection and nothing to send on it shall close it and ask for any mail: some has been due for a while and nobody
 * is free for it. */
bool waiters_give_way(struct waiters *waiters, struct schedule *schedule, int64_t now);

/* After anything that may have made mail due earlier than before, of `destination` or (NULL, too) of another: have somebody look who would have
 * looked too late. */
void waiters_call(struct waiters *waiters, struct schedule *schedule, const char *destination);

/* After anything that may have let mail of several destinations go earlier, such as a connection that is free again: the same for all of them. */
void waiters_call_each(struct waiters *waiters, struct schedule *schedule);

/* Have everybody look. */
void waiters_call_all(struct waiters *waiters);
