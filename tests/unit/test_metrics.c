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
#include "policy/tls_decide.h"
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
		assert_true(counts || strcmp(row->family->type, "gauge") == 0 ||
			    strcmp(row->family->type, "histogram") == 0);
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

/* What the labels say is what is counted, for every version and group. */
static void test_each_tls_version_and_group_is_counted_as_itself(void **state)
{
	static const char *const versions[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };
	/* as OpenSSL calls it, as the page does */
	static const char *const groups[][2] = { { "x25519", "X25519" }, { "X25519", "X25519" },
		{ "secp256r1", "secp256r1" }, { "secp384r1", "secp384r1" }, { "secp521r1", "secp521r1" },
		{ "x448", "X448" }, { "ffdhe2048", "ffdhe" }, { "ffdhe8192", "ffdhe" },
		{ "X25519MLKEM768", "X25519MLKEM768" }, { "brainpoolP256r1", "other" }, { "", "other" } };
	static const struct {
		enum metric block;
		const char *dir;
	} dirs[] = { { METRIC_TLS_IN, "in" }, { METRIC_TLS_OUT, "out" } };

	(void)state;
	for (size_t i = 0; i < COUNT(versions) * COUNT(groups) * COUNT(dirs); i++) {
		const char *version = versions[i % COUNT(versions)];
		const char *const *group = groups[i / COUNT(versions) % COUNT(groups)];
		size_t d = i / COUNT(versions) / COUNT(groups);
		struct metrics metrics = { 0 };
		char labels[128];

		snprintf(labels, sizeof labels, "dir=\"%s\",version=\"%s\",group=\"%s\",result=\"ok\"",
			dirs[d].dir, version, group[1]);
		metrics_count_tls(&metrics, dirs[d].block, version, group[0]);
		for (int n = 0; n < METRIC_COUNT; n++)
			assert_int_equal(atomic_load(&metrics.values[n]),
				strcmp(metrics_row((enum metric)n)->labels, labels) == 0);
	}
}

static void test_each_level_has_a_row_of_its_own(void **state)
{
	static const struct {
		enum metric block;
		const char *result;
	} blocks[] = { { METRIC_DELIVERED, "delivered" }, { METRIC_DEFERRED, "deferred" },
		{ METRIC_BOUNCED, "bounced" } };

	(void)state;
	for (size_t i = 0; i < COUNT(blocks); i++)
		for (int level = 0; level < METRICS_LEVELS; level++) {
			const struct tls_facts facts = { .level = (enum tls_level)level };
			char labels[64];

			snprintf(labels, sizeof labels, "result=\"%s\",level=\"%s\"", blocks[i].result,
				tls_decide(&facts).level);
			assert_string_equal(
				metrics_row((enum metric)((int)blocks[i].block + level))->labels, labels);
		}
}

/* What the labels say is what is counted, for every source and result. */
static void test_each_source_of_a_policy_is_counted_as_itself(void **state)
{
	static const char *const sources[TLS_SOURCE_COUNT] = { [TLS_SOURCE_REQUIRETLS] = "requiretls",
		[TLS_SOURCE_DANE_MANDATORY] = "dane",
		[TLS_SOURCE_MTA_STS] = "mta_sts",
		[TLS_SOURCE_DANE] = "dane" };
	static const char *const results[] = { [METRICS_POLICY_CLEAR] = "clear",
		[METRICS_POLICY_ENCRYPTED] = "encrypted",
		[METRICS_POLICY_REFUSED] = "refused",
		[METRICS_POLICY_VERIFIED] = "verified" };

	(void)state;
	assert_int_equal(COUNT(results), METRICS_POLICIES);
	for (int source = 0; source < TLS_SOURCE_COUNT; source++)
		for (int result = 0; result < METRICS_POLICIES; result++) {
			struct metrics metrics = { 0 };
			char labels[64];

			snprintf(labels, sizeof labels, "source=\"%s\",result=\"%s\"",
				sources[source] == NULL ? "local" : sources[source], results[result]);
			metrics_count_policy(&metrics, (enum tls_source)source, (enum metrics_policy)result);
			for (int n = 0; n < METRIC_COUNT; n++)
				assert_int_equal(atomic_load(&metrics.values[n]),
					strcmp(metrics_row((enum metric)n)->labels, labels) == 0);
		}
}

static void test_each_result_of_dane_is_counted_as_itself(void **state)
{
	(void)state;
	for (int finding = 0; finding < DANE_FINDING_COUNT; finding++)
		for (int passed = 0; passed < 2; passed++) {
			struct metrics metrics = { 0 };
			char name[64];

			snprintf(name, sizeof name, "dane_by.%s",
				dane_result_word(dane_result((enum dane_finding)finding, passed != 0)));
			metrics_count_dane(&metrics, (enum dane_finding)finding, passed != 0);
			for (int n = 0; n < METRIC_COUNT; n++)
				assert_int_equal(atomic_load(&metrics.values[n]),
					finding != DANE_NOT_LOOKED &&
						strcmp(metrics_name((enum metric)n), name) == 0);
		}
}

