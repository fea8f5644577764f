/*
 * What stands in the body of a mail of the bench, as a function of its number: load writes it, sink compares it line by line. A line is 78 letters
 * and CRLF; it depends on the number of the mail and its own, so that a line that is missing, twice, in another place or of another mail shows.
 */
#pragma once
#include <stdint.h>
#include <string.h>

enum { BODY_TEXT = 78, BODY_LINE = 80, BODY_TABLE = 65521 };

static char body_table[BODY_TABLE + BODY_TEXT];

static inline void body_make_table(void)
{
	uint64_t x = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < BODY_TABLE; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		body_table[i] = (char)('a' + (x >> 33) % 26);
	}
	memcpy(body_table + BODY_TABLE, body_table, BODY_TEXT);
}

/* The 78 letters of line `line` of mail `number`, without CRLF. */
static inline const char *body_line(uint64_t number, uint64_t line)
{
	return body_table + (number * 7919 + line * 31) % BODY_TABLE;
}
