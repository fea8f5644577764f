/* Bundles: what goes in comes out for those who may see it, and no damaged image is ever believed. */
#include "config/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int memfd_of(const void *bytes, size_t len, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static struct bundle *sample(void)
{
	struct bundle *bundle = bundle_new(NULL, UINT64_C(0x123456789a));

	bundle_add(bundle, "postern.yaml", TEXT("hostname: a.b\n"), BUNDLE_ALL);
	bundle_add(bundle, "front.key", TEXT("secret\0key"), BUNDLE_FRONT);
	bundle_add(bundle, "ca.pem", TEXT("ca"), BUNDLE_DELIVER);
	bundle_add(bundle, "empty", TEXT(""), BUNDLE_FRONT);
	return bundle;
}

/* The bytes of the sample as the front gets them. */
static char *image(size_t *ret_len)
{
	struct bundle *bundle = sample();
	CLEANUP(base_close) int fd = bundle_seal(bundle, BUNDLE_FRONT);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	char *bytes = talloc_size(NULL, (size_t)st.st_size);
	assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	talloc_free(bundle);
	*ret_len = (size_t)st.st_size;
	return bytes;
}

static void a_role_finds_what_it_may_see(void **state)
{
	static const struct {
		const char *path, *bytes;
		size_t len;
		unsigned readers;
	} entries[] = {
		{ "postern.yaml", "hostname: a.b\n", 14, BUNDLE_ALL },
		{ "front.key", "secret\0key", 10, BUNDLE_FRONT },
		{ "ca.pem", "ca", 2, BUNDLE_DELIVER },
		{ "empty", "", 0, BUNDLE_FRONT },
		{ "postern.yam", "", 0, 0 },
		{ "", "", 0, 0 },
	};
	static const unsigned roles[] = { BUNDLE_FRONT, BUNDLE_QUEUE, BUNDLE_DELIVER };
	struct bundle *bundle = sample();

	(void)state;
	for (size_t r = 0; r < COUNT(roles); r++) {
		CLEANUP(base_close) int fd = bundle_seal(bundle, roles[r]);
		struct bundle *seen = bundle_open(bundle, fd);

		assert_non_null(seen);
		assert_int_equal(bundle_generation(seen), UINT64_C(0x123456789a));
		for (size_t i = 0; i < COUNT(entries); i++) {
			struct text found = bundle_find(seen, entries[i].path);

			assert_int_equal(found.at != NULL, (entries[i].readers & roles[r]) != 0);
			if (found.at != NULL)
				assert_true(
					text_equal(found, (struct text){ entries[i].bytes, entries[i].len }));
		}
	}
	talloc_free(bundle);
}

static void the_secrets_of_others_are_not_in_the_image(void **state)
{
	struct bundle *bundle = sample();
	CLEANUP(base_close) int fd = bundle_seal(bundle, BUNDLE_DELIVER);
	char bytes[4096];
	ssize_t n = pread(fd, bytes, sizeof bytes, 0);

	(void)state;
	assert_true(n > 0);
	assert_null(memmem(bytes, (size_t)n, "secret", 6));
	assert_non_null(memmem(bytes, (size_t)n, "ca.pem", 6));
	talloc_free(bundle);
}

static void the_same_path_again_widens_its_readers(void **state)
{
	struct bundle *bundle = sample();

	(void)state;
	bundle_add(bundle, "front.key", TEXT("other"), BUNDLE_QUEUE);
	CLEANUP(base_close) int fd = bundle_seal(bundle, BUNDLE_QUEUE);
	struct bundle *seen = bundle_open(bundle, fd);
	assert_true(text_equal(bundle_find(seen, "front.key"), TEXT("secret\0key")));
	talloc_free(bundle);
}

static void nobody_can_change_a_sealed_bundle(void **state)
{
	struct bundle *bundle = sample();
	CLEANUP(base_close) int fd = bundle_seal(bundle, BUNDLE_FRONT);

	(void)state;
	assert_int_equal(fcntl(fd, F_GET_SEALS), SEALS);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 1), -1);
	talloc_free(bundle);
}

