/* What the configuration takes from the store: paths of entries without files, the active certificate and the demo one, as master and roles see them. */
#include "config/stored.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "test_help.h"

#define FILE_OF(certificates, listeners)                                                                     \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n" certificates "listeners: [" listeners \
	"]\n"                                                                                                \
	"mail_flow_policies: [{name: open, tls: none}]\n"
#define LISTENER(name, port, more)                                                                           \
	"{name: " name ", type: public, address: '127.0.0.1:" port "', policy: open" more "}"

/* As a role reads it: `active` is what the bundle says, NULL = nothing. */
static const struct config *read_config(const char *yaml, const char *active)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(problems, 1);

	bundle_add(bundle, "dir/test.yaml", text_of(yaml), BUNDLE_ALL);
	if (active != NULL)
		bundle_add(bundle, "dir/state/pki/active", text_of(active), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "dir/test.yaml", problems);
	for (size_t i = 0; i < problems->count; i++)
		print_error("%s\n", problems_format(problems, &problems->list[i]));
	assert_non_null(config);
	talloc_free(problems);
	return config;
}

static void test_an_entry_without_files_means_the_store(void **state)
{
	const struct config *config =
		read_config(FILE_OF("certificates: [{name: files, chain: c.pem, key: k.pem}, {name: web}]\n",
				    LISTENER("a", "25", ", certificate: web") ", " LISTENER(
					    "b", "26", ", certificate: files")),
			"other\n");

	(void)state;
	assert_int_equal(config->certificate_count, 2);
	assert_false(config->certificates[0].stored);
	assert_string_equal(config->certificates[0].chain, "dir/c.pem");
	assert_true(config->certificates[1].stored);
	assert_string_equal(config->certificates[1].chain, "dir/state/pki/certificates/web/chain.pem");
	assert_string_equal(config->certificates[1].key, "dir/state/pki/certificates/web/key.pem");
	assert_ptr_equal(config->listeners[0].certificate, &config->certificates[1]);
	assert_ptr_equal(config->listeners[1].certificate, &config->certificates[0]);
	config_release(config);
}

