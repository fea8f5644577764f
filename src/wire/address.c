/*
 * Mail addresses as the envelope carries them. smtp_command.c calls it for MAIL and RCPT, received.c to
 * decide whether a name may be written down, the configuration for the addresses in it.
 *
 * A path is read from left to right, each part by a function that says how many bytes belong to it; nothing
 * is searched for ("the last @", "the next >"), so a quoted local part may hold @, >, blanks and commas
 * without confusing anybody. What is accepted is printable ASCII only: NUL, controls and 8-bit bytes never
 * pass. A source route is checked and dropped, never obeyed (RFC 5321 appendix C, section 4.1.2, 4.1.3,
 * 4.5.3.1).
 */
#include "wire/address.h"

#include "base/err.h"
#include "base/ip.h"

enum { LOCAL_MAX = 64, DOMAIN_MAX = 255, LABEL_MAX = 63 };

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* atext of RFC 5322 section 3.2.3. */
static bool is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_domain_byte(char c)
{
	return is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static bool is_label(struct text t)
{
	return t.len > 0 && t.len <= LABEL_MAX && t.at[0] != '-' && t.at[t.len - 1] != '-';
}

bool address_is_domain(struct text t)
{
	size_t start = 0;

	if (t.len == 0 || t.len > DOMAIN_MAX)
		return false;

	for (size_t i = 0; i < t.len; i++) {
		if (!is_domain_byte(t.at[i]))
			return false;
		if (t.at[i] != '.')
			continue;
		if (!is_label((struct text){ t.at + start, i - start }))
			return false;
		start = i + 1;
	}
	return is_label(text_from(t, start));
}

bool address_is_literal(struct text t)
{
	static const struct text tag = TEXT("IPv6:");
	struct ip ip;

	if (t.len < 3 || t.at[0] != '[' || t.at[t.len - 1] != ']')
		return false;

	struct text inside = { t.at + 1, t.len - 2 };
	if (text_starts_nocase(inside, tag))
		return ip_parse(text_from(inside, tag.len), &ip) == 0 && ip.family == AF_INET6 &&
		       ip.port == 0 && inside.at[tag.len] != '[';
	/* Without a colon: ip_parse() would take a port. */
	return text_find(inside, ':') == inside.len && ip_parse(inside, &ip) == 0;
}

/* How many bytes at the start of `t` are a right domain or address literal; 0 when none. */
static size_t domain_length(struct text t)
{
	size_t len = 0;

	if (t.len > 0 && t.at[0] == '[') {
		len = text_find(t, ']') + 1;
		return len <= t.len && address_is_literal(text_first(t, len)) ? len : 0;
	}
	while (len < t.len && is_domain_byte(t.at[len]))
		len++;
	return address_is_domain(text_first(t, len)) ? len : 0;
}

/* How many bytes at the start of `t` are a quoted string with something in it; 0 when none. */
static size_t quoted_length(struct text t)
{
	size_t i = 1;

	while (i < t.len && t.at[i] != '"') {
		if (t.at[i] == '\\')
			i++;
		if (i >= t.len || !is_printable(t.at[i]))
			return 0;
		i++;
	}
	return i < t.len && i > 1 ? i + 1 : 0;
}

/* How many bytes at the start of `t` are a dot-atom; 0 when none. */
static size_t atom_length(struct text t)
{
	size_t i = 0;

	while (i < t.len && (is_atext(t.at[i]) || (t.at[i] == '.' && i > 0 && t.at[i - 1] != '.')))
		i++;
	return i > 0 && t.at[i - 1] != '.' ? i : 0;
}

static size_t local_length(struct text t)
{
	size_t len = t.len > 0 && t.at[0] == '"' ? quoted_length(t) : atom_length(t);

	return len <= LOCAL_MAX ? len : 0;
}

/* How many bytes at the start of `t` are a mailbox; 0 when none. */
static size_t mailbox_length(struct text t, struct address *ret_address)
{
	size_t local = local_length(t);

	if (local == 0 || local == t.len || t.at[local] != '@')
		return 0;

	size_t domain = domain_length(text_from(t, local + 1));
	if (domain == 0)
		return 0;

	*ret_address = (struct address){
		.whole = { t.at, local + 1 + domain },
		.local = { t.at, local },
		.domain = { t.at + local + 1, domain },
	};
	return local + 1 + domain;
}

/* How many bytes at the start of `t` are a source route `@a,@b:`, perhaps none; 0, or ERR_FORMAT. */
static int route_length(struct text t, size_t *ret_len)
{
	size_t i = 0;

	while (i < t.len && t.at[i] == '@') {
		size_t domain = domain_length(text_from(t, i + 1));

		i += 1 + domain;
		if (domain == 0 || i >= t.len)
			return ERR_FORMAT;
		if (t.at[i] == ':') {
			*ret_len = i + 1;
			return 0;
		}
		if (t.at[i] != ',')
			return ERR_FORMAT;
		i++;
	}
	if (i > 0)
		return ERR_FORMAT;
	*ret_len = 0;
	return 0;
}

int address_parse_path(struct text t, bool allow_null, struct address *ret_address, size_t *ret_used)
{
	static const struct text postmaster = TEXT("postmaster>");
	struct address address;
	size_t route;

	if (t.len < 2 || t.at[0] != '<')
		return ERR_FORMAT;

	struct text inside = text_from(t, 1);
	if (allow_null && inside.at[0] == '>') {
		struct text none = { inside.at, 0 };

		*ret_address = (struct address){ none, none, none };
		*ret_used = 2;
		return 0;
	}
	if (!allow_null && text_starts_nocase(inside, postmaster)) {
		struct text local = text_first(inside, postmaster.len - 1);

		*ret_address = (struct address){ local, local, { local.at + local.len, 0 } };
		*ret_used = 1 + postmaster.len;
		return 0;
	}

	int r = route_length(inside, &route);
	if (r < 0)
		return r;

	size_t mailbox = mailbox_length(text_from(inside, route), &address);
	size_t end = 1 + route + mailbox;
	if (mailbox == 0 || end >= t.len || t.at[end] != '>')
		return ERR_FORMAT;

	*ret_address = address;
	*ret_used = end + 1;
	return 0;
}

int address_parse(struct text t, struct address *ret_address)
{
	struct address address;

	if (t.len == 0 || mailbox_length(t, &address) != t.len)
		return ERR_FORMAT;
	*ret_address = address;
	return 0;
}
