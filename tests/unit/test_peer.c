/* Channels and the pool of them: frames of every size, what a hostile end may send, and asks from many threads. */
#include "ipc/peer.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

static int64_t soon(void)
{
	return clock_mono_ms() + 30000;
}

static int receive(int fd, struct frame **ret_frame)
{
	return channel_receive(NULL, fd, -1, soon(), ret_frame);
}

/* Channels. */

static void test_a_frame_of_any_size_arrives_as_it_was_sent(void **state)
{
	/* Around the border between datagram and memfd; the text has a length of four bytes. */
	static const size_t sizes[] = { 0, 1, 1000, FRAME_INLINE_MAX - 5, FRAME_INLINE_MAX - 4,
		FRAME_INLINE_MAX - 3, FRAME_INLINE_MAX, 1000000 };
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct frame *sent = frame_new(NULL, FRAME_TRACK), *got;
		char *bytes = text_must(malloc(sizes[i] + 1));

		for (size_t n = 0; n < sizes[i]; n++)
			bytes[n] = (char)(n * 7);
		frame_put_text(sent, (struct text){ bytes, sizes[i] });
		assert_int_equal(channel_send(fds[0], sent, soon()), 0);
		assert_int_equal(receive(fds[1], &got), 0);
		assert_int_equal(got->kind, FRAME_TRACK);
		assert_int_equal(got->mapped > 0, sizes[i] + 4 > FRAME_INLINE_MAX);
		assert_true(text_equal(frame_get_text(got), (struct text){ bytes, sizes[i] }));
		assert_int_equal(frame_done(got), 0);
		talloc_free(sent);
		talloc_free(got);
		free(bytes);
	}
	close(fds[0]);
	close(fds[1]);
}

/* The room for a frame is that of all that wait. */
static void test_frames_that_wait_together_arrive_one_by_one(void **state)
{
	static const size_t sizes[] = { 5, 0, 30000, 1, FRAME_INLINE_MAX + 1, 0, 700 };
	static const char bytes[FRAME_INLINE_MAX + 1] = { 'x' };
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct frame *frame = frame_new(NULL, FRAME_ANSWER);

		if (sizes[i] > 0)
			frame_put_text(frame, (struct text){ bytes, sizes[i] });
		assert_int_equal(channel_send(fds[0], frame, clock_mono_ms() + 1000), 0);
		talloc_free(frame);
	}
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct frame *got;

		assert_int_equal(channel_receive(NULL, fds[1], -1, clock_mono_ms() + 1000, &got), 0);
		if (sizes[i] > 0)
			assert_int_equal(frame_get_text(got).len, sizes[i]);
		assert_int_equal(frame_done(got), 0);
		talloc_free(got);
	}
	close(fds[0]);
	close(fds[1]);
}

static void test_an_empty_frame_arrives(void **state)
{
	struct frame *sent = frame_new(NULL, FRAME_STOP), *got;
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	assert_int_equal(channel_send(fds[0], sent, soon()), 0);
	assert_int_equal(receive(fds[1], &got), 0);
	assert_int_equal(got->kind, FRAME_STOP);
	assert_int_equal(frame_done(got), 0);
	talloc_free(sent);
	talloc_free(got);
	close(fds[0]);
	close(fds[1]);
}

static void test_descriptors_travel_in_order_with_and_without_a_memfd(void **state)
{
	static char large[FRAME_INLINE_MAX];

	(void)state;
	for (int in_memfd = 0; in_memfd < 2; in_memfd++) {
		for (unsigned count = 1; count <= FRAME_FDS_MAX; count += FRAME_FDS_MAX - 1) {
			struct frame *sent = frame_new(NULL, FRAME_GENERATION), *got;
			int fds[2];

			assert_int_equal(channel_pair(fds), 0);
			if (in_memfd)
				frame_put_text(sent, (struct text){ large, sizeof large });
			for (unsigned i = 0; i < count; i++) {
				int fd = memfd_create("x", MFD_CLOEXEC);

				assert_int_equal(ftruncate(fd, i), 0);
				frame_put_fd(sent, fd);
			}
			assert_int_equal(channel_send(fds[0], sent, soon()), 0);
			talloc_free(sent);
			assert_int_equal(receive(fds[1], &got), 0);
			if (in_memfd)
				assert_int_equal(frame_get_text(got).len, sizeof large);
			for (unsigned i = 0; i < count; i++) {
				int fd = frame_get_fd(got);

				assert_int_equal(lseek(fd, 0, SEEK_END), i);
				assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
				close(fd);
			}
			assert_int_equal(frame_done(got), 0);
			talloc_free(got);
			close(fds[0]);
			close(fds[1]);
		}
	}
}

