/*
 * The reader of the configuration file: libyaml's events on one side, the table on the other, and one recursive walk
 * that follows the table. config_read() and config_gather() call it.
 *
 * It never stops at the first problem: what is wrong is noted with its line and key, its value is skipped, and the walk
 * goes on. Only a file that is not YAML (then that is all that is said), or nested without end, ends the walk (`broken`). The file may come from a
 * REST client: size, depth, entries and lengths are bounded, and anchors, aliases and tags are refused (an alias can
 * make a small file huge).
 *
 * Every function here finds the first event of its node in r->event and leaves the last one there.
 */
#include "config/reader.h"

#include <string.h>

#include <talloc.h>
#include <yaml.h>

#include "base/base.h"
#include "config/config.h"
#include "config/marks.h"
#include "config/table.h"
#include "config/value.h"

enum { DEPTH_MAX = 16, YAML_MAX = 1 << 20, VALUE_MAX = 4096, SECTIONS_MAX = 4096, VALUES_MAX = 1 << 16 };

struct reader {
	yaml_parser_t parser;
	yaml_event_t event;
	struct text yaml;
	const char *directory;
	struct config *config;
	struct marks *marks;
	unsigned depth;
	bool broken;
};

static unsigned line_of(const struct reader *r)
{
	return (unsigned)MIN(r->event.start_mark.line, YAML_MAX) + 1;
}

static struct text scalar_of(const struct reader *r)
{
	return (struct text){ (const char *)r->event.data.scalar.value, r->event.data.scalar.length };
}

static void note_syntax(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	unsigned line = (unsigned)MIN(p->problem_mark.line, YAML_MAX) + 1;

	/* Errors of the character decoder come with an offset only. */
	if (p->error == YAML_READER_ERROR) {
		line = 1;
		for (size_t i = 0; i < r->yaml.len && i < p->problem_offset; i++)
			line += r->yaml.at[i] == '\n';
	}
	marks_only(r->marks, line, "",
		"this is not YAML: %s%s%s; check indentation, quotes and special characters",
		p->context == NULL ? "" : p->context, p->context == NULL ? "" : ", ",
		p->problem == NULL ? "out of memory" : p->problem);
}

static void forget_event(struct reader *r)
{
	yaml_event_delete(&r->event);
	memset(&r->event, 0, sizeof r->event);
}

/* Anchors and tags stand on three kinds of events. */
static void refuse_extras(struct reader *r)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (r->event.type == YAML_SCALAR_EVENT) {
		anchor = r->event.data.scalar.anchor;
		tag = r->event.data.scalar.tag;
	} else if (r->event.type == YAML_SEQUENCE_START_EVENT) {
		anchor = r->event.data.sequence_start.anchor;
		tag = r->event.data.sequence_start.tag;
	} else if (r->event.type == YAML_MAPPING_START_EVENT) {
		anchor = r->event.data.mapping_start.anchor;
		tag = r->event.data.mapping_start.tag;
	}
	if (anchor != NULL || r->event.type == YAML_ALIAS_EVENT)
		marks_problem(r->marks, line_of(r), "",
			"anchors (&) and aliases (*) are not supported: write the value out, or put it in "
			"quotes if "
			"it begins with this character");
	if (tag != NULL)
		marks_problem(r->marks, line_of(r), "",
			"tags (!) are not supported: leave the tag out, or put the value in quotes if it "
			"begins with "
			"this character");
}

/* The next event; after an error there is only YAML_NO_EVENT. */
static void next(struct reader *r)
{
	forget_event(r);
	if (r->broken)
		return;
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		memset(&r->event, 0, sizeof r->event);
		note_syntax(r);
		r->broken = true;
		return;
	}

	refuse_extras(r);
	if (r->event.type == YAML_SEQUENCE_START_EVENT || r->event.type == YAML_MAPPING_START_EVENT)
		r->depth++;
	else if (r->event.type == YAML_SEQUENCE_END_EVENT || r->event.type == YAML_MAPPING_END_EVENT)
		r->depth--;
	if (r->depth > DEPTH_MAX) {
		marks_problem(r->marks, line_of(r), "",
			"nested more than %d deep: check brackets and indentation", DEPTH_MAX);
		r->broken = true;
		forget_event(r);
	}
}

