/* Orders of the operator on a real store: what they do at once, after the lease that was out, and after a restart. */
#include "queue/store_admin.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "queue/store.h"
#include "test_help.h"

#define CONFIG                                                                                                       \
	"mail_flow_policies: [{name: open, tls: none}]\ndelivery: {retry: [7d], concurrency: 64, connections: 60}\n" \
	"routes: [{domain: routed.test, next_hop: '127.0.0.1:25'}]\n"

enum { ME = 7, OPERATOR = 1234 };

struct rig {
	char path[64];
	int fd;
	const struct config *config;
	struct store *store;
};

static void reopen(struct rig *rig)
{
	const char *why = NULL;

	talloc_free(rig->store);
	if (store_open(NULL, rig->fd, rig->config, &rig->store, &why) < 0)
		fail_msg("%s", why);
	store_admit(rig->store, ME);
}

static struct rig *rig_new(void)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));

	help_directory(rig->path);
	rig->fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig->config = help_config(CONFIG);
	reopen(rig);
	return rig;
}

static void rig_free(struct rig *rig)
{
	talloc_free(rig->store);
	config_release(rig->config);
	close(rig->fd);
	help_remove(rig->path);
	talloc_free(rig);
}

#define TO(...)                                                                                              \
	(const char *[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(const char *)

static int64_t commit(struct rig *rig, const char *sender, const char **recipients, size_t count)
{
	struct envelope envelope = { .received_ms = clock_wall_ms(),
		.icid = "1a-1",
		.client = "192.0.2.1",
		.helo = "client.test",
		.tls = "",
		.sender = sender,
		.recipients = recipients,
		.recipient_count = count };
	struct content content = { .bytes = TEXT("Subject: x\r\n\r\nx\r\n"), .fd = -1, .size = 17 };
	int64_t mid = 0;

	content.size = content.bytes.len;
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	return mid;
}

static struct lease *lease(struct rig *rig)
{
	struct lease *lease;

	assert_int_equal(store_lease(rig->store, NULL, ME, NULL, 0, &lease), 0);
	return lease;
}

static void record(struct rig *rig, struct lease *l, enum outcome_state state)
{
	struct outcome_recipient recipients[8];
	struct outcome outcome = { .mid = l->mid,
		.domain = l->domain,
		.attempt = l->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = "2b-1",
		.host = "mx.test",
		.address = "192.0.2.9:25",
		.tls = "",
		.recipients = recipients,
		.recipient_count = l->envelope.recipient_count };

	assert_true(outcome.recipient_count <= 8);
	for (size_t i = 0; i < outcome.recipient_count; i++)
		recipients[i] = (struct outcome_recipient){ l->rids[i], state, "450 later" };
	assert_int_equal(store_record(rig->store, &outcome), 0);
	talloc_free(l);
}

static struct store_admin_suspension suspend(
	struct rig *rig, const char *destination, bool suspended, int64_t uid)
{
	struct store_admin_suspension done = { 0 };

	assert_int_equal(store_admin_suspend(rig->store, destination, suspended, uid, &done), 0);
	return done;
}

static struct store_admin_done order_to(struct rig *rig, enum store_admin_command command,
	struct store_admin_filter filter, const char *next_hop)
{
	const struct store_admin_order order = {
		.command = command, .filter = filter, .next_hop = next_hop, .uid = OPERATOR
	};
	struct store_admin_done sum = { 0 };

	while (!sum.ended) {
		struct store_admin_done page;

		assert_int_equal(store_admin_apply(rig->store, &order, sum.after, 3, &page), 0);
		sum.matched += page.matched;
		sum.mails += page.mails;
		sum.bytes += page.bytes;
		sum.recipients += page.recipients;
		for (size_t i = 0; i < STORE_ADMIN_LEFT_END; i++)
			sum.left[i] += page.left[i];
		sum.unknown_hop = page.unknown_hop;
		sum.after = page.after;
		sum.ended = page.ended;
	}
	return sum;
}

static struct store_admin_done order(
	struct rig *rig, enum store_admin_command command, struct store_admin_filter filter)
{
	return order_to(rig, command, filter, "");
}

/* The states of all recipients of a mail that wait, such as "held deferred"; owned by the rig. */
static const char *states(struct rig *rig, int64_t mid)
{
	char *text = text_must(talloc_strdup(rig, ""));
	const struct store_admin_filter filter = { .mid = mid };
	struct store_admin_page page;

	assert_int_equal(store_admin_list(rig->store, rig, &filter, 0, 1, &page), 0);
	for (size_t i = 0; page.count > 0 && i < page.mails[0].recipient_count; i++)
		text = text_must(talloc_asprintf_append(text, "%s%s", i == 0 ? "" : " ",
			store_admin_state_name(page.mails[0].recipients[i].state)));
	return text;
}

static char *tracked(struct rig *rig, int64_t mid)
{
	const struct store_query query = { .mid = mid };
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	char *text = text_must(talloc_strdup(rig, ""));
	size_t count;

	assert_int_equal(store_track(rig->store, rig, &query, &cursor, &records, &count), 0);
	assert_int_equal(count, 1);
	for (size_t i = 0; i < records->recipient_count; i++) {
		const struct store_tracked_recipient *r = &records->recipients[i];

		text = text_must(talloc_asprintf_append(text, "%s%s", i == 0 ? "" : " ", r->state));
		if (strcmp(r->state, "deleted") == 0)
			assert_string_equal(r->attempts[r->attempt_count - 1].reply,
				"deleted by the operator (uid 1234)");
	}
	return text;
}

static uint64_t count(struct rig *rig, struct store_admin_filter filter)
{
	return order(rig, STORE_ADMIN_COUNT, filter).mails;
}

static void test_filters_choose_and_pages_join(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	for (int i = 0; i < 10; i++)
		commit(rig, i % 2 ? "odd@s.test" : "", TO("a@one.test", "b@routed.test"));
	int64_t last = commit(rig, "Last@s.test", TO("C@Two.test"));

	assert_int_equal(count(rig, (struct store_admin_filter){ 0 }), 11);
	assert_int_equal(count(rig, (struct store_admin_filter){ .sender = "" }), 5);
	assert_int_equal(count(rig, (struct store_admin_filter){ .sender = "last@S.test" }), 1);
	assert_int_equal(count(rig, (struct store_admin_filter){ .recipient = "A@one.test" }), 10);
	assert_int_equal(count(rig, (struct store_admin_filter){ .domain = "TWO.test" }), 1);
	assert_int_equal(count(rig, (struct store_admin_filter){ .destination = "127.0.0.1:25" }), 10);
	assert_int_equal(count(rig, (struct store_admin_filter){ .destination = "routed.test" }), 0);
	assert_int_equal(count(rig, (struct store_admin_filter){ .mid = last }), 1);
	assert_int_equal(count(rig, (struct store_admin_filter){ .mid = last + 1 }), 0);
	assert_int_equal(count(rig, (struct store_admin_filter){ .mid = 1, .domain = "two.test" }), 0);
	assert_int_equal(count(rig, (struct store_admin_filter){ .state = STORE_ADMIN_QUEUED }), 11);
	assert_int_equal(count(rig, (struct store_admin_filter){ .state = STORE_ADMIN_DEFERRED }), 0);
	assert_int_equal(count(rig, (struct store_admin_filter){ .before_ms = 1000 }), 0);
	assert_int_equal(count(rig, (struct store_admin_filter){ .before_ms = clock_wall_ms() + 1000 }), 11);
	struct store_admin_done done =
		order(rig, STORE_ADMIN_COUNT, (struct store_admin_filter){ .domain = "one.test" });
	assert_int_equal(done.recipients, 10);
	rig_free(rig);
}

static void test_every_state_has_its_name(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test"));

	(void)state;
	assert_string_equal(states(rig, mid), "queued");
	struct lease *l = lease(rig);
	assert_string_equal(states(rig, mid), "active");
	record(rig, l, OUTCOME_DEFERRED);
	assert_string_equal(states(rig, mid), "deferred");
	suspend(rig, "one.test", true, OPERATOR);
	assert_string_equal(states(rig, mid), "suspended");
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = mid });
	assert_string_equal(states(rig, mid), "held");
	order(rig, STORE_ADMIN_EXPIRE, (struct store_admin_filter){ .mid = mid });
	assert_string_equal(states(rig, mid), "expiring");
	rig_free(rig);
}

