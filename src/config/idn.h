#pragma once
/* Host names with letters beyond ASCII, as an operator may write them: IDNA2008 (UTS 46, non-transitional). */

#include <stdbool.h>

#include "base/text.h"

/* `name` as the DNS and certificates have it: labels beyond ASCII become A-labels (`xn--...`); what is ASCII only stays as it is, right or not, and so does
 * `*.` at its begin. Owned by `owner`. NULL when there is no such name, with one clause why in `ret_why` (owned by `owner`). */
char *idn_to_ascii(const void *owner, struct text name, const char **ret_why);

/* For rows of the table: read a host name of two labels at least, which has letters beyond ASCII, into `field`. NULL, or what was expected. Owned by
 * `owner`. */
char *idn_read_host(const void *owner, struct text value, const char **field);

/* True when a byte of `name` is beyond ASCII. */
bool idn_is_needed(struct text name);