/* Go to the last event of the node that begins here. */
static void skip(struct reader *r)
{
	unsigned depth = r->depth;

	if (r->event.type != YAML_SEQUENCE_START_EVENT && r->event.type != YAML_MAPPING_START_EVENT)
		return;
	while (!r->broken && r->depth >= depth)
		next(r);
}

/* Control characters, and the few others that are line ends or nothing at all to YAML, are never part of a value:
 * they could not be shown and read again. libyaml has checked that it is UTF-8. */
static bool is_printable(struct text t)
{
	static const char *const refused[] = { "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf", "\xef\xbf\xbe",
		"\xef\xbf\xbf" };

	for (size_t i = 0; i < t.len; i++) {
		unsigned char c = (unsigned char)t.at[i];

		if (c < 0x20 || c == 0x7f ||
			(c == 0xc2 && i + 1 < t.len && (unsigned char)t.at[i + 1] < 0xa0))
			return false;
		for (size_t j = 0; c >= 0xe2 && j < COUNT(refused); j++)
			if (t.len - i >= 3 && memcmp(t.at + i, refused[j], 3) == 0)
				return false;
	}
	return true;
}

static void read_section(
	struct reader *r, const struct table_section *section, void *base, const char *path, unsigned line);
static void fill_section(struct reader *r, const struct table_section *section, void *base, const char *path,
	unsigned line, const unsigned *seen);

static const char *child_path(const struct reader *r, const char *path, const char *key)
{
	return text_must(talloc_asprintf(r->marks, "%s%s%s", path, path[0] == '\0' ? "" : ".", key));
}

static const char *node_name(const struct reader *r)
{
	switch ((int)r->event.type) {
	case YAML_SEQUENCE_START_EVENT:
		return "a list";
	case YAML_MAPPING_START_EVENT:
		return "a section of `key: value` lines";
	default:
		return r->event.data.scalar.length == 0 ? "nothing" : "a single value";
	}
}

static void note_type(struct reader *r, const struct table_row *row, const char *path, bool list)
{
	const char *cure = "";

	if (r->event.type == YAML_ALIAS_EVENT || r->broken)
		return; /* already noted */
	if (list && row->type == TABLE_LIST)
		cure = "; begin each entry with `- `";
	else if (list)
		cure = "; write [a, b] or one line with `- ` for each value";
	marks_problem(r->marks, line_of(r), path, "expected %s; found %s%s",
		list ? "a list" : value_expected(row), node_name(r), cure);
}

/* One value into `at`; `entry` is the struct that a check may fill further. False when it was refused. */
static bool read_value(struct reader *r, const struct table_row *row, void *at, void *entry, const char *path)
{
	if (r->event.type != YAML_SCALAR_EVENT) {
		note_type(r, row, path, false);
		skip(r);
		return false;
	}

	struct text t = scalar_of(r);
	if (t.len > VALUE_MAX) {
		marks_problem(r->marks, line_of(r), path, "is longer than %d bytes", VALUE_MAX);
		return false;
	}
	if (!is_printable(t)) {
		marks_problem(
			r->marks, line_of(r), path, "contains control characters or line ends: remove them");
		return false;
	}

	char *problem = value_read(r->config, r->directory, row, t, at);
	if (problem == NULL && row->check != NULL)
		problem = row->check(r->config, t, entry);
	if (problem != NULL)
		marks_problem(r->marks, line_of(r), path, "%s", problem);
	return problem == NULL;
}