struct raw {
	uint16_t kind, in_memfd;
	uint32_t len;
};

/* Send bytes and perhaps a descriptor as a hostile end would; what the receiver says. */
static int hostile(const void *bytes, size_t len, int pass)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} ancillary = { 0 };
	struct iovec part = { (void *)(uintptr_t)bytes, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct frame *got = NULL;
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	if (pass >= 0) {
		message.msg_control = ancillary.bytes;
		message.msg_controllen = sizeof ancillary.bytes;
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		*head = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))
		};
		memcpy(CMSG_DATA(head), &pass, sizeof pass);
	}
	assert_true(sendmsg(fds[0], &message, 0) >= 0);
	int r = receive(fds[1], &got);
	if (r == 0)
		talloc_free(got);
	close(fds[0]);
	close(fds[1]);
	return r;
}

static void test_malformed_datagrams_are_refused(void **state)
{
	static const struct {
		const char *name;
		struct raw raw;
		size_t len;
		int want;
	} cases[] = {
		{ "a good one", { FRAME_ANSWER, 0, 0 }, sizeof(struct raw), 0 },
		{ "the last kind", { FRAME_KIND_END - 1, 0, 0 }, sizeof(struct raw), 0 },
		{ "kind 0", { 0, 0, 0 }, sizeof(struct raw), ERR_FORMAT },
		{ "a kind behind the last", { FRAME_KIND_END, 0, 0 }, sizeof(struct raw), ERR_FORMAT },
		{ "kind 65535", { 65535, 0, 0 }, sizeof(struct raw), ERR_FORMAT },
		{ "a header that is cut", { FRAME_ANSWER, 0, 0 }, sizeof(struct raw) - 1, ERR_FORMAT },
		{ "one byte", { FRAME_ANSWER, 0, 0 }, 1, ERR_FORMAT },
		{ "a length without its body", { FRAME_ANSWER, 0, 1 }, sizeof(struct raw), ERR_FORMAT },
		{ "the largest length", { FRAME_ANSWER, 0, UINT32_MAX }, sizeof(struct raw), ERR_FORMAT },
		{ "a memfd that is not there", { FRAME_ANSWER, 1, 100000 }, sizeof(struct raw), ERR_FORMAT },
		{ "neither in a memfd nor not", { FRAME_ANSWER, 2, 0 }, sizeof(struct raw), ERR_FORMAT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (hostile(&cases[i].raw, cases[i].len, -1) != cases[i].want)
			fail_msg("%s", cases[i].name);
}

enum { ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static const struct {
	const char *name;
	int seals;
	off_t size;
	uint32_t said;
	int want;
} memfds[] = {
	{ "sealed", ALL_SEALS, 70000, 70000, 0 },
	{ "not sealed at all", 0, 70000, 70000, ERR_FORMAT },
	{ "not sealed against writing", ALL_SEALS & ~F_SEAL_WRITE, 70000, 70000, ERR_FORMAT },
	{ "not sealed against shrinking", ALL_SEALS & ~F_SEAL_SHRINK, 70000, 70000, ERR_FORMAT },
	{ "not sealed against growing", ALL_SEALS & ~F_SEAL_GROW, 70000, 70000, ERR_FORMAT },
	{ "shorter than it says", ALL_SEALS, 70000, 70001, ERR_FORMAT },
	{ "longer than it says", ALL_SEALS, 70000, 69999, ERR_FORMAT },
	{ "empty", ALL_SEALS, 0, 0, ERR_FORMAT },
	{ "over the limit", ALL_SEALS, FRAME_BODY_MAX + 1, FRAME_BODY_MAX + 1, ERR_FORMAT },
};

static void test_a_body_that_could_change_or_lies_about_its_size_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(memfds); i++) {
		const struct raw raw = { FRAME_ANSWER, 1, memfds[i].said };
		int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

		assert_int_equal(ftruncate(fd, memfds[i].size), 0);
		assert_int_equal(fcntl(fd, F_ADD_SEALS, memfds[i].seals), 0);
		if (hostile(&raw, sizeof raw, fd) != memfds[i].want)
			fail_msg("%s", memfds[i].name);
		close(fd);
	}

	const struct raw raw = { FRAME_ANSWER, 1, 5 };
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(hostile(&raw, sizeof raw, fd), ERR_FORMAT);
	close(fd);
}

static unsigned open_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void test_no_descriptor_of_a_refused_frame_stays_open(void **state)
{
	static const struct raw bad[] = { { 0, 0, 0 }, { FRAME_ANSWER, 0, 9 }, { FRAME_ANSWER, 1, 9 },
		{ FRAME_ANSWER, 2, 0 } };
	unsigned before = open_fds();

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		assert_int_equal(hostile(&bad[i], sizeof bad[i], fd), ERR_FORMAT);
		close(fd);
		assert_int_equal(open_fds(), before);
	}
}

