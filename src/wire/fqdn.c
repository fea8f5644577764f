/*
 * FQDN validation of common names and dNSNames (B12, B16, B18): where a certificate is made or brought in, and where one is verified. A wildcard needs
 * two labels behind it, because `*.test` would be a certificate for a whole registry (B51). Non-ASCII names come in their xn-- form.
 */
#include "wire/fqdn.h"

#include <stdbool.h>

#include "base/base.h"

enum { LABEL_MAX = 63, NAME_MAX_LEN = 253 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_plain(char c)
{
	const char lower = text_lower(c);

	return is_digit(c) || (lower >= 'a' && lower <= 'z') || c == '-';
}

static const char *label_flaw(struct text label)
{
	if (label.len == 0)
		return "has an empty label; write labels with one dot between them, and none at the end";
	if (label.len > LABEL_MAX)
		return "has a label of more than 63 bytes; shorten it";
	if (label.at[0] == '-' || label.at[label.len - 1] == '-')
		return "has a label that begins or ends with `-`; remove it";
	for (size_t i = 0; i < label.len; i++)
		if (!is_plain(label.at[i]))
			return label.at[i] == '*'
				       ? "has a `*` that is not the whole leftmost label; write *.example.com"
				       : "has a character that is none of letters, digits and `-`; write a name with others in its xn-- form";
	return NULL;
}

/* An IPv4 address, or what might be read as one. */
static bool is_number(struct text label)
{
	for (size_t i = 0; i < label.len; i++)
		if (!is_digit(label.at[i]))
			return false;
	return true;
}

const char *fqdn_flaw(struct text name)
{
	const bool wildcard = name.len >= 2 && name.at[0] == '*' && name.at[1] == '.';
	struct text rest = text_from(name, wildcard ? 2 : 0), label;
	size_t labels = 0;
	bool last;

	if (name.len > NAME_MAX_LEN)
		return "has more than 253 bytes; shorten it";
	do {
		const size_t len = text_find(rest, '.');

		label = text_first(rest, len);
		const char *flaw = label_flaw(label);
		if (flaw != NULL)
			return flaw;
		labels++;
		last = len == rest.len;
		rest = text_from(rest, len + 1);
	} while (!last);
	if (is_number(label))
		return "is an address, or ends with a number; write a host name";
	if (labels < 2)
		return wildcard
			       ? "is a wildcard for a whole top level; write at least two labels behind the `*`"
			       : "has one label only; write the host with its domain, such as mx.example.com";
	return NULL;
}
