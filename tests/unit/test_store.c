/* The durable queue through its interface, on a real database in a directory of our own; docs/queue.md names the states. */
#include "queue/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "queue/readers.h"
#include "queue/store_private.h"
#include "store_help.h"

static void test_S3_a_committed_mail_is_lent_as_it_came(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "Subject: a\r\n\r\nb\r\n", TO("r@Good.test", "q@good.TEST"));
	struct lease *lease = must_lease(rig);

	(void)state;
	assert_int_equal(lease->mid, mid);
	assert_string_equal(lease->domain, "good.test");
	assert_string_equal(lease->destination, "good.test");
	assert_int_equal(lease->attempts, 0);
	assert_int_equal(lease->envelope.recipient_count, 2);
	assert_string_equal(lease->envelope.recipients[0], "r@Good.test");
	assert_string_equal(lease->envelope.recipients[1], "q@good.TEST");
	assert_string_equal(lease->envelope.sender, "s@x.test");
	assert_string_equal(lease->envelope.icid, "1a-1");
	assert_string_equal(lease->envelope.client, "192.0.2.1");
	assert_string_equal(lease->envelope.helo, "client.test");
	assert_string_equal(lease->envelope.tls, "{\"obtained\":\"none\"}");
	assert_true(lease->envelope.received_ms == 1700000000123);
	assert_int_equal(lease->content.fd, -1);
	assert_true(text_equal(lease->content.bytes, TEXT("Subject: a\r\n\r\nb\r\n")));
	nothing_is_due(rig);
	assert_int_equal(store_queued(rig->store), 1);
	talloc_free(lease);
	rig_free(rig);
}

static void test_content_may_hold_nul_and_may_be_empty(void **state)
{
	static const struct text bodies[] = { TEXT(""), TEXT("\0"), TEXT("a\0b\r\n\xff\0") };
	static const char *const recipients[] = { "r@one.test", "r@two.test", "r@three.test" };
	struct rig *rig = rig_new(NEVER);

	(void)state;
	for (size_t i = 0; i < COUNT(bodies); i++) {
		struct envelope envelope = envelope_to("", TO(recipients[i]));
		struct content content = { .bytes = bodies[i], .fd = -1, .size = bodies[i].len };
		int64_t mid;

		assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
		struct lease *lease = must_lease(rig);
		assert_true(text_equal(lease->content.bytes, bodies[i]));
		assert_int_equal(lease->content.size, bodies[i].len);
		talloc_free(lease);
	}
	rig_free(rig);
}

static void test_a_mail_without_recipients_is_refused(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct envelope envelope = envelope_to("s@x.test", NULL, 0);
	struct content content = content_of("x");
	int64_t mid;

	(void)state;
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), -EINVAL);
	rig_free(rig);
}

static void test_each_recipient_domain_is_a_lease_of_its_own(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test", "2@b.test", "3@A.test", "postmaster"));
	unsigned seen = 0;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct lease *lease = must_lease(rig);

		assert_int_equal(lease->mid, mid);
		if (strcmp(lease->domain, "a.test") == 0) {
			seen |= 1;
			assert_int_equal(lease->envelope.recipient_count, 2);
			assert_string_equal(lease->envelope.recipients[1], "3@A.test");
		} else if (strcmp(lease->domain, "b.test") == 0) {
			seen |= 2;
			assert_int_equal(lease->envelope.recipient_count, 1);
		} else {
			seen |= 4;
			assert_string_equal(lease->envelope.recipients[0], "postmaster");
		}
		talloc_free(lease);
	}
	assert_int_equal(seen, 7);
	nothing_is_due(rig);
	rig_free(rig);
}

static void test_S7_a_delivered_mail_is_gone_from_the_queue_and_stays_in_tracking(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@good.test"));

	(void)state;
	states_are(rig, mid, "queued");
	finish(rig, "d");
	assert_int_equal(store_queued(rig->store), 0);
	states_are(rig, mid, "delivered");
	struct store_tracked *record = track_one(rig, mid);
	struct store_attempt *attempt = &record->recipients[0].attempts[0];
	assert_int_equal(record->recipients[0].attempt_count, 1);
	assert_true(attempt->time_ms == 1700000001000);
	assert_string_equal(attempt->dcid, "2b-9");
	assert_string_equal(attempt->host, "mx.test");
	assert_string_equal(attempt->address, "192.0.2.9:25");
	assert_string_equal(attempt->reply, "250 2.0.0 ok");
	assert_string_equal(attempt->tls, "{\"obtained\":\"encrypted\"}");
	talloc_free(record);
	reopen(rig);
	assert_int_equal(store_queued(rig->store), 0);
	nothing_is_due(rig);
	rig_free(rig);
}

static void test_a_deferred_mail_waits_for_its_next_try(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@good.test"));

	(void)state;
	finish(rig, "l");
	assert_int_equal(store_queued(rig->store), 1);
	states_are(rig, mid, "deferred");
	nothing_is_due(rig);
	reopen(rig);
	nothing_is_due(rig);
	assert_int_equal(store_queued(rig->store), 1);
	rig_free(rig);
}

static void gauges_are(struct rig *rig, uint64_t ready, uint64_t deferred, uint64_t leased)
{
	const struct store_gauges gauges = store_gauges(rig->store);

	assert_int_equal(gauges.ready, ready);
	assert_int_equal(gauges.deferred, deferred);
	assert_int_equal(gauges.leased, leased);
}

