/*
 * Bundles: the files of one configuration generation, packed for a role. Master gathers them from disk and seals one
 * memfd per role with only the entries that this role may see; a role opens the memfd and finds entries by path.
 *
 * Image: a header, then per entry its lengths, its path and its bytes, without gaps. Numbers are in host order: writer
 * and reader are the same binary on the same machine. The reader still trusts nothing: the seals must be there (so
 * that nobody can change the bytes under it) and each length is compared with what is left before it is used.
 * Entries may be private keys: copies are wiped before their memory is given back, and mappings are not dumped.
 */
#include "config/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "wire/pem_frame.h"

enum {
	FILE_MAX = 1 << 20,
	LIST_MAX = 64 << 20,
	PATH_LEN_MAX = 4096,
	ENTRIES_MAX = 1 << 16,
	IMAGE_MAX = 1 << 30,
	VERSION = 1
};
enum { SEALS_NEEDED = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* No path begins so: control characters are refused in the configuration. */
#define KEY_PREFIX "\1key "

static const char magic[8] = { 'P', 'O', 'S', 'T', 'B', 'N', 'D', '\n' };

struct header {
	char magic[8];
	uint32_t version;
	uint32_t count;
	uint64_t generation;
	uint64_t size; /* of the whole image */
};

struct entry_header {
	uint32_t path_len;
	uint32_t reserved; /* 0 */
	uint64_t bytes_len;
};

struct entry {
	const char *path;
	struct text bytes;
	char *copy; /* what bytes.at points into when the bundle owns it; wiped at the end */
	unsigned readers;
};

struct bundle {
	uint64_t generation;
	struct entry *entries;
	size_t count;
	int keys_fd;   /* what bundle_put_keys_away() sealed, else -1 */
	void *mapping; /* of bundle_open(), else NULL */
	size_t mapping_size;
};

/* Runs before the entries are freed. */
static int wipe(struct bundle *bundle)
{
	for (size_t i = 0; i < bundle->count; i++)
		if (bundle->entries[i].copy != NULL)
			explicit_bzero(bundle->entries[i].copy, bundle->entries[i].bytes.len);
	base_close(&bundle->keys_fd);
	if (bundle->mapping != NULL)
		munmap(bundle->mapping, bundle->mapping_size);
	return 0;
}

struct bundle *bundle_new(const void *owner, uint64_t generation)
{
	struct bundle *bundle = text_must(talloc_zero(owner, struct bundle));

	bundle->generation = generation;
	bundle->keys_fd = -1;
	talloc_set_destructor(bundle, wipe);
	return bundle;
}

uint64_t bundle_generation(const struct bundle *bundle)
{
	return bundle->generation;
}

static struct entry *find(const struct bundle *bundle, const char *path)
{
	for (size_t i = 0; i < bundle->count; i++)
		if (strcmp(bundle->entries[i].path, path) == 0)
			return &bundle->entries[i];
	return NULL;
}

static struct entry *append(struct bundle *bundle, struct text path, unsigned readers)
{
	if ((bundle->count & (bundle->count - 1)) == 0)
		bundle->entries = text_must(talloc_realloc(
			bundle, bundle->entries, struct entry, (unsigned)MAX(bundle->count * 2, 1)));

