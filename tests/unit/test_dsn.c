/* Reports by themselves: what an original gives back, and one report for all that an attempt decided. */
#include "deliver/dsn.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "deliver/original.h"
#include "test_help.h"
#include "wire/smtp_command.h"

static const struct {
	const char *name;
	struct text content;
	bool whole, global;
	const char *type;
	struct text want;
	bool eight_bit;
} originals[] = {
	{ "a whole message", TEXT("A: b\r\n\r\nbody\r\n"), true, false, "message/rfc822",
		TEXT("A: b\r\n\r\nbody\r\n"), false },
	{ "without its last line end", TEXT("A: b\r\n\r\nbody"), true, false, "message/rfc822",
		TEXT("A: b\r\n\r\nbody\r\n"), false },
	{ "with strange line ends", TEXT("A: b\r\n\r\n1\n2\r3\r\r\n4\n"), true, false, "message/rfc822",
		TEXT("A: b\r\n\r\n1\r\n2\r\n3\r\n\r\n4\r\n"), false },
	{ "of eight bits there is the header only", TEXT("A: b\r\n\r\n\xff\r\n"), true, false,
		"text/rfc822-headers", TEXT("A: b\r\n"), false },
	{ "2.28 with a NUL there is the header only", TEXT("A: b\r\n\r\n\0\r\n"), true, false,
		"text/rfc822-headers", TEXT("A: b\r\n"), false },
	{ "the header", TEXT("A: b\r\n\tc <d>\r\n\r\nbody\r\n"), false, false, "text/rfc822-headers",
		TEXT("A: b\r\n\tc <d>\r\n"), false },
	{ "2.28 seven bits of it", TEXT("A: \xc3\xbc\0\x1b\r\n\r\nbody\r\n"), false, false,
		"text/rfc822-headers", TEXT("A: ????\r\n"), false },
	{ "2.28 UTF-8 of it", TEXT("A: \xc3\xbc\0\xff\r\n\r\nbody\r\n"), false, true,
		"message/global-headers", TEXT("A: \xc3\xbc??\r\n"), true },
	{ "whole and global", TEXT("A: \xc3\xbc\r\n\r\n"), true, true, "message/global",
		TEXT("A: \xc3\xbc\r\n\r\n"), true },
	{ "a line that is no field ends it", TEXT("A: b\r\nbody\r\n"), false, false, "text/rfc822-headers",
		TEXT("A: b\r\n"), false },
	{ "nothing", TEXT(""), true, false, "message/rfc822", TEXT(""), false },
};

static struct content in_file(struct text bytes)
{
	int fd = memfd_create("content", MFD_CLOEXEC);

	assert_int_equal(write(fd, bytes.at, bytes.len), bytes.len);
	return (struct content){ .fd = fd, .size = bytes.len };
}

static void test_2_27_2_28_originals(void **state)
{
	void *owner = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(originals); i++) {
		const typeof(originals[0]) *o = &originals[i / 2];
		struct content content =
			i % 2 == 0 ? (struct content){ .bytes = o->content, .fd = -1, .size = o->content.len }
				   : in_file(o->content);
		struct original got = original_of(owner, &content, o->whole, o->global);

		if (strcmp(got.type, o->type) != 0 || !text_equal(got.bytes, o->want) ||
			got.eight_bit != o->eight_bit)
			fail_msg("%s: %s \"%.*s\"", o->name, got.type, (int)got.bytes.len, got.bytes.at);
		base_close(&content.fd);
	}
	talloc_free(owner);
}

static void test_of_a_long_header_whole_lines_come_back(void **state)
{
	void *owner = talloc_new(NULL);
	char *long_header = talloc_strdup(owner, "");

	(void)state;
	for (int i = 0; i < 2000; i++)
		long_header = talloc_asprintf_append_buffer(
			long_header, "X: aaaaaaaaaaaaaaaaaaaaaaaaa %04d\r\n", i);
	struct content content = { .bytes = text_of(long_header), .fd = -1, .size = strlen(long_header) };
	struct original got = original_of(owner, &content, false, false);
	assert_in_range(got.bytes.len, 32 * 1024 - 40, 32 * 1024);
	assert_memory_equal(got.bytes.at, long_header, got.bytes.len);
	assert_memory_equal(got.bytes.at + got.bytes.len - 2, "\r\n", 2);
	talloc_free(owner);
}