static void test_held_mail_waits_for_its_release_also_over_a_restart(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test", "b@two.test"));
	struct store_admin_status status;

	(void)state;
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .domain = "one.test" });
	assert_string_equal(states(rig, mid), "held queued");
	struct lease *l = lease(rig);
	assert_string_equal(l->domain, "two.test");
	record(rig, l, OUTCOME_DELIVERED);
	assert_null(lease(rig));
	reopen(rig);
	assert_null(lease(rig));
	assert_int_equal(store_admin_status(rig->store, rig, &status), 0);
	assert_int_equal(status.held, 1);
	order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ 0 });
	assert_null(lease(rig));
	assert_int_equal(
		order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ .state = STORE_ADMIN_HELD })
			.mails,
		1);
	l = lease(rig);
	assert_string_equal(l->domain, "one.test");
	record(rig, l, OUTCOME_DELIVERED);
	assert_null(lease(rig));
	assert_string_equal(tracked(rig, mid), "delivered delivered");
	rig_free(rig);
}

static void test_mail_that_is_out_is_held_after_its_outcome_and_released_whenever(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test"));

	(void)state;
	/* Held while it is out: what comes back waits for its release. */
	struct lease *l = lease(rig);
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = mid });
	record(rig, l, OUTCOME_DEFERRED);
	assert_string_equal(states(rig, mid), "held");
	assert_int_equal(store_queued(rig->store), 0);

	/* Held and released while it is out. */
	order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ .mid = mid });
	order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ .mid = mid });
	l = lease(rig);
	assert_non_null(l);
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = mid });
	order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ .mid = mid });
	record(rig, l, OUTCOME_DEFERRED);
	assert_string_equal(states(rig, mid), "deferred");
	assert_int_equal(store_queued(rig->store), 1);

	/* Held while it is out, and whoever had it dies. */
	order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ .mid = mid });
	talloc_free(lease(rig));
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = mid });
	store_free_owner(rig->store, ME);
	store_admit(rig->store, ME);
	assert_null(lease(rig));
	order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ .mid = mid });
	order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ .mid = mid });
	l = lease(rig);
	assert_non_null(l);
	record(rig, l, OUTCOME_DELIVERED);
	assert_int_equal(store_queued(rig->store), 0);
	rig_free(rig);
}

