#include "config/words.h"

#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"

int words_read(const struct table_row *row, struct text t, int *ret_value)
{
	const struct table_word *w = row->words;

	while (w->word != NULL && !text_equal(text_of(w->word), t))
		w++;
	if (w->word == NULL)
		return -EINVAL;
	switch (w->value) {
	case TABLE_LATER:
		return -ENOSYS;
	case TABLE_KEY:
		return -EEXIST;
	default:
		*ret_value = w->value;
		return 0;
	}
}

const char *words_show(const struct table_row *row, int value)
{
	const struct table_word *w = row->words;

	while (w->word != NULL && w->value != value)
		w++;
	return value < 0 ? NULL : w->word;
}

char *words_list(const void *owner, const struct table_row *row)
{
	char *text = NULL;

	for (const struct table_word *w = row->words; w->word != NULL; w++)
		if (w->value >= 0)
			text = text_must(text == NULL ? talloc_strdup(owner, w->word)
						      : talloc_asprintf_append(text, ", %s", w->word));
	return text;
}

const char *words_nearest(const struct table_row *row, struct text t)
{
	const char *nearest = NULL;
	size_t best = 3;

	if (row->other_word != NULL && text_equal_nocase(text_of(row->other_word), t))
		return row->meant_word;
	for (const struct table_word *w = row->words; w->word != NULL; w++) {
		size_t distance = text_distance(text_of(w->word), t);

		if (w->value < 0 || strcmp(w->word, TABLE_PATH_WORD) == 0 || strcmp(w->word, "none") == 0 ||
			distance >= t.len || distance > best)
			continue;
		nearest = distance < best ? w->word : NULL;
		best = distance;
	}
	return nearest;
}