enum { SIZE = 64 };
static const char mail[] = "Subject: hello\r\n\r\n--=_5.1.1.\r\nbody\r\n";

/* A lease for as many recipients as there are letters in `states`: (d)elivered, (l)ater, (b)ounced; and its outcome. */
static struct outcome *outcome_of(void *owner, struct lease *lease, const char *states)
{
	struct outcome *outcome = text_must(talloc_zero(owner, struct outcome));
	const unsigned count = (unsigned)strlen(states);

	*lease = (struct lease){ .mid = 5,
		.domain = "a.test",
		.content = { .bytes = TEXT(mail), .fd = -1, .size = sizeof mail - 1 } };
	lease->envelope = (struct envelope){ .received_ms = clock_wall_ms(),
		.envid = "",
		.sender = "s@x.test",
		.recipient_count = count,
		.recipients = text_must(talloc_zero_array(owner, const char *, count)),
		.notify = text_must(talloc_zero_array(owner, unsigned, count)),
		.orcpt = text_must(talloc_zero_array(owner, const char *, count)) };
	lease->warned = text_must(talloc_zero_array(owner, bool, count));
	*outcome = (struct outcome){ .mid = 5,
		.domain = "a.test",
		.attempt = 1,
		.time_ms = clock_wall_ms(),
		.address = "[2001:db8::1]:25",
		.recipient_count = count,
		.recipients = text_must(talloc_zero_array(owner, struct outcome_recipient, count)) };
	for (size_t i = 0; i < count; i++) {
		lease->envelope.recipients[i] = text_must(talloc_asprintf(owner, "r%zu@a.test", i));
		lease->envelope.orcpt[i] = "";
		outcome->recipients[i] = (struct outcome_recipient){ (int64_t)i + 1,
			states[i] == 'd'   ? OUTCOME_DELIVERED
			: states[i] == 'l' ? OUTCOME_DEFERRED
					   : OUTCOME_BOUNCED,
			states[i] == 'd'   ? "250 2.0.0 ok"
			: states[i] == 'l' ? "450 4.2.2 full"
					   : "550 5.1.1 no",
			false };
	}
	return outcome;
}

static const struct config *config_of(const char *delivery)
{
	char yaml[300];

	snprintf(yaml, sizeof yaml, "mail_flow_policies: [{name: open, tls: none}]\ndelivery: {%s}\n",
		delivery);
	return help_config(yaml);
}

static unsigned count_of(struct text t, const char *word)
{
	unsigned count = 0;

	for (const char *at = t.at;
		(at = memmem(at, t.len - (size_t)(at - t.at), word, strlen(word))) != NULL; at++)
		count++;
	return count;
}

static void test_2_26_2_27_2_29_one_report_with_all_actions(void **state)
{
	void *owner = talloc_new(NULL);
	const struct config *config = config_of("delay_warning: 4h");
	struct lease lease;
	struct outcome *outcome = outcome_of(owner, &lease, "bldldb");

	(void)state;
	lease.envelope.notify[2] = SMTP_NOTIFY_SUCCESS;
	lease.warned[3] = true;
	lease.envelope.notify[5] = SMTP_NOTIFY_NEVER;
	dsn_add(config, &lease, INT64_C(4) * 3600 * 1000, outcome);
	struct text report = outcome->dsn_content;
	assert_int_equal(
		count_of(report,
			"\r\nFinal-Recipient: rfc822; r0@a.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
			"Remote-MTA: dns; [IPv6:2001:db8::1]\r\n"),
		1);
	assert_int_equal(
		count_of(report,
			"\r\nFinal-Recipient: rfc822; r1@a.test\r\nAction: delayed\r\nStatus: 4.2.2\r\n"),
		1);
	assert_int_equal(
		count_of(report,
			"\r\nFinal-Recipient: rfc822; r2@a.test\r\nAction: relayed\r\nStatus: 2.0.0\r\n"),
		1);
	assert_int_equal(count_of(report, "\r\nAction: "), 3);
	assert_int_equal(count_of(report, "\r\nWill-Retry-Until: "), 1);
	assert_int_equal(count_of(report, "\r\nSubject: Undelivered mail returned to sender\r\n"), 1);
	for (size_t i = 0; i < outcome->recipient_count; i++)
		assert_int_equal(outcome->recipients[i].warned, i == 1);
	assert_int_equal(outcome->dsn->notify[0], SMTP_NOTIFY_NEVER);
	config_release(config);
	talloc_free(owner);
}

