/*
 * A queue for the salvage test (tests/crash/salvage): mails of every kind, some of them delivered, deferred or bounced, drawn from a seed.
 * They lie in queue.db, in its log, or the first half here and the second there. The last transactions hold no mail, because
 * damage at the end of a log looks like what a power cut leaves.
 *
 * With FORM `cut` it damages a checksum in the log then, which no mail is in, and opens the store, which salvages it; under the shim,
 * with the marks `damaged`, and `new MID` when another mail was committed after it.
 *
 * Usage: salvage_load DIRECTORY SEED file|log|both|cut. Prints a line for each mail: TOKEN MID SIZE SENDER ADDRESS:STATE,...
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/text.h"
#include "mail.h"
#include "queue/store.h"

enum { MAILS = 60, RECIPIENTS_MAX = 40, OWNER = 1, NOTES = 4 };

struct made {
	char *token, *sender;
	int64_t mid;
	size_t size, count;
	char *addresses[RECIPIENTS_MAX];
	char states[RECIPIENTS_MAX]; /* q, d, b; by rid */
};

struct load {
	struct store *store;
	uint64_t dice;
	unsigned count;
	struct made mails[MAILS + 1];
};

static void must(bool done, const char *what)
{
	if (done)
		return;
	printf("salvage_load: %s failed\n", what);
	exit(EXIT_FAILURE);
}

static size_t throw_dice(struct load *load, size_t limit)
{
	load->dice ^= load->dice << 13; /* xorshift */
	load->dice ^= load->dice >> 7;
	load->dice ^= load->dice << 17;
	return (size_t)(load->dice >> 11) % limit;
}

static size_t draw_size(struct load *load)
{
	switch (throw_dice(load, 8)) {
	case 0:
		return ENVELOPE_INLINE_MAX + 1 + throw_dice(load, 50000); /* a file */
	case 1:
	case 2:
		return 9000 + throw_dice(load, ENVELOPE_INLINE_MAX - 9000);
	default:
		return 100 + throw_dice(load, 6000);
	}
}

static size_t draw_recipients(struct load *load)
{
	switch (throw_dice(load, 10)) {
	case 0:
		return RECIPIENTS_MAX;
	case 1:
	case 2:
	case 3:
		return 2 + throw_dice(load, 4);
	default:
		return 1;
	}
}

static void commit(struct load *load)
{
	struct made *mail = &load->mails[load->count];
	const char *recipients[RECIPIENTS_MAX];
	size_t domain = throw_dice(load, MAIL_DOMAINS);

	mail->token = text_must(talloc_asprintf(load, "mail-%u", load->count));
	mail->sender = throw_dice(load, 12) == 0
			       ? text_must(talloc_strdup(load, ""))
			       : text_must(talloc_asprintf(load, "sender-%u@d0.test", load->count));
	mail->size = draw_size(load);
	mail->count = draw_recipients(load);
	for (size_t i = 0; i < mail->count; i++) {
		mail->addresses[i] = text_must(talloc_asprintf(load, "to-%u-%zu@d%zu.test", load->count, i,
			(domain + (i == 2 ? 1 : 0)) % MAIL_DOMAINS));
		mail->states[i] = 'q';
		recipients[i] = mail->addresses[i];
	}

	const char *bytes = mail_content(load, mail->token, mail->size);
	struct envelope envelope = { .received_ms = clock_wall_ms(),
		.icid = mail->token,
		.client = "192.0.2.1",
		.helo = "load.test",
		.tls = "{\"obtained\":\"none\"}",
		.sender = mail->sender,
		.recipients = recipients,
		.recipient_count = mail->count };
	struct content content = { .bytes = { bytes, mail->size }, .fd = -1, .size = mail->size };
	if (mail->size > ENVELOPE_INLINE_MAX) {
		content.fd = store_new_file(load->store, mail->size);
		must(content.fd >= 0 && write(content.fd, bytes, mail->size) == (ssize_t)mail->size,
			"writing content");
		content.bytes = TEXT("");
	}
	must(store_commit(load->store, &envelope, &content, &mail->mid) == 0, "store_commit()");
	base_close(&content.fd);
	load->count++;
}

static struct made *find(struct load *load, int64_t mid)
{
	for (unsigned i = 0; i < load->count; i++)
		if (load->mails[i].mid == mid)
			return &load->mails[i];
	must(false, "finding a mail");
	return NULL;
}

