/* The Received field: its clauses, its lines, and that nobody breaks out of it (conformance 1.64, 1.65). */
#include "wire/received.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"

#define DATE "Fri, 20 Nov 2026 10:20:30 +0000"
#define L63  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define D255 L63 "." L63 "." L63 "." L63
#define P50  "((((((((((((((((((((((((((((((((((((((((((((((((((("
#define P200 P50 P50 P50 P50

/* The session of the example; each case changes what its name says. */
static struct received example(void)
{
	return (struct received){
		.helo = TEXT("client.example"),
		.client = TEXT("[192.0.2.1]"),
		.hostname = TEXT("gw.good.test"),
		.esmtp = true,
		.protocol = TEXT("TLSv1.3"),
		.cipher = TEXT("TLS_AES_256_GCM_SHA384"),
		.group = TEXT("x25519"),
		.id = TEXT("65f0-12"),
		.rcpt = TEXT("a@b.test"),
		.date = TEXT(DATE),
	};
}

static void gives(const char *name, const struct received *received, const char *want)
{
	void *owner = talloc_new(NULL);
	char *got = received_format(owner, received);

	assert_ptr_equal(talloc_parent(got), owner);
	if (strcmp(got, want) != 0)
		fail_msg("%s:\n%s", name, got);
	talloc_free(owner);
}

static void test_1_64_clauses_stand_in_the_order_of_the_grammar(void **state)
{
	struct received r = example();

	(void)state;
	gives("ESMTP in TLS", &r,
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby gw.good.test (Postern) with ESMTPS\r\n"
		"\tid 65f0-12\r\n"
		"\tfor <a@b.test>\r\n"
		"\ttls TLS_AES_256_GCM_SHA384 (TLSv1.3, x25519);\r\n"
		"\t" DATE "\r\n");

	r.esmtp = false;
	r.group = TEXT("");
	gives("1.64 HELO is SMTP even in TLS", &r,
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby gw.good.test (Postern) with SMTP\r\n"
		"\tid 65f0-12\r\n"
		"\tfor <a@b.test>\r\n"
		"\ttls TLS_AES_256_GCM_SHA384 (TLSv1.3);\r\n"
		"\t" DATE "\r\n");

	r.esmtp = true;
	r.protocol = r.cipher = r.rcpt = TEXT("");
	gives("in clear, several recipients", &r,
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby gw.good.test (Postern) with ESMTP\r\n"
		"\tid 65f0-12;\r\n"
		"\t" DATE "\r\n");
}

/* RFC 3848 and RFC 6531 section 4.3, all sixteen sessions. */
static void test_1_64_each_session_has_its_with_value(void **state)
{
	static const char *const names[16] = { "SMTP", "SMTP", "SMTP", "SMTP", "SMTP", "SMTP", "SMTP", "SMTP",
		"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA" };

	(void)state;
	for (unsigned i = 0; i < COUNT(names); i++) {
		struct received r = example();
		void *owner = talloc_new(NULL);

		r.esmtp = i & 8;
		r.utf8 = i & 4;
		r.authenticated = i & 1;
		if (!(i & 2))
			r.protocol = r.cipher = TEXT("");
		const char *field = received_format(owner, &r);
		const char *want = talloc_asprintf(owner, " with %s\r\n\tid ", names[i]);
		if (strstr(field, want) == NULL)
			fail_msg("%s:\n%s", names[i], field);
		talloc_free(owner);
	}
}

