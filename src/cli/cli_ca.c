/* `ca ...`: the lists of authorities, and changes to them. They work on the state directory, and then ask a gateway that runs to use them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "cli/cli_ca_private.h"
#include "cli/cli_verbs.h"
#include "config/config.h"
#include "pki/chain.h"
#include "pki/changes.h"

enum { IMPORT_MAX = 16 << 20, USE_MS = 200000 };

/* What a verb takes. */
enum { NAME = 1 << 0, ANY_LIST = 1 << 1, LIST = 1 << 2, PEM = 1 << 3, REMOVE = 1 << 4 };

struct options {
	const char *plain;
	enum trust_list list;
	bool json, yes, validate_fqdn;
};

static int failed(const struct cli_gateway *gateway, int error)
{
	fprintf(stderr, "postern: the list in %s/pki cannot be changed: %s%s\n", gateway->state_dir,
		err_text(error),
		error == -ENOENT ? "; start the gateway once, which makes the directory, or make it"
		: error == -EACCES || error == -EPERM
			? "; run this as root, or as the user that runs the gateway"
			: "");
	return CLI_FAILED;
}

/* A gateway that runs is to use it; that alone, whatever is wrong with other files. What came of it is in `ret_in_force`. */
static int use(const struct cli_gateway *gateway, bool *ret_in_force)
{
	void *scratch = talloc_new(NULL);
	struct frame *answer;
	int status = CLI_FINE;

	*ret_in_force = false;
	if (cli_is_running(gateway))
		status = cli_ask(gateway, FRAME_CONTROL_TRUST, USE_MS, scratch, &answer);
	if (status == CLI_FINE && cli_is_running(gateway)) {
		*ret_in_force = frame_get_bool(answer);
		if (!*ret_in_force) {
			struct text text = frame_get_text(answer);

			fprintf(stderr,
				"postern: the list is changed, but the gateway goes on with the old one:\n" TEXT_FMT,
				TEXT_ARG(text));
			status = CLI_FAILED;
		}
	}
	talloc_free(scratch);
	return status;
}

/* Said behind what was done; a gateway that does not run uses it at its start. */
static const char *in_force_word(bool in_force)
{
	return in_force ? "; in force" : "";
}

/* Both off: nothing can be verified. */
static void warn_of_none(const struct cli_gateway *gateway)
{
	void *scratch = talloc_new(NULL);
	struct cli_ca_list lists[TRUST_LIST_COUNT];

	cli_ca_read(gateway, scratch, lists);
	if (!lists[TRUST_SYSTEM].on && !lists[TRUST_CUSTOM].on)
		fprintf(stderr,
			"postern: warning: both lists are off, so no certificate of another server can be verified\n");
	talloc_free(scratch);
}

static int turn(const struct cli_gateway *gateway, const struct options *options, bool on)
{
	const char *word = trust_files_word(options->list);
	bool in_force = false;
	const struct change change = { .what = on ? "ca enable" : "ca disable", .name = word };
	const bool changes = trust_files_is_off(gateway->state_dir, options->list) == on;
	int status = changes ? cli_change_begin(gateway, &change) : CLI_FINE;

	if (status != CLI_FINE)
		return status;
	int r = authorities_switch(gateway->state_dir, options->list, on);
	if (changes)
		cli_change_end(gateway, &change, r);
	if (r < 0)
		return failed(gateway, r);
	if (r == 0)
		status = use(gateway, &in_force);
	if (options->json)
		cli_print_json(json_pack("{s:s, s:b, s:b, s:b}", "list", word, "on", on, "changed", r == 0,
			"in_force", in_force));
	else
		printf("the %s list %s %s%s\n", word, r == 0 ? "is" : "was already", on ? "on" : "off",
			in_force_word(in_force));
	warn_of_none(gateway);
	return status;
}

