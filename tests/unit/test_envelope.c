/* What crosses between roles comes out as it went in; what is malformed gives nothing and leaks nothing. */
#include "queue/envelope.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "ipc/frame.h"
#include "queue/queue.h"

static struct envelope sample(const void *owner, size_t recipients)
{
	struct envelope e = {
		.received_ms = 1700000000123,
		.icid = "1a-1",
		.client = "192.0.2.1",
		.helo = "c.test",
		.tls = "{}",
		.sender = "s@x.test",
		.eight_bit = true,
		.ret = 2,
		.envid = "QQ314159",
		.recipient_count = recipients,
	};

	e.recipients = text_must(talloc_zero_array(owner, const char *, (unsigned)recipients + 1));
	for (size_t i = 0; i < recipients; i++)
		e.recipients[i] = text_must(talloc_asprintf(e.recipients, "r%zu@a.test", i));
	e.notify = text_must(talloc_zero_array(e.recipients, unsigned, (unsigned)recipients + 1));
	e.orcpt = text_must(talloc_zero_array(e.recipients, const char *, (unsigned)recipients + 1));
	for (size_t i = 0; i < recipients; i++) {
		e.notify[i] = (unsigned)i % 16;
		e.orcpt[i] = i % 2 == 0 ? "" : "rfc822;Bob+2B";
	}
	return e;
}

static void same(const struct envelope *a, const struct envelope *b)
{
	assert_true(a->received_ms == b->received_ms);
	assert_string_equal(a->icid, b->icid);
	assert_string_equal(a->client, b->client);
	assert_string_equal(a->helo, b->helo);
	assert_string_equal(a->tls, b->tls);
	assert_string_equal(a->sender, b->sender);
	assert_int_equal(a->recipient_count, b->recipient_count);
	assert_int_equal(a->eight_bit, b->eight_bit);
	assert_int_equal(a->utf8, b->utf8);
	assert_int_equal(a->ret, b->ret);
	assert_string_equal(a->envid, b->envid);
	for (size_t i = 0; i < a->recipient_count; i++) {
		assert_string_equal(a->recipients[i], b->recipients[i]);
		assert_int_equal(a->notify[i], b->notify[i]);
		assert_string_equal(a->orcpt[i], b->orcpt[i]);
	}
}

static void test_envelopes_of_any_number_of_recipients_go_there_and_back(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 100, ENVELOPE_RECIPIENTS_MAX };

	(void)state;
	for (size_t i = 0; i < COUNT(counts); i++) {
		struct frame *frame = frame_new(NULL, FRAME_COMMIT);
		struct envelope in = sample(frame, counts[i]), out;

		envelope_put(frame, &in);
		envelope_get(frame, frame, &out);
		assert_int_equal(frame_done(frame), 0);
		same(&in, &out);
		talloc_free(frame);
	}
}

static void test_more_recipients_than_the_limit_are_refused_before_any_room_is_made(void **state)
{
	static const int64_t counts[] = { ENVELOPE_RECIPIENTS_MAX + 1, -1, INT64_MAX, INT64_MIN };

	(void)state;
	for (size_t i = 0; i < COUNT(counts); i++) {
		struct frame *frame = frame_new(NULL, FRAME_COMMIT);
		struct envelope out;

		frame_put_number(frame, 0);
		for (int n = 0; n < 5; n++)
			frame_put_text(frame, TEXT(""));
		frame_put_number(frame, counts[i]);
		envelope_get(frame, frame, &out);
		assert_int_equal(frame_done(frame), ERR_FORMAT);
		assert_int_equal(out.recipient_count, 0);
		talloc_free(frame);
	}
}

static struct frame *commit_frame(bool in_file)
{
	struct frame *frame = frame_new(NULL, FRAME_COMMIT);
	struct envelope in = sample(frame, 3);
	struct content content = { .bytes = TEXT("a\0b"), .fd = -1, .size = 3 };

	if (in_file)
		content = (struct content){
			.bytes = TEXT(""), .fd = memfd_create("x", MFD_CLOEXEC), .size = 7
		};
	envelope_put(frame, &in);
	envelope_put_content(frame, &content);
	base_close(&content.fd);
	return frame;
}

