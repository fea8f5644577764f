/* `ca list`, `ca show`, `ca export`: what the lists of authorities hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_ca_private.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"

static const char dpkg_status[] = "/var/lib/dpkg/status";

/* The authorities in a file; none after saying why. */
static struct authorities *read_file(const void *owner, const char *path)
{
	struct bundle *bundle = bundle_new(NULL, 0);
	int r = path == NULL ? 0 : bundle_add_file(bundle, path, 0);

	if (r < 0)
		fprintf(stderr, "postern: %s cannot be read: %s\n", path, err_text(r));
	struct authorities *found =
		authorities_parse(owner, path == NULL ? TEXT("") : bundle_find(bundle, path));
	talloc_free(bundle);
	return found;
}

void cli_ca_read(
	const struct cli_gateway *gateway, const void *owner, struct cli_ca_list ret_lists[TRUST_LIST_COUNT])
{
	struct cli_ca_list *system = &ret_lists[TRUST_SYSTEM], *custom = &ret_lists[TRUST_CUSTOM];
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL;
	int r;

	config_gather(problems, gateway->file, 0, problems, &config);
	if (config == NULL)
		fprintf(stderr,
			"postern: %s has problems (postern check shows them), so what it says about authorities does not count here\n",
			gateway->file);
	*system = (struct cli_ca_list){ .on = (config == NULL || config->authorities.system) &&
					      !trust_files_is_off(gateway->state_dir, TRUST_SYSTEM),
		.path = CONFIG_SYSTEM_AUTHORITIES,
		.kept = authorities_parse(owner, TEXT("")),
		.file = read_file(owner, CONFIG_SYSTEM_AUTHORITIES) };
	*custom = (struct cli_ca_list){ .on = !trust_files_is_off(gateway->state_dir, TRUST_CUSTOM),
		.path = config == NULL || config->authorities.custom == NULL
				? NULL
				: text_copy(owner, text_of(config->authorities.custom)) };
	custom->file = read_file(owner, custom->path);
	r = authorities_kept(owner, gateway->state_dir, &custom->kept);
	if (r < 0)
		fprintf(stderr, "postern: what is kept in %s/pki/authorities cannot be read: %s%s\n",
			gateway->state_dir, err_text(r),
			r == -EPERM
				? "; a directory of it belongs to somebody else than root and the user that runs this: find out who changed it, and give it back with `chown -R`"
			: r == -EACCES ? "; run this as root, or as the user that runs the gateway"
				       : "");
	custom->kept_error = r < 0 ? r : 0;
	config_release(config);
}

/* The version of Debian's package; NULL when there is none. */
static char *package_version(const void *owner)
{
	static const char package[] = "Package: ca-certificates\n", version[] = "Version: ";
	FILE *file = fopen(dpkg_status, "re");
	char *line = NULL, *found = NULL;
	bool inside = false;
	size_t size = 0;

	while (file != NULL && found == NULL && getline(&line, &size, file) > 0) {
		if (strncmp(line, "Package: ", 9) == 0)
			inside = strcmp(line, package) == 0;
		else if (inside && strncmp(line, version, strlen(version)) == 0)
			found = text_copy(owner, text_trim(text_first(text_of(line + strlen(version)),
							 strcspn(line + strlen(version), "\n"))));
	}
	free(line);
	if (file != NULL)
		fclose(file);
	return found;
}

/* When a file was written; NULL when it is not there. */
static char *date_of(const void *owner, const char *path)
{
	char text[CLOCK_TEXT_MAX];
	struct stat status;

	if (path == NULL || stat(path, &status) < 0)
		return NULL;
	return text_copy(owner, text_of(clock_iso((int64_t)status.st_mtim.tv_sec * 1000, text)));
}

static json_t *authority_json(const struct authority *authority, const char *list, const char *from)
{
	char starts[CLOCK_TEXT_MAX], ends[CLOCK_TEXT_MAX];

	return json_pack("{s:s, s:s?, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:s, s:s, s:b, s:b}", "list", list,
		"from", from, "name", authority->name, "fingerprint_sha256", authority->sha256, "subject",
		authority->subject, "issuer", authority->issuer, "serial", authority->serial, "not_before",
		clock_iso(authority->starts_ms, starts), "not_after", clock_iso(authority->ends_ms, ends),
		"key", authority->key, "signature", authority->signature, "self_issued",
		authority->self_issued, "expired", authority->expired);
}

static void put_authorities(
	json_t *array, const struct authorities *authorities, enum trust_list list, const char *from)
{
	for (size_t i = 0; i < authorities->count; i++) {
		json_t *json = authority_json(&authorities->all[i], trust_files_word(list), from);

		if (json != NULL)
			json_array_append_new(array, json);
	}
}

static void list_json(const struct cli_ca_list *lists, enum trust_list only, const void *scratch)
{
	json_t *json = json_object(), *all = json_array();

	for (int i = 0; i < TRUST_LIST_COUNT; i++) {
		const struct cli_ca_list *list = &lists[i];

		if (only != TRUST_LIST_COUNT && only != (enum trust_list)i)
			continue;
		json_t *about = json_pack("{s:b, s:I, s:s?, s:s?}", "on", list->on, "count",
			(json_int_t)(list->kept->count + list->file->count), "file", list->path, "date",
			date_of(scratch, list->path));
		if (i == TRUST_SYSTEM)
			json_object_set_new(about, "version", json_pack("s?", package_version(scratch)));
		json_object_set_new(json, trust_files_word((enum trust_list)i), about);
		put_authorities(all, list->kept, (enum trust_list)i, NULL);
		put_authorities(all, list->file, (enum trust_list)i, list->path);
	}
	json_object_set_new(json, "authorities", all);
	cli_print_json(json);
}