static int enable(const struct cli_gateway *gateway, const struct options *options)
{
	int status = turn(gateway, options, true);
	void *scratch = talloc_new(NULL);
	struct cli_ca_list lists[TRUST_LIST_COUNT];

	cli_ca_read(gateway, scratch, lists);
	if (status == CLI_FINE && !lists[options->list].on) {
		fprintf(stderr, "postern: %s says `authorities.system: false`: write true there as well\n",
			gateway->file);
		status = CLI_FAILED;
	}
	talloc_free(scratch);
	return status;
}

static int disable(const struct cli_gateway *gateway, const struct options *options)
{
	return turn(gateway, options, false);
}

/* The one kept authority that is meant; NULL after saying why there is none. */
static const struct authority *only_kept(
	const struct cli_gateway *gateway, const char *wanted, const void *scratch)
{
	struct cli_ca_list lists[TRUST_LIST_COUNT];

	cli_ca_read(gateway, scratch, lists);
	const struct authorities *kept = lists[TRUST_CUSTOM].kept;
	const struct authorities *file = lists[TRUST_CUSTOM].file, *system = lists[TRUST_SYSTEM].file;
	size_t first = authorities_find(kept, wanted, 0);

	if (first == kept->count) {
		if (authorities_find(file, wanted, 0) < file->count)
			fprintf(stderr, "postern ca delete: it stands in %s: remove it there\n",
				lists[TRUST_CUSTOM].path);
		else if (lists[TRUST_CUSTOM].kept_error < 0)
			fprintf(stderr,
				"postern ca delete: nothing was deleted: whether `%s` is kept there is not known\n",
				wanted);
		else if (authorities_find(system, wanted, 0) < system->count)
			fprintf(stderr,
				"postern ca delete: the system's authorities cannot be deleted; `postern ca disable system` switches all "
				"of them off, and `postern ca export system` writes a list to choose from\n");
		else
			fprintf(stderr,
				"postern ca delete: the custom list has no `%s`; see postern ca list custom\n",
				wanted);
		return NULL;
	}
	if (authorities_find(kept, wanted, first + 1) < kept->count) {
		fprintf(stderr, "postern ca delete: `%s` means several: name one by its fingerprint\n",
			wanted);
		return NULL;
	}
	return &kept->all[first];
}

/* 0, or a negative errno; or 1 when nothing was done, with the exit status. */
static int drop(const struct cli_gateway *gateway, const struct authority *authority,
	const struct options *options, int *ret_status)
{
	char *what = text_must(talloc_asprintf(NULL, "delete the authority `%s` (%.16s) from the custom list",
		authority->name, authority->sha256));
	const struct change change = {
		.what = "ca delete", .name = authority->name, .before = authority->sha256
	};
	const bool meant = cli_verbs_confirm(options->yes, what, ret_status);
	int r = 1;

	talloc_free(what);
	if (meant)
		*ret_status = cli_change_begin(gateway, &change);
	if (meant && *ret_status == CLI_FINE) {
		r = authorities_drop(gateway->state_dir, authority);
		cli_change_end(gateway, &change, r);
		r = MIN(r, 0);
	}
	return r;
}

/* Where an authority that was deleted is still trusted; NULL = nowhere. */
static const char *still_in(const struct cli_gateway *gateway, const char *sha256, const void *scratch)
{
	struct cli_ca_list lists[TRUST_LIST_COUNT];

	cli_ca_read(gateway, scratch, lists);
	for (int i = TRUST_LIST_COUNT - 1; i >= 0; i--)
		if (lists[i].on && authorities_find(lists[i].file, sha256, 0) < lists[i].file->count)
			return lists[i].path;
	return NULL;
}

