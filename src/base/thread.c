/* One way to start a thread, so that stack size and signal mask are decided once. */
#include "base/thread.h"

#include <signal.h>

#include "base/base.h"

#ifdef POSTERN_SANITIZED
enum { STACK_SIZE = 2 * 1024 * 1024 };
#else
enum { STACK_SIZE = 256 * 1024 };
#endif

int thread_start(void *(*run)(void *argument), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&thread, &attributes, run, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -r;
}

void thread_condition(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool thread_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline)
{
	struct timespec at = { .tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000 };

	return pthread_cond_timedwait(condition, lock, &at) != ETIMEDOUT;
}
