/*
 * Opens the store on a damaged image, delivers everything it lends, and opens it once more. Prints a line for each lease: MID SIZE SHA-256
 * <SENDER> RID:ADDRESS,... The line "again" stands before those of the second opening; "new MID" is a mail that was committed in between.
 * Events go to standard error, in JSON.
 *
 * Usage: salvage_check IMAGE
 */
#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "mail.h"
#include "queue/store.h"

enum { OWNER = 1, LAST_DUE_MS = 200 };

#define RETRY "[100ms]"

static void print(const struct lease *lease)
{
	struct digest digest = digest_of(lease->content.bytes);
	char hex[DIGEST_HEX_MAX];

	if (lease->content.fd >= 0 && digest_of_file(lease->content.fd, lease->content.size, &digest) < 0)
		exit(EXIT_FAILURE);
	printf("%lld %llu %s <%s> ", (long long)lease->mid, (unsigned long long)lease->content.size,
		digest_hex(&digest, hex), lease->envelope.sender);
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		printf("%s%lld:%s", i == 0 ? "" : ",", (long long)lease->rids[i],
			lease->envelope.recipients[i]);
	printf("\n");
}

static void record(struct store *store, const struct lease *lease)
{
	const size_t count = lease->envelope.recipient_count;
	struct outcome outcome = { .mid = lease->mid,
		.domain = lease->domain,
		.attempt = lease->attempts + 1,
		.time_ms = clock_wall_ms(),
		.dcid = "3-1",
		.host = lease->destination,
		.address = "127.0.0.1:25",
		.tls = "{}",
		.recipient_count = count };

	outcome.recipients = text_must(talloc_array(lease, struct outcome_recipient, (unsigned)count));
	for (size_t i = 0; i < count; i++)
		outcome.recipients[i] =
			(struct outcome_recipient){ lease->rids[i], OUTCOME_DELIVERED, "250 2.0.0 ok" };
	if (store_record(store, &outcome) < 0)
		exit(EXIT_FAILURE);
}

/* What is delivered is not lent again, so what is due ends. Nothing is due later than the longest retry time from now, give or take its dice. */
static void take_all(struct store *store)
{
	const int64_t last_due = clock_mono_ms() + LAST_DUE_MS;
	struct lease *lease;

	store_admit(store, OWNER);
	do {
		if (store_lease(store, store, OWNER, NULL, MAX(0, last_due - clock_mono_ms()), &lease) < 0)
			exit(EXIT_FAILURE);
		if (lease != NULL) {
			print(lease);
			record(store, lease);
		}
	} while (lease != NULL || clock_mono_ms() <= last_due);
}

static void commit(struct store *store)
{
	const char *recipient = "new@d0.test";
	struct envelope envelope = { .received_ms = clock_wall_ms(),
		.icid = "new",
		.client = "192.0.2.1",
		.helo = "load.test",
		.tls = "{}",
		.sender = "new@d0.test",
		.recipients = &recipient,
		.recipient_count = 1 };
	struct content content = { .bytes = TEXT("Subject: new\r\n\r\n"), .fd = -1, .size = 16 };
	int64_t mid;

	if (store_commit(store, &envelope, &content, &mid) < 0)
		exit(EXIT_FAILURE);
	printf("new %lld\n", (long long)mid);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	log_open(STDERR_FILENO, "check", LOG_INFO, LOG_JSON);
	void *owner = talloc_new(NULL);
	struct store *store = mail_open_store(owner, argv[1], RETRY, "not opened: ");
	take_all(store);
	commit(store);
	talloc_free(store);
	printf("again\n");
	store = mail_open_store(owner, argv[1], RETRY, "not opened again: ");
	take_all(store);
	talloc_free(owner);
	return EXIT_SUCCESS;
}
