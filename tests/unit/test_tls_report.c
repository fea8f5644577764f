/* What tracking has, counted (B57): each mail once, each way, and what failed for want of TLS. */
#include "report/tls_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/text.h"
#include "test_help.h"

#define TLS(desired, obtained, reason)                                                                       \
	"{\"desired\":\"" desired "\",\"obtained\":\"" obtained "\",\"reason\":\"" reason "\"}"
#define ATTEMPT(dcid, reply, tls)                                                                            \
	"{\"time\":\"2026-11-22T10:00:00Z\",\"dcid\":" dcid ",\"reply\":\"" reply "\",\"tls\":" tls "}"
#define RECIPIENT(address, attempts) "{\"address\":\"" address "\",\"attempts\":[" attempts "]}"
#define MAIL(sender, tls, recipients)                                                                        \
	"{\"mid\":1,\"sender\":\"" sender "\",\"inbound\":{\"tls\":" tls "},\"recipients\":[" recipients "]}"

static void add(struct tls_report *report, const char *text)
{
	json_t *record = json_loads(text, 0, NULL);

	assert_non_null(record);
	tls_report_add(report, record);
	json_decref(record);
}

/* "mails in_tls verified in_clear failed" of a half, of one of its levels (NULL: all). */
static void expect(json_t *half, const char *level, const char *wanted)
{
	static const char *const keys[] = { "mails", "in_tls", "verified", "in_clear", "failed" };
	json_t *sums = level == NULL ? half : json_object_get(json_object_get(half, "wanted"), level);
	char found[128] = "";

	for (size_t i = 0; i < 5; i++)
		snprintf(found + strlen(found), sizeof found - strlen(found), "%s%lld", i == 0 ? "" : " ",
			(long long)json_integer_value(json_object_get(sums, keys[i])));
	assert_string_equal(found, wanted);
}

static void test_B57_each_mail_counts_once_each_way(void **state)
{
	struct tls_report *report = tls_report_new(NULL, NULL);

	(void)state;
	/* Two recipients of one domain over one connection, and another domain in clear. */
	add(report, MAIL("A@Sender.test", TLS("required", "encrypted", ""),
			    RECIPIENT("r@a.test",
				    ATTEMPT("\"d-1\"", "250 ok",
					    TLS("required-verify", "verified", ""))) "," RECIPIENT("q@A.test",
				    ATTEMPT("\"d-1\"", "250 ok",
					    TLS("required-verify", "verified", ""))) "," RECIPIENT("q@b.test",
				    ATTEMPT("\"d-2\"", "250 ok", TLS("preferred-verify", "none", "")))));
	/* A report of ours came in from nobody; it goes out all the same. */
	add(report,
		MAIL("", "null",
			RECIPIENT("a@sender.test", ATTEMPT("\"d-3\"", "250 ok", TLS("none", "none", "")))));
	add(report, MAIL("", TLS("preferred", "none", ""), ""));
	/* A refusal of the peer's is not about TLS; the next attempt is encrypted. */
	add(report, MAIL("a@sender.test", TLS("none", "none", ""),
			    RECIPIENT("r@a.test",
				    ATTEMPT("\"d-4\"", "450 4.7.1 later",
					    TLS("preferred", "encrypted", "")) "," ATTEMPT("\"d-5\"",
					    "250 ok", TLS("preferred", "encrypted", "")))));

	json_t *json = tls_report_json(report, 10), *in = json_object_get(json, "incoming"),
	       *out = json_object_get(json, "outgoing"), *domains = json_object_get(json, "domains");
	expect(in, NULL, "3 1 0 2 0");
	expect(in, "required", "1 1 0 0 0");
	expect(in, "preferred", "1 0 0 1 0");
	expect(in, "none", "1 0 0 1 0");
	expect(out, NULL, "4 2 1 2 0");
	expect(out, "required", "1 1 1 0 0");
	expect(out, "preferred", "2 1 0 1 0");
	expect(out, "none", "1 0 0 1 0");
	assert_true(json_real_value(json_object_get(out, "percent_in_tls")) == 50.0);
	assert_int_equal(json_array_size(domains), 4);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(domains, 0), "domain")), "sender.test");
	expect(json_object_get(json_array_get(domains, 0), "incoming"), NULL, "2 1 0 1 0");
	expect(json_object_get(json_array_get(domains, 0), "outgoing"), NULL, "1 0 0 1 0");
	json_decref(json);
	talloc_free(report);
}