	struct entry *entry = &bundle->entries[bundle->count++];
	*entry = (struct entry){ .path = text_copy(bundle, path), .bytes = TEXT(""), .readers = readers };
	return entry;
}

void bundle_add(struct bundle *bundle, const char *path, struct text bytes, unsigned readers)
{
	struct entry *entry = find(bundle, path);

	if (entry != NULL) {
		entry->readers |= readers;
		return;
	}
	entry = append(bundle, text_of(path), readers);
	entry->copy = text_copy(bundle, bytes);
	entry->bytes = (struct text){ entry->copy, bytes.len };
}

void bundle_put(struct bundle *bundle, const char *path, struct text bytes, unsigned readers)
{
	struct entry *entry = find(bundle, path);

	if (entry == NULL) {
		bundle_add(bundle, path, bytes, readers);
		return;
	}
	if (entry->copy != NULL)
		explicit_bzero(entry->copy, entry->bytes.len);
	talloc_free(entry->copy);
	entry->copy = text_copy(bundle, bytes);
	entry->bytes = (struct text){ entry->copy, bytes.len };
	entry->readers = readers;
}

/* Fill `buf` (`max` + 1 bytes) from fd; the number of bytes, or a negative errno. */
static ssize_t read_all(int fd, char *buf, size_t max)
{
	size_t len = 0;

	while (len <= max) {
		ssize_t n = read(fd, buf + len, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return (ssize_t)len;
		len += (size_t)n;
	}
	return -EFBIG;
}

/* What of a file becomes an entry. */
enum part { WHOLE, CERTIFICATES };

/* Move the certificates among `bytes` to its front; how long they are. */
static size_t keep_certificates(char *bytes, size_t len)
{
	struct text rest = { bytes, len };
	struct pem_frame block;
	size_t kept = 0;

	while (pem_frame_next(&rest, &block)) {
		if (!pem_frame_is_certificate(block.label))
			continue;
		memmove(bytes + kept, block.whole.at, block.whole.len);
		kept += block.whole.len;
		if (kept < len)
			bytes[kept++] = '\n';
	}
	return kept;
}

/* O_NONBLOCK: a FIFO must not hang `check`. */
enum { OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

/* `opened` (or a negative errno) is given. */
static int add_opened(
	struct bundle *bundle, int opened, const char *name, unsigned readers, enum part part, size_t max)
{
	CLEANUP(base_close) int fd = opened;
	struct stat st;

	if (fd < 0)
		return opened;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if ((size_t)st.st_size > max)
		return -EFBIG;

	size_t room = MAX((size_t)st.st_size, (size_t)FILE_MAX); /* some files say that they are empty */
	char *buf = talloc_size(bundle, room + 1);
	if (buf == NULL)
		return -ENOMEM;

	ssize_t n = read_all(fd, buf, room);
	if (n >= 0)
		bundle_add(bundle, name,
			(struct text){
				buf, part == CERTIFICATES ? keep_certificates(buf, (size_t)n) : (size_t)n },
			readers);

	explicit_bzero(buf, room + 1);
	talloc_free(buf);
	return n < 0 ? (int)n : 0;
}

static int add_from_disk(struct bundle *bundle, const char *path, const char *name, unsigned readers,
	enum part part, size_t max)
{
	if (find(bundle, name) != NULL) {
		bundle_add(bundle, name, TEXT(""), readers);
		return 0;
	}

	int fd = open(path, OPEN_FLAGS);
	return add_opened(bundle, fd < 0 ? -errno : fd, name, readers, part, max);
}

int bundle_add_file(struct bundle *bundle, const char *path, unsigned readers)
{
	return add_from_disk(bundle, path, path, readers, WHOLE, FILE_MAX);
}

int bundle_add_chain(struct bundle *bundle, const char *path, unsigned readers)
{
	return add_from_disk(bundle, path, path, readers, CERTIFICATES, FILE_MAX);
}

static char *key_name(const void *owner, const char *path)
{
	return text_must(talloc_asprintf(owner, KEY_PREFIX "%s", path));
}

int bundle_add_key(struct bundle *bundle, const char *path)
{
	char *name = key_name(bundle, path);
	int r = add_from_disk(bundle, path, name, BUNDLE_KEYS | BUNDLE_CERTIFICATES, WHOLE, FILE_MAX);

	talloc_free(name);
	return r;
}

void bundle_add_key_bytes(struct bundle *bundle, const char *path, struct text bytes)
{
	char *name = key_name(bundle, path);

	bundle_add(bundle, name, bytes, BUNDLE_KEYS | BUNDLE_CERTIFICATES);
	talloc_free(name);
}

int bundle_add_list(struct bundle *bundle, const char *path, unsigned readers)
{
	return add_from_disk(bundle, path, path, readers, WHOLE, LIST_MAX);
}

int bundle_add_kept(
	struct bundle *bundle, int directory_fd, const char *name, const char *path, unsigned readers)
{
	int fd = openat(directory_fd, name, OPEN_FLAGS | O_NOFOLLOW);

	return add_opened(bundle, fd < 0 ? -errno : fd, path, readers, WHOLE, LIST_MAX);
}

struct text bundle_find(const struct bundle *bundle, const char *path)
{
	const struct entry *entry = find(bundle, path);

	return entry == NULL ? (struct text){ NULL, 0 } : entry->bytes;
}

struct text bundle_find_key(const struct bundle *bundle, const char *path)
{
	char *name = key_name(NULL, path);
	struct text bytes = bundle_find(bundle, name);

	talloc_free(name);
	return bytes;
}

static int write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_entry(int fd, const struct entry *entry)
{
	struct entry_header header = { .path_len = (uint32_t)strlen(entry->path),
		.bytes_len = entry->bytes.len };
	int r = write_all(fd, &header, sizeof header);

	if (r == 0)
		r = write_all(fd, entry->path, header.path_len);
	if (r == 0)
		r = write_all(fd, entry->bytes.at, entry->bytes.len);
	return r;
}

int bundle_seal(const struct bundle *bundle, unsigned reader)
{
	CLEANUP(base_close) int fd = memfd_create("postern-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct header header = {
		.version = VERSION, .generation = bundle->generation, .size = sizeof header
	};

	if (fd < 0)
		return -errno;
	if (reader == BUNDLE_KEYS && bundle->keys_fd >= 0) {
		int kept = fcntl(bundle->keys_fd, F_DUPFD_CLOEXEC, 0);

		return kept < 0 ? -errno : kept;
	}

	memcpy(header.magic, magic, sizeof magic);
	for (size_t i = 0; i < bundle->count; i++) {
		const struct entry *entry = &bundle->entries[i];
		size_t path_len = strlen(entry->path);

		if (!(entry->readers & reader))
			continue;
		if (path_len > PATH_LEN_MAX)
			return -ENAMETOOLONG;
		header.count++;
		header.size += sizeof(struct entry_header) + path_len + entry->bytes.len;
	}
	if (header.count > ENTRIES_MAX || header.size > IMAGE_MAX)
		return -EFBIG;

	int r = write_all(fd, &header, sizeof header);
	for (size_t i = 0; r == 0 && i < bundle->count; i++)
		if (bundle->entries[i].readers & reader)
			r = write_entry(fd, &bundle->entries[i]);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, SEALS_NEEDED | F_SEAL_SEAL) < 0)
		return -errno;
	return base_take(&fd);
}

int bundle_put_keys_away(struct bundle *bundle)
{
	int fd = bundle_seal(bundle, BUNDLE_KEYS);

	if (fd < 0)
		return fd;
	base_close(&bundle->keys_fd);
	bundle->keys_fd = fd;
	for (size_t i = 0; i < bundle->count; i++) {
		struct entry *entry = &bundle->entries[i];

		if ((entry->readers & BUNDLE_ALL) != BUNDLE_KEYS || entry->copy == NULL)
			continue;
		explicit_bzero(entry->copy, entry->bytes.len);
		entry->bytes.len = 0;
	}
	return 0;
}

/* Take the first entry of `rest` into the bundle; false when it does not fit. */
static bool open_entry(struct bundle *bundle, struct text *rest)
{
	struct entry_header header;

	if (rest->len < sizeof header)
		return false;
	memcpy(&header, rest->at, sizeof header);
	*rest = text_from(*rest, sizeof header);

	if (header.reserved != 0 || header.path_len == 0 || header.path_len > PATH_LEN_MAX ||
		header.path_len > rest->len || header.bytes_len > rest->len - header.path_len)
		return false;

	struct text path = text_first(*rest, header.path_len);
	struct text bytes = text_first(text_from(*rest, header.path_len), header.bytes_len);
	if (memchr(path.at, '\0', path.len) != NULL)
		return false;

	append(bundle, path, BUNDLE_ALL)->bytes = bytes;
	*rest = text_from(*rest, header.path_len + header.bytes_len);
	return true;
}

static bool open_image(struct bundle *bundle, struct text image)
{
	struct header header;

	if (image.len < sizeof header)
		return false;
	memcpy(&header, image.at, sizeof header);
	if (memcmp(header.magic, magic, sizeof magic) != 0 || header.version != VERSION ||
		header.size != image.len || header.count > ENTRIES_MAX)
		return false;

	struct text rest = text_from(image, sizeof header);
	for (uint32_t i = 0; i < header.count; i++)
		if (!open_entry(bundle, &rest))
			return false;

	bundle->generation = header.generation;
	return rest.len == 0;
}

struct bundle *bundle_open(const void *owner, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED || fstat(fd, &st) < 0 || st.st_size <= 0 ||
		st.st_size > IMAGE_MAX)
		return NULL;

