/* The lists of authorities on disk (pki/authorities.c, config/trust_files.c). */
#include "pki/authorities.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "certificates.h"
#include "test_help.h"

static struct certificates made;
static char folder[64];

/* Certificates of today: what is expired depends on the clock. */
static const struct certificate *authority(const char *cn, int from_days, int to_days)
{
	int today = (int)((time(NULL) - CERTIFICATES_NOW) / CERTIFICATES_DAY);

	return certificates_make(&made, (struct certificate_plan){ .cn = cn,
						.ca = "critical,CA:TRUE",
						.from_days = today + from_days,
						.to_days = today + to_days });
}

static struct text join(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *text = talloc_vasprintf(made.scratch, format, arguments);
	va_end(arguments);
	return text_of(text);
}

static void test_B85_what_a_file_holds(void **state)
{
	const struct certificate *one = authority("One", -1, 10), *two = authority("two.good.test", -1, 10);
	const struct certificate *old = authority("Old", -10, -1);
	const struct certificate *leaf = certificates_make(
		&made, (struct certificate_plan){ .cn = "leaf", .ca = "CA:FALSE", .issuer = one });
	struct authorities *found = authorities_parse(made.scratch,
		join("a comment\n%s-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n%s"
		     "-----BEGIN CERTIFICATE-----\n*** no base64 ***\n-----END CERTIFICATE-----\n"
		     "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n%s%s"
		     "-----BEGIN CERTIFICATE-----\nMIIB",
			one->pem.at, two->pem.at, old->pem.at, leaf->pem.at));

	(void)state;
	assert_int_equal(found->count, 4);
	assert_int_equal(found->unreadable, 3);
	assert_string_equal(found->all[0].name, "One");
	assert_string_equal(found->all[0].subject, "CN=One,O=Test");
	assert_string_equal(found->all[0].key, "p256");
	assert_true(found->all[0].self_issued);
	assert_false(found->all[3].self_issued);
	assert_null(authorities_flaw(&found->all[0], false));
	assert_non_null(strstr(authorities_flaw(&found->all[0], true), "--validate-fqdn"));
	assert_null(authorities_flaw(&found->all[1], true));
	assert_string_equal(authorities_flaw(&found->all[2], false), "it has expired");
	assert_non_null(strstr(authorities_flaw(&found->all[3], false), "it is no authority"));
	assert_int_equal(authorities_parse(made.scratch, TEXT(""))->count, 0);
	assert_int_equal(authorities_parse(made.scratch, TEXT("no PEM"))->unreadable, 0);
}

static void test_names_and_fingerprints(void **state)
{
	const struct certificate *one = authority("One", -1, 10), *two = authority("One", -1, 10);
	struct authorities *found = authorities_parse(made.scratch, join("%s%s", one->pem.at, two->pem.at));
	char *colons = talloc_asprintf(made.scratch, "%.2s:%.2s:%.2s", found->all[1].sha256,
		found->all[1].sha256 + 2, found->all[1].sha256 + 4);

	(void)state;
	assert_int_equal(authorities_find(found, "one", 0), 0);
	assert_int_equal(authorities_find(found, "one", 1), 1);
	assert_int_equal(authorities_find(found, "one", 2), 2);
	assert_int_equal(authorities_find(found, "on", 0), 2);
	assert_int_equal(authorities_find(found, found->all[1].sha256, 0), 1);
	assert_int_equal(authorities_find(found, colons, 0), 1);
	assert_int_equal(authorities_find(found, "", 0), 2);
	assert_int_equal(
		authorities_find(found, talloc_asprintf(made.scratch, "%.3s", found->all[0].sha256), 0), 2);
}

static size_t kept_count(void)
{
	struct authorities *kept;

	assert_int_equal(authorities_kept(made.scratch, folder, &kept), 0);
	return kept->count;
}

static void test_B85_B88_keep_and_drop(void **state)
{
	const struct certificate *one = authority("One", -1, 10), *two = authority("Two", -1, 10);
	struct authorities *found = authorities_parse(made.scratch, join("%s%s", one->pem.at, two->pem.at));
	struct authorities *kept;
	char path[200];

	(void)state;
	assert_int_equal(kept_count(), 0);
	assert_int_equal(authorities_keep(folder, &found->all[0]), 0);
	assert_int_equal(authorities_keep(folder, &found->all[0]), 1);
	assert_int_equal(authorities_keep(folder, &found->all[1]), 0);
	assert_int_equal(kept_count(), 2);
	/* half a file of somebody who died, and what others put there, do not count */
	snprintf(path, sizeof path, "%s/pki/authorities/custom/new", folder);
	FILE *file = fopen(path, "w");
	fputs(one->pem.at, file);
	fclose(file);
	snprintf(path, sizeof path, "%s/pki/authorities/custom/mine.pem", folder);
	assert_int_equal(symlink("new", path), 0);
	assert_int_equal(kept_count(), 2);
	assert_int_equal(authorities_kept(made.scratch, folder, &kept), 0);
	assert_string_equal(kept->all[authorities_find(kept, "One", 0)].sha256, found->all[0].sha256);
	assert_int_equal(authorities_drop(folder, &found->all[0]), 0);
	assert_int_equal(authorities_drop(folder, &found->all[0]), 1);
	assert_int_equal(kept_count(), 1);
	assert_int_equal(authorities_keep("/nonexistent", &found->all[0]), -ENOENT);
}

static void test_B84_lists_are_switched_off_and_on(void **state)
{
	(void)state;
	for (int list = 0; list < TRUST_LIST_COUNT; list++) {
		enum trust_list which = (enum trust_list)list;

		assert_false(trust_files_is_off(folder, which));
		assert_int_equal(authorities_switch(folder, which, true), 1);
		assert_int_equal(authorities_switch(folder, which, false), 0);
		assert_int_equal(authorities_switch(folder, which, false), 1);
		assert_true(trust_files_is_off(folder, which));
		assert_int_equal(authorities_switch(folder, which, true), 0);
		assert_false(trust_files_is_off(folder, which));
	}
}

static void test_B86_what_is_exported_can_be_imported(void **state)
{
	const struct certificate *one = authority("M\xc3\xbcnchen\nCA", -1, 10),
				 *two = authority("Two", -1, 10);
	struct authorities *found = authorities_parse(made.scratch, join("%s%s", one->pem.at, two->pem.at));
	char *text = authorities_export(made.scratch, found);
	struct authorities *again = authorities_parse(made.scratch, text_of(text));

	(void)state;
	assert_int_equal(again->count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(again->all[i].sha256, found->all[i].sha256);
	assert_non_null(strstr(text, "# CN=Two,O=Test\n# until "));
	for (const char *line = text; line != NULL; line = strchr(line + 1, '\n'))
		assert_true(strncmp(line, "\nCA", 3) != 0);
}

static int set_up(void **state)
{
	(void)state;
	made.scratch = talloc_new(NULL);
	help_directory(folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	help_remove(folder);
	certificates_free(&made);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_B85_what_a_file_holds),
		TEST(test_names_and_fingerprints),
		TEST(test_B85_B88_keep_and_drop),
		TEST(test_B84_lists_are_switched_off_and_on),
		TEST(test_B86_what_is_exported_can_be_imported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
