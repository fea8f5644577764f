/*
 * Everything goes through descriptors of directories and never through a symbolic link. What is written has a name that ends in `.new` until it is whole
 * and synced; then one rename puts it into its place. So a death leaves either what was before or what was wanted, and perhaps a `.new`, which the
 * next writer removes. A name that counts is synced before anything that rests on it is done.
 */
#include "pki/pki_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "config/stored.h"
#include "pki/secret.h"

enum { NAME_ROOM = 80, LIST_MAX = 10000 };

#define NEW ".new"

struct pki_store {
	int top_fd, certificates_fd, lock_fd; /* -1: there is no store, or for readers no lock */
};

static int close_all(struct pki_store *store)
{
	base_close(&store->top_fd);
	base_close(&store->certificates_fd);
	base_close(&store->lock_fd);
	return 0;
}

static int open_directory(int at, const char *name, int *ret_fd)
{
	*ret_fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 ? -errno : 0;
}

/* A directory of ours in the directory `at`, made when it is missing. */
static int make_directory(int at, const char *name, int *ret_fd)
{
	struct stat status;
	const bool made = mkdirat(at, name, 0700) == 0;
	int r = made || errno == EEXIST ? open_directory(at, name, ret_fd) : -errno;

	if (r == 0 && fstat(*ret_fd, &status) < 0)
		r = -errno;
	if (r == 0 && status.st_uid != geteuid())
		r = -EPERM;
	if (r == 0 && fsync(at) < 0) /* also when it was there: whoever made it may have died before this */
		r = -errno;
	return r;
}

static bool is_new(const char *name)
{
	return text_ends_nocase(text_of(name), TEXT(NEW));
}

