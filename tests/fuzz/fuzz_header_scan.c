/*
 * The header scanner against a slow reference that sees the whole content and reads it line by line. However
 * the content is cut, the answer must be the same; while it comes, the count never passes what came. The
 * first byte of the input seeds the cuts.
 */
#include "wire/header_scan.h"

#include <stdlib.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

/* The end of the line that starts at `start`; ret_next is where the next one starts. */
static size_t line_end(struct text t, size_t start, size_t *ret_next)
{
	size_t end = start;

	while (end < t.len && t.at[end] != '\r' && t.at[end] != '\n')
		end++;
	*ret_next = end + (end < t.len);
	if (end + 1 < t.len && t.at[end] == '\r' && t.at[end + 1] == '\n')
		*ret_next = end + 2;
	return end;
}

/* The name of the field in `line` without the blanks behind it; empty when it is no field. */
static struct text field_name(struct text line)
{
	size_t colon = text_find(line, ':');
	struct text name = text_first(line, colon);

	while (name.len > 0 && (name.at[name.len - 1] == ' ' || name.at[name.len - 1] == '\t'))
		name.len--;
	for (size_t i = 0; i < name.len; i++)
		if ((uint8_t)name.at[i] < 33 || (uint8_t)name.at[i] > 126)
			return TEXT("");
	return colon < line.len ? name : TEXT("");
}

static struct header_scan reference(struct text t)
{
	struct header_scan want = { .ended = true };
	size_t start = 0, next;

	for (; start < t.len; start = next) {
		size_t end = line_end(t, start, &next);
		struct text line = { t.at + start, end - start };

		if (line.len == 0)
			break;
		if (start > 0 && (line.at[0] == ' ' || line.at[0] == '\t'))
			continue;
		struct text name = field_name(line);
		want.malformed = name.len == 0;
		if (want.malformed)
			break;
		want.received += text_equal_nocase(name, TEXT("Received"));
	}
	want.header_bytes = start;
	for (size_t i = 0; i < start; i++)
		want.eight_bit |= (t.at[i] & 0x80) != 0;
	return want;
}

static void same(const struct header_scan *a, const struct header_scan *b)
{
	must(a->header_bytes == b->header_bytes && a->received == b->received);
	must(a->eight_bit == b->eight_bit && a->ended == b->ended && a->malformed == b->malformed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;

	struct text t = { (const char *)data + 1, size - 1 };
	struct header_scan whole = header_scan_start(), cut = header_scan_start(), want = reference(t);
	uint32_t seed = data[0] + 1u;

	header_scan_take(&whole, t);
	for (size_t taken = 0; taken < t.len;) {
		seed = seed * 1664525u + 1013904223u;
		struct text piece = text_first(text_from(t, taken), (seed >> 24) % 9);

		header_scan_take(&cut, piece);
		taken += piece.len;
		must(cut.header_bytes <= taken);
	}
	same(&whole, &cut);
	header_scan_end(&whole);
	header_scan_end(&cut);
	same(&whole, &want);
	same(&cut, &want);
	return 0;
}
