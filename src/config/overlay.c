#include "config/overlay.h"

#include <string.h>

#include <talloc.h>
#include <yaml.h>

#include "base/base.h"

/* The first line of `t`, with its end; the rest stays in `t`. */
static struct text take_line(struct text *t)
{
	const size_t end = text_find(*t, '\n'), len = end < t->len ? end + 1 : t->len;
	const struct text line = text_first(*t, len);

	*t = text_from(*t, len);
	return line;
}

/* Which of `keys` begins in this line: its number; `count` = another key; -1 = none does, it belongs to the section before. */
static int section_of(struct text line, const char *const *keys, size_t count)
{
	const size_t colon = text_find(line, ':');
	static const char others[] = " \t\r\n#-]},.";

	if (line.len == 0 || memchr(others, line.at[0], sizeof others - 1) != NULL || colon == line.len)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (text_equal(text_first(line, colon), text_of(keys[i])))
			return (int)i;
	return (int)count;
}

char *overlay_text(const void *owner, struct text base, struct text over, const char *const *keys,
	size_t count, size_t *ret_found)
{
	char *text = text_must(talloc_strdup(owner, ""));
	unsigned found = 0;
	bool keep = false;

	*ret_found = 0;
	while (over.len > 0) {
		const struct text line = take_line(&over);
		const int section = section_of(line, keys, count);

		if (section >= 0)
			keep = section < (int)count;
		if (section >= 0 && keep && !(found & 1u << section)) {
			found |= 1u << section;
			++*ret_found;
		}
		text = text_must(keep ? talloc_strndup_append_buffer(text, line.at, line.len)
				      : talloc_strdup_append_buffer(text, "\n"));
	}
	text = text_must(talloc_strdup_append_buffer(text, "\n"));
	keep = true;
	while (base.len > 0) {
		const struct text line = take_line(&base);
		const int section = section_of(line, keys, count);

		if (section >= 0)
			keep = section == (int)count || !(found & 1u << section);
		if (keep)
			text = text_must(talloc_strndup_append_buffer(text, line.at, line.len));
	}
	return text;
}

bool overlay_is_yaml(struct text t)
{
	yaml_parser_t parser;
	yaml_event_t event;
	bool good, end = false;

	text_must(yaml_parser_initialize(&parser) ? &parser : NULL);
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)t.at, t.len);
	do {
		good = yaml_parser_parse(&parser, &event);
		end = !good || event.type == YAML_STREAM_END_EVENT;
		if (good)
			yaml_event_delete(&event);
	} while (!end);
	yaml_parser_delete(&parser);
	return good;
}
