#pragma once
/* The words of a TABLE_CHOICE. Private to the room. */

#include "base/text.h"
#include "config/table.h"

/* The value of the word `t`; -EINVAL when it is none, -ENOSYS of a word that this version does not know yet, -EEXIST when it is a key. */
int words_read(const struct table_row *row, struct text t, int *ret_value);

/* The word for `value`, NULL when there is none. Static. */
const char *words_show(const struct table_row *row, int value);

/* "none, preferred, required", owned by `owner`. */
char *words_list(const void *owner, const struct table_row *row);

/* The one word that is nearest to `t`, when it is near, else NULL. Never `none`: a slip must not end in advice to protect nothing. */
const char *words_nearest(const struct table_row *row, struct text t);
