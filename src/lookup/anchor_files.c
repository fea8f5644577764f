/* libunbound writes a new file and renames it over the old one whenever a zone announces, confirms or revokes a key. */
#include "lookup/anchor_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/text.h"
#include "config/trust_anchors.h"

enum { DIGITS = 16 };

/* The records of the zone of anchor `first`, one a line. */
static char *records_of(const void *owner, const struct trust_anchors *anchors, size_t first)
{
	char *records = text_must(talloc_strdup(owner, ""));

	for (size_t i = first; i < anchors->count; i++)
		if (strcmp(anchors->list[i].zone, anchors->list[first].zone) == 0)
			records = text_must(
				talloc_asprintf_append_buffer(records, "%s\n", anchors->list[i].record));
	return records;
}

static bool is_first_of_zone(const struct trust_anchors *anchors, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcmp(anchors->list[i].zone, anchors->list[at].zone) == 0)
			return false;
	return true;
}

/* A name is a host name, or nearly: what RFC 2317 puts into names may not stand in a file's. */
static char *name_of(const void *owner, const char *zone, const char *records)
{
	struct digest digest = digest_of(text_of(records));
	char hex[DIGEST_HEX_MAX];
	char *name = text_must(talloc_asprintf(
		owner, "anchor.%s.%.*s", zone[0] == '\0' ? "root" : zone, DIGITS, digest_hex(&digest, hex)));

	for (char *c = name; *c != '\0'; c++)
		if (*c == '/')
			*c = '_';
	return name;
}

static int make(const char *name, const char *records)
{
	static const char unfinished[] = "anchor.new";
	CLEANUP(base_close) int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(base_close)
	int fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (directory < 0 || fd < 0)
		return -errno;
	int r = io_write_all(fd, text_of(records));
	if (r < 0)
		return r;
	if (fsync(fd) < 0 || rename(unfinished, name) < 0 || fsync(directory) < 0)
		return -errno;
	return 0;
}

int anchor_files_make(
	const void *owner, const struct trust_anchors *anchors, bool fresh, struct anchor_files **ret_files)
{
	struct anchor_files *files = text_must(talloc_zero(owner, struct anchor_files));
	int r = 0;

	files->names = text_must(talloc_array(files, const char *, (unsigned)MAX(anchors->count, 1u)));
	for (size_t i = 0; i < anchors->count && r == 0; i++) {
		if (!is_first_of_zone(anchors, i))
			continue;
		char *records = records_of(files, anchors, i);
		char *name = name_of(files, anchors->list[i].zone, records);
		if (fresh || access(name, F_OK) < 0)
			r = make(name, records);
		files->names[files->count++] = name;
	}
	if (r == 0)
		*ret_files = files;
	else
		talloc_free(files);
	return r;
}