static void print_authorities(const struct authorities *authorities, enum trust_list list)
{
	char ends[CLOCK_TEXT_MAX];

	for (size_t i = 0; i < authorities->count; i++)
		printf("  %s %.16s until %.10s%s  %s\n", trust_files_word(list), authorities->all[i].sha256,
			clock_iso(authorities->all[i].ends_ms, ends),
			authorities->all[i].expired ? " (expired)" : "", authorities->all[i].name);
}

static void print_list(const struct cli_ca_list *list, enum trust_list which, const void *scratch)
{
	size_t count = list->kept->count + list->file->count;
	const char *version = which == TRUST_SYSTEM ? package_version(scratch) : NULL;
	const char *date = date_of(scratch, list->path);

	printf("%s: %s, %zu authorit%s", trust_files_word(which), list->on ? "on" : "off", count,
		count == 1 ? "y" : "ies");
	if (version != NULL)
		printf(", ca-certificates %s", version);
	if (list->path != NULL)
		printf(", %s of %.10s", list->path, date == NULL ? "an unknown day" : date);
	printf("\n");
	print_authorities(list->kept, which);
	print_authorities(list->file, which);
}

int cli_ca_list(const struct cli_gateway *gateway, enum trust_list only, bool json)
{
	void *scratch = talloc_new(NULL);
	struct cli_ca_list lists[TRUST_LIST_COUNT];

	cli_ca_read(gateway, scratch, lists);
	if (json)
		list_json(lists, only, scratch);
	for (int i = 0; !json && i < TRUST_LIST_COUNT; i++)
		if (only == TRUST_LIST_COUNT || only == (enum trust_list)i)
			print_list(&lists[i], (enum trust_list)i, scratch);
	talloc_free(scratch);
	return CLI_FINE;
}

static void print_authority(const struct authority *authority, const char *list, const char *from)
{
	char starts[CLOCK_TEXT_MAX], ends[CLOCK_TEXT_MAX];

	printf("%s\n  list: %s%s%s\n  subject: %s\n  issuer: %s\n  serial: %s\n  valid: %s to %s%s\n  key: %s\n  signature: "
	       "%s\n  SHA-256: %s\n" TEXT_FMT,
		authority->name, list, from == NULL ? "" : ", ", from == NULL ? "" : from, authority->subject,
		authority->issuer, authority->serial, clock_iso(authority->starts_ms, starts),
		clock_iso(authority->ends_ms, ends), authority->expired ? " (expired)" : "", authority->key,
		authority->signature, authority->sha256, TEXT_ARG(authority->pem));
}

/* What one list has under that name; how many. */
static size_t show_from(const struct authorities *authorities, const char *wanted, enum trust_list list,
	const char *from, bool json)
{
	size_t found = 0;

	for (size_t i = 0; (i = authorities_find(authorities, wanted, i)) < authorities->count; i++) {
		const struct authority *authority = &authorities->all[i];

		found++;
		if (!json) {
			print_authority(authority, trust_files_word(list), from);
			continue;
		}
		json_t *object = authority_json(authority, trust_files_word(list), from);
		json_object_set_new(object, "pem", json_stringn(authority->pem.at, authority->pem.len));
		cli_print_json(object);
	}
	return found;
}

int cli_ca_show(const struct cli_gateway *gateway, const char *wanted, bool json)
{
	void *scratch = talloc_new(NULL);
	struct cli_ca_list lists[TRUST_LIST_COUNT];
	size_t found = 0;

	cli_ca_read(gateway, scratch, lists);
	for (int i = TRUST_LIST_COUNT - 1; i >= 0; i--) {
		found += show_from(lists[i].kept, wanted, (enum trust_list)i, NULL, json);
		found += show_from(lists[i].file, wanted, (enum trust_list)i, lists[i].path, json);
	}
	if (found == 0)
		fprintf(stderr,
			"postern ca show: no list has `%s`: name it as `postern ca list` does, or by 4 or more digits of its fingerprint\n",
			wanted);
	talloc_free(scratch);
	return found > 0 ? CLI_FINE : CLI_FAILED;
}

int cli_ca_export(const struct cli_gateway *gateway, enum trust_list list, bool json)
{
	void *scratch = talloc_new(NULL);
	struct cli_ca_list lists[TRUST_LIST_COUNT];

	cli_ca_read(gateway, scratch, lists);
	char *pem = text_must(talloc_asprintf(scratch, "%s%s", authorities_export(scratch, lists[list].kept),
		authorities_export(scratch, lists[list].file)));
	if (json)
		cli_print_json(json_pack("{s:s, s:s}", "list", trust_files_word(list), "pem", pem));
	else
		printf("%s", pem);
	talloc_free(scratch);
	return CLI_FINE;
}