	size_t size = (size_t)st.st_size;
	void *mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mapping == MAP_FAILED)
		return NULL;
	madvise(mapping, size, MADV_DONTDUMP);

	struct bundle *bundle = bundle_new(owner, 0);
	bundle->mapping = mapping;
	bundle->mapping_size = size;
	if (!open_image(bundle, (struct text){ mapping, size })) {
		talloc_free(bundle);
		return NULL;
	}
	return bundle;
}

/* Keys that were put away, under the number of another generation: a sealed memfd, or a negative errno. */
static int seal_again(const struct bundle *bundle, uint64_t generation)
{
	struct bundle *kept = bundle_open(NULL, bundle->keys_fd);

	if (kept == NULL)
		return -EINVAL;
	kept->generation = generation;
	int fd = bundle_seal(kept, BUNDLE_KEYS);
	talloc_free(kept);
	return fd;
}

struct bundle *bundle_renew(
	const void *owner, uint64_t generation, const struct bundle *bundle, unsigned parts)
{
	struct bundle *renewed = bundle_new(owner, generation);

	for (size_t i = 0; i < bundle->count; i++) {
		const struct entry *entry = &bundle->entries[i];
		const unsigned of = entry->readers & BUNDLE_PARTS;

		if (of == 0 || (of & ~parts) != 0)
			bundle_add(renewed, entry->path, entry->bytes, entry->readers);
	}
	if (bundle->keys_fd < 0 || (parts & BUNDLE_CERTIFICATES) != 0)
		return renewed;
	renewed->keys_fd = seal_again(bundle, generation);
	if (renewed->keys_fd >= 0)
		return renewed;
	talloc_free(renewed);
	return NULL;
}