static void test_the_gauges_follow_a_mail(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	gauges_are(rig, 0, 0, 0);
	commit(rig, "s@x.test", "x", TO("r@a.test", "r@b.test"));
	gauges_are(rig, 2, 0, 0);
	struct lease *lease = must_lease(rig);
	gauges_are(rig, 1, 0, 1);
	store_unlease(rig->store, ME, lease->mid, lease->domain);
	talloc_free(lease);
	gauges_are(rig, 2, 0, 0);
	finish(rig, "l");
	gauges_are(rig, 1, 1, 0);
	reopen(rig);
	gauges_are(rig, 1, 1, 0);
	finish(rig, "d");
	gauges_are(rig, 0, 1, 0);
	rig_free(rig);
}

static void test_the_age_is_that_of_the_oldest_that_is_not_finished(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct envelope envelope = envelope_to("s@x.test", TO("r@a.test"));
	struct content content = content_of("x");
	int64_t mid;

	(void)state;
	assert_int_equal(store_gauges(rig->store).oldest_ms, 0);
	commit(rig, "s@x.test", "x", TO("r@a.test")); /* of 2023, and queued now */
	assert_in_range(store_gauges(rig->store).oldest_ms, 0, 60000);
	help_sql(rig->path, "UPDATE message SET queued = queued - 7200000");
	envelope.received_ms = clock_wall_ms() + 3600000; /* the clock was set back since */
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	assert_in_range(store_gauges(rig->store).oldest_ms, 7200000, 7260000);
	finish(rig, "d");
	assert_in_range(store_gauges(rig->store).oldest_ms, 0, 60000);
	finish(rig, "b");
	assert_int_equal(store_gauges(rig->store).oldest_ms, 0);
	rig_free(rig);
}

static void observe(void *context, int64_t microseconds)
{
	int64_t *seen = context;

	assert_true(microseconds > 0);
	(*seen)++;
}

static void test_every_commit_is_observed(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t seen = 0;

	(void)state;
	store_watch_syncs(rig->store, observe, &seen);
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	finish(rig, "d");
	TALLOC_FREE(rig->store); /* ends the thread that observes */
	assert_int_equal(seen, 2);
	rig_free(rig);
}

static void test_a_deferred_mail_comes_again_and_counts_its_attempts(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@good.test"));

	(void)state;
	for (uint32_t attempt = 0; attempt < 3; attempt++) {
		struct lease *lease = must_lease(rig);

		assert_int_equal(lease->attempts, attempt);
		assert_int_equal(store_record(rig->store, outcome_of(lease, "l")), 0);
		talloc_free(lease);
	}
	finish(rig, "d");
	assert_int_equal(store_queued(rig->store), 0);
	struct store_tracked *record = track_one(rig, mid);
	assert_int_equal(record->recipients[0].attempt_count, 4);
	assert_string_equal(record->recipients[0].attempts[0].reply, "450 4.2.0 later");
	assert_string_equal(record->recipients[0].attempts[3].reply, "250 2.0.0 ok");
	talloc_free(record);
	rig_free(rig);
}

static void test_2_23_mixed_results_are_recorded_one_by_one(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test", "2@a.test", "3@a.test", "4@a.test"));

	(void)state;
	finish(rig, "dlbl");
	states_are(rig, mid, "delivered deferred bounced deferred");
	struct lease *lease = must_lease(rig);
	assert_int_equal(lease->envelope.recipient_count, 2);
	assert_string_equal(lease->envelope.recipients[0], "2@a.test");
	assert_string_equal(lease->envelope.recipients[1], "4@a.test");
	assert_int_equal(lease->attempts, 1);
	assert_int_equal(store_record(rig->store, outcome_of(lease, "bd")), 0);
	states_are(rig, mid, "delivered bounced bounced delivered");
	assert_int_equal(store_queued(rig->store), 0);
	talloc_free(lease);
	rig_free(rig);
}

static void test_11_26_a_bounce_and_its_report_are_one_transaction(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@good.test"));
	struct lease *lease = must_lease(rig);
	struct outcome *outcome = outcome_of(lease, "b");

	(void)state;
	report_to(outcome, "s@x.test");
	assert_int_equal(store_record(rig->store, outcome), 0);
	talloc_free(lease);
	states_are(rig, mid, "bounced");
	assert_int_equal(store_queued(rig->store), 1);

	lease = must_lease(rig);
	assert_true(lease->mid > mid);
	assert_string_equal(lease->domain, "x.test");
	assert_string_equal(lease->envelope.sender, "");
	assert_string_equal(lease->envelope.recipients[0], "s@x.test");
	assert_true(text_equal(lease->content.bytes, TEXT("Subject: returned\r\n\r\n")));
	talloc_free(lease);
	rig_free(rig);
}

static void test_11_26_a_report_that_cannot_be_stored_leaves_its_mail_as_it_was(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@good.test"));
	struct lease *lease = must_lease(rig);
	struct outcome *outcome = outcome_of(lease, "b");

	(void)state;
	report_to(outcome, "s@x.test");
	outcome->dsn_content.len = 1100000000; /* over SQLite's limit: refused before a byte is read */
	assert_int_equal(store_record(rig->store, outcome), -EINVAL);
	states_are(rig, mid, "queued");
	assert_int_equal(store_queued(rig->store), 1);
	talloc_free(lease);
	rig_free(rig);
}

