/*
 * Files of certificates, keys and authorities that change while the gateway runs. inotify tells of names in directories; so a path is walked as the kernel
 * walks it, and watched are: the name of the file in its directory, each symbolic link on the way in its own, and that no directory on the way is moved.
 * What is not there is waited for where it would be. The files themselves are read by a refresh, which compares: here an event too many costs little.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/stored.h"
#include "config/trust_files.h"
#include "master/master_private.h"

enum { WATCHED = BUNDLE_CERTIFICATES | BUNDLE_AUTHORITIES };
enum { SETTLED_MS = 1000, LONGEST_MS = 10000, LINKS_MAX = 40, NAMES_MAX = 20000 };

enum {
	NAMES = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB,
	ITSELF = IN_MOVE_SELF | IN_DELETE_SELF,
	ALWAYS = IN_MOVE_SELF | IN_DELETE_SELF | IN_UNMOUNT | IN_Q_OVERFLOW
};

/* A name in a directory; NULL = each. */
struct watched {
	int directory;
	unsigned part; /* what is to be read anew */
	const char *name;
};

struct watch {
	int fd;
	uint64_t generation; /* whose files these are */
	struct watched *names;
	size_t count;
	unsigned part;	     /* of what add_path() adds */
	unsigned changed;    /* parts that nobody has read yet */
	int64_t first, last; /* monotonic: when they changed; 0 = none */
};

static int watch_destroy(struct watch *watch)
{
	base_close(&watch->fd);
	return 0;
}

/* A descriptor of the directory for the watch, or -1 after saying why; `name` NULL with `mask` ITSELF: only whether it is moved. */
static void add(struct watch *watch, const char *directory, uint32_t mask, const char *name)
{
	const int wd = inotify_add_watch(watch->fd, directory, mask | IN_MASK_ADD | IN_ONLYDIR);

	if (wd < 0 && errno != ENOENT && errno != ENOTDIR && mask != ITSELF)
		log_event(LOG_WARN, "watch_failed", log_str("directory", directory),
			log_str("error", err_text(-errno)));
	if (wd < 0 || mask == ITSELF || watch->count == NAMES_MAX)
		return;
	if ((watch->count & (watch->count - 1)) == 0)
		watch->names = text_must(talloc_realloc(
			watch, watch->names, struct watched, (unsigned)MAX(watch->count * 2, 1)));
	watch->names[watch->count++] =
		(struct watched){ wd, watch->part, name == NULL ? NULL : text_copy(watch, text_of(name)) };
}

/* Where a walk is: a directory without symbolic links on the way, and what is still to be walked. */
struct walk {
	char *at, *rest; /* owned by the walk */
	int links;
};

/* The next name of the rest, owned by `walk`; empty at its end. */
static const char *next_name(struct walk *walk)
{
	const char *from = walk->rest + strspn(walk->rest, "/");
	const size_t len = strcspn(from, "/");
	const char *name = text_copy(walk, (struct text){ from, len });

	walk->rest += (from - walk->rest) + (ptrdiff_t)len;
	return name;
}

/* Follow the link `path`, which stands in the directory where the walk is; false when that leads nowhere. */
static bool follow(struct walk *walk, const char *path)
{
	char target[PATH_MAX];
	const ssize_t len = readlink(path, target, sizeof target - 1);

	if (len <= 0 || ++walk->links > LINKS_MAX)
		return false;
	target[len] = '\0';
	walk->rest = text_must(talloc_asprintf(walk, "%s/%s", target, walk->rest));
	if (target[0] == '/')
		walk->at = text_copy(walk, TEXT("/"));
	return true;
}

/* One name further; false at the end. */
static bool step(struct watch *watch, struct walk *walk, bool contents)
{
	const char *name = next_name(walk);
	struct stat status;

	if (name[0] == '\0')
		return false;
	add(watch, walk->at, ITSELF, NULL);
	char *path =
		text_must(talloc_asprintf(walk, "%s/%s", strcmp(walk->at, "/") == 0 ? "" : walk->at, name));
	const bool there = lstat(path, &status) == 0, link = there && S_ISLNK(status.st_mode),
		   last = walk->rest[strspn(walk->rest, "/")] == '\0';
	if (!there || link || last)
		add(watch, walk->at, NAMES, name);
	if (link)
		return follow(walk, path);
	if (last && contents)
		add(watch, path, NAMES | ITSELF, NULL);
	walk->at = path;
	return there && !last;
}