static void test_deleted_mail_is_gone_and_tracked_and_mail_that_is_out_is_left(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test", "b@one.test", "c@two.test"));

	(void)state;
	struct store_admin_done done =
		order(rig, STORE_ADMIN_DELETE, (struct store_admin_filter){ .recipient = "a@one.test" });
	assert_int_equal(done.mails, 1);
	assert_int_equal(done.recipients, 1);
	struct lease *l = lease(rig);
	int64_t other = commit(rig, "s@s.test", TO("a@three.test"));
	assert_int_equal(l->envelope.recipient_count, 1);
	done = order(rig, STORE_ADMIN_DELETE, (struct store_admin_filter){ .mid = mid });
	assert_int_equal(done.left[STORE_ADMIN_LEFT_BUSY], 1);
	assert_int_equal(done.recipients, 1);
	const char *busy = l->domain[0] == 'o' ? "deleted queued deleted" : "deleted deleted queued";
	assert_string_equal(tracked(rig, mid), busy);
	record(rig, l, OUTCOME_DEFERRED);
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = other });
	done = order(rig, STORE_ADMIN_DELETE, (struct store_admin_filter){ 0 });
	assert_int_equal(done.recipients, 2);
	assert_int_equal(done.left[STORE_ADMIN_LEFT_BUSY], 0);
	assert_string_equal(tracked(rig, mid), "deleted deleted deleted");
	assert_string_equal(tracked(rig, other), "deleted");
	assert_int_equal(store_queued(rig->store), 0);
	reopen(rig);
	assert_int_equal(store_queued(rig->store), 0);
	assert_int_equal(count(rig, (struct store_admin_filter){ 0 }), 0);
	rig_free(rig);
}

