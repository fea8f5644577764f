/*
 * `log follow`: the end of the log and what is added to it, also after it was rotated. The running gateway says where the log is, so that it
 * is found while the configuration is being edited; without a gateway the configuration says it.
 */
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "config/config.h"

/* A line has at most 4 KiB; the first lines that are shown lie in the last 64 KiB. */
enum { STATUS_MS = 15000, FIRST_LINES = 10, TAIL = 64 * 1024, LINE_MAX = 8 * 1024 };

/* A file that is read; `line` holds what has no line end yet. */
struct tail {
	int fd, watch;
	off_t at;
	size_t len;
	char line[LINE_MAX];
};

/* Roles may still write to the file of before while master opened a new one already: both are read. */
struct follow {
	const char *path;
	bool json;
	int inotify_fd, signal_fd;
	struct tail now, before;
};

static const char *const homes[] = {
	[CONFIG_LOG_STDERR] =
		"the gateway logs to its standard error: look where its service keeps that, with systemd: "
		"journalctl -u postern -f",
	[CONFIG_LOG_FILE] = "",
	[CONFIG_LOG_SYSLOG] =
		"the gateway logs to syslog, facility mail: look where the syslog daemon writes it, perhaps: "
		"tail -F /var/log/mail.log",
	[CONFIG_LOG_JOURNAL] = "the gateway logs to the journal: journalctl -t postern -f",
};

/* The byte that `text` begins with, escaped or not, as log.c escapes; `text` moves behind it. */
static unsigned take_byte(struct text *text)
{
	unsigned byte = (unsigned char)text->at[0];
	size_t len = 1;

	if (byte == '\\' && text->len > 3 && text->at[1] == 'x' &&
		sscanf((char[]){ text->at[2], text->at[3], '\0' }, "%2x", &byte) == 1) {
		len = 4;
	} else if (byte == '\\' && text->len > 1) {
		byte = (unsigned char)text->at[1];
		len = 2;
	}
	*text = text_from(*text, len);
	return byte;
}

/* `"..."` as the value it was before it was escaped; a byte over 0x7f becomes the character of that number, as in a log in JSON. NULL when
 * the end is missing. `text` moves behind it. */
static json_t *take_quoted(struct text *text)
{
	char value[LINE_MAX]; /* escapes are longer than what they stand for */
	size_t len = 0;

	*text = text_from(*text, 1);
	while (text->len > 0 && text->at[0] != '"' && len + 2 < sizeof value) {
		unsigned byte = take_byte(text);

		if (byte >= 0x80)
			value[len++] = (char)(0xc0 | byte >> 6);
		value[len++] = (char)(byte >= 0x80 ? 0x80 | (byte & 0x3f) : byte);
	}
	if (text->len == 0 || text->at[0] != '"')
		return NULL;
	*text = text_from(*text, 1);
	return json_stringn_nocheck(value, len);
}

/* The next word up to a blank; `text` moves behind the blank. */
static struct text take_word(struct text *text, char end)
{
	size_t len = text_find(*text, end);
	struct text word = text_first(*text, len);

	*text = text_from(*text, MIN(len + 1, text->len));
	return word;
}

static json_t *word_json(struct text word)
{
	bool number = word.len > 0 && word.len < 18;

	for (size_t i = 0; i < word.len; i++)
		number =
			number && ((word.at[i] >= '0' && word.at[i] <= '9') || (i == 0 && word.at[0] == '-'));
	if (!number || word.at[word.len - 1] == '-' || (word.len > 1 && word.at[0] == '0'))
		return json_stringn_nocheck(word.at, word.len);
	int64_t value = 0;
	for (size_t i = word.at[0] == '-'; i < word.len; i++)
		value = value * 10 + (word.at[i] - '0');
	return json_integer(word.at[0] == '-' ? -value : value);
}

