/* PROXY headers: which are right, what they say, and that a cut one is never taken (conformance 10.31). */
#include "wire/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/err.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4	  "\xc0\x00\x02\x01\xc6\x33\x64\x01\x30\x39\x00\x19" /* 192.0.2.1:12345 to 198.51.100.1:25 */
#define ZEROS16	  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define V6	  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" ZEROS16 "\x30\x39\x00\x19"
#define MAPPED	  "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01" ZEROS16 "\x30\x39\x00\x19"
#define UNIX	  ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 "\0\0\0\0\0\0\0\0\0\0\0\0"
#define CHECKSUM  "\xc4\x19\x77\x1c" /* CRC-32C of SIGNATURE 21 11 00 13 V4 03 00 04 00 00 00 00 */
#define TWO_CHECKSUMS                                                                                        \
	"\x03\0\x04"                                                                                         \
	"\x05\x14\x72\x46"                                                                                   \
	"\x03\0\x04"                                                                                         \
	"\x68\xa3\x28\xf3" /* each right */
#define F16 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const struct {
	const char *name;
	struct text header;
	int want;
	const char *client; /* with its port */
} cases[] = {
	{ "v1 TCP4", TEXT("PROXY TCP4 192.0.2.1 198.51.100.1 12345 25\r\n"), PROXY_HEADER_PROXIED,
		"192.0.2.1:12345" },
	{ "v1 TCP6", TEXT("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), PROXY_HEADER_PROXIED,
		"[2001:db8::1]:65535" },
	{ "v1 IPv4 in IPv6 is IPv4", TEXT("PROXY TCP6 ::ffff:192.0.2.1 ::1 7 25\r\n"), PROXY_HEADER_PROXIED,
		"192.0.2.1:7" },
	{ "v1 UNKNOWN", TEXT("PROXY UNKNOWN\r\n"), PROXY_HEADER_LOCAL, NULL },
	{ "v1 UNKNOWN with anything behind it, 107 octets",
		TEXT("PROXY UNKNOWN " F16 " " F16 " 65535 65535\r\n"), PROXY_HEADER_LOCAL, NULL },
	{ "v1 the longest TCP6", TEXT("PROXY TCP6 " F16 " " F16 " 65535 65535\r\n"), PROXY_HEADER_PROXIED,
		"[" F16 "]:65535" },
	{ "10.31 v1 of 108 octets", TEXT("PROXY UNKNOWN " F16 " " F16 " 65535 655350\r\n"), ERR_FORMAT,
		NULL },
	{ "10.31 v1 without an end", TEXT("PROXY UNKNOWN " F16 F16 F16), ERR_FORMAT, NULL },
	{ "v1 of another protocol", TEXT("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 protocol in lower case", TEXT("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 in lower case", TEXT("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 nothing", TEXT("PROXY \r\n"), ERR_FORMAT, NULL },
	{ "v1 UNKNOWN glued to something", TEXT("PROXY UNKNOWNX\r\n"), ERR_FORMAT, NULL },
	{ "v1 IPv6 in TCP4", TEXT("PROXY TCP4 ::1 ::1 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 IPv4 in TCP6", TEXT("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 a wrong destination", TEXT("PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 an address with a port", TEXT("PROXY TCP4 192.0.2.1:1 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 an address in brackets", TEXT("PROXY TCP6 [::1] ::1 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 an octal address", TEXT("PROXY TCP4 192.0.2.010 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 a name", TEXT("PROXY TCP4 localhost 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 a scope", TEXT("PROXY TCP6 fe80::1%1 ::1 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 port 65536", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 port with a zero in front", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 port with a sign", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 no ports", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2\r\n"), ERR_FORMAT, NULL },
	{ "v1 an empty port", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n"), ERR_FORMAT, NULL },
	{ "v1 something behind the ports", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), ERR_FORMAT,
		NULL },
	{ "v1 a blank at the end", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"), ERR_FORMAT, NULL },
	{ "v1 two blanks", TEXT("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 a tab", TEXT("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 a NUL", TEXT("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"), ERR_FORMAT, NULL },
	{ "v1 a bare LF", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"), ERR_FORMAT, NULL },
	{ "v1 UNKNOWN and a bare LF", TEXT("PROXY UNKNOWN x\n"), ERR_FORMAT, NULL },
	{ "v1 a bare CR", TEXT("PROXY UNKNOWN \rx\r\n"), ERR_FORMAT, NULL },
	{ "v1 CR CR LF", TEXT("PROXY UNKNOWN\r\r\n"), ERR_FORMAT, NULL },

	{ "SMTP is no header", TEXT("EHLO x\r\n"), ERR_FORMAT, NULL },
	{ "TLS is no header", TEXT("\x16\x03\x01"), ERR_FORMAT, NULL },

	{ "v2 TCP4", TEXT(SIGNATURE "\x21\x11\0\x0c" V4), PROXY_HEADER_PROXIED, "192.0.2.1:12345" },
	{ "v2 TCP6", TEXT(SIGNATURE "\x21\x21\0\x24" V6), PROXY_HEADER_PROXIED, "[2001:db8::1]:12345" },
	{ "v2 IPv4 in IPv6 is IPv4", TEXT(SIGNATURE "\x21\x21\0\x24" MAPPED), PROXY_HEADER_PROXIED,
		"192.0.2.1:12345" },
	{ "10.31 v2 UNIX keeps the real address", TEXT(SIGNATURE "\x21\x31\0\xd8" UNIX UNIX),
		PROXY_HEADER_LOCAL, NULL },
	{ "10.31 v2 UNIX that is too short", TEXT(SIGNATURE "\x21\x31\0\xd7"), ERR_FORMAT, NULL },
	{ "v2 UNSPEC", TEXT(SIGNATURE "\x21\0\0\0"), PROXY_HEADER_LOCAL, NULL },
	{ "v2 UNSPEC with bytes to skip", TEXT(SIGNATURE "\x21\0\0\x02\xff\xff"), PROXY_HEADER_LOCAL, NULL },
	{ "10.31 v2 LOCAL", TEXT(SIGNATURE "\x20\0\0\0"), PROXY_HEADER_LOCAL, NULL },
	{ "10.31 v2 LOCAL with an address keeps the real one", TEXT(SIGNATURE "\x20\x11\0\x0c" V4),
		PROXY_HEADER_LOCAL, NULL },
	{ "10.31 v2 LOCAL ignores the family", TEXT(SIGNATURE "\x20\x99\0\x01\xff"), PROXY_HEADER_LOCAL,
		NULL },
	{ "v2 of version 1", TEXT(SIGNATURE "\x11"), ERR_FORMAT, NULL },
	{ "v2 of version 3", TEXT(SIGNATURE "\x31"), ERR_FORMAT, NULL },
	{ "v2 command 2", TEXT(SIGNATURE "\x22"), ERR_FORMAT, NULL },
	{ "10.31 v2 family 4", TEXT(SIGNATURE "\x21\x41"), ERR_FORMAT, NULL },
	{ "10.31 v2 transport 3", TEXT(SIGNATURE "\x21\x13"), ERR_FORMAT, NULL },
	{ "10.31 v2 datagrams over IPv4", TEXT(SIGNATURE "\x21\x12"), ERR_FORMAT, NULL },
	{ "10.31 v2 datagrams over IPv6", TEXT(SIGNATURE "\x21\x22"), ERR_FORMAT, NULL },
	{ "10.31 v2 UNSPEC with a transport", TEXT(SIGNATURE "\x21\x01"), ERR_FORMAT, NULL },
	{ "v2 TCP4 without room for its addresses", TEXT(SIGNATURE "\x21\x11\0\x0b"), ERR_FORMAT, NULL },
	{ "v2 TCP6 with room for IPv4", TEXT(SIGNATURE "\x21\x21\0\x0c"), ERR_FORMAT, NULL },
	{ "v2 with another signature", TEXT("\r\n\r\n\0\r\nQUIT\r"), ERR_FORMAT, NULL },

	{ "10.31 v2 with TLVs",
		TEXT(SIGNATURE "\x21\x11\0\x15" V4 "\x04\0\0\x05\0\x03"
			       "abc"),
		PROXY_HEADER_PROXIED, "192.0.2.1:12345" },
	{ "10.31 v2 a TLV one byte too long",
		TEXT(SIGNATURE "\x21\x11\0\x10" V4 "\x05\0\x02"
			       "a"),
		ERR_FORMAT, NULL },
	{ "10.31 v2 a TLV of 65535", TEXT(SIGNATURE "\x21\x11\0\x0f" V4 "\x05\xff\xff"), ERR_FORMAT, NULL },
	{ "10.31 v2 a TLV without its length", TEXT(SIGNATURE "\x21\x11\0\x0e" V4 "\x05\0"), ERR_FORMAT,
		NULL },
	{ "10.31 v2 a TLV of TLS",
		TEXT(SIGNATURE "\x21\x11\0\x18" V4 "\x20\0\x09\x01\0\0\0\0\x21\0\x01"
			       "3"),
		PROXY_HEADER_PROXIED, "192.0.2.1:12345" },
	{ "10.31 v2 a TLV of TLS that is too short",
		TEXT(SIGNATURE "\x21\x11\0\x13" V4 "\x20\0\x04\x01\0\0\0"), ERR_FORMAT, NULL },
	{ "10.31 v2 a TLV in that of TLS that leaves it",
		TEXT(SIGNATURE "\x21\x11\0\x18" V4 "\x20\0\x09\x01\0\0\0\0\x21\0\x02"
			       "3"),
		ERR_FORMAT, NULL },
	{ "10.31 v2 a checksum of three bytes",
		TEXT(SIGNATURE "\x21\x11\0\x12" V4 "\x03\0\x03"
			       "abc"),
		ERR_FORMAT, NULL },
	{ "10.31 v2 a wrong checksum",
		TEXT(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04"
			       "abcd"),
		ERR_FORMAT, NULL },
	{ "v2 the right checksum", TEXT(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04" CHECKSUM),
		PROXY_HEADER_PROXIED, "192.0.2.1:12345" },
	{ "v2 the right checksum twice", TEXT(SIGNATURE "\x21\x11\0\x1a" V4 TWO_CHECKSUMS), ERR_FORMAT,
		NULL },
};

/* In memory of exactly that size, so that ASan sees a byte too many; outputs must be written on success only. */
static int parse(const char *name, struct text t, struct ip *ret_client, size_t *ret_used)
{
	char *copy = test_malloc(t.len + (t.len == 0));
	struct ip before = { .family = 77, .port = 77 };

	memcpy(copy, t.at, t.len);
	*ret_client = before;
	*ret_used = 77777;
	int r = proxy_header_parse((struct text){ copy, t.len }, ret_client, ret_used);
	if ((r <= 0 && *ret_used != 77777) ||
		(r != PROXY_HEADER_PROXIED && memcmp(ret_client, &before, sizeof before) != 0))
		fail_msg("%s: %d, and something was written", name, r);
	test_free(copy);
	return r;
}

static void test_10_31_headers_are_taken_whole_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip client;
		size_t used;
		char text[IP_TEXT_MAX];
		int r = parse(cases[i].name, cases[i].header, &client, &used);

		if (r != cases[i].want)
			fail_msg("%s: %d", cases[i].name, r);
		if (r > 0)
			assert_int_equal(used, cases[i].header.len);
		if (r == PROXY_HEADER_PROXIED && strcmp(ip_format_port(&client, text), cases[i].client) != 0)
			fail_msg("%s: client %s", cases[i].name, text);
	}
}

/* A right header cut anywhere asks for more; with the client's first bytes behind it, it is the same header. */
static void test_10_31_split_headers_wait_for_the_rest(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text header = cases[i].header;
		struct ip client;
		size_t used;
		char more[512];

		for (size_t cut = 0; cut < header.len; cut++) {
			int r = parse(cases[i].name, text_first(header, cut), &client, &used);

			if (cases[i].want > 0 ? r != 0 : r > 0)
				fail_msg("%s: %d when cut after %zu", cases[i].name, r, cut);
		}
		memcpy(more, header.at, header.len);
		memcpy(more + header.len, "EHLO x\r\n", 8);
		int r = parse(cases[i].name, (struct text){ more, header.len + 8 }, &client, &used);
		if (r != cases[i].want || (r > 0 && used != header.len))
			fail_msg("%s: %d with more behind it", cases[i].name, r);
	}
}

static void test_10_31_a_v2_header_of_65535_bytes(void **state)
{
	struct text start = TEXT(SIGNATURE "\x21\x11\xff\xff" V4 "\x04\xff\xf0");
	char *header = test_calloc(1, PROXY_HEADER_MAX);
	struct ip client;
	size_t used;

	(void)state;
	memcpy(header, start.at, start.len);
	assert_int_equal(parse("cut", (struct text){ header, PROXY_HEADER_MAX - 1 }, &client, &used), 0);
	assert_int_equal(parse("whole", (struct text){ header, PROXY_HEADER_MAX }, &client, &used),
		PROXY_HEADER_PROXIED);
	assert_int_equal(used, PROXY_HEADER_MAX);
	test_free(header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_10_31_headers_are_taken_whole_or_refused),
		cmocka_unit_test(test_10_31_split_headers_wait_for_the_rest),
		cmocka_unit_test(test_10_31_a_v2_header_of_65535_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