/* The name of an entry elsewhere stays in the marks until all entries are read. */
static void read_reference(struct reader *r, const struct table_row *row, void *base, const char *path)
{
	unsigned line = line_of(r);
	bool fine = read_value(r, row, NULL, base, path);

	marks_add(r->marks, path, line, fine ? text_copy(r->marks, scalar_of(r)) : NULL);
}

/* One entry of a list. */
static void read_entry(struct reader *r, const struct table_row *row, void *at, const char *path)
{
	unsigned line = line_of(r);

	if (row->type != TABLE_LIST) {
		marks_add(r->marks, path, line, NULL);
		read_value(r, row, at, NULL, path);
		return;
	}
	if (r->event.type != YAML_MAPPING_START_EVENT) {
		marks_add(r->marks, path, line, NULL);
		note_type(r, row, path, false);
		skip(r);
		return;
	}
	read_section(r, row->inner, at, path, line);
	marks_add(r->marks, path, line, table_label(row->inner, at));
}

/* A list being read; it grows by doubling. */
struct growing {
	char *array;
	size_t size, count, capacity;
};

static void *grow(struct growing *g, const void *owner)
{
	if (g->count == g->capacity) {
		g->capacity = MAX(g->capacity * 2, 4);
		g->array = text_must(talloc_realloc_size(owner, g->array, g->capacity * g->size));
	}
	return memset(g->array + g->size * g->count++, 0, g->size);
}

static void store_list(const struct table_row *row, void *base, const struct growing *g)
{
	memcpy((char *)base + row->offset, &g->array, sizeof g->array);
	memcpy((char *)base + row->count, &g->count, sizeof g->count);
}

static void read_list(struct reader *r, const struct table_row *row, void *base, const char *path)
{
	struct growing g = { .size = value_size(row) };
	size_t max = row->type == TABLE_LIST ? SECTIONS_MAX : VALUES_MAX;
	unsigned line = line_of(r);

	if (r->event.type != YAML_SEQUENCE_START_EVENT) {
		note_type(r, row, path, true);
		skip(r);
		return;
	}
	for (next(r); !r->broken && r->event.type != YAML_SEQUENCE_END_EVENT; next(r)) {
		if (g.count == max) {
			marks_problem(r->marks, line_of(r), path, "has more than %zu entries", max);
			r->broken = true;
			break;
		}
		void *at = grow(&g, r->config);
		read_entry(r, row, at, text_must(talloc_asprintf(r->marks, "%s[%zu]", path, g.count)));
	}
	store_list(row, base, &g);
	if (!r->broken && g.count == 0 && (row->required || row->standard != NULL))
		marks_problem(r->marks, line, path, "must have at least one entry");
}

/* One name, or a list of them. */
static void read_references(struct reader *r, const struct table_row *row, void *base, const char *path)
{
	struct growing g = { .size = value_size(row) };
	unsigned line = line_of(r);

	if (r->event.type != YAML_SEQUENCE_START_EVENT) {
		grow(&g, r->config);
		read_reference(r, row, base, path);
		store_list(row, base, &g);
		return;
	}
	marks_add(r->marks, path, line, NULL);
	for (next(r); !r->broken && r->event.type != YAML_SEQUENCE_END_EVENT; next(r)) {
		if (g.count == SECTIONS_MAX) {
			marks_problem(r->marks, line_of(r), path, "has more than %d entries", SECTIONS_MAX);
			r->broken = true;
			break;
		}
		grow(&g, r->config);
		read_reference(r, row, base, text_must(talloc_asprintf(r->marks, "%s[%zu]", path, g.count)));
	}
	store_list(row, base, &g);
	if (!r->broken && g.count == 0)
		marks_problem(r->marks, line, path, "must have at least one entry, or leave the key out");
}

