#pragma once
/* What `postern check` found: every problem of a configuration in one run, each with file, line, key and cure. A configuration with
 * problems is refused; one with warnings can be used, but perhaps not as its author thinks. */

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"

struct problem {
	const char *file;
	unsigned line;	  /* 0 = the whole file */
	const char *key;  /* "listeners[inbound].address"; may be empty */
	const char *text; /* what is wrong and what was expected, one sentence */
	bool is_half;	  /* of a pair of files that is being exchanged, perhaps */
};

struct problems {
	struct problem *list;
	size_t count;
	struct problem *warnings;
	size_t warning_count;
};

/* An empty list owned by talloc parent `owner`. */
struct problems *problems_new(const void *owner);

/* Add one; all texts are copied. */
void problems_add(struct problems *problems, const char *file, unsigned line, const char *key,
	const char *format, ...) PRINTF(5, 6);

/* Add a warning; all texts are copied. */
void problems_warn(struct problems *problems, const char *file, unsigned line, const char *key,
	const char *format, ...) PRINTF(5, 6);

/* {"ok": no problems, "problems": [{"file", "line", "key", "text"}, ...], "warnings": [...]}, owned by `owner`. */
char *problems_json(const void *owner, const struct problems *problems);

/* "FILE:LINE: KEY: TEXT" (parts that are unknown are left out), owned by `owner`. */
char *problems_format(const void *owner, const struct problem *problem);
