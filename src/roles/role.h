#pragma once
/* What every role process shares: its life under master. A role is one loop over role_next(); its work is done by its threads. */

#include <stdint.h>

#include "base/log.h"
#include "ipc/frame.h"

struct bundle;
struct config;
struct metrics;

enum { ROLE_CONTROL_FD = 3, ROLE_DRAIN_MS = 30000 };

struct role {
	const char *name;
	int control_fd;
	uint64_t incarnation; /* start counter and spawn number: unique for ever in this state directory */
	int64_t asked;	      /* number of master's last ask */
	unsigned
		parts; /* what alone was read anew for the prepared generation, of BUNDLE_PARTS; 0 = everything */
	uint64_t generation, prepared; /* of the configuration: in use, and prepared */
	int log_fd,
		prepared_log_fd; /* where events go: -1 = standard error; and of the prepared generation, -1 = none */
	enum log_kind log_kind; /* of the prepared generation, as what follows */
	enum log_level log_level;
	enum log_format log_format;
	int drain_fd; /* readable once the role shall finish what it does and take nothing new */
	int stop_fd;  /* readable once everything shall end */
};

enum role_event_kind {
	ROLE_PREPARE, /* config, bundle, extra_fds are set; answer role_ready() or role_refuse() */
	ROLE_USE,     /* what was prepared is in force now */
	ROLE_DROP,    /* forget what was prepared */
	ROLE_PEER, /* `peer` and `fd`: a control socket (or for "cli" one channel, and the user id follows in `frame`) to another role */
	ROLE_STATS, /* answer with role_stats() */
	ROLE_STOP,  /* drain and end */
	ROLE_GONE,  /* master is gone: end now */
};

struct role_event {
	enum role_event_kind kind;
	const struct config *config; /* one reference is given */
	struct bundle *bundle;	     /* owned by the event's frame */
	struct frame *frame;	     /* the extra descriptors: take them with frame_get_fd() */
	size_t extra_fds;
	char *peer;
	int fd;
};

/* Wait for the next word from master; what the event points to is owned by `owner`. A generation that does not parse is refused here. */
struct role_event role_next(struct role *role, const void *owner);

/* What the log's descriptor is that master opens for this configuration. */
enum log_kind role_log_kind(const struct config *config);

/* Answers to ROLE_PREPARE and ROLE_STATS. */
void role_ready(struct role *role);
void role_refuse(struct role *role, const char *why);
void role_stats(struct role *role, const struct metrics *metrics);

/* Make drain_fd (or stop_fd) readable for ever. */
void role_signal(int fd);

/* The process that master started for role `name` as user `uid` and group `gid` (-1 = as it is): never returns to main's other work. The
 * exit status. */
int role_main(const char *name, const char *uid, const char *gid, const char *incarnation);

/* One file per role. */
int role_front(struct role *role);
int role_queue(struct role *role);
int role_deliver(struct role *role);
int role_admin(struct role *role);
int role_resolver(struct role *role);
int role_keys(struct role *role);
int role_upkeep(struct role *role);
