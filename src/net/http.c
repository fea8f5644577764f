/*
 * One easy handle for each document: nothing of one answer (cookies, connections, names) reaches the next. Every limit is checked while bytes arrive.
 */
#include "net/http.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include <curl/curl.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "wire/url.h"

/* curl.h checks the arguments of its functions by macros of their names. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define LIBRARY "libcurl.so.4"

enum { FIRST_BYTES = 16 * 1024, STATUS_OK = 200 };

struct http {
	void *library;
	CURL *(*init)(void);
	CURLcode (*setopt)(CURL *, CURLoption, ...);
	CURLcode (*perform)(CURL *);
	CURLcode (*getinfo)(CURL *, CURLINFO, ...);
	void (*cleanup)(CURL *);
	struct curl_slist *(*append)(struct curl_slist *, const char *);
	void (*free_all)(struct curl_slist *);
	const char *(*error_text)(CURLcode);
};

/* A document that arrives. */
struct fetch {
	const struct http_request *request;
	char *body; /* owned by the caller's owner */
	size_t len, room;
	bool too_large, stopped;
	char said[CURL_ERROR_SIZE]; /* by libcurl, of what went wrong */
};

static bool find(struct http *http, const char *name, void *function)
{
	void *symbol = dlsym(http->library, name);

	memcpy(function, &symbol, sizeof symbol);
	return symbol != NULL;
}

struct http *http_start(const void *owner, char *ret_why)
{
	struct http *http = text_must(talloc_zero(owner, struct http));
	CURLcode (*global)(long);

	http->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (http->library != NULL && find(http, "curl_global_init", &global) &&
		find(http, "curl_easy_init", &http->init) && find(http, "curl_easy_setopt", &http->setopt) &&
		find(http, "curl_easy_perform", &http->perform) &&
		find(http, "curl_easy_getinfo", &http->getinfo) &&
		find(http, "curl_easy_cleanup", &http->cleanup) &&
		find(http, "curl_slist_append", &http->append) &&
		find(http, "curl_slist_free_all", &http->free_all) &&
		find(http, "curl_easy_strerror", &http->error_text) && global(CURL_GLOBAL_ALL) == CURLE_OK)
		return http;

	const char *why = dlerror();
	snprintf(ret_why, HTTP_WHY_MAX, "%s cannot be loaded: %s", LIBRARY,
		why == NULL ? "it is not what this program was built for" : why);
	talloc_free(http);
	return NULL;
}

static size_t take(char *bytes, size_t one, size_t count, void *context)
{
	struct fetch *fetch = context;
	const size_t len = one * count;

	if (len > fetch->request->most - fetch->len) {
		fetch->too_large = true;
		return 0;
	}
	if (fetch->room - fetch->len < len) {
		fetch->room = MIN(MAX(fetch->room * 2, MAX(fetch->len + len, (size_t)FIRST_BYTES)),
			fetch->request->most);
		fetch->body = text_must(talloc_realloc(NULL, fetch->body, char, (unsigned)fetch->room));
	}
	memcpy(fetch->body + fetch->len, bytes, len);
	fetch->len += len;
	return len;
}

/* Called at least once a second; not 0 ends it. */
static int look_around(void *context, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct fetch *fetch = context;
	struct pollfd polled = { .fd = fetch->request->stop_fd, .events = POLLIN };

	(void)down, (void)up_all, (void)up;
	fetch->too_large |= down_all > 0 && (uint64_t)down_all > fetch->request->most;
	fetch->stopped = poll(&polled, 1, 0) > 0;
	return fetch->too_large || fetch->stopped;
}

/* HOST:PORT:ADDRESS,ADDRESS for libcurl; NULL when the host is an address itself. */
static struct curl_slist *addresses(
	const struct http *http, const struct http_request *request, const struct url *url)
{
	char *line =
		text_must(talloc_asprintf(NULL, TEXT_FMT ":%u:", TEXT_ARG(url->host), (unsigned)url->port));
	struct curl_slist *list = NULL;
	char text[IP_TEXT_MAX];
	struct ip ip;

	for (size_t i = 0; i < request->address_count && i < HTTP_ADDRESSES_MAX; i++) {
		bool six = request->addresses[i].family == AF_INET6;

		line = text_must(talloc_asprintf_append(line, "%s%s%s%s", i == 0 ? "" : ",", six ? "[" : "",
			ip_format(&request->addresses[i], text), six ? "]" : ""));
	}
	if (ip_parse(url->host, &ip) < 0)
		list = text_must(http->append(NULL, line));
	talloc_free(line);
	return list;
}

/* Whatever libcurl makes of the URL, it connects to nobody else. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	const struct http_request *request = ((const struct fetch *)context)->request;
	struct sockaddr_storage storage = { 0 };
	bool given = request->address_count == 0;

	(void)purpose;
	memcpy(&storage, &address->addr, MIN((size_t)address->addrlen, sizeof storage));
	const struct ip to = ip_from_sockaddr(&storage);
	for (size_t i = 0; i < request->address_count; i++) {
		const struct ip one = ip_unmapped(&request->addresses[i]);

		given |= one.family == to.family && memcmp(one.bytes, to.bytes, sizeof to.bytes) == 0;
	}
	if (!given)
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The type of what is posted, as libcurl wants it; NULL = nothing is. */
static struct curl_slist *fields(const struct http *http, const struct http_request *request)
{
	if (request->sent.len == 0)
		return NULL;

