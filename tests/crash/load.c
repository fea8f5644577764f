/*
 * The workload of the power-cut test: clients that commit mail and deliverers that record outcomes, on a store of their
 * own, a fixed amount of work drawn from a seed. Every step is marked in the shim's trace, a promise only after the call
 * that gave it returned. check.c reads the marks:
 *
 *   old                                      there is a durable database of an older version, with the mails that were marked (old.c)
 *   start                                    a store was opened
 *   begin TOKEN SIZE ADDRESS,...             store_commit() is about to be called, or a DSN given to store_record()
 *   commit TOKEN MID                         it returned 0
 *   gone TOKEN                               the client broke off: nothing is committed
 *   lease OWNER MID RID,...                  store_lease() gave this
 *   dead OWNER                               store_free_owner() is about to be called
 *   record ID DSN-TOKEN|- MID:RID:STATE,...  store_record() is about to be called; d(elivered), q(ueued), b(ounced)
 *   recorded ID                              it returned 0
 *   backing NAME                             a backup into the directory NAME is about to begin
 *   backed NAME                              it is complete
 *   restoring NAME                           restore_run() of it into restored-NAME is about to be called
 *   restored NAME                            it returned 0
 *
 * Usage: load DIRECTORY SEED MEMORY [old] (see load_deliver_start()); with `old` it is only filled by old_make(). The shim may end it in
 * the middle of everything.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/text.h"
#include "load.h"
#include "mail.h"
#include "old.h"
#include "queue/checkpoint.h"
#include "queue/database.h"
#include "queue/store.h"

enum { CLIENTS = 3, DELIVERERS = 2, MAILS = 50, CHUNK = 32 * 1024 };
enum { COPIED = 5, BOUNDED = 20 }; /* of the checkpointer, in commits */

static void (*crash_mark)(const char *text); /* the shim's, set once; NULL without it */

void load_mark(const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (crash_mark != NULL)
		crash_mark(text);
}

void load_must(bool done, const char *what)
{
	if (done)
		return;
	printf("load: %s failed\n", what);
	fflush(stdout);
	_exit(EXIT_FAILURE);
}

size_t load_throw(struct load_worker *w, size_t limit)
{
	w->dice ^= w->dice << 13; /* xorshift */
	w->dice ^= w->dice >> 7;
	w->dice ^= w->dice << 17;
	return (size_t)(w->dice >> 11) % limit;
}

const char *load_token(const void *owner, struct load_worker *w, const char *kind)
{
	return text_must(talloc_asprintf(owner, "%s-%llu-%llu-%u", kind, (unsigned long long)w->seed,
		(unsigned long long)w->number, w->count++));
}

void load_mark_begin(const void *owner, const struct envelope *envelope, size_t size)
{
	char *addresses = text_must(talloc_strdup(owner, envelope->recipients[0]));

	for (size_t i = 1; i < envelope->recipient_count; i++)
		addresses = text_must(talloc_asprintf_append(addresses, ",%s", envelope->recipients[i]));
	load_mark("begin %s %zu %s", envelope->icid, size, addresses);
}

/* An envelope whose icid is the mail's token: that is how the checker finds it. */
static void fill(const void *owner, struct load_worker *w, const char *token, struct envelope *ret_envelope)
{
	size_t count = 1 + load_throw(w, 3),
	       domains[2] = { load_throw(w, MAIL_DOMAINS), load_throw(w, MAIL_DOMAINS) };
	const char **recipients = text_must(talloc_array(owner, const char *, (unsigned)count));

	for (size_t i = 0; i < count; i++)
		recipients[i] =
			text_must(talloc_asprintf(owner, "r%zu@d%zu.test", i, domains[load_throw(w, 2)]));
	*ret_envelope = (struct envelope){ .received_ms = clock_wall_ms(),
		.icid = token,
		.client = "192.0.2.1",
		.helo = "load.test",
		.tls = "{}",
		.sender = text_must(talloc_asprintf(owner, "sender@d%zu.test", load_throw(w, MAIL_DOMAINS))),
		.recipients = recipients,
		.recipient_count = count };
}

static void write_file(int fd, const char *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, bytes + done, MIN(size - done, (size_t)CHUNK));

		load_must(n > 0, "writing content");
		done += (size_t)n;
	}
}

/* No process lives long enough for the store's own checkpointer to find its log too long: another one is told that it is, often. */
static struct checkpoint *start_checkpointer(const void *owner, const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* never closed */
	sqlite3 *log = NULL;
	const char *why;

	load_must(database_open_writer(owner, fd, DATABASE_QUEUE, &log, &why) == 0, "opening the log");
	return checkpoint_start(owner, log, (struct checkpoint_limits){ COPIED, BOUNDED });
}

