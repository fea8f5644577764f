/* Fetching over libcurl from a server that says what each test wants: whole answers, and every way not to give one. TLS is shown with real servers. */
#include "net/http.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "test_help.h"

enum { MOST = 1000 };

/* Answers one connection: reads up to the empty line, writes `answer`, and keeps the connection when it is told to. */
struct server {
	int fd;
	uint16_t port;
	const char *answer;
	size_t len;
	bool keep;
	int tell_fd; /* 0, or it writes a byte there behind the answer */
	char seen[4096];
	pthread_t thread;
};

static const struct http *http;

static void *serve(void *argument)
{
	struct server *server = argument;
	int fd = accept(server->fd, NULL, NULL);
	size_t len = 0;
	ssize_t n;

	while (strstr(server->seen, "\r\n\r\n") == NULL && len < sizeof server->seen - 1 &&
		(n = read(fd, server->seen + len, sizeof server->seen - 1 - len)) > 0)
		len += (size_t)n;
	for (size_t sent = 0; sent < server->len &&
			      (n = send(fd, server->answer + sent, server->len - sent, MSG_NOSIGNAL)) > 0;)
		sent += (size_t)n;
	if (server->tell_fd > 0)
		assert_int_equal(write(server->tell_fd, "", 1), 1);
	if (server->keep)
		while (read(fd, (char[64]){ 0 }, 64) > 0) /* until the client goes */
			;
	close(fd);
	return NULL;
}

static void start(struct server *server, const char *answer)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof address;

	server->answer = answer;
	if (server->len == 0)
		server->len = strlen(answer);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(server->fd, 1), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &len), 0);
	server->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void end(struct server *server)
{
	pthread_join(server->thread, NULL);
	close(server->fd);
}

struct got {
	int r;
	char *body; /* NULL when there is none */
	size_t len;
	char why[HTTP_WHY_MAX];
};

/* What comes of asking `server`, called crl.good.test, for /ca.crl. */
static struct got get_within(struct server *server, int64_t ms, int stop_fd)
{
	struct http_answer answer = { NULL, 0 };
	struct got got = { .r = 0 };
	char url[64];
	struct ip ip;

	snprintf(url, sizeof url, "http://crl.good.test:%u/ca.crl?a=b", (unsigned)server->port);
	assert_int_equal(ip_parse(TEXT("127.0.0.1"), &ip), 0);
	const struct http_request request = { .url = url,
		.addresses = &ip,
		.address_count = 1,
		.most = MOST,
		.deadline = clock_mono_ms() + ms,
		.stop_fd = stop_fd };
	got.r = http_get(http, &request, NULL, &answer, got.why);
	got.body = answer.body;
	got.len = answer.len;
	return got;
}

static struct got get(struct server *server)
{
	struct got got = get_within(server, 30000, -1);

	end(server);
	return got;
}

static void must_fail(const char *answer, int error, const char *why)
{
	struct server server = { .fd = -1 };

	start(&server, answer);
	struct got got = get(&server);
	assert_int_equal(got.r, error);
	if (strstr(got.why, why) == NULL)
		fail_msg("%s is not in: %s", why, got.why);
	assert_null(got.body);
}

static void test_A65_a_whole_document_is_fetched_from_the_address_that_was_given(void **state)
{
	struct server server = { .fd = -1 };

	(void)state;
	start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh\nllo");
	struct got got = get(&server);
	assert_int_equal(got.r, 0);
	assert_int_equal(got.len, 5);
	assert_memory_equal(got.body, "h\nllo", 5);
	assert_ptr_equal(strstr(server.seen, "GET /ca.crl?a=b HTTP/1.1\r\n"), server.seen);
	assert_non_null(strstr(server.seen, "Host: crl.good.test:"));
	talloc_free(got.body);
}

