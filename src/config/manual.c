/*
 * docs/configuration.md, from the table: one heading per section, one line per key. tools and CI compare the file in
 * the tree with what is written here, so the manual cannot fall behind the code.
 */
#include "config/config.h"

#include <string.h>

#include <talloc.h>

#include "base/text.h"
#include "config/table.h"
#include "config/value.h"

/* `text` with the bars that would end a column escaped. */
static char *append_cell(char *page, const char *text)
{
	for (const char *at = text; *at != '\0'; at++)
		page = text_must(talloc_asprintf_append(page, "%s%c", *at == '|' ? "\\" : "", *at));
	return text_must(talloc_strdup_append(page, " | "));
}

static const char *type_of(const void *owner, const struct table_row *row)
{
	if (row->type == TABLE_REFERENCE)
		return text_must(talloc_asprintf(owner, "name in `%s`", row->inner->name));
	if (row->type == TABLE_REFERENCES)
		return text_must(talloc_asprintf(owner, "name in `%s`, or a list of them", row->inner->name));
	return value_type(row);
}

static char *append_row(char *page, const struct table_row *row)
{
	char *limits = value_limits(page, row);
	const char *standard = "";

	if (row->required)
		standard = "required";
	else if (row->standard != NULL)
		standard = text_must(
			talloc_asprintf(page, table_is_list(row) ? "`[%s]`" : "`%s`", row->standard));
	else if (table_is_list(row) && row->type != TABLE_REFERENCES)
		standard = "`[]`";

	page = text_must(talloc_asprintf_append(page, "| `%s` | ", row->name));
	page = append_cell(page, type_of(page, row));
	page = append_cell(page, standard);
	page = append_cell(page, limits == NULL ? "" : limits);
	if (row->type == TABLE_WAITING)
		page = text_must(
			talloc_strdup_append(page, "Accepted, and without effect in this version: "));
	page = append_cell(
		page, row->inner != NULL && row->manual == NULL ? row->inner->manual : row->manual);
	page[strlen(page) - 1] = '\n';
	return page;
}

static char *append_section(char *page, const struct table_section *section)
{
	page = text_must(talloc_asprintf_append(page, "\n## %s%s%s\n\n%s\n\n",
		section->name == NULL ? "Top level" : "`", section->name == NULL ? "" : section->name,
		section->name == NULL ? "" : "`", section->manual));
	page = text_must(talloc_strdup_append(
		page, "| key | type | default | limits | meaning |\n|---|---|---|---|---|\n"));
	for (size_t i = 0; i < section->count; i++)
		page = append_row(page, &section->rows[i]);
	for (size_t i = 0; i < section->count; i++) {
		const struct table_row *row = &section->rows[i];

		if (row->type == TABLE_SECTION || row->type == TABLE_LIST)
			page = append_section(page, row->inner);
	}
	return page;
}

char *config_manual(const void *owner)
{
	char *page = text_must(talloc_strdup(owner,
		"# Configuration\n\n"
		"One YAML file. Relative paths are relative to its directory. Sizes are bytes or `10k`, "
		"`50MiB`, `1GiB`; "
		"durations are `500ms`, `15s`, `5m`, `1h`, `5d`.\n"
		"Anchors, aliases, tags and several documents in one file are not supported. "
		"`postern check` reports all problems of a file at once; entries of lists without a name are "
		"counted "
		"from 1.\n"
		"This page is written by the program from the table that reads the file.\n"));

	return append_section(page, &table_top);
}
