/* Text on its way into a report: whatever comes, one printable line without a tag comes out, and within its room. */
#include "wire/report_text.h"

#include <stdlib.h>

#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static char *room(size_t size)
{
	char *bytes = malloc(size + (size == 0));

	must(bytes != NULL);
	return bytes;
}

/* Nothing that ends a line, steers a terminal or opens a tag; beyond ASCII only where it may be. */
static void check(struct text t, enum report_text_form form)
{
	size_t signs = 0;
	bool open = false;

	for (size_t i = 0; i < t.len; i++) {
		uint8_t c = (uint8_t)t.at[i];

		must(c >= ' ' && c != 0x7f && (c < 0x80 || form == REPORT_TEXT_UTF8));
		signs += c == '@';
		if (c == '<') {
			must(!open);
			open = true;
			signs = 0;
		} else if (c == '>') {
			must(open && signs == 1);
			open = false;
		}
	}
	must(!open && utf8_valid(t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text t = { (const char *)data, size };
	const size_t semicolon = text_find(t, ';');

	for (enum report_text_form form = REPORT_TEXT_ASCII; form <= REPORT_TEXT_UTF8; form++) {
		char *line = room(size), *value = room(REPORT_TEXT_ADDRESS_MAX);
		size_t len = report_text_line(t, form, line);

		must(len == size);
		check((struct text){ line, len }, form);
		len = report_text_recipient(t, form, value);
		must(len <= REPORT_TEXT_ADDRESS_MAX);
		check((struct text){ value, len }, form);
		len = report_text_orcpt(t, form, value);
		must(len <= REPORT_TEXT_ADDRESS_MAX && (len == 0 || semicolon < size));
		check((struct text){ value, len }, form);
		if (form == REPORT_TEXT_ASCII) {
			len = report_text_envid(t, line);
			must(len <= size);
			check((struct text){ line, len }, form);
		}
		free(line);
		free(value);
	}
	return 0;
}