static void what_is_not_sealed_is_refused(void **state)
{
	static const struct {
		int seals;
		bool fine;
	} cases[] = {
		{ SEALS, true },
		{ F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, true },
		{ F_SEAL_GROW | F_SEAL_WRITE, false },
		{ F_SEAL_SHRINK | F_SEAL_WRITE, false },
		{ F_SEAL_SHRINK | F_SEAL_GROW, false },
		{ 0, false },
	};
	size_t len;
	char *bytes = image(&len);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		CLEANUP(base_close) int fd = memfd_of(bytes, len, cases[i].seals);
		struct bundle *bundle = bundle_open(bytes, fd);

		assert_int_equal(bundle != NULL, cases[i].fine);
	}
	CLEANUP(base_close) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_null(bundle_open(NULL, null));
	assert_null(bundle_open(NULL, -1));
	talloc_free(bytes);
}

static void every_truncated_or_longer_image_is_refused(void **state)
{
	size_t len;
	char *bytes = image(&len);

	(void)state;
	bytes = talloc_realloc_size(NULL, bytes, len + 1);
	bytes[len] = '\0';
	for (size_t n = 0; n <= len + 1; n++) {
		CLEANUP(base_close) int fd = memfd_of(bytes, n, SEALS);
		struct bundle *bundle = bundle_open(NULL, fd);

		assert_int_equal(bundle != NULL, n == len);
		talloc_free(bundle);
	}
	talloc_free(bytes);
}

/* A flipped bit in a text goes unnoticed; in a length it must not lead outside (ASan and the kernel watch). */
static void no_flipped_bit_leads_outside(void **state)
{
	size_t len, opened = 0;
	char *bytes = image(&len);

	(void)state;
	for (size_t bit = 0; bit < len * 8; bit++) {
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << (bit % 8)));
		CLEANUP(base_close) int fd = memfd_of(bytes, len, SEALS);
		struct bundle *bundle = bundle_open(NULL, fd);

		if (bundle != NULL) {
			struct text text = bundle_find(bundle, "postern.yaml");
			char *copy = text_copy(bundle, text.at == NULL ? TEXT("") : text);

			assert_true(text.len <= len && copy != NULL);
			opened++;
		}
		talloc_free(bundle);
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << (bit % 8)));
	}
	assert_true(opened > 0 && opened < len * 8);
	talloc_free(bytes);
}

static void lengths_are_compared_before_they_are_used(void **state)
{
	static const struct {
		const char *name;
		size_t at, size;
		uint64_t value;
	} cases[] = {
		{ "another magic", 0, 1, 'Q' },
		{ "another version", 8, 4, 2 },
		{ "no entries, but bytes", 12, 4, 0 },
		{ "more entries than there are", 12, 4, 4 },
		{ "very many entries", 12, 4, UINT32_MAX },
		{ "another size", 24, 8, 1 },
		{ "no path", 32, 4, 0 },
		{ "a path longer than the image", 32, 4, 4096 },
		{ "a path longer than allowed", 32, 4, UINT32_MAX },
		{ "bytes longer than the image", 40, 8, 1 << 20 },
		{ "bytes that overflow with the path", 40, 8, UINT64_MAX },
		{ "bytes that overflow by a little", 40, 8, UINT64_MAX - 11 },
		{ "a NUL in the path", 50, 1, 0 },
		{ "a path that ends behind the image", 109, 4, 6 }, /* of the last entry */
		{ "bytes that end behind the image", 117, 8, 1 },
	};
	size_t len;
	char *bytes = image(&len);

	(void)state;
	assert_int_equal(len, 130);
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *copy = talloc_memdup(bytes, bytes, len);

		memcpy(copy + cases[i].at, &cases[i].value, cases[i].size);
		CLEANUP(base_close) int fd = memfd_of(copy, len, SEALS);
		if (bundle_open(bytes, fd) != NULL)
			fail_msg("accepted: %s", cases[i].name);
	}
	talloc_free(bytes);
}