static int delete (const struct cli_gateway *gateway, const struct options *options)
{
	void *scratch = talloc_new(NULL);
	const struct authority *authority = only_kept(gateway, options->plain, scratch);
	int status = CLI_FAILED;
	int r = authority == NULL ? 1 : drop(gateway, authority, options, &status);

	if (r < 0)
		status = failed(gateway, r);
	if (r == 0) {
		const char *still = still_in(gateway, authority->sha256, scratch);
		bool in_force = false;

		status = use(gateway, &in_force);
		if (options->json)
			cli_print_json(json_pack("{s:s, s:s?, s:b, s:s?}", "deleted", authority->sha256,
				"name", authority->name, "in_force", in_force, "still_in", still));
		else
			printf("deleted %s  %s%s\n", authority->sha256, authority->name,
				in_force_word(in_force));
		if (still != NULL) {
			fprintf(stderr,
				"postern: it is still trusted, because %s holds it as well: remove it there%s\n",
				still,
				strcmp(still, CONFIG_SYSTEM_AUTHORITIES) == 0
					? ", or switch the list of the system off with `postern ca disable system`"
					: ", then `postern reload`");
			status = CLI_FAILED;
		}
	}
	talloc_free(scratch);
	return status;
}

/* Import */

/* All of a file, or of standard input for `-`; 0, or a negative errno. */
static int read_all(const char *path, const void *owner, struct text *ret_bytes)
{
	CLEANUP(base_close) int own = -1;
	char *bytes = text_must(talloc_size(owner, IMPORT_MAX + 1));
	size_t len = 0;
	int fd = STDIN_FILENO;

	if (strcmp(path, "-") != 0)
		fd = own = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	while (len <= IMPORT_MAX) {
		ssize_t n = read(fd, bytes + len, IMPORT_MAX + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_bytes = (struct text){ bytes, len };
	return len > IMPORT_MAX ? -EFBIG : 0;
}

/* What became of the certificates of a file. */
struct import {
	const struct authorities *found, *kept; /* in the file; and before */
	size_t added, there;
	json_t *json_added, *json_skipped, *json_unreadable;
	bool json;
};

static void skip(struct import *import, const struct authority *authority, const char *why)
{
	json_array_append_new(import->json_skipped,
		json_pack("{s:s?, s:s, s:I, s:s}", "name", authority->name, "fingerprint_sha256",
			authority->sha256, "block", (json_int_t)authority->block, "why", why));
	if (!import->json)
		printf("skipped %.16s  %s: %s\n", authority->sha256, authority->name, why);
}

/* Damaged blocks: which, and why. */
static void skip_unreadable(struct import *import)
{
	for (size_t i = 0; i < import->found->unreadable; i++) {
		const struct authorities_damage *damage = &import->found->damaged[i];

		json_array_append_new(import->json_unreadable,
			json_pack("{s:I, s:s}", "block", (json_int_t)damage->block, "why", damage->why));
		if (!import->json)
			printf("unreadable block %zu of the file: %s\n", damage->block, damage->why);
	}
}

/* 0, 1 when it was kept before, or a negative errno. */
static int keep(
	const struct cli_gateway *gateway, const struct authority *authority, const struct import *import)
{
	const struct change change = {
		.what = "ca import", .name = authority->name, .after = authority->sha256
	};
	const bool is_new = authorities_find(import->kept, authority->sha256, 0) == import->kept->count;

	if (is_new && cli_change_begin(gateway, &change) != CLI_FINE)
		return -ECANCELED;
	int r = authorities_keep(gateway->state_dir, authority);
	if (is_new)
		cli_change_end(gateway, &change, r);
	return r;
}

/* 0, or a negative errno. */
static int import_one(
	const struct cli_gateway *gateway, const struct options *options, size_t i, struct import *import)
{
	const struct authority *authority = &import->found->all[i];
	const char *flaw = authorities_flaw(authority, options->validate_fqdn);
	bool twice = authorities_find(import->found, authority->sha256, 0) < i;
	int r = flaw == NULL && !twice ? keep(gateway, authority, import) : 0;

	if (r < 0)
		return r;
	if (flaw != NULL || twice || r == 1) {
		import->there += flaw == NULL && !twice;
		skip(import, authority,
			flaw != NULL ? flaw
			: twice	     ? "it stands twice in the file"
				     : "it is in the list already");
		return 0;
	}
	import->added++;
	json_array_append_new(import->json_added,
		json_pack("{s:s?, s:s}", "name", authority->name, "fingerprint_sha256", authority->sha256));
	if (!options->json)
		printf("added   %.16s  %s%s\n", authority->sha256, authority->name,
			!authority->is_authority ? " (of a server, self-signed: it vouches for itself only)"
			: authority->self_issued ? ""
						 : " (an intermediate one: it is trusted by itself)");
	return 0;
}

static void print_import(const struct import *import, bool in_force, bool on)
{
	json_t *json = json_pack("{s:o, s:o, s:I, s:o, s:b, s:b}", "added", import->json_added, "skipped",
		import->json_skipped, "unreadable", (json_int_t)import->found->unreadable,
		"unreadable_blocks", import->json_unreadable, "in_force", in_force, "on", on);

	if (import->json) {
		cli_print_json(json);
	} else {
		json_decref(json);
		printf("%zu added, %zu skipped, %zu unreadable%s\n", import->added,
			import->found->count - import->added, import->found->unreadable,
			in_force_word(in_force));
	}
	if (!on)
		fprintf(stderr,
			"postern: warning: the custom list is off, so nothing of it is trusted: `postern ca enable custom` switches it on\n");
}

static int import_all(const struct cli_gateway *gateway, const struct options *options,
	const struct authorities *found, const struct authorities *kept)
{
	struct import import = { .found = found,
		.kept = kept,
		.json_added = json_array(),
		.json_skipped = json_array(),
		.json_unreadable = json_array(),
		.json = options->json };
	bool in_force = false;
	int r = 0, status = CLI_FINE;

	for (size_t i = 0; i < found->count && r == 0; i++)
		r = import_one(gateway, options, i, &import);
	skip_unreadable(&import);
	if (r == -ECANCELED) /* and that was said */
		status = CLI_FAILED;
	else if (r < 0)
		status = failed(gateway, r);
	else if (import.added + import.there == 0)
		status = CLI_FAILED;
	if (import.added > 0 && use(gateway, &in_force) != CLI_FINE)
		status = CLI_FAILED;
	print_import(&import, in_force, !trust_files_is_off(gateway->state_dir, TRUST_CUSTOM));
	return status;
}

static int import(const struct cli_gateway *gateway, const struct options *options)
{
	void *scratch = talloc_new(NULL);
	struct text bytes = { NULL, 0 };
	int r = read_all(options->plain, scratch, &bytes), status = CLI_FAILED;

	if (r < 0)
		fprintf(stderr, "postern ca import: %s cannot be read: %s\n", options->plain,
			r == -EFBIG ? "it is larger than 16 MiB" : err_text(r));
	struct authorities *found = r < 0 ? NULL : authorities_parse(scratch, bytes), *kept;
	authorities_kept(
		scratch, gateway->state_dir, &kept); /* what cannot be read there fails when it is written */
	if (found != NULL && chain_hint(bytes) != NULL)
		fprintf(stderr, "postern ca import: %s %s\n", options->plain, chain_hint(bytes));
	else if (found != NULL && found->count + found->unreadable == 0)
		fprintf(stderr,
			"postern ca import: there is no certificate in PEM form in %s; `openssl x509 -inform DER -in FILE` makes PEM of DER\n",
			options->plain);
	else if (found != NULL)
		status = import_all(gateway, options, found, kept);
	talloc_free(scratch);
	return status;
}

/* The command line */

enum { VERB_LIST, VERB_SHOW, VERB_IMPORT, VERB_EXPORT, VERB_ENABLE, VERB_DISABLE, VERB_DELETE };

static const struct cli_verb verbs[] = {
	{ "list", ANY_LIST, VERB_LIST, "[system|custom]",
		"both lists: on or off, version and date, and each authority" },
	{ "show", NAME, VERB_SHOW, "NAME", "all about one, with its PEM text" },
	{ "import", PEM, VERB_IMPORT, "FILE [--validate-fqdn]",
		"take the authorities of a PEM file (`-`: standard input) into the custom list, and say what was skipped and why" },
	{ "export", LIST, VERB_EXPORT, "system|custom", "PEM text with comments, to be edited and imported" },
	{ "enable", LIST, VERB_ENABLE, "system|custom", "trust a list" },
	{ "disable", LIST, VERB_DISABLE, "system|custom", "trust it no longer; nothing is removed" },
	{ "delete", NAME | REMOVE, VERB_DELETE, "NAME [--yes]", "remove one from the custom list" },
};

static const struct cli_verbs_note notes[] = {
	{ NAME, "A NAME is the name of an authority as `list` shows it, or 4 or more digits that its fingerprint (SHA-256) begins with.\n" },
	{ PEM, "--validate-fqdn takes only authorities whose names are host names, which those of few are.\n" },
	{ REMOVE, "--yes does not ask; without a terminal it is needed.\n" },
	{ 0, "A gateway that runs uses a change at once.\n" },
};

static const struct cli_verbs command = {
	.command = "ca", .verbs = verbs, .count = COUNT(verbs), .notes = notes, .note_count = COUNT(notes)
};

/* CLI_FINE, or CLI_USAGE after saying what is wrong. */
static int understand(const struct cli_verb *verb, struct options *options)
{
	const bool required = (verb->takes & (NAME | LIST | PEM)) != 0;

	options->list = TRUST_LIST_COUNT;
	for (int i = 0; i < TRUST_LIST_COUNT; i++)
		if (options->plain != NULL &&
			strcmp(options->plain, trust_files_word((enum trust_list)i)) == 0)
			options->list = (enum trust_list)i;
	if (options->plain == NULL && required)
		return cli_verbs_wrong(&command, verb, "something is missing", "");
	if (options->plain == NULL || verb->takes & (NAME | PEM) || options->list != TRUST_LIST_COUNT)
		return CLI_FINE;
	return cli_verbs_wrong(&command, verb, "a list is `system` or `custom`, not ", options->plain);
}

static int run(const struct cli_verb *verb, const struct cli_gateway *gateway, const struct options *options)
{
	switch (verb->number) {
	case VERB_LIST:
		return cli_ca_list(gateway, options->list, options->json);
	case VERB_SHOW:
		return cli_ca_show(gateway, options->plain, options->json);
	case VERB_IMPORT:
		return import(gateway, options);
	case VERB_EXPORT:
		return cli_ca_export(gateway, options->list, options->json);
	case VERB_ENABLE:
		return enable(gateway, options);
	case VERB_DISABLE:
		return disable(gateway, options);
	default:
		return delete (gateway, options);
	}
}

int cli_ca(const char *file, int argc, char **argv)
{
	struct options options = { 0 };
	const struct cli_verbs_option known[] = {
		{ 0, { .name = NULL, .value = &options.plain } },
		{ 0, { .name = "json", .flag = &options.json } },
		{ REMOVE, { .name = "yes", .flag = &options.yes } },
		{ PEM, { .name = "validate-fqdn", .flag = &options.validate_fqdn } },
	};
	struct cli_gateway gateway;
	int status;
	const struct cli_verb *verb = cli_verbs_read(&command, argc, argv, known, COUNT(known), &status);

	if (verb == NULL)
		return status;
	status = understand(verb, &options);
	if (status != CLI_FINE)
		return status;
	void *scratch = talloc_new(NULL);
	status = cli_find(file, scratch, &gateway) ? run(verb, &gateway, &options) : CLI_FAILED;
	talloc_free(scratch);
	return status;
}
