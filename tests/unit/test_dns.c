/* Asking the resolver: what is asked arrives, what is answered comes back, and every way in which it cannot is DNS_FAILED. */
#include "lookup/dns.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"

static int64_t soon(void)
{
	return clock_mono_ms() + 30000;
}

/* A resolver of one thread: each channel that comes is asked once. */
struct fake {
	int control_fd;
	struct frame *(*answer)(struct frame *ask); /* NULL: the channel is closed */
	char name[300];
	enum dns_type type;
};

static void *fake_run(void *argument)
{
	struct fake *fake = argument;
	struct frame *frame;
	int fd = peer_accept(NULL, fake->control_fd, -1, &frame);
	const char *name = NULL;

	if (fd > 0 && channel_receive(NULL, fd, -1, soon(), &frame) == 0) {
		if (dns_ask_read(frame, frame, &name, &fake->type))
			snprintf(fake->name, sizeof fake->name, "%s", name == NULL ? "(none)" : name);
		struct frame *answer = fake->answer == NULL ? NULL : fake->answer(frame);
		if (answer != NULL)
			channel_send(fd, answer, soon());
		talloc_free(answer);
		talloc_free(frame);
	}
	base_close(&fd);
	return NULL;
}

/* Ask a fake resolver; *ret_fake says what it heard. */
static struct dns_answer *ask(
	const char *name, enum dns_type type, struct frame *(*answer)(struct frame *), struct fake *ret_fake)
{
	struct peer *peer = peer_new(NULL, 1);
	pthread_t thread;
	int fds[2];

	*ret_fake = (struct fake){ .answer = answer };
	assert_int_equal(channel_pair(fds), 0);
	ret_fake->control_fd = fds[1];
	peer_connect(peer, fds[0]);
	assert_int_equal(pthread_create(&thread, NULL, fake_run, ret_fake), 0);
	struct dns_answer *got = dns_ask(peer, NULL, name, type, -1, soon());
	assert_int_equal(pthread_join(thread, NULL), 0);
	talloc_free(peer);
	close(fds[1]);
	return got;
}

static struct frame *answer_all(struct frame *ask)
{
	struct dns_record records[] = {
		{ .address = { .family = AF_INET, .bytes = { 192, 0, 2, 1 } }, .name = "", .data = TEXT("") },
		{ .address = { .family = AF_INET6, .bytes = { [15] = 1 } }, .name = "", .data = TEXT("") },
		{ .preference = 65535, .name = "mx.test", .data = TEXT("") },
		{ .name = "", .data = { "a\0b", 3 } },
	};
	struct dns_answer answer = { .result = DNS_FOUND,
		.security = DNS_SECURE,
		.why = "",
		.canonical = "end.test",
		.ttl_s = 300,
		.count = COUNT(records),
		.records = records };

	(void)ask;
	return dns_answer_frame(NULL, &answer);
}

static void test_what_is_answered_comes_back(void **state)
{
	struct fake fake;
	struct dns_answer *a = ask("Mail.Test.", DNS_MX, answer_all, &fake);

	(void)state;
	assert_string_equal(fake.name, "mail.test");
	assert_int_equal(fake.type, DNS_MX);
	assert_int_equal(a->result, DNS_FOUND);
	assert_int_equal(a->security, DNS_SECURE);
	assert_string_equal(a->canonical, "end.test");
	assert_int_equal(a->ttl_s, 300);
	assert_int_equal(a->count, 4);
	assert_int_equal(a->records[0].address.family, AF_INET);
	assert_int_equal(a->records[0].address.bytes[0], 192);
	assert_int_equal(a->records[1].address.family, AF_INET6);
	assert_int_equal(a->records[1].address.bytes[15], 1);
	assert_int_equal(a->records[2].preference, 65535);
	assert_string_equal(a->records[2].name, "mx.test");
	assert_int_equal(a->records[3].data.len, 3);
	assert_memory_equal(a->records[3].data.at, "a\0b", 3);
	talloc_free(a);
}

static struct frame *answer_bogus(struct frame *ask)
{
	(void)ask;
	return dns_answer_frame(NULL, &(struct dns_answer){ .result = DNS_FAILED,
					      .security = DNS_BOGUS,
					      .why = "signature expired",
					      .canonical = "" });
}

