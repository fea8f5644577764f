#include "pki/crl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/io.h"
#include "config/crl_sources.h"
#include "pki/crl_list.h"

enum { NOTE_MAX = 16 * 1024, FILE_NAME_MAX = 80, FAILURES_MAX = 1000000 };

static int open_below(int above)
{
	int fd = openat(above, "crl", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int crl_file_make(int upkeep_fd)
{
	if (mkdirat(upkeep_fd, "crl", 0700) < 0 && errno != EEXIST)
		return -errno;
	return open_below(upkeep_fd);
}

int crl_file_open(const char *state_dir)
{
	char *path = text_must(talloc_asprintf(NULL, "%s/upkeep", state_dir));
	CLEANUP(base_close) int above = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	talloc_free(path);
	return above < 0 ? -errno : open_below(above);
}

/* All of a small enough regular file. */
static int read_file(const void *owner, int directory_fd, const char *name, const char *suffix, size_t most,
	struct text *ret)
{
	char file[FILE_NAME_MAX];
	struct stat status;
	size_t len = 0;
	ssize_t n = 1;

	snprintf(file, sizeof file, "%s%s", name, suffix);
	CLEANUP(base_close)
	int fd = openat(directory_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if ((uint64_t)status.st_size > most)
		return -EFBIG;
	const size_t size = (size_t)status.st_size;
	char *bytes = text_must(talloc_array(owner, char, (unsigned)size + 1));
	while (n > 0 && len < size) {
		n = read(fd, bytes + len, size - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0) {
		talloc_free(bytes);
		return -errno;
	}
	bytes[len] = '\0';
	*ret = (struct text){ bytes, len };
	return 0;
}

static int write_file(int directory_fd, const char *name, const char *suffix, struct text bytes)
{
	char file[FILE_NAME_MAX];

	snprintf(file, sizeof file, "%s%s", name, suffix);
	return io_replace_file(directory_fd, file, bytes);
}

int crl_file_read(const void *owner, int directory_fd, const char *name, struct text *ret_list)
{
	return read_file(owner, directory_fd, name, ".crl", CRL_LIST_MAX, ret_list);
}

int crl_file_write(int directory_fd, const char *name, struct text list)
{
	return write_file(directory_fd, name, ".crl", list);
}

static int64_t number_of(const json_t *json, const char *key, int64_t most)
{
	const int64_t number = json_integer_value(json_object_get(json, key));

	return MIN(MAX(number, (int64_t)0), most);
}

static void words_of(const json_t *json, const char *key, char *ret_text, size_t size)
{
	const char *words = json_string_value(json_object_get(json, key));

	snprintf(ret_text, size, "%s", words == NULL ? "" : words);
	for (char *c = ret_text; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

void crl_file_read_note(int directory_fd, const char *name, struct crl_note *ret_note)
{
	void *scratch = talloc_new(NULL);
	struct text text = TEXT("");
	json_t *json = read_file(scratch, directory_fd, name, ".json", NOTE_MAX, &text) < 0
			       ? NULL
			       : json_loadb(text.at, text.len, 0, NULL);

	*ret_note = (struct crl_note){ .fetched_ms = number_of(json, "fetched_ms", INT64_MAX),
		.failed_ms = number_of(json, "failed_ms", INT64_MAX),
		.failures = (unsigned)number_of(json, "failures", FAILURES_MAX) };
	words_of(json, "from", ret_note->from, sizeof ret_note->from);
	words_of(json, "tried", ret_note->tried, sizeof ret_note->tried);
	words_of(json, "why", ret_note->why, sizeof ret_note->why);
	json_decref(json);
	talloc_free(scratch);
}

int crl_file_write_note(int directory_fd, const char *name, const struct crl_note *note)
{
	json_t *json = text_must(json_pack("{s:I, s:I, s:I, s:s, s:s, s:s}", "fetched_ms",
		(json_int_t)note->fetched_ms, "failed_ms", (json_int_t)note->failed_ms, "failures",
		(json_int_t)note->failures, "from", note->from, "why", note->why, "tried", note->tried));
	char *text = text_must(json_dumps(json, JSON_COMPACT));
	int r = write_file(directory_fd, name, ".json", text_of(text));

	free(text);
	json_decref(json);
	return r;
}