/* Watch a file; with `contents` a directory and every name in it. */
static void add_path(struct watch *watch, const char *path, bool contents)
{
	struct walk *walk = text_must(talloc_zero(NULL, struct walk));

	walk->at = text_copy(walk, path != NULL && path[0] == '/' ? TEXT("/") : TEXT("."));
	walk->rest = text_copy(walk, text_of(path));
	while (step(watch, walk, contents))
		;
	talloc_free(walk);
}

static void add_all(struct watch *watch, const struct config *config)
{
	static const char *const lists[] = { "system-off", "custom-off" };
	char *active =
		text_must(talloc_asprintf(NULL, "%s/" STORED_DIRECTORY "/" STORED_ACTIVE, config->state_dir));

	watch->part = BUNDLE_CERTIFICATES;
	for (size_t i = 0; i < config->certificate_count; i++) {
		add_path(watch, config->certificates[i].chain, false);
		add_path(watch, config->certificates[i].key, false);
	}
	add_path(watch, active, false);
	watch->part = BUNDLE_AUTHORITIES;
	for (size_t i = 0; i < COUNT(lists); i++)
		add_path(watch, trust_files_path(active, config->state_dir, lists[i]), false);
	add_path(watch, trust_files_path(active, config->state_dir, "custom"), true);
	add_path(watch, config->authorities.custom, false);
	for (size_t i = 0; i < config->destination_count; i++)
		if (config->destinations[i].authorities.custom != NULL)
			add_path(watch, config->destinations[i].authorities.custom, false);
	if (trust_files_names_system(config))
		add_path(watch, CONFIG_SYSTEM_AUTHORITIES, false);
	talloc_free(active);
}

/* Watch what the generation in use names; the watch of before ends only then, so that nothing is missed. */
static void begin(struct master *master)
{
	struct watch *watch = text_must(talloc_zero(master, struct watch));

	watch->generation = master->generation;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	talloc_set_destructor(watch, watch_destroy);
	if (watch->fd < 0)
		log_event(LOG_WARN, "watch_failed", log_str("directory", ""),
			log_str("error", err_text(-errno)));
	else
		add_all(watch, master->config);
	talloc_free(master->watch);
	master->watch = watch;
}

/* Something may have changed. */
static void note(struct watch *watch, unsigned parts)
{
	if (parts == 0)
		return;
	watch->changed |= parts;
	watch->last = clock_mono_ms();
	watch->first = watch->first == 0 ? watch->last : watch->first;
}

/* The parts that an event is about. */
static unsigned concerns(const struct watch *watch, const struct inotify_event *event)
{
	unsigned parts = (event->mask & ALWAYS) != 0 ? WATCHED : 0;

	for (size_t i = 0; i < watch->count; i++)
		if (watch->names[i].directory == event->wd &&
			(watch->names[i].name == NULL ||
				(event->len > 0 && strcmp(watch->names[i].name, event->name) == 0)))
			parts |= watch->names[i].part;
	return parts;
}

void master_serve_watch(struct master *master)
{
	_Alignas(struct inotify_event) char buffer[8192];
	struct watch *watch = master->watch;
	ssize_t len;

	while ((len = read(watch->fd, buffer, sizeof buffer)) > 0) {
		const struct inotify_event *event;

		for (const char *at = buffer; at < buffer + len; at += sizeof *event + event->len) {
			event = (const struct inotify_event *)at;
			note(watch, concerns(watch, event));
		}
	}
}

int master_watch_fd(const struct master *master)
{
	return master->watch == NULL ? -1 : master->watch->fd;
}

int master_watch_due(struct master *master)
{
	const struct watch *watch = master->watch;

	if (!master->config->watch_certificates) {
		TALLOC_FREE(master->watch);
		return -1;
	}
	if (watch == NULL || watch->generation != master->generation) {
		begin(master);
		note(master->watch, WATCHED); /* what changed between the reading of the files and this */
		return SETTLED_MS;
	}
	if (watch->first == 0)
		return -1;
	const int64_t due = MIN(watch->last + SETTLED_MS, watch->first + LONGEST_MS), now = clock_mono_ms();
	if (now < due)
		return (int)(due - now);
	master_changed(master, watch->changed);
	begin(master); /* links may lead elsewhere now */
	return -1;
}