static void test_a_duration_is_in_the_first_bucket_that_holds_it(void **state)
{
	static const enum metric histograms[] = { METRIC_DELIVERY_TIME, METRIC_SYNC_TIME };
	enum { REST = METRICS_BUCKETS, SUM };

	(void)state;
	for (size_t i = 0; i < COUNT(histograms); i++) {
		const int first = (int)histograms[i];
		int64_t before = 0, sum = 0;
		struct metrics metrics = { 0 };

		for (int n = 0; n < METRICS_BUCKETS; n++) {
			int64_t bound = metrics_row((enum metric)(first + n))->bound;

			assert_true(bound > before);
			assert_int_equal(
				(int64_t)(strtod(metrics_row((enum metric)(first + n))->labels + 4, NULL) *
						  1e6 +
					  0.5),
				bound);
			metrics_observe(&metrics, histograms[i], before + 1);
			metrics_observe(&metrics, histograms[i], bound);
			sum += before + 1 + bound;
			before = bound;
			assert_int_equal(atomic_load(&metrics.values[first + n]), 2);
		}
		assert_int_equal(atomic_load(&metrics.values[first + REST]), 0);
		metrics_observe(&metrics, histograms[i], before + 1);
		assert_int_equal(atomic_load(&metrics.values[first + REST]), 1);
		assert_int_equal(atomic_load(&metrics.values[first + SUM]), sum + before + 1);
		metrics_observe(&metrics, histograms[i], -5);
		assert_int_equal(atomic_load(&metrics.values[first]), 3);
		assert_int_equal(atomic_load(&metrics.values[first + SUM]), sum + before + 1);
		for (int n = 0; n < METRIC_COUNT; n++)
			assert_true(
				(n >= first && n <= first + SUM) == (atomic_load(&metrics.values[n]) != 0));
	}
}

static void test_sessions_are_counted_by_listener_and_by_tls(void **state)
{
	struct metrics metrics = { 0 };
	struct metrics_listener *a = metrics_listener(&metrics, "a"), *b = metrics_listener(&metrics, "b");

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(metrics_listener(&metrics, "a"), a);
	metrics_count_session(&metrics, "b", METRICS_STARTTLS);
	metrics_count_session(&metrics, "b", METRICS_IMPLICIT);
	metrics_count_session(&metrics, "b", METRICS_IMPLICIT);
	metrics_count_session(&metrics, "c", METRICS_STARTTLS); /* nobody was told of it */
	for (int i = 0; i < METRICS_TLS_COUNT; i++) {
		assert_int_equal(atomic_load(&a->sessions[i]), 0);
		assert_int_equal(atomic_load(&b->sessions[i]), i);
	}
	assert_int_equal(metrics.listener_count, 2);
}

static void test_listeners_beyond_the_room_share_a_place(void **state)
{
	struct metrics metrics = { 0 };
	char name[METRICS_NAME_MAX];

	(void)state;
	for (int i = 0; i < METRICS_LISTENERS + 5; i++) {
		/* as long as a name may be, and different at its end only */
		snprintf(name, sizeof name, "%064d", i);
		metrics_listener(&metrics, name);
		metrics_count_session(&metrics, name, METRICS_CLEAR);
	}
	assert_int_equal(metrics.listener_count, METRICS_LISTENERS);
	for (int i = 0; i < METRICS_LISTENERS - 1; i++)
		assert_int_equal(atomic_load(&metrics.listeners[i].sessions[METRICS_CLEAR]), 1);
	assert_string_equal(metrics.listeners[METRICS_LISTENERS - 1].name, "other");
	assert_int_equal(atomic_load(&metrics.listeners[METRICS_LISTENERS - 1].sessions[METRICS_CLEAR]), 6);
}

static void test_metrics_are_joined(void **state)
{
	struct metrics one = { 0 }, sum = { 0 };

	(void)state;
	metrics_count(&one, METRIC_ACCEPTED);
	metrics_listener(&one, "a");
	metrics_listener(&one, "b");
	metrics_listener(&sum, "b");
	metrics_count_session(&one, "b", METRICS_CLEAR);
	metrics_join(&one, &sum);
	metrics_join(&one, &sum);
	assert_int_equal(sum.listener_count, 2);
	assert_int_equal(atomic_load(&metrics_listener(&sum, "b")->sessions[METRICS_CLEAR]), 2);
	assert_int_equal(atomic_load(&metrics_listener(&sum, "a")->sessions[METRICS_CLEAR]), 0);
	assert_int_equal(atomic_load(&sum.values[METRIC_ACCEPTED]), 2);
	assert_int_equal(atomic_load(&sum.values[METRIC_REJECTED]), 0);
}