/* `TIME LEVEL ROLE EVENT key=value ...` as an object; what is no such line becomes {"text": ...}. */
static json_t *line_json(struct text line)
{
	static const char *const heads[] = { "time", "level", "role", "event" };
	struct text rest = line;
	void *scratch = talloc_new(NULL);
	json_t *json = json_object();
	bool good = true;

	for (size_t i = 0; i < COUNT(heads); i++) {
		struct text word = take_word(&rest, ' ');

		good = good && word.len > 0;
		json_object_set_new(json, heads[i], json_stringn_nocheck(word.at, word.len));
	}
	while (good && rest.len > 0) {
		char *key = text_copy(scratch, take_word(&rest, '='));
		bool quoted = rest.len > 0 && rest.at[0] == '"';
		json_t *value = quoted ? take_quoted(&rest) : word_json(take_word(&rest, ' '));

		good = value != NULL && json_object_set_new(json, key, value) == 0;
		if (quoted)
			rest = text_from(rest, MIN((size_t)1, rest.len));
	}
	if (!good) {
		json_object_clear(json);
		json_object_set_new(json, "text", json_stringn_nocheck(line.at, line.len));
	}
	talloc_free(scratch);
	return json;
}

/* One line of the log, without its end, to standard output. */
static void print_line(const struct follow *follow, char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) /* log.c writes nothing else; whoever can write to the file may */
		at[i] = at[i] >= ' ' && at[i] < 0x7f ? at[i] : '?';
	if (follow->json && (len == 0 || at[0] != '{')) {
		json_t *json = line_json((struct text){ at, len });
		char *text = text_must(json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII));

		printf("%s\n", text);
		free(text);
		json_decref(json);
	} else {
		printf("%.*s\n", (int)len, at);
	}
}

/* Print what was added to the file; a file that became shorter is read from its start. */
static void read_on(const struct follow *follow, struct tail *tail)
{
	struct stat status;
	ssize_t n;

	if (tail->fd < 0)
		return;
	if (fstat(tail->fd, &status) == 0 && status.st_size < tail->at)
		tail->at = 0;
	while ((n = pread(tail->fd, tail->line + tail->len, LINE_MAX - tail->len, tail->at)) > 0) {
		char *end, *start = tail->line;

		tail->at += n;
		tail->len += (size_t)n;
		while ((end = memchr(start, '\n', tail->len)) != NULL) {
			print_line(follow, start, (size_t)(end - start));
			tail->len -= (size_t)(end + 1 - start);
			start = end + 1;
		}
		memmove(tail->line, start, tail->len);
		if (tail->len == LINE_MAX)
			tail->len = 0; /* no line of ours */
	}
	fflush(stdout);
}

static void close_tail(struct follow *follow, struct tail *tail)
{
	if (tail->fd >= 0)
		inotify_rm_watch(follow->inotify_fd, tail->watch);
	base_close(&tail->fd);
}

/* Where the last lines begin. */
static off_t start_of_last_lines(int fd)
{
	char *bytes = text_must(talloc_size(NULL, TAIL));
	struct stat status;
	off_t size = fstat(fd, &status) == 0 ? status.st_size : 0;
	off_t from = MAX(size - TAIL, (off_t)0);
	ssize_t n = pread(fd, bytes, TAIL, from);
	ssize_t i = MAX(n, (ssize_t)0);
	unsigned ends = 0;

	while (i > 0 && (ends += bytes[i - 1] == '\n') <= FIRST_LINES)
		i--;
	talloc_free(bytes);
	return from + i;
}