/* Content files in the store's directory. */
static int files(struct rig *rig)
{
	DIR *directory = opendir(talloc_asprintf(rig, "%s/content", rig->path));
	int count = 0;

	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void test_deleted_mail_counts_no_more_and_leaves_no_file(void **state)
{
	struct rig *rig = rig_new();
	struct envelope envelope = { .received_ms = clock_wall_ms(),
		.icid = "1a-1",
		.client = "192.0.2.1",
		.helo = "c",
		.tls = "",
		.sender = "",
		.recipients = (const char *[]){ "a@one.test" },
		.recipient_count = 1 };
	struct content content = { .fd = store_new_file(rig->store, 0), .size = 200000 }, read;
	int64_t mid;

	(void)state;
	assert_int_equal(ftruncate(content.fd, (off_t)content.size), 0);
	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	close(content.fd);
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ 0 });
	assert_int_equal(store_admin_content(rig->store, rig, mid, &read), 0);
	assert_true(read.fd >= 0 && read.size == 200000);
	close(read.fd);
	assert_int_equal(files(rig), 1);
	order(rig, STORE_ADMIN_DELETE, (struct store_admin_filter){ 0 });
	assert_int_equal(files(rig), 0);
	assert_int_equal(store_admin_content(rig->store, rig, mid, &read), -ENOENT);
	rig_free(rig);
}

static void test_expired_mail_is_lent_for_its_report_whatever_else_is_ordered(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test", "b@one.test", "c@one.test"));

	(void)state;
	record(rig, lease(rig), OUTCOME_DEFERRED);
	suspend(rig, "one.test", true, OPERATOR);
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = mid });
	assert_int_equal(
		order(rig, STORE_ADMIN_EXPIRE, (struct store_admin_filter){ .recipient = "b@one.test" })
			.recipients,
		1);
	reopen(rig);
	struct lease *l = lease(rig);
	assert_non_null(l);
	assert_true(l->expired);
	assert_int_equal(l->envelope.recipient_count, 1);
	assert_string_equal(l->envelope.recipients[0], "b@one.test");
	assert_int_equal(l->attempts, 1);
	record(rig, l, OUTCOME_BOUNCED);
	assert_string_equal(tracked(rig, mid), "deferred bounced deferred");
	assert_string_equal(states(rig, mid), "held held");
	assert_null(lease(rig));
	order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ .mid = mid });
	order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ .mid = mid });
	assert_null(lease(rig));
	suspend(rig, "one.test", false, OPERATOR);
	l = lease(rig);
	assert_false(l->expired);
	assert_int_equal(l->envelope.recipient_count, 2);
	assert_int_equal(l->attempts, 1);
	record(rig, l, OUTCOME_DELIVERED);
	assert_string_equal(tracked(rig, mid), "delivered bounced delivered");
	rig_free(rig);
}

/* All that is known of a recipient comes with it. */
static void test_of_mail_that_is_expired_in_part_each_recipient_keeps_what_is_its_own(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test", "b@one.test", "c@one.test"));
	struct lease *l = lease(rig);
	struct outcome_recipient recipients[] = {
		{ l->rids[0], OUTCOME_DEFERRED, "450 one" },
		{ l->rids[1], OUTCOME_DEFERRED, "450 two", .warned = true },
		{ l->rids[2], OUTCOME_DEFERRED, "450 three" },
	};
	const struct outcome outcome = { .mid = mid,
		.domain = l->domain,
		.attempt = 1,
		.dcid = "",
		.host = "",
		.address = "",
		.tls = "",
		.recipients = recipients,
		.recipient_count = COUNT(recipients) };

	(void)state;
	assert_int_equal(store_record(rig->store, &outcome), 0);
	talloc_free(l);
	order(rig, STORE_ADMIN_EXPIRE, (struct store_admin_filter){ .recipient = "b@one.test" });
	order(rig, STORE_ADMIN_EXPIRE, (struct store_admin_filter){ .recipient = "c@one.test" });
	l = lease(rig);
	assert_int_equal(l->envelope.recipient_count, 2);
	assert_int_equal(l->rids[0], 2);
	assert_int_equal(l->rids[1], 3);
	assert_string_equal(l->replies[0], "450 two");
	assert_string_equal(l->replies[1], "450 three");
	assert_true(l->warned[0]);
	assert_false(l->warned[1]);
	talloc_free(l);
	rig_free(rig);
}

