/* A backup of a store that is in use, and what comes back of it. */
#include "queue/backup.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <jansson.h>

#include "queue/copy.h"
#include "queue/restore.h"
#include "store_help.h"

struct place {
	char path[64];
	int fd;
};

static struct place place_new(void)
{
	struct place place;

	help_directory(place.path);
	place.fd = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(place.fd >= 0);
	return place;
}

static void place_free(struct place *place)
{
	close(place->fd);
	help_remove(place->path);
}

/* Words about damage belong to the rig. */
static struct backup_done back_up_as(struct rig *rig, int target, bool alone)
{
	struct backup_done done = { 0 };
	struct backup *backup;
	const char *why = NULL;
	int r = backup_start(rig, rig->fd, target, alone, &backup, &why);

	for (r = r == 0 ? 1 : r; r > 0;)
		r = backup_step(backup, &done, &why);
	if (r < 0)
		fail_msg("%s", why);
	assert_string_equal(done.part, BACKUP_MANIFEST);
	assert_int_equal(done.percent, 100);
	return done;
}

static struct backup_done back_up(struct rig *rig, int target)
{
	return back_up_as(rig, target, false);
}

/* A rig whose state directory is what was restored. */
static struct rig *restored(const struct place *from)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	struct restore_done done;
	const char *why = NULL;

	help_directory(rig->path);
	rig->fd = open(rig->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig->config = help_config(AT_ONCE);
	if (restore_run(rig, from->fd, rig->fd, &done, &why) < 0)
		fail_msg("%s", why);
	assert_false(restore_is_unfinished(rig->fd));
	reopen(rig);
	return rig;
}

static void test_what_waits_and_what_is_finished_comes_back(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct place place = place_new();
	int64_t done = commit(rig, "s@x.test", "done", TO("1@a.test"));

	(void)state;
	finish(rig, "d");
	help_wait_moved(rig);
	int64_t deferred = commit(rig, "s@x.test", "deferred", TO("2@a.test", "3@a.test"));
	finish(rig, "ld");
	int64_t large = commit_large(rig, LARGE, 0);
	int64_t fresh = commit(rig, "s@x.test", "fresh", TO("4@b.test"));
	int lock = openat(rig->fd, "lock", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(lock, "41\n", 3), 3);
	close(lock);

	const struct backup_done made = back_up(rig, place.fd);
	assert_int_equal(made.mails, 3);
	assert_int_equal(made.files, 1);
	assert_int_equal(made.bytes, LARGE);
	assert_int_equal(made.damaged, 0);
	commit(rig, "s@x.test", "too late", TO("5@b.test"));

	struct rig *back = restored(&place);
	assert_int_equal(store_queued(back->store), 4);
	states_are(back, done, "delivered");
	states_are(back, deferred, "deferred delivered");
	states_are(back, large, "queued queued");
	states_are(back, fresh, "queued");
	for (int i = 0; i < 4; i++) {
		struct lease *lease = must_lease(back);

		if (lease->mid == large)
			assert_int_equal(lease->content.size, LARGE);
		assert_int_equal(store_record(back->store, outcome_of(lease, "d")), 0);
		talloc_free(lease);
	}
	assert_int_equal(files_in_content(back), 0);
	/* No number comes again, neither of a mail nor of a start. */
	assert_true(commit(back, "s@x.test", "x", TO("1@a.test")) > fresh + 1000);
	char text[32] = "";
	lock = openat(back->fd, "lock", O_RDONLY);
	assert_true(read(lock, text, sizeof text - 1) > 0);
	close(lock);
	assert_true(strtoll(text, NULL, 10) > 41);
	rig_free(back);
	rig_free(rig);
	place_free(&place);
}

static void test_content_files_stay_while_they_are_held(void **state)
{
	struct rig *rig = rig_new(NEVER);

	(void)state;
	commit_large(rig, LARGE, 0);
	commit_large(rig, LARGE, 0);
	store_hold_files(rig->store);
	store_hold_files(rig->store);
	for (int i = 0; i < 4; i++)
		finish(rig, "d");
	assert_int_equal(files_in_content(rig), 2);
	store_release_files(rig->store);
	assert_int_equal(files_in_content(rig), 2);
	store_release_files(rig->store);
	assert_int_equal(files_in_content(rig), 0);
	commit_large(rig, LARGE, 0);
	finish(rig, "d");
	finish(rig, "d");
	assert_int_equal(files_in_content(rig), 0);
	rig_free(rig);
}

