/*
 * `backup DIR` and `restore DIR`. The command line copies: it may write where the operator says, which role `queue` may not. A running gateway
 * keeps content files meanwhile; without one, its lock is held so that none starts.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/cli_private.h"
#include "config/stored.h"
#include "queue/backup.h"
#include "queue/queue_backup.h"
#include "queue/restore.h"

enum { ASK_MS = 5000 };

static int complain(int status, const char *path, const char *what)
{
	fprintf(stderr, "postern: %s: %s\n", path, what);
	return status;
}

/* True when nothing is in it but perhaps a lock, and the store of certificates, which no backup holds. */
static bool is_empty(int fd)
{
	DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	bool empty = directory != NULL;

	for (struct dirent *entry; empty && (entry = readdir(directory)) != NULL;)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			strcmp(entry->d_name, "lock") == 0 || strcmp(entry->d_name, STORED_DIRECTORY) == 0;
	if (directory != NULL)
		closedir(directory);
	return empty;
}

/* The name of a directory that was made survives only when the directory above it is synced. */
static int sync_parent(int fd)
{
	CLEANUP(base_close) int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return parent >= 0 && fsync(parent) == 0 ? 0 : -errno;
}

/* An empty directory, made when it is missing; its descriptor, or -1 after saying why not. */
static int open_empty(const char *path, const char *cure, bool *ret_made)
{
	const bool made = *ret_made = mkdir(path, 0700) == 0;
	int r = made || errno == EEXIST ? 0 : -errno;
	CLEANUP(base_close) int fd = r < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (r == 0 && fd < 0)
		r = -errno;
	if (r == 0 && made)
		r = sync_parent(fd);
	if (r < 0)
		complain(0, path, err_text(r));
	else if (!is_empty(fd))
		complain(0, path, cure);
	else
		return base_take(&fd);
	return -1;
}

/* Keep gateways from starting; the descriptor that holds the lock, or a negative error. */
static int take_lock(int state_fd, bool make)
{
	CLEANUP(base_close)
	int fd = openat(state_fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	return base_take(&fd);
}

static void print_progress(const struct backup_done *done, bool json)
{
	if (json)
		printf("{\"part\":\"%s\",\"percent\":%d,\"files\":%llu,\"bytes\":%llu}\n", done->part,
			done->percent, (unsigned long long)done->files, (unsigned long long)done->bytes);
	else
		printf("%s: %d %%\n", done->part, done->percent);
	fflush(stdout);
}

static bool is_sound(const struct backup_done *done)
{
	return done->queue_damage == NULL && done->track_damage == NULL;
}

static void print_damage(const struct backup_done *done)
{
	if (done->damaged > 0)
		fprintf(stderr,
			"postern: %llu content files are damaged or missing in the state directory, and not in the backup; see mail_corrupt in the log\n",
			(unsigned long long)done->damaged);
	if (done->queue_damage != NULL)
		fprintf(stderr,
			"postern: queue.db is damaged (%s); it was copied as it is, with all content files. Restart the gateway: it salvages what is whole"
			" (queue_corrupt in the log); then back up again. Keep this copy until then: after a restore the next start salvages it, too\n",
			done->queue_damage);
	if (done->track_damage != NULL)
		fprintf(stderr,
			"postern: track.db is damaged (%s); mail is not concerned, but records of what is finished may be missing in the backup."
			" Restart the gateway: it sets track.db aside (tracking_corrupt in the log); then back up again\n",
			done->track_damage);
}

static void print_complete(const struct backup_done *done, const char *path, bool json)
{
	json_t *object =
		json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:s?, s:s?}", "complete", (int)is_sound(done),
			"directory", path, "mails", (json_int_t)done->mails, "files", (json_int_t)done->files,
			"bytes", (json_int_t)done->bytes, "damaged", (json_int_t)done->damaged,
			"queue_damage", done->queue_damage, "track_damage", done->track_damage);

	if (json)
		cli_print_json(json_incref(object));
	else
		printf("%s: mails that wait: %llu, content files: %llu (%llu bytes), in %s\n",
			is_sound(done) ? "complete" : "damaged, and copied as far as it goes",
			(unsigned long long)done->mails, (unsigned long long)done->files,
			(unsigned long long)done->bytes, path);
	fflush(stdout);
	print_damage(done);
	json_decref(object);
}