static void grow(struct load_worker *w)
{
	static atomic_int commits;

	checkpoint_grown(w->checkpoint, atomic_fetch_add(&commits, 1) % (BOUNDED + COPIED));
}

static void commit(struct load_worker *w, const struct envelope *envelope, const struct content *content)
{
	int64_t mid;

	load_must(store_commit(w->store, envelope, content, &mid) == 0, "store_commit()");
	load_mark("commit %s %lld", envelope->icid, (long long)mid);
	grow(w);
}

/* A client that sends one mail; its content over 128 KiB goes into a file, and some break off in the middle of that. */
static void send_mail(struct load_worker *w, size_t size, bool broken_off)
{
	void *owner = talloc_new(NULL);
	const char *token = load_token(owner, w, "mail");
	const char *bytes = mail_content(owner, token, size);
	struct content content = { .bytes = { bytes, size }, .fd = -1, .size = size };
	struct envelope envelope;

	fill(owner, w, token, &envelope);
	load_mark_begin(owner, &envelope, size);
	if (size > ENVELOPE_INLINE_MAX) {
		content.fd = store_new_file(w->store, size);
		load_must(content.fd >= 0, "store_new_file()");
		content.bytes = TEXT("");
		write_file(content.fd, bytes, broken_off ? size / 2 : size);
	}
	if (broken_off)
		load_mark("gone %s", token);
	else
		commit(w, &envelope, &content);
	base_close(&content.fd);
	talloc_free(owner);
}

static void note(struct load_worker *w)
{
	struct store_refusal refusal = { .time_ms = clock_wall_ms(),
		.icid = "refused",
		.client = "192.0.2.9",
		.helo = "evil.test",
		.tls = "{}",
		.sender = "",
		.recipient = "nobody@elsewhere.test",
		.reply = "550 5.7.1 no" };

	load_must(store_note(w->store, &refusal, 1) == 0, "store_note()");
}

static void *client_run(void *argument)
{
	struct load_worker *w = argument;

	for (unsigned i = 0; i < MAILS; i++) {
		size_t kind = load_throw(w, 16);

		if (kind < 10)
			send_mail(w, 100 + load_throw(w, LOAD_SMALL_MAX), false);
		else if (kind < 12)
			send_mail(
				w, LOAD_SMALL_MAX + load_throw(w, LOAD_ROW_MAX - LOAD_SMALL_MAX + 1), false);
		else if (kind < 14)
			send_mail(w, LOAD_ROW_MAX + 1 + load_throw(w, LOAD_FILE_MAX - LOAD_ROW_MAX), false);
		else if (kind < 15)
			send_mail(w, LOAD_ROW_MAX + 1 + load_throw(w, LOAD_FILE_MAX - LOAD_ROW_MAX), true);
		else
			note(w);
	}
	atomic_fetch_sub(w->clients_left, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	struct load_worker workers[CLIENTS + DELIVERERS + 1];
	pthread_t threads[COUNT(workers)];
	atomic_int clients_left = CLIENTS;
	void *owner = talloc_new(NULL);
	uint64_t seed;

	load_must(
		argc >= 4 && text_number(text_of(argv[2]), UINT32_MAX, &seed) == 0, "reading the arguments");
	*(void **)&crash_mark = dlsym(RTLD_DEFAULT, "crash_mark");
	if (argc == 5)
		old_make(argv[1]);
	struct store *store = mail_open_store(owner, argv[1], "[100ms, 200ms, 1h]", "load: ");
	load_mark("start");
	load_deliver_start(owner, store, argv[3]);
	struct checkpoint *checkpoint = start_checkpointer(owner, argv[1]);
	for (size_t i = 0; i < COUNT(workers); i++) {
		workers[i] = (struct load_worker){ .store = store,
			.checkpoint = checkpoint,
			.directory = argv[1],
			.seed = seed,
			.number = i + 1,
			.dice = (seed + 1) * 0x9e3779b97f4a7c15u + i,
			.clients_left = &clients_left };
		load_must(pthread_create(&threads[i], NULL,
				  i < CLIENTS		     ? client_run
				  : i < CLIENTS + DELIVERERS ? load_deliver_run
							     : load_backup_run,
				  &workers[i]) == 0,
			"starting a thread");
	}
	for (size_t i = 0; i < COUNT(workers); i++)
		pthread_join(threads[i], NULL);
	checkpoint_stop(checkpoint);
	talloc_free(owner);
	return EXIT_SUCCESS;
}
