/* Ages of queued mail, over restarts and over jumps of the wall clock; what was said about lateness; the schema before all that. */
#include "queue/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "queue/readers.h"
#include "queue/store_admin.h"
#include "queue/store_private.h"
#include "test_help.h"

#define AT_ONCE "mail_flow_policies: [{name: open, tls: none}]\ndelivery: {retry: [100ms]}\n"

enum { ME = 7, LONG_MS = 60000, MINUTE = 60 * 1000, HOUR = 60 * MINUTE };

struct rig {
	char path[64];
	int fd, log_fd;
	const struct config *config;
	struct store *store;
};

static void reopen(struct rig *rig)
{
	const char *why = NULL;

	TALLOC_FREE(rig->store);
	if (store_open(NULL, rig->fd, rig->config, &rig->store, &why) < 0)
		fail_msg("%s", why);
	store_admit(rig->store, ME);
}

static struct rig *rig_new(void)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	char path[100];

	help_directory(rig->path);
	rig->fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/log", rig->path);
	rig->log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	log_open(rig->log_fd, "test", LOG_INFO, LOG_PLAIN);
	rig->config = help_config(AT_ONCE);
	reopen(rig);
	return rig;
}

static void rig_free(struct rig *rig)
{
	talloc_free(rig->store);
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	config_release(rig->config);
	close(rig->fd);
	close(rig->log_fd);
	help_remove(rig->path);
	talloc_free(rig);
}

static unsigned logged(struct rig *rig, const char *event)
{
	char log[8192];
	ssize_t n = pread(rig->log_fd, log, sizeof log - 1, 0);
	unsigned count = 0;

	assert_true(n >= 0);
	log[n] = '\0';
	for (const char *at = log; (at = strstr(at, event)) != NULL; at++)
		count++;
	return count;
}

static unsigned jumps(struct rig *rig)
{
	return logged(rig, " clock_jumped ");
}

/* With the store closed: run `format` with `number` in it. */
static void sql(struct rig *rig, const char *format, int64_t number)
{
	char statement[700];

	TALLOC_FREE(rig->store);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(statement, sizeof statement, format, (long long)number, (long long)number);
#pragma GCC diagnostic pop
	help_sql(rig->path, statement);
}

static void commit(struct rig *rig)
{
	const char *recipients[] = { "one@a.test", "two@a.test" };
	const struct envelope envelope = { .received_ms = clock_wall_ms(),
		.icid = "1a-1",
		.client = "192.0.2.1",
		.helo = "c",
		.tls = "{}",
		.sender = "s@x.test",
		.recipients = recipients,
		.recipient_count = 2 };
	const struct content content = { .bytes = TEXT("x"), .fd = -1, .size = 1 };
	int64_t mid;

	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
}

static struct lease *must_lease(struct rig *rig)
{
	struct lease *lease;

	assert_int_equal(store_lease(rig->store, NULL, ME, NULL, LONG_MS, &lease), 0);
	assert_non_null(lease);
	return lease;
}

/* Lend it, look at its age, and let it wait on; `warned`: the first recipient is told of now. */
static int64_t age_of(struct rig *rig, bool warned)
{
	struct lease *lease = must_lease(rig);
	struct outcome_recipient recipients[] = { { lease->rids[0], OUTCOME_DEFERRED, "450 later",
							  .warned = warned },
		{ lease->rids[1], OUTCOME_DEFERRED, "450 later" } };
	const struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = "",
		.host = "",
		.address = "",
		.tls = "",
		.recipients = recipients,
		.recipient_count = 2 };
	int64_t age = lease->age_ms;

	assert_int_equal(store_record(rig->store, &outcome), 0);
	talloc_free(lease);
	return age;
}

#define CLOCK_WAS "INSERT OR REPLACE INTO clock SELECT 1, max(queued), max(received) - (%lld) FROM message"