static void test_rerouted_mail_goes_there_at_once_and_the_others_do_not(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@routed.test"));

	(void)state;
	record(rig, lease(rig), OUTCOME_DEFERRED);
	order_to(rig, STORE_ADMIN_REROUTE, (struct store_admin_filter){ .destination = "127.0.0.1:25" },
		"192.0.2.7:26");
	reopen(rig);
	order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ .destination = "192.0.2.7:26" });
	struct lease *l = lease(rig);
	assert_non_null(l);
	assert_string_equal(l->next_hop, "192.0.2.7:26");
	assert_string_equal(l->destination, "192.0.2.7:26");
	record(rig, l, OUTCOME_DEFERRED);
	order(rig, STORE_ADMIN_REROUTE, (struct store_admin_filter){ .mid = mid });
	l = lease(rig);
	assert_non_null(l);
	assert_string_equal(l->next_hop, "");
	assert_string_equal(l->destination, "127.0.0.1:25");
	talloc_free(l);
	rig_free(rig);
}

static void test_mail_that_is_out_is_due_at_once_when_it_comes_back_rerouted(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	commit(rig, "s@s.test", TO("a@routed.test"));
	struct lease *l = lease(rig);
	assert_true(order_to(rig, STORE_ADMIN_REROUTE, (struct store_admin_filter){ 0 }, "192.0.2.7:26")
			    .unknown_hop);
	record(rig, l, OUTCOME_DEFERRED);
	l = lease(rig);
	assert_non_null(l);
	assert_string_equal(l->next_hop, "192.0.2.7:26");

	/* What is only held and released meanwhile keeps its time. */
	order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ 0 });
	order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ 0 });
	record(rig, l, OUTCOME_DEFERRED);
	assert_null(lease(rig));
	rig_free(rig);
}

static void test_orders_count_what_they_change_and_say_why_the_rest_is_left(void **state)
{
	struct rig *rig = rig_new();
	struct store_admin_filter all = { 0 };

	(void)state;
	commit(rig, "s@s.test", TO("a@one.test", "b@two.test"));
	int64_t mid = commit(rig, "s@s.test", TO("a@one.test"));
	struct store_admin_done done = order(rig, STORE_ADMIN_RELEASE, all);
	assert_true(done.mails == 0 && done.matched == 2 && done.recipients == 0);
	assert_int_equal(done.left[STORE_ADMIN_LEFT_NOT_HELD], 3);
	done = order(rig, STORE_ADMIN_HOLD, (struct store_admin_filter){ .mid = mid });
	assert_true(done.mails == 1 && done.recipients == 1 && done.bytes > 0);
	done = order(rig, STORE_ADMIN_HOLD, all);
	assert_true(done.mails == 1 && done.recipients == 2);
	assert_int_equal(done.left[STORE_ADMIN_LEFT_HELD_ALREADY], 1);
	done = order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ .domain = "two.test" });
	assert_int_equal(done.recipients, 1);
	done = order(rig, STORE_ADMIN_FLUSH, all);
	assert_true(done.mails == 1 && done.recipients == 1);
	assert_int_equal(done.left[STORE_ADMIN_LEFT_HELD], 2);
	suspend(rig, "two.test", true, 0);
	done = order(rig, STORE_ADMIN_FLUSH, all);
	assert_true(done.mails == 0 && done.matched == 2);
	assert_int_equal(done.left[STORE_ADMIN_LEFT_SUSPENDED], 1);
	order(rig, STORE_ADMIN_EXPIRE, (struct store_admin_filter){ .mid = mid });
	done = order(rig, STORE_ADMIN_EXPIRE, all);
	assert_true(done.recipients == 2 && done.left[STORE_ADMIN_LEFT_EXPIRING] == 1);
	rig_free(rig);
}

