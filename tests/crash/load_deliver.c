/*
 * The deliverers of the workload: threads of one incarnation of `deliver`, which keeps an outcome until it is
 * acknowledged and repeats it when the store's process was started again. What it keeps is one file an outcome.
 */
#include "load.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/clock.h"
#include "base/text.h"
#include "ipc/frame.h"
#include "mail.h"

static int memory = -1;		 /* the directory of outcomes that are not acknowledged; set once */
static uint64_t incarnation = 1; /* guarded by `alive` */
static pthread_rwlock_t alive =
	PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP; /* written when `deliver` dies */

static char *list_rids(const void *owner, const struct lease *lease)
{
	char *list = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		list = text_must(
			talloc_asprintf_append(list, "%s%lld", i == 0 ? "" : ",", (long long)lease->rids[i]));
	return list;
}

/* What becomes of each recipient: all delivered, all deferred, all bounced, or each as the dice fall. */
static bool choose(struct load_worker *w, struct outcome *outcome)
{
	static const enum outcome_state states[] = { OUTCOME_DELIVERED, OUTCOME_DEFERRED, OUTCOME_BOUNCED };
	size_t all = load_throw(w, 4);
	bool bounced = false;

	for (size_t i = 0; i < outcome->recipient_count; i++) {
		outcome->recipients[i].state = states[all < 3 ? all : load_throw(w, 3)];
		outcome->recipients[i].reply = "250 2.0.0 or not";
		bounced |= outcome->recipients[i].state == OUTCOME_BOUNCED;
	}
	return bounced;
}

static void add_dsn(
	const void *owner, struct load_worker *w, const struct lease *lease, struct outcome *outcome)
{
	const char *token = load_token(owner, w, "dsn");
	size_t size = 100 + load_throw(w, LOAD_SMALL_MAX);
	struct envelope *dsn = text_must(talloc_memdup(owner, &lease->envelope, sizeof lease->envelope));

	dsn->icid = token;
	dsn->sender = "";
	dsn->recipients = text_must(talloc_memdup(owner, &lease->envelope.sender, sizeof(char *)));
	dsn->recipient_count = 1;
	load_mark_begin(owner, dsn, size);
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
	load_mark("record %s %s %s", outcome->dcid, outcome->dsn == NULL ? "-" : outcome->dsn->icid, list);
}

/* Keep the outcome, as `deliver` keeps it in its memory while `queue` is dead. */
static void keep(const void *owner, const struct outcome *outcome)
{
	struct frame *frame = frame_new(owner, FRAME_RECORD);

	envelope_put_outcome(frame, outcome);
	CLEANUP(base_close)
	int fd = openat(memory, outcome->dcid, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	load_must(write(fd, frame->at, frame->len) == (ssize_t)frame->len, "keeping an outcome");
}

/* Tell the store until it says that it knows. */
static void tell(struct store *store, const struct outcome *outcome)
{
	load_must(store_record(store, outcome) == 0, "store_record()");
	load_mark("recorded %s", outcome->dcid);
	unlinkat(memory, outcome->dcid, 0);
}

static void repeat(const void *owner, struct store *store, const char *name)
{
	struct frame *frame = frame_new(owner, FRAME_RECORD);

	frame->at = talloc_size(frame, FRAME_INLINE_MAX);
	CLEANUP(base_close) int fd = openat(memory, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, frame->at, FRAME_INLINE_MAX);
	frame->len = len < 0 ? 0 : (size_t)len;
	struct outcome *outcome = envelope_get_outcome(frame, owner);
	if (outcome == NULL)
		return; /* the process died while it kept it, before the store knew it */
	store_claim(store, incarnation, outcome->mid, outcome->domain);
	tell(store, outcome);
}

void load_deliver_start(const void *owner, struct store *store, const char *directory)
{
	DIR *kept = opendir(directory);

	memory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* never closed */
	load_must(kept != NULL && memory >= 0, "opening the directory of outcomes");
	for (struct dirent *entry; (entry = readdir(kept)) != NULL;)
		if (entry->d_name[0] != '.')
			repeat(owner, store, entry->d_name);
	closedir(kept);
	store_admit(store, incarnation);
}

static void record(struct load_worker *w, const struct lease *lease)
{
	struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = load_token(lease, w, "outcome"),
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
	keep(lease, &outcome);
	tell(w->store, &outcome);
	if (load_throw(w, 8) == 0) /* the acknowledgement was lost: repeating it changes nothing */
		load_must(store_record(w->store, &outcome) == 0, "store_record() again");
}

/* Take a mail and record what became of it; one in twelve is kept for ever. */
static void deliver(struct load_worker *w)
{
	void *owner = talloc_new(NULL);
	struct lease *lease;

	load_must(store_lease(w->store, owner, incarnation, NULL, 5, &lease) == 0, "store_lease()");
	if (lease != NULL) {
		load_mark("lease %llu %lld %s", (unsigned long long)incarnation, (long long)lease->mid,
			list_rids(owner, lease));
		if (load_throw(w, 12) != 0)
			record(w, lease);
	}
	talloc_free(owner);
}

/* `deliver` dies, and another one takes over. */
static void die(struct store *store)
{
	load_mark("dead %llu", (unsigned long long)incarnation);
	store_free_owner(store, incarnation);
	store_admit(store, ++incarnation);
}

void *load_deliver_run(void *argument)
{
	struct load_worker *w = argument;

	while (atomic_load(w->clients_left) > 0) {
		pthread_rwlock_rdlock(&alive);
		deliver(w);
		pthread_rwlock_unlock(&alive);
		if (load_throw(w, 16) != 0)
			continue;
		pthread_rwlock_wrlock(&alive);
		die(w->store);
		pthread_rwlock_unlock(&alive);
	}
	return NULL;
}