/* When the path names another file than the one that is read, go on with that one. */
static void look(struct follow *follow, bool first)
{
	struct stat named, open_one;
	char proc[40];

	if (stat(follow->path, &named) < 0 ||
		(follow->now.fd >= 0 && fstat(follow->now.fd, &open_one) == 0 &&
			named.st_ino == open_one.st_ino && named.st_dev == open_one.st_dev))
		return;

	int fd = open(follow->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;
	read_on(follow, &follow->before);
	close_tail(follow, &follow->before);
	follow->before = follow->now;
	follow->now.fd = fd;
	follow->now.len = 0;
	follow->now.at = first ? start_of_last_lines(fd) : 0;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	follow->now.watch = inotify_add_watch(follow->inotify_fd, proc, IN_MODIFY);
}

/* Until a signal. Everything is read before each wait, so an event that comes meanwhile ends the wait at once. */
static void run(struct follow *follow)
{
	struct pollfd polled[2] = { { .fd = follow->signal_fd, .events = POLLIN },
		{ .fd = follow->inotify_fd, .events = POLLIN } };
	char events[4096];

	look(follow, true);
	while (!ferror(stdout)) {
		read_on(follow, &follow->before);
		read_on(follow, &follow->now);
		poll(polled, COUNT(polled), -1);
		if (polled[0].revents != 0)
			return;
		while (read(follow->inotify_fd, events, sizeof events) > 0)
			continue;
		look(follow, false);
	}
}

static int follow_file(const char *path, bool json)
{
	struct follow *follow = text_must(talloc_zero(NULL, struct follow));
	char *directory = talloc_strdup(follow, path);
	sigset_t signals;
	int status = CLI_FINE;

	follow->path = path;
	follow->json = json;
	follow->now.fd = follow->before.fd = -1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	follow->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	follow->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (inotify_add_watch(follow->inotify_fd, dirname(directory), IN_CREATE | IN_MOVED_TO) < 0 ||
		(access(path, R_OK) < 0 && errno != ENOENT)) {
		fprintf(stderr, "postern: the log %s cannot be read: %s\n", path, err_text(-errno));
		status = CLI_FAILED;
	} else {
		run(follow);
	}
	close_tail(follow, &follow->now);
	close_tail(follow, &follow->before);
	base_close(&follow->inotify_fd);
	base_close(&follow->signal_fd);
	talloc_free(follow);
	return status;
}

/* What the running gateway says about its log; false when it does not, or there is none. */
static bool ask_gateway(const char *file, void *owner, int *ret_to, char **ret_path)
{
	static const char *const names[] = { [CONFIG_LOG_STDERR] = "stderr",
		[CONFIG_LOG_FILE] = "file",
		[CONFIG_LOG_SYSLOG] = "syslog",
		[CONFIG_LOG_JOURNAL] = "journal" };
	struct cli_gateway gateway = { .file = file };
	struct frame *answer;

	if (config_places(owner, file, &gateway.state_dir, &gateway.runtime_dir, &gateway.user) < 0 ||
		!cli_is_running(&gateway) ||
		cli_ask(&gateway, FRAME_CONTROL_STATUS, STATUS_MS, owner, &answer) != CLI_FINE ||
		!frame_get_bool(answer))
		return false;

	json_t *json = json_loads(frame_get_copy(answer, owner), 0, NULL),
	       *log = json_object_get(json, "log");
	const char *to = json_string_value(json_object_get(log, "to"));
	const char *path = json_string_value(json_object_get(log, "file"));
	bool found = false;
	for (int i = 0; to != NULL && i < (int)COUNT(names); i++) {
		if (strcmp(names[i], to) == 0) {
			*ret_to = i;
			found = true;
		}
	}
	*ret_path = path == NULL ? NULL : text_copy(owner, text_of(path));
	json_decref(json);
	return found;
}

int cli_log(const char *file, int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = { { .name = "json", .flag = &json } };
	int to = CONFIG_LOG_STDERR, status = CLI_FAILED;
	char *path = NULL;

	if (argc == 0 || strcmp(argv[0], "follow") != 0) {
		fprintf(stderr, "usage: postern [-c FILE] log follow [--json]\n");
		return CLI_USAGE;
	}
	if (!cli_options("log", argc - 1, argv + 1, options, COUNT(options)))
		return CLI_USAGE;

	void *scratch = talloc_new(NULL);
	bool found = ask_gateway(file, scratch, &to, &path);
	const struct config *config = found ? NULL : cli_config(file, scratch);
	if (config != NULL) {
		to = (int)config->log.to;
		path = config->log.file == NULL ? NULL : text_copy(scratch, text_of(config->log.file));
	}
	config_release(config);
	if ((found || config != NULL) && to == CONFIG_LOG_FILE && path != NULL)
		status = follow_file(path, json);
	else if (found || config != NULL)
		fprintf(stderr, "postern: %s\n", homes[to]);
	talloc_free(scratch);
	return status;
}
