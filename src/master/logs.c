/*
 * Where events go. Master opens it and every role inherits it with the generation: a role may have no files, and none of them needs to find
 * the file again after it was rotated. Writing is base/log.c's.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "config/problems.h"
#include "master/master_private.h"
#include "roles/role.h"

#define SYSLOG_SOCKET  "/dev/log"
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Only a regular file is appended to: opening a FIFO or a terminal could wait for ever. */
static int open_file(const char *path)
{
	CLEANUP(base_close)
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	return S_ISREG(status.st_mode) ? base_take(&fd) : -EINVAL;
}

static int open_socket(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	CLEANUP(base_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
		return -errno;
	return base_take(&fd);
}

int master_open_log(const struct config *config, struct problems *problems)
{
	const char *place = "standard error", *cure = "";
	int fd = -EINVAL;

	switch (config->log.to) {
	case CONFIG_LOG_STDERR:
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
		fd = fd < 0 ? open("/dev/null", O_WRONLY | O_CLOEXEC) : fd;
		break;
	case CONFIG_LOG_FILE:
		place = config->log.file;
		cure = CONFIG_LOG_FILE_CURE;
		fd = open_file(place);
		break;
	case CONFIG_LOG_SYSLOG:
		place = SYSLOG_SOCKET;
		cure = "; start the syslog daemon, or log to a file or stderr";
		fd = open_socket(place);
		break;
	case CONFIG_LOG_JOURNAL:
		place = JOURNAL_SOCKET;
		cure = "; this machine has no running systemd-journald: log to syslog, a file or stderr";
		fd = open_socket(place);
		break;
	}
	if (fd < 0)
		problems_add(problems, config->file, config->log.line, "log.to", "%s cannot be opened: %s%s",
			place, err_text(fd), cure);
	return fd;
}

bool master_log_moved(const struct master *master)
{
	struct stat open_one, named;

	if (master->config->log.to != CONFIG_LOG_FILE || fstat(master->log_fd, &open_one) < 0)
		return false;
	return stat(master->config->log.file, &named) < 0 || named.st_ino != open_one.st_ino ||
	       named.st_dev != open_one.st_dev;
}

void master_use_log(struct master *master, int fd)
{
	const struct config *config = master->config;

	log_open_as(role_log_kind(config), fd, "master", config->log.level, config->log.format);
	base_close(&master->log_fd);
	master->log_fd = fd;
}