static void test_1_65_the_client_certificate_is_quoted(void **state)
{
	static const struct {
		const char *name;
		struct text subject, issuer;
		const char *want;
	} cases[] = {
		{ "none", TEXT(""), TEXT(""), "" },
		{ "both", TEXT("CN=mail.example"), TEXT("CN=Example CA,O=Example"),
			"\r\n\t(client certificate CN=mail.example) (issued by CN=Example CA,O=Example)" },
		{ "a subject alone", TEXT("CN=a"), TEXT(""), " (client certificate CN=a)" },
		{ "1.65 a CN that closes the comment", TEXT("CN=a) by evil (x"), TEXT(""),
			"\r\n\t(client certificate CN=a\\) by evil \\(x)" },
		{ "1.65 a CN with a backslash at its end", TEXT("CN=a\\"), TEXT(""),
			" (client certificate CN=a\\\\)" },
		{ "1.65 CR LF and a NUL", TEXT("CN=a\r\nBcc: b\0"), TEXT(""),
			"\r\n\t(client certificate CN=a??Bcc: b?)" },
		{ "1.65 no ASCII", TEXT("CN=\xc3\xa4"), TEXT("\xff"),
			" (client certificate CN=?\?)\r\n\t(issued by ?)" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct received r = example();
		void *owner = talloc_new(NULL);
		char *want = talloc_asprintf(owner,
			"Received: from client.example ([192.0.2.1])\r\n"
			"\tby gw.good.test (Postern) with ESMTPS\r\n"
			"\tid 65f0-12\r\n"
			"\tfor <a@b.test>\r\n"
			"\ttls TLS_AES_256_GCM_SHA384 (TLSv1.3, x25519)%s;\r\n"
			"\t" DATE "\r\n",
			cases[i].want);

		r.certificate_subject = cases[i].subject;
		r.certificate_issuer = cases[i].issuer;
		gives(cases[i].name, &r, want);
		talloc_free(owner);
	}
}

static void test_1_64_a_utf8_recipient_stands_in_a_utf8_transaction_only(void **state)
{
	struct received r = example();

	(void)state;
	r.rcpt = TEXT("\xc3\xa4@\xc3\xbc.test");
	r.protocol = r.cipher = TEXT("");
	gives("not without SMTPUTF8", &r,
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby gw.good.test (Postern) with ESMTP\r\n\tid 65f0-12;\r\n\t" DATE "\r\n");
	r.utf8 = true;
	gives("with SMTPUTF8", &r,
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby gw.good.test (Postern) with UTF8SMTP\r\n\tid 65f0-12\r\n"
		"\tfor <\xc3\xa4@\xc3\xbc.test>;\r\n\t" DATE "\r\n");
}

static const struct {
	const char *name;
	struct text helo;
	const char *want; /* the first line and what belongs to it */
} helos[] = {
	{ "an IPv6 literal", TEXT("[IPv6:::1]"), "from [IPv6:::1] ([192.0.2.1])" },
	{ "no domain", TEXT("a..b"), "from unknown ([192.0.2.1]) (a..b)" },
	{ "nothing", TEXT(""), "from unknown ([192.0.2.1])" },
	{ "1.65 parentheses", TEXT("x) by (y"), "from unknown ([192.0.2.1]) (x\\) by \\(y)" },
	{ "1.65 a backslash at the end", TEXT("x\\"), "from unknown ([192.0.2.1]) (x\\\\)" },
	{ "1.65 CR LF and a field", TEXT("x\r\nBcc: y"), "from unknown ([192.0.2.1]) (x??Bcc: y)" },
	{ "1.65 NUL, DEL and 8-bit bytes", TEXT("\0\x7f\xc3\xa4"), "from unknown ([192.0.2.1]) (???\?)" },
	{ "a semicolon", TEXT("x;y"), "from unknown ([192.0.2.1]) (x;y)" },
	{ "a long name", TEXT(D255), "from\r\n\t" D255 "\r\n\t([192.0.2.1])" },
	{ "a name of 256", TEXT("_" D255),
		"from unknown ([192.0.2.1])\r\n\t(_" L63 "." L63 "." L63 ".aaaaaaa)" },
};

static void test_1_65_the_name_of_the_client_breaks_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(helos); i++) {
		struct received r = example();
		void *owner = talloc_new(NULL);
		char *want = talloc_asprintf(owner,
			"Received: %s\r\n\tby gw.good.test (Postern) with ESMTP\r\n\tid 65f0-12;\r\n\t" DATE
			"\r\n",
			helos[i].want);

		r.helo = helos[i].helo;
		r.protocol = r.cipher = r.rcpt = TEXT("");
		gives(helos[i].name, &r, want);
		talloc_free(owner);
	}
}