unsigned bundle_parts_with(const struct bundle *bundle, unsigned parts)
{
	unsigned before;

	do {
		before = parts;
		for (size_t i = 0; i < bundle->count; i++)
			if ((bundle->entries[i].readers & parts) != 0)
				parts |= bundle->entries[i].readers & BUNDLE_PARTS;
	} while (parts != before);
	return parts;
}

/* Whether all entries of `parts` in one are in the other, too; what was put away is compared apart. */
static bool is_within(const struct bundle *bundle, const struct bundle *other, unsigned parts)
{
	for (size_t i = 0; i < bundle->count; i++) {
		const struct entry *entry = &bundle->entries[i], *twin = find(other, entry->path);

		if ((entry->readers & parts) != 0 && (twin == NULL || twin->readers != entry->readers ||
							     !text_equal(twin->bytes, entry->bytes)))
			return false;
	}
	return true;
}

static bool has_same_keys(const struct bundle *bundle, const struct bundle *other)
{
	void *scratch = talloc_new(NULL);
	const struct bundle *keys = bundle_open(scratch, bundle->keys_fd),
			    *other_keys = bundle_open(scratch, other->keys_fd);
	const bool same = keys != NULL && other_keys != NULL && keys->count == other_keys->count &&
			  is_within(keys, other_keys, ~0u);

	talloc_free(scratch);
	return same;
}

bool bundle_is_same(const struct bundle *bundle, const struct bundle *other, unsigned parts)
{
	return is_within(bundle, other, parts) && is_within(other, bundle, parts) &&
	       ((bundle->keys_fd < 0 && other->keys_fd < 0) || has_same_keys(bundle, other));
}