static void read_row(struct reader *r, const struct table_row *row, void *base, const char *path)
{
	void *at = (char *)base + row->offset;

	if (row->type == TABLE_REFERENCE) {
		read_reference(r, row, base, path);
		return;
	}
	if (row->type == TABLE_REFERENCES) {
		read_references(r, row, base, path);
		return;
	}
	marks_add(r->marks, path, line_of(r), NULL);
	if (row->type == TABLE_WAITING) {
		marks_warn(r->marks, line_of(r), path, "has no effect in this version yet, whatever it says");
		skip(r);
	} else if (table_is_list(row)) {
		read_list(r, row, base, path);
	} else if (row->type != TABLE_SECTION) {
		read_value(r, row, at, base, path);
	} else if (r->event.type == YAML_MAPPING_START_EVENT) {
		read_section(r, row->inner, at, path, line_of(r));
	} else {
		note_type(r, row, path, false);
		skip(r);
	}
}

static bool is_later(const struct table_section *section, struct text key)
{
	for (const char *const *later = section->later; later != NULL && *later != NULL; later++)
		if (text_equal(text_of(*later), key))
			return true;
	return false;
}

static void note_unknown(
	struct reader *r, const struct table_section *section, struct text key, const char *path)
{
	const struct table_row *nearest = NULL;
	size_t best = 4;

	if (is_later(section, key)) {
		marks_problem(
			r->marks, line_of(r), path, "is not supported by this version yet: remove this key");
		return;
	}
	for (size_t i = 0; i < section->count; i++) {
		struct text name = text_of(section->rows[i].name);
		size_t distance = text_distance(name, key);

		if (distance < best && distance * 2 <= MAX(name.len, key.len)) {
			best = distance;
			nearest = &section->rows[i];
		}
	}
	if (nearest != NULL) {
		marks_problem(r->marks, line_of(r), path, "unknown key; did you mean `%s`?", nearest->name);
		return;
	}

	char *known = text_must(talloc_strdup(r->marks, ""));
	for (size_t i = 0; i < section->count; i++)
		known = text_must(
			talloc_asprintf_append(known, "%s%s", i == 0 ? "" : ", ", section->rows[i].name));
	marks_problem(r->marks, line_of(r), path, "unknown key; known here are %s", known);
}

/* A key and its value. */
static void read_pair(
	struct reader *r, const struct table_section *section, void *base, const char *path, unsigned *seen)
{
	if (r->event.type != YAML_SCALAR_EVENT || !is_printable(scalar_of(r))) {
		if (r->event.type != YAML_ALIAS_EVENT)
			marks_problem(r->marks, line_of(r), path, "a key must be one word");
		skip(r);
		next(r);
		skip(r);
		return;
	}

	unsigned line = line_of(r);
	const struct table_row *row = table_find(section, scalar_of(r));
	if (row == NULL) {
		char *key = value_short(r->marks, scalar_of(r));

		note_unknown(r, section, scalar_of(r), child_path(r, path, key));
		next(r);
		skip(r);
		return;
	}

	unsigned *first = &seen[row - section->rows];
	const char *child = child_path(r, path, row->name);
	next(r);
	if (r->broken)
		return;
	if (*first != 0) {
		marks_problem(r->marks, line, child, "stands twice, first on line %u: remove one", *first);
		skip(r);
		return;
	}
	*first = line;
	read_row(r, row, base, child);
}

static void read_section(
	struct reader *r, const struct table_section *section, void *base, const char *path, unsigned line)
{
	unsigned seen[TABLE_ROWS_MAX] = { 0 };

	for (next(r); !r->broken && r->event.type != YAML_MAPPING_END_EVENT; next(r))
		read_pair(r, section, base, path, seen);
	if (!r->broken)
		fill_section(r, section, base, path, line, seen);
}

