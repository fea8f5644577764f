/*
 * `postern config show`: the effective configuration, defaults included. The table is walked once into a JSON tree, in
 * the order of the table; the tree is printed as JSON by jansson or as YAML below. What is printed as YAML can be
 * read again and means the same (a test and a fuzz target prove it).
 */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/text.h"
#include "config/table.h"
#include "config/value.h"

struct show {
	const void *scratch;
	const char *directory;
};

static json_t *show_section(const struct show *show, const struct table_section *section, const void *base);

static json_t *show_value(const struct show *show, const struct table_row *row, const void *at)
{
	char *text = value_show(show->scratch, show->directory, row, at);
	uint64_t number;

	if (text == NULL)
		return NULL;
	if (row->type == TABLE_BOOL ||
		(row->type == TABLE_CHOICE && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)))
		return json_boolean(strcmp(text, "true") == 0);
	if (row->type == TABLE_NUMBER && text_number(text_of(text), INT64_MAX, &number) == 0)
		return json_integer((json_int_t)number);
	return text_must(json_string(text));
}

static json_t *show_list(const struct show *show, const struct table_row *row, const void *base)
{
	json_t *list = text_must(json_array());
	size_t size = value_size(row), count;
	const char *array;

	memcpy(&array, (const char *)base + row->offset, sizeof array);
	memcpy(&count, (const char *)base + row->count, sizeof count);
	if (row->type == TABLE_REFERENCES && count <= 1) {
		json_decref(list);
		return count == 0 ? NULL : show_value(show, row, array);
	}
	for (size_t i = 0; i < count; i++) {
		const void *at = array + i * size;

		if (row->type == TABLE_LIST && table_is_predefined(at))
			continue;
		json_array_append_new(list, row->type == TABLE_LIST ? show_section(show, row->inner, at)
								    : show_value(show, row, at));
	}
	return list;
}

static json_t *show_section(const struct show *show, const struct table_section *section, const void *base)
{
	json_t *object = text_must(json_object());

	for (size_t i = 0; i < section->count; i++) {
		const struct table_row *row = &section->rows[i];
		const void *at = (const char *)base + row->offset;
		json_t *value;

		if (row->type == TABLE_WAITING)
			continue;
		if (row->type == TABLE_SECTION)
			value = row->optional && table_is_predefined(at) ? NULL
									 : show_section(show, row->inner, at);
		else if (table_is_list(row))
			value = show_list(show, row, base);
		else
			value = show_value(show, row, at);
		if (value != NULL)
			json_object_set_new(object, row->name, value);
	}
	return object;
}

/* Plain when no YAML reader can misunderstand it, else in double quotes. */
static char *yaml_string(char *yaml, const char *string)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:";
	size_t len = strlen(string);

	if (len > 0 && strspn(string, plain) == len && string[0] != '-' && string[0] != ':' &&
		string[len - 1] != ':')
		return text_must(talloc_strdup_append_buffer(yaml, string));

	yaml = text_must(talloc_strdup_append_buffer(yaml, "\""));
	for (const char *at = string; *at != '\0'; at++)
		yaml = text_must(talloc_asprintf_append_buffer(
			yaml, "%s%c", *at == '"' || *at == '\\' ? "\\" : "", *at));
	return text_must(talloc_strdup_append_buffer(yaml, "\""));
}

static char *yaml_scalar(char *yaml, const json_t *value)
{
	if (json_is_string(value))
		return yaml_string(yaml, json_string_value(value));
	if (json_is_boolean(value))
		return text_must(talloc_strdup_append_buffer(yaml, json_is_true(value) ? "true" : "false"));
	return text_must(
		talloc_asprintf_append_buffer(yaml, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
}

/* The lines of `object`, `indent` spaces in; `first` stands before the first line instead (the dash of a list). */
static char *yaml_object(char *yaml, json_t *object, int indent, const char *first)
{
	const char *key;
	json_t *value, *entry;
	size_t i;

	json_object_foreach(object, key, value)
	{
		yaml = text_must(
			talloc_asprintf_append_buffer(yaml, "%*s%s:", first == NULL ? indent : 0, "", key));
		if (first != NULL)
			first = NULL;
		if (json_is_object(value)) {
			yaml = text_must(talloc_strdup_append_buffer(
				yaml, json_object_size(value) == 0 ? " {}\n" : "\n"));
			yaml = yaml_object(yaml, value, indent + 2, NULL);
			continue;
		}
		if (!json_is_array(value)) {
			yaml = yaml_scalar(text_must(talloc_strdup_append_buffer(yaml, " ")), value);
			yaml = text_must(talloc_strdup_append_buffer(yaml, "\n"));
			continue;
		}
		yaml = text_must(
			talloc_strdup_append_buffer(yaml, json_array_size(value) == 0 ? " []\n" : "\n"));
		json_array_foreach(value, i, entry)
		{
			yaml = text_must(talloc_asprintf_append_buffer(yaml, "%*s- ", indent + 2, ""));
			if (json_is_object(entry))
				yaml = yaml_object(yaml, entry, indent + 4, "- ");
			else
				yaml = text_must(talloc_strdup_append_buffer(yaml_scalar(yaml, entry), "\n"));
		}
	}
	return yaml;
}

char *config_show(const void *owner, const struct config *config, bool json)
{
	void *scratch = text_must(talloc_new(NULL));
	struct text file = text_of(config->file);
	size_t slash = text_find_last(file, '/');
	const struct show show = { scratch,
		slash == file.len ? "" : text_copy(scratch, text_first(file, slash + 1)) };
	json_t *tree = show_section(&show, &table_top, config);
	char *text;

	if (json) {
		char *dump = text_must(json_dumps(tree, 0));

		text = text_must(talloc_strdup(owner, dump));
		free(dump);
	} else {
		text = yaml_object(text_must(talloc_strdup(owner, "")), tree, 0, NULL);
	}
	json_decref(tree);
	talloc_free(scratch);
	return text;
}