static void only_small_plain_files_are_read(void **state)
{
	char path[] = "/tmp/postern-test-bundle-XXXXXX";
	CLEANUP(base_close) int fd = mkstemp(path);
	struct bundle *bundle = bundle_new(NULL, 1);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(bundle_add_file(bundle, "/nonexistent", BUNDLE_ALL), -ENOENT);
	assert_int_equal(bundle_add_file(bundle, "/tmp", BUNDLE_ALL), -EISDIR);
	assert_int_equal(bundle_add_file(bundle, "/dev/null", BUNDLE_ALL), -EINVAL);
	assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
	assert_int_equal(bundle_add_file(bundle, path, BUNDLE_ALL), -EFBIG);
	assert_null(bundle_find(bundle, path).at);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(bundle_add_file(bundle, path, BUNDLE_FRONT), 0);
	assert_int_equal(bundle_find(bundle, path).len, 1 << 20);
	unlink(path);
	assert_int_equal(bundle_add_file(bundle, path, BUNDLE_QUEUE), 0); /* once read, it is only widened */
	talloc_free(bundle);
}

static void lists_may_be_larger(void **state)
{
	char path[] = "/tmp/postern-test-bundle-XXXXXX";
	CLEANUP(base_close) int fd = mkstemp(path);
	struct bundle *bundle = bundle_new(NULL, 1);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (64 << 20) + 1), 0);
	assert_int_equal(bundle_add_list(bundle, path, BUNDLE_ALL), -EFBIG);
	assert_int_equal(ftruncate(fd, 3 << 20), 0);
	assert_int_equal(pwrite(fd, "x", 1, (3 << 20) - 1), 1);
	assert_int_equal(bundle_add_list(bundle, path, BUNDLE_FRONT), 0);
	assert_int_equal(bundle_find(bundle, path).len, 3 << 20);
	assert_int_equal(bundle_find(bundle, path).at[(3 << 20) - 1], 'x');
	unlink(path);
	assert_int_equal(
		bundle_add_list(bundle, "/proc/self/status", BUNDLE_FRONT), 0); /* says that it is empty */
	assert_true(bundle_find(bundle, "/proc/self/status").len > 0);
	talloc_free(bundle);
}

#define PEM(label, body) "-----BEGIN " label "-----\n" body "\n-----END " label "-----\n"

/* One file with everything: a chain for front, a key for keys, and the key is nowhere else. */
static void a_key_beside_a_chain_goes_to_keys_only(void **state)
{
	static const char file[] = "words\n" PEM("PRIVATE KEY", "c2VjcmV0") PEM("CERTIFICATE", "b25l")
		PEM("EC PARAMETERS", "cGFy") PEM("CERTIFICATE",
			"dHdv") "-----BEGIN CERTIFICATE-----\ncut\n" PEM("EC PRIVATE KEY", "c2VjcmV0Mg");
	char path[] = "/tmp/postern-test-bundle-XXXXXX";
	CLEANUP(base_close) int fd = mkstemp(path);
	struct bundle *bundle = bundle_new(NULL, 1);

	(void)state;
	assert_int_equal(write(fd, file, sizeof file - 1), sizeof file - 1);
	assert_int_equal(bundle_add_chain(bundle, path, BUNDLE_FRONT), 0);
	assert_int_equal(bundle_add_key(bundle, path), 0);
	assert_int_equal(bundle_add_chain(bundle, path, BUNDLE_DELIVER), 0);
	unlink(path);
	for (int away = 0; away < 2; away++) {
		CLEANUP(base_close) int front = bundle_seal(bundle, BUNDLE_FRONT);
		CLEANUP(base_close) int keys = bundle_seal(bundle, BUNDLE_KEYS);
		struct bundle *seen = bundle_open(bundle, front), *own = bundle_open(bundle, keys);

		assert_true(text_equal(bundle_find(seen, path),
			TEXT(PEM("CERTIFICATE", "b25l") PEM("CERTIFICATE", "dHdv"))));
		assert_null(bundle_find_key(seen, path).at);
		assert_true(text_equal(bundle_find_key(own, path), (struct text){ file, sizeof file - 1 }));
		assert_null(bundle_find(own, path).at);
		assert_int_equal(bundle_find_key(bundle, path).len > 0, away == 0);
		assert_int_equal(bundle_put_keys_away(bundle), 0);
	}
	talloc_free(bundle);
}

