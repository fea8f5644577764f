/* Sorted once, searched often: a list of a million addresses costs its own text and a pointer each. */
#include "session/recipients.h"

#include <stdlib.h>

#include <talloc.h>

#include "config/recipient_list.h"

struct recipients {
	size_t count;
	char **sorted;
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct recipients *recipients_new(const void *owner, struct text bytes)
{
	struct recipients *recipients = text_must(talloc_zero(owner, struct recipients));
	size_t room = 0;
	unsigned line = 0;
	struct text entry;

	while (recipient_list_next(&bytes, &line, &entry)) {
		if (recipients->count == room) {
			room = room == 0 ? 64 : room * 2;
			recipients->sorted = text_must(
				talloc_realloc_size(recipients, recipients->sorted, room * sizeof(char *)));
		}
		recipients->sorted[recipients->count++] = text_copy_lower(recipients, entry);
	}
	if (recipients->count > 0)
		qsort(recipients->sorted, recipients->count, sizeof(char *), compare);
	return recipients;
}

static bool has(const struct recipients *recipients, struct text entry)
{
	char *lower = text_copy_lower(NULL, entry);
	bool found = recipients->count > 0 &&
		     bsearch(&lower, recipients->sorted, recipients->count, sizeof(char *), compare) != NULL;

	talloc_free(lower);
	return found;
}

bool recipients_has(const struct recipients *recipients, struct text address)
{
	return has(recipients, address) || has(recipients, text_from(address, text_find_last(address, '@')));
}
