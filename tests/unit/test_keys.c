/* Role `keys` as the others meet it: it runs here in a thread, with this test as its master and as the roles that ask. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "pki/sign.h"
#include "report/metrics.h"
#include "roles/role.h"
#include "test_help.h"

struct fixture {
	struct role role;
	int master_fd;
	pthread_t thread;
	int64_t asks;
	struct digest listens, spare, second; /* keys: of a listener, of nobody, of the next configuration */
	char directory[64];
};

static int64_t soon(void)
{
	return clock_mono_ms() + 30000;
}

static void *run(void *argument)
{
	role_keys(argument);
	return NULL;
}

static struct digest write_key(struct fixture *f, const char *name)
{
	struct help_identity files = help_identity(f);
	EVP_PKEY *key = identity_read_key(text_of(files.key));
	struct digest id = identity_key_id(key);
	FILE *file = fopen(talloc_asprintf(f, "%s/%s.key", f->directory, name), "w");

	assert_true(file != NULL && fputs(files.key, file) >= 0);
	fclose(file);
	EVP_PKEY_free(key);
	return id;
}

/* Offer a configuration whose listener has certificate `name`; true when it is taken. */
static bool offer(struct fixture *f, uint64_t generation, const char *name)
{
	struct bundle *bundle = bundle_new(NULL, generation);
	char *spare = talloc_asprintf(bundle, "%s/spare.key", f->directory),
	     *own = talloc_asprintf(bundle, "%s/%s.key", f->directory, name);
	char *yaml = talloc_asprintf(bundle,
		"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
		"certificates: [{name: own, chain: own.pem, key: %s}, {name: spare, chain: spare.pem, key: %s}]\n"
		"mail_flow_policies: [{name: open}]\n"
		"listeners: [{name: in, type: public, address: '127.0.0.1:0', certificate: own, policy: open}]\n",
		own, spare);
	struct frame *frame = frame_new(NULL, FRAME_GENERATION), *answer;

	bundle_add(bundle, "p.yaml", text_of(yaml), BUNDLE_ALL);
	assert_int_equal(bundle_add_key(bundle, spare), 0);
	assert_int_equal(bundle_add_key(bundle, own), 0);
	frame_put_number(frame, ++f->asks);
	frame_put_fd(frame, bundle_seal(bundle, BUNDLE_KEYS));
	frame_put_fd(frame, dup(STDERR_FILENO));
	frame_put_text(frame, TEXT("p.yaml"));
	frame_put_number(frame, 0); /* all of it is new */
	assert_int_equal(channel_send(f->master_fd, frame, soon()), 0);
	assert_int_equal(channel_receive(frame, f->master_fd, -1, soon(), &answer), 0);
	bool ready = answer->kind == FRAME_READY;
	talloc_free(frame);
	talloc_free(bundle);
	return ready;
}

static void tell(struct fixture *f, enum frame_kind kind)
{
	struct frame *frame = frame_new(NULL, kind);

	assert_int_equal(channel_send(f->master_fd, frame, soon()), 0);
	talloc_free(frame);
}

/* The peer of a role that is called so. */
static struct peer *connect_as(struct fixture *f, const char *name)
{
	struct peer *peer = peer_new(f, 2);
	struct frame *frame = frame_new(NULL, FRAME_PEER);
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	frame_put_text(frame, text_of(name));
	frame_put_fd(frame, fds[1]);
	assert_int_equal(channel_send(f->master_fd, frame, soon()), 0);
	talloc_free(frame);
	peer_connect(peer, fds[0]);
	return peer;
}

static enum key_use ask(struct peer *peer, const struct digest *key, size_t len)
{
	static const char digest[64];
	const struct sign_request request = {
		.key = *key, .kind = KEY_USE_ECDSA, .digest = KEY_USE_SHA256, .bytes = { digest, len }
	};
	char bytes[SIGN_BYTES_MAX];
	enum key_use verdict = KEY_USE_VERDICT_END;
	int r = sign_ask(peer, &request, -1, soon(), bytes, &verdict);

	assert_true(r >= 0);
	assert_int_equal(r > 0, verdict == KEY_USE_YES);
	return verdict;
}

