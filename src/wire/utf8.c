/*
 * UTF-8, one character at a time, for addresses (RFC 6531) and command lines. The table is that of RFC 3629
 * section 4: what the second byte may be depends on the first, which is all it takes to keep out overlong
 * forms, surrogates and code points over U+10FFFF. So one character has one spelling, and no check further
 * on can be passed in another.
 */
#include "wire/utf8.h"

#include "base/base.h"

static const struct {
	uint8_t first, last;	     /* first bytes of this row */
	uint8_t length;		     /* of the character */
	uint8_t mask;		     /* the bits of the first byte that count */
	uint8_t second, second_last; /* what the second byte may be; the others are 80..BF */
} rows[] = {
	{ 0x00, 0x7f, 1, 0x7f, 0, 0 },
	{ 0xc2, 0xdf, 2, 0x1f, 0x80, 0xbf },
	{ 0xe0, 0xe0, 3, 0x0f, 0xa0, 0xbf },
	{ 0xe1, 0xec, 3, 0x0f, 0x80, 0xbf },
	{ 0xed, 0xed, 3, 0x0f, 0x80, 0x9f },
	{ 0xee, 0xef, 3, 0x0f, 0x80, 0xbf },
	{ 0xf0, 0xf0, 4, 0x07, 0x90, 0xbf },
	{ 0xf1, 0xf3, 4, 0x07, 0x80, 0xbf },
	{ 0xf4, 0xf4, 4, 0x07, 0x80, 0x8f },
};

size_t utf8_first(struct text t, uint32_t *ret_code)
{
	const uint8_t *bytes = (const uint8_t *)t.at;
	size_t row = 0;

	while (row < COUNT(rows) && (bytes[0] < rows[row].first || bytes[0] > rows[row].last))
		row++;
	if (row == COUNT(rows) || rows[row].length > t.len)
		return 0;

	uint32_t code = bytes[0] & rows[row].mask;
	for (size_t i = 1; i < rows[row].length; i++) {
		uint8_t lowest = i == 1 ? rows[row].second : 0x80;
		uint8_t highest = i == 1 ? rows[row].second_last : 0xbf;

		if (bytes[i] < lowest || bytes[i] > highest)
			return 0;
		code = code << 6 | (bytes[i] & 0x3f);
	}
	*ret_code = code;
	return rows[row].length;
}

bool utf8_valid(struct text t)
{
	uint32_t code;

	while (t.len > 0) {
		size_t len = utf8_first(t, &code);

		if (len == 0)
			return false;
		t = text_from(t, len);
	}
	return true;
}
