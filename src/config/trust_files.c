#include "config/trust_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/crl_sources.h"
#include "config/marks.h"

enum { ONE_MAX = 1 << 16, READERS = TRUST_FILES_READERS, OWN_READERS = BUNDLE_DELIVER | BUNDLE_AUTHORITIES };

/* Marks in a bundle: the list is switched off. */
static const char *const off_marks[TRUST_LIST_COUNT] = {
	[TRUST_SYSTEM] = "authorities/system-off", [TRUST_CUSTOM] = "authorities/custom-off"
};

const char *trust_files_word(enum trust_list list)
{
	return list == TRUST_SYSTEM ? "system" : "custom";
}

char *trust_files_path(const void *owner, const char *state_dir, const char *name)
{
	return text_must(talloc_asprintf(owner, "%s/pki/authorities/%s", state_dir, name));
}

bool trust_files_is_off(const char *state_dir, enum trust_list list)
{
	char *path = trust_files_path(NULL, state_dir, list == TRUST_SYSTEM ? "system-off" : "custom-off");
	struct stat status;
	bool off = lstat(path, &status) == 0;

	talloc_free(path);
	return off;
}

bool trust_files_is_name(const char *name)
{
	struct text text = text_of(name);

	if (text.len != TRUST_FILES_NAME_LEN || !text_equal(text_from(text, 64), TEXT(".pem")))
		return false;
	for (size_t i = 0; i < 64; i++)
		if (!((name[i] >= '0' && name[i] <= '9') || (name[i] >= 'a' && name[i] <= 'f')))
			return false;
	return true;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of what is kept, sorted, owned by `owner`. */
static int list_names(const void *owner, DIR *directory, char ***ret_names)
{
	char **names = text_must(talloc_array(owner, char *, TRUST_FILES_MAX));
	const struct dirent *entry;
	size_t count = 0;

	while ((entry = readdir(directory)) != NULL) {
		if (!trust_files_is_name(entry->d_name))
			continue;
		if (count == TRUST_FILES_MAX)
			return -EFBIG;
		names[count++] = text_copy(owner, text_of(entry->d_name));
	}
	qsort(names, count, sizeof *names, compare);
	*ret_names = names;
	return (int)count;
}

/* Append what stands in one file. */
static int append(int directory_fd, const char *name, char **pem)
{
	CLEANUP(base_close)
	int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	size_t len = strlen(*pem);
	ssize_t n;

	if (fd < 0)
		return -errno;
	*pem = text_must(talloc_realloc(NULL, *pem, char, (unsigned)(len + ONE_MAX + 2)));
	n = read(fd, *pem + len, ONE_MAX + 1);
	if (n < 0)
		return -errno;
	if (n > ONE_MAX || memchr(*pem + len, '\0', (size_t)n) != NULL)
		return n > ONE_MAX ? -EFBIG : -EINVAL;
	memcpy(*pem + len + n, "\n", 2);
	return 0;
}

/* Ours, or root's: the directory above belongs to the user of the roles, and none of them may say whom we trust. */
static int check_owner(DIR *directory)
{
	struct stat status;

	if (fstat(dirfd(directory), &status) < 0)
		return -errno;
	return status.st_uid == 0 || status.st_uid == geteuid() ? 0 : -EPERM;
}

int trust_files_read(const void *owner, const char *state_dir, struct text *ret_pem)
{
	void *scratch = talloc_new(NULL);
	DIR *directory = opendir(trust_files_path(scratch, state_dir, "custom"));
	char *pem = text_must(talloc_strdup(owner, ""));
	char **names = NULL;
	int count = directory == NULL ? -errno : check_owner(directory), r = 0;

	if (count == 0)
		count = list_names(scratch, directory, &names);
	for (int i = 0; i < count && r == 0; i++)
		r = append(dirfd(directory), names[i], &pem);
	if (directory != NULL)
		closedir(directory);
	talloc_free(scratch);
	*ret_pem = text_of(pem);
	if (count == -ENOENT)
		return 0;
	return r < 0 ? r : count;
}

/* Gathering */

/* Credentials go to nobody without somebody to vouch for the server. */
static const struct config_route *first_with_credentials(const struct config *config, size_t *ret_at)
{
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].username != NULL) {
			*ret_at = i;
			return &config->routes[i];
		}
	return NULL;
}

/* Who is to be verified, whose authorities nobody says. */
static bool needs_all(const struct config *config, const struct config_destination *destination)
{
	return destination->domain != NULL && destination->tls >= CONFIG_TLS_PREFERRED_VERIFY &&
	       config_authorities_for(config, text_of(destination->domain)) == NULL;
}

static bool somebody_needs_system(const struct config *config)
{
	bool needs = config->authorities.system && crl_sources_wanted(config);

	for (size_t i = 0; i < config->route_count; i++)
		needs = needs || (config->authorities.system && config->routes[i].username != NULL);
	for (size_t i = 0; i < config->destination_count; i++)
		needs = needs || config->destinations[i].authorities.system ||
			(config->authorities.system && needs_all(config, &config->destinations[i]));
	return needs;
}

