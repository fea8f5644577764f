#pragma once
/* A store on a real database in a directory of its own, and short words for what tests do with it. */
#include "queue/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "test_help.h"

#define NEVER	"mail_flow_policies: [{name: open, tls: none}]\ndelivery: {retry: [7d], concurrency: 8}\n"
#define AT_ONCE "mail_flow_policies: [{name: open, tls: none}]\ndelivery: {retry: [100ms], concurrency: 8}\n"
#define ROUTED	NEVER "routes: [{domain: default, next_hop: '127.0.0.1:25'}]\n"

enum { ME = 7, LONG_MS = 60000 };

struct rig {
	char path[64];
	int fd;
	const struct config *config;
	struct store *store;
};

static inline void reopen(struct rig *rig)
{
	const char *why = NULL;

	talloc_free(rig->store);
	if (store_open(NULL, rig->fd, rig->config, &rig->store, &why) < 0)
		fail_msg("%s", why);
	store_admit(rig->store, ME);
}

static inline struct rig *rig_new(const char *yaml)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));

	help_directory(rig->path);
	rig->fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig->config = help_config(yaml);
	reopen(rig);
	return rig;
}

static inline void rig_free(struct rig *rig)
{
	talloc_free(rig->store);
	config_release(rig->config);
	close(rig->fd);
	help_remove(rig->path);
	talloc_free(rig);
}

#define TO(...)                                                                                              \
	(const char *[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(const char *)

static inline struct envelope envelope_to(const char *sender, const char **recipients, size_t count)
{
	return (struct envelope){ .received_ms = 1700000000123,
		.icid = "1a-1",
		.client = "192.0.2.1",
		.helo = "client.test",
		.tls = "{\"obtained\":\"none\"}",
		.sender = sender,
		.recipients = recipients,
		.recipient_count = count };
}

static inline struct content content_of(const char *bytes)
{
	return (struct content){ .bytes = text_of(bytes), .fd = -1, .size = strlen(bytes) };
}

static inline int64_t commit(
	struct rig *rig, const char *sender, const char *bytes, const char **recipients, size_t count)
{
	struct envelope envelope = envelope_to(sender, recipients, count);
	struct content content = content_of(bytes);
	int64_t mid = 0;

	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), 0);
	assert_true(mid > 0);
	return mid;
}

static inline struct lease *lease_of(struct rig *rig, const char *prefer, int64_t wait_ms)
{
	struct lease *lease;

	assert_int_equal(store_lease(rig->store, NULL, ME, prefer, wait_ms, &lease), 0);
	return lease;
}

static inline struct lease *must_lease(struct rig *rig)
{
	struct lease *lease = lease_of(rig, NULL, LONG_MS);

	assert_non_null(lease);
	return lease;
}

static inline void nothing_is_due(struct rig *rig)
{
	assert_null(lease_of(rig, NULL, 0));
}

/* The outcome of a lease with one state for each recipient ('d'elivered, 'l'ater, 'b'ounced); owned by the lease. */
static inline struct outcome *outcome_of(struct lease *lease, const char *states)
{
	static const enum outcome_state known[] = {
		['d'] = OUTCOME_DELIVERED, ['l'] = OUTCOME_DEFERRED, ['b'] = OUTCOME_BOUNCED
	};
	struct outcome *outcome = text_must(talloc_zero(lease, struct outcome));

	assert_int_equal(strlen(states), lease->envelope.recipient_count);
	*outcome = (struct outcome){ .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = 1700000001000,
		.dcid = "2b-9",
		.host = "mx.test",
		.address = "192.0.2.9:25",
		.tls = "{\"obtained\":\"encrypted\"}",
		.recipient_count = strlen(states) };
	outcome->recipients = text_must(
		talloc_zero_array(lease, struct outcome_recipient, (unsigned)outcome->recipient_count));
	for (size_t i = 0; states[i] != '\0'; i++)
		outcome->recipients[i] =
			(struct outcome_recipient){ lease->rids[i], known[(unsigned char)states[i]],
				states[i] == 'd'   ? "250 2.0.0 ok"
				: states[i] == 'l' ? "450 4.2.0 later"
						   : "550 5.1.1 no" };
	return outcome;
}