static void test_11_39_keys_are_for_those_to_whom_the_configuration_gives_them(void **state)
{
	struct fixture *f = *state;
	struct peer *front = connect_as(f, "front"), *deliver = connect_as(f, "deliver"),
		    *queue = connect_as(f, "queue");
	const struct digest unknown = { 0 };

	assert_true(offer(f, 1, "listens"));
	tell(f, FRAME_USE);
	assert_int_equal(ask(front, &f->listens, 32), KEY_USE_YES);
	assert_int_equal(ask(front, &f->listens, 31), KEY_USE_NO_FIT);
	assert_int_equal(ask(front, &f->listens, 0), KEY_USE_NO_FIT);
	assert_int_equal(ask(front, &f->spare, 32), KEY_USE_NO_RIGHT);
	assert_int_equal(ask(front, &unknown, 32), KEY_USE_NO_KEY);
	assert_int_equal(ask(deliver, &f->listens, 32), KEY_USE_NO_RIGHT);
	assert_int_equal(ask(queue, &f->listens, 32), KEY_USE_NO_RIGHT);
	assert_int_equal(ask(front, &f->listens, 32), KEY_USE_YES);

	/* the next configuration: its key works once it is prepared, the old one stays for sessions of before */
	assert_int_equal(ask(front, &f->second, 32), KEY_USE_NO_KEY);
	assert_true(offer(f, 2, "second"));
	assert_int_equal(ask(front, &f->second, 32), KEY_USE_YES);
	tell(f, FRAME_USE);
	assert_int_equal(ask(front, &f->second, 32), KEY_USE_YES);
	assert_int_equal(ask(front, &f->listens, 32), KEY_USE_YES);
	assert_int_equal(ask(deliver, &f->second, 32), KEY_USE_NO_RIGHT);
}

static void test_11_39_what_is_dropped_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct peer *front = connect_as(f, "front");

	assert_true(offer(f, 1, "listens"));
	tell(f, FRAME_USE);
	assert_true(offer(f, 2, "second"));
	tell(f, FRAME_DROP);
	struct frame *frame = frame_new(NULL, FRAME_STATS), *answer;
	frame_put_number(frame, ++f->asks);
	assert_int_equal(channel_send(f->master_fd, frame, soon()), 0);
	assert_int_equal(
		channel_receive(frame, f->master_fd, -1, soon(), &answer), 0); /* it has dropped by now */
	talloc_free(frame);
	assert_int_equal(ask(front, &f->second, 32), KEY_USE_NO_KEY);
	assert_int_equal(ask(front, &f->listens, 32), KEY_USE_YES);
}

/* The channel ends; another one works. */
static void test_11_39_a_malformed_ask_ends_its_channel(void **state)
{
	struct fixture *f = *state;
	struct peer *front = connect_as(f, "front");
	struct frame *wrong = frame_new(NULL, FRAME_SIGN), *answer;

	assert_true(offer(f, 1, "listens"));
	tell(f, FRAME_USE);
	frame_put_text(wrong, TEXT("short"));
	assert_int_equal(peer_ask(front, wrong, wrong, -1, soon(), &answer), ERR_CLOSED);
	talloc_free(wrong);
	assert_int_equal(ask(front, &f->listens, 32), KEY_USE_YES);
}

static int set_up(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	tls_start();
	help_directory(f->directory);
	f->listens = write_key(f, "listens");
	f->spare = write_key(f, "spare");
	f->second = write_key(f, "second");
	assert_int_equal(channel_pair(fds), 0);
	f->master_fd = fds[0];
	f->role = (struct role){ .name = "keys", .control_fd = fds[1], .log_fd = -1, .prepared_log_fd = -1 };
	f->role.drain_fd = eventfd(0, EFD_CLOEXEC);
	f->role.stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&f->thread, NULL, run, &f->role), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	tell(f, FRAME_STOP);
	pthread_join(f->thread, NULL);
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	close(f->master_fd);
	close(f->role.control_fd);
	close(f->role.drain_fd);
	close(f->role.stop_fd);
	base_close(&f->role.log_fd);
	base_close(&f->role.prepared_log_fd);
	help_remove(f->directory);
	talloc_free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_11_39_keys_are_for_those_to_whom_the_configuration_gives_them, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(test_11_39_what_is_dropped_is_forgotten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_11_39_a_malformed_ask_ends_its_channel, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
