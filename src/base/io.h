#pragma once
/* What everybody does with a descriptor: wait for it, write all of something to it, and replace a file by a whole one. */

#include <stdint.h>

#include "base/text.h"

enum { IO_FOREVER = -1 }; /* a deadline that never comes */

/* Wait until `fd` has `events` (POLLIN, POLLOUT), until `deadline` (clock_mono_ms(), absolute), or until `stop_fd` (-1 = none) is readable;
 * 0, -ETIMEDOUT, or ERR_STOPPED. */
int io_wait(int fd, short events, int stop_fd, int64_t deadline);

/* Write all of `bytes` to a blocking descriptor; 0, or a negative errno. */
int io_write_all(int fd, struct text bytes);

/* Put a file of mode 0600 under `name`, by way of `NAME.new` beside it: after a crash the old or the new one is there, whole, and after this the new one
 * is on the disk. 0, or a negative errno: then either may be there. */
int io_replace_file(int directory_fd, const char *name, struct text bytes);