static void test_a_flushed_destination_is_tried_though_it_was_parked(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	commit(rig, "s@s.test", TO("a@one.test"));
	commit(rig, "s@s.test", TO("b@one.test"));
	struct lease *l = lease(rig);
	struct outcome_recipient recipient = { l->rids[0], OUTCOME_DEFERRED, "450 down" };
	struct outcome outcome = { .mid = l->mid,
		.domain = l->domain,
		.attempt = 1,
		.dcid = "",
		.host = "",
		.address = "",
		.tls = "",
		.unreachable = true,
		.recipients = &recipient,
		.recipient_count = 1 };
	assert_int_equal(store_record(rig->store, &outcome), 0);
	talloc_free(l);
	assert_null(lease(rig));
	assert_int_equal(
		order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ .domain = "one.test" }).mails, 2);
	l = lease(rig);
	assert_non_null(l);
	assert_null(lease(rig)); /* one probe at a time */
	record(rig, l, OUTCOME_DELIVERED);
	l = lease(rig);
	assert_non_null(l);
	talloc_free(l);
	rig_free(rig);
}

static void test_a_suspended_destination_stays_suspended_over_a_restart(void **state)
{
	struct rig *rig = rig_new();
	struct store_admin_status status;

	(void)state;
	assert_true(suspend(rig, "127.0.0.1:25", true, OPERATOR).changed);
	assert_false(suspend(rig, "127.0.0.1:25", true, 0).changed);
	assert_false(suspend(rig, "127.0.0.1:25", true, 0).unknown);
	assert_true(suspend(rig, "127.0.0.1:2", false, 0).unknown);
	assert_true(suspend(rig, "one.test", false, 0).unknown);
	commit(rig, "s@s.test", TO("a@routed.test", "b@one.test"));
	struct lease *l = lease(rig);
	assert_string_equal(l->domain, "one.test");
	record(rig, l, OUTCOME_DELIVERED);
	assert_null(lease(rig));
	reopen(rig);
	assert_null(lease(rig));
	assert_int_equal(store_admin_status(rig->store, rig, &status), 0);
	assert_int_equal(status.suspended_count, 1);
	assert_string_equal(status.suspended[0].destination, "127.0.0.1:25");
	assert_int_equal(status.suspended[0].uid, OPERATOR);
	assert_int_equal(status.suspended[0].waiting, 1);
	assert_true(suspend(rig, "127.0.0.1:25", false, OPERATOR).changed);
	assert_false(suspend(rig, "127.0.0.1:25", false, OPERATOR).changed);
	l = lease(rig);
	assert_non_null(l);
	talloc_free(l);
	reopen(rig);
	assert_int_equal(store_admin_status(rig->store, rig, &status), 0);
	assert_int_equal(status.suspended_count, 0);
	rig_free(rig);
}

static void test_a_reader_lists_the_same_without_a_gateway(void **state)
{
	struct rig *rig = rig_new();
	int64_t mid = commit(rig, "s@s.test", TO("a@routed.test"));
	const struct store_admin_filter filter = { .mid = mid };
	struct store_admin_page page;
	struct store *reader;
	const char *why = "";

	(void)state;
	suspend(rig, "127.0.0.1:25", true, OPERATOR);
	assert_int_equal(store_open_reader(rig, rig->path, &reader, &why), 0);
	assert_int_equal(store_admin_prepare_reader(reader, rig->config), 0);
	assert_int_equal(store_admin_list(reader, rig, &filter, 0, 9, &page), 0);
	assert_int_equal(page.count, 1);
	assert_true(page.ended);
	assert_string_equal(page.mails[0].recipients[0].destination, "127.0.0.1:25");
	assert_int_equal(page.mails[0].recipients[0].state, STORE_ADMIN_SUSPENDED);
	talloc_free(reader);
	rig_free(rig);
}

/* Random orders among random deliveries: nothing is lost, nothing is delivered twice or after its end. */
enum { MAILS = 40, STEPS = 3000 };

