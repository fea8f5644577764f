#pragma once
/* What every file may use without asking: cleanup, counting, and the few attributes that help the compiler. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define CLEANUP(f)   __attribute__((cleanup(f)))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))
#define MUST_CHECK   __attribute__((warn_unused_result))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* Close *fd if it is open and forget it; for CLEANUP(base_close). */
static inline void base_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Hand over the descriptor in *fd: the variable forgets it, the caller owns it. */
static inline int base_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}