static void test_G5_a_repeated_outcome_changes_nothing(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("1@a.test", "2@a.test"));
	struct lease *lease = must_lease(rig);
	struct outcome *outcome = outcome_of(lease, "bl");

	(void)state;
	report_to(outcome, "s@x.test");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_record(rig->store, outcome), 0);
		states_are(rig, mid, "bounced deferred");
		assert_int_equal(store_queued(rig->store), 2);
		struct store_tracked *record = track_one(rig, mid);
		assert_int_equal(record->recipients[0].attempt_count, 1);
		assert_int_equal(record->recipients[1].attempt_count, 1);
		talloc_free(record);
		if (i == 1)
			reopen(rig);
	}
	outcome->recipients[1].state = OUTCOME_DELIVERED; /* even when it says something else */
	assert_int_equal(store_record(rig->store, outcome), 0);
	states_are(rig, mid, "bounced deferred");
	talloc_free(lease);
	rig_free(rig);
}

/* A repeat may come late, when the mail is out again: the new lease must not end by it. */
static void test_G5_a_repeated_outcome_does_not_end_the_lease_of_the_next_attempt(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	struct lease *first, *second;

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	first = must_lease(rig);
	struct outcome *outcome = outcome_of(first, "l");
	assert_int_equal(store_record(rig->store, outcome), 0);
	second = must_lease(rig);
	assert_int_equal(second->attempts, 1);
	assert_int_equal(store_record(rig->store, outcome), 0);
	assert_int_equal(store_record(rig->store, outcome_of(second, "d")), 0);
	assert_int_equal(store_queued(rig->store), 0);
	talloc_free(first);
	talloc_free(second);
	rig_free(rig);
}

static void test_an_outcome_of_a_mail_that_never_was_changes_nothing(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct outcome_recipient recipient = { 1, OUTCOME_DELIVERED, "250 ok" };
	struct outcome outcome = { .mid = 99,
		.domain = "a.test",
		.attempt = 1,
		.dcid = "",
		.host = "",
		.address = "",
		.tls = "",
		.recipients = &recipient,
		.recipient_count = 1 };

	(void)state;
	assert_int_equal(store_record(rig->store, &outcome), 0);
	assert_int_equal(store_queued(rig->store), 0);
	rig_free(rig);
}

static void test_a_lease_whose_answer_was_lost_is_free_again(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *lease = must_lease(rig);

	(void)state;
	nothing_is_due(rig);
	store_unlease(rig->store, ME, mid, "b.test");
	nothing_is_due(rig);
	store_unlease(rig->store, ME, mid, "a.test");
	talloc_free(lease);
	lease = lease_of(rig, NULL, 0);
	assert_non_null(lease);
	assert_int_equal(lease->attempts, 0);
	talloc_free(lease);
	rig_free(rig);
}

/* The answer to a dead deliver fails after its successor was admitted and holds the mail already. */
static void test_an_answer_lost_by_the_dead_does_not_free_what_its_successor_holds(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *old = must_lease(rig), *new, *again;

	(void)state;
	store_free_owner(rig->store, ME);
	store_admit(rig->store, ME + 1);
	assert_int_equal(store_lease(rig->store, NULL, ME + 1, NULL, 0, &new), 0);
	assert_non_null(new);
	store_unlease(rig->store, ME, mid, "a.test");
	assert_int_equal(store_lease(rig->store, NULL, ME + 1, NULL, 0, &again), 0);
	assert_null(again);
	talloc_free(old);
	talloc_free(new);
	talloc_free(again);
	rig_free(rig);
}

static void test_only_who_was_admitted_may_lease(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct lease *lease;

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	assert_int_equal(store_lease(rig->store, NULL, ME + 1, NULL, LONG_MS, &lease), 0);
	assert_null(lease);
	store_admit(rig->store, ME + 1);
	assert_null(lease_of(rig, NULL, LONG_MS));
	assert_int_equal(store_lease(rig->store, NULL, ME + 1, NULL, 0, &lease), 0);
	assert_non_null(lease);
	talloc_free(lease);
	rig_free(rig);
}

static void test_S4_what_the_dead_held_is_free_and_they_may_lease_no_more(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct lease *lease;

	(void)state;
	commit(rig, "s@x.test", "x", TO("1@a.test", "2@b.test"));
	talloc_free(must_lease(rig));
	talloc_free(must_lease(rig));
	nothing_is_due(rig);
	store_free_owner(rig->store, ME);
	assert_null(lease_of(rig, NULL, LONG_MS));
	store_admit(rig->store, ME + 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_lease(rig->store, NULL, ME + 1, NULL, 0, &lease), 0);
		assert_int_equal(lease != NULL, i < 2);
		talloc_free(lease);
	}
	/* The end of an older incarnation is no news for the one that followed it. */
	store_free_owner(rig->store, ME);
	commit(rig, "s@x.test", "x", TO("3@a.test"));
	assert_int_equal(store_lease(rig->store, NULL, ME + 1, NULL, 0, &lease), 0);
	assert_non_null(lease);
	talloc_free(lease);
	rig_free(rig);
}

static void test_what_is_claimed_after_a_restart_is_not_lent_again(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *lease = must_lease(rig);

	(void)state;
	reopen(rig);
	store_claim(rig->store, ME, mid, "a.test");
	store_claim(rig->store, ME, mid + 5, "a.test");
	nothing_is_due(rig);
	assert_int_equal(store_record(rig->store, outcome_of(lease, "d")), 0);
	assert_int_equal(store_queued(rig->store), 0);
	talloc_free(lease);
	rig_free(rig);
}

static void test_what_was_recorded_before_a_restart_and_claimed_after_it_comes_free_by_repeating(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	int64_t mid = commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *lease = must_lease(rig);
	struct outcome *outcome = outcome_of(lease, "l");

	(void)state;
	assert_int_equal(store_record(rig->store, outcome), 0);
	reopen(rig);
	store_claim(rig->store, ME, mid, "a.test");
	assert_int_equal(store_record(rig->store, outcome), 0);
	talloc_free(lease);
	lease = must_lease(rig);
	assert_int_equal(lease->attempts, 1);
	talloc_free(lease);
	rig_free(rig);
}