/* An empty datagram looks like the end of the channel; the descriptor that came with it must not stay. */
static void test_no_descriptor_of_an_empty_datagram_stays_open(void **state)
{
	unsigned before = open_fds();
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_true(hostile("", 0, fd) < 0);
	close(fd);
	assert_int_equal(open_fds(), before);
}

static void test_waits_end_by_deadline_stop_or_the_end_of_the_other_side(void **state)
{
	struct frame *got = NULL, *sent = frame_new(NULL, FRAME_ANSWER);
	int stop = eventfd(0, EFD_CLOEXEC), fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	assert_int_equal(channel_receive(NULL, fds[0], stop, clock_mono_ms(), &got), -ETIMEDOUT);
	assert_int_equal(channel_receive(NULL, fds[0], stop, clock_mono_ms() - 5, &got), -ETIMEDOUT);
	eventfd_write(stop, 1);
	assert_int_equal(channel_receive(NULL, fds[0], stop, IO_FOREVER, &got), ERR_STOPPED);
	close(fds[1]);
	assert_int_equal(receive(fds[0], &got), ERR_CLOSED);
	assert_int_equal(channel_send(fds[0], sent, soon()), ERR_CLOSED);
	talloc_free(sent);
	close(fds[0]);
	close(stop);
}

static void test_a_full_channel_times_out(void **state)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);
	static char bytes[30000];
	int fds[2], r = 0;

	(void)state;
	frame_put_text(frame, (struct text){ bytes, sizeof bytes });
	assert_int_equal(channel_pair(fds), 0);
	for (int i = 0; r == 0 && i < 10000; i++)
		r = channel_send(fds[0], frame, clock_mono_ms());
	assert_int_equal(r, -ETIMEDOUT);
	talloc_free(frame);
	close(fds[0]);
	close(fds[1]);
}

static void test_a_frame_that_failed_is_not_sent(void **state)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	frame_put_fd(frame, -1);
	assert_int_equal(channel_send(fds[0], frame, soon()), ERR_FORMAT);
	talloc_free(frame);
	close(fds[0]);
	close(fds[1]);
}

/* The pool: a role that answers number + 1 on every channel, or dies, or is slow. */

enum { CHANNELS_MAX = 64 };

struct role {
	int control_fd, stop_fd;
	pthread_t thread, channels[CHANNELS_MAX];
	unsigned count;
	atomic_uint asks, at_once, most;
	atomic_bool dies; /* hang up instead of answering */
};

struct serving {
	struct role *role;
	int fd;
};

static void *serve(void *argument)
{
	struct serving *serving = argument;
	struct role *role = serving->role;
	struct frame *ask;

	while (channel_receive(NULL, serving->fd, role->stop_fd, IO_FOREVER, &ask) == 0) {
		struct frame *answer = frame_new(ask, FRAME_ANSWER);
		unsigned now = atomic_fetch_add(&role->at_once, 1) + 1, most = atomic_load(&role->most);

		while (now > most && !atomic_compare_exchange_weak(&role->most, &most, now))
			;
		atomic_fetch_add(&role->asks, 1);
		frame_put_number(answer, frame_get_number(ask) + 1);
		atomic_fetch_sub(&role->at_once, 1);
		int r = atomic_load(&role->dies) ? -1 : channel_send(serving->fd, answer, soon());
		talloc_free(ask);
		if (r < 0)
			break;
	}
	close(serving->fd);
	free(serving);
	return NULL;
}

static void *role_run(void *argument)
{
	struct role *role = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(NULL, role->control_fd, role->stop_fd, &frame)) > 0) {
		struct serving *serving = text_must(malloc(sizeof *serving));

		*serving = (struct serving){ role, fd };
		pthread_create(&role->channels[role->count++], NULL, serve, serving);
	}
	return NULL;
}