struct load {
	struct rig *rig;
	atomic_bool stop;
	atomic_int committed;
};

/* Mails come, large ones too, and some are served. */
static void *load_run(void *argument)
{
	struct load *load = argument;

	for (int i = 0; !atomic_load(&load->stop); i++) {
		if (i % 8 == 0)
			commit_large(load->rig, LARGE, 0);
		else
			commit(load->rig, "s@x.test", "x", TO("1@a.test", "2@b.test"));
		atomic_fetch_add(&load->committed, 1);
		for (int n = 0; i % 2 == 0 && n < 2; n++)
			finish(load->rig, "d");
	}
	return NULL;
}

static void test_a_backup_under_load_has_all_that_was_promised_before(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct load load = { .rig = rig };
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, load_run, &load);
	for (int round = 0; round < 3; round++) {
		struct place place = place_new();

		while (atomic_load(&load.committed) < 40 * (round + 1))
			sched_yield();
		const int before = atomic_load(&load.committed);
		store_hold_files(rig->store);
		const struct backup_done done = back_up(rig, place.fd);
		store_release_files(rig->store);
		assert_int_equal(done.damaged, 0);
		struct rig *back = restored(&place);
		/* Each mail is there, and what waits can be lent with its content. */
		for (int mid = 1; mid <= before; mid++)
			talloc_free(track_one(back, mid));
		for (uint64_t left = store_queued(back->store); left > 0; left--)
			finish(back, "d");
		assert_int_equal(store_queued(back->store), 0);
		nothing_is_due(back);
		rig_free(back);
		place_free(&place);
	}
	atomic_store(&load.stop, true);
	pthread_join(thread, NULL);
	rig_free(rig);
}

static void test_damaged_content_is_counted_and_does_not_stop_the_backup(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct place place = place_new();
	int64_t mid = commit_large(rig, LARGE, 0);

	(void)state;
	help_change(rig, "queue.db", "UPDATE message SET file = 'gone'");
	const struct backup_done done = back_up(rig, place.fd);
	assert_int_equal(done.damaged, 1);
	assert_int_equal(done.files, 0);
	struct rig *back = restored(&place);
	nothing_is_due(back);
	states_are(back, mid, "corrupt corrupt");
	rig_free(back);
	rig_free(rig);
	place_free(&place);
}

