/*
 * The store of certificates on a real file system. This program's own fsync(), renameat2() and so on stand in front of the C library's: they write down
 * what the store did, in order, and let a process die before any of its steps.
 */
#include "pki/pki_store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "test_help.h"

enum { DIED = 77 };

static char steps[4096];     /* what was done since it was emptied */
static int dies_before = -1; /* a process ends before this step; -1 = it lives */

int fsync(int fd);

/* Note one step, if it concerns the store; the last part of a path is enough. */
static void step(const char *what, const char *name)
{
	const size_t len = strlen(steps), slash = text_find_last(text_of(name), '/');
	const char *last = name[slash] == '\0' ? name : name + slash + 1;

	if (dies_before >= 0 && dies_before-- == 0)
		_exit(DIED);
	snprintf(steps + len, sizeof steps - len, "%s %s\n", what, last);
}

int fsync(int fd)
{
	char path[64], name[PATH_MAX] = "";

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (readlink(path, name, sizeof name - 1) < 0)
		return -1;
	step("sync", name);
	return (int)syscall(SYS_fsync, fd);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	if (fd > 2 && dies_before >= 0)
		step("write", "bytes");
	return syscall(SYS_write, fd, bytes, len);
}

int mkdirat(int at, const char *name, mode_t mode)
{
	step("mkdir", name);
	return (int)syscall(SYS_mkdirat, at, name, mode);
}

int unlinkat(int at, const char *name, int flags)
{
	step("unlink", name);
	return (int)syscall(SYS_unlinkat, at, name, flags);
}

int renameat(int at, const char *name, int to, const char *becomes)
{
	step("rename", becomes);
	return (int)syscall(SYS_renameat2, at, name, to, becomes, 0);
}

int renameat2(int at, const char *name, int to, const char *becomes, unsigned flags)
{
	step(flags == RENAME_EXCHANGE ? "exchange" : "rename", becomes);
	return (int)syscall(SYS_renameat2, at, name, to, becomes, flags);
}

static struct pki_store *writer(const void *owner, const char *directory)
{
	struct pki_store *store = NULL;

	assert_int_equal(pki_store_open_writer(owner, directory, &store), 0);
	return store;
}

static struct pki_store *reader(const void *owner, const char *directory)
{
	struct pki_store *store = NULL;

	assert_int_equal(pki_store_open(owner, directory, &store), 0);
	return store;
}

/* "chain key" of what is stored, or "" */
static char *content(const void *owner, const struct pki_store *store, const char *name)
{
	struct pki_store_pair pair;

	if (pki_store_read(store, owner, name, &pair) < 0)
		return talloc_strdup(owner, "");
	return talloc_asprintf(owner, "%s %s", pair.chain, pair.key);
}

static char *names(const void *owner, const struct pki_store *store)
{
	char *all = talloc_strdup(owner, ""), **list;
	size_t count;

	assert_int_equal(pki_store_list(store, owner, &list, &count), 0);
	for (size_t i = 0; i < count; i++)
		all = talloc_asprintf_append(all, "%s ", list[i]);
	return all;
}

static int write_pair(struct pki_store *store, const char *name, const char *chain, const char *key)
{
	return pki_store_write(store, name, text_of(chain), text_of(key));
}

static void test_what_is_written_is_read_listed_replaced_and_deleted(void **state)
{
	void *owner = talloc_new(NULL);
	char directory[64];

	(void)state;
	help_directory(directory);
	struct pki_store *none = reader(owner, directory);
	assert_string_equal(names(owner, none), "");
	assert_string_equal(content(owner, none, "web"), "");
	assert_null(pki_store_active(none, owner));
	assert_false(pki_store_has(none, "web"));

	struct pki_store *store = writer(owner, directory);
	assert_int_equal(write_pair(store, "web", "chain1", "key1"), 0);
	assert_int_equal(write_pair(store, "mail.good_test-2", "chain2", "key2"), 0);
	assert_string_equal(names(owner, store), "mail.good_test-2 web ");
	assert_string_equal(content(owner, store, "web"), "chain1 key1");
	assert_int_equal(write_pair(store, "web", "c", "longer than before"), 0);
	assert_string_equal(content(owner, reader(owner, directory), "web"), "c longer than before");

	assert_int_equal(pki_store_activate(store, "other"), -ENOENT);
	assert_int_equal(pki_store_activate(store, "web"), 0);
	assert_string_equal(pki_store_active(store, owner), "web");
	assert_int_equal(pki_store_delete(store, "web"), -EBUSY);
	assert_int_equal(pki_store_activate(store, "mail.good_test-2"), 0);
	assert_int_equal(pki_store_delete(store, "web"), 0);
	assert_int_equal(pki_store_delete(store, "web"), -ENOENT);
	assert_string_equal(names(owner, store), "mail.good_test-2 ");
	talloc_free(owner);
	help_remove(directory);
}

