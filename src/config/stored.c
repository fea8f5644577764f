/*
 * An entry of `certificates` without files means the store. Paths are filled in here, so that everything behind this sees files. Roles do the same with the
 * same bundle: which certificate is active is a file in it.
 */
#include "config/stored.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/marks.h"
#include "config/names.h"

bool stored_is_name(struct text name)
{
	return names_is_name(name) && !text_ends_nocase(name, TEXT(".new"));
}

bool stored_is_demo(const struct config_certificate *certificate)
{
	return certificate->stored && strcmp(certificate->name, STORED_DEMO) == 0;
}

/* Whether the file says `key` of number `index` of `list`. */
static bool is_said(const struct marks *marks, const char *list, size_t index, const char *key)
{
	char *path = text_must(talloc_asprintf(NULL, "%s[%zu].%s", list, index + 1, key));
	const bool said = marks_has(marks, path);

	talloc_free(path);
	return said;
}

static char *active_path(const void *owner, const struct config *config)
{
	return text_must(talloc_asprintf(owner, "%s/" STORED_DIRECTORY "/" STORED_ACTIVE, config->state_dir));
}

/* Of root or ours, and for nobody else to change: the directory above belongs to the user of the roles, and none of them may bring in a key. */
static bool is_safe(const struct stat *status)
{
	return (status->st_uid == 0 || status->st_uid == geteuid()) &&
	       (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A directory in `at` that is_safe(). 0, -EPERM, or another negative errno. */
static int open_safe(int at, const char *name, int *ret_fd)
{
	CLEANUP(base_close) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!is_safe(&status))
		return -EPERM;
	*ret_fd = base_take(&fd);
	return 0;
}

/* The directory of the store. */
static int open_store(const struct config *config, int *ret_fd)
{
	CLEANUP(base_close) int state = open(config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return state < 0 ? -errno : open_safe(state, STORED_DIRECTORY, ret_fd);
}

/* False, after saying it, when `path` is there and not safe; a symbolic link is looked at itself. */
static bool check_safe(const char *path, struct marks *marks)
{
	struct stat status;

	if (lstat(path, &status) < 0 || S_ISLNK(status.st_mode) || is_safe(&status))
		return true;
	if (status.st_uid != 0 && status.st_uid != geteuid())
		marks_problem(marks, MARKS_LOOK_UP, "state_dir",
			"`%s` belongs to somebody else than root and the user that runs this, who could put any key into it: find out who changed it, and give it back with"
			" `chown -R`",
			path);
	else
		marks_problem(marks, MARKS_LOOK_UP, "state_dir",
			"`%s` may be changed by others than its owner, who could put any key into it: find out who did that, and run `chmod -R go-w` on the directory `" STORED_DIRECTORY
			"`",
			path);
	return false;
}

/* What is in a directory. */
static bool check_inside(const char *path, struct marks *marks)
{
	DIR *directory = opendir(path);
	bool safe = true;

	for (struct dirent *entry; safe && directory != NULL && (entry = readdir(directory)) != NULL;)
		safe = entry->d_name[0] == '.' ||
		       check_safe(text_must(talloc_asprintf(marks, "%s/%s", path, entry->d_name)), marks);
	if (directory != NULL)
		closedir(directory);
	return safe;
}

void stored_check(const struct config *config, unsigned parts, struct marks *marks)
{
	static const struct {
		const char *name;
		unsigned part;
	} places[] = { { "", BUNDLE_PARTS }, { "/" STORED_CERTIFICATES, BUNDLE_CERTIFICATES },
		{ "/authorities", BUNDLE_AUTHORITIES }, { "/authorities/custom", BUNDLE_AUTHORITIES } };
	bool safe = config->state_dir != NULL;

	for (size_t i = 0; i < COUNT(places) && safe; i++) {
		const char *path = text_must(talloc_asprintf(
			marks, "%s/" STORED_DIRECTORY "%s", config->state_dir, places[i].name));

		safe = (parts & places[i].part) == 0 ||
		       (check_safe(path, marks) && check_inside(path, marks));
	}
	for (size_t i = 0; i < config->certificate_count && safe; i++)
		if ((parts & BUNDLE_CERTIFICATES) != 0 && config->certificates[i].stored &&
			config->certificates[i].chain != NULL)
			safe = check_safe(config->certificates[i].chain, marks) &&
			       check_safe(config->certificates[i].key, marks);
}

/* A file of a directory into the bundle, under `path`. */
static int take(struct bundle *bundle, int directory_fd, const char *name, const char *path, unsigned readers)
{
	struct bundle *read = bundle_new(NULL, 0);
	char *from = text_must(talloc_asprintf(read, "/proc/self/fd/%d/%s", directory_fd, name));
	int r = bundle_add_file(read, from, readers);

	if (r == 0 && (readers & BUNDLE_ALL) == BUNDLE_KEYS)
		bundle_add_key_bytes(bundle, path, bundle_find(read, from));
	else if (r == 0)
		bundle_add(bundle, path, bundle_find(read, from), readers);
	talloc_free(read);
	return r;
}

static bool somebody_names_none(const struct config *config, const struct marks *marks)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if (!is_said(marks, "listeners", i, "certificate"))
			return true;
	return false;
}

static struct text active_name(struct text bytes)
{
	const struct text name = bytes.at == NULL ? TEXT("") : text_first(bytes, text_find(bytes, '\n'));

	return stored_is_name(name) ? name : TEXT("");
}

void stored_gather(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	if (config->state_dir == NULL || !somebody_names_none(config, marks))
		return;
	CLEANUP(base_close) int store = -1;
	char *path = active_path(marks, config);
	int r = open_store(config, &store);
	if (r == 0)
		r = take(bundle, store, STORED_ACTIVE, path, BUNDLE_ALL | BUNDLE_CERTIFICATES);
	if (r == 0 && active_name(bundle_find(bundle, path)).len == 0)
		marks_problem(marks, MARKS_LOOK_UP, "state_dir",
			"`%s` is damaged: it is to name the certificate that listeners without a `certificate` present; run `postern cert activate NAME`, or name one in the"
			" listeners",
			path);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -EPERM) /* the last is said by stored_check() */
		marks_warn(marks, MARKS_LOOK_UP, "state_dir",
			"`%s`, which names the active certificate, cannot be used: %s; its directory must belong to root or to the user that runs the gateway, who runs this",
			path, err_text(r));
}