static void test_a_preferred_destination_gets_its_own_mail_only(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit(rig, "s@x.test", "x", TO("1@a.test", "2@b.test"));
	assert_null(lease_of(rig, "c.test", 0));
	struct lease *lease = lease_of(rig, "b.test", 0);
	assert_non_null(lease);
	assert_string_equal(lease->domain, "b.test");
	assert_null(lease_of(rig, "b.test", 0));
	talloc_free(lease);
	rig_free(rig);
}

static void test_another_configuration_reroutes_what_waits(void **state)
{
	struct rig *rig = rig_new(NEVER);
	const struct config *routed = help_config(ROUTED);

	(void)state;
	commit(rig, "s@x.test", "x", TO("1@a.test", "2@b.test"));
	store_configure(rig->store, routed);
	assert_null(lease_of(rig, "a.test", 0));
	for (int i = 0; i < 2; i++) {
		struct lease *lease = lease_of(rig, "127.0.0.1:25", 0);

		assert_non_null(lease);
		assert_string_equal(lease->destination, "127.0.0.1:25");
		talloc_free(lease);
	}
	config_release(routed);
	rig_free(rig);
}

static void test_G1_a_store_that_is_opened_again_knows_everything(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mids[10];

	(void)state;
	for (int i = 0; i < 10; i++)
		mids[i] = commit(rig, "s@x.test", "x", TO("r@a.test", "q@b.test"));
	for (int i = 0; i < 10; i++) /* ten of the twenty */
		finish(rig, "d");
	reopen(rig);
	assert_int_equal(store_queued(rig->store), 10);
	for (int i = 0; i < 10; i++)
		finish(rig, "d");
	nothing_is_due(rig);
	assert_true(commit(rig, "s@x.test", "x", TO("r@a.test")) > mids[9]);
	for (int i = 0; i < 10; i++)
		states_are(rig, mids[i], "delivered delivered");
	rig_free(rig);
}

static void test_G2_G3_large_content_lies_in_a_file_until_the_last_recipient_is_done(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct stat status;
	char bytes[26001];

	(void)state;
	commit_large(rig, LARGE, 0);
	assert_int_equal(files_in_content(rig), 1);
	reopen(rig);
	assert_int_equal(files_in_content(rig), 1);
	struct lease *lease = must_lease(rig);
	assert_true(lease->content.fd >= 0);
	assert_int_equal(lease->content.size, LARGE);
	assert_int_equal(fstat(lease->content.fd, &status), 0);
	assert_int_equal(status.st_size, LARGE);
	assert_int_equal(pread(lease->content.fd, bytes, 26001, 0), 26001);
	assert_int_equal(bytes[26000], 'a');
	assert_int_equal(bytes[25999], 'z');
	assert_int_equal(store_record(rig->store, outcome_of(lease, "d")), 0);
	assert_int_equal(files_in_content(rig), 1);
	talloc_free(lease);
	finish(rig, "d");
	assert_int_equal(files_in_content(rig), 0);
	rig_free(rig);
}

/* Instead of the library's: is the lock of that store free when a content file is removed? */
static struct store *looked_at;
static unsigned removed_free, removed_locked;

int unlinkat(int fd, const char *name, int flags)
{
	if (looked_at != NULL && pthread_mutex_trylock(&looked_at->lock) == 0) {
		pthread_mutex_unlock(&looked_at->lock);
		removed_free++;
	} else if (looked_at != NULL) {
		removed_locked++;
	}
	return (int)syscall(SYS_unlinkat, fd, name, flags);
}

static void test_no_file_is_removed_under_the_lock(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	store_hold_files(rig->store);
	for (int i = 0; i < 2; i++) {
		commit_large(rig, LARGE, 0);
		finish(rig, "d");
		finish(rig, "d");
	}
	assert_int_equal(files_in_content(rig), 2);
	looked_at = rig->store;
	store_release_files(rig->store);
	looked_at = NULL;
	assert_int_equal(files_in_content(rig), 0);
	assert_int_equal(removed_free, 2);
	assert_int_equal(removed_locked, 0);
	rig_free(rig);
}

static void test_a_file_of_another_size_is_refused_and_leaves_nothing(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit_large(rig, LARGE - 1, -EINVAL);
	commit_large(rig, LARGE + 1, -EINVAL);
	assert_int_equal(files_in_content(rig), 0);
	assert_int_equal(store_queued(rig->store), 0);
	rig_free(rig);
}

static void test_G6_orphans_are_removed_at_start_and_nothing_else(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit_large(rig, LARGE, 0);
	commit_large(rig, LARGE, 0);
	int content = openat(rig->fd, "content", O_RDONLY | O_DIRECTORY);
	close(openat(content, "0-0", O_CREAT | O_WRONLY, 0600));
	close(openat(content, "zz", O_CREAT | O_WRONLY, 0600));
	close(content);
	assert_int_equal(files_in_content(rig), 4);
	reopen(rig);
	assert_int_equal(files_in_content(rig), 2);
	for (int i = 0; i < 4; i++)
		finish(rig, "d");
	assert_int_equal(files_in_content(rig), 0);
	rig_free(rig);
}

struct asker {
	struct rig *rig;
	const char *prefer;
	int64_t wait_ms;
	struct lease *lease;
	pthread_t thread;
};

