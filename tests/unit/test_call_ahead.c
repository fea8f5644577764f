/* What is remembered of next hops. Role `deliver` is played by a thread that gives its answers in turn and keeps the questions. */
#include "session/call_ahead.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/io.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "test_help.h"

enum { HOUR_MS = 3600000 };

/* Role deliver, and who asks it. */
struct rig {
	pthread_t thread;
	int control_fd, stop_fd;
	const enum recipient_answer *answers;
	char *asked; /* "icid recipient;" of each question */
	struct peer *peer;
	struct call_ahead *call_ahead;
};

static void *deliver_run(void *argument)
{
	struct rig *rig = argument;
	struct frame *ask;
	int fd = peer_accept(rig, rig->control_fd, rig->stop_fd, &ask);

	while (fd > 0 && channel_receive(rig, fd, rig->stop_fd, IO_FOREVER, &ask) == 0) {
		struct frame *answer = frame_new(ask, FRAME_ANSWER);
		char *icid = frame_get_copy(ask, ask), *recipient = frame_get_copy(ask, ask);

		assert_int_equal(frame_done(ask), 0);
		rig->asked = text_must(talloc_asprintf_append(rig->asked, "%s %s;", icid, recipient));
		frame_put_number(answer, *rig->answers++);
		channel_send(fd, answer, clock_mono_ms() + 10000);
		talloc_free(ask);
	}
	close(fd);
	return NULL;
}

static struct rig *rig_new(const enum recipient_answer *answers)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	int fds[2];

	rig->answers = answers;
	rig->asked = text_copy(rig, TEXT(""));
	rig->stop_fd = eventfd(0, EFD_CLOEXEC);
	rig->peer = peer_new(NULL, 4);
	assert_int_equal(channel_pair(fds), 0);
	peer_connect(rig->peer, fds[0]);
	rig->control_fd = fds[1];
	rig->call_ahead = call_ahead_new(NULL, rig->peer);
	assert_int_equal(pthread_create(&rig->thread, NULL, deliver_run, rig), 0);
	return rig;
}

/* The end of `deliver`; what it was asked must be `want`. */
static void rig_free(struct rig *rig, const char *want)
{
	eventfd_write(rig->stop_fd, 1);
	pthread_join(rig->thread, NULL);
	assert_string_equal(rig->asked, want);
	talloc_free(rig->call_ahead);
	talloc_free(rig->peer);
	close(rig->control_fd);
	close(rig->stop_fd);
	talloc_free(rig);
}

static enum recipient_answer ask(struct rig *rig, const char *icid, const char *recipient, int64_t cache_ms)
{
	return call_ahead_ask(rig->call_ahead, icid, recipient, cache_ms, rig->stop_fd);
}

static void test_yes_and_no_are_remembered_whatever_the_case(void **state)
{
	static const enum recipient_answer answers[] = { RECIPIENT_YES, RECIPIENT_NO };
	struct rig *rig = rig_new(answers);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(rig, "1-1", "Bob@good.test", HOUR_MS), RECIPIENT_YES);
		assert_int_equal(ask(rig, "1-2", "gone@good.test", HOUR_MS), RECIPIENT_NO);
		assert_int_equal(ask(rig, "1-3", "bob@GOOD.test", HOUR_MS), RECIPIENT_YES);
	}
	rig_free(rig, "1-1 Bob@good.test;1-2 gone@good.test;");
}

static void test_everything_else_is_asked_again(void **state)
{
	static const enum recipient_answer answers[] = { RECIPIENT_LATER, RECIPIENT_FULL, RECIPIENT_REFUSED,
		RECIPIENT_YES };
	struct rig *rig = rig_new(answers);

	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++)
		assert_int_equal(ask(rig, "1", "a@b", HOUR_MS), answers[i]);
	assert_int_equal(ask(rig, "1", "a@b", HOUR_MS), RECIPIENT_YES);
	rig_free(rig, "1 a@b;1 a@b;1 a@b;1 a@b;");
}

static void test_an_old_answer_is_asked_for_again(void **state)
{
	static const enum recipient_answer answers[] = { RECIPIENT_NO, RECIPIENT_YES };
	struct rig *rig = rig_new(answers);

	(void)state;
	assert_int_equal(ask(rig, "1", "a@b", HOUR_MS), RECIPIENT_NO);
	assert_int_equal(ask(rig, "2", "a@b", -1), RECIPIENT_YES); /* nothing is young enough */
	assert_int_equal(ask(rig, "3", "a@b", HOUR_MS), RECIPIENT_YES);
	rig_free(rig, "1 a@b;2 a@b;");
}

static void test_nonsense_and_silence_mean_later(void **state)
{
	static const enum recipient_answer answers[] = { (enum recipient_answer)99 };
	struct rig *rig = rig_new(answers);

	(void)state;
	assert_int_equal(ask(rig, "1", "a@b", HOUR_MS), RECIPIENT_LATER);
	peer_connect(rig->peer, -1);
	assert_int_equal(ask(rig, "1", "a@b", HOUR_MS), RECIPIENT_LATER);
	rig_free(rig, "1 a@b;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_yes_and_no_are_remembered_whatever_the_case),
		cmocka_unit_test(test_everything_else_is_asked_again),
		cmocka_unit_test(test_an_old_answer_is_asked_for_again),
		cmocka_unit_test(test_nonsense_and_silence_mean_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