static void test_B57_failures_are_those_for_want_of_tls(void **state)
{
	struct tls_report *report = tls_report_new(NULL, NULL);
	static const char *const refusals[] = { "530 5.7.0 Must issue a STARTTLS command first",
		TLS_REPORT_HANDSHAKE, "550 5.7.1 relaying denied" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char *text = text_must(talloc_asprintf(NULL,
			"{\"mid\":null,\"sender\":\"\",\"inbound\":{\"tls\":%s},\"recipients\":[{\"attempts\":[{\"reply\":\"%s\"}]}]}",
			i == 1 ? TLS("preferred", "none", "no shared cipher") : TLS("required", "none", "no"),
			refusals[i]));

		add(report, text);
		talloc_free(text);
	}
	add(report,
		MAIL("a@sender.test", TLS("preferred", "encrypted", ""),
			RECIPIENT("r@a.test",
				ATTEMPT("\"d-1\"", "450 4.7.5 TLS: why",
					TLS("required", "none", "why")) "," ATTEMPT("\"d-2\"",
					"450 4.4.1 cannot connect",
					TLS("required", "none", "x")) "," ATTEMPT("null",
					"450 4.7.5 TLSA lookup failed", "null") "," ATTEMPT("\"d-3\"",
					"550 5.4.7 not delivered in time; the last answer was: 450 4.7.5 TLS: why",
					TLS("preferred", "none", "why"))) "," RECIPIENT("s@a.test",
				ATTEMPT("\"d-1\"", "450 4.7.5 TLS: why", TLS("required", "none", "why")))));

	json_t *json = tls_report_json(report, 1), *in = json_object_get(json, "incoming"),
	       *out = json_object_get(json, "outgoing");
	expect(in, "required", "0 0 0 0 1");
	expect(in, "preferred", "1 1 0 0 1");
	expect(out, "required", "0 0 0 0 2");
	expect(out, "preferred", "0 0 0 0 1");
	assert_true(json_is_null(json_object_get(out, "percent_in_tls")));
	json_t *first = json_array_get(json_object_get(out, "reasons"), 0);
	assert_string_equal(json_string_value(json_object_get(first, "reason")), "why");
	assert_int_equal(json_integer_value(json_object_get(first, "count")), 2);
	assert_int_equal(json_array_size(json_object_get(in, "reasons")), 2);
	assert_int_equal(json_array_size(json_object_get(json, "domains")), 1);
	assert_int_equal(json_integer_value(json_object_get(json, "domains_left_out")), 3);
	json_decref(json);
	talloc_free(report);
}

/* A server that DANE vouches for, but not for its being the right one, is not verified; the one before it, tried in vain, is a failure of its own. */
static void test_B57_trusted_and_earlier_servers(void **state)
{
	struct tls_report *report = tls_report_new(NULL, NULL);

	(void)state;
	add(report,
		MAIL("a@sender.test", TLS("preferred", "encrypted", ""),
			RECIPIENT("r@a.test",
				ATTEMPT("\"d-2\"", "250 ok",
					"{\"desired\":\"required\",\"obtained\":\"trusted\",\"earlier\":["
					"{\"reply\":\"450 4.7.5 TLS: why\",\"tls\":{\"desired\":\"required\"}},"
					"{\"reply\":\"450 4.4.1 cannot connect\",\"tls\":{\"desired\":\"required\"}}]}"))));
	json_t *json = tls_report_json(report, 10);
	expect(json_object_get(json, "outgoing"), "required", "1 1 0 0 1");
	json_decref(json);
	talloc_free(report);
}

/* Nobody switched TLS off there. */
static void test_B57_C6_the_temporary_list_has_its_own_row(void **state)
{
	struct tls_report *report = tls_report_new(NULL, NULL);

	(void)state;
	add(report,
		MAIL("a@sender.test", "null",
			RECIPIENT("r@a.test",
				ATTEMPT("\"d-1\"", "250 ok",
					"{\"desired\":\"none\",\"obtained\":\"none\",\"policy\":{\"decided_by\":\"temporary-list\"}}"))));
	json_t *json = tls_report_json(report, 10), *out = json_object_get(json, "outgoing");
	expect(out, NULL, "1 0 0 1 0");
	expect(out, "temporary-list", "1 0 0 1 0");
	expect(out, "none", "0 0 0 0 0");
	json_decref(json);
	talloc_free(report);
}

static void test_one_domain_only(void **state)
{
	struct tls_report *report = tls_report_new(NULL, "a.test");

	(void)state;
	add(report, MAIL("x@a.test", TLS("preferred", "encrypted", ""),
			    RECIPIENT("r@b.test",
				    ATTEMPT("\"d-1\"", "250 ok", TLS("preferred", "encrypted", "")))));
	json_t *json = tls_report_json(report, 10);
	expect(json_object_get(json, "incoming"), NULL, "1 1 0 0 0");
	expect(json_object_get(json, "outgoing"), NULL, "0 0 0 0 0");
	assert_int_equal(json_array_size(json_object_get(json, "domains")), 1);
	json_decref(json);
	talloc_free(report);
}

/* More reasons and legs than are kept; strange records are no error. */
static void test_it_is_bounded(void **state)
{
	struct tls_report *report = tls_report_new(NULL, NULL);

	(void)state;
	for (int i = 0; i < 1200; i++) {
		char *text = text_must(talloc_asprintf(NULL,
			"{\"mid\":1,\"sender\":\"a@x.test\",\"recipients\":[{\"address\":\"r@y.test\",\"attempts\":[{\"dcid\":\"d%d\",\"reply\":\"450 4.7.5 TLS: %d\","
			"\"tls\":{\"desired\":\"required\"}}]}]}",
			i, i));

		add(report, text);
		talloc_free(text);
	}
	add(report, "{}");
	add(report, "{\"mid\":1,\"recipients\":[{\"attempts\":[{\"reply\":\"250\",\"tls\":3},7]},\"x\"]}");
	json_t *json = tls_report_json(report, 10), *out = json_object_get(json, "outgoing");
	expect(out, NULL, "0 0 0 0 1200");
	assert_int_equal(json_array_size(json_object_get(out, "reasons")), 10);
	assert_int_equal(json_integer_value(json_object_get(out, "reasons_left_out")), 1190);
	json_decref(json);
	talloc_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B57_each_mail_counts_once_each_way),
		cmocka_unit_test(test_B57_failures_are_those_for_want_of_tls),
		cmocka_unit_test(test_B57_trusted_and_earlier_servers),
		cmocka_unit_test(test_B57_C6_the_temporary_list_has_its_own_row),
		cmocka_unit_test(test_one_domain_only),
		cmocka_unit_test(test_it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
