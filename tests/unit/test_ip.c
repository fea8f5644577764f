/* IP addresses: texts in, texts out, and which network they lie in. */
#include "base/ip.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"

static const struct {
	const char *name, *t, *bare, *with_port, *literal; /* bare NULL: refused */
} addresses[] = {
	{ "IPv4", "192.0.2.1", "192.0.2.1", "192.0.2.1:0", "[192.0.2.1]" },
	{ "IPv4 and port", "192.0.2.1:25", "192.0.2.1", "192.0.2.1:25", "[192.0.2.1]" },
	{ "IPv6", "2001:DB8::1", "2001:db8::1", "[2001:db8::1]:0", "[IPv6:2001:db8::1]" },
	{ "IPv6 in brackets", "[::1]", "::1", "[::1]:0", "[IPv6:::1]" },
	{ "IPv6 and the highest port", "[::1]:65535", "::1", "[::1]:65535", "[IPv6:::1]" },
	{ "the longest IPv6", "1111:2222:3333:4444:5555:6666:7777:8888",
		"1111:2222:3333:4444:5555:6666:7777:8888", "[1111:2222:3333:4444:5555:6666:7777:8888]:0",
		"[IPv6:1111:2222:3333:4444:5555:6666:7777:8888]" },
	{ "nothing", "", NULL, NULL, NULL },
	{ "a name", "localhost", NULL, NULL, NULL },
	{ "three numbers", "192.0.2", NULL, NULL, NULL },
	{ "a number over 255", "192.0.2.256", NULL, NULL, NULL },
	{ "octal", "192.0.2.010", NULL, NULL, NULL },
	{ "a blank", "192.0.2.1 ", NULL, NULL, NULL },
	{ "a port over 65535", "192.0.2.1:65536", NULL, NULL, NULL },
	{ "an empty port", "192.0.2.1:", NULL, NULL, NULL },
	{ "a port of letters", "192.0.2.1:smtp", NULL, NULL, NULL },
	{ "IPv4 in brackets", "[192.0.2.1]:25", NULL, NULL, NULL },
	{ "an open bracket", "[::1", NULL, NULL, NULL },
	{ "an empty bracket", "[]", NULL, NULL, NULL },
	{ "junk behind the bracket", "[::1]x", NULL, NULL, NULL },
	{ "an empty port behind the bracket", "[::1]:", NULL, NULL, NULL },
	{ "a zone", "fe80::1%eth0", NULL, NULL, NULL },
	{ "too many groups", "1:2:3:4:5:6:7:8:9", NULL, NULL, NULL },
	{ "a very long text", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd", NULL, NULL,
		NULL },
};

static void test_addresses_are_read_and_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(addresses); i++) {
		struct ip ip = { .port = 77 };
		char text[IP_TEXT_MAX];

		if (ip_parse(text_of(addresses[i].t), &ip) != (addresses[i].bare != NULL ? 0 : -EINVAL))
			fail_msg("%s", addresses[i].name);
		if (addresses[i].bare == NULL) {
			assert_int_equal(ip.port, 77);
			continue;
		}
		assert_string_equal(ip_format(&ip, text), addresses[i].bare);
		assert_string_equal(ip_format_port(&ip, text), addresses[i].with_port);
		assert_string_equal(ip_format_literal(&ip, text), addresses[i].literal);
	}
}

static void test_a_nul_inside_is_refused(void **state)
{
	struct ip ip;

	(void)state;
	assert_int_equal(ip_parse(TEXT("192.0.2.1\0"), &ip), -EINVAL);
}

static const struct {
	const char *literal, *want; /* NULL = refused */
} literals[] = {
	{ "[192.0.2.1]", "192.0.2.1" },
	{ "[IPv6:2001:db8::1]", "2001:db8::1" },
	{ "[ipv6:::1]", "::1" },
	{ "[2001:db8::1]", NULL },
	{ "[IPv6:192.0.2.1]", NULL },
	{ "[192.0.2.1]:25", NULL },
	{ "[192.0.2.1:25]", NULL },
	{ "[IPv6:[::1]:25]", NULL },
	{ "[[::1]]", NULL },
	{ "192.0.2.1", NULL },
	{ "[]", NULL },
	{ "[", NULL },
	{ "", NULL },
};

static void test_address_literals(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(literals); i++) {
		char text[IP_TEXT_MAX];
		struct ip ip = { .port = 7 };
		int r = ip_parse_literal(text_of(literals[i].literal), &ip);

		if ((r == 0) != (literals[i].want != NULL) ||
			(r == 0 ? ip.port != 0 || strcmp(ip_format(&ip, text), literals[i].want) != 0
				: r != -EINVAL || ip.port != 7))
			fail_msg("%s", literals[i].literal);
	}
}

static void test_no_address_is_unknown(void **state)
{
	struct ip none = { 0 };
	char text[IP_TEXT_MAX];

	(void)state;
	assert_string_equal(ip_format(&none, text), "unknown");
}

