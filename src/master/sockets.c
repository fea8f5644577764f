/* Listening sockets belong to master: bound once, inherited by every `front` (the page of metrics.address by `admin`), kept over reloads and
 * restarts. */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/config.h"
#include "config/problems.h"
#include "master/master_private.h"
#include "net/socket.h"

/* The socket that a listener of this name, or of any name, has at the same address. */
static int find(const struct master *master, const struct bound *wanted, bool by_name)
{
	for (size_t i = 0; i < master->bound_count; i++) {
		const struct bound *bound = &master->bound[i];

		if (memcmp(&bound->wanted, &wanted->wanted, sizeof bound->wanted) == 0 &&
			(by_name ? strcmp(bound->name, wanted->name) == 0 : wanted->wanted.port != 0))
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

/* Take the socket from before, or bind one; `key` is where the configuration wants it. */
static int bind_one(const struct master *master, struct bound *bound, const struct config *config,
	unsigned line, const char *key, struct problems *problems)
{
	char address[IP_TEXT_MAX];

	bound->fd = find(master, bound, true);
	if (bound->fd < 0)
		bound->fd = find(master, bound, false);
	if (bound->fd < 0)
		bound->fd = socket_listen(&bound->wanted);
	if (bound->fd < 0)
		problems_add(problems, config->file, line, key, "%s cannot be listened on: %s; %s",
			ip_format_port(&bound->wanted, address), err_text(bound->fd),
			bound->fd == -EADDRINUSE
				? "end the program that uses it (ss -ltnp shows which), or choose another port"
				: "choose an address of this machine");
	return MIN(bound->fd, 0);
}

int master_bind(struct master *master, const struct config *config, struct problems *problems,
	struct bound **ret_bound, size_t *ret_count)
{
	size_t count = config->listener_count + (config->metrics.address.family != 0 ? 1 : 0);
	struct bound *bound = text_must(talloc_zero_array(master, struct bound, (unsigned)count));
	int r = 0;

	for (size_t i = 0; i < count; i++) {
		bool is_page = i == config->listener_count;
		const struct config_listener *listener = is_page ? NULL : &config->listeners[i];
		char *key =
			is_page ? text_copy(bound, TEXT("metrics.address"))
				: text_must(talloc_asprintf(bound, "listeners[%s].address", listener->name));

		bound[i].name = text_copy(bound, text_of(is_page ? "" : listener->name));
		bound[i].wanted = is_page ? config->metrics.address : listener->address;
		int failed = bind_one(master, &bound[i], config,
			is_page ? config->metrics.line : listener->line, key, problems);
		r = failed < 0 ? failed : r;
	}
	if (r == 0) {
		*ret_bound = bound;
		*ret_count = count;
	} else {
		master_close_sockets(master, bound, count);
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
