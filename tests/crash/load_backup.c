/* A backup under the load of the others, and a restore of it beside: each promises that it survives when it is complete. */
#include "load.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/text.h"
#include "queue/backup.h"
#include "queue/restore.h"

/* A new directory in the traced one. */
static int make(int parent, const char *name)
{
	load_must(mkdirat(parent, name, 0700) == 0, "making a directory for a backup");
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	load_must(fd >= 0, "opening the directory of a backup");
	return fd;
}

static void back_up(struct load_worker *w, const void *owner, int state, int target)
{
	struct backup_done done;
	struct backup *backup;
	const char *why = "";
	int r;

	store_hold_files(w->store);
	r = backup_start(owner, state, target, false, &backup, &why);
	for (r = r == 0 ? 1 : r; r > 0;)
		r = backup_step(backup, &done, &why);
	load_must(r == 0, why);
	load_must(done.damaged == 0, "a backup without damage");
	talloc_free(backup);
	store_release_files(w->store);
}

static void back_up_and_restore(struct load_worker *w, const void *owner)
{
	const char *name = load_token(owner, w, "backup"),
		   *restored = text_must(talloc_asprintf(owner, "restored-%s", name)), *why;
	CLEANUP(base_close) int state = open(w->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(base_close) int target = make(state, name);
	struct restore_done done;

	load_mark("backing %s", name);
	back_up(w, owner, state, target);
	load_must(fsync(state) == 0, "syncing the name of a backup");
	load_mark("backed %s", name);
	CLEANUP(base_close) int again = make(state, restored);
	load_must(fsync(state) == 0, "syncing the name of what is restored");
	load_mark("restoring %s", name);
	load_must(restore_run(owner, target, again, &done, &why) == 0, "restore_run()");
	load_mark("restored %s", name);
}

void *load_backup_run(void *argument)
{
	struct load_worker *w = argument;
	void *owner = talloc_new(NULL);

	if (load_throw(w, 2) == 0)
		back_up_and_restore(w, owner);
	talloc_free(owner);
	return NULL;
}