static void test_8_23_only_the_owner_may_look(void **state)
{
	static const struct {
		const char *path;
		mode_t mode;
	} cases[] = {
		{ "pki", 0700 },
		{ "pki/lock", 0600 },
		{ "pki/active", 0600 },
		{ "pki/certificates", 0700 },
		{ "pki/certificates/web", 0700 },
		{ "pki/certificates/web/key.pem", 0600 },
		{ "pki/certificates/web/chain.pem", 0600 },
	};
	void *owner = talloc_new(NULL);
	struct stat status;
	char directory[64];

	(void)state;
	help_directory(directory);
	umask(0);
	struct pki_store *store = writer(owner, directory);
	assert_int_equal(write_pair(store, "web", "chain", "key"), 0);
	assert_int_equal(pki_store_activate(store, "web"), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(stat(talloc_asprintf(owner, "%s/%s", directory, cases[i].path), &status), 0);
		if ((status.st_mode & 07777) != cases[i].mode)
			fail_msg("%s has mode %o", cases[i].path, status.st_mode & 07777);
	}
	talloc_free(owner);
	help_remove(directory);
}

static void test_names_stay_in_the_directory(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../web", "a/b", ".hidden", "web.new", "WEB.NEW",
		"-web", "a b", "a\n", "\xc3\xa4",
		"a1234567890123456789012345678901234567890123456789012345678901234" };
	void *owner = talloc_new(NULL);
	char directory[64];

	(void)state;
	help_directory(directory);
	struct pki_store *store = writer(owner, directory);
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (write_pair(store, bad[i], "chain", "key") != -EINVAL)
			fail_msg("`%s` was written", bad[i]);
		assert_string_equal(content(owner, store, bad[i]), "");
		assert_int_equal(pki_store_activate(store, bad[i]), -ENOENT);
		assert_int_equal(pki_store_delete(store, bad[i]), -ENOENT);
	}
	assert_int_equal(write_pair(store, bad[COUNT(bad) - 1] + 1, "chain", "key"), 0);
	assert_string_equal(names(owner, store), talloc_asprintf(owner, "%s ", bad[COUNT(bad) - 1] + 1));
	talloc_free(owner);
	help_remove(directory);
}

/* Nothing counts before it is on the disk: leave one of these syncs out, and this fails. */
static void test_every_step_is_synced_before_the_next_one_rests_on_it(void **state)
{
	void *owner = talloc_new(NULL);
	char directory[64], *top;

	(void)state;
	help_directory(directory);
	top = strrchr(directory, '/') + 1;
	steps[0] = '\0';
	struct pki_store *store = writer(owner, directory);
	assert_string_equal(
		steps, talloc_asprintf(owner, "mkdir pki\nsync %s\nmkdir certificates\nsync pki\n", top));

	steps[0] = '\0';
	assert_int_equal(write_pair(store, "web", "chain", "key"), 0);
	assert_string_equal(steps,
		"mkdir web.new\nsync chain.pem\nsync key.pem\nsync web.new\nexchange web\nrename web\n"
		"sync certificates\n");
	steps[0] = '\0';
	assert_int_equal(write_pair(store, "web", "chain", "key"), 0);
	assert_string_equal(steps,
		"mkdir web.new\nsync chain.pem\nsync key.pem\nsync web.new\nexchange web\nsync certificates\n"
		"unlink key.pem\nunlink chain.pem\nunlink web.new\n");
	steps[0] = '\0';
	assert_int_equal(pki_store_activate(store, "web"), 0);
	assert_string_equal(steps, "sync active.new\nrename active\nsync pki\n");
	assert_int_equal(write_pair(store, "old", "chain", "key"), 0);
	steps[0] = '\0';
	assert_int_equal(pki_store_delete(store, "old"), 0);
	assert_string_equal(steps,
		"rename old.new\nsync certificates\nunlink key.pem\nunlink chain.pem\nunlink old.new\n");
	talloc_free(owner);
	help_remove(directory);
}

/* In a process of its own that ends before step `n`; true when it came to its end. */
static bool dies(const char *directory, int n, void (*act)(struct pki_store *))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct pki_store *store = NULL;

		dies_before = n;
		if (pki_store_open_writer(NULL, directory, &store) < 0)
			_exit(1);
		act(store);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
	return WEXITSTATUS(status) == 0;
}

static void act_write(struct pki_store *store)
{
	if (write_pair(store, "web", "chain2", "key2") < 0)
		_exit(1);
}

static void act_delete(struct pki_store *store)
{
	if (pki_store_delete(store, "web") < 0)
		_exit(1);
}

static void act_activate(struct pki_store *store)
{
	if (pki_store_activate(store, "web") < 0)
		_exit(1);
}