static void test_whatever_is_ordered_every_mail_ends_exactly_once(void **state)
{
	static const enum store_admin_command commands[] = { STORE_ADMIN_FLUSH, STORE_ADMIN_HOLD,
		STORE_ADMIN_RELEASE, STORE_ADMIN_DELETE, STORE_ADMIN_EXPIRE, STORE_ADMIN_REROUTE };
	static const char *const domains[] = { "one.test", "two.test", "routed.test" };
	struct rig *rig = rig_new();
	struct lease *out[4] = { 0 };
	bool ended[MAILS + 1][4] = { 0 };
	int made = 0;

	(void)state;
	srand(1);
	for (int step = 0; step < STEPS; step++) {
		const int dice = rand() % 10;
		struct lease **slot = &out[rand() % 4];

		if (dice == 0 && made < MAILS) {
			commit(rig, "s@s.test", TO("a@one.test", "b@two.test", "c@routed.test"));
			made++;
		} else if (dice < 4 && *slot == NULL) {
			*slot = lease(rig);
			for (size_t i = 0; *slot != NULL && i < (*slot)->envelope.recipient_count; i++)
				assert_false(ended[(*slot)->mid][(*slot)->rids[i]]);
		} else if (dice < 7 && *slot != NULL) {
			const bool final = (*slot)->expired || rand() % 3 == 0;

			for (size_t i = 0; final && i < (*slot)->envelope.recipient_count; i++) {
				assert_false(ended[(*slot)->mid][(*slot)->rids[i]]);
				ended[(*slot)->mid][(*slot)->rids[i]] = true;
			}
			record(rig, *slot,
				(*slot)->expired ? OUTCOME_BOUNCED
				: final		 ? OUTCOME_DELIVERED
						 : OUTCOME_DEFERRED);
			*slot = NULL;
		} else if (dice >= 7) {
			enum store_admin_command command = commands[rand() % (int)COUNT(commands)];
			struct store_admin_filter filter = { .mid = 1 + rand() % MAILS,
				.domain = rand() % 2 ? domains[rand() % 3] : NULL };

			if (command == STORE_ADMIN_FLUSH)
				filter.mid = 0;
			order_to(rig, command, filter, rand() % 2 ? "192.0.2.7:26" : "");
		}
	}
	for (size_t i = 0; i < COUNT(out); i++)
		if (out[i] != NULL)
			record(rig, out[i], OUTCOME_DEFERRED);
	for (int round = 0; round < 2; round++) {
		struct lease *l;

		order(rig, STORE_ADMIN_RELEASE, (struct store_admin_filter){ 0 });
		order(rig, STORE_ADMIN_FLUSH, (struct store_admin_filter){ 0 });
		while ((l = lease(rig)) != NULL)
			record(rig, l, l->expired ? OUTCOME_BOUNCED : OUTCOME_DELIVERED);
	}
	for (int mid = 1; mid <= made; mid++) {
		assert_null(strstr(tracked(rig, mid), "deferred"));
		assert_null(strstr(tracked(rig, mid), "queued"));
	}
	assert_int_equal(made, MAILS);
	assert_int_equal(count(rig, (struct store_admin_filter){ 0 }), 0);
	assert_int_equal(store_queued(rig->store), 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters_choose_and_pages_join),
		cmocka_unit_test(test_every_state_has_its_name),
		cmocka_unit_test(test_held_mail_waits_for_its_release_also_over_a_restart),
		cmocka_unit_test(test_mail_that_is_out_is_held_after_its_outcome_and_released_whenever),
		cmocka_unit_test(test_deleted_mail_is_gone_and_tracked_and_mail_that_is_out_is_left),
		cmocka_unit_test(test_deleted_mail_counts_no_more_and_leaves_no_file),
		cmocka_unit_test(test_expired_mail_is_lent_for_its_report_whatever_else_is_ordered),
		cmocka_unit_test(test_of_mail_that_is_expired_in_part_each_recipient_keeps_what_is_its_own),
		cmocka_unit_test(test_rerouted_mail_goes_there_at_once_and_the_others_do_not),
		cmocka_unit_test(test_mail_that_is_out_is_due_at_once_when_it_comes_back_rerouted),
		cmocka_unit_test(test_orders_count_what_they_change_and_say_why_the_rest_is_left),
		cmocka_unit_test(test_a_flushed_destination_is_tried_though_it_was_parked),
		cmocka_unit_test(test_a_suspended_destination_stays_suspended_over_a_restart),
		cmocka_unit_test(test_a_reader_lists_the_same_without_a_gateway),
		cmocka_unit_test(test_whatever_is_ordered_every_mail_ends_exactly_once),
	};

	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
