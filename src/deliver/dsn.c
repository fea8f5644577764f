/*
 * A failure report: words for people, fields for machines (message/delivery-status), and the header of the original. Text from peers
 * and senders is made printable first, so that nothing in it can open a new field or part.
 */
#include "deliver/dsn.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "config/config.h"
#include "wire/smtp_command.h"

enum { HEADER_MAX = 32 * 1024 };

/* Printable ASCII only, so it stays on its line. */
static char *clean(const void *owner, const char *text)
{
	char *copy = text_copy(owner, text_of(text));

	for (char *at = copy; *at != '\0'; at++)
		if (*at < ' ' || *at >= 0x7f)
			*at = '?';
	return copy;
}

/* The RFC 3463 code in a reply if it fits the reply's class, else the plain class. */
static void status_of(const char *reply, char *ret_status, size_t size)
{
	unsigned class, subject, detail;
	int used = 0;

	if (sscanf(reply, "%*3u %1u.%3u.%3u%n", &class, &subject, &detail, &used) == 3 &&
		class == (unsigned)(reply[0] - '0') && (class == 4 || class == 5) &&
		(reply[used] == ' ' || reply[used] == '\0'))
		snprintf(ret_status, size, "%u.%u.%u", class, subject, detail);
	else
		snprintf(ret_status, size, "%c.0.0", reply[0] == '4' ? '4' : '5');
}

/* The header of the original, bounded, ending in CRLF. */
static char *original_header(const void *owner, const struct content *content)
{
	char *header = text_must(talloc_size(owner, HEADER_MAX + 1));
	ssize_t n = (ssize_t)MIN(content->size, (uint64_t)HEADER_MAX);

	if (content->fd >= 0)
		n = pread(content->fd, header, (size_t)n, 0);
	else
		memcpy(header, content->bytes.at, (size_t)n);
	header[MAX(n, (ssize_t)0)] = '\0';

	char *end = strstr(header, "\r\n\r\n");
	if (end == NULL)
		end = strrchr(header, '\n'); /* no end in sight: whole lines only */
	if (end == NULL)
		end = header;
	if (end > header && end[0] == '\n' && end[-1] == '\r')
		end--;
	end[0] = '\0';
	for (char *at = header; *at != '\0'; at++)
		if ((unsigned char)*at >= 0x7f)
			*at = '?';
	return header;
}

static char *add_recipient(
	char *fields, const struct lease *lease, const struct outcome *outcome, size_t index)
{
	const struct outcome_recipient *recipient = &outcome->recipients[index];
	char status[24], date[CLOCK_TEXT_MAX];

	status_of(recipient->reply, status, sizeof status);
	return text_must(talloc_asprintf_append_buffer(fields,
		"\r\nFinal-Recipient: rfc822; %s\r\n"
		"Action: failed\r\n"
		"Status: %s\r\n"
		"%s%s%s"
		"Diagnostic-Code: smtp; %.900s\r\n"
		"Last-Attempt-Date: %s\r\n",
		clean(fields, lease->envelope.recipients[index]), status,
		outcome->address[0] == '\0' ? "" : "Remote-MTA: dns; ", clean(fields, outcome->address),
		outcome->address[0] == '\0' ? "" : "\r\n", clean(fields, recipient->reply),
		clock_mail_date(outcome->time_ms, date)));
}

/* A failure is reported unless the sender said NEVER, or named other occasions only (RFC 3461 section 4.1). */
static bool wants_failure(const struct lease *lease, size_t index)
{
	unsigned notify = lease->envelope.notify == NULL ? 0 : lease->envelope.notify[index];

	return notify == 0 || (notify & SMTP_NOTIFY_FAILURE) != 0;
}

static bool is_reported(const struct lease *lease, const struct outcome *outcome, size_t index)
{
	return outcome->recipients[index].state == OUTCOME_BOUNCED && wants_failure(lease, index);
}

static char *compose(const struct config *config, const struct lease *lease, const struct outcome *outcome,
	const char *sender)
{
	char *words = text_must(talloc_strdup(outcome, "")), *fields = text_must(talloc_strdup(outcome, ""));
	char now[CLOCK_TEXT_MAX], arrived[CLOCK_TEXT_MAX];
	uint64_t random = 0;

	(void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
	for (size_t i = 0; i < outcome->recipient_count; i++) {
		if (!is_reported(lease, outcome, i))
			continue;
		words = text_must(talloc_asprintf_append_buffer(words, "  %s\r\n    %.900s\r\n",
			clean(words, lease->envelope.recipients[i]),
			clean(words, outcome->recipients[i].reply)));
		fields = add_recipient(fields, lease, outcome, i);
	}
	clock_mail_date(outcome->time_ms, now);
	clock_mail_date(lease->envelope.received_ms, arrived);
	return text_must(talloc_asprintf(outcome,
		"From: Mail Delivery System <MAILER-DAEMON@%s>\r\n"
		"To: <%s>\r\n"
		"Subject: Undelivered mail returned to sender\r\n"
		"Date: %s\r\n"
		"Message-ID: <dsn-%lld-%u-%016llx@%s>\r\n"
		"Auto-Submitted: auto-replied\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status; boundary=\"=_%016llx\"\r\n"
		"\r\n"
		"--=_%016llx\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n"
		"\r\n"
		"This is the mail gateway %s.\r\n"
		"\r\n"
		"Your message could not be delivered to these recipients:\r\n"
		"\r\n"
		"%s"
		"\r\n"
		"It will not be tried again.\r\n"
		"\r\n"
		"--=_%016llx\r\n"
		"Content-Type: message/delivery-status\r\n"
		"\r\n"
		"Reporting-MTA: dns; %s\r\n"
		"Arrival-Date: %s\r\n"
		"%s"
		"\r\n"
		"--=_%016llx\r\n"
		"Content-Type: text/rfc822-headers\r\n"
		"\r\n"
		"%s\r\n"
		"\r\n"
		"--=_%016llx--\r\n",
		config->hostname, sender, now, (long long)lease->mid, outcome->attempt,
		(unsigned long long)random, config->hostname, (unsigned long long)random,
		(unsigned long long)random, config->hostname, words, (unsigned long long)random,
		config->hostname, arrived, fields, (unsigned long long)random,
		original_header(words, &lease->content), (unsigned long long)random));
}

void dsn_add(const struct config *config, const struct lease *lease, struct outcome *outcome)
{
	size_t bounced = 0;

	for (size_t i = 0; i < outcome->recipient_count; i++)
		bounced += is_reported(lease, outcome, i);
	if (bounced == 0 || lease->envelope.sender[0] == '\0')
		return;

	struct envelope *dsn = text_must(talloc_zero(outcome, struct envelope));
	*dsn = (struct envelope){
		.received_ms = outcome->time_ms,
		.icid = text_must(talloc_asprintf(dsn, "dsn-%lld", (long long)lease->mid)),
		.client = "local",
		.helo = config->hostname,
		.tls = "",
		.sender = "",
		.recipients = text_must(talloc_zero_array(dsn, const char *, 1)),
		.recipient_count = 1,
	};
	dsn->recipients[0] = lease->envelope.sender;
	outcome->dsn_content = text_of(compose(config, lease, outcome, lease->envelope.sender));
	outcome->dsn = dsn;
}
