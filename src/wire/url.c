/* Only what can be fetched: a scheme, a host, perhaps a port, a target. What cannot be said with the characters of RFC 3986 is refused, not escaped. */
#include "wire/url.h"

#include <sys/socket.h>

#include "base/err.h"
#include "base/ip.h"
#include "wire/address.h"

enum { PORT_HTTP = 80, PORT_HTTPS = 443, PORT_MAX = 65535 };

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (text_lower(c) >= 'a' && text_lower(c) <= 'f');
}

/* RFC 3986 section 3.3 and 3.4: pchar, `/` and `?`; every `%` begins an escape. */
static bool is_target(struct text t)
{
	if (t.len > 0 && t.at[0] != '/')
		return false;
	for (size_t i = 0; i < t.len; i++) {
		char c = t.at[i];

		if (c == '%' && (i + 2 >= t.len || !is_hex(t.at[i + 1]) || !is_hex(t.at[i + 2])))
			return false;
		if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}#", c) != NULL)
			return false;
	}
	return true;
}

static struct text last_label(struct text host)
{
	size_t dot = text_find_last(host, '.');

	return dot == host.len ? host : text_from(host, dot + 1);
}

/* `1`, `0x7f`: many take hosts that end so for IPv4 addresses, in forms that others do not know (127.1, 0x7f000001). */
static bool is_number(struct text label)
{
	bool hexadecimal = text_starts_nocase(label, TEXT("0x"));

	for (size_t i = hexadecimal ? 2 : 0; i < label.len; i++)
		if (!is_hex(label.at[i]) || (!hexadecimal && text_lower(label.at[i]) >= 'a'))
			return false;
	return true;
}

/* `host` or `host:port`, the rest of an authority; the brackets of an IPv6 address are taken off. */
static int parse_authority(struct text t, struct url *url)
{
	struct ip ip;
	uint64_t port;
	size_t end = text_find(t, ']');

	if (t.len > 0 && t.at[0] == '[') {
		if (end == t.len)
			return ERR_FORMAT;
		url->host = text_first(text_from(t, 1), end - 1);
		t = text_from(t, end + 1);
		if (ip_parse(url->host, &ip) < 0 || ip.family != AF_INET6)
			return ERR_FORMAT;
	} else {
		url->host = text_first(t, text_find(t, ':'));
		t = text_from(t, url->host.len);
		if (!address_is_domain(url->host) ||
			(is_number(last_label(url->host)) && ip_parse(url->host, &ip) < 0))
			return ERR_FORMAT;
	}
	if (t.len == 0)
		return 0;
	if (t.at[0] != ':' || text_number(text_from(t, 1), PORT_MAX, &port) < 0 || port == 0)
		return ERR_FORMAT;
	url->port = (uint16_t)port;
	return 0;
}

int url_parse(struct text t, struct url *ret_url)
{
	static const struct text schemes[] = { { "http://", 7 }, { "https://", 8 } };
	struct url url = { .secure = text_starts_nocase(t, schemes[1]) };

	if (t.len > URL_MAX || !text_starts_nocase(t, schemes[url.secure]))
		return ERR_FORMAT;
	t = text_from(t, schemes[url.secure].len);

	size_t end = 0;
	while (end < t.len && t.at[end] != '/' && t.at[end] != '?')
		end++;
	url.port = url.secure ? PORT_HTTPS : PORT_HTTP;
	url.target = text_from(t, end);
	if (!is_target(url.target) || parse_authority(text_first(t, end), &url) < 0)
		return ERR_FORMAT;
	*ret_url = url;
	return 0;
}