/* Copy; `channel` (-1: no gateway runs) ends with role `queue`, which then keeps nothing any more. */
static int copy(int state_fd, int target_fd, int channel, const char *path, bool json, void *scratch)
{
	struct backup *backup;
	struct backup_done done = { 0 }, told = { 0 };
	const char *why;
	int r = backup_start(scratch, state_fd, target_fd, channel < 0, &backup, &why);

	if (r == 0)
		r = 1;
	while (r > 0) {
		r = backup_step(backup, &done, &why);
		if (r >= 0 && channel >= 0 && io_wait(channel, POLLIN, -1, clock_mono_ms()) == 0)
			return complain(CLI_TEMPORARY, path,
				"role queue ended meanwhile; what is there is incomplete: remove it and try again");
		if (r >= 0 && (done.part != told.part || done.percent / 10 != told.percent / 10)) {
			print_progress(&done, json);
			told = done;
		}
	}
	if (r < 0) {
		fprintf(stderr, "postern: %s; what is in %s is incomplete: remove it\n", why, path);
		return CLI_FAILED;
	}
	print_complete(&done, path, json);
	return is_sound(&done) ? CLI_FINE : CLI_FAILED;
}

/* The channel to `queue` in master's answer, on which it keeps content files; -1 after saying why not. */
static int hold(struct frame *answer)
{
	bool ok = frame_get_bool(answer);
	struct text words = frame_get_text(answer);
	CLEANUP(base_close) int channel = ok ? frame_get_fd(answer) : -1;
	int r = channel < 0 ? 0 : queue_backup_hold(channel);

	if (channel < 0)
		fprintf(stderr, "postern: " TEXT_FMT "\n", TEXT_ARG(words));
	else if (r < 0)
		fprintf(stderr, "postern: role queue did not answer: %s\n", err_text(r));
	else
		return base_take(&channel);
	return -1;
}

