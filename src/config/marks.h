#pragma once
/* Where each key stood in the file, and what is wrong with it. Private to the room. */

#include <stddef.h>

#include "base/base.h"

struct marks;
struct problems;

enum { MARKS_LOOK_UP = 0 };

/* No marks, owned by `owner`. */
struct marks *marks_new(const void *owner);

/* Remember that the key `path` (`listeners[2].policy`, entries counted from 1) stood on `line`. `value` is the name
 * that a reference holds, the label of a list entry, or NULL. `path` and `value` are kept until marks_flush(). */
void marks_add(struct marks *marks, const char *path, unsigned line, const char *value);

/* Call once after the last marks_add(), before the two functions below. */
void marks_sort(struct marks *marks);

/* The value marked at `path`, or NULL. */
const char *marks_value(const struct marks *marks, const char *path);

/* True when `path` stood in the file. */
bool marks_has(const struct marks *marks, const char *path);

/* Note a problem with the key `path` (copied). MARKS_LOOK_UP: its line, or that of what it stands in, is looked up. */
void marks_problem(struct marks *marks, unsigned line, const char *path, const char *format, ...)
	PRINTF(4, 5);

/* The same, but the file can be used as it is. */
void marks_warn(struct marks *marks, unsigned line, const char *path, const char *format, ...) PRINTF(4, 5);

/* The same, and nothing else is noted before or after it: what is wrong on the way to a mistake in the syntax may come of it. */
void marks_only(struct marks *marks, unsigned line, const char *path, const char *format, ...) PRINTF(4, 5);

/* Move the problems to `problems`, in the order of their lines, entries of lists by their labels, and the warnings too; the
 * number of problems. */
size_t marks_flush(struct marks *marks, const char *file, struct problems *problems);