static void test_11_35_a_restart_makes_mail_older_by_an_hour_at_most(void **state)
{
	const struct {
		const char *name;
		int64_t rest, older;
		unsigned jumps;
	} cases[] = {
		{ "a quick restart", 0, 0, 0 },
		{ "half an hour", HOUR / 2, HOUR / 2, 0 },
		{ "off for a day", INT64_C(24) * HOUR, 0, 1 },
		{ "+10 years", INT64_C(87660) * HOUR, 0, 1 },
		{ "-10 years", INT64_C(-87660) * HOUR, 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rig *rig = rig_new();

		commit(rig);
		sql(rig, CLOCK_WAS, cases[i].rest);
		reopen(rig);
		int64_t age = age_of(rig, false);
		if (age < cases[i].older || age > cases[i].older + 20 * MINUTE)
			fail_msg("%s: aged by %lld ms", cases[i].name, (long long)age);
		if (jumps(rig) != cases[i].jumps)
			fail_msg("%s: %u jumps", cases[i].name, jumps(rig));
		rig_free(rig);
	}
}

/* Whatever the wall clock says, time that passes counts: mail does not stay for ever. */
static void test_11_35_after_a_step_back_mail_still_grows_older(void **state)
{
	struct rig *rig = rig_new();
	int64_t before;

	(void)state;
	commit(rig);
	sql(rig, CLOCK_WAS, INT64_C(-87660) * HOUR);
	reopen(rig);
	before = age_of(rig, false);
	/* the next try is 100 ms later */
	assert_true(age_of(rig, false) >= before + 100);
	rig_free(rig);
}

static void test_11_35_an_empty_queue_makes_no_alarm(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	sql(rig, "INSERT OR REPLACE INTO clock VALUES (1, %lld, %lld)", 5);
	reopen(rig);
	assert_int_equal(jumps(rig), 0);
	rig_free(rig);
}

static void test_11_35_the_clock_is_saved_while_mail_waits(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	commit(rig);
	sql(rig, CLOCK_WAS, 2 * MINUTE);
	reopen(rig);
	age_of(rig, false); /* two minutes behind what was saved: saves */
	sql(rig, "UPDATE clock SET wall = wall - %lld", INT64_C(2) * HOUR); /* a rest that does not count */
	reopen(rig);
	assert_in_range(age_of(rig, false), 2 * MINUTE, 3 * MINUTE);
	rig_free(rig);
}

static void test_2_26_who_was_told_is_remembered_over_a_restart(void **state)
{
	struct rig *rig = rig_new();
	struct lease *lease;

	(void)state;
	commit(rig);
	age_of(rig, true);
	age_of(rig, false);
	reopen(rig);
	lease = must_lease(rig);
	assert_true(lease->warned[0]);
	assert_false(lease->warned[1]);
	talloc_free(lease);
	rig_free(rig);
}

static void test_2_26_the_next_try_is_the_same_after_a_restart(void **state)
{
	struct rig *rig = rig_new();
	struct lease *lease;

	(void)state;
	config_release(rig->config);
	rig->config = help_config(
		"mail_flow_policies: [{name: open, tls: none}]\ndelivery: {retry: [2h, 100ms]}\n");
	reopen(rig);
	commit(rig);
	age_of(rig, false);
	reopen(rig);
	assert_int_equal(store_lease(rig->store, NULL, ME, NULL, 0, &lease), 0);
	assert_null(lease);
	sql(rig, "UPDATE recipient SET due = due - %lld", 3 * HOUR);
	reopen(rig);
	lease = must_lease(rig);
	assert_int_equal(lease->attempts, 1);
	talloc_free(lease);
	rig_free(rig);
}

/* The outcome of a lease whose destination could not be reached, or that was not tried at all. */
static void record_unreached(struct rig *rig, struct lease *lease)
{
	struct outcome_recipient recipients[] = { { lease->rids[0], OUTCOME_DEFERRED, "450 no" },
		{ lease->rids[1], OUTCOME_DEFERRED, "450 no" } };
	const struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = "",
		.host = "",
		.address = "",
		.tls = "",
		.unreachable = !lease->untried,
		.untried = lease->untried,
		.recipients = recipients,
		.recipient_count = 2 };

	assert_int_equal(store_record(rig->store, &outcome), 0);
	talloc_free(lease);
}

static struct lease *lease_now(struct rig *rig)
{
	struct lease *lease;

	assert_int_equal(store_lease(rig->store, NULL, ME, NULL, 0, &lease), 0);
	return lease;
}