static void test_the_page_shows_the_status(void **state)
{
	char *page = page_metrics(NULL,
		"{\"version\":\"1\",\"generation\":7,\"reloads_refused\":2,\"refreshes_refused\":5,"
		"\"refused\":[{\"part\":\"certificates\"}],"
		"\"roles\":[{\"name\":\"front\",\"up\":true,\"restarts\":3},"
		"{\"name\":\"queue\",\"up\":false,\"restarts\":0}],"
		"\"certificates\":[{\"name\":\"a\\\"b\\\\c\\nd\",\"seconds_left\":-5}],"
		"\"counters\":{\"accepted\":9,\"tls_in\":{\"TLSv1.3\":4,\"failed\":1},"
		"\"connections_by\":{\"in\":{\"none\":3,\"starttls\":2}},"
		"\"sync_seconds\":{\"0.001\":5,\"0.002\":1,\"5\":2,\"+Inf\":1,\"sum_us\":12000345},"
		"\"tls_in_by\":{\"TLSv1.3.X25519\":4}}}");
	static const char *const lines[] = {
		"# TYPE postern_mails_accepted_total counter\npostern_mails_accepted_total 9\n",
		"postern_tls_handshake_total{dir=\"in\",version=\"TLSv1.3\",group=\"X25519\",result=\"ok\"} 4\n",
		"postern_tls_handshake_total{dir=\"in\",version=\"TLSv1.2\",group=\"X25519\",result=\"ok\"} 0\n",
		"postern_tls_handshake_total{dir=\"in\",version=\"\",group=\"\",result=\"failed\"} 1\n",
		"# TYPE postern_connections_total counter\n"
		"postern_connections_total{listener=\"in\",proto=\"smtp\",tls=\"none\"} 3\n"
		"postern_connections_total{listener=\"in\",proto=\"smtp\",tls=\"starttls\"} 2\n",
		"# TYPE postern_spool_fsync_seconds histogram\n"
		"postern_spool_fsync_seconds_bucket{le=\"0.0005\"} 0\n"
		"postern_spool_fsync_seconds_bucket{le=\"0.001\"} 5\n"
		"postern_spool_fsync_seconds_bucket{le=\"0.002\"} 6\n"
		"postern_spool_fsync_seconds_bucket{le=\"0.005\"} 6\n",
		"postern_spool_fsync_seconds_bucket{le=\"5\"} 8\n"
		"postern_spool_fsync_seconds_bucket{le=\"+Inf\"} 9\n"
		"postern_spool_fsync_seconds_sum 12.000345\n"
		"postern_spool_fsync_seconds_count 9\n",
		"postern_delivery_duration_seconds_sum 0.000000\npostern_delivery_duration_seconds_count 0\n",
		"postern_config_generation 7\n",
		"postern_config_reloads_refused_total 2\n",
		"postern_config_refreshes_refused_total 5\n",
		"postern_config_files_refused{part=\"authorities\"} 0\n"
		"postern_config_files_refused{part=\"certificates\"} 1\n"
		"postern_config_files_refused{part=\"revocation\"} 0\n",
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
	struct expiry expiry = { 0 };
	int64_t now = clock_wall_ms();
	char *twice = talloc_asprintf(owner, "%s%s", identity.chain, identity.chain);

	(void)state;
	assert_int_equal(expiry_of_chain(text_of(identity.chain), now, &expiry), 0);
	assert_in_range(expiry.left_s, 3500, 3600);
	assert_int_equal(expiry_of_chain(text_of(twice), now + 7200 * 1000, &expiry), 0);
	assert_true(expiry.left_s < -3500 && expiry.left_s >= -3700);
	assert_int_equal(expiry_of_chain(TEXT("nothing"), now, &expiry), ERR_FORMAT);
	assert_int_equal(expiry_of_chain(text_of(identity.key), now, &expiry), ERR_FORMAT);
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_metric_has_a_row_of_its_own),
		cmocka_unit_test(test_each_tls_version_and_group_is_counted_as_itself),
		cmocka_unit_test(test_each_level_has_a_row_of_its_own),
		cmocka_unit_test(test_each_source_of_a_policy_is_counted_as_itself),
		cmocka_unit_test(test_each_result_of_dane_is_counted_as_itself),
		cmocka_unit_test(test_a_duration_is_in_the_first_bucket_that_holds_it),
		cmocka_unit_test(test_sessions_are_counted_by_listener_and_by_tls),
		cmocka_unit_test(test_listeners_beyond_the_room_share_a_place),
		cmocka_unit_test(test_metrics_are_joined),
		cmocka_unit_test(test_the_page_shows_the_status),
		cmocka_unit_test(test_what_is_no_status_has_no_page),
		cmocka_unit_test(test_the_expiry_of_a_chain_is_that_of_its_first_to_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
