/*
 * The PROXY protocol (HAProxy's proxy-protocol.txt), for listeners that stand behind a load balancer. net/
 * or session/ calls it on what arrived so far, until it says something else than 0; nothing behind the
 * header is looked at.
 *
 * A header is taken whole or not at all, and strictly: what the specification leaves to the receiver is
 * refused where a mail connection has no use for it (datagrams), because a header that two programs read
 * differently is how a client chooses its own address. Only the client's address is used; the addresses are
 * numbers, and the extensions (TLVs) need only be well-formed and have the right checksum.
 */
#include "wire/proxy_header.h"

#include "base/base.h"
#include "base/err.h"

enum { V1_MAX = 107, V2_FIXED = 16, TLV_FIXED = 3 };

/* The second half of byte 13, and the values of byte 14 that mean streams. */
enum { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum { FAMILY_UNSPEC = 0x00, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21, FAMILY_UNIX = 0x31 };
enum { TLV_CRC32C = 0x03, TLV_SSL = 0x20, SSL_FIXED = 5 };

static const struct text v1_start = TEXT("PROXY ");
static const struct text v2_start = TEXT("\r\n\r\n\0\r\nQUIT\n");

/* One is the beginning of the other. */
static bool agree(struct text a, struct text b)
{
	size_t len = MIN(a.len, b.len);

	return text_equal(text_first(a, len), text_first(b, len));
}

/* IPv4-mapped IPv6 addresses become IPv4, as everywhere. */
static struct ip plain(const struct ip *ip)
{
	struct sockaddr_storage address;

	ip_to_sockaddr(ip, &address);
	return ip_from_sockaddr(&address);
}

/* The next word of a v1 line, which ends at exactly one space or at the end. */
static struct text next_word(struct text *rest)
{
	size_t end = text_find(*rest, ' ');
	struct text word = text_first(*rest, end);

