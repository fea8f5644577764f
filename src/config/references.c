/*
 * References: the reader has left the names in the marks; here the pointers are set, by the table. Nothing in this file
 * knows a key. Called once by config/config.c, after the reader and before check_whole().
 *
 * The arrays that the pointers lead into have their final size and place by now.
 */
#include "config/check.h"

#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "config/config.h"
#include "config/marks.h"
#include "config/table.h"
#include "config/value.h"

enum { NAMES_SHOWN = 10 };

static bool is_among(const char *const *shown, size_t count, const char *label)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(shown[i], label) == 0)
			return true;
	return false;
}

/* "it has main, backup": the labels of a list, the first few of them, each once; and the one nearest to `name`. */
static char *known_names(const void *owner, const struct table_row *list, const struct config *config,
	const char *name, const char **ret_nearest)
{
	char *known = NULL;
	const void *entry;
	const char *shown[NAMES_SHOWN];
	size_t best = 3, count = 0;

	*ret_nearest = NULL;
	for (size_t i = 0; (entry = table_entry(list, config, i)) != NULL; i++) {
		const char *label = table_label(list->inner, entry);

		if (label == NULL)
			continue;
		size_t distance = text_distance(text_of(label), text_of(name));
		if (distance < best && distance < strlen(name)) {
			best = distance;
			*ret_nearest = label;
		}
		if (is_among(shown, MIN(count, (size_t)NAMES_SHOWN), label))
			continue;
		if (count < NAMES_SHOWN)
			shown[count] = label;
		if (known == NULL)
			known = text_must(talloc_asprintf(owner, "it has %s", label));
		else if (count < NAMES_SHOWN)
			known = text_must(talloc_asprintf_append(known, ", %s", label));
		else if (count == NAMES_SHOWN)
			known = text_must(talloc_strdup_append(known, ", ..."));
		count++;
	}
	return known == NULL ? text_must(talloc_asprintf(owner, "add it to %s", list->name)) : known;
}

static void resolve(struct config *config, struct marks *marks, const struct table_row *row, void *field,
	const char *path)
{
	const char *name = marks_has(marks, path) ? marks_value(marks, path) : row->standard, *nearest;
	const struct table_row *list = table_list_of(row->inner);
	const void *entry;

	if (name == NULL)
		return;
	for (size_t i = 0; (entry = table_entry(list, config, i)) != NULL; i++) {
		const char *label = table_label(list->inner, entry);

		if (label != NULL && strcmp(label, name) == 0) {
			memcpy(field, &entry, sizeof entry);
			return;
		}
	}

	char *known = known_names(marks, list, config, name, &nearest);
	marks_problem(marks, MARKS_LOOK_UP, path, "there is no `%s` in %s; %s%s%s%s", name, list->name, known,
		nearest == NULL ? "" : " (did you mean `", nearest == NULL ? "" : nearest,
		nearest == NULL ? "" : "`?)");
}

/* One name stands under the key itself, those of a list under their numbers. */
static void resolve_all(
	struct config *config, struct marks *marks, const struct table_row *row, void *base, const char *path)
{
	size_t count;
	char *array;

	memcpy(&count, (const char *)base + row->count, sizeof count);
	memcpy(&array, (const char *)base + row->offset, sizeof array);
	for (size_t i = 0; i < count; i++) {
		char *own = text_must(talloc_asprintf(marks, "%s[%zu]", path, i + 1));

		resolve(config, marks, row, array + i * sizeof(void *), marks_has(marks, own) ? own : path);
		talloc_free(own);
	}
}

static void walk(struct config *config, struct marks *marks, const struct table_section *section, void *base,
	const char *path)
{
	for (size_t i = 0; i < section->count; i++) {
		const struct table_row *row = &section->rows[i];
		void *field = (char *)base + row->offset, *entry;
		char *child;

		if (row->type != TABLE_REFERENCE && row->type != TABLE_REFERENCES &&
			row->type != TABLE_SECTION && row->type != TABLE_LIST)
			continue;
		child = text_must(
			talloc_asprintf(marks, "%s%s%s", path, path[0] == '\0' ? "" : ".", row->name));
		if (row->type == TABLE_REFERENCE) {
			resolve(config, marks, row, field, child);
		} else if (row->type == TABLE_REFERENCES) {
			resolve_all(config, marks, row, base, child);
		} else if (row->type == TABLE_SECTION) {
			walk(config, marks, row->inner, field, child);
		} else {
			for (size_t n = 0; (entry = table_entry(row, base, n)) != NULL; n++)
				walk(config, marks, row->inner, entry,
					text_must(talloc_asprintf(marks, "%s[%zu]", child, n + 1)));
		}
		talloc_free(child);
	}
}

void check_references(struct config *config, struct marks *marks)
{
	walk(config, marks, &table_top, config, "");
}