static int back_up(const struct cli_gateway *gateway, const char *path, bool json, void *scratch)
{
	CLEANUP(base_close) int state = open(gateway->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct frame *answer;

	if (state < 0)
		return complain(CLI_FAILED, gateway->state_dir, err_text(-errno));
	CLEANUP(base_close) int keeper = take_lock(state, false);
	const bool running = keeper == -EWOULDBLOCK;
	if (running && cli_is_running(gateway)) {
		int status = cli_ask(gateway, FRAME_CONTROL_QUEUE, ASK_MS, scratch, &answer);

		if (status != CLI_FINE)
			return status;
		keeper = hold(answer);
	} else if (keeper < 0) {
		complain(0, gateway->state_dir,
			running ? "a gateway is starting or ending there, or has another runtime_dir; try again"
				: err_text(keeper));
	}
	if (keeper < 0)
		return CLI_TEMPORARY;
	CLEANUP(base_close)
	int target = open_empty(
		path, "is not empty; name a directory that is, or that does not exist", &(bool){ false });
	return target < 0 ? CLI_FAILED : copy(state, target, running ? keeper : -1, path, json, scratch);
}

/* Give a directory and what is in it to its owner; the store of certificates stays whose it is. */
static int give(int fd, uid_t uid, gid_t gid)
{
	DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	int r = directory == NULL || fchown(fd, uid, gid) < 0 ? -errno : 0;

	for (struct dirent *entry; r == 0 && (entry = readdir(directory)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			strcmp(entry->d_name, STORED_DIRECTORY) != 0 &&
			fchownat(fd, entry->d_name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
	if (directory != NULL)
		closedir(directory);
	return r;
}

/* Whether a gateway has the lock of that directory. */
static bool is_used(const char *path)
{
	CLEANUP(base_close) int state = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(base_close) int lock = state < 0 ? -1 : take_lock(state, false);

	return lock == -EWOULDBLOCK;
}

static void print_restored(const struct restore_done *done, bool json)
{
	json_t *object = json_pack("{s:b, s:s, s:I, s:I, s:s?, s:s?}", "complete", 1, "time", done->time,
		"mails", (json_int_t)done->mails, "files", (json_int_t)done->files, "queue_damage",
		done->queue_damage, "track_damage", done->track_damage);

	if (json)
		cli_print_json(json_incref(object));
	else
		printf("restored the backup of %s: mails that wait: %lld, content files: %lld\n", done->time,
			(long long)done->mails, (long long)done->files);
	fflush(stdout);
	if (done->queue_damage != NULL)
		fprintf(stderr,
			"postern: queue.db in the backup is damaged (%s); it is put back as it is, and the next start of the gateway salvages what is whole:"
			" see queue_corrupt and mail_damaged in the log then\n",
			done->queue_damage);
	if (done->track_damage != NULL)
		fprintf(stderr,
			"postern: track.db in the backup is damaged (%s); it is set aside as %s, and tracking begins anew\n",
			done->track_damage, done->kept);
	json_decref(object);
}

static int put_back(const struct cli_gateway *gateway, const char *path, bool json, void *scratch)
{
	CLEANUP(base_close) int from = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uid_t uid = geteuid();
	gid_t gid = getegid();
	struct restore_done done;
	const char *why;
	bool made, had_lock;

	if (from < 0)
		return complain(CLI_FAILED, path, err_text(-errno));
	if (is_used(gateway->state_dir))
		return complain(CLI_FAILED, gateway->state_dir,
			"a gateway is running there; stop it first (postern stop), and move its state directory aside");
	if (uid == 0 && cli_owner(gateway, &uid, &gid) != CLI_FINE)
		return CLI_FAILED;
	CLEANUP(base_close)
	int state = open_empty(gateway->state_dir,
		"is not empty; move it aside first: what it holds is not in the backup", &made);
	if (state < 0)
		return CLI_FAILED;
	had_lock = faccessat(state, "lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	CLEANUP(base_close) int lock = take_lock(state, true);
	if (lock < 0)
		return complain(CLI_TEMPORARY, gateway->state_dir,
			"a gateway is starting or ending there; try again");

	int r = restore_run(scratch, from, state, &done, &why);
	if (r < 0) {
		if (!had_lock)
			unlinkat(state, "lock", 0);
		if (made)
			rmdir(gateway->state_dir);
		fprintf(stderr, "postern: %s; nothing was put back%s%s\n", why,
			restore_is_unfinished(state) ? "; empty the state directory: " : "",
			restore_is_unfinished(state) ? gateway->state_dir : "");
		return CLI_FAILED;
	}
	CLEANUP(base_close) int content = openat(state, "content", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = content < 0 ? -errno : give(content, uid, gid);
	if (r == 0)
		r = give(state, uid, gid);
	if (r == 0 && syncfs(state) < 0)
		r = -errno;
	if (r < 0)
		return complain(CLI_FAILED, gateway->state_dir, err_text(r));
	print_restored(&done, json);
	return CLI_FINE;
}

/* DIR, and perhaps --json. */
static int run(const char *command, const char *file, int argc, char **argv,
	int (*act)(const struct cli_gateway *, const char *, bool, void *))
{
	bool json = false, named = argc > 0 && strncmp(argv[0], "--", 2) != 0;
	const struct cli_option options[] = { { .name = "json", .flag = &json } };
	void *scratch = talloc_new(NULL);
	struct cli_gateway gateway;
	int status = CLI_USAGE;

	if (!named)
		fprintf(stderr, "postern %s: a directory comes first: postern %s DIR [--json]\n", command,
			command);
	else if (cli_options(command, argc - 1, argv + 1, options, COUNT(options)))
		status = cli_find(file, scratch, &gateway) ? act(&gateway, argv[0], json, scratch)
							   : CLI_FAILED;
	talloc_free(scratch);
	return status;
}

int cli_backup(const char *file, int argc, char **argv)
{
	return run("backup", file, argc, argv, back_up);
}

int cli_restore(const char *file, int argc, char **argv)
{
	return run("restore", file, argc, argv, put_back);
}