	*rest = text_from(*rest, end + 1);
	return word;
}

/* A number without port and brackets, which ip_parse() would take, too. */
static int parse_address(struct text word, sa_family_t family, struct ip *ret_ip)
{
	bool colon = text_find(word, ':') < word.len;

	if (colon != (family == AF_INET6) || text_find(word, '[') < word.len || ip_parse(word, ret_ip) < 0)
		return ERR_FORMAT;
	return 0;
}

static int parse_port(struct text word, uint16_t *ret_port)
{
	uint64_t port;

	if ((word.len > 1 && word.at[0] == '0') || text_number(word, UINT16_MAX, &port) < 0)
		return ERR_FORMAT;
	*ret_port = (uint16_t)port;
	return 0;
}

/* `source destination source-port destination-port`, all four right. */
static int parse_v1_addresses(struct text rest, sa_family_t family, struct ip *ret_client)
{
	struct ip client, server;
	size_t blanks = 0;

	for (size_t i = 0; i < rest.len; i++)
		blanks += rest.at[i] == ' ';
	if (blanks != 3 || parse_address(next_word(&rest), family, &client) < 0 ||
		parse_address(next_word(&rest), family, &server) < 0 ||
		parse_port(next_word(&rest), &client.port) < 0 ||
		parse_port(next_word(&rest), &server.port) < 0)
		return ERR_FORMAT;
	*ret_client = plain(&client);
	return PROXY_HEADER_PROXIED;
}

static int parse_v1(struct text bytes, struct ip *ret_client, size_t *ret_used)
{
	struct text head = text_first(bytes, V1_MAX);
	size_t cr = text_find(head, '\r'), lf = text_find(head, '\n');
	struct ip client;

	if (lf < cr || (cr + 1 < head.len && lf != cr + 1))
		return ERR_FORMAT;
	if (lf == head.len)
		return head.len < V1_MAX ? 0 : ERR_FORMAT;

	struct text rest = text_from(text_first(head, cr), v1_start.len);
	struct text protocol = next_word(&rest);
	int r = ERR_FORMAT;
	if (text_equal(protocol, TEXT("UNKNOWN")))
		r = PROXY_HEADER_LOCAL;
	else if (text_equal(protocol, TEXT("TCP4")))
		r = parse_v1_addresses(rest, AF_INET, &client);
	else if (text_equal(protocol, TEXT("TCP6")))
		r = parse_v1_addresses(rest, AF_INET6, &client);

	if (r == PROXY_HEADER_PROXIED)
		*ret_client = client;
	if (r > 0)
		*ret_used = lf + 1;
	return r;
}

static unsigned byte_at(struct text t, size_t i)
{
	return (uint8_t)t.at[i];
}

static unsigned short_at(struct text t, size_t i)
{
	return byte_at(t, i) << 8 | byte_at(t, i + 1);
}

/* CRC-32C of the header with the checksum's own four bytes, at `hole`, read as zero. */
static uint32_t checksum(struct text header, size_t hole)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < header.len; i++) {
		crc ^= i >= hole && i < hole + 4 ? 0 : byte_at(header, i);
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

/* The TLVs of `header` from `start` on fill it exactly; `nested` ones stand inside that of TLS. */
static bool tlvs_are_right(struct text header, size_t start, size_t end, bool nested)
{
	bool summed = false;

	while (start < end) {
		if (end - start < TLV_FIXED)
			return false;

		unsigned type = byte_at(header, start);
		size_t len = short_at(header, start + 1), value = start + TLV_FIXED;
		if (len > end - value)
			return false;
		if (type == TLV_SSL && !nested &&
			(len < SSL_FIXED || !tlvs_are_right(header, value + SSL_FIXED, value + len, true)))
			return false;
		if (type == TLV_CRC32C && !nested) {
			/* One checksum only: each costs a pass over the header. */
			if (summed || len != 4 ||
				checksum(header, value) != ((uint32_t)short_at(header, value) << 16 |
								   short_at(header, value + 2)))
				return false;
			summed = true;
		}
		start = value + len;
	}
	return true;
}

/* How many bytes the addresses of `family` have, or ERR_FORMAT when there is no such family for a stream. */
static int addresses_length(unsigned family)
{
	switch (family) {
	case FAMILY_UNSPEC:
		return 0;
	case FAMILY_TCP4:
		return 2 * 4 + 2 * 2;
	case FAMILY_TCP6:
		return 2 * 16 + 2 * 2;
	case FAMILY_UNIX:
		return 2 * 108;
	default:
		return ERR_FORMAT;
	}
}

static struct ip client_of(struct text header, unsigned family)
{
	size_t len = family == FAMILY_TCP4 ? 4 : 16;
	struct ip client = {
		.family = family == FAMILY_TCP4 ? AF_INET : AF_INET6,
		.port = (uint16_t)short_at(header, V2_FIXED + 2 * len),
	};

	memcpy(client.bytes, header.at + V2_FIXED, len);
	return plain(&client);
}

/* What the first 16 bytes forbid is refused before the rest has arrived. */
static int parse_v2(struct text bytes, struct ip *ret_client, size_t *ret_used)
{
	size_t at = v2_start.len;

	if (bytes.len <= at)
		return 0;
	unsigned command = byte_at(bytes, at) & 15;
	if (byte_at(bytes, at) >> 4 != 2 || command > COMMAND_PROXY)
		return ERR_FORMAT;
	if (bytes.len <= at + 1)
		return 0;
	unsigned family = byte_at(bytes, at + 1);
	int addresses = command == COMMAND_LOCAL ? 0 : addresses_length(family);
	if (addresses < 0)
		return addresses;
	if (bytes.len < V2_FIXED)
		return 0;

	size_t total = V2_FIXED + (size_t)short_at(bytes, at + 2);
	if (total < V2_FIXED + (size_t)addresses)
		return ERR_FORMAT;
	if (bytes.len < total)
		return 0;

	/* LOCAL and UNSPEC say that whatever follows is to be skipped. */
	bool skipped = command == COMMAND_LOCAL || family == FAMILY_UNSPEC;
	if (!skipped && !tlvs_are_right(text_first(bytes, total), V2_FIXED + (size_t)addresses, total, false))
		return ERR_FORMAT;
	*ret_used = total;
	if (skipped || family == FAMILY_UNIX)
		return PROXY_HEADER_LOCAL;
	*ret_client = client_of(bytes, family);
	return PROXY_HEADER_PROXIED;
}

int proxy_header_parse(struct text bytes, struct ip *ret_client, size_t *ret_used)
{
	if (bytes.len == 0)
		return 0;
	if (agree(bytes, v1_start))
		return parse_v1(bytes, ret_client, ret_used);
	return agree(bytes, v2_start) ? parse_v2(bytes, ret_client, ret_used) : ERR_FORMAT;
}
