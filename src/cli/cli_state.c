/* The state directory for commands that need it before the first `run`. */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "cli/cli_private.h"

int cli_owner(const struct cli_gateway *gateway, uid_t *ret_uid, gid_t *ret_gid)
{
	char name[128];
	struct passwd *entry;

	*ret_uid = geteuid();
	*ret_gid = getegid();
	if (geteuid() != 0)
		return CLI_FINE;
	snprintf(name, sizeof name, "%s-queue", gateway->user);
	entry = getpwnam(name);
	if (entry == NULL)
		entry = getpwnam(gateway->user);
	if (entry == NULL) {
		fprintf(stderr,
			"postern: %s: user: there is no account \"%s\"; make it with\n"
			"  useradd --system --no-create-home --shell /usr/sbin/nologin %s\n",
			gateway->file, gateway->user, gateway->user);
		return CLI_FAILED;
	}
	*ret_uid = entry->pw_uid;
	*ret_gid = entry->pw_gid;
	return CLI_FINE;
}

/* Its name survives only when the directory above it is synced. */
static int make(const char *path, uid_t uid, gid_t gid)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(base_close) int parent = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return parent >= 0 && fchown(fd, uid, gid) == 0 && fsync(parent) == 0 ? 0 : -errno;
}

int cli_make_state_dir(const struct cli_gateway *gateway)
{
	uid_t uid;
	gid_t gid;
	int r;

	if (access(gateway->state_dir, F_OK) == 0)
		return CLI_FINE;
	if (cli_owner(gateway, &uid, &gid) != CLI_FINE)
		return CLI_FAILED;
	r = make(gateway->state_dir, uid, gid);
	if (r == 0)
		return CLI_FINE;
	fprintf(stderr, "postern: %s: state_dir: %s cannot be made: %s\n", gateway->file, gateway->state_dir,
		err_text(r));
	return CLI_FAILED;
}