/* The name of the active certificate, owned by `owner`; NULL when there is none, or nobody wants it. */
static char *active(const void *owner, const struct config *config, const struct bundle *bundle)
{
	char *path = config->state_dir == NULL ? NULL : active_path(NULL, config);
	const struct text name = active_name(path == NULL ? TEXT("") : bundle_find(bundle, path));

	talloc_free(path);
	return name.len == 0 ? NULL : text_copy(owner, name);
}

static struct config_certificate *find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->certificate_count; i++)
		if (config->certificates[i].name != NULL && strcmp(config->certificates[i].name, name) == 0)
			return &config->certificates[i];
	return NULL;
}

static void fill(struct config *config, struct config_certificate *certificate)
{
	certificate->stored = true;
	if (config->state_dir == NULL || certificate->name == NULL)
		return;
	const char *directory = text_must(talloc_asprintf(config,
		"%s/" STORED_DIRECTORY "/" STORED_CERTIFICATES "/%s", config->state_dir, certificate->name));
	certificate->chain = text_must(talloc_asprintf(config, "%s/" STORED_CHAIN, directory));
	certificate->key = text_must(talloc_asprintf(config, "%s/" STORED_KEY, directory));
}

static void add(struct config *config, const char *name, unsigned line)
{
	config->certificates = text_must(talloc_realloc(config, config->certificates,
		struct config_certificate, (unsigned)(config->certificate_count + 1)));
	struct config_certificate *added = &config->certificates[config->certificate_count++];
	*added = (struct config_certificate){ .line = line, .name = text_must(talloc_strdup(config, name)) };
	fill(config, added);
}

