#pragma once
/* Threads of a role: small stacks, no signals, never cancelled. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Start `run(argument)` as a detached thread with a 256 KiB stack and a guard page (more under sanitizers) and all
 * signals blocked; 0, or a negative errno. */
int thread_start(void *(*run)(void *argument), void *argument);

/* A condition whose waits use the monotonic clock. */
void thread_condition(pthread_cond_t *condition);

/* Wait for `condition` until `deadline` (clock_mono_ms(), absolute); false when the time is over. */
bool thread_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline);
