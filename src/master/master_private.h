#pragma once
/* What the files of master share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "base/ip.h"
#include "master/child.h"

struct bundle;
struct config;
struct config_listener;
struct frame;
struct metrics;
struct problems;

enum { MASTER_LISTENERS_MAX = 100 };

/* A reader of bundles that no entry names: it sees what all may see, the configuration file. */
enum { MASTER_READS_ALL_ONLY = 1 << 7 };

enum {
	CHILD_QUEUE,
	CHILD_RESOLVER,
	CHILD_KEYS,
	CHILD_FRONT,
	CHILD_DELIVER,
	CHILD_UPKEEP,
	CHILD_ADMIN,
	CHILD_COUNT
};

/* A part of the generation in use whose files on the disk were refused. */
struct refusal {
	int64_t since_ms; /* wall clock, the first time; 0 = they are in use */
	char *reason;	  /* the last one; owned by master */
};

enum { MASTER_PARTS = 4 };

/* A listening socket, kept over reloads while a listener of the same name wants the same address. */
struct bound {
	char *name; /* empty: metrics.address */
	struct ip wanted;
	int fd;
};

struct master {
	const char *file;
	char *program; /* path for re-execution */
	const struct config *config;
	struct bundle *bundle;
	uint64_t generation;
	uint64_t start, spawned; /* start counter; roles started since */
	int state_fd, runtime_fd, lock_fd, control_fd, signal_fd;
	int anchors_fd; /* directory of role `resolver` */
	int fetched_fd; /* directory of role `upkeep` */
	int admin_fd;	/* role `admin` asks for the status on it */
	int upkeep_fd;	/* role `upkeep` says on it what it has fetched */
	int log_fd;	/* every role gets a copy; a reload opens it anew */
	uint64_t reloads_refused, refreshes_refused;
	struct refusal refusals[MASTER_PARTS]; /* refresh.c */
	struct watch *watch;		       /* watch.c; NULL = none */
	unsigned changed;		       /* parts to be read anew, of BUNDLE_PARTS */
	int64_t refreshed_at;		       /* monotonic: the last time */
	struct told *told;		       /* certificates.c: of which certificates an end was told */
	size_t told_count;
	uint64_t told_generation;
	int64_t told_until; /* monotonic: the next look */
	int64_t looked;	    /* monotonic: silent.c, the last look */
	bool stopping;
	bool changes_user;
	struct {
		uid_t uid;
		gid_t gid;
	} users[CHILD_COUNT];
	struct child children[CHILD_COUNT];
	struct bound *bound;
	size_t bound_count;
};

/* master.c: what the generation in use offers to a role; and whether a configuration needs the role CHILD_... at all. */
struct child_offer master_offer(const struct master *master);
bool master_wants(const struct config *config, size_t index);

/* logs.c: open what `log.to` names; the descriptor, or a negative error with a problem added. */
int master_open_log(const struct config *config, struct problems *problems);
/* True when the file of the log was renamed or removed since it was opened. */
bool master_log_moved(const struct master *master);
/* Log to `fd` (given) from now on. */
void master_use_log(struct master *master, int fd);

/* start.c: directories, users, the lock, the start counter. 0, or negative after saying why on stderr. */
int master_prepare_users(struct master *master);
int master_prepare_directories(struct master *master);

/* sockets.c: bind what `config` wants and is not bound yet into `ret_bound` (owned by master); unwanted ones are closed by master_keep_sockets(). 0,
 * or a negative error with a problem added. */
int master_bind(struct master *master, const struct config *config, struct problems *problems,
	struct bound **ret_bound, size_t *ret_count);
void master_keep_sockets(struct master *master, struct bound *bound, size_t count);
void master_close_sockets(const struct master *master, struct bound *bound, size_t count);

/* reload.c: log it when the generation in use trusts nobody. */
void master_warn_of_trust(const struct master *master);

/* Log it when all TLS is switched off (tls.enabled). */
void master_tell_tls_off(const struct master *master);

/* reload.c: read the file again and swap generations in two phases; every role says ready, or all keep what they have. What came of it, in
 * words and as a list, is owned by `owner`. */
bool master_reload(
	struct master *master, const void *owner, char **ret_text, const struct problems **ret_problems);

/* reload.c: a generation of the configuration in use, of whose files those of `parts` (BUNDLE_CERTIFICATES, ...) are read anew; swapped in as by a reload.
 * False when it was refused, which was logged: the generation in use stays; why is owned by `owner`, empty when it was not. Where nothing of them changed, the generation stays,
 * too, and that is fine. */
bool master_refresh(struct master *master, unsigned parts, const void *owner, char **ret_why);

/* refresh.c: read `parts` anew soon; what comes within a second is one refresh. */
void master_changed(struct master *master, unsigned parts);
/* Do what is due of it; milliseconds until the rest is, or -1. */
int master_refresh_due(struct master *master);
/* The same at once, what `upkeep` has said until now included: true when every role uses them; else why not, owned by `owner`. */
bool master_refresh_now(struct master *master, unsigned parts, const void *owner, char **ret_why);
/* The words of `parts`, owned by `owner`. */
const char *master_parts_text(const void *owner, unsigned parts);
/* The files of `parts` were refused, or (NULL) are in use. */
void master_note_refusal(struct master *master, unsigned parts, const char *reason);
/* For the status: what of the disk is refused, since when and why. */
json_t *master_refusals_json(const struct master *master);
/* Serve a word of role `upkeep`. */
void master_serve_upkeep(struct master *master);

/* watch.c: follow the files of certificates, keys and authorities that the generation in use names, unless it says `watch_certificates: false`: begin anew for another
 * generation, and have them read when a change of them has settled. Milliseconds until the next call, or -1. */
int master_watch_due(struct master *master);
/* What to poll for it, -1 = nothing; and serve it when it is readable. */
int master_watch_fd(const struct master *master);
void master_serve_watch(struct master *master);

/* certificates.c: tell in the log what certificates have passed a step towards their end; milliseconds until the next look. And which listeners present the
 * demo certificate. */
int master_tell_expiry(struct master *master);
void master_tell_demo(const struct master *master);
/* For the status: all certificates, and those that a listener presents, the first one to whom nothing fits better. */
json_t *master_certificates_json(const struct master *master);
json_t *master_presented_json(const struct master *master, const struct config_listener *listener);
/* Authorities of the custom list, and when they end. */
json_t *master_custom_authorities_json(const struct master *master);
/* config_gather(), after the demo certificate was made where one is wanted (not before the state directory is there). Lists of revoked certificates that are in use stay
 * so, whatever became of their files. */
struct bundle *master_gather(const struct master *master, const void *owner, uint64_t generation,
	struct problems *problems, const struct config **ret_config);

/* silent.c: ask every role from time to time whether it is well, and kill one that does not answer any more; milliseconds until the next look. Before a
 * reload: every role that does not answer is a problem. */
int master_end_silent(struct master *master);
void master_find_silent(struct master *master, struct problems *problems);

/* control.c: serve one client of the control socket; and one ask of role `admin`. */
void master_serve_control(struct master *master);
void master_serve_admin(struct master *master);
