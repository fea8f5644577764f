/* The form of names in the configuration file. */
#include "config/names.h"

#include <errno.h>
#include <string.h>

enum { NAME_MAX_LEN = 64, HOST_MAX_LEN = 253, LABEL_MAX_LEN = 63 };

static bool is_letter_or_digit(char c)
{
	c = text_lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool names_is_name(struct text t)
{
	if (t.len == 0 || t.len > NAME_MAX_LEN || !is_letter_or_digit(t.at[0]))
		return false;
	for (size_t i = 0; i < t.len; i++)
		if (!is_letter_or_digit(t.at[i]) && strchr("._-", t.at[i]) == NULL)
			return false;
	return true;
}

static bool is_label(struct text t)
{
	if (t.len == 0 || t.len > LABEL_MAX_LEN || t.at[0] == '-' || t.at[t.len - 1] == '-')
		return false;
	for (size_t i = 0; i < t.len; i++)
		if (!is_letter_or_digit(t.at[i]) && t.at[i] != '-')
			return false;
	return true;
}

bool names_is_domain(struct text t, size_t labels)
{
	size_t count = 0, dot;
	struct text label;

	if (t.len == 0 || t.len > HOST_MAX_LEN)
		return false;
	do {
		dot = text_find(t, '.');
		label = text_first(t, dot);
		if (!is_label(label))
			return false;
		count++;
		if (dot + 1 == t.len)
			return false;
		t = text_from(t, dot + 1);
	} while (t.len > 0);

	uint64_t number;
	return count >= labels && text_number(label, UINT64_MAX, &number) == -EINVAL;
}