	char *line = text_must(talloc_asprintf(NULL, "Content-Type: %s", request->type));
	struct curl_slist *list = text_must(http->append(NULL, line));
	talloc_free(line);
	return list;
}

static void set_up_post(
	const struct http *http, CURL *handle, const struct http_request *request, struct curl_slist *head)
{
	http->setopt(handle, CURLOPT_POST, 1L);
	http->setopt(handle, CURLOPT_POSTFIELDS, request->sent.at);
	http->setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->sent.len);
	http->setopt(handle, CURLOPT_HTTPHEADER, head);
}

static void set_up(const struct http *http, CURL *handle, struct fetch *fetch, struct curl_slist *where)
{
	const struct http_request *request = fetch->request;
	struct curl_blob trust = { .data = (void *)(uintptr_t)request->trust.at, .len = request->trust.len };

	http->setopt(handle, CURLOPT_URL, request->url);
	http->setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
	http->setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
	http->setopt(handle, CURLOPT_PROXY, "");
	http->setopt(handle, CURLOPT_NOSIGNAL, 1L);
	http->setopt(handle, CURLOPT_TIMEOUT_MS, (long)MAX(request->deadline - clock_mono_ms(), (int64_t)1));
	http->setopt(handle, CURLOPT_USERAGENT, "postern/" POSTERN_VERSION);
	http->setopt(handle, CURLOPT_FORBID_REUSE, 1L);
	http->setopt(handle, CURLOPT_RESOLVE, where);
	http->setopt(handle, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	http->setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
	http->setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
	http->setopt(handle, CURLOPT_CAINFO, NULL);
	http->setopt(handle, CURLOPT_CAPATH, NULL);
	http->setopt(handle, CURLOPT_CAINFO_BLOB, &trust);
	http->setopt(handle, CURLOPT_WRITEFUNCTION, take);
	http->setopt(handle, CURLOPT_WRITEDATA, fetch);
	http->setopt(handle, CURLOPT_XFERINFOFUNCTION, look_around);
	http->setopt(handle, CURLOPT_XFERINFODATA, fetch);
	http->setopt(handle, CURLOPT_NOPROGRESS, 0L);
	http->setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	http->setopt(handle, CURLOPT_OPENSOCKETDATA, fetch);
	http->setopt(handle, CURLOPT_ERRORBUFFER, fetch->said);
}

/* What a server says goes into a log: only what can be printed. */
static int say(char *ret_why, int error, const char *format, const char *what)
{
	snprintf(ret_why, HTTP_WHY_MAX, format, what);
	for (char *c = ret_why; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return error;
}

static int failure(const struct http *http, const struct fetch *fetch, CURLcode code, char *ret_why)
{
	const char *said = fetch->said[0] != '\0' ? fetch->said : http->error_text(code);
	char most[32];

	snprintf(most, sizeof most, "%zu", fetch->request->most);
	if (fetch->stopped)
		return say(ret_why, ERR_STOPPED, "%s", err_text(ERR_STOPPED));
	if (fetch->too_large)
		return say(ret_why, -EMSGSIZE, "it is larger than %s bytes", most);
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return say(ret_why, -ETIMEDOUT, "%s", "it was not there in time");
	case CURLE_PEER_FAILED_VERIFICATION:
		return say(
			ret_why, ERR_TLS, "TLS: the certificate of the server is not accepted: %.180s", said);
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CIPHER:
		return say(ret_why, ERR_TLS, "TLS: %.200s", said);
	default:
		return say(ret_why, ERR_CLOSED, "%s", http->error_text(code));
	}
}

static int refused(const struct http *http, CURL *handle, long status, char *ret_why)
{
	const char *where = NULL;
	char word[32];

	snprintf(word, sizeof word, "%ld", status);
	http->getinfo(handle, CURLINFO_REDIRECT_URL, &where);
	if (where != NULL)
		return say(ret_why, ERR_CLOSED,
			"the server sends us on to %.160s, and redirects are not followed", where);
	return say(ret_why, ERR_CLOSED, "the server answered with status %s", word);
}

int http_get(const struct http *http, const struct http_request *request, const void *owner,
	struct http_answer *ret_answer, char *ret_why)
{
	struct fetch fetch = { .request = request };
	long status = 0;
	struct url url;
	int r = 0;

	if (url_parse(text_of(request->url), &url) < 0)
		return say(ret_why, ERR_FORMAT, "%s", "it is no http or https URL");
	if (request->deadline <= clock_mono_ms())
		return say(ret_why, -ETIMEDOUT, "%s", "it was not there in time");

	CURL *handle = text_must(http->init());
	struct curl_slist *where = addresses(http, request, &url), *head = fields(http, request);
	fetch.body = text_must(talloc_array(owner, char, 0));
	set_up(http, handle, &fetch, where);
	if (head != NULL)
		set_up_post(http, handle, request, head);
	CURLcode code = http->perform(handle);
	http->getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK)
		r = failure(http, &fetch, code, ret_why);
	else if (status != STATUS_OK)
		r = refused(http, handle, status, ret_why);
	http->cleanup(handle);
	http->free_all(where);
	http->free_all(head);
	if (r < 0)
		talloc_free(fetch.body);
	else
		*ret_answer = (struct http_answer){ fetch.body, fetch.len };
	return r;
}
