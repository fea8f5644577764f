/* Asking role `upkeep` for the status of a certificate (pki/ocsp_ask.c): it is not believed. And what the answer makes of a verdict (pki/verify.c). */
#include "pki/ocsp_ask.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "ocsp_answers.h"
#include "pki/trust.h"
#include "pki/verify.h"

static struct certificates made;
static const struct certificate *root, *leaf;

/* An `upkeep` of one thread, which is asked once at most. */
struct fake {
	int control_fd;
	struct frame *answer; /* NULL: the channel is closed */
	bool asked, understood;
};

static void *fake_run(void *argument)
{
	struct fake *fake = argument;
	struct frame *frame;
	int fd = peer_accept(NULL, fake->control_fd, -1, &frame);

	if (fd > 0 && channel_receive(NULL, fd, -1, clock_mono_ms() + 30000, &frame) == 0) {
		const struct ocsp_subject *subject = ocsp_ask_read(frame, frame);

		fake->asked = true;
		fake->understood = subject != NULL && X509_cmp(subject->certificate, leaf->x509) == 0 &&
				   X509_cmp(subject->issuer, root->x509) == 0;
		if (fake->answer != NULL)
			channel_send(fd, fake->answer, clock_mono_ms() + 30000);
		talloc_free(frame);
	}
	base_close(&fd);
	return NULL;
}

static struct ocsp_answer ask_about(
	const struct certificate *certificate, struct peer *peer, int stop_fd, int64_t ms)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct ocsp_answer answer;

	sk_X509_push(chain, certificate->x509);
	ocsp_ask(peer, chain, root->x509, stop_fd, clock_mono_ms() + ms, &answer);
	sk_X509_free(chain);
	return answer;
}

static struct ocsp_answer ask(struct frame *answer)
{
	struct peer *peer = peer_new(NULL, 1);
	struct fake fake = { .answer = answer };
	pthread_t thread;
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	fake.control_fd = fds[1];
	peer_connect(peer, fds[0]);
	assert_int_equal(pthread_create(&thread, NULL, fake_run, &fake), 0);
	struct ocsp_answer got = ask_about(leaf, peer, -1, 30000);
	pthread_join(thread, NULL);
	assert_true(fake.asked && fake.understood);
	talloc_free(peer);
	close(fds[1]);
	talloc_free(answer);
	return got;
}

/* From the real now on, which ocsp_ask() judges by. */
static struct text response(int status, const struct certificate *about, const struct certificate *signer)
{
	int now = (int)((clock_wall_ms() / 1000 - CERTIFICATES_NOW) / 60);

	return ocsp_answers_make(made.scratch, (struct answer_plan){ .signer = signer,
						       .entries = { { .about = about,
							       .issuer = root,
							       .status = status,
							       .from_minutes = now - 60,
							       .to_minutes = now + 60 } } });
}

