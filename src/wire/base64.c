/* Encoding only: what we are told in base64 is not needed yet. */
#include "wire/base64.h"

#include "base/base.h"

size_t base64_encode(struct text bytes, char *ret_text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t used = 0;

	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t here = MIN(bytes.len - i, 3);
		unsigned group = 0;

		for (size_t n = 0; n < 3; n++)
			group = group << 8 | (n < here ? (unsigned char)bytes.at[i + n] : 0);
		for (size_t n = 0; n < 4; n++)
			ret_text[used++] = n <= here ? digits[group >> (18 - 6 * n) & 63] : '=';
	}
	ret_text[used] = '\0';
	return used;
}
