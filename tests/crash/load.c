/*
 * The workload of the power-cut test: clients that commit mail and deliverers that record outcomes, on a store of their
 * own, a fixed amount of work drawn from a seed. Every step is marked in the shim's trace, a promise only after the call
 * that gave it returned. check.c reads the marks:
 *
 *   start                                    a store was opened
 *   begin TOKEN SIZE ADDRESS,...             store_commit() is about to be called, or a DSN given to store_record()
 *   commit TOKEN MID                         it returned 0
 *   gone TOKEN                               the client broke off: nothing is committed
 *   lease OWNER MID RID,...                  store_lease() gave this
 *   dead OWNER                               store_free_owner() is about to be called
 *   record ID DSN-TOKEN|- MID:RID:STATE,...  store_record() is about to be called; states d, q, b as in check.c
 *   recorded ID                              it returned 0
 *
 * Usage: load DIRECTORY SEED crash|close
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/text.h"
#include "mail.h"
#include "queue/store.h"

enum { CLIENTS = 3, DELIVERERS = 2, MAILS = 60 };
enum { SMALL_MAX = 6000, ROW_MAX = ENVELOPE_INLINE_MAX, FILE_MAX = 300 * 1024, CHUNK = 32 * 1024 };

static struct store *store;
static void (*crash_mark)(const char *text);
static atomic_int clients_left = CLIENTS;
static uint64_t incarnation = 1; /* of `deliver`, which all deliverers are threads of */
static pthread_rwlock_t alive =
	PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP; /* guards it; written when it dies */

struct worker {
	pthread_t thread;
	uint64_t seed, number; /* of the run; of the thread, from 1 */
	uint64_t dice;
	unsigned count; /* of tokens */
};

static PRINTF(1, 2) void mark(const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (crash_mark != NULL)
		crash_mark(text);
}

static void must(bool done, const char *what)
{
	if (done)
		return;
	printf("load: %s failed\n", what);
	fflush(stdout);
	_exit(EXIT_FAILURE);
}

/* A number below `limit` (xorshift). */
static size_t throw(struct worker * w, size_t limit)
{
	w->dice ^= w->dice << 13;
	w->dice ^= w->dice >> 7;
	w->dice ^= w->dice << 17;
	return (size_t)(w->dice >> 11) % limit;
}

static const char *new_token(const void *owner, struct worker *w, const char *kind)
{
	return text_must(talloc_asprintf(owner, "%s-%llu-%llu-%u", kind, (unsigned long long)w->seed,
		(unsigned long long)w->number, w->count++));
}

static void mark_begin(const void *owner, const struct envelope *envelope, size_t size)
{
	char *addresses = text_must(talloc_strdup(owner, envelope->recipients[0]));

	for (size_t i = 1; i < envelope->recipient_count; i++)
		addresses = text_must(talloc_asprintf_append(addresses, ",%s", envelope->recipients[i]));
	mark("begin %s %zu %s", envelope->icid, size, addresses);
}

/* An envelope whose icid is the mail's token: that is how the checker finds it. */
static void fill(const void *owner, struct worker *w, const char *token, struct envelope *ret_envelope)
{
	size_t count = 1 + throw(w, 3), domains[2] = { throw(w, MAIL_DOMAINS), throw(w, MAIL_DOMAINS) };
	const char **recipients = text_must(talloc_array(owner, const char *, (unsigned)count));

	for (size_t i = 0; i < count; i++)
		recipients[i] = text_must(talloc_asprintf(owner, "r%zu@d%zu.test", i, domains[throw(w, 2)]));
	*ret_envelope = (struct envelope){ .received_ms = clock_wall_ms(),
		.icid = token,
		.client = "192.0.2.1",
		.helo = "load.test",
		.tls = "{}",
		.sender = text_must(talloc_asprintf(owner, "sender@d%zu.test", throw(w, MAIL_DOMAINS))),
		.recipients = recipients,
		.recipient_count = count };
}

static void write_file(int fd, const char *bytes, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, bytes + done, MIN(size - done, (size_t)CHUNK));

		must(n > 0, "writing content");
		done += (size_t)n;
	}
}