/* Record an outcome of one mail. */
static void deliver(struct load *load)
{
	static const enum outcome_state states[] = {
		['q'] = OUTCOME_DEFERRED, ['d'] = OUTCOME_DELIVERED, ['b'] = OUTCOME_BOUNCED
	};
	struct outcome_recipient recipients[RECIPIENTS_MAX];
	struct lease *lease;

	must(store_lease(load->store, load, OWNER, NULL, 1000, &lease) == 0, "store_lease()");
	if (lease == NULL)
		return;
	struct made *mail = find(load, lease->mid);
	char all = "qddddb"[throw_dice(load, 6)];
	for (size_t i = 0; i < lease->envelope.recipient_count; i++) {
		char state = all == 'd' || throw_dice(load, 2) == 0 ? all : 'q';

		recipients[i] = (struct outcome_recipient){ lease->rids[i], states[(unsigned char)state],
			"250 2.0.0 or not" };
		mail->states[lease->rids[i] - 1] = state;
	}
	struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = "1-1",
		.host = lease->destination,
		.address = "127.0.0.1:25",
		.tls = "{}",
		.recipients = recipients,
		.recipient_count = lease->envelope.recipient_count };
	must(store_record(load->store, &outcome) == 0, "store_record()");
	talloc_free(lease);
}

static void work(struct load *load, unsigned until)
{
	store_admit(load->store, OWNER);
	while (load->count < until) {
		commit(load);
		if (throw_dice(load, 2) == 0)
			deliver(load);
	}
}

/* Transactions without a mail. */
static void note(struct load *load)
{
	struct store_refusal refusal = { clock_wall_ms(), "1-9", "192.0.2.9", "evil.test", "{}", "",
		"nobody@e.test", "550 5.7.1 no" };

	for (int i = 0; i < NOTES; i++)
		must(store_note(load->store, &refusal, 1) == 0, "store_note()");
}

static void mark(const char *text)
{
	void (*crash_mark)(const char *text);

	*(void **)&crash_mark = dlsym(RTLD_DEFAULT, "crash_mark");
	if (crash_mark != NULL)
		crash_mark(text);
}

/* A store that is closed leaves no log unless somebody else has the database open; one that died does. */
static void hold_log(struct load *load, const char *directory)
{
	char *path = text_must(talloc_asprintf(load, "%s/queue.db", directory));
	sqlite3 *db;

	must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
			sqlite3_exec(db, "SELECT count(*) FROM message", NULL, NULL, NULL) == SQLITE_OK,
		"reading the database");
}

/* Damage a checksum in the middle of the log, let it be salvaged, and commit one more mail. */
static void salvage(struct load *load, const char *directory)
{
	const off_t header = 32, frame = 24 + 8192, sum = 16;
	char *path = text_must(talloc_asprintf(load, "%s/queue.db-wal", directory));
	CLEANUP(base_close) int fd = open(path, O_RDWR | O_CLOEXEC);
	off_t at = header + lseek(fd, 0, SEEK_END) / frame / 2 * frame + sum;
	char text[32], byte;

	must(pread(fd, &byte, 1, at) == 1, "reading the log");
	byte ^= 1;
	must(pwrite(fd, &byte, 1, at) == 1 && fsync(fd) == 0, "damaging");
	mark("damaged");
	load->store = mail_open_store(load, directory, "[1h]", "salvage_load: ");
	commit(load);
	snprintf(text, sizeof text, "new %lld", (long long)load->mails[load->count - 1].mid);
	mark(text);
}

static void print(const struct load *load)
{
	for (unsigned i = 0; i < load->count; i++) {
		const struct made *mail = &load->mails[i];

		printf("%s %lld %zu <%s> ", mail->token, (long long)mail->mid, mail->size, mail->sender);
		for (size_t n = 0; n < mail->count; n++)
			printf("%s%s:%c", n == 0 ? "" : ",", mail->addresses[n], mail->states[n]);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	struct load *load = text_must(talloc_zero(NULL, struct load));
	uint64_t seed = 0;

	must(argc == 4 && text_number(text_of(argv[2]), UINT32_MAX, &seed) == 0, "reading the arguments");
	load->dice = (seed + 1) * 0x9e3779b97f4a7c15u;
	load->store = mail_open_store(load, argv[1], "[1h]", "salvage_load: ");
	if (strcmp(argv[3], "both") == 0 || strcmp(argv[3], "cut") == 0) {
		work(load, MAILS / 2);
		talloc_free(load->store);
		load->store = mail_open_store(load, argv[1], "[1h]", "salvage_load: ");
	}
	work(load, MAILS);
	note(load);
	if (strcmp(argv[3], "cut") == 0) {
		hold_log(load, argv[1]);
		talloc_free(load->store);
		salvage(load, argv[1]);
	}
	print(load);
	if (strcmp(argv[3], "file") == 0) {
		talloc_free(load->store);
		load->store = mail_open_store(load, argv[1], "[1h]", "salvage_load: ");
	}
	fflush(stdout);
	_exit(EXIT_SUCCESS); /* the log stays where it is */
}