/* A directory of a certificate with what is in it; what is not there is fine. */
static int remove_certificate(int at, const char *name)
{
	CLEANUP(base_close) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP) && unlinkat(at, name, 0) == 0)
		return 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if ((unlinkat(fd, STORED_KEY, 0) < 0 && errno != ENOENT) ||
		(unlinkat(fd, STORED_CHAIN, 0) < 0 && errno != ENOENT))
		return -errno;
	return unlinkat(at, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

/* The names in a directory, NULL at the end; a name that we did not give is left out. */
static int read_names(
	int at, const void *owner, bool (*wanted)(const char *), char ***ret_names, size_t *ret_count)
{
	DIR *directory = fdopendir(openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	char **names = text_must(talloc_array(owner, char *, LIST_MAX));
	size_t count = 0;

	if (directory == NULL)
		return -errno;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL && count < LIST_MAX;)
		if (wanted(entry->d_name))
			names[count++] = text_must(talloc_strdup(names, entry->d_name));
	closedir(directory);
	*ret_names = names;
	*ret_count = count;
	return 0;
}

static int remove_remnants(const struct pki_store *store)
{
	void *scratch = talloc_new(NULL);
	size_t count = 0;
	char **names;
	int r = read_names(store->certificates_fd, scratch, is_new, &names, &count);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = remove_certificate(store->certificates_fd, names[i]);
	talloc_free(scratch);
	return r;
}

static struct pki_store *store_new(const void *owner)
{
	struct pki_store *store = text_must(talloc(owner, struct pki_store));

	*store = (struct pki_store){ .top_fd = -1, .certificates_fd = -1, .lock_fd = -1 };
	talloc_set_destructor(store, close_all);
	return store;
}

/* Nothing there yet is an empty store. */
int pki_store_open(const void *owner, const char *state_dir, struct pki_store **ret_store)
{
	CLEANUP(base_close) int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct pki_store *store = store_new(owner);
	int r = state < 0 ? -errno : open_directory(state, STORED_DIRECTORY, &store->top_fd);

	if (r == 0)
		r = open_directory(store->top_fd, STORED_CERTIFICATES, &store->certificates_fd);
	if (r < 0 && r != -ENOENT) {
		talloc_free(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

static int take_lock(struct pki_store *store)
{
	store->lock_fd = openat(store->top_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->lock_fd < 0)
		return -errno;
	while (flock(store->lock_fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int pki_store_open_writer(const void *owner, const char *state_dir, struct pki_store **ret_store)
{
	CLEANUP(base_close) int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct pki_store *store = store_new(owner);
	int r = state < 0 ? -errno : make_directory(state, STORED_DIRECTORY, &store->top_fd);

	if (r == 0)
		r = take_lock(store);
	if (r == 0)
		r = make_directory(store->top_fd, STORED_CERTIFICATES, &store->certificates_fd);
	if (r == 0)
		r = remove_remnants(store);
	if (r < 0)
		talloc_free(store);
	else
		*ret_store = store;
	return r;
}

static bool is_certificate(const char *name)
{
	return stored_is_name(text_of(name));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool pki_store_has(const struct pki_store *store, const char *name)
{
	struct stat status;

	return store->certificates_fd >= 0 && is_certificate(name) &&
	       fstatat(store->certificates_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(status.st_mode);
}

int pki_store_list(const struct pki_store *store, const void *owner, char ***ret_names, size_t *ret_count)
{
	*ret_count = 0;
	*ret_names = NULL;
	if (store->certificates_fd < 0)
		return 0;
	size_t count = 0;
	int r = read_names(store->certificates_fd, owner, is_certificate, ret_names, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (pki_store_has(store, (*ret_names)[i])) /* what else lies there is nothing of ours */
			(*ret_names)[(*ret_count)++] = (*ret_names)[i];
	if (r == 0)
		qsort(*ret_names, *ret_count, sizeof **ret_names, by_name);
	return r;
}

/* A whole file; 0 and its text (wiped when it is freed), or a negative errno. */
static int read_file(int at, const char *name, const void *owner, size_t max, char **ret_text)
{
	CLEANUP(base_close) int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status;
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (status.st_size > (off_t)max)
		return -EFBIG;
	const size_t size = (size_t)status.st_size;
	char *text = secret_room(owner, size);
	while (len < size && (n = read(fd, text + len, size - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	if (len < size) {
		talloc_free(text);
		return -EIO;
	}
	*ret_text = text;
	return 0;
}

/* Both files come through one descriptor: a directory that is exchanged meanwhile stays what it was. */
int pki_store_read(
	const struct pki_store *store, const void *owner, const char *name, struct pki_store_pair *ret_pair)
{
	struct pki_store_pair pair = { NULL, NULL };

	if (store->certificates_fd < 0 || !is_certificate(name))
		return -ENOENT;
	CLEANUP(base_close) int fd = -1;
	int r = open_directory(store->certificates_fd, name, &fd);
	if (r == 0)
		r = read_file(fd, STORED_CHAIN, owner, PKI_STORE_FILE_MAX, &pair.chain);
	if (r == 0)
		r = read_file(fd, STORED_KEY, owner, PKI_STORE_FILE_MAX, &pair.key);
	if (r == 0)
		*ret_pair = pair;
	else
		talloc_free(pair.chain);
	return r;
}

/* A new file of mode 0600 whose bytes are on the disk. */
static int write_file(int at, const char *name, struct text bytes)
{
	CLEANUP(base_close)
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : io_write_all(fd, bytes);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* Under its `.new` name, whole and synced. */
static int write_new(int at, const char *name, struct text chain, struct text key)
{
	CLEANUP(base_close) int fd = -1;
	int r = remove_certificate(at, name);

	if (r == 0 && mkdirat(at, name, 0700) < 0)
		r = -errno;
	if (r == 0)
		r = open_directory(at, name, &fd);
	if (r == 0)
		r = write_file(fd, STORED_CHAIN, chain);
	if (r == 0)
		r = write_file(fd, STORED_KEY, key);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* Exchanged with what has the name, which is then called `.new`; or renamed when nothing has. */
static int put_in_place(int at, const char *new, const char *name)
{
	if (renameat2(at, new, at, name, RENAME_EXCHANGE) < 0 &&
		(errno != ENOENT || renameat2(at, new, at, name, RENAME_NOREPLACE) < 0))
		return -errno;
	return fsync(at) == 0 ? 0 : -errno;
}

int pki_store_write(struct pki_store *store, const char *name, struct text chain, struct text key)
{
	char new[NAME_ROOM];

	if (!is_certificate(name))
		return -EINVAL;
	if (chain.len > PKI_STORE_FILE_MAX || key.len > PKI_STORE_FILE_MAX)
		return -EFBIG;
	snprintf(new, sizeof new, "%s" NEW, name);
	int r = write_new(store->certificates_fd, new, chain, key);
	if (r == 0)
		r = put_in_place(store->certificates_fd, new, name);
	if (r == 0)
		remove_certificate(store->certificates_fd, new); /* else the next writer does */
	return r;
}

int pki_store_delete(struct pki_store *store, const char *name)
{
	char new[NAME_ROOM], *active = pki_store_active(store, NULL);
	const bool is_active = active != NULL && strcmp(active, name) == 0;

	talloc_free(active);
	if (is_active)
		return -EBUSY;
	if (!is_certificate(name))
		return -ENOENT;
	snprintf(new, sizeof new, "%s" NEW, name);
	int r = remove_certificate(store->certificates_fd, new);
	if (r == 0 && renameat(store->certificates_fd, name, store->certificates_fd, new) < 0)
		r = -errno;
	if (r == 0 && fsync(store->certificates_fd) < 0)
		r = -errno;
	return r == 0 ? remove_certificate(store->certificates_fd, new) : r;
}

int pki_store_activate(struct pki_store *store, const char *name)
{
	char line[NAME_ROOM];

	if (!pki_store_has(store, name))
		return -ENOENT;
	snprintf(line, sizeof line, "%s\n", name);
	return io_replace_file(store->top_fd, STORED_ACTIVE, text_of(line));
}

char *pki_store_active(const struct pki_store *store, const void *owner)
{
	char *line = NULL, *name = NULL;

	if (store->top_fd < 0 || read_file(store->top_fd, STORED_ACTIVE, NULL, NAME_ROOM, &line) < 0)
		return NULL;
	const struct text first = text_first(text_of(line), text_find(text_of(line), '\n'));
	if (stored_is_name(first))
		name = text_copy(owner, first);
	talloc_free(line);
	return name;
}