static unsigned names_in(const char *path)
{
	DIR *directory = opendir(path);
	unsigned count = 0;

	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static bool has_name(const struct rig *rig, const char *word)
{
	DIR *directory = opendir(rig->path);
	bool found = false;

	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		found = found || strstr(entry->d_name, word) != NULL;
	closedir(directory);
	return found;
}

static void spoil(int directory, const char *name, off_t at)
{
	CLEANUP(base_close) int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
	char rubbish[512];

	memset(rubbish, 'x', sizeof rubbish);
	assert_int_equal(pwrite(fd, rubbish, sizeof rubbish, at), sizeof rubbish);
}

/* Two mails that wait, one of them large, and nobody has the store open. */
static struct rig *closed_rig(void)
{
	struct rig *rig = rig_new(NEVER);

	commit(rig, "s@x.test", "small", TO("1@a.test"));
	commit_large(rig, LARGE, 0);
	reopen(rig);
	TALLOC_FREE(rig->store);
	return rig;
}

/* Everybody is lent from what was restored, after the salvage of the first start. */
static void comes_back(const struct place *place, bool damaged)
{
	struct rig *back = restored(place);

	assert_int_equal(has_name(back, "queue.db.corrupt-"), damaged);
	for (int i = 0; i < 3; i++)
		finish(back, "d");
	nothing_is_due(back);
	assert_int_equal(files_in_content(back), 0);
	assert_true(commit(back, "s@x.test", "x", TO("1@a.test")) > 1000);
	rig_free(back);
}

/* The page of an index, which costs no mail. */
static off_t index_page(struct rig *rig)
{
	return 8192 * (help_number(rig, "queue.db",
			       "SELECT rootpage FROM sqlite_schema WHERE name = 'recipient_live'") -
			      1);
}

static void test_11_28_a_backup_says_that_queue_db_is_damaged_and_is_salvaged_after_a_restore(void **state)
{
	(void)state;
	for (int alone = 0; alone < 2; alone++) {
		struct rig *rig = closed_rig();
		struct place place = place_new();

		spoil(rig->fd, "queue.db", index_page(rig));
		const struct backup_done made = back_up_as(rig, place.fd, alone);
		assert_non_null(made.queue_damage);
		assert_null(made.track_damage);
		assert_int_equal(made.files, 1);
		assert_int_equal(made.bytes, LARGE);
		char *path = text_must(talloc_asprintf(rig, "%s/" BACKUP_MANIFEST, place.path));
		json_t *manifest = json_load_file(path, 0, NULL);
		assert_string_equal(
			json_string_value(json_object_get(manifest, "queue_damage")), made.queue_damage);
		assert_true(json_is_null(json_object_get(manifest, "track_damage")));
		json_decref(manifest);
		comes_back(&place, true);
		rig_free(rig);
		place_free(&place);
	}
}

/* SQLite takes what comes behind a damaged frame for a torn end, and its copy would look sound. */
static void test_11_28_a_backup_of_a_damaged_log_loses_nothing(void **state)
{
	struct rig *rig = rig_new(NEVER), *dead = rig_new(NEVER);
	struct place place = place_new();

	(void)state;
	commit(rig, "s@x.test", "1", TO("1@a.test"));
	commit(rig, "s@x.test", "2", TO("1@a.test"));
	commit_large(rig, LARGE, 0);
	TALLOC_FREE(dead->store);
	static const char *const names[] = { "queue.db", "queue.db-wal", "track.db" };
	for (size_t i = 0; i < COUNT(names); i++) { /* as a kill leaves them */
		unlinkat(dead->fd, names[i], 0);
		assert_int_equal(copy_plain(rig->fd, dead->fd, names[i]), 0);
	}
	CLEANUP(base_close) int from = openat(rig->fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(base_close) int to = openat(dead->fd, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *content = fdopendir(dup(from));
	for (struct dirent *entry; (entry = readdir(content)) != NULL;)
		if (entry->d_name[0] != '.')
			assert_int_equal(copy_plain(from, to, entry->d_name), 0);
	closedir(content);
	spoil(dead->fd, "queue.db-wal", 32); /* the first frame's header, and some of its page */
	const struct backup_done made = back_up_as(dead, place.fd, true);
	assert_non_null(made.queue_damage);
	struct rig *back = restored(&place);
	assert_true(has_name(back, "queue.db.corrupt-"));
	for (int i = 0; i < 4; i++)
		finish(back, "d");
	rig_free(back);
	rig_free(dead);
	rig_free(rig);
	place_free(&place);
}

static void test_a_damaged_track_db_is_said_and_set_aside(void **state)
{
	static const off_t places[] = { 0, 2 * 8192 };

	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		struct rig *rig = closed_rig();
		struct place place = place_new();

		spoil(rig->fd, "track.db", places[i]);
		const struct backup_done made = back_up_as(rig, place.fd, true);
		assert_non_null(made.track_damage);
		assert_null(made.queue_damage);
		assert_int_equal(made.mails, 2);
		comes_back(&place, false);
		rig_free(rig);
		place_free(&place);
	}
}

/* One that went bad after it was made. */
static void test_what_is_damaged_in_the_backup_is_no_reason_to_refuse_it(void **state)
{
	struct rig *rig = closed_rig();
	struct place place = place_new();
	struct restore_done done;
	const char *why = NULL;

	(void)state;
	assert_null(back_up_as(rig, place.fd, true).queue_damage);
	spoil(place.fd, "queue.db", index_page(rig));
	spoil(place.fd, "track.db", 2 * 8192);
	comes_back(&place, true);
	struct place target = place_new();
	assert_int_equal(restore_run(rig, place.fd, target.fd, &done, &why), 0);
	assert_non_null(done.queue_damage);
	assert_non_null(done.track_damage);
	assert_non_null(strstr(done.kept, "track.db.corrupt-"));
	assert_int_equal(faccessat(target.fd, done.kept, F_OK, 0), 0);
	assert_int_not_equal(faccessat(target.fd, "track.db", F_OK, 0), 0);
	place_free(&target);
	rig_free(rig);
	place_free(&place);
}

static void test_an_unfinished_restore_is_not_backed_up(void **state)
{
	struct rig *rig = closed_rig();
	struct place place = place_new();
	struct backup *backup;
	const char *why = NULL;

	(void)state;
	close(openat(rig->fd, "restore.unfinished", O_WRONLY | O_CREAT, 0600));
	assert_true(backup_start(rig, rig->fd, place.fd, true, &backup, &why) < 0);
	assert_non_null(strstr(why, "restore again"));
	assert_int_equal(names_in(place.path), 0);
	rig_free(rig);
	place_free(&place);
}

static void refuses(const struct place *place, const char *word)
{
	struct rig *rig = rig_new(NEVER);
	struct place target = place_new();
	struct restore_done done;
	const char *why = NULL;

	assert_true(restore_run(rig, place->fd, target.fd, &done, &why) < 0);
	if (strstr(why, word) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	assert_int_equal(names_in(target.path), 0); /* as it was before */
	place_free(&target);
	rig_free(rig);
}

static void test_what_is_no_whole_backup_is_not_restored(void **state)
{
	struct rig *rig = rig_new(NEVER);
	struct place place = place_new();

	(void)state;
	refuses(&place, "no complete backup");
	commit_large(rig, LARGE, 0);
	back_up(rig, place.fd);
	int content = openat(place.fd, "content", O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(place.fd, "away", 0700), 0);
	assert_int_equal(renameat(place.fd, "content", place.fd, "kept"), 0);
	refuses(&place, "cannot be copied");
	assert_int_equal(renameat(place.fd, "away", place.fd, "content"), 0);
	refuses(&place, "has 0 content files, and backup.json says 1");
	assert_int_equal(unlinkat(place.fd, "content", AT_REMOVEDIR), 0);
	assert_int_equal(renameat(place.fd, "kept", place.fd, "content"), 0);
	close(content);

	int fd = openat(place.fd, BACKUP_MANIFEST, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "{\"version\": 2}", 14), 14);
	close(fd);
	refuses(&place, "another version");
	rig_free(rig);
	place_free(&place);
}

/* It belongs to whoever was there before, with its counter. */
static void test_a_restore_that_fails_leaves_the_lock_that_was_there(void **state)
{
	struct rig *rig = closed_rig();
	struct place place = place_new(), target = place_new();
	struct restore_done done;
	const char *why = NULL;
	char text[8] = "";

	(void)state;
	back_up_as(rig, place.fd, true);
	CLEANUP(base_close) int content = openat(place.fd, "content", O_RDONLY | O_DIRECTORY);
	close(openat(content, "one more", O_WRONLY | O_CREAT, 0600));
	CLEANUP(base_close) int lock = openat(target.fd, "lock", O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(lock, "7\n", 2), 2);
	assert_true(restore_run(rig, place.fd, target.fd, &done, &why) < 0);
	assert_non_null(strstr(why, "has 2 content files"));
	assert_int_equal(names_in(target.path), 1);
	assert_int_equal(faccessat(target.fd, "lock", F_OK, 0), 0);
	assert_int_equal(pread(lock, text, sizeof text, 0), 2);
	assert_string_equal(text, "7\n");
	rig_free(rig);
	place_free(&place);
	place_free(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_waits_and_what_is_finished_comes_back),
		cmocka_unit_test(test_content_files_stay_while_they_are_held),
		cmocka_unit_test(test_a_backup_under_load_has_all_that_was_promised_before),
		cmocka_unit_test(test_damaged_content_is_counted_and_does_not_stop_the_backup),
		cmocka_unit_test(
			test_11_28_a_backup_says_that_queue_db_is_damaged_and_is_salvaged_after_a_restore),
		cmocka_unit_test(test_11_28_a_backup_of_a_damaged_log_loses_nothing),
		cmocka_unit_test(test_a_damaged_track_db_is_said_and_set_aside),
		cmocka_unit_test(test_what_is_damaged_in_the_backup_is_no_reason_to_refuse_it),
		cmocka_unit_test(test_an_unfinished_restore_is_not_backed_up),
		cmocka_unit_test(test_what_is_no_whole_backup_is_not_restored),
		cmocka_unit_test(test_a_restore_that_fails_leaves_the_lock_that_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
