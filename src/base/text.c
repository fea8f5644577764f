/* Slices of bytes: comparing, cutting, copying. ASCII only, no locale. */
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"

bool text_equal(struct text a, struct text b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool text_equal_nocase(struct text a, struct text b)
{
	return a.len == b.len && text_starts_nocase(a, b);
}

bool text_starts_nocase(struct text t, struct text prefix)
{
	if (t.len < prefix.len)
		return false;

	for (size_t i = 0; i < prefix.len; i++)
		if (text_lower(t.at[i]) != text_lower(prefix.at[i]))
			return false;
	return true;
}

bool text_ends_nocase(struct text t, struct text suffix)
{
	return t.len >= suffix.len && text_equal_nocase(text_from(t, t.len - suffix.len), suffix);
}

size_t text_find(struct text t, char c)
{
	const char *found = t.len == 0 ? NULL : memchr(t.at, c, t.len);

	return found == NULL ? t.len : (size_t)(found - t.at);
}

size_t text_find_last(struct text t, char c)
{
	const char *found = t.len == 0 ? NULL : memrchr(t.at, c, t.len);

	return found == NULL ? t.len : (size_t)(found - t.at);
}

bool text_is_ascii(struct text t)
{
	uint64_t seen = 0, word;

	for (; t.len >= sizeof word; t = text_from(t, sizeof word)) {
		memcpy(&word, t.at, sizeof word);
		seen |= word;
	}
	for (size_t i = 0; i < t.len; i++)
		seen |= (uint8_t)t.at[i];
	return (seen & UINT64_C(0x8080808080808080)) == 0;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

struct text text_trim(struct text t)
{
	while (t.len > 0 && blank(t.at[0]))
		t = text_from(t, 1);
	while (t.len > 0 && blank(t.at[t.len - 1]))
		t.len--;
	return t;
}

int text_number(struct text t, uint64_t max, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (t.len == 0)
		return -EINVAL;

	for (size_t i = 0; i < t.len; i++) {
		if (t.at[i] < '0' || t.at[i] > '9')
			return -EINVAL;

		uint64_t digit = (uint64_t)(t.at[i] - '0');
		if (number > (UINT64_MAX - digit) / 10 || number * 10 + digit > max)
			return -ERANGE;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return 0;
}

void *text_must(void *pointer)
{
	static const char words[] = "postern: out of memory\n";

	if (pointer == NULL) {
		(void)!write(STDERR_FILENO, words, sizeof words - 1);
		abort();
	}
	return pointer;
}

char *text_copy(const void *owner, struct text t)
{
	char *copy = text_must(talloc_size(owner, t.len + 1));

	talloc_set_name_const(copy, "char");
	if (t.len > 0)
		memcpy(copy, t.at, t.len);
	copy[t.len] = '\0';
	return copy;
}

char *text_copy_lower(const void *owner, struct text t)
{
	char *copy = text_copy(owner, t);

	for (size_t i = 0; i < t.len; i++)
		copy[i] = text_lower(copy[i]);
	return copy;
}

size_t text_distance(struct text a, struct text b)
{
	size_t row[65];

	if (a.len > 64 || b.len > 64)
		return 64;

	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t change = diagonal + (text_lower(a.at[i - 1]) != text_lower(b.at[j - 1]));

			diagonal = row[j];
			row[j] = MIN(change, MIN(row[j] + 1, row[j - 1] + 1));
		}
	}
	return row[b.len];
}