static void test_2_26_the_warning_comes_at_its_time_and_not_before(void **state)
{
	const struct {
		const char *delivery;
		int64_t age_ms;
		bool told;
	} cases[] = {
		{ "delay_warning: 4h", 4 * 3600 * 1000 - 1, false },
		{ "delay_warning: 4h", 4 * 3600 * 1000, true },
		{ "expire: 5d", 4 * 3600 * 1000 - 1, false },
		{ "expire: 5d", 4 * 3600 * 1000, true },
		{ "delay_warning: 0", INT64_C(300) * 3600 * 1000, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *owner = talloc_new(NULL);
		const struct config *config = config_of(cases[i].delivery);
		struct lease lease;
		struct outcome *outcome = outcome_of(owner, &lease, "l");

		dsn_add(config, &lease, cases[i].age_ms, outcome);
		if ((outcome->dsn != NULL) != cases[i].told || outcome->recipients[0].warned != cases[i].told)
			fail_msg("%s at %lld", cases[i].delivery, (long long)cases[i].age_ms);
		config_release(config);
		talloc_free(owner);
	}
}

/* Only a boundary can end a part, and it is nowhere in one. */
static void test_2_27_the_boundary_stands_alone(void **state)
{
	void *owner = talloc_new(NULL);
	const struct config *config = config_of("bounce_size: 1k");
	struct lease lease;
	struct outcome *outcome = outcome_of(owner, &lease, "b");
	char boundary[SIZE + 4] = "";

	(void)state;
	lease.envelope.ret = SMTP_RET_FULL;
	dsn_add(config, &lease, 0, outcome);
	struct text report = outcome->dsn_content;
	const char *at = memmem(report.at, report.len, "boundary=\"", 10);
	assert_non_null(at);
	assert_int_equal(sscanf(at, "boundary=\"%63[^\"]\"", boundary), 1);
	assert_int_equal(count_of(report, boundary), 5);
	assert_int_equal(count_of(report, "\r\n--=_5.1.1.\r\nbody\r\n"), 1);
	config_release(config);
	talloc_free(owner);
}

static void test_2_27_larger_than_bounce_size_is_only_a_header(void **state)
{
	(void)state;
	for (int over = 0; over < 2; over++) {
		void *owner = talloc_new(NULL);
		char size[60];
		snprintf(size, sizeof size, "bounce_size: %zu", sizeof mail - 1 - (size_t)over);
		const struct config *config = config_of(size);
		struct lease lease;
		struct outcome *outcome = outcome_of(owner, &lease, "b");

		lease.envelope.ret = SMTP_RET_FULL;
		dsn_add(config, &lease, 0, outcome);
		assert_int_equal(count_of(outcome->dsn_content, "\r\nbody\r\n"), over == 0);
		config_release(config);
		talloc_free(owner);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_27_2_28_originals),
		cmocka_unit_test(test_of_a_long_header_whole_lines_come_back),
		cmocka_unit_test(test_2_26_2_27_2_29_one_report_with_all_actions),
		cmocka_unit_test(test_2_26_the_warning_comes_at_its_time_and_not_before),
		cmocka_unit_test(test_2_27_the_boundary_stands_alone),
		cmocka_unit_test(test_2_27_larger_than_bounce_size_is_only_a_header),
	};

	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
