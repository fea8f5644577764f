/*
 * libevent's HTTP server in a thread of its own, so that the role's loop can answer master meanwhile (master asks every role before it
 * answers us). Loopback only (config/check.c), so nobody logs in; a request is small and brief, or it is refused.
 */
#include "admin/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <talloc.h>

#include "admin/page.h"
#include "admin/status.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/thread.h"

/* FLUSH_MS: time for an answer that is being sent when the server ends. */
enum { HEADERS_MAX = 8 * 1024, BODY_MAX = 1024, SILENCE_S = 8, FLUSH_MS = 100, WARNING_MS = 1000 };

/* libevent refuses a method that is not allowed with 501; we want 405, so all it knows are. */
enum {
	METHODS = EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
		  EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH
};

struct server {
	struct status *status;
	ino_t socket;
	int stop_fd;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool ended; /* its thread uses nothing of it any more */
	struct event_base *base;
	struct evhttp *http;
	struct evhttp_bound_socket *bound;
	struct event *stop;
};

static void reply(
	struct evhttp_request *request, int code, const char *phrase, const char *type, const char *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *buffer = text_must(evbuffer_new());

	evhttp_add_header(headers, "Content-Type", type);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	if (code == HTTP_BADMETHOD)
		evhttp_add_header(headers, "Allow", "GET");
	evbuffer_add(buffer, body, strlen(body));
	evhttp_send_reply(request, code, phrase, buffer);
	evbuffer_free(buffer);
}

static void answer(struct server *server, struct evhttp_request *request)
{
	void *scratch = talloc_new(NULL);
	char *status = NULL, *page = NULL;
	int r = status_ask(server->status, scratch, server->stop_fd, &status);

	if (r == 0)
		page = page_metrics(scratch, status);
	if (page != NULL) {
		reply(request, HTTP_OK, "OK", PAGE_TYPE, page);
	} else {
		log_event(LOG_WARN, "metrics_failed", log_str("reason", err_text(r == 0 ? ERR_FORMAT : r)));
		reply(request, HTTP_SERVUNAVAIL, "Service Unavailable", "text/plain",
			"the gateway does not answer now; try again\n");
	}
	talloc_free(scratch);
}

static void on_request(struct evhttp_request *request, void *context)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);

	if (path == NULL || strcmp(path, "/metrics") != 0)
		reply(request, HTTP_NOTFOUND, "Not Found", "text/plain", "there is only /metrics\n");
	else if (evhttp_request_get_command(request) != EVHTTP_REQ_GET)
		reply(request, HTTP_BADMETHOD, "Method Not Allowed", "text/plain", "only GET is allowed\n");
	else
		answer(context, request);
}

static void on_stop(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;
	const struct timeval soon = { .tv_usec = FLUSH_MS * 1000 };

	(void)fd, (void)what;
	event_del(server->stop);
	evhttp_del_accept_socket(server->http, server->bound);
	event_base_loopexit(server->base, &soon);
}

/* What libevent would print on standard error; once a second, because a full table of descriptors repeats itself. */
static void on_warning(int severity, const char *text)
{
	static _Atomic int64_t last;
	int64_t now = clock_mono_ms();

	if (severity < EVENT_LOG_WARN || now - last < WARNING_MS)
		return;
	last = now;
	log_event(LOG_WARN, "http_warning", log_str("reason", text));
}

static void *serve(void *argument)
{
	struct server *server = argument;

	event_base_dispatch(server->base);
	event_free(server->stop);
	evhttp_free(server->http);
	event_base_free(server->base);
	pthread_mutex_lock(&server->lock);
	server->ended = true;
	pthread_cond_signal(&server->changed);
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

static ino_t number_of(int socket_fd)
{
	struct stat status = { 0 };

	return fstat(socket_fd, &status) == 0 ? status.st_ino : 0;
}

static int server_destroy(struct server *server)
{
	base_close(&server->stop_fd);
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
	return 0;
}

struct server *server_start(int socket_fd, struct status *status)
{
	struct server *server = text_must(talloc_zero(NULL, struct server));

	*server = (struct server){
		.status = status, .socket = number_of(socket_fd), .stop_fd = eventfd(0, EFD_CLOEXEC)
	};
	pthread_mutex_init(&server->lock, NULL);
	thread_condition(&server->changed);
	talloc_set_destructor(server, server_destroy);
	event_set_log_callback(on_warning);
	server->base = text_must(event_base_new());
	server->http = text_must(evhttp_new(server->base));
	evhttp_set_max_headers_size(server->http, HEADERS_MAX);
	evhttp_set_max_body_size(server->http, BODY_MAX);
	evhttp_set_timeout(server->http, SILENCE_S);
	evhttp_set_allowed_methods(server->http, METHODS);
	evhttp_set_gencb(server->http, on_request, server);
	server->bound = evhttp_accept_socket_with_handle(server->http, socket_fd);
	server->stop = text_must(event_new(server->base, server->stop_fd, EV_READ, on_stop, server));
	event_add(server->stop, NULL);
	if (server->bound == NULL)
		close(socket_fd);
	if (server->bound != NULL && thread_start(serve, server) == 0)
		return server;

	event_free(server->stop);
	evhttp_free(server->http);
	event_base_free(server->base);
	talloc_free(server);
	return NULL;
}

bool server_has(const struct server *server, int socket_fd)
{
	return server != NULL && server->socket == number_of(socket_fd);
}

bool server_end(struct server *server, int64_t ms)
{
	const int64_t until = clock_mono_ms() + ms;
	bool in_time = true;

	if (server == NULL)
		return true;

	eventfd_write(server->stop_fd, 1);
	pthread_mutex_lock(&server->lock);
	while (!server->ended && in_time)
		in_time = thread_wait(&server->changed, &server->lock, until);
	const bool ended = server->ended;
	pthread_mutex_unlock(&server->lock);
	if (ended)
		talloc_free(server);
	return ended;
}
