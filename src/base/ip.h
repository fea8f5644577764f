#pragma once
/* IP addresses, ports and networks as values. Only numbers: names are never resolved here. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/text.h"

enum { IP_TEXT_MAX = 64 };

struct ip {
	sa_family_t family; /* AF_INET, AF_INET6, or 0 = none */
	uint8_t bytes[16];  /* network order; IPv4 uses the first four */
	uint16_t port;	    /* host order; 0 = none */
};

struct ip_network {
	struct ip address;
	unsigned prefix; /* bits that must agree */
};

/* Parse `192.0.2.1`, `2001:db8::1`, each with an optional port as `192.0.2.1:25` or `[2001:db8::1]:25`;
 * 0, or -EINVAL. */
int ip_parse(struct text t, struct ip *ret_ip);

/* Parse the address literal of RFC 5321 section 4.1.3: `[192.0.2.1]`, `[IPv6:2001:db8::1]`; 0, or -EINVAL. */
int ip_parse_literal(struct text t, struct ip *ret_ip);

/* Parse `192.0.2.0/24`, `2001:db8::/32` or a single address; 0, or -EINVAL (also when host bits are set). */
int ip_network_parse(struct text t, struct ip_network *ret_network);

/* The IPv4 address (and port) that an IPv4-mapped IPv6 address is to everybody but the kernel; any other address as it is. */
struct ip ip_unmapped(const struct ip *ip);

/* True when `ip` lies in `network`; an IPv4-mapped IPv6 address counts as IPv4. */
bool ip_in_network(const struct ip *ip, const struct ip_network *network);

/* The network that counts as one client: the address's /24 (IPv4) or /56 (IPv6). */
struct ip_network ip_client_network(const struct ip *ip);

/* True for 0.0.0.0 and ::, whatever the port. */
bool ip_is_any(const struct ip *ip);

/* True for 127.0.0.0/8 and ::1. */
bool ip_is_loopback(const struct ip *ip);

/* True when `ip` may be anybody's on the Internet: neither this machine, nor a private network, nor one link, nor a group, nor for examples, nor an IPv4
 * address in the clothes of an IPv6 one. */
bool ip_is_public(const struct ip *ip);

/* Write the address (without its port) into `ret_text` (IP_TEXT_MAX bytes); returns ret_text. */
char *ip_format(const struct ip *ip, char *ret_text);

/* As ip_format(), with the port: `192.0.2.1:25`, `[2001:db8::1]:25`. */
char *ip_format_port(const struct ip *ip, char *ret_text);

/* Write the address literal of RFC 5321 section 4.1.3: `[192.0.2.1]`, `[IPv6:2001:db8::1]`; returns ret_text. */
char *ip_format_literal(const struct ip *ip, char *ret_text);

/* Fill a socket address from `ip`; returns its length. */
socklen_t ip_to_sockaddr(const struct ip *ip, struct sockaddr_storage *ret_address);

/* Read `address`; an IPv4-mapped address becomes IPv4. Another family gives family 0. */
struct ip ip_from_sockaddr(const struct sockaddr_storage *address);
