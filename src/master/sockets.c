/* Listening sockets belong to master: bound once, inherited by every `front`, kept over reloads and restarts. */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/config.h"
#include "config/problems.h"
#include "master/master_private.h"
#include "net/socket.h"

/* The socket that a listener of this name, or of any name, has at the same address. */
static int find(const struct master *master, const struct config_listener *listener, bool by_name)
{
	for (size_t i = 0; i < master->bound_count; i++) {
		const struct bound *bound = &master->bound[i];

		if (memcmp(&bound->wanted, &listener->address, sizeof bound->wanted) == 0 &&
			(by_name ? strcmp(bound->name, listener->name) == 0 : listener->address.port != 0))
			return bound->fd;
	}
	return -1;
}

static bool is_kept(const struct bound *bound, size_t count, int fd)
{
	for (size_t i = 0; i < count; i++)
		if (bound[i].fd == fd)
			return true;
	return false;
}

void master_close_sockets(const struct master *master, struct bound *bound, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_kept(master->bound, master->bound_count, bound[i].fd))
			base_close(&bound[i].fd);
	talloc_free(bound);
}

int master_bind(struct master *master, const struct config *config, struct problems *problems,
	struct bound **ret_bound, size_t *ret_count)
{
	struct bound *bound =
		text_must(talloc_zero_array(master, struct bound, (unsigned)config->listener_count));
	int r = 0;

	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];
		char address[IP_TEXT_MAX];

		bound[i].name = text_copy(bound, text_of(listener->name));
		bound[i].wanted = listener->address;
		bound[i].fd = find(master, listener, true);
		if (bound[i].fd < 0)
			bound[i].fd = find(master, listener, false);
		if (bound[i].fd < 0)
			bound[i].fd = socket_listen(&listener->address);
		if (bound[i].fd >= 0)
			continue;
		r = bound[i].fd;
		char *key = text_must(talloc_asprintf(bound, "listeners[%s].address", listener->name));
		problems_add(problems, config->file, listener->line, key, "%s cannot be listened on: %s; %s",
			ip_format_port(&listener->address, address), err_text(r),
			r == -EADDRINUSE
				? "end the program that uses it (ss -ltnp shows which), or choose another port"
				: "choose an address of this machine");
	}
	if (r == 0) {
		*ret_bound = bound;
		*ret_count = config->listener_count;
	} else {
		master_close_sockets(master, bound, config->listener_count);
	}
	return r;
}

void master_keep_sockets(struct master *master, struct bound *bound, size_t count)
{
	for (size_t i = 0; i < master->bound_count; i++)
		if (!is_kept(bound, count, master->bound[i].fd))
			base_close(&master->bound[i].fd);
	talloc_free(master->bound);
	master->bound = bound;
	master->bound_count = count;
}