static void commit(const struct envelope *envelope, const struct content *content)
{
	int64_t mid;

	must(store_commit(store, envelope, content, &mid) == 0, "store_commit()");
	mark("commit %s %lld", envelope->icid, (long long)mid);
}

/* A client that sends one mail; its content over 128 KiB goes into a file, and some break off in the middle of that. */
static void send_mail(struct worker *w, size_t size, bool broken_off)
{
	void *owner = talloc_new(NULL);
	const char *token = new_token(owner, w, "mail");
	const char *bytes = mail_content(owner, token, size);
	struct content content = { .bytes = { bytes, size }, .fd = -1, .size = size };
	struct envelope envelope;

	fill(owner, w, token, &envelope);
	mark_begin(owner, &envelope, size);
	if (size > ENVELOPE_INLINE_MAX) {
		content.fd = store_new_file(store, size);
		must(content.fd >= 0, "store_new_file()");
		content.bytes = TEXT("");
		write_file(content.fd, bytes, broken_off ? size / 2 : size);
	}
	if (broken_off)
		mark("gone %s", token);
	else
		commit(&envelope, &content);
	base_close(&content.fd);
	talloc_free(owner);
}

static void note(void)
{
	struct store_refusal refusal = { .time_ms = clock_wall_ms(),
		.icid = "refused",
		.client = "192.0.2.9",
		.helo = "evil.test",
		.tls = "{}",
		.sender = "",
		.recipient = "nobody@elsewhere.test",
		.reply = "550 5.7.1 no" };

	must(store_note(store, &refusal, 1) == 0, "store_note()");
}

static void *client_run(void *argument)
{
	struct worker *w = argument;

	for (unsigned i = 0; i < MAILS; i++) {
		size_t kind = throw(w, 16);

		if (kind < 10)
			send_mail(w, 100 + throw(w, SMALL_MAX), false);
		else if (kind < 12)
			send_mail(w, SMALL_MAX + throw(w, ROW_MAX - SMALL_MAX + 1), false);
		else if (kind < 14)
			send_mail(w, ROW_MAX + 1 + throw(w, FILE_MAX - ROW_MAX), false);
		else if (kind < 15)
			send_mail(w, ROW_MAX + 1 + throw(w, FILE_MAX - ROW_MAX), true);
		else
			note();
	}
	atomic_fetch_sub(&clients_left, 1);
	return NULL;
}

static char *list_rids(const void *owner, const struct lease *lease)
{
	char *list = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		list = text_must(
			talloc_asprintf_append(list, "%s%lld", i == 0 ? "" : ",", (long long)lease->rids[i]));
	return list;
}

/* What becomes of each recipient: all delivered, all deferred, all bounced, or each as the dice fall. */
static bool choose(struct worker *w, struct outcome *outcome)
{
	static const enum outcome_state states[] = { OUTCOME_DELIVERED, OUTCOME_DEFERRED, OUTCOME_BOUNCED };
	size_t all = throw(w, 4);
	bool bounced = false;

	for (size_t i = 0; i < outcome->recipient_count; i++) {
		outcome->recipients[i].state = states[all < 3 ? all : throw(w, 3)];
		outcome->recipients[i].reply = "250 2.0.0 or not";
		bounced |= outcome->recipients[i].state == OUTCOME_BOUNCED;
	}
	return bounced;
}

static void add_dsn(const void *owner, struct worker *w, const struct lease *lease, struct outcome *outcome)
{
	const char *token = new_token(owner, w, "dsn");
	size_t size = 100 + throw(w, SMALL_MAX);
	struct envelope *dsn = text_must(talloc_memdup(owner, &lease->envelope, sizeof lease->envelope));

	dsn->icid = token;
	dsn->sender = "";
	dsn->recipients = text_must(talloc_memdup(owner, &lease->envelope.sender, sizeof(char *)));
	dsn->recipient_count = 1;
	mark_begin(owner, dsn, size);
	outcome->dsn = dsn;
	outcome->dsn_content = (struct text){ mail_content(owner, token, size), size };
}