/* Chain and key stand in the file, or neither does. */
static void finish_entry(struct config *config, size_t index, struct marks *marks)
{
	struct config_certificate *certificate = &config->certificates[index];
	const bool chain = is_said(marks, "certificates", index, "chain"),
		   key = is_said(marks, "certificates", index, "key");

	if (certificate->name != NULL && strcmp(certificate->name, STORED_DEMO) == 0)
		marks_warn(marks, MARKS_LOOK_UP,
			text_must(talloc_asprintf(marks, "certificates[%zu].name", index + 1)), "%s",
			chain ? "`" STORED_DEMO
				"` is also the name of the certificate that the gateway makes for itself; the files that stand here count: choose another name"
			      : "`" STORED_DEMO
				"` is the certificate that the gateway makes for itself, which needs no entry, and which counts: remove the entry, or choose another name");
	if (chain != key) {
		char *path = text_must(
			talloc_asprintf(marks, "certificates[%zu].%s", index + 1, chain ? "key" : "chain"));

		marks_problem(marks, certificate->line, path,
			"is missing: expected a path, because `%s` stands here; or leave both out to use the store of `postern cert`",
			chain ? "chain" : "key");
	} else if (!chain) {
		char *path = text_must(talloc_asprintf(marks, "certificates[%zu].name", index + 1));

		if (certificate->name != NULL && !stored_is_name(text_of(certificate->name)))
			marks_problem(marks, MARKS_LOOK_UP, path,
				"`%s` cannot be the name of a stored certificate, because it ends with `.new`: choose another one",
				certificate->name);
		fill(config, certificate);
	}
}

static bool is_demo(const struct marks *marks, char *path)
{
	const char *name = marks_has(marks, path) ? marks_value(marks, path) : NULL;

	talloc_free(path);
	return name != NULL && strcmp(name, STORED_DEMO) == 0;
}

/* Alone, or in a list. */
static bool names_demo(const struct config_listener *listener, size_t index, const struct marks *marks)
{
	bool found =
		is_demo(marks, text_must(talloc_asprintf(NULL, "listeners[%zu].certificate", index + 1)));

	for (size_t i = 0; i < listener->certificate_count && !found; i++)
		found = is_demo(marks, text_must(talloc_asprintf(
					       NULL, "listeners[%zu].certificate[%zu]", index + 1, i + 1)));
	return found;
}

static bool is_demo_wanted(const struct config *config, const struct marks *marks)
{
	for (size_t i = 0; i < config->listener_count; i++)
		if (names_demo(&config->listeners[i], i, marks))
			return true;
	return false;
}

void stored_finish(struct config *config, const struct bundle *bundle, struct marks *marks)
{
	char *name = somebody_names_none(config, marks) ? active(NULL, config, bundle) : NULL;

	for (size_t i = 0; i < config->certificate_count; i++)
		finish_entry(config, i, marks);
	if (is_demo_wanted(config, marks) && find(config, STORED_DEMO) == NULL)
		add(config, STORED_DEMO, 0); /* as if it were predefined: the listener's word is enough */
	if (name != NULL && find(config, name) == NULL)
		add(config, name,
			config->listeners[0].line); /* with a line, so that it is shown: nobody names it */
	talloc_free(name);
}

static void assign(
	struct config *config, struct config_listener *listener, const struct config_certificate *certificate)
{
	listener->certificates = text_must(talloc_zero_array(config, const struct config_certificate *, 1));
	listener->certificates[0] = certificate;
	listener->certificate_count = certificate != NULL;
}

void stored_assign(struct config *config, const struct bundle *bundle, const struct marks *marks)
{
	char *name = somebody_names_none(config, marks) ? active(NULL, config, bundle) : NULL;

	for (size_t i = 0; name != NULL && i < config->listener_count; i++)
		if (!is_said(marks, "listeners", i, "certificate"))
			assign(config, &config->listeners[i], find(config, name));
	talloc_free(name);
}

