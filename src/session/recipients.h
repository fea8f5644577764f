#pragma once
/* The list of recipients of the accepted domains (setting recipients.file, format in config/recipient_list.c), for questions. */

#include "base/text.h"

struct recipients;

/* Read the list. Owned by `owner`. */
struct recipients *recipients_new(const void *owner, struct text bytes);

/* True when `address` is on the list; case does not count. */
bool recipients_has(const struct recipients *recipients, struct text address);