static void test_a_document_is_posted(void **state)
{
	struct server server = { .fd = -1 };
	struct http_answer answer;
	char url[64], why[HTTP_WHY_MAX];

	(void)state;
	start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
	snprintf(url, sizeof url, "http://127.0.0.1:%u/ocsp", (unsigned)server.port);
	const struct http_request request = { .url = url,
		.most = MOST,
		.deadline = clock_mono_ms() + 30000,
		.stop_fd = -1,
		.sent = { "a\0b", 3 },
		.type = "application/ocsp-request" };
	assert_int_equal(http_get(http, &request, NULL, &answer, why), 0);
	end(&server);
	assert_memory_equal(answer.body, "body", 4);
	assert_ptr_equal(strstr(server.seen, "POST /ocsp HTTP/1.1\r\n"), server.seen);
	assert_non_null(strstr(server.seen, "\r\nContent-Type: application/ocsp-request\r\n"));
	assert_non_null(strstr(server.seen, "\r\nContent-Length: 3\r\n"));
	assert_null(strstr(server.seen, "Expect:"));
	talloc_free(answer.body);
}

/* The URL holds an address, and it is not the one that was given. */
static void test_7_35_7_43_no_other_address_is_asked(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "[::ffff:127.0.0.1]", "[::1]" };

	(void)state;
	for (size_t i = 0; i < COUNT(hosts); i++) {
		struct http_answer answer;
		char url[64], why[HTTP_WHY_MAX];
		struct server server = { .fd = -1 };
		struct ip ip;

		start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		snprintf(url, sizeof url, "http://%s:%u/", hosts[i], (unsigned)server.port);
		assert_int_equal(ip_parse(TEXT("127.0.0.2"), &ip), 0);
		const struct http_request request = { .url = url,
			.addresses = &ip,
			.address_count = 1,
			.most = MOST,
			.deadline = clock_mono_ms() + 30000,
			.stop_fd = -1 };
		assert_int_equal(http_get(http, &request, NULL, &answer, why), ERR_CLOSED);
		shutdown(server.fd, SHUT_RDWR);
		end(&server);
		assert_string_equal(server.seen, "");
	}
}

static void test_A65_chunked_empty_and_unmeasured_documents(void **state)
{
	static const struct {
		const char *answer, *body;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
			"abcde" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "" },
		{ "HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct server server = { .fd = -1 };

		start(&server, cases[i].answer);
		struct got got = get(&server);
		assert_int_equal(got.r, 0);
		assert_int_equal(got.len, strlen(cases[i].body));
		assert_memory_equal(got.body, cases[i].body, got.len);
		talloc_free(got.body);
	}
}