static void test_C49_listeners_that_name_none_get_the_active_one(void **state)
{
	static const struct {
		const char *active, *want; /* want: NULL = no certificate */
		size_t count;
	} cases[] = {
		{ NULL, NULL, 1 },
		{ "web\n", "dir/state/pki/certificates/web/chain.pem", 2 },
		{ "web", "dir/state/pki/certificates/web/chain.pem", 2 },
		{ "files\n", "dir/c.pem", 1 },
		{ "", NULL, 1 },
		{ "../x\n", NULL, 1 },
		{ "a b\n", NULL, 1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config *config = read_config(
			FILE_OF("certificates: [{name: files, chain: c.pem, key: k.pem}]\n",
				LISTENER("a", "25", ", certificate: files") ", " LISTENER("b", "26", "")),
			cases[i].active);

		assert_int_equal(config->certificate_count, cases[i].count);
		assert_string_equal(config->listeners[0].certificate->chain, "dir/c.pem");
		if (cases[i].want == NULL)
			assert_null(config->listeners[1].certificate);
		else
			assert_string_equal(config->listeners[1].certificate->chain, cases[i].want);

		/* what is shown means the same, wherever the active one goes meanwhile */
		void *owner = talloc_new(NULL);
		char *shown = config_show(owner, config, false);
		const struct config *again = read_config(shown, NULL);
		assert_string_equal(config_show(owner, again, false), shown);
		config_release(again);
		config_release(config);
		talloc_free(owner);
	}
}

static void test_B14_demo_needs_no_entry(void **state)
{
	const struct config *config =
		read_config(FILE_OF("", LISTENER("a", "25", ", certificate: demo")), "web\n");
	void *owner = talloc_new(NULL);

	(void)state;
	assert_int_equal(config->certificate_count, 1);
	assert_true(stored_is_demo(config->listeners[0].certificate));
	assert_string_equal(config->listeners[0].certificate->key, "dir/state/pki/certificates/demo/key.pem");
	char *shown = config_show(owner, config, false);
	const struct config *again = read_config(shown, NULL);
	assert_true(stored_is_demo(again->listeners[0].certificate));
	config_release(again);
	config_release(config);

	config = read_config(FILE_OF("certificates: [{name: demo, chain: c.pem, key: k.pem}]\n",
				     LISTENER("a", "25", ", certificate: demo")),
		NULL);
	assert_int_equal(config->certificate_count, 1);
	assert_false(stored_is_demo(config->listeners[0].certificate)); /* an own one of that name */
	config_release(config);
	talloc_free(owner);
}

static void write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* The file on disk, whatever it says by now, is not read again; of the files that it named those of the part are. */
static void test_what_is_renewed_follows_the_text_in_use(void **state)
{
	static const char pem[] = "-----BEGIN CERTIFICATE-----\nb%s\n-----END CERTIFICATE-----\n";
	void *owner = talloc_new(NULL);
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL, *next = NULL;
	char directory[64];

	(void)state;
	help_directory(directory);
	char *file = talloc_asprintf(owner, "%s/test.yaml", directory);
	char *chain = talloc_asprintf(owner, "%s/c.pem", directory),
	     *key = talloc_asprintf(owner, "%s/k.pem", directory);
	write_file(file, FILE_OF("certificates: [{name: files, chain: c.pem, key: k.pem}]\n",
				 LISTENER("a", "0", ", certificate: files")));
	write_file(chain, talloc_asprintf(owner, pem, "25l"));
	write_file(key, "first key");
	struct bundle *bundle = config_gather(owner, file, 1, problems, &config);
	assert_non_null(bundle);
	assert_int_equal(bundle_put_keys_away(bundle), 0);

	write_file(file, "nonsense");
	write_file(chain, talloc_asprintf(owner, pem, "25s"));
	write_file(key, "second key");
	struct bundle *lists = config_renew(owner, bundle, file, 2, BUNDLE_REVOCATION, problems, &next);
	assert_non_null(lists);
	assert_int_equal(next->generation, 2);
	assert_string_equal(next->listeners[0].certificate->name, "files");
	assert_true(text_equal(bundle_find(lists, chain), bundle_find(bundle, chain)));
	config_release(next);

	struct bundle *files = config_renew(owner, lists, file, 3, BUNDLE_CERTIFICATES, problems, &next);
	assert_non_null(files);
	assert_true(text_equal(bundle_find_key(files, key), TEXT("second key")));
	assert_true(text_find(bundle_find(files, chain), '\n') < 40 &&
		    !text_equal(bundle_find(files, chain), bundle_find(bundle, chain)));
	config_release(next);

	unlink(chain);
	assert_null(config_renew(owner, files, file, 4, BUNDLE_CERTIFICATES, problems, &next));
	assert_int_equal(problems->count, 1);
	assert_string_equal(problems->list[0].key, "certificates[files].chain");
	config_release(config);
	talloc_free(owner);
}

/* Gathered from disk: a missing certificate is a problem, the demo one a warning. */
static void test_what_is_not_in_the_store_is_said(void **state)
{
	static const char yaml[] = FILE_OF("certificates: [{name: web}]\n",
		LISTENER("a", "0", ", certificate: web") ", " LISTENER("b", "0", ", certificate: demo"));
	void *owner = talloc_new(NULL);
	char directory[64];
	const struct config *config = NULL;

	(void)state;
	help_directory(directory);
	char *file = talloc_asprintf(owner, "%s/test.yaml", directory);
	FILE *out = fopen(file, "w");
	fputs(yaml, out);
	fclose(out);
	struct problems *problems = problems_new(owner);
	assert_null(config_gather(owner, file, 1, problems, &config));
	assert_int_equal(problems->count, 1);
	assert_string_equal(problems->list[0].key, "certificates[web].name");
	assert_int_equal(problems->list[0].line, 4);
	assert_non_null(strstr(problems->list[0].text, "postern cert create web"));
	assert_int_equal(problems->warning_count, 1);
	assert_string_equal(problems->warnings[0].key, "listeners[b].certificate");
	assert_non_null(strstr(problems->warnings[0].text, "which the next start makes"));
	talloc_free(owner);
	help_remove(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_entry_without_files_means_the_store),
		cmocka_unit_test(test_C49_listeners_that_name_none_get_the_active_one),
		cmocka_unit_test(test_B14_demo_needs_no_entry),
		cmocka_unit_test(test_what_is_not_in_the_store_is_said),
		cmocka_unit_test(test_what_is_renewed_follows_the_text_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
