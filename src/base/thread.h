#pragma once
/* Threads of a role: small stacks, no signals, never cancelled. */

#include <stddef.h>

/* Start `run(argument)` as a detached thread with a 256 KiB stack and a guard page (more under sanitizers) and all
 * signals blocked; 0, or a negative errno. */
int thread_start(void *(*run)(void *argument), void *argument);
