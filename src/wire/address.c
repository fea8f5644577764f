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
#include "wire/utf8.h"

enum { LOCAL_MAX = 64, DOMAIN_MAX = 255, LABEL_MAX = 63 };

/* The first code point behind the C1 controls, which are controls in UTF-8 as they are in ISO 8859. */
enum { FIRST_PRINTABLE = 0xa0 };

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

static bool is_8bit(char c)
{
	return (unsigned char)c > 0x7f;
}

/* How many bytes at the start of `t` are one character beyond ASCII; 0 when none. */
static size_t utf8_length(struct text t)
{
	uint32_t code;
	size_t len = t.len > 0 && is_8bit(t.at[0]) ? utf8_first(t, &code) : 0;

	return len > 0 && code >= FIRST_PRINTABLE ? len : 0;
}

/* The same inside a domain, where the other full stops of IDNA (UTS 46) would be dots to some and letters to
 * others. */
static size_t u_label_length(struct text t)
{
	uint32_t code = 0;
	size_t len = utf8_length(t);

	if (len > 0)
		utf8_first(t, &code);
	return code == 0x3002 || code == 0xff0e || code == 0xff61 ? 0 : len;
}

/* The limit of a U-label is that of its A-label (RFC 5890 section 2.3.2.1), which has an octet or more for
 * each character; for ASCII this counts octets. */
static bool is_label(struct text t)
{
	size_t characters = 0;

	for (size_t i = 0; i < t.len; i++)
		characters += (t.at[i] & 0xc0) != 0x80;
	return t.len > 0 && characters <= LABEL_MAX && t.at[0] != '-' && t.at[t.len - 1] != '-';
}

/* How many bytes at the start of `t` can stand in a domain, with U-labels when `utf8`. */
static size_t domain_span(struct text t, bool utf8)
{
	size_t len = 0;

	while (len < t.len) {
		size_t more = is_domain_byte(t.at[len]) ? 1 : utf8 ? u_label_length(text_from(t, len)) : 0;

		if (more == 0)
			break;
		len += more;
	}
	return len;
}

/* The limits of `t`, which is a span of domain_span(), and of its labels are kept. */
static bool is_domain(struct text t)
{
	if (t.len > DOMAIN_MAX)
		return false;

	for (;;) {
		size_t dot = text_find(t, '.');

		if (!is_label(text_first(t, dot)))
			return false;
		if (dot == t.len)
			return true;
		t = text_from(t, dot + 1);
	}
}

bool address_is_domain(struct text t)
{
	return domain_span(t, false) == t.len && is_domain(t);
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
	len = domain_span(t, true);
	return is_domain(text_first(t, len)) ? len : 0;
}

/* How many bytes at the start of `t` are a quoted string with something in it; 0 when none. */
static size_t quoted_length(struct text t)
{
	size_t i = 1;

	while (i < t.len && t.at[i] != '"') {
		bool pair = t.at[i] == '\\';
		size_t character = pair ? 0 : utf8_length(text_from(t, i));

		if (pair)
			i++;
		if (i >= t.len || (character == 0 && !is_printable(t.at[i])))
			return 0;
		i += character > 0 ? character : 1;
	}
	return i < t.len && i > 1 ? i + 1 : 0;
}

/* How many bytes at the start of `t` are a dot-atom; 0 when none. */
static size_t atom_length(struct text t)
{
	size_t i = 0;

	while (i < t.len) {
		bool ascii = is_atext(t.at[i]) || (t.at[i] == '.' && i > 0 && t.at[i - 1] != '.');
		size_t more = ascii ? 1 : utf8_length(text_from(t, i));

		if (more == 0)
			break;
		i += more;
	}
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
	for (size_t i = 0; i < local + 1 + domain; i++)
		ret_address->utf8 |= is_8bit(t.at[i]);
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

		*ret_address = (struct address){ .whole = none, .local = none, .domain = none };
		*ret_used = 2;
		return 0;
	}
	if (!allow_null && text_starts_nocase(inside, postmaster)) {
		struct text local = text_first(inside, postmaster.len - 1);

		*ret_address = (struct address){
			.whole = local,
			.local = local,
			.domain = { local.at + local.len, 0 },
		};
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