static void test_bogus_comes_with_its_reason(void **state)
{
	struct fake fake;
	struct dns_answer *a = ask("bogus.test", DNS_A, answer_bogus, &fake);

	(void)state;
	assert_int_equal(a->result, DNS_FAILED);
	assert_int_equal(a->security, DNS_BOGUS);
	assert_string_equal(a->why, "signature expired");
	assert_int_equal(a->count, 0);
	talloc_free(a);
}

/* Fields of an answer, from `result` on, that a resolver that was taken over may send. */
static struct frame *hostile(
	int64_t result, int64_t security, int64_t count, bool record, struct text address)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);

	frame_put_number(frame, result);
	frame_put_number(frame, security);
	frame_put_text(frame, TEXT(""));
	frame_put_text(frame, TEXT(""));
	frame_put_number(frame, 1);
	frame_put_number(frame, count);
	if (record) {
		frame_put_text(frame, address);
		frame_put_number(frame, 0);
		frame_put_text(frame, TEXT(""));
		frame_put_text(frame, TEXT(""));
	}
	return frame;
}

static void test_a_malformed_answer_is_none(void **state)
{
	struct {
		int64_t result, security, count;
		bool record;
		struct text address;
		bool fine;
	} cases[] = {
		{ DNS_FOUND, DNS_SECURE, 1, true, TEXT("\1\2\3\4"), true },
		{ DNS_NO_NAME, DNS_SECURE, 0, false, TEXT(""), true },
		{ DNS_FAILED, DNS_BOGUS, 0, false, TEXT(""), true },
		{ DNS_FOUND, DNS_SECURE, 0, false, TEXT(""), false },  /* found nothing */
		{ DNS_NO_DATA, DNS_SECURE, 1, true, TEXT(""), false }, /* not found something */
		{ DNS_FOUND, DNS_BOGUS, 1, true, TEXT(""), false },
		{ DNS_NO_DATA, DNS_BOGUS, 0, false, TEXT(""), false },
		{ 4, DNS_SECURE, 0, false, TEXT(""), false },
		{ DNS_NO_DATA, 3, 0, false, TEXT(""), false },
		{ DNS_FOUND, DNS_SECURE, 1, false, TEXT(""), false },
		{ DNS_FOUND, DNS_SECURE, DNS_RECORDS_MAX, true, TEXT(""), false },
		{ DNS_FOUND, DNS_SECURE, INT64_MAX, true, TEXT(""), false },
		{ DNS_FOUND, DNS_SECURE, -1, true, TEXT(""), false },
		{ DNS_FOUND, DNS_SECURE, 1, true, TEXT("\1\2\3\4\5"), false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct frame *frame = hostile(cases[i].result, cases[i].security, cases[i].count,
			cases[i].record, cases[i].address);
		struct dns_answer *a = dns_answer_read(NULL, frame);

		if ((a != NULL) != cases[i].fine)
			fail_msg("case %zu", i);
		talloc_free(a);
		talloc_free(frame);
	}
}

static struct frame *answer_malformed(struct frame *ask)
{
	(void)ask;
	return frame_new(NULL, FRAME_ANSWER);
}

static void test_what_cannot_be_found_out_is_failed(void **state)
{
	int stop_fd = eventfd(1, EFD_CLOEXEC), fds[2];
	struct peer *peer = peer_new(NULL, 1);
	struct dns_answer *answers[5];
	struct fake fake;

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	answers[0] = dns_ask(NULL, NULL, "a.test", DNS_A, -1, soon());
	answers[1] = dns_ask(peer, NULL, "a.test", DNS_A, -1, soon()); /* never connected */
	answers[2] = ask("a.test", DNS_A, NULL, &fake);		       /* dies instead of answering */
	answers[3] = ask("a.test", DNS_A, answer_malformed, &fake);
	peer_connect(peer, fds[0]); /* nobody reads */
	answers[4] = dns_ask(peer, NULL, "a.test", DNS_A, stop_fd, soon());
	for (size_t i = 0; i < COUNT(answers); i++) {
		assert_int_equal(answers[i]->result, DNS_FAILED);
		assert_int_equal(answers[i]->security, DNS_INSECURE);
		assert_int_equal(answers[i]->count, 0);
		assert_string_not_equal(answers[i]->why, "");
		assert_string_equal(answers[i]->canonical, "");
		talloc_free(answers[i]);
	}
	struct dns_answer *late = dns_ask(peer, NULL, "a.test", DNS_A, -1, clock_mono_ms() + 1);
	assert_int_equal(late->result, DNS_FAILED);
	talloc_free(late);
	talloc_free(peer);
	close(fds[1]);
	close(stop_fd);
}

static void test_what_must_not_be_asked_is_told_apart(void **state)
{
	struct frame *fine = dns_ask_frame(NULL, "a b", DNS_A), *wrong = dns_ask_frame(NULL, "a.test", 99),
		     *other = frame_new(NULL, FRAME_LEASE);
	const char *name = "";
	enum dns_type type;

	(void)state;
	assert_true(dns_ask_read(fine, fine, &name, &type));
	assert_null(name);
	assert_false(dns_ask_read(wrong, wrong, &name, &type)); /* a type that nobody asks for */
	assert_false(dns_ask_read(other, other, &name, &type));
	talloc_free(fine);
	talloc_free(wrong);
	talloc_free(other);
}

/* A packet with the question a.test and `records` records in `rest`. */
static struct dns_answer *parse(uint8_t code, uint8_t records, struct text rest, enum dns_security security)
{
	static const char question[] = "\001a\004test\000\000\017\000\001";
	char packet[512] = { 0, 1, (char)0x81, (char)(0x80 | code), 0, 1, 0, (char)records };
	size_t len = 12;

	memcpy(packet + len, question, sizeof question - 1);
	len += sizeof question - 1;
	memcpy(packet + len, rest.at, rest.len);
	return dns_answer_parse(NULL, (struct text){ packet, len + rest.len }, DNS_MX, security, "why not");
}

static void test_what_a_packet_means(void **state)
{
#define OWNER "\300\014\000\017\000\001\000\000\000\074"
	static const struct {
		uint8_t code, records;
		struct text rest;
		enum dns_security security;
		enum dns_result result;
	} cases[] = {
		{ 0, 1, TEXT(OWNER "\000\006\000\012\002mx\000"), DNS_SECURE, DNS_FOUND },
		{ 0, 1, TEXT(OWNER "\000\003\000\000\000"), DNS_INSECURE, DNS_FOUND }, /* null MX */
		{ 0, 0, TEXT(""), DNS_SECURE, DNS_NO_DATA },
		{ 3, 0, TEXT(""), DNS_INSECURE, DNS_NO_NAME },
		{ 2, 0, TEXT(""), DNS_INSECURE, DNS_FAILED },
		{ 5, 0, TEXT(""), DNS_INSECURE, DNS_FAILED },
		{ 0, 1, TEXT(OWNER "\000\002\000\012"), DNS_SECURE,
			DNS_FAILED }, /* all malformed is not none */
		{ 0, 1, TEXT("\377"), DNS_SECURE, DNS_FAILED },
		{ 0, 1, TEXT(OWNER "\000\006\000\012\002mx\000"), DNS_BOGUS, DNS_FAILED },
		{ 3, 0, TEXT(""), DNS_BOGUS, DNS_FAILED },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct dns_answer *a =
			parse(cases[i].code, cases[i].records, cases[i].rest, cases[i].security);

		if (a->result != cases[i].result)
			fail_msg("case %zu: %s", i, dns_result_word(a->result));
		assert_int_equal(a->count, a->result == DNS_FOUND);
		assert_int_equal(a->why[0] != '\0', a->result == DNS_FAILED);
		if (cases[i].security == DNS_BOGUS)
			assert_string_equal(a->why, "why not");
		if (a->result != DNS_FAILED || cases[i].security == DNS_BOGUS)
			assert_int_equal(a->security, cases[i].security);
		else
			assert_int_equal(a->security, DNS_INSECURE);
		talloc_free(a);
	}
}

static void test_addresses_have_names_to_ask_for(void **state)
{
	struct ip v4, v6;

	(void)state;
	assert_int_equal(ip_parse(TEXT("192.0.2.1"), &v4), 0);
	assert_int_equal(ip_parse(TEXT("2001:db8::567:89ab"), &v6), 0);
	char *name = dns_reverse_name(NULL, &v4);
	assert_string_equal(name, "1.2.0.192.in-addr.arpa");
	talloc_free(name);
	name = dns_reverse_name(NULL, &v6);
	assert_string_equal(name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	talloc_free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_answered_comes_back),
		cmocka_unit_test(test_bogus_comes_with_its_reason),
		cmocka_unit_test(test_a_malformed_answer_is_none),
		cmocka_unit_test(test_what_cannot_be_found_out_is_failed),
		cmocka_unit_test(test_what_must_not_be_asked_is_told_apart),
		cmocka_unit_test(test_what_a_packet_means),
		cmocka_unit_test(test_addresses_have_names_to_ask_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