static struct role *role_start(struct peer *peer)
{
	struct role *role = text_must(calloc(1, sizeof *role));
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	role->control_fd = fds[1];
	role->stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_create(&role->thread, NULL, role_run, role);
	peer_connect(peer, fds[0]);
	return role;
}

static void role_end(struct role *role)
{
	eventfd_write(role->stop_fd, 1);
	pthread_join(role->thread, NULL);
	for (unsigned i = 0; i < role->count; i++)
		pthread_join(role->channels[i], NULL);
	close(role->control_fd);
	close(role->stop_fd);
	free(role);
}

/* Ask for number + 1. */
static int ask(struct peer *peer, int64_t number)
{
	struct frame *question = frame_new(NULL, FRAME_STATS), *answer;

	frame_put_number(question, number);
	int r = peer_ask(peer, question, question, -1, soon(), &answer);
	if (r == 0)
		r = frame_get_number(answer) == number + 1 && frame_done(answer) == 0 ? 0 : ERR_FORMAT;
	talloc_free(question);
	return r;
}

static void test_a_peer_that_is_not_there_is_closed(void **state)
{
	struct peer *peer = peer_new(NULL, 4);

	(void)state;
	assert_int_equal(ask(peer, 1), ERR_CLOSED);
	assert_int_equal(ask(peer, 1), ERR_CLOSED);
	talloc_free(peer);
}

static void test_one_channel_is_used_again_and_again(void **state)
{
	struct peer *peer = peer_new(NULL, 4);
	struct role *role = role_start(peer);

	(void)state;
	for (int64_t i = 0; i < 100; i++)
		assert_int_equal(ask(peer, i), 0);
	talloc_free(peer);
	unsigned asks = atomic_load(&role->asks), count = role->count;
	role_end(role);
	assert_int_equal(asks, 100);
	assert_int_equal(count, 1);
}

struct asker {
	struct peer *peer;
	int64_t start;
	atomic_uint *good, *bad;
};

static void *asker_run(void *argument)
{
	struct asker *asker = argument;

	for (int64_t i = 0; i < 200; i++)
		atomic_fetch_add(ask(asker->peer, asker->start + i) == 0 ? asker->good : asker->bad, 1);
	return NULL;
}

static void many_askers(
	struct peer *peer, atomic_uint *good, atomic_uint *bad, void (*meanwhile)(void *), void *context)
{
	pthread_t threads[16];
	struct asker askers[COUNT(threads)];

	for (size_t i = 0; i < COUNT(threads); i++) {
		askers[i] = (struct asker){ peer, (int64_t)i * 1000, good, bad };
		pthread_create(&threads[i], NULL, asker_run, &askers[i]);
	}
	if (meanwhile != NULL)
		meanwhile(context);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
}

static void test_many_threads_share_no_more_channels_than_the_limit(void **state)
{
	static const unsigned limits[] = { 1, 3, 64 };

	(void)state;
	for (size_t i = 0; i < COUNT(limits); i++) {
		struct peer *peer = peer_new(NULL, limits[i]);
		struct role *role = role_start(peer);
		atomic_uint good = 0, bad = 0;

		many_askers(peer, &good, &bad, NULL, NULL);
		talloc_free(peer);
		unsigned most = atomic_load(&role->most);
		assert_int_equal(atomic_load(&good), 16 * 200);
		assert_int_equal(atomic_load(&bad), 0);
		assert_true(most <= limits[i]);
		role_end(role);
	}
}

static void test_a_channel_that_broke_gives_its_place_back(void **state)
{
	struct peer *peer = peer_new(NULL, 1);
	struct role *role = role_start(peer);

	(void)state;
	atomic_store(&role->dies, true);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(peer, 1), ERR_CLOSED);
	atomic_store(&role->dies, false);
	assert_int_equal(ask(peer, 1), 0);
	talloc_free(peer);
	role_end(role);
}

static void test_a_peer_that_starts_again_is_asked_anew(void **state)
{
	struct peer *peer = peer_new(NULL, 2);
	struct role *role = role_start(peer);

	(void)state;
	assert_int_equal(ask(peer, 1), 0);
	role_end(role);
	assert_int_equal(ask(peer, 1), ERR_CLOSED);
	role = role_start(peer);
	assert_int_equal(ask(peer, 1), 0);
	peer_connect(peer, -1);
	assert_int_equal(ask(peer, 1), ERR_CLOSED);
	talloc_free(peer);
	role_end(role);
}