static const struct {
	const char *name;
	struct text rcpt;
	const char *want; /* NULL: no for clause */
} rcpts[] = {
	{ "a quoted local part", TEXT("\"a;\\\"(b\"@c"), "\r\n\tfor <\"a;\\\"(b\"@c>" },
	{ "a literal", TEXT("a@[192.0.2.9]"), "\r\n\tfor <a@[192.0.2.9]>" },
	{ "postmaster alone has no place in the grammar", TEXT("postmaster"), NULL },
	{ "1.65 CR LF", TEXT("a@b\r\nBcc: x"), NULL },
	{ "1.65 a NUL", TEXT("a@b\0"), NULL },
	{ "a bracket", TEXT("a@b> x"), NULL },
};

static void test_1_65_the_recipient_breaks_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rcpts); i++) {
		struct received r = example();
		void *owner = talloc_new(NULL);
		char *want = talloc_asprintf(owner,
			"Received: from client.example ([192.0.2.1])\r\n"
			"\tby gw.good.test (Postern) with ESMTP\r\n\tid 65f0-12%s;\r\n\t" DATE "\r\n",
			rcpts[i].want != NULL ? rcpts[i].want : "");

		r.rcpt = rcpts[i].rcpt;
		r.protocol = r.cipher = TEXT("");
		gives(rcpts[i].name, &r, want);
		talloc_free(owner);
	}
}

static void test_1_65_names_from_tls_are_quoted(void **state)
{
	struct received r = example();

	(void)state;
	r.cipher = TEXT("A;(\r\nB");
	r.protocol = TEXT("x)y");
	r.group = TEXT("\\\n\xff");
	gives("1.65 cipher, protocol and group", &r,
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby gw.good.test (Postern) with ESMTPS\r\n"
		"\tid 65f0-12\r\n"
		"\tfor <a@b.test>\r\n"
		"\ttls A????B (x\\)y, \\\\?\?);\r\n"
		"\t" DATE "\r\n");
}

static void test_no_line_passes_998_octets_and_short_words_stay_within_78(void **state)
{
	struct received r = example();
	void *owner = talloc_new(NULL);
	size_t limits[2] = { 78, 998 };

	(void)state;
	for (size_t i = 0; i < COUNT(limits); i++) {
		char *field = received_format(owner, &r);

		for (char *line = field, *end; *line != '\0'; line = end + 2) {
			end = strstr(line, "\r\n");
			assert_non_null(end);
			assert_true((size_t)(end - line) <= limits[i]);
			assert_true(line == field || (line[0] == '\t' && end - line > 1));
		}
		/* Second time: the worst of everything. */
		r.helo = r.id = r.cipher = r.protocol = r.group = r.client = r.certificate_subject =
			r.certificate_issuer = TEXT(P200 P200 P200 P200 P200);
		r.rcpt = TEXT("\"" P50 "\"@" D255);
	}
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_64_clauses_stand_in_the_order_of_the_grammar),
		cmocka_unit_test(test_1_64_each_session_has_its_with_value),
		cmocka_unit_test(test_1_64_a_utf8_recipient_stands_in_a_utf8_transaction_only),
		cmocka_unit_test(test_1_65_the_client_certificate_is_quoted),
		cmocka_unit_test(test_1_65_the_name_of_the_client_breaks_nothing),
		cmocka_unit_test(test_1_65_the_recipient_breaks_nothing),
		cmocka_unit_test(test_1_65_names_from_tls_are_quoted),
		cmocka_unit_test(test_no_line_passes_998_octets_and_short_words_stay_within_78),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