static void test_content_in_memory_and_in_a_file(void **state)
{
	(void)state;
	for (int in_file = 0; in_file < 2; in_file++) {
		struct frame *frame = commit_frame(in_file);
		struct envelope envelope;
		struct content content;

		assert_int_equal(queue_commit_take(frame, &envelope, &content), 0);
		assert_int_equal(content.fd >= 0, in_file);
		assert_int_equal(content.size, in_file ? 7 : 3);
		if (!in_file)
			assert_true(text_equal(content.bytes, TEXT("a\0b")));
		base_close(&content.fd);
		talloc_free(frame);
	}
}

static void test_a_size_that_is_not_the_bytes_is_refused(void **state)
{
	struct frame *frame = frame_new(NULL, FRAME_COMMIT);
	struct content content = { .bytes = TEXT("abc"), .fd = -1, .size = 4 };

	(void)state;
	envelope_put_content(frame, &content);
	envelope_get_content(frame, &content);
	assert_int_equal(frame_done(frame), ERR_FORMAT);
	talloc_free(frame);
}

static struct frame *lease_frame(bool in_file)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);
	struct lease lease = { .mid = 9,
		.destination = "mx.test",
		.domain = "a.test",
		.envelope = sample(frame, 2),
		.rids = (int64_t[]){ 3, 8 },
		.attempts = 4,
		.content = { .bytes = TEXT("a\0b"), .fd = -1, .size = 3 } };

	if (in_file)
		lease.content = (struct content){
			.bytes = TEXT(""), .fd = memfd_create("x", MFD_CLOEXEC), .size = 7
		};
	envelope_put_lease(frame, &lease);
	base_close(&lease.content.fd);
	return frame;
}

static void test_leases_go_there_and_back(void **state)
{
	(void)state;
	for (int in_file = 0; in_file < 2; in_file++) {
		struct frame *frame = lease_frame(in_file);
		struct lease *lease = envelope_get_lease(frame, NULL);
		struct envelope want = sample(frame, 2);

		assert_non_null(lease);
		assert_int_equal(lease->mid, 9);
		assert_string_equal(lease->destination, "mx.test");
		assert_string_equal(lease->domain, "a.test");
		assert_int_equal(lease->attempts, 4);
		assert_int_equal(lease->rids[0], 3);
		assert_int_equal(lease->rids[1], 8);
		same(&lease->envelope, &want);
		talloc_free(frame); /* the lease borrows nothing */
		if (!in_file)
			assert_true(text_equal(lease->content.bytes, TEXT("a\0b")));
		int fd = lease->content.fd;
		talloc_free(lease);
		if (in_file)
			assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
}

static struct frame *outcome_frame(bool with_report)
{
	struct frame *frame = frame_new(NULL, FRAME_RECORD);
	struct outcome_recipient recipients[] = { { 1, OUTCOME_DELIVERED, "250 ok", 1 },
		{ 2, OUTCOME_DEFERRED, "450 later", 0 }, { 5, OUTCOME_BOUNCED, "550 no", 2 } };
	struct outcome_leg legs[] = { { "2-7", "a.mx.test", "192.0.2.7:25", "{1}" },
		{ "2-8", "b.mx.test", "192.0.2.8:25", "{2}" } };
	struct envelope report = sample(frame, 1);
	struct outcome outcome = { .mid = 9,
		.domain = "a.test",
		.attempt = 2,
		.time_ms = 1700000000123,
		.dcid = "2-1",
		.host = "mx.test",
		.address = "192.0.2.9:25",
		.tls = "{}",
		.legs = legs,
		.leg_count = COUNT(legs),
		.unreachable = true,
		.recipients = recipients,
		.recipient_count = COUNT(recipients),
		.dsn = with_report ? &report : NULL,
		.dsn_content = with_report ? TEXT("re\0port") : TEXT("") };

	envelope_put_outcome(frame, &outcome);
	return frame;
}

static void test_outcomes_go_there_and_back(void **state)
{
	(void)state;
	for (int with_report = 0; with_report < 2; with_report++) {
		struct frame *frame = outcome_frame(with_report);
		struct outcome *outcome = envelope_get_outcome(frame, frame);

		assert_non_null(outcome);
		assert_int_equal(outcome->mid, 9);
		assert_string_equal(outcome->domain, "a.test");
		assert_int_equal(outcome->attempt, 2);
		assert_true(outcome->time_ms == 1700000000123);
		assert_string_equal(outcome->dcid, "2-1");
		assert_string_equal(outcome->host, "mx.test");
		assert_string_equal(outcome->address, "192.0.2.9:25");
		assert_string_equal(outcome->tls, "{}");
		assert_true(outcome->unreachable);
		assert_int_equal(outcome->recipient_count, 3);
		assert_int_equal(outcome->recipients[2].rid, 5);
		assert_int_equal(outcome->recipients[1].state, OUTCOME_DEFERRED);
		assert_int_equal(outcome->recipients[2].state, OUTCOME_BOUNCED);
		assert_string_equal(outcome->recipients[1].reply, "450 later");
		assert_string_equal(envelope_leg(outcome, 0).host, "a.mx.test");
		assert_string_equal(envelope_leg(outcome, 0).dcid, "2-7");
		assert_string_equal(envelope_leg(outcome, 1).host, "mx.test");
		assert_string_equal(envelope_leg(outcome, 1).tls, "{}");
		assert_string_equal(envelope_leg(outcome, 2).address, "192.0.2.8:25");
		assert_string_equal(envelope_leg(outcome, 2).tls, "{2}");
		assert_int_equal(outcome->dsn != NULL, with_report);
		if (with_report)
			assert_true(text_equal(outcome->dsn_content, TEXT("re\0port")));
		talloc_free(frame);
	}
}

/* A reader of each kind: true when it took the frame. */
static bool take(struct frame *frame, int kind)
{
	struct envelope envelope;
	struct content content;
	struct lease *lease;

	switch (kind) {
	case 0:
		if (queue_commit_take(frame, &envelope, &content) < 0)
			return false;
		base_close(&content.fd);
		return true;
	case 1:
		lease = envelope_get_lease(frame, NULL);
		talloc_free(lease);
		return lease != NULL;
	default:
		return envelope_get_outcome(frame, frame) != NULL;
	}
}

static struct frame *frame_of(int kind, bool variant)
{
	return kind == 0 ? commit_frame(variant) : kind == 1 ? lease_frame(variant) : outcome_frame(variant);
}

static unsigned open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void test_a_frame_cut_at_any_byte_gives_nothing(void **state)
{
	unsigned before = open_fds();

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		for (int variant = 0; variant < 2; variant++) {
			struct frame *whole = frame_of(kind, variant);
			size_t len = whole->len;

			assert_true(take(whole, kind));
			talloc_free(whole);
			for (size_t cut = 0; cut < len; cut++) {
				struct frame *frame = frame_of(kind, variant);

				frame->len = cut;
				assert_false(take(frame, kind));
				talloc_free(frame);
			}
		}
	}
	assert_int_equal(open_fds(), before);
}

