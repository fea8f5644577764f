/*
 * The mail server behind, for trying and testing. The SMTP side is the real one (listen, session); what `queue` does for the gateway is
 * done here by a thread that writes each mail as DIR/NNNNNN.eml and prints one line for it.
 */
#include "roles/sink.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/thread.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "listen/listen.h"
#include "net/socket.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "queue/queue.h"
#include "report/metrics.h"
#include "report/notes.h"
#include "session/smtp.h"

struct sink {
	const char *listen, *certificate, *key, *directory;
	bool json;
	int directory_fd, stop_fd;
	atomic_uint_fast64_t sessions, incoming, mails;
	pthread_mutex_t lock; /* guards standard output and `threads` */
	pthread_cond_t ended;
	unsigned threads; /* that serve channels */
	struct smtp_house house;
	struct metrics metrics;
};

/* One end of a channel from a session of ours. */
struct served {
	struct sink *sink;
	int fd;
};

/* The sink's configuration is an ordinary one: take everything from everybody, TLS when the client wants it. */
static const struct config *make_config(const struct sink *sink, const void *owner)
{
	struct problems *problems = problems_new(owner);
	struct bundle *bundle = bundle_new(problems, 1);
	bool tls = sink->certificate != NULL;
	char *yaml = text_must(talloc_asprintf(problems,
		"hostname: sink.localhost\nstate_dir: .\nruntime_dir: .\n%s"
		"listeners: [{name: sink, type: private, address: \"%s\", policy: all%s}]\n"
		"mail_flow_policies: [{name: all, action: relay, tls: %s}]\n",
		tls ? "certificates: [{name: sink, chain: chain, key: key}]\n" : "", sink->listen,
		tls ? ", certificate: sink" : "", tls ? "preferred" : "none"));

	bundle_add(bundle, "sink", text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "sink", problems);
	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "postern sink: %s\n", problems->list[i].text);
	talloc_free(problems);
	return config;
}

static struct tls_context *make_tls(const struct sink *sink, const void *owner)
{
	struct bundle *files = bundle_new(owner, 1);
	struct tls_context *tls = tls_context_server(owner, "sink");
	struct identity_flaw flaw = { 0 };

	if (bundle_add_file(files, sink->certificate, BUNDLE_ALL) < 0 ||
		bundle_add_file(files, sink->key, BUNDLE_ALL) < 0) {
		fprintf(stderr, "postern sink: --certificate and --key must name readable PEM files\n");
		return NULL;
	}
	struct identity *identity = identity_load(
		owner, bundle_find(files, sink->certificate), bundle_find(files, sink->key), &flaw);
	if (identity == NULL) {
		fprintf(stderr, "postern sink: --%s %s: %s\n",
			strcmp(flaw.part, "key") == 0 ? "key" : "certificate",
			strcmp(flaw.part, "key") == 0 ? sink->key : sink->certificate, flaw.text);
		return NULL;
	}
	return identity_use(identity, tls) == 0 ? tls : NULL;
}

static int copy_file(int to, int from)
{
	char buffer[8192];
	off_t at = 0;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = pread(from, buffer, sizeof buffer, at)) > 0) {
		r = io_write_all(to, (struct text){ buffer, (size_t)n });
		at += n;
	}
	return r;
}

static void print_mail(struct sink *sink, const char *file, const struct envelope *envelope, uint64_t size)
{
	json_t *recipients = json_array(), *tls = json_loads(envelope->tls, 0, NULL);

	for (size_t i = 0; i < envelope->recipient_count; i++)
		json_array_append_new(recipients, json_string(envelope->recipients[i]));
	json_t *json = json_pack("{s:s, s:s, s:o, s:I, s:o}", "file", file, "sender", envelope->sender,
		"recipients", recipients, "size", (json_int_t)size, "tls", tls == NULL ? json_null() : tls);
	char *text = json_dumps(json, JSON_COMPACT);

	pthread_mutex_lock(&sink->lock);
	if (sink->json)
		printf("%s\n", text == NULL ? "{}" : text);
	else
		printf("%s from <%s> to <%s>%s, %llu bytes, %s %s\n", file, envelope->sender,
			envelope->recipient_count > 0 ? envelope->recipients[0] : "",
			envelope->recipient_count > 1 ? " and others" : "", (unsigned long long)size,
			json_is_object(tls) ? "TLS" : "",
			json_is_object(tls) && json_is_string(json_object_get(tls, "protocol"))
				? json_string_value(json_object_get(tls, "protocol"))
				: "none");
	fflush(stdout);
	pthread_mutex_unlock(&sink->lock);
	free(text);
	json_decref(json);
}

