/* Answers of the DNS byte by byte: each type, aliases, names that lie, and every cut of a message in memory of exactly that size. */
#include "wire/dns_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

struct packet {
	uint8_t at[65535];
	size_t len;
};

static struct packet packet;

static void put(const void *bytes, size_t len)
{
	assert_true(packet.len + len <= sizeof packet.at);
	memcpy(packet.at + packet.len, bytes, len);
	packet.len += len;
}

static void put16(unsigned value)
{
	put((uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void put_name(const char *name)
{
	while (*name != '\0') {
		size_t len = strcspn(name, ".");

		put(&(uint8_t){ (uint8_t)len }, 1);
		put(name, len);
		name += len + (name[len] == '.');
	}
	put("", 1);
}

/* A message with the question `name`. */
static void begin(unsigned code, const char *name, unsigned type)
{
	packet.len = 0;
	put16(1);
	put16(0x8180 | code);
	put16(1);
	put16(0);
	put16(0);
	put16(0);
	put_name(name);
	put16(type);
	put16(1);
}

static void count_up(size_t at)
{
	unsigned count = (unsigned)packet.at[at] << 8 | packet.at[at + 1];

	packet.at[at] = (uint8_t)((count + 1) >> 8);
	packet.at[at + 1] = (uint8_t)(count + 1);
}

static void put_rr_to(
	size_t section, const char *owner, unsigned type, unsigned ttl, const void *data, size_t len)
{
	count_up(section);
	put_name(owner);
	put16(type);
	put16(1);
	put16(ttl >> 16);
	put16(ttl & 0xffff);
	put16((unsigned)len);
	put(data, len);
}

static void put_rr(const char *owner, unsigned type, const void *data, size_t len)
{
	put_rr_to(6, owner, type, 300, data, len);
}

#define PUT_RR(owner, type, literal) put_rr(owner, type, literal, sizeof(literal) - 1)

/* Parsed from memory of exactly its size. */
static struct dns_message *parse_cut(enum dns_type type, size_t len)
{
	struct dns_message *message = NULL;
	char *copy = text_must(malloc(len + (len == 0)));

	memcpy(copy, packet.at, len);
	int r = dns_message_parse(NULL, (struct text){ copy, len }, type, &message);
	assert_true(r == 0 || r == ERR_FORMAT);
	assert_true((r == 0) == (message != NULL));
	free(copy);
	return message;
}

static struct dns_message *parse(enum dns_type type)
{
	struct dns_message *message = parse_cut(type, packet.len);

	assert_non_null(message);
	return message;
}

static void test_each_type_is_read(void **state)
{
	struct dns_message *m;

	(void)state;
	begin(0, "A.Test", DNS_A);
	PUT_RR("a.TEST", DNS_A, "\xc0\x00\x02\x01");
	m = parse(DNS_A);
	assert_int_equal(m->count, 1);
	assert_int_equal(m->records[0].address.family, AF_INET);
	assert_memory_equal(m->records[0].address.bytes, "\xc0\x00\x02\x01", 4);
	assert_string_equal(m->canonical, "a.test");
	assert_int_equal(m->ttl_s, 300);
	talloc_free(m);

	begin(0, "a.test", DNS_AAAA);
	PUT_RR("a.test", DNS_AAAA, "0123456789abcdef");
	m = parse(DNS_AAAA);
	assert_int_equal(m->records[0].address.family, AF_INET6);
	assert_memory_equal(m->records[0].address.bytes, "0123456789abcdef", 16);
	talloc_free(m);

	begin(0, "a.test", DNS_MX);
	PUT_RR("a.test", DNS_MX, "\x01\x02\003Mx1\xc0\x0c"); /* compressed: .a.test */
	PUT_RR("a.test", DNS_MX, "\x00\x00\000");
	m = parse(DNS_MX);
	assert_int_equal(m->count, 2);
	assert_int_equal(m->records[0].preference, 258);
	assert_string_equal(m->records[0].name, "mx1.a.test");
	assert_string_equal(m->records[1].name, "");
	talloc_free(m);

	begin(0, "a.test", DNS_TXT);
	PUT_RR("a.test", DNS_TXT, "\003abc\000\004def\000");
	m = parse(DNS_TXT);
	assert_int_equal(m->records[0].data.len, 7);
	assert_memory_equal(m->records[0].data.at, "abcdef\000", 7);
	talloc_free(m);

	begin(0, "_25._tcp.a.test", DNS_TLSA);
	PUT_RR("_25._tcp.a.test", DNS_TLSA, "\003\001\001\xff\x00");
	PUT_RR("_25._tcp.a.test", DNS_TLSA, "\003");
	m = parse(DNS_TLSA);
	assert_int_equal(m->count, 2); /* the asker judges */
	assert_int_equal(m->records[0].data.len, 5);
	talloc_free(m);

	begin(0, "1.2.0.192.in-addr.arpa", DNS_PTR);
	PUT_RR("1.2.0.192.in-addr.arpa", DNS_PTR, "\004Host\004test\000");
	m = parse(DNS_PTR);
	assert_string_equal(m->records[0].name, "host.test");
	talloc_free(m);
}

static void test_3_14_tlsa_data_of_any_length_is_a_record(void **state)
{
	struct dns_message *m;

	(void)state;
	begin(0, "_25._tcp.a.test", DNS_TLSA);
	PUT_RR("_25._tcp.a.test", DNS_TLSA, "");
	PUT_RR("_25._tcp.a.test", DNS_TLSA, "\003");
	PUT_RR("_25._tcp.a.test", DNS_TLSA, "\003\001");
	PUT_RR("_25._tcp.a.test", DNS_TLSA, "\003\001\001");
	m = parse(DNS_TLSA);
	assert_int_equal(m->count, 4); /* the asker judges; but the name has TLSA records */
	assert_int_equal(m->left_out, 0);
	for (size_t i = 0; i < m->count; i++)
		assert_int_equal(m->records[i].data.len, i);
	talloc_free(m);
}

static void test_2_04_malformed_records_are_left_out_and_the_others_are_used(void **state)
{
	struct dns_message *m;

	(void)state;
	begin(0, "a.test", DNS_MX);
	PUT_RR("a.test", DNS_MX, "\x00\x0a"); /* two bytes */
	PUT_RR("a.test", DNS_MX, "");
	PUT_RR("a.test", DNS_MX, "\x00\x0a\002mx");	 /* the name has no end within it */
	PUT_RR("a.test", DNS_MX, "\x00\x0a\002mx\000!"); /* something behind the name */
	PUT_RR("a.test", DNS_MX, "\x00\x0a\xc0\xff");	 /* a pointer forward */
	PUT_RR("a.test", DNS_MX, "\x00\x0a\xc0");	 /* half a pointer */
	PUT_RR("a.test", DNS_MX,
		"\x00\x0a\x40"
		"a\000");				 /* a label of an unknown kind */
	PUT_RR("a.test", DNS_MX, "\x00\x0a\003a b\000"); /* no name of ours */
	PUT_RR("a.test", DNS_MX, "\x00\x0a\003a.b\000"); /* a dot within a label */
	PUT_RR("a.test", DNS_MX, "\x00\x0a\003a\000b\000");
	PUT_RR("a.test", 33, "\x00\x01\x00\x02\x00\x19"); /* an SRV of six bytes */
	PUT_RR("a.test", DNS_MX, "\x00\x14\002mx\000");
	m = parse(DNS_MX);
	assert_int_equal(m->count, 1);
	assert_int_equal(m->left_out, 10);
	assert_string_equal(m->records[0].name, "mx");
	talloc_free(m);

	begin(0, "a.test", DNS_A);
	PUT_RR("a.test", DNS_A, "\x01\x02\x03");
	PUT_RR("a.test", DNS_A, "\x01\x02\x03\x04\x05");
	m = parse(DNS_A);
	assert_int_equal(m->count, 0);
	assert_int_equal(m->left_out, 2);
	talloc_free(m);

	begin(0, "a.test", DNS_TXT);
	PUT_RR("a.test", DNS_TXT, "");
	PUT_RR("a.test", DNS_TXT, "\004abc");
	PUT_RR("a.test", DNS_TXT, "\003abc\001");
	m = parse(DNS_TXT);
	assert_int_equal(m->count, 0);
	assert_int_equal(m->left_out, 3);
	talloc_free(m);
}

static void test_2_04_names_that_never_end_or_are_too_long_are_refused(void **state)
{
	uint8_t data[400] = { 0, 10 };
	struct dns_message *m;

	(void)state;
	/* A pointer to itself, and two that point to each other. */
	begin(0, "a.test", DNS_MX);
	count_up(6);
	put((uint8_t[]){ 0xc0, (uint8_t)packet.len }, 2);
	assert_null(parse_cut(DNS_MX, packet.len));
	begin(0, "a.test", DNS_MX);
	count_up(6);
	put((uint8_t[]){ 0xc0, (uint8_t)(packet.len + 2), 0xc0, (uint8_t)packet.len }, 4);
	assert_null(parse_cut(DNS_MX, packet.len));

	/* 255 octets are a name, 256 are not. */
	for (size_t last = 61; last <= 62; last++) {
		size_t len = 2;

		begin(0, "a.test", DNS_MX);
		for (size_t i = 0; i < 4; i++) {
			size_t label = i == 3 ? last : 63;

			data[len++] = (uint8_t)label;
			memset(data + len, 'a', label);
			len += label;
		}
		data[len++] = 0;
		put_rr("a.test", DNS_MX, data, len);
		m = parse(DNS_MX);
		assert_int_equal(m->count, last == 61);
		if (last == 61)
			assert_int_equal(strlen(m->records[0].name), DNS_NAME_MAX);
		talloc_free(m);
	}
}

static void test_2_05_names_become_lower_case_and_keep_underscores_and_numbers(void **state)
{
	struct dns_message *m;

	(void)state;
	begin(0, "a.test", DNS_MX);
	PUT_RR("a.test", DNS_MX, "\x00\x0a\005MX_01\004TeSt\000");
	PUT_RR("a.test", DNS_MX, "\x00\x0a\003192\0010\0012\0011\000");
	m = parse(DNS_MX);
	assert_int_equal(m->count, 2);
	assert_string_equal(m->records[0].name, "mx_01.test");
	assert_string_equal(m->records[1].name, "192.0.2.1");
	talloc_free(m);
}

static void test_aliases_are_followed_in_any_order(void **state)
{
	struct dns_message *m;

	(void)state;
	begin(0, "a.test", DNS_A);
	put_rr_to(6, "c.test", DNS_CNAME, 100, "\001d\004test", 8);
	put_rr_to(6, "a.test", DNS_CNAME, 200, "\001c\004test", 8);
	PUT_RR("d.test", DNS_A, "\001\002\003\004");
	PUT_RR("x.test", DNS_A, "\011\011\011\011"); /* nobody asked for it */
	m = parse(DNS_A);
	assert_int_equal(m->count, 1);
	assert_string_equal(m->canonical, "d.test");
	assert_int_equal(m->ttl_s, 100);
	talloc_free(m);

	m = parse(DNS_CNAME); /* asked for the alias itself */
	assert_int_equal(m->count, 1);
	assert_string_equal(m->canonical, "a.test");
	assert_string_equal(m->records[0].name, "c.test");
	talloc_free(m);
}

static void test_2_06_aliases_that_go_in_circles_are_refused(void **state)
{
	(void)state;
	begin(0, "a.test", DNS_A);
	PUT_RR("a.test", DNS_CNAME, "\001b\004test\000");
	PUT_RR("b.test", DNS_CNAME, "\001a\004test\000");
	assert_null(parse_cut(DNS_A, packet.len));
}

static void test_no_such_name_and_no_such_record(void **state)
{
	static const char soa[] = "\001a\000\001b\000\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\074";
	struct dns_message *m;

	(void)state;
	begin(3, "a.test", DNS_A);
	put_rr_to(8, "test", 6, 300, soa, sizeof soa - 1);
	m = parse(DNS_A);
	assert_int_equal(m->code, 3);
	assert_int_equal(m->count, 0);
	assert_int_equal(m->left_out, 0);
	assert_int_equal(m->ttl_s, 60);
	talloc_free(m);

	begin(0, "a.test", DNS_A);
	m = parse(DNS_A);
	assert_int_equal(m->code, 0);
	assert_int_equal(m->count, 0);
	assert_int_equal(m->ttl_s, 0);
	talloc_free(m);
}

static void test_time_to_live_beyond_31_bits_is_none(void **state)
{
	(void)state;
	begin(0, "a.test", DNS_A);
	put_rr_to(6, "a.test", DNS_A, 0x80000000u, "\001\002\003\004", 4);
	struct dns_message *m = parse(DNS_A);
	assert_int_equal(m->ttl_s, 0);
	talloc_free(m);
}

static void test_at_most_so_many_records_are_taken(void **state)
{
	(void)state;
	begin(0, "a.test", DNS_A);
	for (size_t i = 0; i < DNS_RECORDS_MAX + 5; i++)
		PUT_RR("a.test", DNS_A, "\001\002\003\004");
	struct dns_message *m = parse(DNS_A);
	assert_int_equal(m->count, DNS_RECORDS_MAX);
	assert_int_equal(m->left_out, 5);
	talloc_free(m);
}

static void test_2_04_no_cut_of_a_message_is_read_beyond_its_end(void **state)
{
	(void)state;
	begin(0, "a.test", DNS_MX);
	PUT_RR("a.test", DNS_CNAME, "\001b\xc0\x0e");
	PUT_RR("b.test", DNS_MX, "\x00\x0a\002mx\xc0\x0e");
	PUT_RR("b.test", DNS_MX, "\x00\x0a\004mail\004test\000");
	for (size_t len = 0; len < packet.len; len++)
		assert_null(parse_cut(DNS_MX, len));
	talloc_free(parse(DNS_MX));
}

static void test_names_that_may_be_asked_for(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{ "Mail.Example", "mail.example" },
		{ "mail.example.", "mail.example" },
		{ "", "" },
		{ ".", "" },
		{ "_25._tcp.mx.example", "_25._tcp.mx.example" },
		{ "0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa" },
		{ "..", NULL },
		{ ".example", NULL },
		{ "a..b", NULL },
		{ "a b", NULL },
		{ "a\\046b", NULL },
		{ "b\xc3\xbc"
		  "cher.example",
			NULL },
		{ "123456789012345678901234567890123456789012345678901234567890123.example",
			"123456789012345678901234567890123456789012345678901234567890123.example" },
		{ "1234567890123456789012345678901234567890123456789012345678901234.example", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *name = dns_message_name(NULL, text_of(cases[i].name));

		if (cases[i].want == NULL)
			assert_null(name);
		else
			assert_string_equal(name, cases[i].want);
		talloc_free(name);
	}
	char longest[300];
	for (size_t i = 0; i < sizeof longest; i++)
		longest[i] = i % 2 == 0 ? 'a' : '.';
	char *name = dns_message_name(NULL, (struct text){ longest, DNS_NAME_MAX });
	assert_non_null(name);
	talloc_free(name);
	assert_null(dns_message_name(NULL, (struct text){ longest, DNS_NAME_MAX + 2 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_type_is_read),
		cmocka_unit_test(test_3_14_tlsa_data_of_any_length_is_a_record),
		cmocka_unit_test(test_2_04_malformed_records_are_left_out_and_the_others_are_used),
		cmocka_unit_test(test_2_04_names_that_never_end_or_are_too_long_are_refused),
		cmocka_unit_test(test_2_05_names_become_lower_case_and_keep_underscores_and_numbers),
		cmocka_unit_test(test_aliases_are_followed_in_any_order),
		cmocka_unit_test(test_2_06_aliases_that_go_in_circles_are_refused),
		cmocka_unit_test(test_no_such_name_and_no_such_record),
		cmocka_unit_test(test_time_to_live_beyond_31_bits_is_none),
		cmocka_unit_test(test_at_most_so_many_records_are_taken),
		cmocka_unit_test(test_2_04_no_cut_of_a_message_is_read_beyond_its_end),
		cmocka_unit_test(test_names_that_may_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
