/* Counters: every metric has a row; the page /metrics follows Prometheus' text format whatever the names are. */
#include "report/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "admin/page.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "pki/expiry.h"
#include "test_help.h"

static void test_every_metric_has_a_row_of_its_own(void **state)
{
	(void)state;
	for (int i = 0; i < METRIC_COUNT; i++) {
		const struct metrics_row *row = metrics_row((enum metric)i);

		assert_non_null(row->family);
		assert_non_null(row->labels);
		assert_string_equal(metrics_name((enum metric)i), row->name);
		assert_null(strpbrk(row->family->help, "\"\\\n"));
		bool counts = strcmp(row->family->type, "counter") == 0;
		assert_true(counts || strcmp(row->family->type, "gauge") == 0);
		size_t len = strlen(row->family->name);
		assert_int_equal(len > 6 && strcmp(row->family->name + len - 6, "_total") == 0, counts);
		for (int n = 0; n < i; n++) {
			const struct metrics_row *other = metrics_row((enum metric)n);

			assert_string_not_equal(row->name, other->name);
			if (row->family == other->family)
				assert_string_not_equal(row->labels, other->labels);
			else
				assert_string_not_equal(row->family->name, other->family->name);
			/* a family stands together */
			if (row->family == other->family)
				assert_ptr_equal(metrics_row((enum metric)(n + 1))->family, row->family);
		}
	}
}

static void test_each_tls_version_is_counted_as_itself(void **state)
{
	static const struct {
		const char *protocol;
		enum metric in, out;
	} versions[] = {
		{ "TLSv1", METRIC_TLS_IN_1_0, METRIC_TLS_OUT_1_0 },
		{ "TLSv1.1", METRIC_TLS_IN_1_1, METRIC_TLS_OUT_1_1 },
		{ "TLSv1.2", METRIC_TLS_IN_1_2, METRIC_TLS_OUT_1_2 },
		{ "TLSv1.3", METRIC_TLS_IN_1_3, METRIC_TLS_OUT_1_3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(versions); i++) {
		struct metrics metrics = { 0 };

		metrics_count_tls(&metrics, METRIC_TLS_IN_1_2, versions[i].protocol);
		metrics_count_tls(&metrics, METRIC_TLS_OUT_1_2, versions[i].protocol);
		for (int n = 0; n < METRIC_COUNT; n++)
			assert_int_equal(atomic_load(&metrics.values[n]),
				n == (int)versions[i].in || n == (int)versions[i].out);
	}
}

static void test_metrics_are_joined(void **state)
{
	struct metrics one = { 0 }, sum = { 0 };

	(void)state;
	metrics_count(&one, METRIC_ACCEPTED);
	metrics_join(&one, &sum);
	metrics_join(&one, &sum);
	assert_int_equal(atomic_load(&sum.values[METRIC_ACCEPTED]), 2);
	assert_int_equal(atomic_load(&sum.values[METRIC_REJECTED]), 0);
}

static void test_the_page_shows_the_status(void **state)
{
	char *page =
		page_metrics(NULL, "{\"version\":\"1\",\"generation\":7,\"reloads_refused\":2,"
				   "\"roles\":[{\"name\":\"front\",\"up\":true,\"restarts\":3},"
				   "{\"name\":\"queue\",\"up\":false,\"restarts\":0}],"
				   "\"certificates\":[{\"name\":\"a\\\"b\\\\c\\nd\",\"seconds_left\":-5}],"
				   "\"counters\":{\"accepted\":9,\"tls_in\":{\"TLSv1.3\":4}}}");
	static const char *const lines[] = {
		"# TYPE postern_mails_accepted_total counter\npostern_mails_accepted_total 9\n",
		"postern_tls_handshake_total{dir=\"in\",version=\"TLSv1.3\",result=\"ok\"} 4\n",
		"postern_tls_handshake_total{dir=\"in\",version=\"TLSv1.2\",result=\"ok\"} 0\n",
		"postern_config_generation 7\n",
		"postern_config_reloads_refused_total 2\n",
		"postern_role_up{role=\"front\"} 1\npostern_role_up{role=\"queue\"} 0\n",
		"postern_role_restarts_total{role=\"front\"} 3\n",
		"postern_cert_expiry_seconds{certificate=\"a\\\"b\\\\c\\nd\"} -5\n",
		"postern_build_info{version=\"1\"} 1\n",
	};

	(void)state;
	assert_non_null(page);
	for (size_t i = 0; i < COUNT(lines); i++)
		if (strstr(page, lines[i]) == NULL)
			fail_msg("%s is missing in\n%s", lines[i], page);
	talloc_free(page);
}

static void test_what_is_no_status_has_no_page(void **state)
{
	static const char *const broken[] = { "", "{", "[]", "1", "{}", "{\"counters\":1}" };

	(void)state;
	for (size_t i = 0; i < COUNT(broken); i++)
		assert_null(page_metrics(NULL, broken[i]));
}

static void test_the_expiry_of_a_chain_is_that_of_its_first_to_end(void **state)
{
	void *owner = talloc_new(NULL);
	struct help_identity identity = help_identity(owner); /* good for an hour */
	int64_t now = clock_wall_ms(), left = 0;
	char *twice = talloc_asprintf(owner, "%s%s", identity.chain, identity.chain);

	(void)state;
	assert_int_equal(expiry_of_chain(text_of(identity.chain), now, &left), 0);
	assert_in_range(left, 3500, 3600);
	assert_int_equal(expiry_of_chain(text_of(twice), now + 7200 * 1000, &left), 0);
	assert_true(left < -3500 && left >= -3700);
	assert_int_equal(expiry_of_chain(TEXT("nothing"), now, &left), ERR_FORMAT);
	assert_int_equal(expiry_of_chain(text_of(identity.key), now, &left), ERR_FORMAT);
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_metric_has_a_row_of_its_own),
		cmocka_unit_test(test_each_tls_version_is_counted_as_itself),
		cmocka_unit_test(test_metrics_are_joined),
		cmocka_unit_test(test_the_page_shows_the_status),
		cmocka_unit_test(test_what_is_no_status_has_no_page),
		cmocka_unit_test(test_the_expiry_of_a_chain_is_that_of_its_first_to_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