static void *waiter_run(void *argument)
{
	struct asker *waiter = argument;

	store_lease(waiter->rig->store, NULL, ME, waiter->prefer, waiter->wait_ms, &waiter->lease);
	return NULL;
}

static void waiter_start(struct asker *waiter)
{
	assert_int_equal(pthread_create(&waiter->thread, NULL, waiter_run, waiter), 0);
}

/* Wait for it. The store is stopped for one that nobody told, so that it ends; then the test fails. */
static void waiter_told(struct asker *waiter)
{
	const struct timespec limit = { .tv_sec = time(NULL) + 20 };
	bool told = pthread_timedjoin_np(waiter->thread, NULL, &limit) == 0;

	if (!told) {
		store_stop(waiter->rig->store);
		pthread_join(waiter->thread, NULL);
	}
	assert_true(told);
}

static void test_who_waits_is_given_what_arrives(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct asker any = { .rig = rig, .wait_ms = 600000 };
	struct asker preferring = { .rig = rig, .prefer = "b.test", .wait_ms = 600000 };

	(void)state;
	waiter_start(&any);
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	pthread_join(any.thread, NULL);
	waiter_start(&preferring);
	commit(rig, "s@x.test", "x", TO("r@b.test"));
	pthread_join(preferring.thread, NULL);
	assert_non_null(any.lease);
	assert_non_null(preferring.lease);
	assert_string_equal(preferring.lease->domain, "b.test");
	talloc_free(any.lease);
	talloc_free(preferring.lease);
	rig_free(rig);
}

static void until_somebody_sleeps(struct store *store)
{
	for (bool sleeps = false; !sleeps; sched_yield()) {
		pthread_mutex_lock(&store->lock);
		sleeps = !TAILQ_EMPTY(&store->waiters.list);
		pthread_mutex_unlock(&store->lock);
	}
}

static void test_who_sleeps_is_told_of_what_was_deferred(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	struct asker any = { .rig = rig, .wait_ms = 3600000 };

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *lease = must_lease(rig);
	waiter_start(&any);
	until_somebody_sleeps(rig->store);
	assert_int_equal(store_record(rig->store, outcome_of(lease, "l")),
		0); /* due in 100 ms; it sleeps for an hour */

	waiter_told(&any);
	assert_non_null(any.lease);
	talloc_free(any.lease);
	talloc_free(lease);
	rig_free(rig);
}

/* Who keeps a connection to a destination is told when one of its places is free. */
static void test_who_waits_for_a_place_is_told_of_an_outcome(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct asker preferring = { .rig = rig, .prefer = "a.test", .wait_ms = 3600000 };

	(void)state;
	for (int i = 0; i < 3; i++)
		commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *leases[] = { must_lease(rig),
		must_lease(rig) }; /* as many as a new destination takes */
	waiter_start(&preferring);
	until_somebody_sleeps(rig->store);
	assert_int_equal(store_record(rig->store, outcome_of(leases[0], "d")), 0);

	waiter_told(&preferring);
	assert_non_null(preferring.lease);
	talloc_free(preferring.lease);
	talloc_free(leases[0]);
	talloc_free(leases[1]);
	rig_free(rig);
}

static int start_and_sleep(unsigned event, void *context, void *statement, void *text)
{
	struct asker *waiter = context;

	(void)event, (void)statement, (void)text;
	if (waiter->thread != 0)
		return 0;
	waiter_start(waiter);
	until_somebody_sleeps(waiter->rig->store);
	return 0;
}

/* While the only mail that may go to it is read, somebody comes to wait for mail of its destination; then it turns out that it cannot be lent. */
static void test_who_waits_for_a_place_is_told_of_mail_that_cannot_be_lent(void **state)
{
	static const char *const harms[] = {
		"UPDATE recipient SET state = 1 WHERE mid = 1",	   /* nobody is queued any more */
		"UPDATE message SET helo = 'other' WHERE mid = 1", /* damaged */
	};

	(void)state;
	for (size_t i = 0; i < COUNT(harms); i++) {
		struct rig *rig =
			rig_new(NEVER "destinations: [{domain: a.test, tls: none, concurrency: 1}]\n");
		struct asker preferring = { .rig = rig, .prefer = "a.test", .wait_ms = 3600000 };

		commit(rig, "s@x.test", "x", TO("r@a.test"));
		commit(rig, "s@x.test", "x", TO("r@a.test"));
		help_change(rig, "queue.db", harms[i]);
		sqlite3 *db = readers_take(rig->store->readers);
		sqlite3_trace_v2(db, SQLITE_TRACE_STMT, start_and_sleep, &preferring);
		readers_give(rig->store->readers, db);
		nothing_is_due(rig); /* the other mail is kept for who waits */

		waiter_told(&preferring);
		assert_non_null(preferring.lease);
		assert_int_equal(preferring.lease->mid, 2);
		sqlite3_trace_v2(db, 0, NULL, NULL);
		talloc_free(preferring.lease);
		rig_free(rig);
	}
}

static void test_who_sleeps_is_told_of_an_outcome_that_cannot_be_recorded(void **state)
{
	struct rig *rig = rig_new(AT_ONCE);
	struct asker any = { .rig = rig, .wait_ms = 3600000 };

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	struct lease *lease = must_lease(rig);
	struct outcome *outcome = outcome_of(lease, "b");
	report_to(outcome, "s@x.test");
	outcome->dsn_content.len = 1100000000;
	waiter_start(&any);
	until_somebody_sleeps(rig->store);
	assert_int_equal(store_record(rig->store, outcome), -EINVAL);

	waiter_told(&any);
	assert_non_null(any.lease);
	talloc_free(any.lease);
	talloc_free(lease);
	rig_free(rig);
}

