/*
 * Whatever a peer or a sender wrote is read here on its way into a report, by deliver/dsn.c, although most of it was checked when it
 * came: a report must not depend on who checked what. Nothing that is written begins a line, a field, a part or a tag.
 *
 * RFC 6533 section 3 has two ways to write an address beyond ASCII: as it is, in message/global-delivery-status, and as
 * utf-8-addr-xtext with `\x{HEX}`, which fits into seven bits.
 */
#include "wire/report_text.h"

#include <stdio.h>

#include "base/base.h"
#include "wire/utf8.h"
#include "wire/xtext.h"

enum { ADDRESS_MAX_OCTETS = 512, ESCAPE_MAX = sizeof "\\x{10FFFF}" };

/* Characters that end a line for some reader, or turn the direction of what follows. */
static bool is_steering(uint32_t code)
{
	return (code >= 0x80 && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069) || code == 0x200e || code == 0x200f || code == 0xfeff;
}

/* The length of the character at the start of `t` when it is beyond ASCII, well-formed and harmless, else 0. */
static size_t wide(struct text t, uint32_t *ret_code)
{
	size_t len = (uint8_t)t.at[0] < 0x80 ? 0 : utf8_first(t, ret_code);

	return len > 0 && is_steering(*ret_code) ? 0 : len;
}

static bool is_wide(struct text t)
{
	uint32_t code;

	for (size_t i = 0; i < t.len; i++)
		if (wide(text_from(t, i), &code) > 0)
			return true;
	return false;
}

/* The length of `<local@domain>` at the start of `t`, plain characters only, or 0. */
static size_t bracketed_address(struct text t)
{
	static const struct text others = TEXT(".-_+");
	size_t signs = 0;

	for (size_t i = 1; i < t.len; i++) {
		char c = t.at[i], lower = text_lower(c);

		if (c == '>')
			return signs == 1 ? i + 1 : 0;
		if (c == '@')
			signs++;
		else if ((lower < 'a' || lower > 'z') && (c < '0' || c > '9') &&
			 text_find(others, c) == others.len)
			return 0;
	}
	return 0;
}

static size_t line(struct text t, enum report_text_form form, bool header, char *out)
{
	uint32_t code;

	for (size_t i = 0, step; i < t.len; i += step) {
		struct text rest = text_from(t, i);
		char c = t.at[i];

		step = 1;
		if (header && (c == '\t' || c == '<' || c == '>'))
			step = 1;
		else if (c == '<' && bracketed_address(rest) > 0)
			step = bracketed_address(rest);
		else if (form == REPORT_TEXT_UTF8 && wide(rest, &code) > 0)
			step = wide(rest, &code);
		else if (c == '<')
			c = '(';
		else if (c == '>')
			c = ')';
		else if (c < ' ' || c >= 0x7f)
			c = '?';
		if (step == 1)
			out[i] = c;
		else
			memmove(out + i, t.at + i, step);
	}
	return t.len;
}

size_t report_text_line(struct text t, enum report_text_form form, char *out)
{
	return line(t, form, false, out);
}

size_t report_text_header(struct text t, enum report_text_form form, char *out)
{
	return line(t, form, true, out);
}

/* `t` with characters beyond ASCII as \x{HEX}, and with what that uses, escaped too. */
static size_t escape(struct text t, char *out)
{
	size_t used = 0;
	uint32_t code = 0;

	for (size_t i = 0, step; i < t.len; i += step) {
		step = wide(text_from(t, i), &code);
		if (step > 0) {
			used += (size_t)snprintf(out + used, ESCAPE_MAX, "\\x{%X}", code);
			continue;
		}
		step = 1;
		if (t.at[i] == '\\' || t.at[i] == '+' || t.at[i] == '=')
			used += (size_t)snprintf(out + used, ESCAPE_MAX, "\\x{%X}", (unsigned)t.at[i]);
		else
			used += report_text_line(
				text_first(text_from(t, i), 1), REPORT_TEXT_ASCII, out + used);
	}
	return used;
}

static size_t put(struct text type, struct text address, enum report_text_form form, char *out)
{
	size_t used = report_text_line(type, REPORT_TEXT_ASCII, out);

	out[used++] = ';';
	out[used++] = ' ';
	return used + (form == REPORT_TEXT_ESCAPED ? escape(address, out + used)
						   : report_text_line(address, form, out + used));
}

size_t report_text_recipient(struct text address, enum report_text_form form, char *out)
{
	const bool beyond = form != REPORT_TEXT_ASCII && is_wide(address);

	return put(beyond ? TEXT("utf-8") : TEXT("rfc822"), text_first(address, ADDRESS_MAX_OCTETS),
		beyond ? form : REPORT_TEXT_ASCII, out);
}

size_t report_text_orcpt(struct text orcpt, enum report_text_form form, char *out)
{
	char decoded[ADDRESS_MAX_OCTETS];
	size_t semicolon = text_find(orcpt, ';'), len;
	struct text type = text_first(orcpt, semicolon), address = text_from(orcpt, semicolon + 1);

	if (semicolon == 0 || semicolon >= orcpt.len || orcpt.len > ADDRESS_MAX_OCTETS)
		return 0;
	/* An address of type utf-8 may stand as it is beyond ASCII, and has escapes of its own. */
	if (!is_wide(address)) {
		if (xtext_decode(address, decoded, &len) < 0)
			return 0;
		address = (struct text){ decoded, len };
	}
	if (text_equal_nocase(type, TEXT("rfc822")) || is_wide(address))
		return report_text_recipient(address, form, out);
	return put(type, address, REPORT_TEXT_ASCII, out);
}

size_t report_text_envid(struct text envid, char *out)
{
	size_t len;

	if (xtext_decode(envid, out, &len) < 0)
		return 0;
	return report_text_line((struct text){ out, len }, REPORT_TEXT_ASCII, out);
}
