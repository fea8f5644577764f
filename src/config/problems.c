/*
 * The list that `postern check` prints: every room adds what it finds wrong, nobody stops at the first problem.
 * The reader of the configuration, config_gather() and the x_check() of the other rooms write it; the CLI and master print it.
 * All texts are copied into the list, so a problem outlives the configuration it speaks of.
 */
#include "config/problems.h"

#include <stdarg.h>
#include <stdlib.h>

#include <jansson.h>
#include <talloc.h>

#include "base/text.h"

struct problems *problems_new(const void *owner)
{
	return text_must(talloc_zero(owner, struct problems));
}

static void add(struct problems *problems, struct problem **list, size_t *count, const char *file,
	unsigned line, const char *key, const char *format, va_list arguments)
{
	*list = text_must(talloc_realloc(problems, *list, struct problem, (unsigned)*count + 1));
	struct problem *problem = &(*list)[(*count)++];

	problem->file = text_must(talloc_strdup(problems, file == NULL ? "" : file));
	problem->line = line;
	problem->is_half = false;
	problem->key = text_must(talloc_strdup(problems, key == NULL ? "" : key));
	problem->text = text_must(talloc_vasprintf(problems, format, arguments));
}

void problems_add(
	struct problems *problems, const char *file, unsigned line, const char *key, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(problems, &problems->list, &problems->count, file, line, key, format, arguments);
	va_end(arguments);
}

void problems_warn(
	struct problems *problems, const char *file, unsigned line, const char *key, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	add(problems, &problems->warnings, &problems->warning_count, file, line, key, format, arguments);
	va_end(arguments);
}

static json_t *json_of(const struct problem *problems, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct problem *p = &problems[i];

		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s}", "file", p->file, "line",
						    (int)p->line, "key", p->key, "text", p->text));
	}
	return list;
}

char *problems_json(const void *owner, const struct problems *problems)
{
	json_t *json = json_pack("{s:b, s:o, s:o}", "ok", problems->count == 0, "problems",
		json_of(problems->list, problems->count), "warnings",
		json_of(problems->warnings, problems->warning_count));
	char *dumped = text_must(json_dumps(json, JSON_COMPACT));
	char *text = text_must(talloc_strdup(owner, dumped));

	free(dumped);
	json_decref(json);
	return text;
}

char *problems_format(const void *owner, const struct problem *problem)
{
	char *text = text_must(talloc_strdup(owner, problem->file));

	if (problem->file[0] != '\0' && problem->line > 0)
		text = text_must(talloc_asprintf_append(text, ":%u", problem->line));
	if (text[0] != '\0')
		text = text_must(talloc_strdup_append(text, ": "));
	if (problem->key[0] != '\0')
		text = text_must(talloc_asprintf_append(text, "%s: ", problem->key));
	return text_must(talloc_strdup_append(text, problem->text));
}