/* Those who gave their connection up to ask for any mail are counted; each ask is one of them, however much of what it finds cannot be lent. */
static void test_an_ask_is_counted_once(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	for (int i = 0; i < 4; i++)
		commit(rig, "s@x.test", "x", TO("r@a.test"));
	help_change(rig, "queue.db", "UPDATE message SET helo = 'other' WHERE mid <= 3");
	rig->store->waiters.leaving = 3;
	struct lease *lease = must_lease(rig);
	assert_int_equal(lease->mid, 4);
	assert_int_equal(rig->store->waiters.leaving, 2);
	talloc_free(lease);
	rig_free(rig);
}

/* What is in the log would have to be read and copied at the next start. */
static void test_a_store_that_was_closed_leaves_no_log(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	assert_int_equal(faccessat(rig->fd, "queue.db-wal", F_OK, 0), 0);
	TALLOC_FREE(rig->store);
	assert_int_equal(faccessat(rig->fd, "queue.db-wal", F_OK, 0), -1);
	reopen(rig);
	finish(rig, "d");
	rig_free(rig);
}

/* All connections are taken: the one that has nothing to send is given up for mail that has none. */
static void test_a_kept_connection_gives_way_to_other_mail(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct asker preferring = { .rig = rig, .prefer = "b.test", .wait_ms = 3600000 };

	(void)state;
	waiter_start(&preferring);
	commit(rig, "s@x.test", "x", TO("r@a.test"));

	waiter_told(&preferring);
	assert_null(preferring.lease);
	struct lease *lease = lease_of(rig, NULL, 0);
	assert_non_null(lease);
	talloc_free(lease);
	rig_free(rig);
}

static void test_stopping_ends_every_wait(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct asker waiters[] = { { .rig = rig, .wait_ms = 600000 },
		{ .rig = rig, .prefer = "a.test", .wait_ms = 600000 } };

	(void)state;
	for (size_t i = 0; i < COUNT(waiters); i++)
		waiter_start(&waiters[i]);
	store_stop(rig->store);
	for (size_t i = 0; i < COUNT(waiters); i++) {
		pthread_join(waiters[i].thread, NULL);
		assert_null(waiters[i].lease);
	}
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	assert_null(lease_of(rig, NULL, 600000));
	rig_free(rig);
}

static void test_the_end_of_an_owner_ends_its_waits(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct asker waiter = { .rig = rig, .wait_ms = 600000 };

	(void)state;
	waiter_start(&waiter);
	store_free_owner(rig->store, ME);
	pthread_join(waiter.thread, NULL);
	assert_null(waiter.lease);
	rig_free(rig);
}

/* One waits on an open connection for mail that is due later than its wait; when it goes, who waits for anything must be told. */
static void who_waits_is_told(void)
{
	struct rig *rig = rig_new(AT_ONCE);
	struct asker preferring = { .rig = rig, .prefer = "a.test", .wait_ms = 20 };
	struct asker any = { .rig = rig, .wait_ms = 3600000 };

	commit(rig, "s@x.test", "x", TO("r@a.test"));
	finish(rig, "l"); /* due in 100 ms */
	waiter_start(&preferring);
	waiter_start(&any);
	pthread_join(preferring.thread, NULL);
	if (preferring.lease != NULL) /* a slow machine: it was due already */
		store_unlease(rig->store, ME, preferring.lease->mid, "a.test");

	/* An hour, if nobody tells it. */
	waiter_told(&any);
	assert_non_null(any.lease);
	talloc_free(any.lease);
	talloc_free(preferring.lease);
	rig_free(rig);
}

/* Which of the two waits first is chance, and it matters: several rounds. */
static void test_who_waits_for_anything_is_told_when_a_kept_connection_goes(void **state)
{
	(void)state;
	for (int round = 0; round < 10; round++)
		who_waits_is_told();
}

enum { THREADS = 16, MAILS_EACH = 25 };

struct committer {
	struct rig *rig;
	int number;
	int64_t mids[MAILS_EACH];
};

/* Each fifth mail cannot be stored. */
static bool bad(int number, int i)
{
	return (number + i) % 5 == 0;
}

static void *committer_run(void *argument)
{
	struct committer *c = argument;

	for (int i = 0; i < MAILS_EACH; i++) {
		char sender[40], *recipient = "r@a.test";
		struct envelope envelope = envelope_to(sender, (const char **)&recipient, 1);
		struct content content = content_of("x");

		snprintf(sender, sizeof sender, "s%d-%d@x.test", c->number, i);
		if (bad(c->number, i))
			content.bytes.len = 1100000000;
		int r = store_commit(c->rig->store, &envelope, &content, &c->mids[i]);
		if (r != (bad(c->number, i) ? -EINVAL : 0))
			c->mids[i] = -1;
		else if (r < 0)
			c->mids[i] = 0;
	}
	return NULL;
}

static void test_a_crowd_commits_in_groups_and_a_bad_mail_fails_alone(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct committer committers[THREADS];
	pthread_t threads[THREADS];
	unsigned good = 0;

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		committers[i] = (struct committer){ .rig = rig, .number = i };
		pthread_create(&threads[i], NULL, committer_run, &committers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++) {
		for (int n = 0; n < MAILS_EACH; n++) {
			int64_t mid = committers[i].mids[n];
			char sender[40];

			assert_int_not_equal(mid, -1);
			if (bad(i, n))
				continue;
			good++;
			struct store_tracked *record = track_one(rig, mid);
			snprintf(sender, sizeof sender, "s%d-%d@x.test", i, n);
			assert_string_equal(record->sender, sender);
			talloc_free(record);
		}
	}
	assert_int_equal(store_queued(rig->store), good);
	reopen(rig);
	assert_int_equal(store_queued(rig->store), good);
	rig_free(rig);
}

