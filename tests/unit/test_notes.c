/* Notes never slow a session down: above 1,000 in a second they are dropped and counted (report/notes.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "report/metrics.h"
#include "report/notes.h"

/* What stands for role `queue`: counts the notes it is given. */
struct receiver {
	int control_fd;
	int64_t received, largest;
};

static void serve_channel(struct receiver *receiver, int fd)
{
	struct frame *ask;

	while (channel_receive(NULL, fd, -1, IO_FOREVER, &ask) == 0) {
		int64_t count = frame_get_number(ask);
		struct frame *answer = frame_new(ask, FRAME_ANSWER);

		receiver->received += count;
		receiver->largest = MAX(receiver->largest, count);
		frame_put_number(answer, 0);
		channel_send(fd, answer, IO_FOREVER);
		talloc_free(ask);
	}
	close(fd);
}

static void *receiver_run(void *argument)
{
	struct receiver *receiver = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(NULL, receiver->control_fd, -1, &frame)) > 0)
		serve_channel(receiver, fd);
	return NULL;
}

static void test_notes_above_the_limit_are_dropped_and_counted(void **state)
{
	const int64_t sent = 3000;
	struct metrics metrics = { 0 };
	struct receiver receiver = { 0 };
	pthread_t thread;
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	receiver.control_fd = fds[1];
	pthread_create(&thread, NULL, receiver_run, &receiver);
	struct peer *peer = peer_new(NULL, 1);
	peer_connect(peer, fds[0]);

	struct notes *notes = notes_start(peer, &metrics);
	for (int64_t i = 0; i < sent; i++)
		notes_add(notes,
			&(struct store_refusal){ .icid = "1-1", .reply = "550 5.7.1 relaying denied" });
	notes_stop(notes);
	talloc_free(peer);
	pthread_join(thread, NULL);
	close(fds[1]);

	int64_t dropped = metrics.values[METRIC_NOTES_DROPPED];
	assert_true(receiver.largest <= 1000);
	assert_true(dropped > 0);
	assert_int_equal(receiver.received + dropped, sent);
}

static void test_notes_without_a_queue_are_counted_as_dropped(void **state)
{
	struct metrics metrics = { 0 };
	struct peer *peer = peer_new(NULL, 1);
	struct notes *notes = notes_start(peer, &metrics);

	(void)state;
	notes_add(notes, &(struct store_refusal){ .icid = "1-1" });
	notes_stop(notes);
	talloc_free(peer);
	assert_int_equal(metrics.values[METRIC_NOTES_DROPPED], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notes_above_the_limit_are_dropped_and_counted),
		cmocka_unit_test(test_notes_without_a_queue_are_counted_as_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