static void warn_demo(const struct config *config, const struct config_certificate *certificate, bool missing,
	struct marks *marks)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		char *path = text_must(talloc_asprintf(marks, "listeners[%zu].certificate", i + 1));

		if (config_listener_presents(&config->listeners[i], certificate))
			marks_warn(marks, MARKS_LOOK_UP, path,
				"the demo certificate%s is self-signed, so that no peer can know this gateway by it: make one with `postern cert create`, have"
				" it signed (`cert csr`, `cert upload`), and name that",
				missing ? ", which the next start makes," : "");
	}
}

/* Both files through one directory, so that they are a pair whatever is exchanged meanwhile; nobody reads the chain yet. When the directory lacks one of them its
 * name is in *ret_lacking. */
static int take_pair(struct bundle *bundle, int store_fd, const struct config_certificate *certificate,
	const char **ret_lacking)
{
	CLEANUP(base_close) int all = -1;
	CLEANUP(base_close) int fd = -1;
	int r = open_safe(store_fd, STORED_CERTIFICATES, &all);

	if (r == 0)
		r = open_safe(all, certificate->name, &fd);
	if (r < 0)
		return r;
	r = take(bundle, fd, STORED_CHAIN, certificate->chain, BUNDLE_CERTIFICATES);
	*ret_lacking = r == -ENOENT ? STORED_CHAIN : NULL;
	if (r == 0) {
		r = take(bundle, fd, STORED_KEY, certificate->key, BUNDLE_KEYS);
		*ret_lacking = r == -ENOENT ? STORED_KEY : NULL;
	}
	return r;
}

/* `index`: of the entry, which may be there only because the certificate is the active one. */
static void note_missing(
	const struct config *config, size_t index, int r, const char *lacking, struct marks *marks)
{
	const char *name = config->certificates[index].name;
	const bool said = is_said(marks, "certificates", index, "name");
	const char *path =
		said ? text_must(talloc_asprintf(marks, "certificates[%zu].name", index + 1)) : "state_dir";

	if (lacking != NULL)
		marks_problem(marks, MARKS_LOOK_UP, path,
			"certificate `%s` of the store (%s/" STORED_DIRECTORY
			") lacks its file %s: import it anew with `postern cert import %s --replace`, or make it with `postern cert create %s --replace`",
			name, config->state_dir, lacking, name, name);
	else if (r == -ENOENT && !said)
		marks_problem(marks, MARKS_LOOK_UP, path,
			"%s/" STORED_DIRECTORY "/" STORED_ACTIVE
			" names `%s` as the active certificate, and it is not in the store: choose another one with `postern cert activate NAME`",
			config->state_dir, name);
	else if (r == -ENOENT)
		marks_problem(marks, MARKS_LOOK_UP, path,
			"there is no certificate `%s` in the store (%s/" STORED_DIRECTORY
			"): make it with `postern cert create %s --common-name HOST`, import it with `postern cert import`, or name files with `chain` and `key`",
			name, config->state_dir, name);
	else if (r != -EPERM) /* which stored_check() says */
		marks_problem(marks, MARKS_LOOK_UP, path,
			"certificate `%s` of the store (%s/" STORED_DIRECTORY
			") cannot be read: %s; run this as the user that runs the gateway, or import it anew",
			name, config->state_dir, err_text(r));
}

bool stored_take(struct bundle *bundle, const struct config *config, size_t index, struct marks *marks)
{
	const struct config_certificate *certificate = &config->certificates[index];
	const char *lacking = NULL;

	if (!certificate->stored || certificate->chain == NULL || !stored_is_name(text_of(certificate->name)))
		return !certificate->stored;
	CLEANUP(base_close) int store = -1;
	int r = open_store(config, &store);
	if (r == 0)
		r = take_pair(bundle, store, certificate, &lacking);
	if (stored_is_demo(certificate) && (r == 0 || (r == -ENOENT && lacking == NULL)))
		warn_demo(config, certificate, r < 0, marks);
	else if (r < 0)
		note_missing(config, index, r, lacking, marks);
	return r == 0;
}