struct worker {
	struct rig *rig;
	atomic_int *left;
};

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	while (atomic_load(worker->left) > 0) {
		struct lease *lease;

		if (store_lease(worker->rig->store, NULL, ME, NULL, 20, &lease) < 0 || lease == NULL)
			continue;
		if (store_record(worker->rig->store, outcome_of(lease, "d")) == 0)
			atomic_fetch_sub(worker->left, 1);
		talloc_free(lease);
	}
	return NULL;
}

/* For the thread sanitizer: commits, leases, outcomes, tracking and new configurations at the same time. */
static void test_everything_at_once_delivers_each_mail_exactly_once(void **state)
{
	struct rig *rig = rig_new(NEVER);
	const struct config *routed = help_config(ROUTED);
	atomic_int left = 200;
	struct worker worker = { rig, &left };
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, worker_run, &worker);
	for (int i = 0; i < 200; i++) {
		struct store_cursor cursor = { 0 };
		struct store_tracked *records;
		size_t count;

		commit(rig, "s@x.test", "x", TO(i % 2 ? "r@a.test" : "r@b.test"));
		if (i % 20 == 0)
			store_configure(rig->store, i % 40 ? routed : rig->config);
		assert_int_equal(
			store_track(rig->store, NULL, &(struct store_query){ 0 }, &cursor, &records, &count),
			0);
		talloc_free(records);
	}
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&left), 0);
	assert_int_equal(store_queued(rig->store), 0);
	config_release(routed);
	rig_free(rig);
}

static void note(struct rig *rig, const char *sender, const char *recipient, int64_t time_ms)
{
	struct store_refusal refusal = { time_ms, "1a-2", "192.0.2.2", "bad.test", "{}", sender, recipient,
		"550 5.7.1 relaying denied" };

	assert_int_equal(store_note(rig->store, &refusal, 1), 0);
}

/* All pages of a query; the number of records. */
static size_t count_tracked(struct rig *rig, const struct store_query *query, unsigned *ret_pages)
{
	struct store_cursor cursor = { 0 };
	size_t all = 0;

	*ret_pages = 0;
	while (!cursor.ended) {
		struct store_tracked *records;
		size_t count;
		int64_t last = 0;
		bool refused = false;

		assert_int_equal(store_track(rig->store, NULL, query, &cursor, &records, &count), 0);
		assert_true(count <= 20);
		for (size_t i = 0; i < count; i++) {
			/* Oldest first, refusals after mails. */
			assert_false(refused && records[i].mid != 0);
			refused = records[i].mid == 0;
			assert_true(refused || records[i].mid > last);
			last = records[i].mid;
		}
		all += count;
		(*ret_pages)++;
		talloc_free(records);
		assert_true(*ret_pages < 100);
	}
	return all;
}

static void test_tracking_finds_by_sender_recipient_mid_and_time_over_pages(void **state)
{
	struct rig *rig = rig_new(NEVER);
	int64_t mid = 0;
	unsigned pages;

	(void)state;
	for (int i = 0; i < 45; i++)
		mid = commit(rig, i % 3 ? "Often@x.test" : "rare@x.test", "x",
			(const char *[]){ i % 5 ? "r@a.test" : "q@a.test", "p@b.test" }, i % 5 ? 1 : 2);
	for (int i = 0; i < 25; i++)
		note(rig, i % 5 ? "often@x.test" : "rare@x.test", i == 7 ? "q@a.test" : "evil@z.test",
			1700000000000 + i);

	const struct {
		const char *name;
		struct store_query query;
		size_t want;
		unsigned pages;
	} cases[] = {
		{ "everything", { 0 }, 70, 4 },
		{ "a sender, whatever the case", { .sender = "OFTEN@X.test" }, 50, 3 },
		{ "another sender", { .sender = "rare@x.test" }, 20, 2 },
		{ "a recipient, whatever the case", { .recipient = "P@b.TEST" }, 9, 1 },
		{ "a recipient of mails and refusals", { .recipient = "q@a.test" }, 10, 1 },
		{ "a refused recipient", { .recipient = "evil@z.test" }, 24, 2 },
		{ "both", { .sender = "rare@x.test", .recipient = "r@a.test" }, 12, 1 },
		{ "one mail", { .mid = mid }, 1, 1 },
		{ "no mail", { .mid = mid + 1 }, 0, 1 },
		{ "nobody", { .sender = "x" }, 0, 1 },
		{ "part of an address", { .sender = "often@x.tes" }, 0, 1 },
		{ "a wildcard is none", { .sender = "%" }, 0, 1 },
		{ "since the first", { .since_ms = 1700000000000 }, 70, 4 },
		{ "since the 21st refusal", { .since_ms = 1700000000020 }, 50, 3 },
		{ "since later", { .since_ms = 1700000000124 }, 0, 1 },
		{ "a mail, but later", { .mid = mid, .since_ms = 1700000000124 }, 0, 1 },
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t got = count_tracked(rig, &cases[i].query, &pages);

		if (got != cases[i].want || pages != cases[i].pages)
			fail_msg("%s: %zu records, not %zu, on %u pages", cases[i].name, got, cases[i].want,
				pages);
	}
	rig_free(rig);
}

