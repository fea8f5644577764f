/* URLs that can be fetched, and what is none. */
#include "wire/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/err.h"

static void test_A63_A65_http_and_https_urls(void **state)
{
	static const struct {
		const char *url;
		bool secure;
		const char *host;
		uint16_t port;
		const char *target;
	} cases[] = {
		{ "http://crl.example.com/certs.crl", false, "crl.example.com", 80, "/certs.crl" },
		{ "https://crl.example.com/certs.crl", true, "crl.example.com", 443, "/certs.crl" },
		{ "HTTP://CRL.example.com", false, "CRL.example.com", 80, "" },
		{ "http://127.0.0.1:8889/ca.crl", false, "127.0.0.1", 8889, "/ca.crl" },
		{ "https://[2001:db8::1]:8443/a?b=c&d", true, "2001:db8::1", 8443, "/a?b=c&d" },
		{ "http://[::1]/%20x", false, "::1", 80, "/%20x" },
		{ "http://localhost/", false, "localhost", 80, "/" },
		{ "http://4.7a/", false, "4.7a", 80, "/" },
		{ "http://0xg.fe/", false, "0xg.fe", 80, "/" },
		{ "http://a_b.test/;x=1,2!$'()*+@:~", false, "a_b.test", 80, "/;x=1,2!$'()*+@:~" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct url url;

		assert_int_equal(url_parse(text_of(cases[i].url), &url), 0);
		assert_int_equal(url.secure, cases[i].secure);
		assert_true(text_equal(url.host, text_of(cases[i].host)));
		assert_int_equal(url.port, cases[i].port);
		assert_true(text_equal(url.target, text_of(cases[i].target)));
	}
}

static void test_7_35_other_schemes_users_fragments_and_broken_ones_are_refused(void **state)
{
	static const char *const cases[] = { "", "http://", "https:///x", "ftp://a.test/x",
		"file:///etc/passwd", "ldap://a.test/x", "//a.test/x", "a.test/x", "http:/a.test/x",
		"http://user@a.test/x", "http://user:secret@a.test/x", "http://a.test/x#y",
		"http://a.test:/x", "http://a.test:0/x", "http://a.test:65536/x", "http://a.test:80a/x",
		"http://a.test:-1/x", "http://[::1/x", "http://[127.0.0.1]/x", "http://[::1]x/",
		"http://127.1/x", "http://2130706433/x", "http://0x7f000001/x", "http://0x7f.1/x",
		"http://127.0.0.0x1/x", "http://0177.0.0.1/x", "http://1.2.3.4.5/x", "http://a.0x/x",
		"http://a.7/x", "http://256.1.1.1/x", "http://::1/x", "http://-/x", "http://a..test/x",
		"http://a.test?x", "http://a.test/%2", "http://a.test/%zz", "http://a.test/a b",
		"http://a.test/\xc3\xa9", "http://a\xc3\xa9.test/", "http://a.test/\r\nX: y",
		"http://a.test/\x7f", "http://a.test/a|b", "http://a.test\\b/x" };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct url url = { .port = 1 };

		assert_int_equal(url_parse(text_of(cases[i]), &url), ERR_FORMAT);
		assert_int_equal(url.port, 1); /* left alone */
	}
	assert_int_equal(url_parse((struct text){ "http://a.test/\0x", 16 }, &(struct url){ 0 }), ERR_FORMAT);
}

static void test_it_has_a_length(void **state)
{
	char text[URL_MAX + 2] = "http://a.test/";
	size_t start = strlen(text);

	(void)state;
	memset(text + start, 'x', sizeof text - start);
	assert_int_equal(url_parse((struct text){ text, URL_MAX }, &(struct url){ 0 }), 0);
	assert_int_equal(url_parse((struct text){ text, URL_MAX + 1 }, &(struct url){ 0 }), ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_A63_A65_http_and_https_urls),
		cmocka_unit_test(test_7_35_other_schemes_users_fragments_and_broken_ones_are_refused),
		cmocka_unit_test(test_it_has_a_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
