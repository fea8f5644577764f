#include "cli/cli_passphrase.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "base/base.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/cli.h"
#include "pki/secret.h"

enum { PASSPHRASE_MAX = 1024, CONTROL_C = 3 };

/* Read up to the end of a line or of `fd`; the length, -EMSGSIZE, or another negative errno. Byte by byte: what follows is not ours. */
static int read_line(int fd, char *room)
{
	for (int len = 0; len <= PASSPHRASE_MAX; len++) {
		ssize_t n = read(fd, room + len, 1);

		while (n < 0 && errno == EINTR)
			n = read(fd, room + len, 1);
		if (n < 0)
			return -errno;
		if (n == 0 || room[len] == '\n' || room[len] == CONTROL_C) {
			const bool stopped = n > 0 && room[len] == CONTROL_C;

			room[len] = '\0';
			if (len > 0 && room[len - 1] == '\r')
				room[--len] = '\0';
			return stopped ? -ECANCELED : len;
		}
	}
	return -EMSGSIZE;
}

static int failed(const char *where, int r)
{
	if (r == -ECANCELED)
		fprintf(stderr, "postern: nothing was done\n");
	else if (r == -EMSGSIZE)
		fprintf(stderr, "postern: %s: a passphrase has at most %d bytes\n", where, PASSPHRASE_MAX);
	else if (r == -EILSEQ)
		fprintf(stderr, "postern: %s: a passphrase has no NUL byte\n", where);
	else
		fprintf(stderr, "postern: %s: the passphrase cannot be read: %s\n", where, err_text(r));
	return CLI_FAILED;
}

static int from_file(const void *owner, const char *path, char **ret_passphrase)
{
	CLEANUP(base_close)
	int opened = strcmp(path, "-") == 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	const char *where = strcmp(path, "-") == 0 ? "standard input" : path;
	char *room = secret_room(owner, PASSPHRASE_MAX + 1);

	if (opened < 0 && strcmp(path, "-") != 0)
		return failed(where, -errno);
	int r = read_line(opened < 0 ? STDIN_FILENO : opened, room);
	if (r >= 0 && strlen(room) != (size_t)r)
		r = -EILSEQ;
	if (r < 0)
		return failed(where, r);
	*ret_passphrase = room;
	return CLI_FINE;
}

/* Without echo. Ctrl-C comes as a byte, so that the terminal is always put back. */
static int ask(int tty, const char *prompt, char *room)
{
	struct termios before, quiet;

	if (tcgetattr(tty, &before) < 0)
		return -errno;
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_cc[VEOL] = CONTROL_C;
	tcsetattr(tty, TCSAFLUSH, &quiet); /* before the prompt: what is typed after it counts */
	dprintf(tty, "%s", prompt);
	const int r = read_line(tty, room);
	tcsetattr(tty, TCSAFLUSH, &before);
	dprintf(tty, "\n");
	return r;
}

int cli_passphrase(const void *owner, const char *file, bool twice, char **ret_passphrase)
{
	if (file != NULL)
		return from_file(owner, file, ret_passphrase);

	CLEANUP(base_close) int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	char *first = secret_room(owner, PASSPHRASE_MAX + 1), *again = secret_room(owner, PASSPHRASE_MAX + 1);
	if (tty < 0) {
		fprintf(stderr,
			"postern: there is no terminal to ask for the passphrase: give --passphrase-file FILE, or - for standard input\n");
		return CLI_USAGE;
	}
	int r = ask(tty, "Passphrase: ", first);
	if (r >= 0 && twice)
		r = ask(tty, "The same again: ", again);
	if (r < 0)
		return failed("/dev/tty", r);
	if (twice && strcmp(first, again) != 0) {
		fprintf(stderr, "postern: the two passphrases differ; nothing was done\n");
		return CLI_FAILED;
	}
	*ret_passphrase = first;
	return CLI_FINE;
}
