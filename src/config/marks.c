/*
 * Marks: the reader notes for every key that it meets the line and, where it matters, the text of the value. The checks
 * that run after the reader find lines and names of references here, so the config structs carry neither.
 *
 * Problems are noted with the path of their key, entries of lists counted from 1 (`listeners[2].tls`), because the name
 * of an entry may stand behind its other keys. marks_flush() writes the name in (`listeners[inbound].tls`), sorts by
 * line, and cuts the list at a number that a person can still read.
 */
#include "config/marks.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/text.h"
#include "config/problems.h"

enum { NOTES_MAX = 100 };

struct mark {
	const char *path;
	const char *value;
	unsigned line;
};

struct note {
	const char *path, *text;
	unsigned line;
	size_t order;
};

struct notes {
	struct note *list;
	size_t count, more;
};

struct marks {
	struct mark *list;
	size_t count, capacity;
	struct notes problems, warnings;
	bool only; /* marks_only() was called */
};

struct marks *marks_new(const void *owner)
{
	return text_must(talloc_zero(owner, struct marks));
}

void marks_add(struct marks *marks, const char *path, unsigned line, const char *value)
{
	if (marks->count == marks->capacity) {
		marks->capacity = MAX(marks->capacity * 2, 64);
		marks->list =
			text_must(talloc_realloc(marks, marks->list, struct mark, (unsigned)marks->capacity));
	}
	marks->list[marks->count++] = (struct mark){ .path = path, .value = value, .line = line };
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct mark *)a)->path, ((const struct mark *)b)->path);
}

void marks_sort(struct marks *marks)
{
	if (marks->count > 0)
		qsort(marks->list, marks->count, sizeof *marks->list, by_path);
}

static const struct mark *find(const struct marks *marks, const char *path)
{
	const struct mark key = { .path = path };

	if (marks->count == 0)
		return NULL;
	return bsearch(&key, marks->list, marks->count, sizeof *marks->list, by_path);
}

const char *marks_value(const struct marks *marks, const char *path)
{
	const struct mark *mark = find(marks, path);

	return mark == NULL ? NULL : mark->value;
}

bool marks_has(const struct marks *marks, const char *path)
{
	return find(marks, path) != NULL;
}

static void note(struct marks *marks, struct notes *notes, unsigned line, const char *path,
	const char *format, va_list arguments)
{
	if (marks->only)
		return;
	if (notes->count == NOTES_MAX) {
		notes->more++;
		return;
	}
	if (notes->list == NULL)
		notes->list = text_must(talloc_array(marks, struct note, NOTES_MAX));

	struct note *note = &notes->list[notes->count];
	*note = (struct note){ .line = line, .order = notes->count++ };
	note->path = text_must(talloc_strdup(marks, path));
	note->text = text_must(talloc_vasprintf(marks, format, arguments));
}

void marks_problem(struct marks *marks, unsigned line, const char *path, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note(marks, &marks->problems, line, path, format, arguments);
	va_end(arguments);
}

void marks_warn(struct marks *marks, unsigned line, const char *path, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note(marks, &marks->warnings, line, path, format, arguments);
	va_end(arguments);
}

void marks_only(struct marks *marks, unsigned line, const char *path, const char *format, ...)
{
	va_list arguments;

	marks->problems.count = marks->problems.more = marks->warnings.count = marks->warnings.more = 0;
	va_start(arguments, format);
	note(marks, &marks->problems, line, path, format, arguments);
	va_end(arguments);
	marks->only = true;
}

/* The line of `path`, or of the nearest thing it stands in. */
static unsigned line_of(const struct marks *marks, const char *path)
{
	char *part = text_must(talloc_strdup(marks, path));
	unsigned line = 0;

	for (;;) {
		const struct mark *mark = find(marks, part);
		char *dot = strrchr(part, '.'), *bracket = strrchr(part, '[');

		if (mark != NULL)
			line = mark->line;
		if (mark != NULL || (dot == NULL && bracket == NULL))
			break;
		*MAX(dot, bracket) = '\0';
	}
	talloc_free(part);
	return line;
}

/* `path` with the label instead of the number of each list entry that has one. */
static char *named_path(const struct marks *marks, const char *path)
{
	char *named = text_must(talloc_strdup(marks, ""));
	const char *rest = path, *close;

	while ((close = strchr(rest, ']')) != NULL) {
		char *prefix = text_must(talloc_strndup(marks, path, (size_t)(close - path) + 1));
		const char *label = marks_value(marks, prefix);
		size_t open = text_find(text_of(rest), '[');

		if (label == NULL)
			named = text_must(
				talloc_asprintf_append(named, "%.*s", (int)(close - rest) + 1, rest));
		else
			named = text_must(talloc_asprintf_append(named, "%.*s[%s]", (int)open, rest, label));
		talloc_free(prefix);
		rest = close + 1;
	}
	return text_must(talloc_strdup_append(named, rest));
}

static int by_line(const void *a, const void *b)
{
	const struct note *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* In the order of their lines. */
static void sort_notes(const struct marks *marks, struct notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		if (notes->list[i].line == MARKS_LOOK_UP)
			notes->list[i].line = line_of(marks, notes->list[i].path);
	if (notes->count > 0)
		qsort(notes->list, notes->count, sizeof *notes->list, by_line);
}

size_t marks_flush(struct marks *marks, const char *file, struct problems *problems)
{
	struct notes *wrong = &marks->problems, *doubtful = &marks->warnings;
	size_t count = wrong->count + wrong->more;

	sort_notes(marks, wrong);
	for (size_t i = 0; i < wrong->count; i++)
		problems_add(problems, file, wrong->list[i].line, named_path(marks, wrong->list[i].path),
			"%s", wrong->list[i].text);
	if (wrong->more > 0)
		problems_add(problems, file, 0, "", "%zu more problems are not shown: correct these first",
			wrong->more);

	sort_notes(marks, doubtful);
	for (size_t i = 0; i < doubtful->count; i++)
		problems_warn(problems, file, doubtful->list[i].line,
			named_path(marks, doubtful->list[i].path), "%s", doubtful->list[i].text);
	wrong->count = wrong->more = doubtful->count = doubtful->more = 0;
	return count;
}
