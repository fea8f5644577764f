/* IP addresses as values, by inet_pton and inet_ntop only. */
#include "base/ip.h"

#include <errno.h>
#include <stdio.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/base.h"

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static int parse_bare(struct text t, struct ip *ret_ip)
{
	char string[INET6_ADDRSTRLEN];
	struct ip ip = { .family = text_find(t, ':') < t.len ? AF_INET6 : AF_INET };

	if (t.len == 0 || t.len >= sizeof string)
		return -EINVAL;

	memcpy(string, t.at, t.len);
	string[t.len] = '\0';
	if (strlen(string) != t.len || inet_pton(ip.family, string, ip.bytes) != 1)
		return -EINVAL;

	*ret_ip = ip;
	return 0;
}

static int parse_port(struct text t, uint16_t *ret_port)
{
	uint64_t port;
	int r = text_number(t, 65535, &port);

	if (r < 0)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

int ip_parse(struct text t, struct ip *ret_ip)
{
	size_t colon = text_find_last(t, ':');
	struct ip ip;
	uint16_t port = 0;

	if (t.len > 0 && t.at[0] == '[') {
		size_t close = text_find(t, ']');

		if (close == t.len || parse_bare((struct text){ t.at + 1, close - 1 }, &ip) < 0 ||
			ip.family != AF_INET6)
			return -EINVAL;
		if (close + 1 < t.len &&
			(t.at[close + 1] != ':' || parse_port(text_from(t, close + 2), &port) < 0))
			return -EINVAL;
	} else if (colon < t.len && text_find(t, ':') == colon) {
		if (parse_bare(text_first(t, colon), &ip) < 0 ||
			parse_port(text_from(t, colon + 1), &port) < 0)
			return -EINVAL;
	} else if (parse_bare(t, &ip) < 0) {
		return -EINVAL;
	}
	ip.port = port;
	*ret_ip = ip;
	return 0;
}

int ip_parse_literal(struct text t, struct ip *ret_ip)
{
	struct ip ip;

	if (t.len < 3 || t.at[0] != '[' || t.at[t.len - 1] != ']')
		return -EINVAL;
	t = text_first(text_from(t, 1), t.len - 2);
	bool v6 = text_starts_nocase(t, TEXT("IPv6:"));
	if (parse_bare(v6 ? text_from(t, 5) : t, &ip) < 0 || (ip.family == AF_INET6) != v6)
		return -EINVAL;
	*ret_ip = ip;
	return 0;
}

/* The first `bits` bits of a and b agree. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

int ip_network_parse(struct text t, struct ip_network *ret_network)
{
	size_t slash = text_find(t, '/');
	struct ip_network network;

	if (parse_bare(text_first(t, slash), &network.address) < 0)
		return -EINVAL;

	unsigned bits = network.address.family == AF_INET ? 32 : 128;
	uint64_t prefix = bits;
	if (slash < t.len && text_number(text_from(t, slash + 1), bits, &prefix) < 0)
		return -EINVAL;

	network.prefix = (unsigned)prefix;
	for (unsigned bit = network.prefix; bit < bits; bit++)
		if (network.address.bytes[bit / 8] & (0x80 >> (bit % 8)))
			return -EINVAL;
	network.address.port = 0;
	*ret_network = network;
	return 0;
}

struct ip ip_unmapped(const struct ip *ip)
{
	struct ip v4 = *ip;

	if (ip->family == AF_INET6 && memcmp(ip->bytes, mapped_prefix, sizeof mapped_prefix) == 0) {
		v4.family = AF_INET;
		memset(v4.bytes, 0, sizeof v4.bytes);
		memcpy(v4.bytes, ip->bytes + 12, 4);
	}
	return v4;
}

bool ip_in_network(const struct ip *ip, const struct ip_network *network)
{
	struct ip plain = ip_unmapped(ip);

	return plain.family == network->address.family &&
	       same_bits(plain.bytes, network->address.bytes, network->prefix);
}

struct ip_network ip_client_network(const struct ip *ip)
{
	struct ip_network network;

	memset(&network, 0, sizeof network); /* it is used as a hash key: padding counts */
	network.address.family = ip->family;
	network.prefix = ip->family == AF_INET ? 24 : 56;
	memcpy(network.address.bytes, ip->bytes, network.prefix / 8);
	return network;
}