struct restarts {
	struct peer *peer;
	struct role *roles[20];
};

static void restart(void *context)
{
	struct restarts *restarts = context;

	for (size_t i = 1; i < COUNT(restarts->roles); i++) {
		restarts->roles[i] = role_start(restarts->peer);
		role_end(restarts->roles[i - 1]);
	}
}

static void test_restarts_under_load_lose_asks_but_no_channel(void **state)
{
	struct peer *peer = peer_new(NULL, 2);
	struct restarts restarts = { .peer = peer };
	atomic_uint good = 0, bad = 0;

	(void)state;
	restarts.roles[0] = role_start(peer);
	many_askers(peer, &good, &bad, restart, &restarts);
	assert_int_equal(atomic_load(&good) + atomic_load(&bad), 16 * 200);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask(peer, i), 0);
	talloc_free(peer);
	role_end(restarts.roles[COUNT(restarts.roles) - 1]);
}

static void test_waiting_for_an_answer_ends_by_deadline_and_by_stop(void **state)
{
	struct peer *peer = peer_new(NULL, 1);
	struct frame *question = frame_new(NULL, FRAME_STATS), *answer;
	int stop = eventfd(1, EFD_CLOEXEC), fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	peer_connect(peer, fds[0]); /* nobody serves the other end */
	assert_int_equal(peer_ask(peer, question, question, -1, clock_mono_ms() + 5, &answer), -ETIMEDOUT);
	assert_int_equal(peer_ask(peer, question, question, stop, soon(), &answer), ERR_STOPPED);
	assert_int_equal(peer_ask(peer, question, question, -1, clock_mono_ms() + 5, &answer), -ETIMEDOUT);
	talloc_free(question);
	talloc_free(peer);
	close(fds[1]);
	close(stop);
}

static void test_other_frames_on_the_control_socket_are_handed_over(void **state)
{
	struct frame *sent = frame_new(NULL, FRAME_ANNOUNCE), *got = NULL,
		     *channel = frame_new(NULL, FRAME_CHANNEL);
	int fds[2];

	(void)state;
	assert_int_equal(channel_pair(fds), 0);
	assert_int_equal(channel_send(fds[0], sent, soon()), 0);
	assert_int_equal(peer_accept(NULL, fds[1], -1, &got), 0);
	assert_int_equal(got->kind, FRAME_ANNOUNCE);
	assert_int_equal(channel_send(fds[0], channel, soon()), 0);
	assert_int_equal(peer_accept(NULL, fds[1], -1, &got), ERR_FORMAT);
	close(fds[0]);
	talloc_free(got);
	assert_int_equal(peer_accept(NULL, fds[1], -1, &got), ERR_CLOSED);
	talloc_free(sent);
	talloc_free(channel);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_that_wait_together_arrive_one_by_one),
		cmocka_unit_test(test_a_frame_of_any_size_arrives_as_it_was_sent),
		cmocka_unit_test(test_an_empty_frame_arrives),
		cmocka_unit_test(test_descriptors_travel_in_order_with_and_without_a_memfd),
		cmocka_unit_test(test_malformed_datagrams_are_refused),
		cmocka_unit_test(test_a_body_that_could_change_or_lies_about_its_size_is_refused),
		cmocka_unit_test(test_no_descriptor_of_a_refused_frame_stays_open),
		cmocka_unit_test(test_no_descriptor_of_an_empty_datagram_stays_open),
		cmocka_unit_test(test_waits_end_by_deadline_stop_or_the_end_of_the_other_side),
		cmocka_unit_test(test_a_full_channel_times_out),
		cmocka_unit_test(test_a_frame_that_failed_is_not_sent),
		cmocka_unit_test(test_a_peer_that_is_not_there_is_closed),
		cmocka_unit_test(test_one_channel_is_used_again_and_again),
		cmocka_unit_test(test_many_threads_share_no_more_channels_than_the_limit),
		cmocka_unit_test(test_a_channel_that_broke_gives_its_place_back),
		cmocka_unit_test(test_a_peer_that_starts_again_is_asked_anew),
		cmocka_unit_test(test_restarts_under_load_lose_asks_but_no_channel),
		cmocka_unit_test(test_waiting_for_an_answer_ends_by_deadline_and_by_stop),
		cmocka_unit_test(test_other_frames_on_the_control_socket_are_handed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