/* Give the finished file `temporary` the next free number, so that an earlier run's mail stays; the number. */
static int64_t name_mail(struct sink *sink, const char *temporary, char *ret_name, size_t size)
{
	for (;;) {
		int64_t number = (int64_t)atomic_fetch_add(&sink->mails, 1) + 1;

		snprintf(ret_name, size, "%06lld.eml", (long long)number);
		if (renameat2(sink->directory_fd, temporary, sink->directory_fd, ret_name,
			    RENAME_NOREPLACE) == 0)
			return number;
		if (errno != EEXIST)
			return -errno;
	}
}

/* Written under another name and renamed, so that whoever watches the directory sees whole mails only. */
static int64_t store(struct sink *sink, const struct envelope *envelope, const struct content *content)
{
	char name[40], temporary[40];

	snprintf(temporary, sizeof temporary, ".incoming-%llu",
		(unsigned long long)atomic_fetch_add(&sink->incoming, 1));
	CLEANUP(base_close)
	int fd = openat(sink->directory_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;

	int r = content->fd >= 0 ? copy_file(fd, content->fd) : io_write_all(fd, content->bytes);
	int64_t number = r < 0 ? r : name_mail(sink, temporary, name, sizeof name);
	if (number < 0)
		unlinkat(sink->directory_fd, temporary, 0);
	else
		print_mail(sink, name, envelope, content->size);
	return number;
}

static struct frame *answer(struct sink *sink, struct frame *ask)
{
	struct envelope envelope;
	struct content content;
	struct frame *reply;

	switch (ask->kind) {
	case FRAME_COMMIT:
		if (queue_commit_take(ask, &envelope, &content) < 0)
			return NULL;
		reply = queue_commit_reply(ask, store(sink, &envelope, &content));
		base_close(&content.fd);
		return reply;
	case FRAME_NEW_FILE: {
		int fd = openat(sink->directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

		return queue_new_file_reply(ask, fd < 0 ? -errno : fd);
	}
	default:
		reply = frame_new(ask, FRAME_ANSWER); /* notes: nobody reads them here */
		frame_put_number(reply, 0);
		return reply;
	}
}

/* Start a thread that serves `fd`; it is counted until it ends. */
static void start_thread(struct sink *sink, int fd, void *(*run)(void *))
{
	struct served *served = text_must(talloc_zero(NULL, struct served));

	*served = (struct served){ .sink = sink, .fd = fd };
	pthread_mutex_lock(&sink->lock);
	sink->threads++;
	pthread_mutex_unlock(&sink->lock);
	if (thread_start(run, served) < 0)
		abort();
}

static void end_thread(struct served *served)
{
	struct sink *sink = served->sink;

	base_close(&served->fd);
	talloc_free(served);
	pthread_mutex_lock(&sink->lock);
	sink->threads--;
	pthread_cond_signal(&sink->ended);
	pthread_mutex_unlock(&sink->lock);
}

static void *channel_run(void *argument)
{
	struct served *served = argument;
	struct frame *ask;
	int r = 0;

	while (r == 0 && channel_receive(served, served->fd, -1, IO_FOREVER, &ask) == 0) {
		struct frame *reply = answer(served->sink, ask);

		r = reply == NULL ? ERR_FORMAT : channel_send(served->fd, reply, clock_mono_ms() + 10000);
		talloc_free(ask);
	}
	end_thread(served);
	return NULL;
}

static void *control_run(void *argument)
{
	struct served *control = argument;
	struct frame *frame;
	int fd;

	while ((fd = peer_accept(control, control->fd, -1, &frame)) > 0)
		start_thread(control->sink, fd, channel_run);
	end_thread(control);
	return NULL;
}

/* Their channels close with the peer that asked. */
static void wait_for_threads(struct sink *sink)
{
	int64_t until = clock_mono_ms() + 2000;
	bool in_time = true;

	pthread_mutex_lock(&sink->lock);
	while (sink->threads > 0 && in_time)
		in_time = thread_wait(&sink->ended, &sink->lock, until);
	pthread_mutex_unlock(&sink->lock);
}

static void serve(struct conn *conn, void *context)
{
	struct sink *sink = context;
	char icid[32];

	snprintf(
		icid, sizeof icid, "sink-%llu", (unsigned long long)atomic_fetch_add(&sink->sessions, 1) + 1);
	smtp_session_run(conn, &sink->house, icid);
	conn_free(conn);
}

static void *wait_for_signal(void *argument)
{
	struct sink *sink = argument;
	sigset_t set;
	int which;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigwait(&set, &which);
	eventfd_write(sink->stop_fd, 1);
	return NULL;
}

static void accept_all(struct sink *sink, int socket_fd)
{
	struct listen_pool *pool = listen_pool_new();
	struct ip bound = socket_address(socket_fd);
	char address[IP_TEXT_MAX];
	struct conn *conn;

	printf(sink->json ? "{\"listening\":\"%s\"}\n" : "listening on %s\n",
		ip_format_port(&bound, address));
	fflush(stdout);
	while ((conn = listen_accept(socket_fd, sink->stop_fd)) != NULL)
		if (!listen_give(pool, sink->house.config->limits.connections, conn, serve, sink))
			conn_free(conn);
	if (listen_wait(pool, clock_mono_ms() + 2000))
		listen_pool_free(pool);
}

/* What the sessions need in place of the gateway: a peer whose asks control_run() answers. */
static bool start_queue(struct sink *sink, const void *owner)
{
	int fds[2];

	if (channel_pair(fds) < 0)
		return false;
	sink->house.queue = peer_new(owner, 64);
	peer_connect(sink->house.queue, fds[0]);
	sink->house.notes = notes_start(sink->house.queue, &sink->metrics);
	start_thread(sink, fds[1], control_run);
	return true;
}

static int start(struct sink *sink, const struct config *config, const void *owner)
{
	CLEANUP(base_close) int socket_fd = -1;

	mkdir(sink->directory, 0755);
	sink->directory_fd = open(sink->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sink->directory_fd < 0) {
		fprintf(stderr, "postern sink: --dir %s: %s\n", sink->directory, err_text(-errno));
		return EXIT_FAILURE;
	}
	sink->house = (struct smtp_house){
		.config = config,
		.listener = &config->listeners[0],
		.metrics = &sink->metrics,
		.drain_fd = sink->stop_fd,
		.stop_fd = sink->stop_fd,
	};
	if (sink->certificate != NULL && (sink->house.tls = make_tls(sink, owner)) == NULL)
		return EXIT_FAILURE;
	socket_fd = socket_listen(&config->listeners[0].address);
	if (socket_fd < 0) {
		fprintf(stderr, "postern sink: --listen %s: cannot be listened on: %s\n", sink->listen,
			err_text(socket_fd));
		return EXIT_FAILURE;
	}
	if (!start_queue(sink, owner))
		return EXIT_FAILURE;
	accept_all(sink, socket_fd);
	notes_stop(sink->house.notes);
	return EXIT_SUCCESS;
}

static bool parse(struct sink *sink, int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "certificate", required_argument, NULL, 'c' },
		{ "key", required_argument, NULL, 'k' },
		{ "dir", required_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			sink->listen = optarg;
			break;
		case 'c':
			sink->certificate = optarg;
			break;
		case 'k':
			sink->key = optarg;
			break;
		case 'd':
			sink->directory = optarg;
			break;
		case 'j':
			sink->json = true;
			break;
		default:
			return false;
		}
	}
	return optind == argc && sink->listen != NULL && sink->directory != NULL &&
	       (sink->certificate == NULL) == (sink->key == NULL);
}

int sink_run(int argc, char **argv)
{
	struct sink sink = { .directory_fd = -1 };
	sigset_t set;

	if (!parse(&sink, argc, argv)) {
		fprintf(stderr,
			"usage: postern sink --listen ADDR --certificate PEM --key PEM --dir DIR [--json]\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	tls_start();
	log_open(STDERR_FILENO, "sink", LOG_WARN, LOG_PLAIN);
	sink.stop_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&sink.lock, NULL);
	thread_condition(&sink.ended);
	if (thread_start(wait_for_signal, &sink) < 0)
		return EXIT_FAILURE;

	struct ip address;
	if (ip_parse(text_of(sink.listen), &address) < 0 || !ip_is_loopback(&address)) {
		fprintf(stderr,
			"postern sink: --listen %s: it takes everybody's mail, so it must be a loopback address and port such as 127.0.0.1:2530\n",
			sink.listen);
		return EXIT_FAILURE;
	}
	void *owner = text_must(talloc_new(NULL));
	const struct config *config = make_config(&sink, owner);
	int status = config == NULL ? EXIT_FAILURE : start(&sink, config, owner);
	config_release(config);
	talloc_free(owner);
	wait_for_threads(&sink);
	return status;
}
