#pragma once
/* Listening sockets, as master makes them. */

#include "base/ip.h"

/* Bind and listen (backlog 1024) on `address`; the descriptor, or a negative errno. */
int socket_listen(const struct ip *address);

/* The address a socket is bound to, with the port the kernel chose. */
struct ip socket_address(int fd);

/* Bind a SOCK_SEQPACKET listener at DIRECTORY/NAME with mode 0660, through the directory's descriptor so that long paths fit.
 * A stale socket is replaced. The descriptor, or a negative errno. */
int socket_listen_local(int directory_fd, const char *name);

/* Connect to such a socket; the descriptor, or a negative errno. */
int socket_dial_local(int directory_fd, const char *name);