static void mark_record(const void *owner, const struct outcome *outcome)
{
	static const char letters[] = {
		[OUTCOME_DELIVERED] = 'd', [OUTCOME_DEFERRED] = 'q', [OUTCOME_BOUNCED] = 'b'
	};
	char *list = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < outcome->recipient_count; i++)
		list = text_must(talloc_asprintf_append(list, "%s%lld:%lld:%c", i == 0 ? "" : ",",
			(long long)outcome->mid, (long long)outcome->recipients[i].rid,
			letters[outcome->recipients[i].state]));
	mark("record %s %s %s", outcome->dcid, outcome->dsn == NULL ? "-" : outcome->dsn->icid, list);
}

static void record(struct worker *w, const struct lease *lease)
{
	struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = new_token(lease, w, "outcome"),
		.host = lease->destination,
		.address = "127.0.0.1:25",
		.tls = "{}",
		.recipient_count = lease->envelope.recipient_count };

	outcome.recipients = text_must(
		talloc_zero_array(lease, struct outcome_recipient, (unsigned)outcome.recipient_count));
	for (size_t i = 0; i < outcome.recipient_count; i++)
		outcome.recipients[i].rid = lease->rids[i];
	if (choose(w, &outcome) && lease->envelope.sender[0] != '\0')
		add_dsn(lease, w, lease, &outcome);
	mark_record(lease, &outcome);
	must(store_record(store, &outcome) == 0, "store_record()");
	mark("recorded %s", outcome.dcid);
	if (throw(w, 8) == 0) /* as after a restart of `queue`: repeating it changes nothing */
		must(store_record(store, &outcome) == 0, "store_record() again");
}

/* Take a mail and record what became of it; one in twelve is kept for ever. */
static void deliver(struct worker *w)
{
	void *owner = talloc_new(NULL);
	struct lease *lease;

	must(store_lease(store, owner, incarnation, NULL, 5, &lease) == 0, "store_lease()");
	if (lease != NULL) {
		mark("lease %llu %lld %s", (unsigned long long)incarnation, (long long)lease->mid,
			list_rids(owner, lease));
		if (throw(w, 12) != 0)
			record(w, lease);
	}
	talloc_free(owner);
}

/* `deliver` dies, and another one takes over. */
static void die(void)
{
	mark("dead %llu", (unsigned long long)incarnation);
	store_free_owner(store, incarnation);
	store_admit(store, ++incarnation);
}

static void *deliverer_run(void *argument)
{
	struct worker *w = argument;

	while (atomic_load(&clients_left) > 0) {
		pthread_rwlock_rdlock(&alive);
		deliver(w);
		pthread_rwlock_unlock(&alive);
		if (throw(w, 16) != 0)
			continue;
		pthread_rwlock_wrlock(&alive);
		die();
		pthread_rwlock_unlock(&alive);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct worker workers[CLIENTS + DELIVERERS] = { 0 };
	void *owner = talloc_new(NULL);
	uint64_t seed;

	must(argc == 4 && text_number(text_of(argv[2]), UINT32_MAX, &seed) == 0, "reading the arguments");
	*(void **)&crash_mark = dlsym(RTLD_DEFAULT, "crash_mark");
	store = mail_open_store(owner, argv[1], "load: ");
	store_admit(store, incarnation);
	mark("start");
	for (size_t i = 0; i < COUNT(workers); i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){
			.seed = seed, .number = i + 1, .dice = (seed + 1) * 0x9e3779b97f4a7c15u + i
		};
		must(pthread_create(&w->thread, NULL, i < CLIENTS ? client_run : deliverer_run, w) == 0,
			"starting a thread");
	}
	pthread_join(workers[0].thread, NULL);
	if (text_equal(text_of(argv[3]), TEXT("crash")))
		_exit(EXIT_SUCCESS); /* the others are in the middle of something */
	for (size_t i = 1; i < COUNT(workers); i++)
		pthread_join(workers[i].thread, NULL);
	talloc_free(owner);
	return EXIT_SUCCESS;
}