/* What a death left is one of two states, for a reader at once; the next writer removes what is half and can go on. */
static void test_8_13_a_death_between_any_two_steps_leaves_the_old_or_the_new_pair(void **state)
{
	static const struct {
		const char *name;
		void (*act)(struct pki_store *);
		bool stored; /* a pair is there before */
		const char *before, *after, *active_after;
	} cases[] = {
		{ "the first certificate", act_write, false, "", "chain2 key2", NULL },
		{ "a new certificate in the place of another", act_write, true, "chain1 key1", "chain2 key2",
			NULL },
		{ "deleting", act_delete, true, "chain1 key1", "", NULL },
		{ "activating", act_activate, true, "chain1 key1", "chain1 key1", "web" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int deaths = 0;

		for (bool finished = false; !finished; deaths++) {
			void *owner = talloc_new(NULL);
			char directory[64];

			help_directory(directory);
			struct pki_store *store = writer(owner, directory);
			if (cases[i].stored)
				assert_int_equal(write_pair(store, "web", "chain1", "key1"), 0);
			assert_int_equal(write_pair(store, "other", "chain", "key"), 0);
			assert_int_equal(pki_store_activate(store, "other"), 0);
			talloc_free(store);

			finished = dies(directory, deaths, cases[i].act);
			const char *found = content(owner, reader(owner, directory), "web");
			if (strcmp(found, finished ? cases[i].after : cases[i].before) != 0 &&
				strcmp(found, cases[i].after) != 0)
				fail_msg("%s, death %d: %s", cases[i].name, deaths, found);
			const char *active = pki_store_active(reader(owner, directory), owner);
			if (strcmp(active, "other") != 0 &&
				(cases[i].active_after == NULL || strcmp(active, cases[i].active_after) != 0))
				fail_msg("%s, death %d: %s is active", cases[i].name, deaths, active);

			store = writer(owner, directory);
			char *path = talloc_asprintf(owner, "%s/pki/certificates/web.new", directory);
			assert_int_equal(access(path, F_OK), -1);
			assert_string_equal(content(owner, store, "web"), found);
			assert_int_equal(write_pair(store, "web", "chain3", "key3"), 0);
			assert_string_equal(content(owner, store, "web"), "chain3 key3");
			talloc_free(owner);
			help_remove(directory);
		}
		assert_true(deaths > 5);
	}
}

static void test_a_second_writer_waits(void **state)
{
	void *owner = talloc_new(NULL);
	char directory[64];

	(void)state;
	help_directory(directory);
	struct pki_store *store = writer(owner, directory);
	int fd = open(talloc_asprintf(owner, "%s/pki/lock", directory), O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	assert_string_equal(names(owner, reader(owner, directory)), "");
	talloc_free(store);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
	talloc_free(owner);
	help_remove(directory);
}

static void test_what_is_no_file_of_ours_is_not_followed_and_not_read(void **state)
{
	void *owner = talloc_new(NULL);
	char directory[64], *path, big[] = "x";
	struct pki_store_pair pair;

	(void)state;
	help_directory(directory);
	struct pki_store *store = writer(owner, directory);
	assert_int_equal(write_pair(store, "web", "chain", "key"), 0);
	path = talloc_asprintf(owner, "%s/pki/certificates/link", directory);
	assert_int_equal(symlink("web", path), 0);
	assert_true(pki_store_read(store, owner, "link", &pair) < 0);
	assert_int_equal(write_pair(store, "link", "mine", "mine"), 0); /* takes its place */
	assert_string_equal(content(owner, store, "web"), "chain key");
	talloc_free(store);
	store = writer(owner, directory);
	assert_string_equal(names(owner, store), "link web ");

	path = talloc_asprintf(owner, "%s/pki/certificates/web/key.pem", directory);
	assert_int_equal(truncate(path, PKI_STORE_FILE_MAX + 1), 0);
	assert_int_equal(pki_store_read(store, owner, "web", &pair), -EFBIG);
	assert_int_equal(
		pki_store_write(store, "web", (struct text){ big, PKI_STORE_FILE_MAX + 1 }, TEXT("key")),
		-EFBIG);
	talloc_free(owner);
	help_remove(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read_listed_replaced_and_deleted),
		cmocka_unit_test(test_8_23_only_the_owner_may_look),
		cmocka_unit_test(test_names_stay_in_the_directory),
		cmocka_unit_test(test_every_step_is_synced_before_the_next_one_rests_on_it),
		cmocka_unit_test(test_8_13_a_death_between_any_two_steps_leaves_the_old_or_the_new_pair),
		cmocka_unit_test(test_a_second_writer_waits),
		cmocka_unit_test(test_what_is_no_file_of_ours_is_not_followed_and_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