static void test_an_answer_is_judged_by_who_asked(void **state)
{
	const struct certificate *other =
		certificates_make(&made, (struct certificate_plan){ .cn = "o", .issuer = root });
	const struct certificate *strange = certificates_authority(&made, "root", NULL);
	const struct {
		struct text response;
		const char *why;
		enum ocsp_finding finding;
		const char *reason;
	} rows[] = {
		{ response(V_OCSP_CERTSTATUS_GOOD, leaf, root), "", OCSP_GOOD, "" },
		{ response(V_OCSP_CERTSTATUS_GOOD, leaf, root), "whatever", OCSP_GOOD, "" },
		{ response(V_OCSP_CERTSTATUS_REVOKED, leaf, root), "", OCSP_REVOKED, "revoked since" },
		{ response(V_OCSP_CERTSTATUS_UNKNOWN, leaf, root), "", OCSP_UNKNOWN, "" },
		{ response(V_OCSP_CERTSTATUS_GOOD, other, root), "", OCSP_NO_ANSWER,
			"not about this certificate" },
		{ response(V_OCSP_CERTSTATUS_GOOD, leaf, strange), "", OCSP_NO_ANSWER, "" },
		{ TEXT("good"), "", OCSP_NO_ANSWER, "no OCSP response" },
		{ TEXT(""), "it is raining", OCSP_NO_ANSWER, "it is raining" },
		{ TEXT(""), "a\nb\x1b\xff", OCSP_NO_ANSWER, "a?b??" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ocsp_answer answer = ask(ocsp_ask_answer(NULL, rows[i].response, rows[i].why));

		if (answer.finding != rows[i].finding || strstr(answer.reason, rows[i].reason) == NULL)
			fail_msg("row %zu: %s, %s", i, ocsp_word(answer.finding), answer.reason);
	}
}

static void test_every_way_not_to_answer_is_no_answer(void **state)
{
	struct frame *half = frame_new(NULL, FRAME_ANSWER), *more = ocsp_ask_answer(NULL, TEXT(""), "");
	int stop_fd = eventfd(1, 0);
	struct peer *peer = peer_new(NULL, 1);
	int fds[2];

	(void)state;
	frame_put_text(half, TEXT(""));
	frame_put_number(more, 1);
	assert_string_equal(ask(half).reason, "role upkeep answered nonsense");
	assert_string_equal(ask(more).reason, "role upkeep answered nonsense");
	struct ocsp_answer answer = ask(NULL);
	assert_int_equal(answer.finding, OCSP_NO_ANSWER);
	assert_string_equal(answer.reason, "role upkeep is not there");
	assert_string_equal(ask_about(leaf, NULL, -1, 30000).reason, "role upkeep is not there");
	/* nobody reads */
	assert_int_equal(channel_pair(fds), 0);
	peer_connect(peer, fds[0]);
	assert_string_equal(ask_about(leaf, peer, -1, 50).reason, "no answer came in time");
	assert_int_equal(ask_about(leaf, peer, stop_fd, 30000).finding, OCSP_NO_ANSWER);
	talloc_free(peer);
	close(fds[1]);
	close(stop_fd);
}

static void test_7_37_7_41_nobody_is_asked_without_need(void **state)
{
	const struct certificate *plain =
		certificates_make(&made, (struct certificate_plan){ .cn = "p", .issuer = root });
	const struct certificate *never = certificates_make(
		&made, (struct certificate_plan){ .cn = "n", .no_revocation = true, .issuer = root });

	(void)state;
	assert_int_equal(ask_about(plain, NULL, -1, 30000).finding, OCSP_NO_RESPONDER);
	assert_int_equal(ask_about(never, NULL, -1, 30000).finding, OCSP_NOT_NEEDED);
}

static void test_malformed_asks(void **state)
{
	unsigned char *der = NULL;
	size_t len = (size_t)i2d_X509(leaf->x509, &der);
	const struct text whole = { (char *)der, len };
	const struct {
		struct text first, second;
		bool more, fine;
	} rows[] = {
		{ whole, whole, false, true },
		{ whole, whole, true, false },
		{ whole, TEXT(""), false, false },
		{ TEXT("x"), whole, false, false },
		{ text_first(whole, len - 1), whole, false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct frame *frame = frame_new(NULL, FRAME_OCSP);

		frame_put_text(frame, rows[i].first);
		frame_put_text(frame, rows[i].second);
		frame_put_bool(frame, true);
		if (rows[i].more)
			frame_put_number(frame, 0);
		assert_int_equal(ocsp_ask_read(frame, frame) != NULL, rows[i].fine);
		talloc_free(frame);
	}
	OPENSSL_free(der);
}

/* In pki/verify.c */

static struct verify_verdict verify(
	enum ocsp_mode mode, const struct ocsp_answer *answer, bool anchor, X509 **ret_issuer)
{
	struct trust *trust = trust_new(made.scratch);
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct verify_facts facts = {
		.chain = chain, .trust = trust, .now_ms = (int64_t)CERTIFICATES_NOW * 1000, .ocsp = mode
	};
	struct verify_verdict verdict;

	trust_add(trust, anchor ? leaf->pem : root->pem);
	sk_X509_push(chain, leaf->x509);
	verify_peer_of(&facts, &verdict, ret_issuer);
	assert_int_equal((verdict.unchecked & VERIFY_OCSP) != 0, mode != OCSP_OFF);
	verify_add_ocsp(&facts, answer, &verdict);
	sk_X509_free(chain);
	return verdict;
}

static void test_E41_what_an_answer_makes_of_a_verdict(void **state)
{
	for (int mode = 0; mode < OCSP_MODE_COUNT; mode++)
		for (int finding = 0; finding < OCSP_FINDING_COUNT; finding++) {
			const struct ocsp_answer answer = { .finding = (enum ocsp_finding)finding,
				.reason = "so" };
			struct ocsp_decision decision = ocsp_decide(answer.finding, (enum ocsp_mode)mode);
			X509 *issuer;
			struct verify_verdict verdict = verify((enum ocsp_mode)mode, &answer, false, &issuer);

			(void)state;
			assert_int_equal(X509_cmp(issuer, root->x509), 0);
			verify_issuer_free(issuer);
			assert_int_equal(verdict.result, decision.refused ? VERIFY_NOT_TRUSTED : VERIFY_FINE);
			assert_int_equal(
				(verdict.checked & VERIFY_OCSP) != 0, decision.checked && !decision.refused);
			assert_int_equal((verdict.unchecked & VERIFY_OCSP) != 0,
				mode != OCSP_OFF && (decision.refused || !decision.checked));
			assert_int_equal(verdict.reason[0] != '\0', (verdict.unchecked & VERIFY_OCSP) != 0);
			if (verdict.reason[0] != '\0')
				assert_true(strstr(verdict.reason, decision.reason) == verdict.reason &&
					    strstr(verdict.reason, ": so") != NULL);
		}
}

static void test_the_issuer_is_only_that_of_a_verified_path(void **state)
{
	struct verify_verdict verdict;
	X509 *issuer;

	(void)state;
	verdict = verify(OCSP_STRICT, NULL, true, &issuer);
	assert_null(issuer);
	assert_int_equal(verdict.result, VERIFY_FINE);
	assert_true((verdict.checked & VERIFY_OCSP) != 0);

	struct verify_facts facts = { .now_ms = (int64_t)CERTIFICATES_NOW * 1000, .ocsp = OCSP_STRICT };
	const struct ocsp_answer answer = { .finding = OCSP_GOOD };
	STACK_OF(X509) *chain = sk_X509_new_null();
	sk_X509_push(chain, leaf->x509);
	facts.chain = chain;
	verify_peer_of(&facts, &verdict, &issuer);
	assert_null(issuer);
	verify_add_ocsp(&facts, &answer, &verdict);
	assert_int_equal(verdict.result, VERIFY_NOT_TRUSTED);
	assert_true((verdict.unchecked & VERIFY_OCSP) != 0);
	sk_X509_free(chain);
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	root = certificates_authority(&made, "root", NULL);
	leaf = certificates_make(
		&made, (struct certificate_plan){
			       .cn = "leaf", .issuer = root, .info = "OCSP;URI:http://ocsp.test/" });
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	certificates_free(&made);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_answer_is_judged_by_who_asked),
		TEST(test_every_way_not_to_answer_is_no_answer),
		TEST(test_7_37_7_41_nobody_is_asked_without_need),
		TEST(test_malformed_asks),
		TEST(test_E41_what_an_answer_makes_of_a_verdict),
		TEST(test_the_issuer_is_only_that_of_a_verified_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