static const struct {
	const char *name, *network;
	int want;
	const char *inside, *outside;
} networks[] = {
	{ "a /24", "192.0.2.0/24", 0, "192.0.2.255", "192.0.3.0" },
	{ "a /25", "192.0.2.0/25", 0, "192.0.2.127", "192.0.2.128" },
	{ "a /31", "192.0.2.2/31", 0, "192.0.2.3", "192.0.2.4" },
	{ "one address", "192.0.2.1", 0, "192.0.2.1", "192.0.2.2" },
	{ "one address with /32", "192.0.2.1/32", 0, "192.0.2.1", "192.0.2.0" },
	{ "all of IPv4 is not IPv6", "0.0.0.0/0", 0, "255.255.255.255", "::1" },
	{ "all of IPv6 is not IPv4", "::/0", 0, "2001:db8::1", "192.0.2.1" },
	{ "a /32 of IPv6", "2001:db8::/32", 0, "2001:db8:ffff::1", "2001:db9::" },
	{ "a /127 of IPv6", "::2/127", 0, "::3", "::4" },
	{ "a mapped address counts as IPv4", "192.0.2.0/24", 0, "::ffff:192.0.2.9", "::ffff:192.0.3.9" },
	{ "host bits", "192.0.2.1/24", -EINVAL, NULL, NULL },
	{ "one host bit", "192.0.2.128/24", -EINVAL, NULL, NULL },
	{ "a prefix of 33", "192.0.2.0/33", -EINVAL, NULL, NULL },
	{ "a prefix of 129", "::/129", -EINVAL, NULL, NULL },
	{ "an empty prefix", "192.0.2.0/", -EINVAL, NULL, NULL },
	{ "a netmask", "192.0.2.0/255.255.255.0", -EINVAL, NULL, NULL },
	{ "a port", "192.0.2.0:25/24", -EINVAL, NULL, NULL },
	{ "nothing", "", -EINVAL, NULL, NULL },
};

static void test_networks(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(networks); i++) {
		struct ip_network network;
		struct ip inside, outside;

		if (ip_network_parse(text_of(networks[i].network), &network) != networks[i].want)
			fail_msg("%s", networks[i].name);
		if (networks[i].want < 0)
			continue;
		assert_int_equal(ip_parse(text_of(networks[i].inside), &inside), 0);
		assert_int_equal(ip_parse(text_of(networks[i].outside), &outside), 0);
		if (!ip_in_network(&inside, &network) || ip_in_network(&outside, &network))
			fail_msg("%s: membership", networks[i].name);
	}
}

static void test_loopback(void **state)
{
	static const struct {
		const char *t;
		bool want;
	} cases[] = {
		{ "127.0.0.1", true },
		{ "127.255.255.255", true },
		{ "::1", true },
		{ "::ffff:127.0.0.1", true },
		{ "128.0.0.1", false },
		{ "126.255.255.255", false },
		{ "::2", false },
		{ "::", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip;

		assert_int_equal(ip_parse(text_of(cases[i].t), &ip), 0);
		if (ip_is_loopback(&ip) != cases[i].want)
			fail_msg("%s", cases[i].t);
	}
}

static void test_7_35_7_43_which_addresses_are_public(void **state)
{
	/* the first and last of each network, and its neighbours */
	static const char *const public[] = { "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255",
		"100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
		"172.15.255.255", "172.32.0.0", "192.0.1.255", "192.0.3.0", "192.167.255.255", "192.169.0.0",
		"198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255",
		"203.0.114.0", "223.255.255.255", "::ffff:8.8.8.8", "2001:200::1", "2001:db7:ffff::1",
		"2001:db9::", "2003::1", "2a00:1450:4001::", "3ffe:ffff::1" };
	static const char *const special[] = { "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255",
		"100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.0.0",
		"169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.8",
		"192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
		"198.51.100.7", "203.0.113.7", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "64:ff9b::7f00:1", "100::1",
		"2001::1", "2001:1ff:ffff::", "2001:db8::1", "2002:7f00:1::", "3fff::1", "4000::1", "fc00::1",
		"fdff::1", "fe80::1", "fec0::1", "ff02::1", "1fff:ffff::" };
	struct ip ip;

	(void)state;
	for (size_t i = 0; i < COUNT(public); i++)
		if (ip_parse(text_of(public[i]), &ip) < 0 || !ip_is_public(&ip))
			fail_msg("%s", public[i]);
	for (size_t i = 0; i < COUNT(special); i++)
		if (ip_parse(text_of(special[i]), &ip) < 0 || ip_is_public(&ip))
			fail_msg("%s", special[i]);
}

static void test_socket_addresses_go_there_and_back(void **state)
{
	static const char *const there[] = { "192.0.2.1:25", "[2001:db8::1]:465" };
	struct sockaddr_storage address;
	struct ip ip, back;
	char text[IP_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(there); i++) {
		assert_int_equal(ip_parse(text_of(there[i]), &ip), 0);
		assert_true(ip_to_sockaddr(&ip, &address) > 0);
		back = ip_from_sockaddr(&address);
		assert_string_equal(ip_format_port(&back, text), there[i]);
	}
	assert_int_equal(ip_parse(TEXT("[::ffff:192.0.2.1]:25"), &ip), 0);
	ip_to_sockaddr(&ip, &address);
	back = ip_from_sockaddr(&address);
	assert_string_equal(ip_format_port(&back, text), "192.0.2.1:25");

	address = (struct sockaddr_storage){ .ss_family = AF_UNIX };
	assert_int_equal(ip_from_sockaddr(&address).family, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_are_read_and_written),
		cmocka_unit_test(test_a_nul_inside_is_refused),
		cmocka_unit_test(test_address_literals),
		cmocka_unit_test(test_no_address_is_unknown),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_7_35_7_43_which_addresses_are_public),
		cmocka_unit_test(test_socket_addresses_go_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
