#pragma once
/* The list of recipients of the accepted domains (setting recipients.file): one address a line, `@domain` for all of a domain. */

#include "base/text.h"

struct recipients;

/* Read the list; blank lines and lines that start with # are skipped. Owned by `owner`. */
struct recipients *recipients_new(const void *owner, struct text bytes);

/* True when `address` is on the list; case does not count. */
bool recipients_has(const struct recipients *recipients, struct text address);