bool trust_files_names_system(const struct config *config)
{
	bool names = config->authorities.system;

	for (size_t i = 0; i < config->destination_count; i++)
		names = names || config->destinations[i].authorities.system;
	return names;
}

/* Where nothing depends on it, it is only recorded what the authorities say of servers, and the file need not be there. */
static void gather_system(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	const bool needed = somebody_needs_system(config);
	int r = bundle_add_file(bundle, CONFIG_SYSTEM_AUTHORITIES, needed ? READERS : OWN_READERS);

	if (r < 0 && needed)
		marks_problem(marks, MARKS_LOOK_UP, "authorities.system",
			"`" CONFIG_SYSTEM_AUTHORITIES
			"` cannot be read: %s; install ca-certificates, or write false and name a file as custom",
			err_text(r));
}

/* How many are kept; they are packed when their list is on. `check` may be run by somebody who may not read them. */
static int gather_kept(struct bundle *bundle, const struct config *config, bool off, struct marks *marks)
{
	struct text pem;
	int count = trust_files_read(marks, config->state_dir, &pem);

	if (count == -EACCES)
		marks_warn(marks, MARKS_LOOK_UP, "authorities",
			"what `postern ca` keeps in %s/pki cannot be read by this user, and was not looked at",
			config->state_dir);
	else if (count < 0 && count != -EPERM) /* which stored_check() says */
		marks_problem(marks, MARKS_LOOK_UP, "authorities",
			"what `postern ca` keeps in %s/pki/authorities cannot be read: %s; correct the state_dir, or remove what is no file there",
			config->state_dir, err_text(count));
	if (count > 0 && !off)
		bundle_add(bundle, TRUST_FILES_KEPT, pem, READERS);
	return count;
}

/* Those of single destinations. */
static void gather_own(
	struct bundle *bundle, const struct config *config, bool system_off, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_authorities *own = &config->destinations[i].authorities;
		char *key = text_must(talloc_asprintf(marks, "destinations[%zu].authorities.custom", i + 1));
		int r = own->custom == NULL ? 0 : bundle_add_file(bundle, own->custom, OWN_READERS);

		if (r < 0)
			marks_problem(marks, MARKS_LOOK_UP, key,
				"`%s` cannot be read: %s; correct the path or put the file there",
				own->custom, r == -EFBIG ? "it is larger than 1 MiB" : err_text(r));
		if (own->system && system_off)
			marks_warn(marks, MARKS_LOOK_UP, key,
				"the system's list of authorities is off, here too: run `postern ca enable system`, or leave `system` out");
		talloc_free(key);
	}
}

static void warn_unverifiable(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];

		if (needs_all(config, destination))
			marks_warn(marks, MARKS_LOOK_UP,
				text_must(talloc_asprintf(marks, "destinations[%zu].tls", i + 1)),
				"no authority is trusted, so that no certificate is good%s: write `authorities: {system: true}`, name a file as authorities.custom, or run `postern ca import`",
				destination->tls == CONFIG_TLS_PREFERRED_VERIFY
					? ""
					: ", and this mail can be delivered by DANE only");
	}
}

void trust_files_gather(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	const struct config_authorities *authorities = &config->authorities;
	size_t at = 0;
	const struct config_route *needing = first_with_credentials(config, &at);
	bool off[TRUST_LIST_COUNT];

	if (config->state_dir == NULL)
		return;
	for (int list = 0; list < TRUST_LIST_COUNT; list++) {
		off[list] = trust_files_is_off(config->state_dir, (enum trust_list)list);
		if (off[list])
			bundle_add(bundle, off_marks[list], TEXT(""), READERS);
	}
	int kept = gather_kept(bundle, config, off[TRUST_CUSTOM], marks);
	if (trust_files_names_system(config) && !off[TRUST_SYSTEM])
		gather_system(bundle, config, marks);
	gather_own(bundle, config, off[TRUST_SYSTEM], marks);
	if ((off[TRUST_SYSTEM] || !authorities->system) && off[TRUST_CUSTOM])
		marks_warn(marks, MARKS_LOOK_UP, "authorities",
			"both lists of authorities are off, so no certificate of another server can be verified: run "
			"`postern ca enable custom`%s",
			authorities->system ? ", or `postern ca enable system`" : "");
	else if (needing != NULL && !authorities->system && authorities->custom == NULL && kept == 0)
		marks_problem(marks, MARKS_LOOK_UP,
			text_must(talloc_asprintf(marks, "routes[%zu].username", at + 1)),
			"credentials go only to a server whose certificate was verified, and no authority is "
			"trusted: write `authorities: {system: true}`, name a file as authorities.custom, or run `postern ca "
			"import`");
	else if ((!authorities->system || off[TRUST_SYSTEM]) &&
		 (off[TRUST_CUSTOM] || (authorities->custom == NULL && kept == 0)))
		warn_unverifiable(config, marks);
}

bool trust_files_system_is_off(const struct bundle *bundle)
{
	return bundle_find(bundle, off_marks[TRUST_SYSTEM]).at != NULL;
}

bool trust_files_is_on(const struct config *config, const struct bundle *bundle, enum trust_list list)
{
	return bundle_find(bundle, off_marks[list]).at == NULL &&
	       (list == TRUST_CUSTOM || config->authorities.system);
}