bool ip_is_any(const struct ip *ip)
{
	static const uint8_t zero[16];

	return memcmp(ip->bytes, zero, sizeof zero) == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
	static const struct ip_network v4 = { { .family = AF_INET, .bytes = { 127 } }, 8 };
	static const struct ip_network v6 = { { .family = AF_INET6, .bytes = { [15] = 1 } }, 128 };

	return ip_in_network(ip, &v4) || ip_in_network(ip, &v6);
}

bool ip_is_public(const struct ip *ip)
{
	/* https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry */
	static const struct ip_network global = { { .family = AF_INET6, .bytes = { 0x20 } }, 3 };
	static const struct ip_network special[] = {
		{ { .family = AF_INET, .bytes = { 0 } }, 8 },
		{ { .family = AF_INET, .bytes = { 10 } }, 8 },
		{ { .family = AF_INET, .bytes = { 100, 64 } }, 10 },
		{ { .family = AF_INET, .bytes = { 127 } }, 8 },
		{ { .family = AF_INET, .bytes = { 169, 254 } }, 16 },
		{ { .family = AF_INET, .bytes = { 172, 16 } }, 12 },
		{ { .family = AF_INET, .bytes = { 192, 0, 0 } }, 24 },
		{ { .family = AF_INET, .bytes = { 192, 0, 2 } }, 24 },
		{ { .family = AF_INET, .bytes = { 192, 88, 99 } }, 24 },
		{ { .family = AF_INET, .bytes = { 192, 168 } }, 16 },
		{ { .family = AF_INET, .bytes = { 198, 18 } }, 15 },
		{ { .family = AF_INET, .bytes = { 198, 51, 100 } }, 24 },
		{ { .family = AF_INET, .bytes = { 203, 0, 113 } }, 24 },
		{ { .family = AF_INET, .bytes = { 224 } }, 3 },
		{ { .family = AF_INET6, .bytes = { 0x20, 0x01, 0x0d, 0xb8 } }, 32 },
		{ { .family = AF_INET6, .bytes = { 0x20, 0x01 } }, 23 },
		{ { .family = AF_INET6, .bytes = { 0x20, 0x02 } }, 16 },
		{ { .family = AF_INET6, .bytes = { 0x3f, 0xff } }, 20 },
	};

	for (size_t i = 0; i < COUNT(special); i++)
		if (ip_in_network(ip, &special[i]))
			return false;
	return ip_unmapped(ip).family == AF_INET || ip_in_network(ip, &global);
}

char *ip_format(const struct ip *ip, char *ret_text)
{
	if (ip->family == 0 || inet_ntop(ip->family, ip->bytes, ret_text, IP_TEXT_MAX) == NULL)
		snprintf(ret_text, IP_TEXT_MAX, "unknown");
	return ret_text;
}

char *ip_format_port(const struct ip *ip, char *ret_text)
{
	char bare[IP_TEXT_MAX];

	snprintf(ret_text, IP_TEXT_MAX, ip->family == AF_INET6 ? "[%.46s]:%u" : "%.46s:%u",
		ip_format(ip, bare), ip->port);
	return ret_text;
}

char *ip_format_literal(const struct ip *ip, char *ret_text)
{
	char bare[IP_TEXT_MAX];

	snprintf(ret_text, IP_TEXT_MAX, ip->family == AF_INET6 ? "[IPv6:%.46s]" : "[%.46s]",
		ip_format(ip, bare));
	return ret_text;
}

socklen_t ip_to_sockaddr(const struct ip *ip, struct sockaddr_storage *ret_address)
{
	memset(ret_address, 0, sizeof *ret_address);
	if (ip->family == AF_INET6) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;

		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(ip->port);
		memcpy(&v6->sin6_addr, ip->bytes, 16);
		return sizeof *v6;
	}

	struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
	v4->sin_family = AF_INET;
	v4->sin_port = htons(ip->port);
	memcpy(&v4->sin_addr, ip->bytes, 4);
	return sizeof *v4;
}

struct ip ip_from_sockaddr(const struct sockaddr_storage *address)
{
	struct ip ip = { 0 };

	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

		ip.family = AF_INET;
		ip.port = ntohs(v4->sin_port);
		memcpy(ip.bytes, &v4->sin_addr, 4);
	} else if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

		ip.family = AF_INET6;
		ip.port = ntohs(v6->sin6_port);
		memcpy(ip.bytes, &v6->sin6_addr, 16);
		ip = ip_unmapped(&ip);
	}
	return ip;
}