static inline void report_to(struct outcome *outcome, const char *sender)
{
	outcome->dsn = text_must(talloc_zero(outcome, struct envelope));
	*outcome->dsn = envelope_to("", text_must(talloc_memdup(outcome, &sender, sizeof sender)), 1);
	outcome->dsn_content = TEXT("Subject: returned\r\n\r\n");
}

static inline void finish(struct rig *rig, const char *states)
{
	struct lease *lease = must_lease(rig);

	assert_int_equal(store_record(rig->store, outcome_of(lease, states)), 0);
	talloc_free(lease);
}

static inline struct store_tracked *track_one(struct rig *rig, int64_t mid)
{
	struct store_query query = { .mid = mid };
	struct store_cursor cursor = { 0 };
	struct store_tracked *records;
	size_t count;

	assert_int_equal(store_track(rig->store, NULL, &query, &cursor, &records, &count), 0);
	assert_int_equal(count, 1);
	assert_true(cursor.ended);
	return records;
}

/* States of a mail's recipients as one word: "delivered bounced". */
static inline void states_are(struct rig *rig, int64_t mid, const char *want)
{
	struct store_tracked *record = track_one(rig, mid);
	char *got = text_must(talloc_strdup(record, ""));

	for (size_t i = 0; i < record->recipient_count; i++)
		got = text_must(talloc_asprintf_append_buffer(
			got, "%s%s", i == 0 ? "" : " ", record->recipients[i].state));
	assert_string_equal(got, want);
	talloc_free(record);
}

static inline unsigned files_in_content(struct rig *rig)
{
	DIR *directory = fdopendir(openat(rig->fd, "content", O_RDONLY | O_DIRECTORY));
	unsigned count = 0;

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

enum { LARGE = 300000 };

static inline int large_file(struct rig *rig)
{
	int fd = store_new_file(rig->store, 0);
	char block[1000];

	assert_true(fd >= 0);
	for (int i = 0; i < LARGE / 1000; i++) {
		memset(block, 'a' + i % 26, sizeof block);
		assert_int_equal(write(fd, block, sizeof block), sizeof block);
	}
	return fd;
}

static inline int64_t commit_large(struct rig *rig, uint64_t size, int want)
{
	struct envelope envelope = envelope_to("s@x.test", TO("1@a.test", "2@b.test"));
	struct content content = { .bytes = TEXT(""), .fd = large_file(rig), .size = size };
	int64_t mid = 0;

	assert_int_equal(store_commit(rig->store, &envelope, &content, &mid), want);
	close(content.fd);
	return mid;
}

/* Run SQL in a database of the store, behind its back; how many rows the last statement changed. */
static inline int help_change(struct rig *rig, const char *file, const char *sql)
{
	char *path = text_must(talloc_asprintf(rig, "%s/%s", rig->path, file)), *words = NULL;
	sqlite3 *db;

	assert_int_equal(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 10000);
	if (sqlite3_exec(db, sql, NULL, NULL, &words) != SQLITE_OK)
		fail_msg("%s: %s", sql, words);
	const int changed = sqlite3_changes(db);
	sqlite3_close(db);
	return changed;
}

/* The first number that a query of a database of the store finds. */
static inline int64_t help_number(struct rig *rig, const char *file, const char *sql)
{
	char *path = text_must(talloc_asprintf(rig, "%s/%s", rig->path, file));
	sqlite3_stmt *row;
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 10000);
	if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_step(row), SQLITE_ROW);
	const int64_t value = sqlite3_column_int64(row, 0);
	sqlite3_finalize(row);
	sqlite3_close(db);
	return value;
}

/* Wait until the query finds `want`: another thread of the store makes it so. */
static inline void help_wait_number(struct rig *rig, const char *file, const char *sql, int64_t want)
{
	const int64_t deadline = clock_mono_ms() + LONG_MS;
	int64_t found;

	while ((found = help_number(rig, file, sql)) != want) {
		if (clock_mono_ms() > deadline)
			fail_msg("%s: %lld and not %lld", sql, (long long)found, (long long)want);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

/* Wait until everything that is finished has left queue.db. */
static inline void help_wait_moved(struct rig *rig)
{
	help_wait_number(
		rig, "queue.db", "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM refusal)", 0);
}
