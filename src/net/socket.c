/* Sockets that are made before anybody speaks: master binds them, roles inherit them. */
#include "net/socket.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/base.h"

int socket_listen(const struct ip *address)
{
	struct sockaddr_storage at;
	socklen_t len = ip_to_sockaddr(address, &at);
	CLEANUP(base_close) int fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
		bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 1024) < 0)
		return -errno;
	return base_take(&fd);
}

struct ip socket_address(int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof at;

	if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		at.ss_family = 0;
	return ip_from_sockaddr(&at);
}

/* A path of /proc/self/fd fits sun_path whatever the directory is called. */
static struct sockaddr_un local_address(int directory_fd, const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/%.60s", directory_fd, name);
	return at;
}

int socket_listen_local(int directory_fd, const char *name)
{
	struct sockaddr_un at = local_address(directory_fd, name);
	CLEANUP(base_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	unlinkat(directory_fd, name, 0);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || fchmodat(directory_fd, name, 0660, 0) < 0 ||
		listen(fd, 16) < 0)
		return -errno;
	return base_take(&fd);
}

int socket_dial_local(int directory_fd, const char *name)
{
	struct sockaddr_un at = local_address(directory_fd, name);
	CLEANUP(base_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
		return -errno;
	return base_take(&fd);
}