/* Where the bytes of a key stood there are zeros. */
static void keys_that_are_put_away_are_wiped(void **state)
{
	struct bundle *bundle = bundle_new(NULL, 1);
	char path[] = "/tmp/postern-test-bundle-XXXXXX";
	CLEANUP(base_close) int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "a secret", 8), 8);
	assert_int_equal(bundle_add_key(bundle, path), 0);
	bundle_add(bundle, "postern.yaml", TEXT("hostname"), BUNDLE_ALL);
	unlink(path);
	const char *at = bundle_find_key(bundle, path).at;
	assert_memory_equal(at, "a secret", 8);
	assert_int_equal(bundle_put_keys_away(bundle), 0);
	assert_memory_equal(at, "\0\0\0\0\0\0\0\0", 8);
	assert_true(text_equal(bundle_find(bundle, "postern.yaml"), TEXT("hostname")));
	talloc_free(bundle);
}

/* Every entry again, but those that belong to the part alone; and the keys, which this process no longer has, under the new number. */
static void what_is_renewed_is_left_out_and_the_rest_stays(void **state)
{
	static const struct {
		unsigned parts;
		const char *gone;
	} cases[] = {
		{ BUNDLE_REVOCATION, "list" },
		{ BUNDLE_CERTIFICATES, "chain" },
		{ BUNDLE_STAPLES, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct bundle *bundle = bundle_new(NULL, 7);

		bundle_add(bundle, "postern.yaml", TEXT("hostname"), BUNDLE_ALL);
		bundle_add(bundle, "list", TEXT("revoked"), BUNDLE_DELIVER | BUNDLE_REVOCATION);
		bundle_add(bundle, "chain", TEXT("chain"), BUNDLE_FRONT | BUNDLE_CERTIFICATES);
		bundle_add(bundle, "both", TEXT("of two parts"),
			BUNDLE_FRONT | BUNDLE_CERTIFICATES | BUNDLE_REVOCATION);
		bundle_add_key_bytes(bundle, "key", TEXT("a secret"));
		assert_int_equal(bundle_put_keys_away(bundle), 0);
		struct bundle *renewed = bundle_renew(NULL, 8, bundle, cases[i].parts);
		talloc_free(bundle);

		static const char *const names[] = { "postern.yaml", "list", "chain", "both" };
		static const char *const texts[] = { "hostname", "revoked", "chain", "of two parts" };
		for (size_t n = 0; n < COUNT(names); n++) {
			struct text found = bundle_find(renewed, names[n]);

			if (cases[i].gone != NULL && strcmp(cases[i].gone, names[n]) == 0)
				assert_null(found.at);
			else
				assert_true(text_equal(found, text_of(texts[n])));
		}
		CLEANUP(base_close) int front = bundle_seal(renewed, BUNDLE_FRONT);
		CLEANUP(base_close) int keys = bundle_seal(renewed, BUNDLE_KEYS);
		struct bundle *seen = bundle_open(renewed, front), *own = bundle_open(renewed, keys);
		assert_int_equal(bundle_generation(seen), 8);
		assert_int_equal(bundle_generation(own), 8);
		assert_null(bundle_find(seen, "list").at);
		assert_null(bundle_find_key(seen, "key").at);
		struct text key = bundle_find_key(own, "key");
		if (cases[i].parts == BUNDLE_CERTIFICATES)
			assert_null(key.at);
		else
			assert_true(text_equal(key, TEXT("a secret")));
		talloc_free(renewed);
	}
}

static void test_parts_that_share_an_entry_go_together(void **state)
{
	struct bundle *bundle = bundle_new(NULL, 1);

	(void)state;
	bundle_add(bundle, "list", TEXT(""), BUNDLE_DELIVER | BUNDLE_REVOCATION);
	bundle_add(bundle, "authorities", TEXT(""), BUNDLE_DELIVER | BUNDLE_AUTHORITIES);
	bundle_add(bundle, "chain", TEXT(""), BUNDLE_FRONT | BUNDLE_CERTIFICATES);
	assert_int_equal(bundle_parts_with(bundle, BUNDLE_AUTHORITIES), BUNDLE_AUTHORITIES);
	bundle_add(bundle, "chain", TEXT(""), BUNDLE_DELIVER | BUNDLE_AUTHORITIES);
	assert_int_equal(
		bundle_parts_with(bundle, BUNDLE_AUTHORITIES), BUNDLE_AUTHORITIES | BUNDLE_CERTIFICATES);
	assert_int_equal(
		bundle_parts_with(bundle, BUNDLE_CERTIFICATES), BUNDLE_AUTHORITIES | BUNDLE_CERTIFICATES);
	assert_int_equal(bundle_parts_with(bundle, BUNDLE_REVOCATION), BUNDLE_REVOCATION);
	talloc_free(bundle);
}

static struct bundle *with(
	uint64_t generation, const char *chain, const char *list, const char *key, bool away)
{
	struct bundle *bundle = bundle_new(NULL, generation);

	bundle_add(bundle, "postern.yaml", TEXT("hostname"), BUNDLE_ALL);
	bundle_add(bundle, "chain", text_of(chain), BUNDLE_FRONT | BUNDLE_CERTIFICATES);
	bundle_add(bundle, "list", text_of(list), BUNDLE_DELIVER | BUNDLE_REVOCATION);
	if (key != NULL)
		bundle_add_key_bytes(bundle, "key", text_of(key));
	assert_true(!away || bundle_put_keys_away(bundle) == 0);
	return bundle;
}

static void test_the_same_again(void **state)
{
	static const struct {
		const char *chain, *list, *key;
		bool same;
	} cases[] = { { "chain", "list", "secret", true }, { "chain", "other", "secret", true },
		{ "Chain", "list", "secret", false }, { "chain", "list", "secreT", false },
		{ "chain", "list", NULL, false }, { "", "list", "secret", false } };

	(void)state;
	for (int away = 0; away < 2; away++)
		for (size_t i = 0; i < COUNT(cases); i++) {
			struct bundle *one = with(1, "chain", "list", "secret", away);
			struct bundle *two = with(2, cases[i].chain, cases[i].list, cases[i].key, away);

			assert_int_equal(bundle_is_same(one, two, BUNDLE_CERTIFICATES), cases[i].same);
			assert_int_equal(bundle_is_same(two, one, BUNDLE_CERTIFICATES), cases[i].same);
			talloc_free(one);
			talloc_free(two);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_role_finds_what_it_may_see),
		cmocka_unit_test(the_secrets_of_others_are_not_in_the_image),
		cmocka_unit_test(the_same_path_again_widens_its_readers),
		cmocka_unit_test(nobody_can_change_a_sealed_bundle),
		cmocka_unit_test(what_is_not_sealed_is_refused),
		cmocka_unit_test(every_truncated_or_longer_image_is_refused),
		cmocka_unit_test(no_flipped_bit_leads_outside),
		cmocka_unit_test(lengths_are_compared_before_they_are_used),
		cmocka_unit_test(only_small_plain_files_are_read),
		cmocka_unit_test(lists_may_be_larger),
		cmocka_unit_test(a_key_beside_a_chain_goes_to_keys_only),
		cmocka_unit_test(keys_that_are_put_away_are_wiped),
		cmocka_unit_test(what_is_renewed_is_left_out_and_the_rest_stays),
		cmocka_unit_test(test_parts_that_share_an_entry_go_together),
		cmocka_unit_test(test_the_same_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