/* The default of a row, from its text in the table. */
static void fill_row(struct reader *r, const struct table_row *row, void *base)
{
	struct text rest = text_of(row->standard);
	struct growing g = { .size = value_size(row) };
	char *problem = NULL;

	if (!table_is_list(row)) {
		problem = value_read(r->config, r->directory, row, rest, (char *)base + row->offset);
	} else {
		while (rest.len > 0 && problem == NULL) {
			size_t comma = text_find(rest, ',');

			problem = value_read(r->config, r->directory, row, text_trim(text_first(rest, comma)),
				grow(&g, r->config));
			rest = text_from(rest, comma + 1);
		}
		store_list(row, base, &g);
	}
	if (problem != NULL)
		marks_problem(r->marks, 0, row->name, "the default of this version is wrong: %s", problem);
}

/* What the file did not say: defaults, and problems for what it must say. */
static void fill_section(struct reader *r, const struct table_section *section, void *base, const char *path,
	unsigned line, const unsigned *seen)
{
	static const unsigned nothing[TABLE_ROWS_MAX];

	if (section != &table_top)
		memcpy(base, &line, sizeof line);
	for (size_t i = 0; i < section->count; i++) {
		const struct table_row *row = &section->rows[i];

		if (seen[i] != 0)
			continue;
		if (row->type == TABLE_SECTION)
			fill_section(r, row->inner, (char *)base + row->offset,
				child_path(r, path, row->name), 0, nothing);
		else if (row->required)
			marks_problem(r->marks, line, child_path(r, path, row->name),
				"is missing: expected %s%s", table_is_list(row) ? "a list, each entry " : "",
				value_expected(row));
		else if (row->optional)
			memset((char *)base + row->offset, 0xff, value_size(row));
		else if (row->standard != NULL)
			fill_row(r, row, base);
	}
}

/* Entries that exist without being written. */
static void add_predefined(struct config *config)
{
	for (size_t i = 0; i < table_top.count; i++) {
		const struct table_row *row = &table_top.rows[i];
		struct growing g = { .size = value_size(row) };

		if (row->predefined_count == 0)
			continue;
		memcpy(&g.array, (char *)config + row->offset, sizeof g.array);
		memcpy(&g.count, (char *)config + row->count, sizeof g.count);
		g.capacity = g.count;
		for (size_t n = 0; n < row->predefined_count; n++) {
			void *at = grow(&g, config);

			memcpy(at, (const char *)row->predefined + n * g.size, g.size);
		}
		store_list(row, config, &g);
	}
}

static void read_document(struct reader *r)
{
	next(r); /* stream start */
	next(r);
	if (r->event.type == YAML_STREAM_END_EVENT) {
		marks_problem(r->marks, 0, "", "the file is empty: expected `hostname: ...` and other keys");
		r->broken = true;
		return;
	}
	next(r); /* document start */
	if (r->event.type != YAML_MAPPING_START_EVENT) {
		note_type(r, &(struct table_row){ .type = TABLE_SECTION }, "", false);
		r->broken = true;
		return;
	}
	read_section(r, &table_top, r->config, "", 0);
	next(r); /* document end */
	next(r);
	if (r->event.type == YAML_DOCUMENT_START_EVENT)
		marks_problem(r->marks, line_of(r), "",
			"a second document begins here: put everything into one, and "
			"remove the line `---`");
}

bool reader_run(struct text yaml, const char *directory, struct config *config, struct marks *marks)
{
	/* Some editors begin a file with a byte order mark. */
	if (text_starts_nocase(yaml, TEXT("\xef\xbb\xbf")))
		yaml = text_from(yaml, 3);

	struct reader r = { .yaml = yaml, .directory = directory, .config = config, .marks = marks };

	if (yaml.len > YAML_MAX) {
		marks_problem(marks, 0, "", "the file is larger than 1 MiB");
		return false;
	}
	text_must(yaml_parser_initialize(&r.parser) ? &r : NULL);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)yaml.at, yaml.len);

	read_document(&r);
	forget_event(&r);
	yaml_parser_delete(&r.parser);
	add_predefined(config);
	marks_sort(marks);
	return !r.broken;
}