static void test_7_35_a_document_has_a_largest_size_whether_it_says_its_own_or_not(void **state)
{
	char answer[2 * MOST];

	(void)state;
	for (int size = MOST; size <= MOST + 1; size++)
		for (int measured = 0; measured < 2; measured++) {
			struct server server = { .fd = -1 };
			int head = measured ? snprintf(answer, sizeof answer,
						      "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
					    : snprintf(answer, sizeof answer, "HTTP/1.0 200 OK\r\n\r\n");

			memset(answer + head, 'x', (size_t)size);
			server.len = (size_t)(head + size);
			start(&server, answer);
			struct got got = get(&server);
			assert_int_equal(got.r, size == MOST ? 0 : -EMSGSIZE);
			if (size == MOST)
				assert_int_equal(got.len, MOST);
			else
				assert_string_equal(got.why, "it is larger than 1000 bytes");
			talloc_free(got.body);
		}
	must_fail("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", -EMSGSIZE, "larger than 1000");
}

static void test_7_35_redirects_are_not_followed(void **state)
{
	(void)state;
	must_fail("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
		ERR_CLOSED, "sends us on to file:///etc/passwd");
	must_fail("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
		ERR_CLOSED, "sends us on to http://127.0.0.1:9/, and redirects are not followed");
}

static void test_A64_other_answers_are_none(void **state)
{
	(void)state;
	must_fail("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n", ERR_CLOSED, "status 404");
	must_fail("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", ERR_CLOSED, "status 500");
	must_fail("HTTP/1.1 204 None\r\n\r\n", ERR_CLOSED, "status 204");
	must_fail("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", ERR_CLOSED, "");
	must_fail("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", ERR_CLOSED, "");
	must_fail("", ERR_CLOSED, "");
	must_fail("220 mx.good.test ESMTP\r\n", ERR_CLOSED, "");
}

static void test_7_35_who_is_slow_is_left(void **state)
{
	struct server server = { .fd = -1, .keep = true };

	(void)state;
	start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nslow");
	struct got got = get_within(&server, 300, -1);
	end(&server);
	assert_int_equal(got.r, -ETIMEDOUT);
	assert_string_equal(got.why, "it was not there in time");
	got = get_within(&server, -1, -1);
	assert_int_equal(got.r, -ETIMEDOUT);
}

static void test_it_ends_when_the_role_is_told_to_stop(void **state)
{
	struct server server = { .fd = -1, .keep = true };
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	server.tell_fd = ends[1];
	start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nslow");
	struct got got = get_within(&server, 60000, ends[0]);
	end(&server);
	assert_int_equal(got.r, ERR_STOPPED);
	close(ends[0]);
	close(ends[1]);
}

static void test_nobody_listens(void **state)
{
	struct server server = { .fd = -1, .port = 1 };

	(void)state;
	struct got got = get_within(&server, 30000, -1);
	assert_int_equal(got.r, ERR_CLOSED);
	assert_true(got.why[0] != '\0');
}

static void test_7_35_other_schemes_are_refused(void **state)
{
	static const char *const urls[] = { "file:///etc/passwd", "ftp://127.0.0.1/x", "ldap://127.0.0.1/x",
		"gopher://127.0.0.1:9/x", "" };

	(void)state;
	for (size_t i = 0; i < COUNT(urls); i++) {
		const struct http_request request = {
			.url = urls[i], .most = MOST, .deadline = clock_mono_ms() + 30000, .stop_fd = -1
		};
		struct http_answer answer;
		char why[HTTP_WHY_MAX];

		assert_int_equal(http_get(http, &request, NULL, &answer, why), ERR_FORMAT);
		assert_string_equal(why, "it is no http or https URL");
	}
}

static void test_a_proxy_of_the_environment_is_not_asked(void **state)
{
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:9/", 1);
	test_A65_a_whole_document_is_fetched_from_the_address_that_was_given(state);
	unsetenv("http_proxy");
}

static void test_what_a_server_says_is_printable_in_why(void **state)
{
	struct server server = { .fd = -1 };

	(void)state;
	start(&server,
		"HTTP/1.1 302 Found\r\nLocation: http://a.test/\x1b[31m\xc3\xa9\r\nContent-Length: 0\r\n\r\n");
	struct got got = get(&server);
	assert_int_equal(got.r, ERR_CLOSED);
	for (const char *c = got.why; *c != '\0'; c++)
		assert_true(*c >= ' ' && *c <= '~');
}

int main(void)
{
	char why[HTTP_WHY_MAX];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_A65_a_whole_document_is_fetched_from_the_address_that_was_given),
		cmocka_unit_test(test_a_document_is_posted),
		cmocka_unit_test(test_7_35_7_43_no_other_address_is_asked),
		cmocka_unit_test(test_A65_chunked_empty_and_unmeasured_documents),
		cmocka_unit_test(test_7_35_a_document_has_a_largest_size_whether_it_says_its_own_or_not),
		cmocka_unit_test(test_7_35_redirects_are_not_followed),
		cmocka_unit_test(test_A64_other_answers_are_none),
		cmocka_unit_test(test_7_35_who_is_slow_is_left),
		cmocka_unit_test(test_it_ends_when_the_role_is_told_to_stop),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_7_35_other_schemes_are_refused),
		cmocka_unit_test(test_a_proxy_of_the_environment_is_not_asked),
		cmocka_unit_test(test_what_a_server_says_is_printable_in_why),
	};

	http = http_start(NULL, why);
	if (http == NULL) {
		print_error("%s\n", why);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