static void test_a_refusal_is_tracked_with_what_was_answered(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	size_t count;

	(void)state;
	note(rig, "s@x.test", "evil@z.test", 1700000000000);
	assert_int_equal(
		store_track(rig->store, NULL, &(struct store_query){ 0 }, &cursor, &records, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(records->mid, 0);
	assert_true(records->time_ms == 1700000000000);
	assert_string_equal(records->icid, "1a-2");
	assert_string_equal(records->client, "192.0.2.2");
	assert_string_equal(records->helo, "bad.test");
	assert_string_equal(records->sender, "s@x.test");
	assert_int_equal(records->recipient_count, 1);
	assert_string_equal(records->recipients[0].address, "evil@z.test");
	assert_string_equal(records->recipients[0].state, "refused");
	assert_string_equal(records->recipients[0].attempts[0].reply, "550 5.7.1 relaying denied");
	talloc_free(records);
	rig_free(rig);
}

static void test_the_command_line_reads_without_a_gateway(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct store *reader;
	const char *why = NULL;
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	size_t count;

	(void)state;
	commit(rig, "s@x.test", "x", TO("r@a.test"));
	assert_int_equal(store_open_reader(NULL, rig->path, &reader, &why), 0);
	assert_int_equal(store_track(reader, NULL, &(struct store_query){ 0 }, &cursor, &records, &count), 0);
	assert_int_equal(count, 1);
	talloc_free(records);
	talloc_free(reader);
	assert_true(store_open_reader(rig, "/nonexistent/postern", &reader, &why) < 0);
	assert_non_null(strstr(why, "/nonexistent/postern"));
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_S3_a_committed_mail_is_lent_as_it_came),
		cmocka_unit_test(test_content_may_hold_nul_and_may_be_empty),
		cmocka_unit_test(test_a_mail_without_recipients_is_refused),
		cmocka_unit_test(test_each_recipient_domain_is_a_lease_of_its_own),
		cmocka_unit_test(test_S7_a_delivered_mail_is_gone_from_the_queue_and_stays_in_tracking),
		cmocka_unit_test(test_a_deferred_mail_waits_for_its_next_try),
		cmocka_unit_test(test_the_gauges_follow_a_mail),
		cmocka_unit_test(test_the_age_is_that_of_the_oldest_that_is_not_finished),
		cmocka_unit_test(test_every_commit_is_observed),
		cmocka_unit_test(test_a_deferred_mail_comes_again_and_counts_its_attempts),
		cmocka_unit_test(test_2_23_mixed_results_are_recorded_one_by_one),
		cmocka_unit_test(test_11_26_a_bounce_and_its_report_are_one_transaction),
		cmocka_unit_test(test_11_26_a_report_that_cannot_be_stored_leaves_its_mail_as_it_was),
		cmocka_unit_test(test_G5_a_repeated_outcome_changes_nothing),
		cmocka_unit_test(test_G5_a_repeated_outcome_does_not_end_the_lease_of_the_next_attempt),
		cmocka_unit_test(test_an_outcome_of_a_mail_that_never_was_changes_nothing),
		cmocka_unit_test(test_a_lease_whose_answer_was_lost_is_free_again),
		cmocka_unit_test(test_an_answer_lost_by_the_dead_does_not_free_what_its_successor_holds),
		cmocka_unit_test(test_only_who_was_admitted_may_lease),
		cmocka_unit_test(test_S4_what_the_dead_held_is_free_and_they_may_lease_no_more),
		cmocka_unit_test(test_what_is_claimed_after_a_restart_is_not_lent_again),
		cmocka_unit_test(
			test_what_was_recorded_before_a_restart_and_claimed_after_it_comes_free_by_repeating),
		cmocka_unit_test(test_a_preferred_destination_gets_its_own_mail_only),
		cmocka_unit_test(test_another_configuration_reroutes_what_waits),
		cmocka_unit_test(test_G1_a_store_that_is_opened_again_knows_everything),
		cmocka_unit_test(test_G2_G3_large_content_lies_in_a_file_until_the_last_recipient_is_done),
		cmocka_unit_test(test_no_file_is_removed_under_the_lock),
		cmocka_unit_test(test_a_file_of_another_size_is_refused_and_leaves_nothing),
		cmocka_unit_test(test_G6_orphans_are_removed_at_start_and_nothing_else),
		cmocka_unit_test(test_who_waits_is_given_what_arrives),
		cmocka_unit_test(test_who_sleeps_is_told_of_what_was_deferred),
		cmocka_unit_test(test_who_waits_for_a_place_is_told_of_an_outcome),
		cmocka_unit_test(test_who_waits_for_a_place_is_told_of_mail_that_cannot_be_lent),
		cmocka_unit_test(test_who_sleeps_is_told_of_an_outcome_that_cannot_be_recorded),
		cmocka_unit_test(test_an_ask_is_counted_once),
		cmocka_unit_test(test_a_store_that_was_closed_leaves_no_log),
		cmocka_unit_test(test_a_kept_connection_gives_way_to_other_mail),
		cmocka_unit_test(test_stopping_ends_every_wait),
		cmocka_unit_test(test_the_end_of_an_owner_ends_its_waits),
		cmocka_unit_test(test_a_crowd_commits_in_groups_and_a_bad_mail_fails_alone),
		cmocka_unit_test(test_everything_at_once_delivers_each_mail_exactly_once),
		cmocka_unit_test(test_tracking_finds_by_sender_recipient_mid_and_time_over_pages),
		cmocka_unit_test(test_a_refusal_is_tracked_with_what_was_answered),
		cmocka_unit_test(test_the_command_line_reads_without_a_gateway),
		cmocka_unit_test(test_who_waits_for_anything_is_told_when_a_kept_connection_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
