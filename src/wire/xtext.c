/*
 * xtext (RFC 3461 section 4), for the parameters ENVID, ORCPT and AUTH and the attributes of XCLIENT. Called
 * by smtp_command.c and session/ on the way in, deliver/ on the way out. Lower-case hexadecimal is refused,
 * so that every text has exactly one decoding and what is sent on reads the same everywhere.
 */
#include "wire/xtext.h"

#include "base/err.h"

static bool is_plain(char c)
{
	return c > 0x20 && c < 0x7f && c != '+' && c != '=';
}

/* The value of an upper-case hexadecimal digit, or -1. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int xtext_decode(struct text t, char *out, size_t *ret_len)
{
	size_t len = 0;

	for (size_t i = 0; i < t.len; i++) {
		if (is_plain(t.at[i])) {
			out[len++] = t.at[i];
			continue;
		}
		if (t.at[i] != '+' || t.len - i < 3)
			return ERR_FORMAT;

		int high = digit(t.at[i + 1]), low = digit(t.at[i + 2]);
		if (high < 0 || low < 0 || high + low == 0)
			return ERR_FORMAT;
		out[len++] = (char)(high << 4 | low);
		i += 2;
	}
	*ret_len = len;
	return 0;
}

size_t xtext_encode(struct text t, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0;

	for (size_t i = 0; i < t.len; i++) {
		uint8_t c = (uint8_t)t.at[i];

		if (is_plain(t.at[i])) {
			out[len++] = t.at[i];
			continue;
		}
		out[len++] = '+';
		out[len++] = digits[c >> 4];
		out[len++] = digits[c & 15];
	}
	return len;
}
