/* Content files: durable under a name, checked when they are read, swept when nobody names them; and digests. */
#include "queue/content.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "test_help.h"

struct rig {
	char path[64];
	int fd, content;
};

static struct rig rig_new(void)
{
	struct rig rig;

	help_directory(rig.path);
	rig.fd = open(rig.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig.content = content_open(rig.fd);
	assert_true(rig.content >= 0);
	return rig;
}

static void rig_free(struct rig *rig)
{
	close(rig->content);
	close(rig->fd);
	help_remove(rig->path);
}

static bool exists(struct rig *rig, const char *name)
{
	return faccessat(rig->content, name, F_OK, 0) == 0;
}

/* Keep `bytes` under a new name; what content_keep() says to `size`. */
static int keep(struct rig *rig, const char *bytes, uint64_t size, char *ret_name, struct digest *ret_digest)
{
	int fd = content_new(rig->content, size);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	int r = content_keep(rig->content, fd, size, 0x1a, ret_name, ret_digest);
	close(fd);
	return r;
}

static void test_a_kept_file_is_read_back_and_dropped(void **state)
{
	struct rig rig = rig_new();
	char name[CONTENT_NAME_MAX], other[CONTENT_NAME_MAX], bytes[8];
	struct digest digest, want = digest_of(TEXT("hello"));

	(void)state;
	assert_int_equal(keep(&rig, "hello", 5, name, &digest), 0);
	assert_memory_equal(&digest, &want, sizeof digest);
	assert_int_equal(keep(&rig, "hello", 5, other, &digest), 0);
	assert_string_not_equal(name, other);
	int fd = content_read(rig.content, name, 5, &digest);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 5);
	assert_memory_equal(bytes, "hello", 5);
	close(fd);
	content_drop(rig.content, name);
	assert_false(exists(&rig, name));
	assert_true(exists(&rig, other));
	content_drop(rig.content, name);
	rig_free(&rig);
}

static void test_what_is_not_the_content_is_not_read(void **state)
{
	struct rig rig = rig_new();
	char name[CONTENT_NAME_MAX];
	struct digest digest, wrong;

	(void)state;
	assert_int_equal(keep(&rig, "hello", 5, name, &digest), 0);
	for (size_t bit = 0; bit < 8 * sizeof digest.bytes; bit += 37) {
		wrong = digest;
		wrong.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(content_read(rig.content, name, 5, &wrong), -EBADMSG);
	}
	assert_int_equal(content_read(rig.content, name, 4, &digest), -EBADMSG);
	assert_int_equal(content_read(rig.content, name, 6, &digest), -EBADMSG);
	assert_true(content_read(rig.content, "nobody", 5, &digest) < 0);
	assert_int_equal(symlinkat(name, rig.content, "link"), 0);
	assert_true(content_read(rig.content, "link", 5, &digest) < 0);
	rig_free(&rig);
}

static void test_a_size_that_does_not_fit_leaves_nothing(void **state)
{
	static const uint64_t sizes[] = { 0, 4, 6, 1000 };
	struct rig rig = rig_new();
	char name[CONTENT_NAME_MAX] = "unset";
	struct digest digest;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++)
		assert_int_equal(keep(&rig, "hello", sizes[i], name, &digest), -EINVAL);
	assert_int_equal(content_sweep(rig.content, NULL, 0), 0);
	rig_free(&rig);
}

static void test_no_file_is_made_that_cannot_fit(void **state)
{
	struct rig rig = rig_new();

	(void)state;
	assert_int_equal(content_new(rig.content, UINT64_C(1) << 60), -ENOSPC);
	rig_free(&rig);
}

static void test_a_sweep_removes_exactly_what_nobody_names(void **state)
{
	static const char *const made[] = { "1", "10", "2", "a-0", "a-1", "zz" };
	static const char *const named[] = { "10", "a-1", "missing" };

	(void)state;
	for (size_t count = 0; count <= COUNT(named); count++) {
		struct rig rig = rig_new();
		unsigned kept = 0;

		for (size_t i = 0; i < COUNT(made); i++)
			close(openat(rig.content, made[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		unsigned removed = content_sweep(rig.content, named, count);
		for (size_t i = 0; i < COUNT(made); i++) {
			bool wanted = false;

			for (size_t n = 0; n < count; n++)
				wanted = wanted || strcmp(made[i], named[n]) == 0;
			assert_int_equal(exists(&rig, made[i]), wanted);
			kept += wanted;
		}
		assert_int_equal(removed, COUNT(made) - kept);
		rig_free(&rig);
	}
}

static void test_digests_are_sha256(void **state)
{
	struct rig rig = rig_new();
	struct digest digest = digest_of(TEXT("abc")), of_file;
	char hex[DIGEST_HEX_MAX];
	int fd = content_new(rig.content, 0);

	(void)state;
	assert_string_equal(
		digest_hex(&digest, hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest = digest_of(TEXT(""));
	assert_string_equal(
		digest_hex(&digest, hex), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_int_equal(write(fd, "abcdef", 6), 6);
	digest = digest_of(TEXT("abc"));
	assert_int_equal(digest_of_file(fd, 3, &of_file), 0);
	assert_memory_equal(&digest, &of_file, sizeof digest);
	assert_int_equal(digest_of_file(fd, 7, &of_file), -ENODATA);
	close(fd);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_kept_file_is_read_back_and_dropped),
		cmocka_unit_test(test_what_is_not_the_content_is_not_read),
		cmocka_unit_test(test_a_size_that_does_not_fit_leaves_nothing),
		cmocka_unit_test(test_no_file_is_made_that_cannot_fit),
		cmocka_unit_test(test_a_sweep_removes_exactly_what_nobody_names),
		cmocka_unit_test(test_digests_are_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
