#pragma once
/* The two things everybody does with a descriptor: wait for it, and write all of something to it. */

#include <stdint.h>

#include "base/text.h"

enum { IO_FOREVER = -1 }; /* a deadline that never comes */

/* Wait until `fd` has `events` (POLLIN, POLLOUT), until `deadline` (clock_mono_ms(), absolute), or until `stop_fd` (-1 = none) is readable;
 * 0, -ETIMEDOUT, or ERR_STOPPED. */
int io_wait(int fd, short events, int stop_fd, int64_t deadline);

/* Write all of `bytes` to a blocking descriptor; 0, or a negative errno. */
int io_write_all(int fd, struct text bytes);
