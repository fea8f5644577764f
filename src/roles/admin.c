/*
 * Role `admin`: for now the page /metrics only. It runs while `metrics.address` is set; master hands it the listening socket and a
 * connection on which it may ask for the status, and nothing else. It has no files, no keys and no mail.
 */
#include <stdlib.h>

#include <talloc.h>

#include "admin/server.h"
#include "admin/status.h"
#include "base/base.h"
#include "config/config.h"
#include "report/metrics.h"
#include "roles/role.h"

enum { END_MS = 2000 };

struct admin {
	struct role *role;
	struct status *status;
	struct server *server;
	int next_fd; /* socket of the prepared generation */
	struct metrics metrics;
};

static void prepare(struct admin *admin, struct role_event *event)
{
	config_release(event->config);
	base_close(&admin->next_fd);
	admin->next_fd = frame_get_fd(event->frame);
	if (admin->next_fd >= 0)
		role_ready(admin->role);
	else
		role_refuse(admin->role, "master sent no socket for metrics.address");
}

/* The server goes on when the address stays; else the new one starts before the old one ends. */
static void use(struct admin *admin)
{
	struct server *old = admin->server;

	if (admin->next_fd < 0)
		return;
	if (server_has(old, admin->next_fd)) {
		base_close(&admin->next_fd);
		return;
	}
	admin->server = server_start(base_take(&admin->next_fd), admin->status);
	if (admin->server == NULL)
		abort();
	server_end(old, END_MS);
}

static void end(struct admin *admin)
{
	base_close(&admin->next_fd);
	/* If its thread hangs, the process ends with it. */
	if (server_end(admin->server, END_MS))
		talloc_free(admin);
}

int role_admin(struct role *role)
{
	struct admin *admin = text_must(talloc_zero(NULL, struct admin));

	admin->role = role;
	admin->next_fd = -1;
	admin->status = status_new(admin);
	for (;;) {
		void *scratch = talloc_new(NULL);
		struct role_event event = role_next(role, scratch);

		switch (event.kind) {
		case ROLE_PREPARE:
			prepare(admin, &event);
			break;
		case ROLE_USE:
			use(admin);
			break;
		case ROLE_DROP:
			base_close(&admin->next_fd);
			break;
		case ROLE_PEER:
			status_connect(admin->status, event.fd);
			break;
		case ROLE_STATS:
			role_stats(role, &admin->metrics);
			break;
		case ROLE_STOP:
		case ROLE_GONE:
			end(admin);
			talloc_free(scratch);
			return EXIT_SUCCESS;
		}
		talloc_free(scratch);
	}
}
