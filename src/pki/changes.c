#include "pki/changes.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/io.h"
#include "config/stored.h"

enum { LINE_MAX_LEN = 4096, NAME_MAX_LEN = 300 };

/* Who logged in, whatever user that became since; null when the system does not know. */
static json_t *login(void)
{
	FILE *file = fopen("/proc/self/loginuid", "re");
	unsigned uid = UINT32_MAX;
	const int found = file == NULL ? 0 : fscanf(file, "%u", &uid);

	if (file != NULL)
		fclose(file);
	return found == 1 && uid != UINT32_MAX ? json_integer(uid) : json_null();
}

static char *line_of(const struct change *change)
{
	const struct passwd *user = getpwuid(getuid());
	char now[CLOCK_TEXT_MAX];
	json_t *json = json_pack("{s:s, s:I, s:s?, s:o, s:s, s:s?, s:s?, s:s?, s:s?}", "time",
		clock_iso(clock_wall_ms(), now), "uid", (json_int_t)getuid(), "user",
		user == NULL ? NULL : user->pw_name, "login_uid", login(), "what", change->what, "name",
		change->name == NULL || strlen(change->name) > NAME_MAX_LEN ? NULL : change->name, "before",
		change->before, "after", change->after, "failed", change->failed);
	char *text = text_must(json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII));

	json_decref(json);
	return text;
}

/* The directory of the store, made when it is missing. */
static int open_directory(const char *state_dir, int *ret_fd)
{
	CLEANUP(base_close) int state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (state < 0 || (mkdirat(state, STORED_DIRECTORY, 0700) < 0 && errno != EEXIST))
		return -errno;
	*ret_fd = openat(state, STORED_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 || fsync(state) < 0 ? -errno : 0;
}

int changes_add(const char *state_dir, const struct change *change)
{
	CLEANUP(base_close) int directory = -1;
	CLEANUP(base_close) int fd = -1;
	char line[LINE_MAX_LEN];
	char *text;
	int r = open_directory(state_dir, &directory);

	if (r < 0)
		return r;
	fd = openat(directory, CHANGES_FILE, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	text = line_of(change);
	const int len = snprintf(line, sizeof line, "%s\n", text);
	free(text);
	if (len >= (int)sizeof line)
		return -ENAMETOOLONG;
	r = io_write_all(fd, (struct text){ line, (size_t)len });
	if (r == 0 && (fsync(fd) < 0 || fsync(directory) < 0))
		r = -errno;
	return r;
}