static void test_2_26_overdue_mail_does_not_wait_for_the_probe_of_its_destination(void **state)
{
	const struct {
		const char *name, *change; /* how the mail differs, which is two hours old */
		bool lent;
	} cases[] = {
		{ "late", "SELECT %lld", true },
		{ "late, and reported", "UPDATE recipient SET warned = 1 -- %lld", false },
		{ "late, but that is not wanted", "UPDATE recipient SET notify = 4 -- %lld", false },
		{ "late, and that is wanted", "UPDATE recipient SET notify = 8 -- %lld", true },
		{ "late, but without a sender", "UPDATE message SET sender = '' -- %lld", false },
		{ "expired, without a sender and reported",
			"UPDATE message SET sender = '', queued = queued - 2 * %lld; UPDATE recipient SET warned = 1",
			true },
		{ "young", "UPDATE message SET queued = queued + 2 * %lld", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rig *rig = rig_new();

		config_release(rig->config);
		rig->config = help_config("mail_flow_policies: [{name: open, tls: none}]\n"
					  "delivery: {retry: [7d], delay_warning: 1h, expire: 3h}\n");
		commit(rig);
		commit(rig);
		sql(rig, CLOCK_WAS, 0);
		sql(rig, "UPDATE message SET queued = queued - 2 * %lld", HOUR);
		sql(rig, cases[i].change, HOUR);
		reopen(rig);
		struct lease *probe = lease_now(rig);
		assert_non_null(probe);
		assert_false(probe->untried);
		record_unreached(rig, probe); /* parks the destination; this mail itself is due in a week */
		rig->store->overdue_next = 0;
		struct lease *lease = lease_now(rig);
		if ((lease != NULL) != cases[i].lent)
			fail_msg("%s", cases[i].name);
		if (lease != NULL) {
			assert_int_equal(lease->mid, 2);
			assert_true(lease->untried);
			record_unreached(rig, lease);
		}
		commit(rig); /* still parked */
		assert_null(lease_now(rig));
		rig_free(rig);
	}
}

static struct rig *rig_with_warnings(void)
{
	struct rig *rig = rig_new();

	config_release(rig->config);
	rig->config = help_config("mail_flow_policies: [{name: open, tls: none}]\n"
				  "delivery: {retry: [7d], delay_warning: 1h, expire: 3h}\n");
	return rig;
}

static void reroute(struct rig *rig, int64_t mid, const char *next_hop)
{
	const struct store_admin_order order = {
		.command = STORE_ADMIN_REROUTE, .filter = { .mid = mid }, .next_hop = next_hop
	};
	struct store_admin_done done;

	assert_int_equal(store_admin_apply(rig->store, &order, 0, 1, &done), 0);
	assert_int_equal(done.mails, 1);
}

/* Where its domain leads says nothing of a mail that goes elsewhere. */
static void test_2_26_overdue_mail_that_was_rerouted_waits_for_no_probe_either(void **state)
{
	struct rig *rig = rig_with_warnings();

	(void)state;
	for (int i = 0; i < 3; i++)
		commit(rig);
	sql(rig, CLOCK_WAS, 0);
	sql(rig, "UPDATE message SET queued = queued - 2 * %lld", HOUR);
	reopen(rig);
	reroute(rig, 1, "192.0.2.7:26");
	reroute(rig, 2, "192.0.2.7:26");
	struct lease *probe = lease_now(rig), *other = lease_now(rig);
	if (probe->mid == 3) {
		struct lease *swap = probe;

		probe = other;
		other = swap;
	}
	assert_string_equal(probe->destination, "192.0.2.7:26");
	assert_string_equal(other->destination, "a.test");
	record_unreached(rig, probe); /* parks the other next hop, not where the domain leads */
	rig->store->overdue_next = 0;
	struct lease *lease = lease_now(rig);
	assert_non_null(lease);
	assert_true(lease->untried);
	assert_string_equal(lease->destination, "192.0.2.7:26");
	talloc_free(lease);
	talloc_free(other);
	rig_free(rig);
}

/* All mail that is there becomes two hours old. `change` with an hour in it; then the destination is parked. */
static void park(struct rig *rig, const char *change)
{
	sql(rig, CLOCK_WAS, 0);
	sql(rig, "UPDATE message SET queued = queued - 2 * %lld", HOUR);
	sql(rig, change, HOUR);
	reopen(rig);
	struct lease *probe = lease_now(rig);
	assert_non_null(probe);
	record_unreached(rig, probe);
	rig->store->overdue_next = 0;
}

static void test_2_26_overdue_mail_comes_with_its_last_replies_of_an_earlier_life(void **state)
{
	struct rig *rig = rig_with_warnings();

	(void)state;
	commit(rig);
	commit(rig);
	age_of(rig, false);
	age_of(rig, false);
	park(rig,
		"UPDATE recipient SET due = 0; DELETE FROM attempt WHERE rid = 2; UPDATE attempt SET reply = '451 mine'"
		" WHERE mid = 2; INSERT INTO attempt SELECT mid, rid, 0, 0, '', '', '', 0, '450 first', '' FROM attempt -- %lld");
	struct lease *lease = lease_now(rig);
	assert_non_null(lease);
	assert_true(lease->untried);
	assert_string_equal(lease->replies[0], lease->mid == 2 ? "451 mine" : "450 later");
	assert_string_equal(lease->replies[1], "");
	talloc_free(lease);
	rig_free(rig);
}

/* A look finds so many at most; those whose next try is still to come would keep the others out. */
static void test_2_26_overdue_mail_does_not_wait_behind_mail_that_is_not_due(void **state)
{
	enum { NOT_DUE = 510 };
	struct rig *rig = rig_with_warnings();

	(void)state;
	for (int i = 0; i < NOT_DUE + 2; i++)
		commit(rig);
	park(rig, "UPDATE recipient SET due = due + %lld WHERE mid <= 510");
	struct lease *lease = lease_now(rig);
	assert_non_null(lease);
	assert_true(lease->untried && lease->mid > NOT_DUE);
	talloc_free(lease);
	rig_free(rig);
}

static void test_11_35_overdue_mail_is_found_after_the_clock_was_set_back(void **state)
{
	struct rig *rig = rig_with_warnings();

	(void)state;
	commit(rig);
	commit(rig);
	park(rig, "SELECT %lld");
	help_sql(rig->path, "UPDATE recipient SET due = due + 315576000000");
	struct lease *lease = lease_now(rig);
	assert_non_null(lease);
	assert_true(lease->untried);
	talloc_free(lease);
	rig_free(rig);
}

static int interrupt(void *context)
{
	(void)context;
	return 1;
}

static void test_2_26_a_search_for_overdue_mail_that_fails_goes_on_where_it_was(void **state)
{
	struct rig *rig = rig_with_warnings();

	(void)state;
	for (int i = 0; i < 3; i++)
		commit(rig);
	park(rig, "SELECT %lld");
	rig->store->overdue_cursor = 2;
	sqlite3 *db = readers_take(rig->store->readers);
	sqlite3_progress_handler(db, 1, interrupt, NULL);
	readers_give(rig->store->readers, db);
	assert_null(lease_now(rig));
	sqlite3_progress_handler(db, 0, NULL, NULL);
	assert_int_equal(rig->store->overdue_cursor, 2);
	assert_int_equal(logged(rig, " overdue_unreadable "), 1);
	rig->store->overdue_next = 0;
	struct lease *lease = lease_now(rig);
	assert_non_null(lease);
	assert_int_equal(lease->mid, 3);
	talloc_free(lease);
	rig_free(rig);
}

static void test_11_30_mail_of_schema_2_keeps_its_age(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	commit(rig);
	sql(rig,
		"DROP TABLE clock; DROP TABLE outbox; DROP INDEX recipient_corrupt;"
		"ALTER TABLE recipient DROP COLUMN sum; ALTER TABLE message DROP COLUMN sum; ALTER TABLE recipient DROP COLUMN warned; ALTER TABLE message DROP COLUMN queued; ALTER TABLE message DROP COLUMN recipients;"
		"UPDATE message SET received = received - %lld; PRAGMA user_version = 2",
		HOUR / 2);
	reopen(rig);
	assert_in_range(age_of(rig, false), HOUR / 2, HOUR);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_35_a_restart_makes_mail_older_by_an_hour_at_most),
		cmocka_unit_test(test_11_35_after_a_step_back_mail_still_grows_older),
		cmocka_unit_test(test_11_35_an_empty_queue_makes_no_alarm),
		cmocka_unit_test(test_11_35_the_clock_is_saved_while_mail_waits),
		cmocka_unit_test(test_2_26_who_was_told_is_remembered_over_a_restart),
		cmocka_unit_test(test_2_26_the_next_try_is_the_same_after_a_restart),
		cmocka_unit_test(test_2_26_overdue_mail_does_not_wait_for_the_probe_of_its_destination),
		cmocka_unit_test(test_2_26_overdue_mail_that_was_rerouted_waits_for_no_probe_either),
		cmocka_unit_test(test_2_26_overdue_mail_comes_with_its_last_replies_of_an_earlier_life),
		cmocka_unit_test(test_2_26_overdue_mail_does_not_wait_behind_mail_that_is_not_due),
		cmocka_unit_test(test_11_35_overdue_mail_is_found_after_the_clock_was_set_back),
		cmocka_unit_test(test_2_26_a_search_for_overdue_mail_that_fails_goes_on_where_it_was),
		cmocka_unit_test(test_11_30_mail_of_schema_2_keeps_its_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