/* The sanitizer watches; a frame is either taken or not, and no descriptor stays. */
static void test_any_flipped_bit_is_harmless(void **state)
{
	unsigned before = open_fds();

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		for (int variant = 0; variant < 2; variant++) {
			struct frame *whole = frame_of(kind, variant);
			size_t bits = whole->len * 8;

			talloc_free(whole);
			for (size_t bit = 0; bit < bits; bit++) {
				struct frame *frame = frame_of(kind, variant);

				frame->at[bit / 8] ^= (uint8_t)(1 << bit % 8);
				(void)take(frame, kind);
				talloc_free(frame);
			}
		}
	}
	assert_int_equal(open_fds(), before);
}

static void test_domains(void **state)
{
	static const struct {
		const char *address, *domain;
	} cases[] = { { "a@b.test", "b.test" }, { "\"a@b\"@c.test", "c.test" }, { "a@", "" } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_true(text_equal(envelope_domain(cases[i].address), text_of(cases[i].domain)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelopes_of_any_number_of_recipients_go_there_and_back),
		cmocka_unit_test(test_more_recipients_than_the_limit_are_refused_before_any_room_is_made),
		cmocka_unit_test(test_content_in_memory_and_in_a_file),
		cmocka_unit_test(test_a_size_that_is_not_the_bytes_is_refused),
		cmocka_unit_test(test_leases_go_there_and_back),
		cmocka_unit_test(test_outcomes_go_there_and_back),
		cmocka_unit_test(test_a_frame_cut_at_any_byte_gives_nothing),
		cmocka_unit_test(test_any_flipped_bit_is_harmless),
		cmocka_unit_test(test_domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
