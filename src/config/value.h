#pragma once
/* One value of the configuration file, from its text and back. Private to the room. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct ip;
struct table_row;

/* Read `t` as the type of `row` (of one element when the row is a list) into `at`; strings are owned by `owner`,
 * `directory` ("" or with its final slash) precedes relative paths. NULL, or one sentence that says what was expected,
 * owned by `owner`. A TABLE_REFERENCE (or one of TABLE_REFERENCES) is only checked: nothing is stored. */
char *value_read(
	const void *owner, const char *directory, const struct table_row *row, struct text t, void *at);

/* The text of the value at `at` in its shortest form, such as value_read() takes; owned by `owner`. NULL = not set. */
char *value_show(const void *owner, const char *directory, const struct table_row *row, const void *at);

/* What value_read() takes for `row`, for messages: "a size such as 10k or 50MiB". Static. */
const char *value_expected(const struct table_row *row);

/* The word for the type of `row` in the manual: "size". Static. */
const char *value_type(const struct table_row *row);

/* The limits or the choices of `row` for the manual and messages; NULL when it has none. Owned by `owner`. */
char *value_limits(const void *owner, const struct table_row *row);

/* True when `t`, which ip_parse() has read as `ip`, names a port (0 is one, too). */
bool value_names_port(struct text t, const struct ip *ip);

/* Size of one element of the list `row`. */
size_t value_size(const struct table_row *row);

/* `t`, shortened when it is long (never within a UTF-8 character); for messages. Owned by `owner`. */
char *value_short(const void *owner, struct text t);
