/* What role `upkeep` keeps of a source: whole or not at all, and read as if somebody else had put it there. */
#include "pki/crl_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "test_help.h"

static char place[64]; /* a directory of its own */

static int open_place(void)
{
	CLEANUP(base_close) int above = -1;

	help_directory(place);
	above = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return crl_file_make(above);
}

static void put(int directory_fd, const char *name, const char *text)
{
	CLEANUP(base_close)
	int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(io_write_all(fd, text_of(text)), 0);
}

static void test_a_list_is_replaced_whole(void **state)
{
	CLEANUP(base_close) int fd = open_place();
	void *owner = talloc_new(NULL);
	struct text list;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(crl_file_read(owner, fd, "ca", &list), -ENOENT);
	put(fd, "ca.crl.new", "half of a list of one that was killed");
	assert_int_equal(crl_file_read(owner, fd, "ca", &list), -ENOENT);
	assert_int_equal(crl_file_write(fd, "ca", TEXT("first\0list")), 0);
	assert_int_equal(crl_file_read(owner, fd, "ca", &list), 0);
	assert_true(text_equal(list, TEXT("first\0list")));
	assert_int_equal(faccessat(fd, "ca.crl.new", F_OK, 0), -1);
	assert_int_equal(crl_file_write(fd, "ca", TEXT("second")), 0);
	assert_int_equal(crl_file_read(owner, fd, "ca", &list), 0);
	assert_true(text_equal(list, TEXT("second")));
	assert_int_equal(crl_file_read(owner, fd, "other", &list), -ENOENT);
	talloc_free(owner);
}

static void test_links_pipes_and_large_files_are_not_read(void **state)
{
	CLEANUP(base_close) int fd = open_place();
	void *owner = talloc_new(NULL);
	struct text list;

	(void)state;
	put(fd, "secret", "secret");
	assert_int_equal(symlinkat("secret", fd, "link.crl"), 0);
	assert_int_equal(crl_file_read(owner, fd, "link", &list), -ELOOP);
	assert_int_equal(mkfifoat(fd, "pipe.crl", 0600), 0);
	assert_int_equal(crl_file_read(owner, fd, "pipe", &list), -EINVAL);
	assert_int_equal(mkdirat(fd, "folder.crl", 0700), 0);
	assert_int_equal(crl_file_read(owner, fd, "folder", &list), -EINVAL);
	put(fd, "large.crl", "");
	CLEANUP(base_close) int large = openat(fd, "large.crl", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(large, (64 << 20) + 1), 0);
	assert_int_equal(crl_file_read(owner, fd, "large", &list), -EFBIG);

	/* a link where one is to be written is replaced, not followed */
	assert_int_equal(symlinkat("secret", fd, "x.crl.new"), 0);
	assert_int_equal(symlinkat("secret", fd, "x.crl"), 0);
	assert_int_equal(crl_file_write(fd, "x", TEXT("list")), 0);
	assert_int_equal(crl_file_read(owner, fd, "x", &list), 0);
	char buffer[16] = "";
	CLEANUP(base_close) int secret = openat(fd, "secret", O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(secret, buffer, sizeof buffer), 6);
	assert_memory_equal(buffer, "secret", 6);
	talloc_free(owner);
}

static void test_the_directory_is_no_link(void **state)
{
	char directory[64], path[128];

	(void)state;
	help_directory(directory);
	assert_int_equal(crl_file_open(directory), -ENOENT);
	snprintf(path, sizeof path, "%s/upkeep", directory);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_true(crl_file_open(directory) < 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/upkeep/crl", directory);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_true(crl_file_open(directory) < 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	CLEANUP(base_close) int fd = crl_file_open(directory);
	assert_true(fd >= 0);
}

static void test_a_note_survives_and_nonsense_is_none(void **state)
{
	static const char *const nonsense[] = { "", "{", "[]", "7", "{\"fetched_ms\": \"x\", \"why\": 7}",
		"{\"fetched_ms\": -5, \"failures\": -1}", "\xff\xfe" };
	const struct crl_note note = { .fetched_ms = INT64_C(1790000000123),
		.failed_ms = INT64_C(1790000000456),
		.failures = 3,
		.from = "http://a.test/x",
		.why = "primary: no \"such\" thing" };
	CLEANUP(base_close) int fd = open_place();
	struct crl_note read;

	(void)state;
	crl_file_read_note(fd, "ca", &read);
	assert_int_equal(read.fetched_ms, 0);
	assert_int_equal(crl_file_write_note(fd, "ca", &note), 0);
	crl_file_read_note(fd, "ca", &read);
	assert_int_equal(read.fetched_ms, note.fetched_ms);
	assert_int_equal(read.failed_ms, note.failed_ms);
	assert_int_equal(read.failures, 3);
	assert_string_equal(read.from, note.from);
	assert_string_equal(read.why, note.why);
	for (size_t i = 0; i < COUNT(nonsense); i++) {
		put(fd, "ca.json", nonsense[i]);
		crl_file_read_note(fd, "ca", &read);
		assert_true(read.fetched_ms == 0 && read.failed_ms == 0 && read.failures == 0);
		assert_string_equal(read.from, "");
		assert_string_equal(read.why, "");
	}
	put(fd, "ca.json", "{\"failures\": 99999999999, \"why\": \"a\\u0007\\u00e9\\n\"}");
	crl_file_read_note(fd, "ca", &read);
	assert_int_equal(read.failures, 1000000);
	assert_string_equal(read.why, "a????");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_list_is_replaced_whole),
		cmocka_unit_test(test_links_pipes_and_large_files_are_not_read),
		cmocka_unit_test(test_the_directory_is_no_link),
		cmocka_unit_test(test_a_note_survives_and_nonsense_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
